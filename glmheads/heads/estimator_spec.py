"""What ``Head.create_estimator_spec`` returns, and the modes that it is made for.

A spec is a record of arrays, metrics and one callable; it knows nothing of heads or of array libraries.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ModeKeys(StrEnum):
    """What a model is called for."""

    TRAIN = "train"
    EVAL = "eval"
    PREDICT = "infer"


@dataclass(frozen=True)
class RegressionOutput:
    """An export of one number per example: ``value``, an array shaped like the logits."""

    value: Any


@dataclass(frozen=True)
class ClassificationOutput:
    """An export of scores and class names: ``scores`` of shape (..., classes), ``classes`` of shape (D0, classes)."""

    scores: Any
    classes: Any


@dataclass(frozen=True)
class PredictOutput:
    """An export of every prediction: ``outputs``, the mapping that ``Head.predictions`` returns."""

    outputs: Mapping[str, Any]


ExportOutput = RegressionOutput | ClassificationOutput | PredictOutput


@dataclass(frozen=True)
class EstimatorSpec:
    """What a model does in a mode; a field that the mode has no use for is None or empty.

    Attributes
    ----------
    mode : ModeKeys
    predictions : mapping of arrays or None
    loss : 0-d array or None
    train_op : callable or object or None
        With an optimizer, a callable that takes one training step and returns the loss; with a `train_op_fn`, what that
        returned.
    eval_metric_ops : dict of Metric
        Filled from the batch that the spec was made from.
    export_outputs : dict of ExportOutput

    Examples
    --------
    >>> import numpy as np, glmheads as gh
    >>> head = gh.RegressionHead()
    >>> spec = head.create_estimator_spec({}, gh.ModeKeys.EVAL, logits=np.asarray([[1.5]]), labels=np.asarray([1.0]))
    >>> float(spec.loss), float(spec.eval_metric_ops["label/mean"].result())
    (0.25, 1.0)
    """

    mode: ModeKeys
    predictions: Mapping[str, Any] | None = None
    loss: Any = None
    train_op: Any = None
    eval_metric_ops: Mapping[str, Any] = field(default_factory=dict)
    export_outputs: Mapping[str, ExportOutput] | None = None


def training_op(loss: Any, optimizer: Any, trainable_variables: Any, train_op_fn: Any, update_ops: Any) -> Any:
    """The ``train_op`` of a spec: see ``Head.create_estimator_spec`` for the arguments and what is refused."""
    if (train_op_fn is None) == (optimizer is None):
        both = "None" if optimizer is None else "set"
        raise ValueError(f"train_op_fn and optimizer cannot both be {both}. Give one of them to train.")
    if not (update_ops is None or (isinstance(update_ops, (list, tuple)) and all(map(callable, update_ops)))):
        raise ValueError(f"update_ops should be a list or a tuple of callables. Given: {update_ops!r}")

    def updated(result: Any) -> Any:
        for update_op in update_ops or ():
            update_op()
        return result

    if train_op_fn is not None:
        return updated(train_op_fn(loss))
    _check_optimizer(optimizer, trainable_variables)

    def step() -> Any:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return updated(loss)

    return step


def _check_optimizer(optimizer: Any, variables: Any) -> None:
    if variables is None:
        raise ValueError("trainable_variables cannot be None. Give the list of parameters that the optimizer updates.")
    if not isinstance(variables, (list, tuple)):
        raise ValueError(f"trainable_variables should be a list or a tuple. Given type: {type(variables)}")
    for method in ("zero_grad", "step"):
        if not callable(getattr(optimizer, method, None)):
            raise ValueError(
                f"optimizer must have the methods zero_grad and step, as a torch.optim.Optimizer has; "
                f"{type(optimizer)} has no {method}. Elsewhere, give train_op_fn."
            )
    given = {id(variable) for variable in variables}
    groups = getattr(optimizer, "param_groups", None)
    own = given if groups is None else {id(variable) for group in groups for variable in group["params"]}
    if own != given:
        raise ValueError(
            f"trainable_variables must be the optimizer's own parameters: {len(given - own)} of the {len(given)} given "
            f"are not among them, and {len(own - given)} of its {len(own)} are not given."
        )

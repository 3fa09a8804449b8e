"""`Head`: the interface of tf.estimator's heads, and `Predictions`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from glmheads.backends import Array
from glmheads.heads.configuration import Configured
from glmheads.heads.estimator_spec import EstimatorSpec, ExportOutput, ModeKeys, PredictOutput, training_op
from glmheads.names import Reduction

Prediction = Array | Callable[[], Any]


class Predictions(Mapping[str, Any]):
    """Predictions by key; strings, which only NumPy holds, are made when they are read."""

    def __init__(self, values: Mapping[str, Prediction]) -> None:
        self._values = dict(values)

    def __getitem__(self, key: str) -> Any:
        found = self._values[key]
        return found() if callable(found) else found

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Predictions({list(self._values)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Predictions, (dict(self),)


class Head(Configured, ABC):
    """The top of a model: given logits it knows the loss, the predictions and the metrics.

    This class is the interface, of tf.estimator.Head. A subclass that defines its abstract members has
    `create_estimator_spec`, and its repr, equality and dict come from the arguments of its ``__init__``, each of which
    is kept in the attribute of its name. `FamilyHead` implements everything for a `Family`.

    Examples
    --------
    >>> import glmheads as gh
    >>> isinstance(gh.RegressionHead(), gh.Head)
    True
    """

    @property
    @abstractmethod
    def name(self) -> str | None:
        """The head's name, or None."""

    @property
    @abstractmethod
    def logits_dimension(self) -> int:
        """Length of the last axis of the logits."""

    @property
    @abstractmethod
    def loss_reduction(self) -> Reduction:
        """How the losses of a batch become one."""

    @abstractmethod
    def loss(
        self,
        labels: Any,
        logits: Any,
        features: Any = None,
        mode: ModeKeys | str | None = None,
        regularization_losses: Sequence[Any] | None = None,
    ) -> Any:
        """The reduced loss, a scalar."""

    @abstractmethod
    def predictions(self, logits: Any, keys: Sequence[str] | None = None) -> Mapping[str, Any]:
        """The predictions, by key."""

    @abstractmethod
    def metrics(self, regularization_losses: Sequence[Any] | None = None) -> dict[str, Any]:
        """New metrics that have seen no data, by key."""

    @abstractmethod
    def update_metrics(
        self,
        eval_metrics: dict[str, Any],
        features: Any,
        logits: Any,
        labels: Any,
        mode: ModeKeys | str | None = None,
        regularization_losses: Sequence[Any] | None = None,
    ) -> dict[str, Any]:
        """Let metrics see a batch, and return them."""

    def create_estimator_spec(
        self,
        features: Any,
        mode: ModeKeys | str,
        logits: Any,
        labels: Any = None,
        optimizer: Any = None,
        trainable_variables: Sequence[Any] | None = None,
        train_op_fn: Callable[[Array], Any] | None = None,
        update_ops: Sequence[Callable[[], Any]] | None = None,
        regularization_losses: Sequence[Any] | None = None,
    ) -> EstimatorSpec:
        """All that a model function returns in a mode.

        Parameters
        ----------
        features, logits, labels, regularization_losses
            As in `loss`; labels are not needed to predict.
        mode : ModeKeys
        optimizer : optional
            A ``torch.optim.Optimizer``, or an object with its methods ``zero_grad`` and ``step``. Nothing changes
            before ``spec.train_op()`` is called, which takes one step, calls the `update_ops` and returns the loss.
        trainable_variables : list or tuple, optional
            The optimizer's own parameters; needed with an optimizer.
        train_op_fn : callable of (loss), optional
            Called at once, on any library; what it returns is ``spec.train_op``. The `update_ops` are called after it.
        update_ops : list or tuple of callables, optional

        Returns
        -------
        EstimatorSpec

        Raises
        ------
        ValueError
            If labels are missing; or if not exactly one of `optimizer` and `train_op_fn` is given in mode TRAIN.
        """
        mode = ModeKeys(mode)
        predictions = self.predictions(logits)
        if mode == ModeKeys.PREDICT:
            return EstimatorSpec(mode, predictions, export_outputs=self._export_outputs(predictions))
        given = {"features": features, "logits": logits, "labels": labels, "mode": mode}
        given["regularization_losses"] = regularization_losses
        loss = self.loss(**given)
        if mode == ModeKeys.EVAL:
            metrics = self.update_metrics(self.metrics(regularization_losses), **given)
            return EstimatorSpec(mode, predictions, loss=loss, eval_metric_ops=metrics)
        train_op = training_op(loss, optimizer, trainable_variables, train_op_fn, update_ops)
        return EstimatorSpec(mode, predictions, loss=loss, train_op=train_op)

    def _export_outputs(self, predictions: Mapping[str, Any]) -> dict[str, ExportOutput]:
        """The exports of a model that predicts, by signature."""
        return dict.fromkeys(("serving_default", "predict"), PredictOutput(predictions))

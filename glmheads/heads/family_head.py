"""`FamilyHead`: a head made of a family and metrics, from which all heads of the package derive."""

import json
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Self

from glmheads import backends
from glmheads.backends import Array
from glmheads.display import html_table, qualified_name
from glmheads.families import Family
from glmheads.heads.head import Mode, Prediction, Predictions, Scalars, StatisticsHead
from glmheads.heads.losses import FamilyLoss, UserLoss, checked_result, has, loss_fn_arguments, result_dtype, sum_of
from glmheads.inputs import Examples, LabelRule, NumericColumn, as_labels, as_logits, as_weights
from glmheads.kernels.elementwise import in_dtype, to_compute_dtype
from glmheads.metrics import MetricSpec, mean_metrics
from glmheads.names import PredictionKeys, Reduction
from glmheads.statistics import Measurement, Validity


@dataclass(frozen=True, init=False, repr=False, eq=False)
class FamilyHead(StatisticsHead):
    """A head of a family: loss, predictions, metrics and statistics on any array library.

    Parameters
    ----------
    family : Family
        Loss and inverse link.
    metrics : sequence of MetricSpec, optional
        The metrics, in the order in which they are reported; the means of loss, prediction and label if not given.
    logits_dimension : int
        Length of the last axis of the logits.
    weight_column : str or NumericColumn, optional
        The weights' column in the features; without one every weight is 1.
    loss_reduction : Reduction or str
    loss_fn : callable of (labels, logits[, features][, loss_reduction]), optional
        An unreduced loss, shaped like the logits, in place of the family's. The loss of an example must depend on that
        example alone.
    inverse_link_fn : callable of (logits), optional
        From logits to predictions, in place of the family's.
    name : str, optional
        Appended to every metric's key, as "/" + name.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of its kind.

    Notes
    -----
    Shapes, in every method: `logits` (D0, ..., DN, logits_dimension); `labels` the same, or without the last axis when
    logits_dimension is 1; weights (D0, ..., DN), (D0, ..., DN, 1), or the logits' shape. A family that is not
    elementwise also takes labels (D0, ..., DN, 1) or (D0, ..., DN), and one weight for each example. What is no array
    becomes a NumPy array. Results are in the library and on the device of the logits.

    Examples
    --------
    >>> import numpy as np, glmheads as gh
    >>> from glmheads.families import GAUSSIAN
    >>> head = gh.FamilyHead(family=GAUSSIAN)
    >>> float(head.loss(labels=np.asarray([1.0, 2.0]), logits=np.asarray([[1.5], [1.0]])))
    0.625
    """

    family: Family
    metric_specs: tuple[MetricSpec, ...]
    logits_dimension: int = 1
    weight_column: str | NumericColumn | None = None
    loss_reduction: Reduction = Reduction.SUM_OVER_BATCH_SIZE
    loss_fn: Callable[..., Array] | None = None
    inverse_link_fn: Callable[[Array], Array] | None = None
    name: str | None = None
    _loss_arguments: tuple[str, ...] = field(init=False)
    _label_rule: LabelRule = field(init=False)
    _family_loss: FamilyLoss = field(init=False)
    label_messages: ClassVar[tuple[str, str] | None] = None
    """What errors say of a label that is too high, and of any other; if None, the family's interval."""

    def __init__(
        self,
        *,
        family: Family,
        metrics: Sequence[MetricSpec] | None = None,
        logits_dimension: int = 1,
        weight_column: str | NumericColumn | None = None,
        loss_reduction: Reduction | str = Reduction.SUM_OVER_BATCH_SIZE,
        loss_fn: Callable[..., Array] | None = None,
        inverse_link_fn: Callable[[Array], Array] | None = None,
        name: str | None = None,
    ) -> None:
        if not isinstance(family, Family):
            raise TypeError(f"family must be a Family. Given type: {type(family)}")
        if inverse_link_fn is not None and not callable(inverse_link_fn):
            raise TypeError(f"inverse_link_fn must be callable. Given: {inverse_link_fn!r}")
        if weight_column is not None and not isinstance(weight_column, (str, NumericColumn)):
            raise TypeError(
                f"Weight column must be either a string or NumericColumn. Given type: {type(weight_column)}."
            )
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a string. Given type: {type(name)}")
        if not is_count(logits_dimension):
            raise ValueError(f"logits_dimension must be an integer >= 1. Given: {logits_dimension!r}")
        specs = mean_metrics() if metrics is None else tuple(metrics)
        if not all(isinstance(spec, MetricSpec) for spec in specs):
            raise TypeError(f"metrics must be a sequence of MetricSpec. Given: {metrics!r}")
        vars(self).update(
            family=family,
            metric_specs=specs,
            logits_dimension=int(logits_dimension),
            weight_column=weight_column,
            loss_reduction=_checked_reduction(loss_reduction),
            loss_fn=loss_fn,
            inverse_link_fn=inverse_link_fn,
            name=name,
            _loss_arguments=() if loss_fn is None else loss_fn_arguments(loss_fn),
            _label_rule=LabelRule.of(family.valid_labels, self.label_messages),
            _family_loss=FamilyLoss(family, _checked_reduction(loss_reduction), compiled=False),
        )
        statistics = {each.name: each for each in (Validity(), *(spec.statistic for spec in specs))}
        config = json.dumps(self._describe(list(map(repr, statistics.values()))), sort_keys=True)
        vars(self)["measurement"] = Measurement(config, family, tuple(statistics.values()))

    def _describe(self, statistics: list[str]) -> dict[str, Any]:
        """What the records of this head depend on: they add up if this is equal."""
        column = self.weight_column
        return {
            "head": type(self).__name__,
            "family": self.family.identity,
            "logits_dimension": self.logits_dimension,
            "statistics": statistics,
            "weight_column": column.key if isinstance(column, NumericColumn) else column,
            "loss_fn": qualified_name(self.loss_fn),
            "inverse_link_fn": qualified_name(self.inverse_link_fn),
        }

    def __repr__(self) -> str:
        return f"{super().__repr__()}{'.compiled()' if self._is_compiled else ''}"

    def _repr_html_(self) -> str:
        metrics = ", ".join(map(self._key, self.metric_specs))
        return html_table(type(self).__name__, {**self._shown(), "family": self.family.name, "metrics": metrics})

    def compiled(self) -> Self:
        """A head like this one whose loss, derivatives and statistics are compiled for PyTorch, JAX and CuPy.

        Every call, checks included, is one function under ``torch.compile`` or ``jax.jit``, with the same results to
        rounding. CuPy arrays are compiled by PyTorch, with which they share their memory, if it is installed and sees
        the device. The first call for a library and a dtype compiles, which takes from half a second to a minute; JAX
        compiles for every shape of a batch, PyTorch for the first two. NumPy and other libraries compute as they do
        without it; functions of your own (`loss_fn`, `inverse_link_fn`) are called as they are.

        Examples
        --------
        >>> import numpy as np, glmheads as gh
        >>> head = gh.BinaryClassHead().compiled()
        >>> round(float(head.loss(np.asarray([1, 0]), np.asarray([[2.0], [0.5]]))), 4)
        0.5505
        """
        head = copy(self)
        vars(head).update(_is_compiled=True, _family_loss=replace(self._family_loss, compiled=True))
        return head

    # Examples

    def examples(self, labels: Any, logits: Any, features: Any = None, *, evaluated: bool = False) -> Examples:
        """Labels, logits and weights as arrays of one library, of shapes that fit; values are not looked at yet.

        Parameters
        ----------
        labels, logits, features
            As in `loss`.
        evaluated : bool
            Whether functions that must be called once, with whole arrays of the user's own library, are called now:
            `loss_fn`, `inverse_link_fn`, and on PyTorch those of a family that is not portable.

        Raises
        ------
        ValueError, TypeError
            As `loss` does, for shapes and dtypes; with `evaluated` for values too.
        """
        elementwise = self.family.elementwise
        logits = as_logits(logits, self.logits_dimension)
        weights = as_weights(features, self.weight_column, logits, elementwise=elementwise)
        labels = self._read_labels(labels, logits, weights)
        examples = Examples(labels, logits, weights, self._label_rule)
        return self._evaluated(examples, features) if evaluated else examples

    @property
    def reads_features(self) -> bool:
        """Whether a `loss_fn` asks for the features."""
        return "features" in self._loss_arguments

    def _read_labels(self, labels: Any, logits: Array, weights: Array | None) -> Array:
        return as_labels(labels, logits, elementwise=self.family.elementwise)

    def _evaluated(self, examples: Examples, features: Any) -> Examples:
        backend = examples.backend
        elsewhere = backend.shares_memory or (self._is_compiled and backend.shares_compiler)
        by_family = elsewhere and not self.family.portable
        if self.loss_fn is None and self.inverse_link_fn is None and not by_family:
            return examples
        examples = examples.validated()
        losses = predictions = None
        with backend.errstate():
            loss = self._loss(features)
            if isinstance(loss, UserLoss):
                losses = loss.losses(examples)
            elif by_family:
                shape = examples.logits.shape
                flat = examples.flattened(elementwise=False)
                last = shape[-1] if self.family.elementwise else 1
                losses = backend.xp.reshape(self.family.loss(flat.labels, flat.logits), (*shape[:-1], last))
            if self.inverse_link_fn is not None or by_family:
                predictions = self._mean(examples.logits)
        return replace(examples, losses=losses, predictions=predictions)

    # Loss

    def loss(
        self, labels: Any, logits: Any, features: Any = None, mode: Mode = None, regularization_losses: Scalars = None
    ) -> Array:
        """The reduced loss.

        Parameters
        ----------
        labels, logits : array
            See the class for shapes.
        features : mapping of arrays or DataFrame, optional
            Needed for a weight column.
        mode : ModeKeys, optional
            Accepted for compatibility; the loss does not depend on it.
        regularization_losses : sequence of scalars, optional
            Their sum is added after the reduction.

        Returns
        -------
        0-d array
            In the logits' dtype, at least float32. Differentiable by the logits in PyTorch and JAX.

        Raises
        ------
        ValueError
            If a shape is wrong, the weight column is missing, or a label or weight at hand is not allowed; elsewhere
            such a value makes the loss NaN. A NaN logit makes it NaN everywhere.
        TypeError
            If an argument does not hold real numbers.
        """
        loss: Array = self._loss(features)(self.examples(labels, logits, features))
        return loss + sum_of(regularization_losses, loss) if has(regularization_losses) else loss

    def gradient(self, labels: Any, logits: Any, features: Any = None) -> Array:
        """First derivative of the reduced loss by the logits, without regularization.

        Parameters
        ----------
        labels, logits, features
            As in `loss`.

        Returns
        -------
        array
            Shaped like the logits and in their dtype. In closed form; with a `loss_fn`, by the library's autograd.

        Raises
        ------
        TypeError
            If the head has a `loss_fn` and the library no autograd.
        ValueError, TypeError
            As `loss` does.
        """
        return self._loss(features).derivative("gradient", self.examples(labels, logits, features))

    def hessian(self, labels: Any, logits: Any, features: Any = None) -> Array:
        """Diagonal of the second derivative of the reduced loss by the logits, without regularization.

        Parameters, result and errors are those of `gradient`.
        """
        return self._loss(features).derivative("hessian", self.examples(labels, logits, features))

    def _loss(self, features: Any) -> FamilyLoss | UserLoss:
        if self.loss_fn is None:
            return self._family_loss
        optional = {"features": features, "loss_reduction": self.loss_reduction}
        given = {key: optional[key] for key in self._loss_arguments}
        return UserLoss(partial(self.loss_fn, **given), self.loss_reduction, self.family.elementwise)

    # Predictions

    def predictions(self, logits: Any, keys: Sequence[str] | None = None) -> Mapping[str, Any]:
        """The predictions, by key.

        Parameters
        ----------
        logits : array
        keys : sequence of str, optional
            Which of `PredictionKeys`; all that the head has if not given.

        Returns
        -------
        mapping of arrays
            Floating arrays have the logits' dtype. Strings are NumPy arrays made when they are read, and are absent
            under a trace.

        Raises
        ------
        ValueError
            If the logits' shape is wrong, or the head has no such key.
        TypeError
            If the logits are not real numbers, or `keys` is a string.
        """
        logits = as_logits(logits, self.logits_dimension)
        backend = backends.of(logits)
        with backend.errstate():
            found = self._predictions(to_compute_dtype(logits), result_dtype(logits))
        if isinstance(keys, str):
            raise TypeError(f"keys must be a list of prediction keys. Given the string {keys!r}: write [{keys!r}]")
        for key in keys or ():
            if key not in list(found):
                raise ValueError(
                    f"Prediction key must be in PredictionKeys, given: {key}. This head has {list(map(str, found))}."
                )
        chosen = {str(key): found[key] for key in keys or found}
        if backend.is_traced(logits):
            return {key: array for key, array in chosen.items() if not callable(array)}
        return Predictions(chosen)

    def _predictions(self, logits: Array, dtype: Any) -> dict[str, Prediction]:
        """All predictions by key, as arrays or as functions that make them; floating ones in `dtype`."""
        return {
            PredictionKeys.PREDICTIONS: in_dtype(self._mean(logits), dtype),
            PredictionKeys.LOGITS: in_dtype(logits, dtype),
        }

    def _mean(self, logits: Array) -> Array:
        """The predicted mean, shaped like the logits."""
        if self.inverse_link_fn is not None:
            return checked_result("inverse_link_fn", self.inverse_link_fn(logits), logits, tuple(logits.shape))
        if self.family.elementwise or logits.ndim == 2:
            return self.family.inverse_link(logits)
        xp = backends.of(logits).xp
        rows = xp.reshape(logits, (-1, logits.shape[-1]))
        return xp.reshape(self.family.inverse_link(rows), logits.shape)


def is_count(number: Any, least: int = 1) -> bool:
    """Whether it is an integer of at least `least`."""
    return not isinstance(number, bool) and hasattr(number, "__index__") and number >= least


def _checked_reduction(given: Reduction | str) -> Reduction:
    try:
        reduction = Reduction(given)
    except ValueError:
        reduction = Reduction.NONE
    if reduction == Reduction.NONE:
        valid = [str(r) for r in Reduction if r != Reduction.NONE]
        raise ValueError(f"Invalid loss_reduction: {given}. A head takes one of {valid}.")
    return reduction

"""`Examples`: labels, logits and weights of one library and device, and the checks of their values.

Values are checked where they can be looked at; elsewhere a label or weight that is not allowed becomes NaN, which makes
the loss NaN and is counted in the statistics. An example of weight 0 is absent: it is never refused.
"""

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any

import numpy as np

from glmheads import backends
from glmheads.backends import Array
from glmheads.families import Interval
from glmheads.inputs.arrays import SHOWN
from glmheads.kernels.elementwise import in_dtype, to_compute_dtype
from glmheads.kernels.reductions import Pair, counted, total

_VALID_WEIGHTS = Interval(0)


@dataclass(frozen=True)
class LabelRule:
    """The labels that a head accepts, and what an error says of a label that is too high, and of any other.

    Attributes
    ----------
    valid : Interval
    too_high, otherwise : str
    """

    valid: Interval
    too_high: str
    otherwise: str

    @classmethod
    def of(cls, valid: Interval | None, messages: tuple[str, str] | None = None) -> "LabelRule":
        """The rule for an interval, with its own words if there are no `messages`."""
        valid = Interval() if valid is None else valid
        words = "Labels must be finite" + (f" and {valid}" if str(valid) else "")
        return cls(valid, *(messages or (words, words)))


@dataclass(eq=False)
class Examples:
    """Labels, logits and weights of examples: arrays of one library on one device.

    Attributes
    ----------
    labels : array
        Shaped like the logits; if the family is not elementwise, its last axis may have length 1.
    logits : array of shape (..., d)
    weights : array of shape (..., 1) or (..., d), optional
        None stands for ones.
    rule : LabelRule
    losses, predictions : array, optional
        Of the labels and logits, once they are computed.
    is_validated : bool
        Whether `validated` has been applied.

    Notes
    -----
    After `validated` labels, logits and weights are float32 or float64 arrays. A label or weight that is not allowed
    and could not be refused is NaN, and labels and logits of weight 0 are 0.
    """

    labels: Array
    logits: Array
    weights: Array | None
    rule: LabelRule
    losses: Array | None = None
    predictions: Array | None = None
    is_validated: bool = False

    @backends.once
    def backend(self) -> backends.Backend:
        """That of the logits."""
        return backends.of(self.logits)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # without what was computed once

    # Arrays

    def arrays(self) -> tuple[Array | None, ...]:
        """Labels, logits, weights, losses and predictions."""
        return self.labels, self.logits, self.weights, self.losses, self.predictions

    def with_arrays(self, arrays: Iterable[Array | None]) -> "Examples":
        """These examples with other `arrays`."""
        labels, logits, weights, losses, predictions = arrays
        return Examples(labels, logits, weights, self.rule, losses, predictions, self.is_validated)

    def map(self, function: Callable[[Array], Array]) -> "Examples":
        """These examples with what a function makes of each array."""
        return self.with_arrays([None if array is None else function(array) for array in self.arrays()])

    def with_logits(self, logits: Array) -> "Examples":
        """These examples with other logits."""
        return Examples(self.labels, logits, self.weights, self.rule, is_validated=self.is_validated)

    def __getitem__(self, rows: "slice | Array") -> "Examples":
        """The examples of these rows, a slice or NumPy positions; the arrays are NumPy's or the library's own."""
        return self.map(lambda array: array[rows])

    def detached(self) -> "Examples":
        """The examples without the graph that autograd would keep alive with them."""
        return self.map(lambda array: backends.of(array).detach(array)) if self.backend.has_autograd else self

    def flattened(self, *, elementwise: bool) -> "Examples":
        """The examples with one axis, if each logit stands alone and has its weight; else with two.

        XLA computes arrays of shape (n, 1) tens of times slower than those of shape (n,).
        """
        weights, reshape = self.weights, self.backend.xp.reshape
        one_axis = elementwise and (weights is None or weights.shape[-1:] == self.logits.shape[-1:])
        if self.logits.ndim == (1 if one_axis else 2):
            return self
        arrays = self.arrays()
        if one_axis:
            return self.with_arrays([None if array is None else reshape(array, (-1,)) for array in arrays])
        return self.with_arrays([None if array is None else reshape(array, (-1, array.shape[-1])) for array in arrays])

    def weigh(self, values: Array) -> Array:
        """``weights * values``"""
        return values if self.weights is None else self.weights * values

    # Checks

    def validated(self) -> "Examples":
        """The examples with checked values in one dtype of at least float32, and 0 in labels and logits of weight 0.

        Raises
        ------
        ValueError
            If a weight at hand is negative or not finite, or a label at hand of weight > 0 breaks the rule.
        """
        if self.is_validated:
            return self
        logits, weights, some_absent = to_compute_dtype(self.logits), self.weights, False
        if weights is not None:
            weights, some_absent = _checked_weights(in_dtype(to_compute_dtype(weights), logits.dtype))
        labels = in_dtype(_checked_labels(to_compute_dtype(self.labels), weights, self.rule), logits.dtype)
        if some_absent:
            absent = weights == 0
            labels, logits = (self.backend.zero_where(absent, array) for array in (labels, logits))
        return Examples(labels, logits, weights, self.rule, self.losses, self.predictions, is_validated=True)

    # What several statistics read of validated examples, computed once

    @backends.once
    def unknown(self) -> dict[str, Array]:
        """Which logits, labels and weights are NaN, by row, for those arrays that may hold any."""
        arrays = {"logits": self.logits, "labels": self.labels, "weights": self.weights}
        xp = self.backend.xp
        return {
            key: xp.isnan(array) if array.ndim == 1 else xp.any(xp.isnan(array), axis=-1)
            for key, array in arrays.items()
            if array is not None and self.backend.possibly_nan(array)
        }

    def known(self, values: Array) -> Array:
        """The values, 0 where anything is NaN; for a family that is elementwise."""
        if not self.unknown:
            return values
        return self.backend.zero_where(reduce(operator.or_, self.unknown.values()), values)

    def wide(self, values: Array) -> Array:
        """The values in the accumulation dtype."""
        return self.backend.xp.astype(values, self.accumulation_dtype, copy=False)

    @property
    def accumulation_dtype(self) -> Array:
        """float64 where the device has it, else float32."""
        return self.backend.accumulation_dtype(self.backend.device(self.logits))

    @backends.once
    def known_labels(self) -> Array:
        """The labels, 0 where anything is NaN."""
        return self.known(self.labels)

    @backends.once
    def known_weights(self) -> Array:
        """The weights in the labels' dtype, 0 where anything is NaN."""
        return self.known(self.backend.xp.ones_like(self.labels) if self.weights is None else self.weights)

    @backends.once
    def wide_weights(self) -> Array:
        """The known weights in the accumulation dtype."""
        return self.wide(self.known_weights)

    @backends.once
    def class_weights(self) -> tuple[Array, Array]:
        """Weight of the positive class w z and of the negative class w (1 − z), each shaped like the labels.

        Products with soft labels are made in the accumulation dtype: in float32 they would lose more to rounding than
        the bounds of areas allow for.
        """
        labels, weights = self.known_labels, self.known_weights
        if not self.has_hard_labels:
            labels, weights = self.wide(labels), self.wide_weights
        return weights * labels, weights * (1 - labels)

    @backends.once
    def has_hard_labels(self) -> bool:
        """Whether all labels are known to be 0 or 1."""
        return not self.backend.possibly_any((self.labels != 0) & (self.labels != 1))

    @backends.once
    def total_label(self) -> Pair:
        """Σ w z, of a family that is not elementwise for the mean label of each example."""
        return self.total_of(self.labels)

    @backends.once
    def total_weight(self) -> Pair:
        """Σ w, of one loss an element or, if the family is not elementwise, an example."""
        if self.weights is None:
            return counted(self.logits.shape[0], self.logits)
        return total(self.weights if self.unknown else self.wide(self.weights))

    def total_of(self, values: Array) -> Pair:
        """Σ w v, of the mean of v over the last axis where there are two."""
        summed = total(self.weigh(values))
        return summed if values.ndim == 1 else summed.map(lambda part: part / values.shape[-1])


def concatenated(several: Sequence[Examples]) -> Examples:
    """Validated examples in NumPy arrays, one after the other."""
    columns = zip(*(examples.arrays() for examples in several), strict=True)
    return several[0].with_arrays([None if column[0] is None else np.concatenate(column) for column in columns])


def _checked_weights(weights: Array) -> tuple[Array, bool]:
    """The weights, NaN where they are not allowed and could not be refused; and whether some may be 0."""
    extremes = backends.of(weights).min_max(weights)
    if extremes is not None and _VALID_WEIGHTS.contains_range(*extremes):
        return weights, extremes[0] == 0
    bad = ~_VALID_WEIGHTS.contains(weights)
    return _refuse(weights, bad, None, "weights must be finite and >= 0", "weights"), True


def _checked_labels(labels: Array, weights: Array | None, rule: LabelRule) -> Array:
    """The labels, NaN where they break the rule and could not be refused."""
    extremes = backends.of(labels).min_max(labels)
    if extremes is not None and rule.valid.contains_range(*extremes):
        return labels
    if rule.too_high != rule.otherwise and backends.of(labels).is_concrete(labels):
        labels = _refuse(labels, labels > rule.valid.high, weights, rule.too_high, "labels")
    return _refuse(labels, ~rule.valid.contains(labels), weights, rule.otherwise, "labels")


def _refuse(values: Array, bad: Array, weights: Array | None, message: str, name: str) -> Array:
    backend = backends.of(values)
    xp = backend.xp
    if weights is not None:
        bad = bad & (weights != 0)
    if not backend.is_concrete(bad):
        return xp.where(bad, xp.full_like(values, float("nan")), values)
    if bool(xp.any(bad)):
        flat, where = backend.to_numpy(values).ravel(), backend.to_numpy(bad).ravel()
        index = np.flatnonzero(where)
        shown = ", ".join(f"{flat[i]:g} at {i}" for i in index[:SHOWN])
        more = ", ..." if len(index) > SHOWN else ""
        raise ValueError(f"{message}; {len(index)} of {len(flat)} {name} are not: {shown}{more}")
    return values

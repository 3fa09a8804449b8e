"""Hypothesis strategies: batches such as a head gets, with all that is awkward about them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from glmheads.backends import Backend
from glmheads.families import Interval
from glmheads.heads import FamilyHead
from glmheads.inputs import NumericColumn
from glmheads.kernels import calibration
from glmheads.statistics import ProbabilityBins, ScoreBuckets, ThresholdCounts

NumPyArray = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Batch:
    """Labels, logits and weights of some examples, as NumPy arrays of one dtype.

    Attributes
    ----------
    labels, logits, weights : array of shape (n, ..., d)
        For a head without a weight column the weights are 1.
    flat : bool
        Whether the head is given labels and weights without their last axis where it allows that.

    Examples
    --------
    >>> import numpy as np, glmheads as gh
    >>> from glmheads.testing import Batch
    >>> head = gh.RegressionHead(weight_column="w")
    >>> batch = Batch(labels=np.ones((2, 1)), logits=np.asarray([[1.0], [3.0]]), weights=np.ones((2, 1)))
    >>> float(head.loss(*batch.arguments(head)))
    2.0
    """

    labels: NumPyArray
    logits: NumPyArray
    weights: NumPyArray
    flat: bool = False

    def __len__(self) -> int:
        return len(self.logits)

    def __getitem__(self, rows: Any) -> "Batch":
        """The examples of these rows (a slice or an array of positions)."""
        return Batch(self.labels[rows], self.logits[rows], self.weights[rows], self.flat)

    def __repr__(self) -> str:
        arrays = (f"{name}={getattr(self, name).tolist()}" for name in ("labels", "logits", "weights"))
        return f"Batch({', '.join(arrays)}, flat={self.flat})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))  # Hypothesis would print what it knows of dataclasses

    def followed_by(self, other: "Batch") -> "Batch":
        """The examples of both."""
        labels = np.concatenate([self.labels, other.labels])
        logits = np.concatenate([self.logits, other.logits])
        return Batch(labels, logits, np.concatenate([self.weights, other.weights]), self.flat)

    def astype(self, dtype: Any) -> "Batch":
        """The same numbers in another dtype."""
        labels, logits, weights = (a.astype(dtype) for a in (self.labels, self.logits, self.weights))
        return Batch(labels, logits, weights, self.flat)

    def weighing(self, weights: Any) -> "Batch":
        """The same examples with other weights, an array or a number."""
        return replace(self, weights=np.broadcast_to(weights, self.logits.shape).astype(self.logits.dtype))

    def arguments(self, head: FamilyHead, backend: Backend | None = None, device: Any = None) -> tuple[Any, Any, Any]:
        """``(labels, logits, features)`` as the head takes them, in the arrays of a backend (of NumPy without one)."""

        def bring(array: NumPyArray) -> Any:
            array = array.copy()
            return array if backend is None else backend.from_numpy(array, device)

        labels, weights = self.labels, self.weights
        if weights.shape[-1] > 1 and (weights == weights[..., :1]).all():
            weights = weights[..., :1]
        if self.flat:
            labels, weights = (a[..., 0] if a.shape[-1] == 1 else a for a in (labels, weights))
        vocabulary = getattr(head, "label_vocabulary", None)
        given = bring(labels) if vocabulary is None else np.asarray(vocabulary)[labels.astype(int)]
        column = weight_column(head)
        return given, bring(self.logits), None if column is None else {column: bring(weights)}


def weight_column(head: FamilyHead) -> str | None:
    """The name of the head's weight column."""
    column = head.weight_column
    return column.key if isinstance(column, NumericColumn) else column


_SIZES = st.sampled_from([0, 1, 2, 3, 5, 8, 8, 13])
_INNER = st.sampled_from([(), (), (2,), (1, 3)])
_TIES = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0])
_MIXED = st.sampled_from([1.0, 2.0, 0.0, 0.25, 3.0, 64.0])
_WAYS_TO_WEIGH = [st.just(1.0), _MIXED, _MIXED, _MIXED, st.just(0.0)]


@st.composite
def batches(
    draw: st.DrawFn,
    head: FamilyHead,
    dtype: Any = "float32",
    *,
    rows: int | None = None,
    inner: tuple[int, ...] | None = None,
) -> Batch:
    """A strategy for batches that a head accepts.

    They are empty or small; labels are hard or soft, all of one class or mixed; logits are tied or apart, ±0, small
    or so large that probabilities round to 1; some weights are 0. All values are finite numbers of the dtype, and
    products of labels and weights are exact. No logit but 0 has a probability within rounding of a threshold of the
    head, where libraries may differ.

    Parameters
    ----------
    head : Head
    dtype : str or dtype
        float16, float32 or float64.
    rows : int, optional
        Length of the first axis, drawn if not given.
    inner : tuple of int, optional
        The axes between the first and the last, drawn if not given.

    Returns
    -------
    SearchStrategy of Batch

    Examples
    --------
    >>> from hypothesis import given
    >>> import glmheads as gh
    >>> from glmheads.testing import batches
    >>> head = gh.BinaryClassHead(weight_column="w")
    >>> @given(batches(head))
    ... def test_loss_is_not_negative(batch):
    ...     assert head.loss(*batch.arguments(head)) >= 0
    >>> test_loss_is_not_negative()
    """
    dtype = np.dtype(dtype)
    shape = (draw(_SIZES) if rows is None else rows, *(draw(_INNER) if inner is None else inner), head.logits_dimension)

    def array(elements: st.SearchStrategy[float]) -> NumPyArray:
        size = int(np.prod(shape))
        return np.asarray(draw(st.lists(elements, min_size=size, max_size=size)), dtype=dtype).reshape(shape)

    labels = array(draw(st.sampled_from(_labels(head))))
    logits = array(draw(st.sampled_from(_logits(head, dtype))))
    weights = array(st.just(1.0) if weight_column(head) is None else draw(st.sampled_from(_WAYS_TO_WEIGH)))
    if head.logits_dimension > 1 and draw(st.booleans()):
        weights = np.broadcast_to(weights[..., :1], shape).copy()
    return Batch(labels, logits, weights, flat=draw(st.booleans()))


def _labels(head: FamilyHead) -> list[st.SearchStrategy[float]]:
    """Ways to choose labels: few or many values of the range, or one; products with weights are exact."""
    low, high = label_range(head)
    if not np.isfinite(low):
        return [st.integers(-2, 2).map(float), st.integers(-80, 80).map(lambda k: k / 4)]
    if not np.isfinite(high):
        return [st.integers(0, 20).map(lambda k: low + k), st.integers(0, 80).map(lambda k: low + k / 4), st.just(low)]
    hard, one_class = st.sampled_from([low, high]), [st.just(low), st.just(high)]
    if getattr(head, "label_vocabulary", None) is not None:
        return [hard, hard, *one_class]
    soft = st.integers(0, 8).map(lambda k: low + (high - low) * k / 8)
    return [hard, hard, soft, soft, *one_class]


def label_range(head: FamilyHead) -> tuple[float, float]:
    """The smallest and the largest valid label, or for an open end one just inside; infinite where there is none."""
    valid = head.family.valid_labels or Interval()
    low = valid.low if valid.low_closed or not np.isfinite(valid.low) else valid.low + 0.25
    return low, valid.high if valid.high_closed or not np.isfinite(valid.high) else valid.high - 0.25


def mean(head: FamilyHead, logits: NumPyArray) -> NumPyArray:
    """The predicted means of NumPy logits."""
    return np.asarray((head.inverse_link_fn or head.family.inverse_link)(logits))


def _logits(head: FamilyHead, dtype: np.dtype[Any]) -> list[st.SearchStrategy[float]]:
    """Ways to choose logits: tied, apart, far apart, all of that."""
    limit = logit_limit(head, dtype)
    width: Any = 8 * dtype.itemsize
    near = st.floats(-4.0, 4.0, width=width, allow_subnormal=False)
    far = st.floats(-limit, limit, width=width, allow_subnormal=False)
    ways: list[st.SearchStrategy[float]] = [_TIES, near, far, st.one_of(_TIES, near, far)]
    return [way.filter(_is_clear(head, dtype)) for way in ways]


def logit_limit(head: FamilyHead, dtype: Any) -> float:
    """How far logits may go without overflow of losses, means and their sums."""
    low, high = label_range(head)
    largest = min(1e10, float(np.finfo(dtype).max) / 1000)
    labels = np.clip([[-20.0], [20.0], [-20.0], [20.0]], low, high)
    for limit in (1000.0, 20.0):
        logits = np.asarray([[-limit], [-limit], [limit], [limit]])
        with np.errstate(all="ignore"):
            extremes = np.stack([head.family.loss(labels, logits), mean(head, logits)])
        if np.max(np.abs(extremes)) < largest:
            return limit
    return 4.0


def _is_clear(head: FamilyHead, dtype: np.dtype[Any]) -> Callable[[float], bool]:
    """Tells whether a logit has a probability that no rounding takes across a threshold."""
    marks: list[tuple[float, float]] = []  # each with its margin
    single, eps = float(np.finfo(np.float32).eps), float(np.finfo(np.promote_types(dtype, np.float32)).eps)
    for statistic in (spec.statistic for spec in head.metric_specs):
        if isinstance(statistic, ThresholdCounts):
            marks += [(t if eps < single else float(np.float32(t)), 16 * eps) for t in statistic.thresholds]
        if isinstance(statistic, ScoreBuckets):
            last = statistic.num_thresholds - 1
            marks += [(k / last, 16 * single) for k in range(1, last)]
        if isinstance(statistic, ProbabilityBins):
            marks += [(k / calibration.EQUAL, 16 * eps) for k in range(1, calibration.EQUAL)]
    if not marks:
        return np.isfinite
    at, margin = np.asarray(marks).T

    def clear(logit: float) -> bool:
        p = mean(head, np.asarray([[logit]], dtype=np.float64))[0, 0]
        return logit == 0 or bool(np.all(abs(p - at) > margin))

    return clear

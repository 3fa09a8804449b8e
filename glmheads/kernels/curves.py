"""Areas under the ROC and the precision–recall curve, of arrays and of weights by score.

The data enter as the weights of positives and of negatives at each distinct score, in ascending order of the
score. Examples of equal score are a tie: the ROC curve runs straight through it, the precision–recall curve as Davis
and Goadrich (*The relationship between precision-recall and ROC curves*, ICML 2006) have it. Every area is 0 where it
is 0 / 0.
"""

from collections.abc import Callable
from typing import NamedTuple

from glmheads import backends
from glmheads.backends import Array
from glmheads.kernels.reductions import Pair, add, safe_divide, value


class ClassWeights(NamedTuple):
    """ClassWeights of positives and of negatives, pairs of shape (m,), by ascending score."""

    positive: Pair
    negative: Pair


def weights_by_score(scores: Array, positive: Pair, negative: Pair) -> ClassWeights:
    """The weights of equal scores joined, in ascending order of the score.

    All arrays have shape (m,); so have the results, whose tail is 0 where scores are equal: the shape depends on shapes
    alone.
    """
    backend = backends.of(scores)
    xp = backend.xp
    index = backend.argsort(scores)
    scores = xp.take(scores, index)
    group = groups(xp.concat([xp.ones_like(scores[:1], dtype=xp.bool), scores[1:] != scores[:-1]]))
    in_order = (pair.map(lambda part: xp.take(part, index)) for pair in (positive, negative))
    return ClassWeights(*(join(pair, group, scores.shape[0]) for pair in in_order))


def groups(starts: Array) -> Array:
    """The number of each element's group, from 0 up, given which elements start a group."""
    xp = backends.of(starts).xp
    return xp.astype(xp.cumulative_sum(xp.astype(starts, xp.int32)), xp.int32) - 1


def join(pair: Pair, group: Array, length: int) -> Pair:
    """Sum of the pairs of each group, shape (length,); `group` ascends."""
    backend = backends.of(pair.hi)
    if pair.hi.dtype == backend.xp.float64:
        return Pair(backend.segment_sum(value(pair), group, length))
    return Pair(*backend.segment_reduce(tuple(pair.arrays()), group, length, _add_pairs, 0.0))


def _add_pairs(p: tuple[Array, ...], q: tuple[Array, ...]) -> tuple[Array, ...]:
    return add(Pair(*p), Pair(*q))


def cumulative(pair: Pair) -> Array:
    """Inclusive running sum, as an array of shape (m,) that is right to a few roundings in either width."""
    backend = backends.of(pair.hi)
    xp = backend.xp
    if pair.hi.dtype == xp.float64:
        return xp.cumulative_sum(value(pair))
    everything = xp.zeros_like(pair.hi, dtype=xp.int32)
    return value(Pair(*backend.scan(tuple(pair.arrays()), _add_pairs, everything)))


def _before(running: Array) -> Array:
    """The exclusive running sum that belongs to an inclusive one."""
    xp = backends.of(running).xp
    return xp.concat([xp.zeros_like(running[:1]), running[:-1]])


def _from_above(pair: Pair) -> tuple[Array, Array]:
    """The weights in descending order of the score, and their running sum."""
    xp = backends.of(pair.hi).xp
    flipped = pair.map(xp.flip)
    return value(flipped), cumulative(flipped)


def roc_area(weights: ClassWeights) -> Array:
    """The probability that a positive has a higher score than a negative, a tie counting half: a 0-d array."""
    xp = backends.of(weights.positive.hi).xp
    positive, negative = value(weights.positive), value(weights.negative)
    below = cumulative(weights.negative)
    # Shares first, so that no product of totals overflows or vanishes.
    positive_share = safe_divide(positive, xp.broadcast_to(cumulative(weights.positive)[-1], positive.shape))
    rank = safe_divide(_before(below) + negative / 2, xp.broadcast_to(below[-1], negative.shape))
    return xp.sum(positive_share * rank)


def precision_recall_area(weights: ClassWeights) -> Array:
    """The area under Davis and Goadrich's interpolation between the points of all distinct scores: a 0-d array.

    Along a tie TP grows linearly with P = TP + FP, TP = slope·P + intercept, and the integral of TP / P dTP is
    slope·(ΔTP + intercept·log(P_end / P_start)), without the logarithm where P_start is 0 (there the intercept is 0).
    """
    xp = backends.of(weights.positive.hi).xp
    d_tp, tp = _from_above(weights.positive)
    d_fp, fp = _from_above(weights.negative)
    total = xp.broadcast_to(tp[-1] + fp[-1], tp.shape)
    d_tp, tp, d_fp, fp = (safe_divide(weight, total) for weight in (d_tp, tp, d_fp, fp))
    tp_start, fp_start = _before(tp), _before(fp)
    p_start, d_p = tp_start + fp_start, d_tp + d_fp
    slope = safe_divide(d_tp, d_p)
    intercept = tp_start * safe_divide(d_fp, d_p) - slope * fp_start
    area = xp.sum(slope * (d_tp + intercept * xp.log1p(safe_divide(d_p, p_start))))
    return safe_divide(area, tp[-1])


def average_precision_area(weights: ClassWeights) -> Array:
    """Σ (recall step) · precision over the distinct scores, as scikit-learn defines average precision: a 0-d array."""
    xp = backends.of(weights.positive.hi).xp
    d_tp, tp = _from_above(weights.positive)
    _, fp = _from_above(weights.negative)
    return safe_divide(xp.sum(d_tp * safe_divide(tp, tp + fp)), tp[-1])


def curve_points(scores: Array, weights: ClassWeights) -> Array:
    """Thresholds, false and true positive rate (recall), and precision of scores of at least that: shape (4, m + 1).

    The scores, of shape (m,), ascend as the weights do; the thresholds descend, and the first is ∞, with no positives,
    where precision is 1.
    """
    xp = backends.of(scores).xp
    _, tp = _from_above(weights.positive)
    _, fp = _from_above(weights.negative)
    rows = ((float("inf"), xp.flip(scores)), (0.0, tp), (0.0, fp))
    thresholds, tp, fp = (xp.concat([xp.full_like(row[:1], first), row]) for first, row in rows)
    fpr, tpr = (safe_divide(sums, xp.broadcast_to(sums[-1:], sums.shape)) for sums in (fp, tp))
    precision = xp.where(tp + fp == 0, xp.ones_like(tp), safe_divide(tp, tp + fp))
    return xp.stack([thresholds, fpr, tpr, precision])


def named_curves(points: Array) -> dict[str, dict[str, Array]]:
    """The ROC and the precision–recall curve of `curve_points`."""
    thresholds, fpr, recall, precision = (points[row, ...] for row in range(4))
    return {
        "roc": {"false_positive_rate": fpr, "true_positive_rate": recall, "thresholds": thresholds},
        "precision_recall": {"precision": precision, "recall": recall, "thresholds": thresholds},
    }


def roc_auc(labels: Array, scores: Array, weights: Array | None = None) -> Array:
    """The exact weighted area under the ROC curve of arrays in memory.

    Parameters
    ----------
    labels : array of shape (n,)
        From 0 to 1; a label in between counts as that much of a positive and the rest of a negative.
    scores : array of shape (n,)
        In any unit: only their order matters.
    weights : array of shape (n,), optional

    Returns
    -------
    0-d array of the accumulation dtype (float64 where the device has it)
        0 where there are no positives or no negatives.

    Examples
    --------
    >>> import numpy as np
    >>> labels, scores = np.asarray([1.0, 0.0, 1.0, 0.0]), np.asarray([3.0, 2.0, 2.0, 1.0])
    >>> float(roc_auc(labels, scores))
    0.875
    """
    return _area(roc_area, labels, scores, weights)


def average_precision(labels: Array, scores: Array, weights: Array | None = None) -> Array:
    """The exact weighted average precision of arrays in memory, the step sum as scikit-learn defines it.

    Parameters and result are those of `roc_auc`.

    Examples
    --------
    >>> import numpy as np
    >>> labels, scores = np.asarray([1.0, 0.0, 1.0]), np.asarray([3.0, 2.0, 1.0])
    >>> round(float(average_precision(labels, scores)), 6)
    0.833333
    """
    return _area(average_precision_area, labels, scores, weights)


def _area(area: Callable[[ClassWeights], Array], labels: Array, scores: Array, weights: Array | None) -> Array:
    backend = backends.of(scores)
    given = (labels,) if weights is None else (labels, weights)
    for name, array in zip(("labels", "weights"), given, strict=False):
        if array.shape != scores.shape or scores.ndim != 1:
            raise ValueError(
                f"{name} and scores must have one shape (n,): {name} have shape {tuple(array.shape)}, "
                f"scores {tuple(scores.shape)}. Flatten them with reshape(-1)."
            )
    with backend.errstate():
        return backend.call(_area_of_arrays, scores, *given, shape=(), area=area)


def _area_of_arrays(
    scores: Array, labels: Array, weights: Array | None = None, *, area: Callable[[ClassWeights], Array]
) -> Array:
    backend = backends.of(scores)
    xp = backend.xp
    dtype = backend.accumulation_dtype(backend.device(scores))
    if scores.shape[0] == 0:
        return xp.zeros((), dtype=dtype, device=backend.device(scores))
    labels = xp.astype(labels, dtype, copy=False)
    weights = xp.ones_like(labels) if weights is None else xp.astype(weights, dtype, copy=False)
    return area(weights_by_score(scores, Pair(weights * labels), Pair(weights * (1 - labels))))

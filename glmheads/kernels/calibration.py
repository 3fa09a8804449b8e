"""How well predicted probabilities are calibrated, from a histogram of them.

The bins of the histogram are the common refinement of two grids. One is uniform in the log odds, four bins to a unit:
on it rare events are told apart (a tenth of a percent from a hundredth), where a grid in the probability has all of
them in its first bin. It ends at ±16, where probabilities in float32 do. The other one is the grid of 15 equal bins of
the probability over which the expected calibration error is defined. The bin of an example is the number of edges at or
below it, and so the sum of its places in the two grids, each a product and a floor.

A histogram is a pair of shape (4, `BINS`): by bin in ascending order the weight of the negatives Σ w (1 − z), that
of the positives Σ w z, the predictions Σ w p and the number of examples.
"""

import math
from itertools import pairwise

import numpy as np

from glmheads import backends
from glmheads.backends import Array
from glmheads.kernels.links import log_sigmoid, sigmoid
from glmheads.kernels.reductions import Pair, add, safe_divide, segment_total, value

EQUAL = 15
"""Equal bins of the probability, as many as Guo et al. (2017) and torchmetrics have."""
_PER_UNIT = 4
_SPAN = 16

_EQUAL_EDGES = [math.log(i / (EQUAL - i)) for i in range(1, EQUAL)]
_EDGES = np.sort([*_EQUAL_EDGES, *(i / _PER_UNIT for i in range(1 - _SPAN * _PER_UNIT, _SPAN * _PER_UNIT))])
"""Log odds at which a bin ends and the next one starts."""

BINS = len(_EDGES) + 1
"""How many bins there are: 142."""

_STARTS = [0, *(np.searchsorted(_EDGES, _EQUAL_EDGES) + 1).tolist(), BINS]
"""The bin with which each of the equal bins starts, and the end of the last one."""

_NEWTON_STEPS = 24
"""Eight are enough for data of equal weights; 17 were the most that weights of a spread of 1e8 needed."""
_LENGTHS = (2.0, 1.0, 0.5, 0.25, 0.125)
"""Of a Newton step, tried while the steps are long."""


def bins(logits: Array, probabilities: Array) -> Array:
    """The bin of each example, from 0 to ``BINS - 1``, given its logit and the logit's sigmoid, neither of them NaN.

    A bin holds its lower edge and not its upper one.
    """
    xp = backends.of(logits).xp
    last = _SPAN * _PER_UNIT - 1
    by_logit = xp.floor(xp.clip(logits * _PER_UNIT, -last - 1, last))
    by_probability = xp.floor(xp.clip(probabilities * EQUAL, 0, EQUAL - 1))
    return xp.astype(by_logit + by_probability, xp.int32) + (last + 1)


def histogram(bins: Array, positive: Array, negative: Array, probabilities: Array, *, weighted: bool = True) -> Pair:
    """The histogram of examples in these bins, with their class weights and probabilities: four arrays of shape (n,).

    Where examples are not weighted, each element has weight 1.
    """
    xp = backends.of(positive).xp
    weight = positive + negative
    rows = [positive, weight * probabilities, xp.astype(weight > 0, weight.dtype) if weighted else weight]
    sums = [segment_total(row, bins, BINS) for row in rows]
    rest = segment_total(negative, bins, BINS) if weighted else add(sums[2], Pair(-sums[0].hi, -sums[0].lo))
    return Pair(*(xp.stack(parts) for parts in zip(*(pair.arrays() for pair in (rest, *sums)), strict=True)))


def _rows(hi: Array, lo: Array) -> tuple[Array, Array, Array, Array]:
    """Negative weight, positive weight, predictions and counts."""
    rows = value(Pair(hi, lo))
    return rows[0, :], rows[1, :], rows[2, :], rows[3, :]


def _sides(first: float, edges: np.ndarray, last: float, like: Array) -> list[Array]:
    """The lower and the upper edge of each bin, given those between bins."""
    backend = backends.of(like)
    sides = np.asarray([[first, *edges], [*edges, last]])
    return [backend.xp.astype(backend.from_numpy(side, backend.device(like)), like.dtype, copy=False) for side in sides]


def expected_calibration_error(hi: Array, lo: Array) -> Array:
    """Σ |Σ w p − Σ w z| / Σ w, the outer sum over the 15 equal bins of the probability: a 0-d array.

    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger (2017). On calibration of modern neural networks. *ICML*, 1321–1330.
    """
    xp = backends.of(hi).xp
    negative, positive, _, _ = _rows(hi, lo)
    # By parts: the difference may be small beside its terms.
    gaps = (hi[2, :] - hi[1, :]) + (lo[2, :] - lo[1, :])
    gap = sum(abs(xp.sum(gaps[start:stop])) for start, stop in pairwise(_STARTS))
    return safe_divide(gap, xp.sum(negative + positive))


def curve(hi: Array, lo: Array) -> Array:
    """By bin: lower and upper edge, mean prediction, mean label, weight and number of examples, shape (6, BINS).

    The means of a bin without examples are NaN.
    """
    xp = backends.of(hi).xp
    negative, positive, prediction, count = _rows(hi, lo)
    weight = negative + positive
    unknown = xp.full_like(weight, float("nan"))
    means = (xp.where(weight > 0, safe_divide(sums, weight), unknown) for sums in (prediction, positive))
    return xp.stack([*_sides(0.0, 1 / (1 + np.exp(-_EDGES)), 1.0, hi), *means, weight, count])


def recalibration(hi: Array, lo: Array) -> Array:
    """Intercept and slope of the logistic regression of the labels on the logits, shape (2,); (0, 1) is calibrated.

    All logits of a bin are taken for the log odds of its mean prediction, and those beyond ±16 for ±16. Both numbers
    are NaN where no line fits best (the examples are of one class or in one bin, or the classes don't overlap), or
    where the fit does not settle, and 0 without data.

    D. R. Cox (1958). Two further applications of a model for binary regression. *Biometrika* 45, 562–565.
    """
    backend = backends.of(hi)
    xp = backend.xp
    with backend.errstate():
        negative, positive, prediction, _ = _rows(hi, lo)
        weight = negative + positive
        total = xp.sum(weight)
        probability = xp.clip(safe_divide(prediction, weight), 0, 1)
        low, high = _sides(-float(_SPAN), _EDGES, float(_SPAN), hi)
        x = xp.minimum(xp.maximum(xp.log(probability) - xp.log1p(-probability), low), high)
        # As shares, no weights overflow or vanish.
        share = xp.where(total > 0, total, xp.ones_like(total))
        positive, negative = positive / share, negative / share
        start = xp.log(xp.sum(positive)) - xp.log(xp.sum(negative))
        zero = xp.zeros_like(start)
        intercept, slope, change = backend.repeat(
            lambda _, line: _newton_step(x, positive, negative, *line[:2]), (start, zero, zero), _NEWTON_STEPS
        )
        (lowest, highest), (lowest_negative, highest_negative) = _ends(x, positive), _ends(x, negative)
        overlap = (highest_negative > lowest) & (highest > lowest_negative)
        line = xp.stack([intercept, slope])
        undetermined = xp.where(total > 0, xp.full_like(line, float("nan")), xp.zeros_like(line))
        return xp.where(overlap & (change < 0.01), line, undetermined)


def _newton_step(x: Array, positive: Array, negative: Array, intercept: Array, slope: Array) -> tuple[Array, ...]:
    """A better line by a step of Newton's method, and by how much the logits on the old one should have changed.

    Of some lengths of the step the best is taken. One of them is that of T. Sun and Q. Tran-Dinh (2019), Generalized
    self-concordant functions: a recipe for Newton-type methods, *Mathematical Programming* 178, 145–213, by which the
    loss falls from any start.
    """
    xp = backends.of(x).xp
    logits = intercept + slope * x
    p, q = sigmoid(logits), sigmoid(-logits)
    weight = positive + negative
    residual, curvature = positive * q - negative * p, weight * p * q
    # Around their center, slope and intercept don't interact.
    center = safe_divide(xp.sum(curvature * x), xp.sum(curvature))
    d_slope = safe_divide(xp.sum(residual * (x - center)), xp.sum(curvature * (x - center) ** 2))
    d_intercept = safe_divide(xp.sum(residual), xp.sum(curvature)) - center * d_slope
    d_logits = xp.where(weight > 0, d_intercept + d_slope * x, xp.zeros_like(x))
    change = xp.max(abs(d_logits))
    lengths = xp.stack([safe_divide(xp.log1p(change), change), *(xp.full_like(change, t) for t in _LENGTHS)])
    moved = xp.reshape(logits, (1, -1)) + xp.reshape(lengths, (-1, 1)) * xp.reshape(d_logits, (1, -1))
    losses = -xp.sum(positive * log_sigmoid(moved) + negative * log_sigmoid(-moved), axis=1)
    length = xp.max(xp.where(losses <= xp.min(losses), lengths, xp.zeros_like(lengths)))
    # Near the best line differences of the losses are rounding, and on it so are the steps.
    length = xp.where(change < 0.5, xp.ones_like(length), length)
    rounding = 16 * float(xp.finfo(x.dtype).eps) * (1 + xp.max(abs(logits)))
    length = xp.where(change <= rounding, xp.zeros_like(length), length)
    return intercept + length * d_intercept, slope + length * d_slope, change


def _ends(x: Array, weights: Array) -> tuple[Array, Array]:
    """The lowest and the highest x where there is weight."""
    xp = backends.of(x).xp
    infinity = xp.full_like(x, float("inf"))
    return xp.min(xp.where(weights > 0, x, infinity)), xp.max(xp.where(weights > 0, x, -infinity))

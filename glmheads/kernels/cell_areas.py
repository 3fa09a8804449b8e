"""Areas under the curves of all segments of a record, with bounds that hold, and points of the curves.

**Bounds.** What is not known is where in its cell a weight lies. The area under the ROC curve and that under the
precision–recall curve grow when a positive moves up or a negative down. So each is least when all positives are at the
first score of their cells and all negatives at the last, and largest the other way round.

Both have a closed form, because cells are equal, nested or disjoint. For the positives of cell i let T be the
positives above them and F the negatives:

=====  ===================================  =======================================================================
bound  T                                    F
=====  ===================================  =======================================================================
lower  in the cells behind i                in i itself, in the cells behind i, and in those that contain i
upper  in the cells behind the last cell    in the cells behind the last cell that i contains
       that i contains, and in those that
       contain i
=====  ===================================  =======================================================================

"Behind" is in the order of the list, where a cell stands before those that it contains. In a single score positives
and negatives are tied: its own negatives count half under the ROC curve. (A score at the very end of a cell that
contains it would be tied with what lies there too. It is taken as below it, or above it, whichever is worse: the bound
is a little wider and no less true.)

The area under the ROC curve is 1 − Σ p F / (P N), P and N the totals. Under the precision–recall curve, p positives and
n negatives between (T, F) and (T + p, F + n) have the area of Davis and Goadrich (*The relationship between
precision-recall and ROC curves*, ICML 2006): TP grows linearly with TP + FP, and the integral of TP / (TP + FP) dTP is

    s (p + c log(1 + (p + n) / (T + F))),    s = p / (p + n),  c = T n / (p + n) − s F.

The values take half of what is not known: of a pair of cells of which one contains the other, either order is equally
likely, and so it is within a cell.

**Rounding.** With u = 2**-53 and to first order: weights are off by a factor 1 ± a u, a = `additions`, and an area
depends on them through quotients of degree 2 over 2, so it is off by no more than 4 a u. Totals of m weights are off by
a factor 1 ± m u, and so is the sum of m terms, which are ≥ 0 and add up to at most 1; each term by a few u. That makes
(4 a + 4 m + 64) u. Running sums are exact in fixed point, but shares are cut to multiples of ε = 2**-62 first, so T / P
and F / N are off by no more than m ε, and the area under the ROC curve too. Precision is t / (t + r f) with t = T / P,
f = F / N and r = N / P. An error of δ = (1 + r) m ε in its terms moves it by at most min(1, 2 δ / t), and the area by
the integral of that over t from 0 to 1, which is 2 δ (1 + log(1 / (2 δ))) < 128 δ, as δ > ε. Where r is so large that
this could be seen, running sums are floating-point sums of numbers ≥ 0 by halves, off by a factor 1 ± u log2 m.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from glmheads import backends
from glmheads.backends import Array
from glmheads.kernels.cells import Cells, meetings, scores

__all__ = ["Areas", "Curves", "areas", "curve_points", "totals"]

_U = 2.0**-53
_EPSILON = 2.0**-62


class Areas(NamedTuple):
    """What `areas` gives.

    Attributes
    ----------
    auc, precision_recall : float64 arrays of shape (3, segments)
        Lower bound, value and upper bound, NaN where the area is undefined: the first without positives or without
        negatives, the second without positives; both where weights are so extreme that a total or the ratio of totals
        overflows.
    positive, negative : float64 arrays of shape (segments,)
        The total weights, by which a caller can tell why.
    """

    auc: Array
    precision_recall: Array
    positive: Array
    negative: Array


class Curves(NamedTuple):
    """The points through which the curves of each segment certainly pass, by descending threshold.

    Attributes
    ----------
    offsets : int64 array of shape (segments + 1,)
        Where the points of each segment begin; an empty one has none.
    thresholds, false_positive_rate, recall, precision : float64 arrays of shape (points,)
        Of scores of at least the threshold; the first is ∞, where precision is 1. Undefined rates are NaN.
    """

    offsets: Array
    thresholds: Array
    false_positive_rate: Array
    recall: Array
    precision: Array


def totals(cells: Cells) -> tuple[Array, Array]:
    """The weights of the positives and of the negatives of each segment, shape (segments,)."""
    segments = _Segments(cells.offsets)
    return segments.total(cells.positive), segments.total(cells.negative)


@np.errstate(all="ignore")
def areas(cells: Cells) -> Areas:
    """Both areas of every segment, with bounds that hold; exact but for rounding where all cells are single scores."""
    segments = _Segments(cells.offsets)
    positives, negatives, ratio, r, p, n, t, f, cut = _read(cells, segments)
    # As if each cell were a single score; and what differs for those that aren't, or that others contain.
    lost, gained = p * (f + n / 2), _in_blocks(_tie, t, r * f, p, r * n)
    roc, pr = [1 - segments.total(lost)] * 3, [segments.total(gained)] * 3
    if cells.level.any():
        last, opens = _last_inside(cells)
        around = [_around(last, opens, _fixed(share[opens]) + 1) * _EPSILON for share in (p, n)]
        at = np.flatnonzero((cells.level > 0) | (around[0] > 0) | (around[1] > 0))
        parts = _Segments(np.searchsorted(at, cells.offsets))
        t_most, f_least = t[last[at]] + around[0][at], f[last[at]]
        r, p, n, t, f, lost, gained = (a[at] for a in (r, p, n, t, f, lost, gained))
        f_most = f + around[1][at]
        tied = np.where(cells.level[at] > 0, 0, n)
        above = n - tied
        lower = parts.total(lost - p * (f_most + above + tied / 2))
        upper = parts.total(lost - p * (f_least + tied / 2))
        roc = [roc[0] + lower, roc[0] + (lower + upper) / 2, roc[0] + upper]
        corners = (
            (t, f_most + above, tied),
            ((t + t_most) / 2, (f_most + f_least) / 2, n),
            (t_most, f_least, tied),
        )
        pr = [pr[0] + parts.total(_in_blocks(_tie, t, r * f, p, r * n) - gained) for t, f, n in corners]
    size = np.diff(cells.offsets)
    slack = _U * (64 + 4 * size + 4 * cells.additions) + size * _EPSILON
    has_pr = (positives > 0) & np.isfinite(positives) & np.isfinite(ratio)
    has_roc = has_pr & (negatives > 0)
    return Areas(_bounded(roc, slack, has_roc), _bounded(pr, slack + 128 * cut, has_pr), positives, negatives)


@np.errstate(all="ignore")
def curve_points(cells: Cells) -> Curves:
    """Where the curves pass wherever weights lie in their cells: at the first score of each that no other contains."""
    segments = _Segments(cells.offsets)
    positives, negatives, _, r, p, n, t, f, _ = _read(cells, segments)
    recall, fpr = t + p, f + n
    rates = (scores(cells.low), fpr, recall, recall / (recall + r * fpr))
    at = np.arange(len(p))
    if cells.level.any():
        last, opens = _last_inside(cells)
        at = np.flatnonzero(_around(last, opens, np.ones_like(opens)) == 0)
    ends: Array = np.searchsorted(at, cells.offsets)
    sizes = np.diff(ends)
    offsets = np.concatenate([[0], np.cumsum(sizes + (sizes > 0))])
    # A segment's points descend behind one that stands for no scores.
    place = np.repeat(offsets[:-1] + ends[1:], sizes) - np.arange(len(at))
    columns = []
    for first, rate in zip((np.inf, 0, 0, 1), rates, strict=True):
        column = np.full(offsets[-1], first, np.float64)
        column[place] = rate[at]
        columns.append(column)
    for column, total in ((columns[1], negatives), (columns[2], positives)):
        column[np.repeat(total == 0, np.diff(offsets))] = np.nan
    return Curves(offsets, *columns)


# ---------------------------------------------------------------------------------------------------------------------
# What both are made of


class _Segments:
    """Sums over the segments of a record."""

    def __init__(self, offsets: Array) -> None:
        sizes = np.diff(offsets)
        self.count = len(sizes)
        self.occupied = np.flatnonzero(sizes)
        self.starts, self.sizes = offsets[self.occupied], sizes[self.occupied]

    def total(self, x: Array) -> Array:
        """Sum of the elements of each segment, shape (segments,)."""
        out = np.zeros(self.count, x.dtype)
        if len(self.occupied):
            out[self.occupied] = np.add.reduceat(x, self.starts)
        return out

    def spread(self, x: Array) -> Array:
        """To each cell the element of its segment."""
        return np.repeat(x[self.occupied], self.sizes)

    def behind(self, shares: Array) -> Array:
        """Sum of the shares behind each cell in its segment, cut to multiples of ε."""
        running = np.cumsum(_fixed(shares))
        return (np.repeat(running[self.starts + self.sizes - 1], self.sizes) - running) * _EPSILON

    def behind_in_floats(self, shares: Array) -> Array:
        """Sum of the shares behind each cell in its segment, right to its last digits however small."""
        segment = np.repeat(np.arange(len(self.sizes)), self.sizes)[::-1]
        (running,) = backends.of(shares).scan((shares[::-1],), lambda a, b: (a[0] + b[0],), segment)
        behind = np.zeros(len(shares))
        behind[:-1] = np.where(segment[1:] == segment[:-1], running[:-1], 0)[::-1]
        return behind


def _read(cells: Cells, segments: _Segments) -> tuple[Array, ...]:
    """Totals of both classes and their ratio; for each cell that ratio, its shares and those behind it; their error."""
    positives, negatives = segments.total(cells.positive), segments.total(cells.negative)
    ratio = negatives / positives
    weights = (cells.positive, positives), (cells.negative, negatives)
    p, n = (weight / segments.spread(np.where(total > 0, total, 1)) for weight, total in weights)
    cut = np.where(np.isfinite(ratio), (1 + ratio) * np.diff(cells.offsets) * _EPSILON, 0)
    t, f = segments.behind(p), segments.behind(n)
    seen = cut > _VISIBLE
    if seen.any():
        cut[seen] = 0
        here = segments.spread(seen)
        t, f = (np.where(here, segments.behind_in_floats(x), y) for x, y in ((p, t), (n, f)))
    return positives, negatives, ratio, segments.spread(ratio), p, n, t, f, cut


_VISIBLE = 2.0**-40
"""The error of fixed-point shares from which floating-point sums are taken instead."""


def _fixed(shares: Array) -> Array:
    """Shares as multiples of ε, cut. What is not finite belongs to a segment whose areas are undefined."""
    return (shares * (1 / _EPSILON)).astype(np.int64)


def _bounded(values: list[Array], slack: Array, defined: Array) -> Array:
    lower, value, upper = values
    stacked = np.clip(np.stack([lower - slack, np.clip(value, lower, upper), upper + slack]), 0, 1)
    return np.where(defined, stacked, np.nan)


def _tie(t: Array, f: Array, p: Array, n: Array) -> Array:
    """The area of Davis and Goadrich's curve between (t, f) and (t + p, f + n), 0 where p is."""
    tied, above = p + n, t + f
    share = p / tied
    log = np.log1p(np.minimum(tied / above, _HUGE))  # by a factor that is 0 where the quotient isn't finite
    return np.where(p > 0, share * (p + (t * (1 - share) - share * f) * log), 0)


def _in_blocks(function: Callable[..., Array], *arrays: Array) -> Array:
    """An elementwise function of arrays of shape (m,), whose temporaries stay in the cache."""
    out = np.empty(len(arrays[0]))
    for start in range(0, len(out), _BLOCK):
        rows = slice(start, start + _BLOCK)
        out[rows] = function(*(array[rows] for array in arrays))
    return out


_BLOCK = 2**14


_HUGE = np.finfo(np.float64).max


def _last_inside(cells: Cells) -> tuple[Array, Array]:
    """The place of the last cell that each cell contains, its own if none; and the places of those with any."""
    level, meeting = cells.level, np.append(meetings(cells), np.uint8(255))
    last = np.arange(len(level))
    opens = np.flatnonzero(meeting[1:] <= level)
    ends = np.arange(len(meeting))
    for now in np.unique(level[opens]):
        # What a cell contains ends before the next that meets the one before it on a higher level.
        ends = ends[np.flatnonzero(meeting[ends] > now)]
        at = opens[level[opens] == now]
        last[at] = ends[np.searchsorted(ends, at, side="right")] - 1
    return last, opens


def _around(last: Array, opens: Array, x: Array) -> Array:
    """Sum of the integers `x` of the cells that contain each cell; `opens` are those that contain any, until `last`."""
    steps = np.zeros(len(last) + 1, np.int64)
    np.add.at(steps, opens + 1, x)
    np.subtract.at(steps, last[opens] + 1, x)
    return np.cumsum(steps[:-1])

"""Scores in cells: a record of weighted scores of any number of segments, from which areas are read with bounds.

**Cells.** A float has an *image*, an integer of its width that orders as the float does: its bits, with all but the
sign inverted where it is negative. A *cell* of level L is the set of the 2**L scores whose images share all but the
last L bits; level 0 is a single score. Two cells are equal, nested or disjoint, whichever data made them. That is what
intervals chosen by their weight lack: those of two records overlap, and the bounds of their sum widen with each
addition.

**The record** is a list of cells with the weight of the positives and of the negatives in each, sorted by segment,
then by first score, then by level, descending. So a cell stands before the cells that it contains, and those follow
without a gap. Weights that lie in a cell are known to lie in it, and nothing else is known of their place.

**Compression.** A segment is exact, all its cells of level 0, until it holds more cells than its capacity. Then cells
are joined: the cells that contain a given one form a chain, and weight grows along it; the largest cell of the chain
whose share of the segment's positives plus share of its negatives is at most 2 / K takes in what it contains.
K is 2 / 7 of the capacity.

Consider where two neighbours in the list are first in one cell, their *meeting*: joined they are if and only if the
weight of that cell is at most the limit. Each meeting is of two parts (the halves of a cell) or three (the weight that
lies in the cell as a whole is one), and the list of n cells has n − 1. So the number of cells that a limit leaves is
known before anything is joined, and where 2 / K would leave more than three quarters of the capacity, the limit
is the one that doesn't.

**Rounding.** Weights are sums of nonnegative numbers in float64. A sum of n of them is off by a factor of at most
1 + (n − 1) u, u = 2**-53, to first order, in whatever order they are added; and a sum of sums by the product of the
factors. The record counts in `additions` the roundings behind its most often rounded weight, and bounds allow for
them.

NumPy's arrays are trimmed: as long as the list. Those of other libraries are padded, so that shapes depend on shapes
alone (see `cells_padded`).
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from glmheads.backends import Array

__all__ = ["Cells", "absorb", "add", "build", "capacity", "compress", "empty", "images", "place", "scores", "widen"]

_MOST = 28_672
_FEWEST = 256
_BUDGET = 2**21
_APART = 255
"""The level at which neighbours of two segments meet."""
_ONE = 2**60
"""The share 1 in fixed point: sums of shares are exact, in any order, whatever comes before them in other segments."""


class Cells(NamedTuple):
    """A record of scores: cells by ascending segment, then ascending first score, then descending level.

    Attributes
    ----------
    offsets : int64 array of shape (segments + 1,)
        Where each segment begins, and where the last one ends. Behind that lies padding without weight.
    low : int32 array of shape (m,), int64 of float64 scores
        The image of the first score of each cell.
    level : uint8 array of shape (m,)
        How many low bits of the image are free: 0 for a single score.
    positive, negative : float64 arrays of shape (m,)
        The weights in the cell.
    additions : int
        The number of roundings behind the weight that has most.
    """

    offsets: Array
    low: Array
    level: Array
    positive: Array
    negative: Array
    additions: int = 0

    @property
    def segments(self) -> int:
        """The number of segments."""
        return int(self.offsets.shape[0]) - 1


def capacity(segments: int) -> int:
    """Most cells that each of so many segments may hold."""
    return min(_MOST, max(_FEWEST, _BUDGET // max(segments, 1)))


def empty(segments: int = 1, scores: Any = np.float32) -> Cells:
    """The record of no scores, of the dtype `scores`, in NumPy."""
    none = np.zeros(0)
    image = np.int64 if scores == np.float64 else np.int32
    return Cells(np.zeros(segments + 1, np.int64), none.astype(image), none.astype(np.uint8), none, none)


# ---------------------------------------------------------------------------------------------------------------------
# Images


def images(scores: Array) -> Array:
    """Integers that order as the scores do, int32 of float32 and int64 of float64; −0 and 0 have one.

    The scores are not NaN. The integers are signed, because not every library can calculate with unsigned ones.
    """
    dtype = np.dtype(np.int64 if scores.dtype == np.float64 else np.int32)
    bits = (scores + scores.dtype.type(0)).view(dtype)
    return _flip_negative(bits)


def scores(images: Array) -> Array:
    """The scores of which these are the images; beyond those of the infinities, the infinities."""
    dtype = np.dtype(np.float64 if images.dtype == np.int64 else np.float32)
    ends = _flip_negative(np.asarray([-np.inf, np.inf], dtype).view(images.dtype))
    return _flip_negative(np.clip(images, *ends)).view(dtype)


def _flip_negative(bits: Array) -> Array:
    """The bits with all but the sign inverted where that is set: from those of floats to images, and back."""
    width = 8 * bits.dtype.itemsize
    flipped = bits >> (width - 1)
    flipped &= bits.dtype.type(2 ** (width - 1) - 1)
    flipped ^= bits
    return flipped


def last_images(cells: Cells) -> Array:
    """The image of the last score of each cell."""
    return cells.low + _mask(cells.level, cells.low.dtype)  # modular: of all floats it is the largest integer


def _first(images: Array, level: Array) -> Array:
    """The image of the first score of the cell of this level that holds each image."""
    least = np.iinfo(images.dtype).min  # what is 0 among unsigned integers
    return ((images ^ least) & ~_mask(level, images.dtype)) ^ least


def _mask(level: Array, dtype: Any) -> Array:
    """Integers whose last `level` bits are set."""
    one, shift = dtype.type(1), np.maximum(level, 1).astype(dtype) - dtype.type(1)  # by the whole width is undefined
    return np.where(level > 0, ~(-2 * one << shift), 0 * one)


def widen(cells: Cells) -> Cells:
    """The record of float32 scores as one of float64 scores.

    A cell of either is an interval, and becomes the smallest cell that holds it: what was nested or equal stays
    so, and what was disjoint may be nested or equal, but never overlaps.
    """
    if cells.low.dtype == np.int64:
        return cells
    low, last = (images(scores(ends).astype(np.float64)) for ends in (cells.low, last_images(cells)))
    level = _bit_length(low ^ last)
    wide = cells._replace(low=_first(low, level), level=level)
    return in_order(wide)


def _bit_length(x: Array) -> Array:
    """The number of bits of integers taken as unsigned, 0 of 0: uint8."""
    if x.dtype == np.int32:
        # float64 holds them exactly, and has the length in its exponent.
        exponent = (x.view(np.uint32).astype(np.float64) + 0.5).view(np.int64) >> 52
        return (exponent - 1022).astype(np.uint8)
    high, low = (x >> 32).astype(np.int32), x.astype(np.int32)
    return np.where(high != 0, np.uint8(32) + _bit_length(high), _bit_length(low))


# ---------------------------------------------------------------------------------------------------------------------
# Making and adding records


@np.errstate(all="ignore")  # totals may overflow
def build(scores: Array, weights: Array, codes: Array | None = None, segments: int = 1) -> Cells:
    """The record of examples, each score a cell of its own.

    Parameters
    ----------
    scores : array of shape (n,), float32 or float64, without NaN
    weights : array of shape (n,), float32 or float64
        Finite. The weight of a negative has its sign bit set; an example of weight 0 is absent. An example whose label
        lies between 0 and 1 comes twice, once as a positive and once as a negative.
    codes : array of shape (n,), integer, optional
        The segment of each example, from 0 to segments − 1; None where all are of segment 0.
    segments : int

    Examples
    --------
    >>> import numpy as np
    >>> record = build(np.asarray([2.0, -1.0, 2.0]), np.asarray([1.0, -3.0, 0.5]))
    >>> scores(record.low), record.positive, record.negative
    (array([-1.,  2.]), array([0. , 1.5]), array([3., 0.]))
    """
    if np.count_nonzero(weights) < len(weights):
        rows = np.flatnonzero(weights)
        scores, weights, codes = scores[rows], weights[rows], None if codes is None else codes[rows]
    image, weight, code = _sorted_rows(images(scores), weights, codes)
    starts = _differs(image)
    if code is not None:
        starts |= _differs(code)
    at = np.flatnonzero(starts)
    negative = np.abs(weight).astype(np.float64)
    positive = negative * ~np.signbit(weight)
    negative -= positive
    if len(at) < len(image):
        image, code = image[at], None if code is None else code[at]
        positive, negative = np.add.reduceat(positive, at), np.add.reduceat(negative, at)
    offsets = np.full(segments + 1, len(at), np.int64)
    offsets[0] = 0
    if code is not None:
        offsets[:] = np.searchsorted(code, np.arange(segments + 1))
    return Cells(offsets, image, np.zeros(len(at), np.uint8), positive, negative, _most_joined(at, len(starts)))


def _sorted_rows(image: Array, weights: Array, codes: Array | None) -> tuple[Array, Array, Array | None]:
    """The rows by ascending code and image.

    NumPy sorts integers in a fraction of the time that it takes to find an order and to follow it. So a row is sorted
    as one integer, code | image | rest, if that fits; the rest is the sign of weights that are ±1, or the weight
    itself, or else the number of the row.
    """
    code_bits = 0 if codes is None else int(codes.max(initial=0)).bit_length()
    if not np.count_nonzero(np.abs(weights) != 1):
        rest, bits = np.signbit(weights), 1
    elif not code_bits and weights.dtype == np.float32:
        rest, bits = weights.view(np.uint32), 32
    else:
        rest, bits = None, len(image).bit_length()
    if image.dtype == np.int64 or (code_bits and code_bits + 33 + bits > 64):
        order = _order(image)
        if code_bits:
            order = order[_order(codes[order])]  # type: ignore[index]
        return image[order], weights[order], None if codes is None else codes[order]
    keys = image.astype(np.int64)
    if code_bits:
        keys += codes.astype(np.int64) << 32  # type: ignore[union-attr]
    keys <<= bits
    keys |= np.arange(len(keys)) if rest is None else rest
    keys.sort()
    tail = keys & (2**bits - 1)
    keys >>= bits
    image = keys.astype(np.int32)
    sorted_codes = (keys - image) >> 32 if code_bits else codes
    if rest is None:
        return image, weights[tail], sorted_codes
    if bits == 1:
        return image, (1 - 2 * tail).astype(np.float32), sorted_codes
    return image, tail.astype(np.uint32).view(np.float32), sorted_codes


def _order(x: Array) -> Array:
    """The order in which integers ascend, stable if they are codes."""
    bits = len(x).bit_length()
    if x.dtype == np.int64 and x.size and max(int(x.max()), ~int(x.min())).bit_length() + bits >= 64:
        return np.argsort(x)
    keys = x.astype(np.int64)
    keys <<= bits
    keys |= np.arange(len(x))
    keys.sort()
    return keys & (2**bits - 1)


@np.errstate(all="ignore")  # totals may overflow
def add(one: Cells, other: Cells) -> Cells:
    """The record of the data of both, of as many segments each; equal cells are joined, nested ones are not."""
    if one.low.dtype != other.low.dtype:
        one, other = widen(one), widen(other)
    if not (len(one.low) and len(other.low)):
        return one if len(one.low) else other
    both = _map(one, lambda column, also: np.concatenate([column, also]), other)
    both = both._replace(offsets=one.offsets + other.offsets, additions=max(one.additions, other.additions))
    return in_order(both, np.concatenate(_keys(one, other)))


def extend(record: Cells, run: Cells, most: int | None = None) -> Cells:
    """`compress` of the sum of a record and a run of single scores, quicker than by `add` once the record has cells."""
    has_keys = record.low.dtype == run.low.dtype and (record.segments == 1 or run.low.dtype == np.int32)
    if has_keys and len(run.low) > len(record.low) and record.level.any():
        record, run = absorb(record, run, most)
    return compress(add(record, run), most)


@np.errstate(all="ignore")
def absorb(record: Cells, run: Cells, most: int | None = None) -> tuple[Cells, Cells]:
    """The record with those single scores of a run that its cells take in, and the rest of the run.

    A score joins the smallest cell that holds it unless that would be more than the limit of `compress`, which `most`
    sets, or another cell of the record lies between the two. Both records are of float32 scores, or of one segment.
    """
    first, scores = record.low.astype(np.int64), run.low.astype(np.int64)
    if record.segments > 1:
        first += segment_column(record) << 32
        scores += segment_column(run) << 32
    begin = np.searchsorted(scores, first)
    end = np.searchsorted(scores, first + _mask(record.level, first.dtype), side="right")
    np.minimum(end[:-1], begin[1:], out=end[:-1])
    edges = np.stack([begin, end], axis=1).ravel()
    weights, shares = [], np.zeros(len(first))
    for old, new in ((record.positive, run.positive), (record.negative, run.negative)):
        taken = np.add.reduceat(np.append(new, 0), edges)[::2]
        weights.append(old + np.where(end > begin, taken, 0))
        total = _totals(old, record.offsets) + _totals(new, run.offsets)
        shares += weights[-1] / np.repeat(np.where(total > 0, total, 1), np.diff(record.offsets))
    joins = (end > begin) & ((record.level == 0) | (shares <= _share(most or capacity(record.segments))))
    step = np.bincount(begin[joins], minlength=len(scores) + 1) - np.bincount(end[joins], minlength=len(scores) + 1)
    rest = np.flatnonzero(np.cumsum(step[:-1]) == 0)
    additions = max(record.additions, run.additions) + int((end - begin).max(initial=0))
    positive, negative = (np.where(joins, w, old) for w, old in zip(weights, record[3:5], strict=True))
    run = _map(run, lambda column: column[rest])._replace(offsets=np.searchsorted(rest, run.offsets))
    return record._replace(positive=positive, negative=negative, additions=additions), run


def _share(most: int) -> float:
    """The largest share of positives plus share of negatives of cells that are joined: 2 / K."""
    return 7 / most


def _totals(x: Array, offsets: Array) -> Array:
    """Sum of the elements of each segment, shape (segments,)."""
    sums = np.zeros(len(offsets) - 1)
    occupied = np.flatnonzero(np.diff(offsets))
    if len(occupied):
        sums[occupied] = np.add.reduceat(x, offsets[occupied])
    return sums


def place(cells: Cells, codes: Array, segments: int) -> Cells:
    """The record with segment i as segment codes[i] of so many; the codes ascend."""
    sizes = np.zeros(segments + 1, np.int64)
    sizes[codes + 1] = np.diff(cells.offsets)
    return cells._replace(offsets=np.cumsum(sizes))


def _map(cells: Cells, function: Callable[..., Array], *others: Cells) -> Cells:
    """The record with the function of the columns of all of them."""
    low, level, positive, negative = (
        function(*columns) for columns in zip(*(c[1:5] for c in (cells, *others)), strict=True)
    )
    return Cells(cells.offsets, low, level, positive, negative, cells.additions)


def _differs(x: Array) -> Array:
    """Which elements differ from the one before them; the first does."""
    differs = np.ones(len(x), np.bool)
    np.not_equal(x[1:], x[:-1], out=differs[1:])
    return differs


def segment_column(cells: Cells) -> Array:
    """The segment of each cell."""
    return np.repeat(np.arange(cells.segments), np.diff(cells.offsets))


def _keys(*records: Cells) -> list[Array]:
    """One int64 for each cell, by which the records' cells are in order."""
    lows = [record.low.astype(np.int64) for record in records]
    if records[0].low.dtype == np.int64:
        distinct = np.unique(np.concatenate(lows))
        lows = [np.searchsorted(distinct, low) for low in lows]
    keys = []
    for record, low in zip(records, lows, strict=True):
        if record.segments > 1:
            low += segment_column(record) << 32
        keys.append((low << 7) + (64 - record.level.astype(np.int64)))
    return keys


def in_order(cells: Cells, keys: Array | None = None) -> Cells:
    """The record of cells of which the segments alone are in order; equal ones are joined."""
    if keys is None:
        (keys,) = _keys(cells)
    order = np.argsort(keys, kind="stable")  # of two sorted runs, it is one merge
    return _join(_map(cells, lambda column: column[order]), _differs(keys[order]))


def _join(cells: Cells, starts: Array, meeting: Array | None = None) -> Cells:
    """Each cell that starts joined with those behind it that don't, in the smallest cell that holds them.

    `meeting` is where each meets the one before it; None if those joined are equal.
    """
    at = np.flatnonzero(starts)
    if len(at) == len(starts):
        return cells
    low, level = cells.low[at], cells.level[at]
    if meeting is not None:
        level = np.maximum.reduceat(np.where(starts, cells.level, meeting), at)
        wide = np.flatnonzero(level)
        low[wide] = _first(low[wide], level[wide])
    positive, negative = np.add.reduceat(cells.positive, at), np.add.reduceat(cells.negative, at)
    additions = cells.additions + _most_joined(at, len(starts))
    return Cells(np.searchsorted(at, cells.offsets), low, level, positive, negative, additions)


def _most_joined(at: Array, count: int) -> int:
    """The most additions of one group of cells: they begin `at`, and are so many in all."""
    return max(int(np.diff(at).max(initial=1)), count - int(at[-1])) - 1 if len(at) else 0


# ---------------------------------------------------------------------------------------------------------------------
# Compression


@np.errstate(all="ignore")  # totals may overflow
def compress(cells: Cells, most: int | None = None) -> Cells:
    """The record with at most so many cells a segment, `capacity` unless given; segments that have no more stay."""
    most = capacity(cells.segments) if most is None else most
    sizes = np.diff(cells.offsets)
    full = sizes > most
    if not full.any():
        return cells
    rows = np.flatnonzero(np.repeat(full, sizes))
    sizes = sizes[full]
    meeting = meetings(cells)
    weight = weights_of_meetings(meeting[rows], _shares(cells, rows, sizes))
    limit = _limits(weight, sizes, most)
    starts = np.ones(len(cells.low), np.bool)
    starts[rows] = weight > np.repeat(limit, sizes)
    return _join(cells, starts, meeting)


def meetings(cells: Cells) -> Array:
    """The level of the smallest cell that holds each cell and the one before it, 255 where that is of another segment.

    uint8, shape (m,).
    """
    level = cells.level
    meeting = np.full(len(level), _APART, np.uint8)
    np.maximum(np.maximum(level[1:], level[:-1]), _bit_length(cells.low[1:] ^ cells.low[:-1]), out=meeting[1:])
    meeting[cells.offsets[:-1][np.diff(cells.offsets) > 0]] = _APART
    return meeting


def _shares(cells: Cells, rows: Array, sizes: Array) -> Array:
    """Share of the positives plus share of the negatives of some segments' cells, in fixed point."""
    first = np.cumsum(sizes) - sizes
    shares = np.zeros(len(rows))
    for weights in (cells.positive, cells.negative):
        weight = weights[rows]
        total = np.add.reduceat(weight, first)
        total[total == 0] = 1
        shares += weight / np.repeat(total, sizes)
    # Weights whose sum is infinite have no areas, and any cells will do.
    shares[~np.isfinite(shares)] = 0
    return (shares * _ONE).astype(np.int64)


def weights_of_meetings(meeting: Array, shares: Array) -> Array:
    """The weight of the cells in which neighbours meet, the largest number where they are of two segments.

    Both arguments have shape (m,). From the lowest level up, parts that meet become one.
    """
    count = len(meeting)
    weight = np.full(count, np.iinfo(np.int64).max)
    before = np.zeros(count + 1, np.int64)
    np.cumsum(shares, out=before[1:])
    # The first and the last cell of each part, right where the other one is.
    first, last = np.arange(count), np.arange(count)
    by_level = np.argsort(meeting, kind="stable")
    stops = np.cumsum(np.bincount(meeting, minlength=_APART)[:_APART])
    for start, stop in itertools.pairwise([0, *stops.tolist()]):
        if start == stop:
            continue
        at = by_level[start:stop]
        begin, end = first[at - 1], last[at]
        # Of three parts, two meetings are of one cell.
        same = np.flatnonzero(end[:-1] + 1 == at[1:])
        begin[same + 1], end[same] = begin[same], end[same + 1]
        weight[at] = before[end + 1] - before[begin]
        first[end], last[begin] = begin, end
    return weight


def _limits(weight: Array, sizes: Array, most: int) -> Array:
    """The largest weight of a cell of each segment, in fixed point, given those of all meetings."""
    first = np.cumsum(sizes) - sizes
    keep = max(1, 3 * most // 4)
    limit = np.full(len(sizes), int(_share(most) * _ONE))
    left = np.add.reduceat(weight > np.repeat(limit, sizes), first, dtype=np.int64)
    over = left > keep
    if over.any():
        weight = weight[np.repeat(over, sizes)]
        sizes = sizes[over]
        by_weight = np.lexsort((weight, np.repeat(np.arange(len(sizes)), sizes)))
        limit[over] = weight[by_weight[np.cumsum(sizes) - 1 - keep]]
    return limit

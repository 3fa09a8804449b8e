"""A table that finds the cells of one large segment's scores: no sorting, a dozen operations a score.

The first 16 bits of an image choose an entry, which says in how many cells the scores with these bits lie, a power of
two, and which is the first. How many is read off a sample of the first block, by class: so many that each has about as
little of either class as `cells.compress` would leave in it. Data of few scores, or unlike the first block, are better
sorted: `table` and `fits` say so.

The weights in the cells are the sum over blocks of what `weigh` adds. To get the same bits for any number of threads,
let a fixed number of sums take the blocks in turn, and add those up in order.
"""

from typing import NamedTuple

import numpy as np

from glmheads.backends import Array
from glmheads.kernels.cells import Cells, capacity, images

__all__ = ["Table", "cells_of", "fits", "slots", "table", "weigh"]

_SAMPLE = 2**14
_NEIGHBOURS = 10
_HEADS = 2**16
_TOGETHER = 1.5e-4
_MOST = 3 * 2**16
"""Most cells of a table: the weights of those in use stay in the cache."""


class Table(NamedTuple):
    """Where scores go.

    Attributes
    ----------
    packed : int32 array of shape (2**16,)
        By the first 16 bits of an image, from the least image up: the place of the first of their cells, and in the
        last 5 bits the level of these.
    cells : int
        How many there are.
    tail : int
        How many bits of an image are left out: 0 of float32 scores, 32 of float64 ones.
    """

    packed: Array
    cells: int
    tail: int


def table(scores: Array, weights: Array) -> Table | None:
    """The table for data like these; None if a record would keep all their scores.

    `scores` and signed `weights` have shape (n,). A cell is to hold about 3 / 2**14 of each class, on the understanding
    that scores are spread evenly over the span of a few neighbours in a sample.
    """
    heads = _heads(scores)
    if np.count_nonzero(np.diff(np.sort(heads))) < capacity(1):
        return None
    levels = np.full(_HEADS, 16)
    is_negative = np.signbit(weights)
    for rows in (np.flatnonzero(is_negative), np.flatnonzero(~is_negative)):
        sample = np.sort(heads[rows[:: max(1, len(rows) // _SAMPLE)]])
        span = sample[_NEIGHBOURS:].astype(np.int64) - sample[:-_NEIGHBOURS]
        width = span * (3 * min(1, len(sample) / _SAMPLE) / _NEIGHBOURS)
        level = np.minimum(np.frexp(np.maximum(width, 1))[1] - 1, 16)
        np.minimum.at(levels, (sample[:-_NEIGHBOURS] >> 16) + _HEADS // 2, level)
    while (count := int(_sizes(levels).sum())) > _MOST:
        levels[levels == levels.min()] += 1
    base = np.cumsum(_sizes(levels)) - _sizes(levels)
    return Table(((base << 5) | levels).astype(np.int32), count, 8 * scores.dtype.itemsize - 32)


def slots(table: Table, scores: Array) -> Array:
    """The number of the cell of each score, int32."""
    head = _heads(scores)
    found = np.take(table.packed, (head >> 16).astype(np.intp) + _HEADS // 2, mode="clip")
    head &= 0xFFFF
    head >>= found & 31
    found >>= 5
    found += head
    return found


def fits(table: Table, slots: Array) -> bool:
    """Whether two scores of a block, which lie in these cells, are rarely in one, unless they are equal.

    How often they are is about what the block adds to the width of the bounds of the area under the ROC curve.
    """
    sample = np.sort(slots[:: max(1, 4 * len(slots) // _SAMPLE)])
    at = np.flatnonzero(np.diff(sample, prepend=-1))
    count = np.diff(at, append=len(sample))
    count = count[table.tail + _levels(table, sample[at])[0] > 0]
    return int((count * (count - 1)).sum()) <= _TOGETHER * len(sample) ** 2


def weigh(sums: Array, slots: Array, weights: Array) -> None:
    """Add signed weights to the sums of positives and of negatives by cell, a float64 array of shape (cells, 2)."""
    place = slots.astype(np.intp)
    place += place
    place += np.signbit(weights)
    np.add.at(sums.reshape(-1), place, np.abs(weights).astype(np.float64))


def cells_of(table: Table, sums: Array, rows: int) -> Cells:
    """The record of so many rows, given the sums of their weights."""
    at = np.flatnonzero((sums[:, 0] > 0) | (sums[:, 1] > 0))
    level, head = _levels(table, at)
    low = ((head - _HEADS // 2) << 16) + ((at - (table.packed[head] >> 5)) << level)
    low = (low << table.tail).astype(np.int64 if table.tail else np.int32)
    level = (level + table.tail).astype(np.uint8)
    positive, negative = (np.ascontiguousarray(column) for column in sums[at].T)
    return Cells(np.asarray([0, len(at)]), low, level, positive, negative, rows)


def _levels(table: Table, slots: Array) -> tuple[Array, Array]:
    """The level of cells, and the first 16 bits of their images."""
    head = np.searchsorted(table.packed >> 5, slots, side="right") - 1
    return table.packed[head] & 31, head


def _sizes(levels: Array) -> Array:
    """How many cells of these levels share the first 16 bits."""
    return 1 << (16 - levels)


def _heads(scores: Array) -> Array:
    """The first 32 bits of the scores' images, int32."""
    image = images(scores)
    return (image >> 32).astype(np.int32) if image.dtype == np.int64 else image

"""Where a score stands among thresholds, and the confusion counts that follow from a histogram of that.

An example has its place in one pass; the counts at every threshold are sums over places. Soft labels and weights come
in as the positive and the negative mass of an example, w·z and w·(1 − z).
"""

from typing import NamedTuple

import numpy as np

from glmheads import backends
from glmheads.backends import Array
from glmheads.kernels.reductions import Pair, segment_total

__all__ = ["Confusion", "cells", "confusion", "histogram", "keras_buckets", "order"]


class Confusion(NamedTuple):
    """Masses of true positives, false positives, true negatives and false negatives."""

    tp: Array
    fp: Array
    tn: Array
    fn: Array


def order(thresholds: tuple[float, ...]) -> tuple[float | None, ...]:
    """The events "positive at threshold t" from the most to the least frequent; None is the event logit > 0.

    A positive logit can have a probability that rounds to ½, so that the event stands before the threshold ½.
    """
    ascending = sorted(set(thresholds))
    return (*(t for t in ascending if t < 0.5), None, *(t for t in ascending if t >= 0.5))


def cells(probabilities: Array, logits: Array, thresholds: tuple[float, ...]) -> Array:
    """For each element, how many of the events of ``order(thresholds)`` it takes part in: integers of the same shape.

    A probability p is positive at t when p > t, both in the dtype of the logits.
    """
    xp = backends.of(logits).xp
    dtype = np.float32 if logits.dtype == xp.float32 else np.float64
    cell = xp.zeros_like(logits, dtype=xp.int32)
    for threshold in order(thresholds):
        # A threshold just below ½ may round to ½ and would fall behind the event logit > 0.
        if threshold is None or (threshold < 0.5 <= dtype(threshold)):
            event = logits > 0
        else:
            event = probabilities > float(dtype(threshold))
        cell = cell + xp.astype(event, xp.int32)
    return cell


def keras_buckets(probabilities: Array, num_thresholds: int) -> Array:
    """Keras's bucket max(ceil(p (T − 1)) − 1, 0) of a probability among T thresholds i / (T − 1), in float32.

    The probability is positive at threshold i when its bucket is i or higher.
    """
    xp = backends.of(probabilities).xp
    scaled = xp.ceil(xp.astype(probabilities, xp.float32, copy=False) * float(num_thresholds - 1)) - 1
    return xp.astype(xp.clip(scaled, 0, num_thresholds - 2), xp.int32)


def histogram(places: Array, positive: Array, negative: Array, length: int) -> Pair:
    """Masses by place: pairs of shape (2, length), negatives first; the arguments have shape (n,)."""
    xp = backends.of(places).xp
    both = segment_total(xp.concat([negative, positive]), xp.concat([places, places + length]), 2 * length)
    return Pair(*(xp.reshape(part, (2, length)) for part in both))


def confusion(counts: Pair, event: int) -> Confusion:
    """The confusion masses (0-d arrays) at an event of `order`, from a histogram of `cells`."""
    xp = backends.of(counts.hi).xp

    def mass(row: int, start: int, stop: int) -> Array:
        return xp.sum(counts.hi[row, start:stop]) + xp.sum(counts.lo[row, start:stop])

    length = counts.hi.shape[1]
    return Confusion(
        tp=mass(1, event + 1, length),
        fp=mass(0, event + 1, length),
        tn=mass(0, 0, event + 1),
        fn=mass(1, 0, event + 1),
    )

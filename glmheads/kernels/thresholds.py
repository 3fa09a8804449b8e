"""Bins between thresholds, and the confusion weights that follow from a histogram over them.

An example's bin takes one pass; the weights at every threshold are sums over bins of the class weights w·z and
w·(1 − z).
"""

from typing import NamedTuple

import numpy as np

from glmheads import backends
from glmheads.backends import Array
from glmheads.kernels.reductions import Pair, value


class Confusion(NamedTuple):
    """ClassWeights of true positives, false positives, true negatives and false negatives."""

    tp: Array
    fp: Array
    tn: Array
    fn: Array


class Event(NamedTuple):
    """That an example is positive: at a threshold of the probability, or, for None, by its logit > 0."""

    threshold: float | None
    in_float32: float
    """The threshold as a float32."""


def events(thresholds: tuple[float, ...]) -> tuple[Event, ...]:
    """The events of being positive from the most to the least frequent, so that each one implies those before it.

    A positive logit can have a probability that rounds to ½, so that logit > 0 stands before the threshold ½.
    """
    ascending = sorted(set(thresholds))
    middle = sum(t < 0.5 for t in ascending)
    ordered = [*ascending[:middle], None, *ascending[middle:]]
    return tuple(Event(t, 0.0 if t is None else float(np.float32(t))) for t in ordered)


def threshold_bins(probabilities: Array, logits: Array, events: tuple[Event, ...]) -> Array:
    """For each element the number of events that are true of it, its bin: int32 of the same shape.

    A probability p is positive at t when p > t, both in the dtype of the logits.
    """
    xp = backends.of(logits).xp
    dtype = xp.int8 if len(events) < 128 else xp.int32
    bins = None
    for threshold, in_float32 in events:
        rounded = in_float32 if threshold is None or logits.dtype == xp.float32 else threshold
        # A threshold just below ½ may round to ½ and would fall behind the event logit > 0.
        by_logit = threshold is None or threshold < 0.5 <= rounded
        positive = xp.astype(logits > 0 if by_logit else probabilities > rounded, dtype)
        bins = positive if bins is None else bins + positive
    return xp.astype(bins, xp.int32, copy=False)


def keras_buckets(probabilities: Array, num_thresholds: int) -> Array:
    """Keras's bucket max(ceil(p (T − 1)) − 1, 0) of a probability among T thresholds i / (T − 1), in float32.

    The probability is positive at threshold i when its bucket is i or higher; NaN is in bucket 0.
    """
    backend = backends.of(probabilities)
    xp = backend.xp
    p = xp.astype(probabilities, xp.float32, copy=False)
    if backend.possibly_nan(p):
        p = xp.where(xp.isnan(p), xp.zeros_like(p), p)
    # The least normal number in place of 0 makes the ceiling at least 1.
    scaled = xp.clip(p, _TINY, 1.0) * float(num_thresholds - 1)
    return xp.astype(xp.ceil(scaled), xp.int32) - 1


_TINY = float(np.finfo(np.float32).tiny)


def confusions(counts: Pair) -> list[Confusion]:
    """The confusion weights (0-d arrays) at each of `events`, from a histogram of `threshold_bins`."""
    xp = backends.of(counts.hi).xp
    # Both ends are summed, since differences of sums cancel.
    up_to = value(counts.map(lambda part: xp.cumulative_sum(part, axis=1)))
    from_on = value(counts.map(lambda part: xp.flip(xp.cumulative_sum(xp.flip(part, axis=1), axis=1), axis=1)))
    return [
        Confusion(tp=from_on[1, event + 1], fp=from_on[0, event + 1], tn=up_to[0, event], fn=up_to[1, event])
        for event in range(counts.hi.shape[1] - 1)
    ]

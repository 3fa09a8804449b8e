"""A summary of weighted scores that bounds the areas under their curves, in memory that does not grow with the data.

The summary is a set of slots, each an interval [lo, hi] of scores with the mass of the positives and of the negatives
in it; most are single scores, lo = hi. Adding is concatenation. When that makes more than `CAPACITY` slots, equal
scores are joined, a score that lies in an interval joins it, and if there are still too many, neighbours are joined
into `TARGET` slots of about equal mass. So data of few distinct scores, and data that are few, stay exact.

The exact area is a monotone function of the scores: it grows when a positive moves up or a negative down. So the area
of the data with all positives at their lo and all negatives at their hi bounds it from below, the opposite from above.

Slots are one array of shape (4, m), the rows lo, hi, positive and negative mass, of the accumulation dtype; in float32
two more rows hold the low parts of the masses (see `reductions`). An empty slot has no mass and lo = hi = ∞. The shape
of every result depends on shapes alone, unless the library has dynamic shapes: then empty slots are dropped. Scores
that wait to be taken in are one array of shape (3, m), the rows score, positive and negative mass, as narrow as they
come.
"""

from collections.abc import Callable

from glmheads import backends
from glmheads.backends import Array
from glmheads.kernels.curves import ClassWeights, curve_points, groups, join, weights_by_score
from glmheads.kernels.reductions import Pair, value

CAPACITY = 28_672
"""Most slots of a summary: 896 KiB in float64."""
TARGET = 12_288
"""Slots that remain of a full one, so that bounds are about 1 / TARGET apart; the rest takes new scores."""

_LO, _HI, _POSITIVE, _NEGATIVE = range(4)
_WAITING_ROWS = 3


def from_scores(scores: Array, positive: Array, negative: Array) -> Array:
    """Slots of scores with their masses, arrays of shape (n,); a score without mass is absent.

    If they are many and at hand, scores that wait.
    """
    backend = backends.of(scores)
    xp = backend.xp
    absent = ~((positive > 0) | (negative > 0))
    is_zero = scores == 0
    if backend.possibly_any(is_zero):  # −0 and 0 sort as one
        scores = xp.where(is_zero, xp.zeros_like(scores), scores)
    wait = backend.dynamic_shapes and backend.is_concrete(scores) and scores.shape[0] > CAPACITY
    if backend.possibly_any(absent):
        if wait:
            present = xp.nonzero(~absent)[0]
            scores, positive, negative = (xp.take(a, present) for a in (scores, positive, negative))
        else:
            scores = xp.where(absent, xp.full_like(scores, float("inf")), scores)
    if wait:
        dtype = xp.result_type(scores, positive)
        return xp.stack([xp.astype(a, dtype, copy=False) for a in (scores, positive, negative)])
    return _slots(scores, positive, negative)


def _slots(scores: Array, positive: Array, negative: Array) -> Array:
    backend = backends.of(scores)
    xp = backend.xp
    dtype = backend.accumulation_dtype(backend.device(scores))
    scores, positive, negative = (xp.astype(a, dtype, copy=False) for a in (scores, positive, negative))
    rows = [scores, scores, positive, negative]
    zeros = [] if dtype == xp.float64 else [xp.zeros_like(scores)] * 2
    return xp.stack([*rows, *zeros])


def waits(piece: Array) -> bool:
    """Whether a piece of a summary is scores that wait."""
    return tuple(piece.shape[:-1]) == (_WAITING_ROWS,)


def join_pieces(*pieces: Array) -> Array:
    """The slots of all pieces, as they are."""
    slots = [_slots(*(piece[row, :] for row in range(_WAITING_ROWS))) if waits(piece) else piece for piece in pieces]
    return backends.of(slots[0]).xp.concat(slots, axis=1) if len(slots) > 1 else slots[0]


def concat(*pieces: Array) -> Array:
    """The slots of all pieces, no more than `CAPACITY`."""
    waiting = [piece for piece in pieces if waits(piece) and piece.shape[1]]
    slots = [piece for piece in pieces if not waits(piece)]
    if waiting:
        # Many scores are a summary, which takes in the others.
        full = join_pieces(*slots) if slots else compress(join_pieces(waiting.pop(0)))
        if waiting and 0 < full.shape[1] <= CAPACITY:
            taken = _take_in(full, backends.of(full).xp.concat(waiting, axis=1))
            if taken is not None:
                return taken
        pieces = (full, *waiting)
    joined = join_pieces(*pieces)
    return compress(joined) if joined.shape[1] > CAPACITY else joined


def _take_in(slots: Array, scores: Array) -> Array | None:
    """The slots with waiting scores taken in, if that is as good as `compress`, in a fraction of its time.

    A score in an interval joins it. Those in the gap between two slots extend the interval below or else above it, if
    their mass is no more than a slot's share and there is one; if not, they are a slot of their own. So a full summary
    takes in data like those before and hardly grows.
    """
    backend = backends.of(slots)
    xp = backend.xp
    lo, hi = slots[_LO, :], slots[_HI, :]
    if slots.shape[0] > 4 or not bool(xp.all(hi[:-1] < lo[1:])):
        return None
    s, positive, negative = (scores[row, :] for row in range(_WAITING_ROWS))
    found = backend.interval_sums(s, (positive, negative), lo, hi)
    lowest, highest, *in_gaps = (row[::2] for row in found)
    in_slots = [row[1::2] for row in found[2:]]
    in_gap = sum(in_gaps)
    share = (xp.sum(slots[_POSITIVE:, :]) + sum(xp.sum(row) for row in found[2:])) / TARGET
    light = (in_gap > 0) & (in_gap <= share)
    interval = hi > lo
    no = interval[:1] & False
    up = light & xp.concat([no, interval])  # extend the interval below
    down = light & ~up & xp.concat([interval, no])  # extend the one above
    rows = [xp.where(down[:-1], lowest[:-1], lo), xp.where(up[1:], highest[1:], hi)]
    zeros = xp.zeros_like(in_gap)
    for row, inside, gap in zip(slots[_POSITIVE:, :], in_slots, in_gaps, strict=True):
        rows.append(row + inside + xp.where(down, gap, zeros)[:-1] + xp.where(up, gap, zeros)[1:])
    taken = xp.stack(rows)
    apart = (in_gap > 0) & ~up & ~down
    if not bool(xp.any(apart)):
        return taken
    # While there is no interval, everything is exact, and stays so unless it is too much.
    heavy = _HEAVY * share if bool(xp.any(interval)) else 0 * share
    if bool(xp.any(apart & (in_gap > heavy) & (highest > lowest))):
        return None
    where = xp.nonzero(apart)[0]
    more = xp.stack([xp.astype(xp.take(row, where), taken.dtype) for row in (lowest, highest, *in_gaps)])
    taken = xp.concat([taken, more], axis=1)
    if taken.shape[1] > CAPACITY:
        return compress(taken)
    return xp.take(taken, backend.argsort(taken[_LO, :]), axis=1)


_HEAVY = 4
"""Most shares in a gap for which its scores become one slot."""


def compress(slots: Array) -> Array:
    """At most `CAPACITY` slots: joined where that loses nothing, and else until there are `TARGET`."""
    backend = backends.of(slots)
    xp = backend.xp
    if slots.shape[1] == 0:
        return slots
    slots = xp.take(slots, backend.argsort(slots[_LO, :]), axis=1)
    length = min(slots.shape[1], CAPACITY)
    unit = groups(_unit_starts(slots[_LO, :], slots[_HI, :]))
    # Once there are intervals, a summary that is left nearly full would be compressed again and again.
    most = xp.full_like(unit[-1], length)
    fewer = xp.full_like(most, min(length, TARGET + (CAPACITY - TARGET) // 4))
    group = xp.where(
        unit[-1] < xp.where(xp.any(slots[_HI, :] > slots[_LO, :]), fewer, most),
        unit,
        xp.take(_by_equal_mass(slots, unit), unit),
    )
    lo = -backend.segment_max(-slots[_LO, :], group, length, -float("inf"))
    hi = xp.maximum(lo, backend.segment_max(slots[_HI, :], group, length, -float("inf")))
    positive, negative = (join(mass, group, length) for mass in _masses(slots))
    rows = [lo, hi, positive.hi, negative.hi]
    joined = xp.stack(rows if slots.shape[0] == 4 else [*rows, positive.lo, negative.lo])
    if backend.dynamic_shapes and backend.is_concrete(joined):
        joined = xp.take(joined, xp.nonzero((positive.hi > 0) | (negative.hi > 0))[0], axis=1)
    return joined


def _unit_starts(lo: Array, hi: Array) -> Array:
    """Which slots, sorted by lo, start a new unit: neither equal to the one before, nor a score in an interval."""
    backend = backends.of(lo)
    xp = backend.xp
    interval = hi > lo
    equal = xp.concat([hi[:1] != hi[:1], lo[1:] == lo[:-1]])
    if not backend.possibly_any(interval):
        return ~equal
    # The intervals of one summary don't overlap, so that the last to start before a slot is the last to end before it.
    # After a merge they may: then a score may be kept apart that could have been joined, which is never wrong.
    started = xp.astype(xp.cumulative_sum(xp.astype(interval, xp.int32)), xp.int32) - xp.astype(interval, xp.int32)
    ends = xp.sort(xp.where(interval, hi, xp.full_like(hi, float("inf"))))
    last_end = xp.take(ends, xp.clip(started - 1, 0, lo.shape[0] - 1))
    inside = (started > 0) & (lo <= last_end)
    return interval | ~(inside | equal)


def _by_equal_mass(slots: Array, unit: Array) -> Array:
    """For each unit the number of its group, so that at most `TARGET` groups of neighbours have about equal masses."""
    backend = backends.of(slots)
    xp = backend.xp
    positive, negative = (value(mass) for mass in _masses(slots))
    mass = backend.segment_sum(positive + negative, unit, slots.shape[1])
    # A unit of more than its share takes one slot and no more; the others share the rest.
    mass = xp.minimum(mass, xp.sum(mass) / TARGET)
    total = xp.sum(mass)
    share = TARGET / xp.where(total > 0, total, xp.ones_like(total))
    before = xp.cumulative_sum(mass) - mass
    # Sums that a device forms in parallel may descend by a rounding; the groups must not.
    return xp.sort(xp.astype(xp.clip(before * share, 0, TARGET - 1), xp.int32))


def _masses(slots: Array) -> ClassWeights:
    positive, negative = slots[_POSITIVE, :], slots[_NEGATIVE, :]
    if slots.shape[0] == 4:
        return ClassWeights(Pair(positive), Pair(negative))
    return ClassWeights(Pair(positive, slots[4, :]), Pair(negative, slots[5, :]))


def areas_with_bounds(slots: Array, areas: tuple[Callable[[ClassWeights], Array], ...]) -> Array:
    """Lower bound, value and upper bound of each area of the data, shape (areas, 3); the bounds are rounded outward.

    The value is that of the data with every score in the middle of its slot. An area is a function of masses by score
    that grows when a positive moves up or a negative down, as all of `curves` do.
    """
    backend = backends.of(slots)
    xp = backend.xp
    if slots.shape[1] == 0:
        return xp.zeros((len(areas), 3), dtype=slots.dtype, device=backend.device(slots))
    lo, hi = slots[_LO, :], slots[_HI, :]
    positive, negative = _masses(slots)
    middle = lo / 2 + hi / 2
    middle = xp.where(xp.isnan(middle), xp.zeros_like(middle), middle)  # from −∞ to ∞
    middle = xp.where(lo == hi, lo, middle)  # half the least subnormal number is 0
    central = weights_by_score(middle, positive, negative)
    zeros = xp.zeros_like(lo)
    # Positives at the first half of the scores, negatives at the second.
    positive = positive.map(lambda part: xp.concat([part, zeros]))
    negative = negative.map(lambda part: xp.concat([zeros, part]))
    lowest = weights_by_score(xp.concat([lo, hi]), positive, negative)
    highest = weights_by_score(xp.concat([hi, lo]), positive, negative)
    lower, value, upper = (xp.stack([area(masses) for area in areas]) for masses in (lowest, central, highest))
    # Running sums in float64 may be wrong in every addition, those of pairs are not; 2048 covers what joining slots
    # costs.
    rounding = xp.finfo(slots.dtype).eps * (64 if slots.shape[0] == 6 else 2 * slots.shape[1] + 2048)
    # An area that is tiny beside its rounding may come out as 0 or less; where it is 0 / 0 it is 0, and exact.
    is_rounded = (upper != 0) | (xp.any(positive.hi > 0) & xp.any(negative.hi > 0))
    slack = xp.where(is_rounded, xp.full_like(upper, float(rounding)), xp.zeros_like(upper))
    return xp.clip(xp.stack([lower - slack, value, upper + slack], axis=1), 0, 1)


def from_intervals(masses: ClassWeights) -> Array:
    """Slots of which only the order is known, given their masses by ascending score."""
    backend = backends.of(masses.positive.hi)
    xp = backend.xp
    dtype = masses.positive.hi.dtype
    lo = xp.arange(masses.positive.hi.shape[0], dtype=dtype, device=backend.device(masses.positive.hi))
    (positive, positive_low), (negative, negative_low) = masses
    if dtype == xp.float64:
        return xp.stack([lo, lo + 0.5, value(masses.positive), value(masses.negative)])
    return xp.stack([lo, lo + 0.5, positive, negative, positive_low, negative_low])


def points(slots: Array) -> Array:
    """Where the curves of the data certainly pass: see `curves.curve_points`."""
    backend = backends.of(slots)
    xp = backend.xp
    slots = xp.take(slots, xp.argsort(slots[_LO, :], stable=True), axis=1)
    lo, length = slots[_LO, :], slots.shape[1]
    # A curve passes where no slot that starts below a score ends at it or above: as many end below it as start there.
    below = xp.searchsorted(lo, lo, side="left")
    is_cut = xp.searchsorted(xp.sort(slots[_HI, :]), lo, side="left") == below
    index = xp.arange(length, dtype=below.dtype, device=backend.device(lo))
    is_cut = is_cut & (index == below)
    cuts = xp.sort(xp.where(is_cut, below, xp.full_like(below, length)))
    # The points of the slots between two cuts fall on the lower one: the shape does not depend on values.
    cut = xp.take(cuts, groups(is_cut))
    first = xp.zeros_like(cut[:1])
    points = curve_points(lo, _masses(slots))
    return xp.take(points, xp.concat([first, xp.flip(length - cut)]), axis=1)

"""States: what a record keeps for one statistic, and how two of them add up.

There are two kinds: `Sums`, arrays that are added (means, counts, histograms), and `Ranking`, a summary of the scores.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar

import numpy as np

from glmheads import backends
from glmheads.backends import Array
from glmheads.kernels import curves, ranking
from glmheads.kernels.reductions import Pair, value

T = TypeVar("T")

Form: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...] | None
"""The keys and shapes of a state's sums, or None for a `Ranking`."""

Area = Callable[[curves.ClassWeights], Array]
"""An area under a curve as a function of class weights by score."""


def kept(owner: Any, name: str, array: Array, compute: Callable[[], T]) -> T:
    """``compute()``, which `owner` keeps, unless what is computed of its `array` is traced now: the owner may be read
    again under another trace.
    """
    kept: dict[str, T] = vars(owner)
    if name in kept:
        return kept[name]
    value = compute()
    if not backends.of(array).is_traced(array + 0):
        kept[name] = value
    return value


@dataclass(frozen=True, eq=False)
class Sums:
    """Named sums, each a pair of arrays of one shape."""

    values: Mapping[str, Pair]

    @property
    def form(self) -> Form:
        return tuple((key, tuple(pair.hi.shape)) for key, pair in self.values.items())

    def __getitem__(self, key: str) -> Array:
        return value(self.values[key])

    def __add__(self, other: "Sums") -> "Sums":
        return Sums({key: pair + other.values[key] for key, pair in self.values.items()})


class Ranking:
    """The summary of the scores that bounds the areas: slots as in `kernels.ranking`, shape (4 or 6, m).

    Where values are at hand, pieces are joined when they are read, or when they are too many: a stream of small batches
    would copy all its scores for each of them.
    """

    form: Form = None

    def __init__(self, *pieces: Array) -> None:
        self._pieces = pieces

    @property
    def slots(self) -> Array:
        """All slots."""
        first, *more = self._pieces
        # JAX makes records of other things than arrays on the way to its own.
        if more or (backends.is_array(first) and ranking.waits(first)):
            self._pieces = (ranking.join_pieces(first, *more),)
        return self._pieces[0]

    @property
    def array(self) -> Array:
        """All of it: slots, or scores that wait."""
        return self._pieces[0] if len(self._pieces) == 1 else self.slots

    @property
    def backend(self) -> backends.Backend:
        """That of the slots."""
        return backends.of(self._pieces[0])

    def __add__(self, other: "Ranking") -> "Ranking":
        both = Ranking(*self._pieces, *other._pieces)
        waiting = sum(piece.shape[1] for piece in both._pieces if ranking.waits(piece))
        few = len(both._pieces) <= _PIECES and both._count - waiting <= ranking.CAPACITY and waiting <= _WAITING
        may_wait = few and self.backend.dynamic_shapes and self.backend.is_concrete(self._pieces[0])
        return both if may_wait else both._joined()

    def compressed(self) -> "Ranking":
        """The same within its bound on memory."""
        return self if self._count <= ranking.CAPACITY else self._joined()

    @property
    def _count(self) -> int:
        """How many slots there are, and scores that wait."""
        return sum(piece.shape[1] for piece in self._pieces)

    def _joined(self) -> "Ranking":
        first, *more = self._pieces
        rows = 4 if ranking.waits(first) else first.shape[0]  # only in float64 do scores wait
        return Ranking(self.backend.call(ranking.concat, first, *more, shape=(rows, float("nan"))))

    def call(self, function: Callable[..., Array], *more: Array, shape: tuple[float, ...], **options: Any) -> Array:
        """``function(slots, *more, **options)``, as the slots' library does it best."""
        return self.backend.call(function, self.slots, *more, shape=shape, **options)

    def area(self, area: Area) -> Array:
        """Lower bound, value and upper bound of an area, shape (3,)."""
        areas = _AREAS if area in _AREAS else (area,)
        compute = partial(self.call, ranking.areas_with_bounds, shape=(len(areas), 3), areas=areas)
        found: Array = kept(self, "_areas", self.slots, compute) if area in _AREAS else compute()
        return found[areas.index(area), ...]

    def fixed_shape(self) -> "Ranking":
        """The same in the largest shape that it can grow to, which `jax.lax.scan` can carry."""
        xp, slots = self.backend.xp, self.slots
        like = {"dtype": slots.dtype, "device": self.backend.device(slots)}
        rows, length = slots.shape
        scores = xp.full((2, ranking.CAPACITY - length), float("inf"), **like)
        masses = xp.zeros((rows - 2, ranking.CAPACITY - length), **like)
        return Ranking(xp.concat([slots, xp.concat([scores, masses])], axis=1))

    def converted(self, dtype: Any) -> "Ranking":
        """The same in another accumulation dtype; only for NumPy arrays."""
        if self.slots.dtype == dtype:
            return self
        if dtype == np.float64:
            slots = self.slots.astype(np.float64)
            return Ranking(np.concatenate([slots[:2], slots[2:4] + slots[4:6]]))
        with np.errstate(over="ignore"):
            lo, hi = self.slots[:2].astype(np.float32)
        lo = np.where(lo > self.slots[0], np.nextafter(lo, np.float32(-np.inf)), lo)
        hi = np.where(hi < self.slots[1], np.nextafter(hi, np.float32(np.inf)), hi)
        masses = convert(Pair(self.slots[2:4], np.zeros_like(self.slots[2:4])), dtype)
        return Ranking(np.concatenate([np.stack([lo, hi]), masses.hi, masses.lo]))


State: TypeAlias = Sums | Ranking
"""What some metrics need to know of the data: arrays, and how two states are added."""

_AREAS = (curves.roc_area, curves.precision_recall_area)
_PIECES = 64
"""Most pieces that are not joined."""
_WAITING = 2**18
"""Most scores that wait."""


def convert(pair: Pair, dtype: Any) -> Pair:
    """A pair of NumPy arrays in another dtype, right to its precision."""
    if pair.hi.dtype == dtype:
        return pair
    hi, lo = pair.hi.astype(np.float64), pair.lo.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = (hi + lo).astype(dtype)
        rest = (hi - rounded) + lo
    return Pair(rounded, np.where(np.isfinite(rounded), rest, 0.0).astype(dtype))

"""States: what a record keeps for one statistic, and how two of them add up.

There are two kinds: `Sums`, arrays that are added (means, counts, histograms), and `Ranking`, a summary of the scores.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from glmheads import backends
from glmheads.backends import Array
from glmheads.kernels import curves, ranking
from glmheads.kernels.reductions import Pair, value

__all__ = ["Area", "Ranking", "State", "Sums", "kept"]

T = TypeVar("T")

Area = Callable[[curves.ClassWeights], Array]
"""An area under a curve as a function of class weights by score."""


def kept(owner: Any, name: str, compute: Callable[[], T]) -> T:
    """``compute()``, which `owner` keeps, unless it is traced: the owner may be read again under another trace."""
    kept: dict[str, T] = owner.__dict__
    if name in kept:
        return kept[name]
    value = compute()
    if not any(backends.of(array).is_traced(array) for array in _arrays_in(value)):
        kept[name] = value
    return value


def _arrays_in(value: Any) -> Iterator[Array]:
    if isinstance(value, (Mapping, list, tuple)):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _arrays_in(each)
    elif isinstance(value, Sums):
        yield from _arrays_in(value.values)
    elif isinstance(value, Ranking):
        yield value.slots
    elif backends.is_array(value):
        yield value


class State(Protocol):
    """What some metrics need to know of the data: arrays, and how two states are added."""

    def __add__(self, other: Any) -> "State": ...

    def compressed(self) -> "State":
        """The same within its bound on memory."""

    def fixed_shape(self) -> "State":
        """The same in the largest shape that it can grow to, which `jax.lax.scan` can carry."""

    def converted(self, dtype: Any) -> "State":
        """The same in another accumulation dtype; only for a state of NumPy arrays."""


@dataclass(frozen=True, eq=False)
class Sums:
    """Named sums, each a pair of arrays of one shape."""

    values: Mapping[str, Pair]

    def __getitem__(self, key: str) -> Array:
        return value(self.values[key])

    def __add__(self, other: "Sums") -> "Sums":
        return Sums({key: pair + other.values[key] for key, pair in self.values.items()})

    def compressed(self) -> "Sums":
        return self

    def fixed_shape(self) -> "Sums":
        return self

    def converted(self, dtype: Any) -> "Sums":
        return Sums({key: _convert(pair, dtype) for key, pair in self.values.items()})


class Ranking:
    """The summary of the scores that bounds the areas: slots as in `kernels.ranking`, shape (4 or 6, m).

    Where values are at hand, pieces are joined when they are read, or when they are too many: a stream of small batches
    would copy all its scores for each of them.
    """

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
        count, waiting = both._counts
        few = len(both._pieces) <= _PIECES and count <= ranking.CAPACITY and waiting <= _WAITING
        return (
            both
            if few and self.backend.dynamic_shapes and self.backend.is_concrete(self._pieces[0])
            else both._joined()
        )

    def compressed(self) -> "Ranking":
        return self if sum(self._counts) <= ranking.CAPACITY else self._joined()

    @property
    def _counts(self) -> tuple[int, int]:
        """How many slots there are, and how many scores wait."""
        counts = [0, 0]
        for piece in self._pieces:
            counts[ranking.waits(piece)] += piece.shape[1]
        return counts[0], counts[1]

    def _joined(self) -> "Ranking":
        first, *more = self._pieces
        rows = 4 if ranking.waits(first) else first.shape[0]  # only in float64 do scores wait
        return Ranking(self.backend.call(ranking.concat, first, *more, shape=(rows, float("nan"))))

    def call(self, function: Callable[..., Array], *more: Array, shape: tuple[float, ...], **options: Any) -> Array:
        """``function(slots, *more, **options)``, as the slots' library does it best."""
        return self.backend.call(function, self.slots, *more, shape=shape, **options)

    def area(self, area: Area) -> Array:
        """Lower bound, value and upper bound of an area, shape (3,)."""
        if area not in _AREAS:
            return self.call(ranking.areas_with_bounds, shape=(1, 3), areas=(area,))[0, ...]
        shape = (len(_AREAS), 3)
        areas: Array = kept(self, "_areas", lambda: self.call(ranking.areas_with_bounds, shape=shape, areas=_AREAS))
        return areas[_AREAS.index(area), ...]

    def fixed_shape(self) -> "Ranking":
        backend = backends.of(self.slots)
        rows, length = self.slots.shape
        shape = (ranking.CAPACITY - length,)
        empty = [
            backend.xp.full(
                shape, float("inf") if row < 2 else 0.0, dtype=self.slots.dtype, device=backend.device(self.slots)
            )
            for row in range(rows)
        ]
        return Ranking(backend.xp.concat([self.slots, backend.xp.stack(empty)], axis=1))

    def converted(self, dtype: Any) -> "Ranking":
        if self.slots.dtype == dtype:
            return self
        if dtype == np.float64:
            slots = self.slots.astype(np.float64)
            return Ranking(np.concatenate([slots[:2], slots[2:4] + slots[4:6]]))
        with np.errstate(over="ignore"):
            lo, hi = self.slots[:2].astype(np.float32)
        lo = np.where(lo > self.slots[0], np.nextafter(lo, np.float32(-np.inf)), lo)
        hi = np.where(hi < self.slots[1], np.nextafter(hi, np.float32(np.inf)), hi)
        masses = _convert(Pair(self.slots[2:4], np.zeros_like(self.slots[2:4])), dtype)
        return Ranking(np.concatenate([np.stack([lo, hi]), masses.hi, masses.lo]))


_AREAS = (curves.roc_area, curves.precision_recall_area)
_PIECES = 64
"""Most pieces that are not joined."""
_WAITING = 2**18
"""Most scores that wait."""


def _convert(pair: Pair, dtype: Any) -> Pair:
    """A pair of NumPy arrays in another dtype, right to its precision."""
    if pair.hi.dtype == dtype:
        return pair
    hi, lo = pair.hi.astype(np.float64), pair.lo.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = (hi + lo).astype(dtype)
        rest = (hi - rounded) + lo
    return Pair(rounded, np.where(np.isfinite(rounded), rest, 0.0).astype(dtype))

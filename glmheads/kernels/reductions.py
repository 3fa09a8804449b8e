"""Sums that lose nothing, and the six reductions of a weighted loss.

A sum is kept as an unevaluated pair ``hi + lo`` of two numbers of the accumulation dtype, added by Knuth's two-sum
(*The Art of Computer Programming*, vol. 2, 4.2.2, theorem B), which returns the rounding error of an addition exactly.
So a record of 2**40 examples still counts one more where the device has no float64 (a pair of float32 carries 48 bits),
and in float64 the sum of any number of batches is right to a few roundings in any order.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from glmheads import backends
from glmheads.backends import Array
from glmheads.names import Reduction

_ROW = 256
"""Elements summed plainly in float32 before the sum is folded into a pair: their rounding errors stay near 1e-7 each
and average out over the rows, and whole numbers below 2**16 each are exact."""
_MAX_ROWS = 4096


class Pair(NamedTuple):
    """The sum ``hi + lo``; |lo| is at most half a unit in the last place of hi, 0 where hi is not finite.

    In float64 the sum over one batch is a plain one, and its lo is the number 0.
    """

    hi: Array
    lo: Array = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether lo is the number 0, and no array."""
        return type(self.lo) is float  # of NumPy's float64, it is a subclass

    def map(self, function: Callable[[Array], Array]) -> "Pair":
        """The pair of what a linear function makes of the two."""
        return Pair(function(self.hi), self.lo if self.is_plain else function(self.lo))

    def __add__(self, other: "Pair") -> "Pair":  # type: ignore[override]
        return add(self, other)

    # What a backend asks of a record.

    def arrays(self) -> list[Array]:
        """Both as arrays."""
        return [self.hi, backends.of(self.hi).xp.zeros_like(self.hi) if self.is_plain else self.lo]

    def structure(self) -> tuple[()]:
        """Nothing else is there."""
        return ()

    @classmethod
    def from_arrays(cls, structure: tuple[()], arrays: Sequence[Array]) -> "Pair":
        """The pair of these arrays."""
        return cls(*arrays)


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded sum of two arrays and its rounding error: ``a + b == s + e`` exactly."""
    s = backends.of(a).optimization_barrier(a + b)
    b_part = s - a
    return s, (a - (s - b_part)) + (b - b_part)


def add(p: Pair, q: Pair) -> Pair:
    """Sum of two pairs, elementwise."""
    backend = backends.of(p.hi)
    xp = backend.xp
    plain = p.hi + q.hi
    infinite = ~xp.isfinite(plain)
    if not backend.possibly_any(infinite):
        return _add_finite(p, q)
    # The error of an infinite sum would be a NaN.
    hi, lo = _add_finite(*(Pair(*(xp.where(infinite, xp.zeros_like(a), a) for a in pair.arrays())) for pair in (p, q)))
    return Pair(xp.where(infinite, plain, hi), lo)


def _add_finite(p: Pair, q: Pair) -> Pair:
    s, e = two_sum(p.hi, q.hi)
    e = e + (p.lo + q.lo)
    hi = backends.of(s).optimization_barrier(s + e)
    return Pair(hi, e - (hi - s))


def value(pair: Pair) -> Array:
    """The number that a pair stands for, rounded once."""
    return pair.hi if pair.is_plain else pair.hi + pair.lo


def total(x: Array) -> Pair:
    """Sum of all elements of `x`, as a pair of 0-d arrays of the accumulation dtype."""
    backend = backends.of(x)
    xp = backend.xp
    dtype = backend.accumulation_dtype(backend.device(x))
    # XLA's sums on the CPU draw in some of the operations before them, and leave the others to write whole arrays.
    x = backend.optimization_barrier(x)
    if dtype == xp.float64:
        return Pair(xp.sum(x, dtype=dtype))
    x = xp.reshape(xp.astype(x, dtype, copy=False), (-1,))
    rows = max(1, -(-x.shape[0] // _ROW))
    return _fold(xp.sum(xp.reshape(_pad(x, rows * _ROW), (rows, _ROW)), axis=1))


def counted(count: int, like: Array) -> Pair:
    """A number of examples as a pair of 0-d arrays on the device of `like`."""
    backend = backends.of(like)
    device = backend.device(like)
    dtype = backend.accumulation_dtype(device)
    if dtype == backend.xp.float64:
        return Pair(backend.xp.full((), float(count), dtype=dtype, device=device))
    high = float(np.float32(count))
    return Pair(*(backend.xp.full((), part, dtype=dtype, device=device) for part in (high, count - high)))


def segment_total(values: Array, segments: Array, length: int) -> Pair:
    """Sum of the values of each segment as pairs of shape (length,); both arguments have shape (n,)."""
    backend = backends.of(values)
    xp = backend.xp
    dtype = backend.accumulation_dtype(backend.device(values))
    values = xp.astype(values, dtype, copy=False)
    if dtype == xp.float64:
        return Pair(backend.segment_sum(values, segments, length))
    count = values.shape[0]
    rows = min(max(1, -(-count // _ROW)), _MAX_ROWS)
    index = xp.arange(count, dtype=segments.dtype, device=backend.device(values)) % rows
    sums = backend.segment_sum(values, segments + length * index, length * rows)
    return _fold(xp.reshape(sums, (rows, length)))


def _pad(x: Array, size: int) -> Array:
    backend = backends.of(x)
    missing = size - x.shape[0]
    if not missing:
        return x
    tail = backend.xp.zeros((missing, *x.shape[1:]), dtype=x.dtype, device=backend.device(x))
    return backend.xp.concat([x, tail])


def _fold(x: Array) -> Pair:
    """Sum over the first axis as a pair, by halves."""
    pair = Pair(x, backends.of(x).xp.zeros_like(x))
    while (count := pair.hi.shape[0]) > 1:
        half = -(-count // 2)
        hi, lo = _pad(pair.hi, 2 * half), _pad(pair.lo, 2 * half)
        pair = add(Pair(hi[:half, ...], lo[:half, ...]), Pair(hi[half:, ...], lo[half:, ...]))
    return Pair(pair.hi[0, ...], pair.lo[0, ...])


def reduce(losses: Array, weights: Array | None, reduction: Reduction) -> Array:
    """The weighted losses reduced to a 0-d array (unreduced, shaped like `losses`, for ``Reduction.NONE``).

    Parameters
    ----------
    losses : array of shape (..., d), real floating
    weights : array that broadcasts to the shape of `losses`, or None
        None stands for ones. An element of weight 0 is absent whatever its loss, except that it counts in n.
    reduction : Reduction

    Returns
    -------
    array
        In the dtype of `losses`.

    Examples
    --------
    >>> import numpy as np
    >>> from glmheads import Reduction
    >>> losses, weights = np.asarray([[1.0], [4.0]]), np.asarray([[3.0], [0.0]])
    >>> [float(reduce(losses, weights, r)) for r in ("sum", "sum_over_batch_size", "weighted_mean")]
    [3.0, 1.5, 1.0]
    """
    reduction = Reduction(reduction)
    if reduction == Reduction.NONE:
        return weigh(losses, weights)
    result = value(total(weigh(losses, weights)))
    if reduction != Reduction.SUM:
        result = safe_divide(result, value(divisor(losses, weights, reduction)))
    return backends.of(result).xp.astype(result, losses.dtype, copy=False)


def weigh(values: Array, weights: Array | None) -> Array:
    """``weights * values``, 0 where the weight is 0 whatever the value (and so is its derivative)."""
    if weights is None:
        return values
    backend = backends.of(values)
    absent = weights == 0
    if backend.possibly_any(absent):
        values = backend.zero_where(absent, values)
    return weights * values


def divisor(losses: Array, weights: Array | None, reduction: Reduction) -> Pair:
    """What the sum of the weighted losses is divided by, unless it is ``SUM``: 0-d. That of weights is additive."""
    xp = backends.of(losses).xp
    if weights is None or reduction in (Reduction.SUM_OVER_BATCH_SIZE, Reduction.AUTO):
        return counted(max(1, math.prod(losses.shape)), losses)
    each = weights if reduction == Reduction.MEAN else xp.astype(weights != 0, losses.dtype)
    return total(xp.broadcast_to(each, losses.shape))


def safe_divide(a: Array, b: Array) -> Array:
    """Quotient a / b, and 0 where b is 0."""
    backend = backends.of(b)
    xp = backend.xp
    absent = b == 0
    if not backend.possibly_any(absent):
        return a / b
    return xp.where(absent, xp.zeros_like(b), a / xp.where(absent, xp.ones_like(b), b))

"""NumPy, on the host."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from glmheads.backends._base import Array, Backend, Device


class _NumPy(Backend):
    name = "numpy"

    def find_device(self, device: object) -> Device:
        if device not in (None, "cpu"):
            raise ValueError(f"NumPy has no device {device!r}")
        return device

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        return np.asarray(array)

    def from_numpy(self, array: np.ndarray[Any, Any], device: Device = None) -> Array:
        return array

    # np.any, np.min and np.max take as long for a small batch as a pass over it.

    def possibly_any(self, mask: Array) -> bool:
        return bool(np.count_nonzero(mask))

    def possibly_nan(self, x: Array) -> bool:
        return bool(x.size and np.isnan(np.minimum.reduce(x, axis=None)))

    def min_max(self, x: Array) -> tuple[float, float] | None:
        if not x.size:
            return 0.0, 0.0
        return float(np.minimum.reduce(x, axis=None)), float(np.maximum.reduce(x, axis=None))

    def zero_where(self, mask: Array, x: Array) -> Array:
        # np.where guesses which side comes next, and takes ten times as long when it guesses wrong.
        bits = np.int32 if x.dtype == np.float32 else np.int64
        return (x.view(bits) & (mask.astype(bits) - bits(1))).view(x.dtype)

    def exp_log1p(self, x: Array) -> tuple[Array, Array]:
        # NumPy's float32 exp is 2.5 ulp off.
        e = np.exp(x, dtype=np.float64).astype(x.dtype, copy=False)
        return e, np.log1p(e)

    # NumPy sorts integers three times as fast as it finds the order of floats: of those whose high half orders as the
    # floats do, and whose low half is what goes with them.

    def argsort(self, x: Array) -> Array:
        single = _as_single(x)
        if single is None or self.possibly_nan(single):  # the last of all, but not as integers
            return np.argsort(x)
        keys, high, low = _keys(len(x))
        high[:], low[:] = _ordered(single), np.arange(len(x), dtype=np.uint32)
        keys.sort()
        return low.astype(np.int64)

    def interval_sums(self, x: Array, weights: tuple[Array, Array], lo: Array, hi: Array) -> list[Array]:
        # Of two weights of which one is 0, the difference goes with the float. An interval's ends are sorted in among
        # the others, with what no difference looks like: before all that are equal to lo, behind those equal to hi.
        single = [_as_single(part) for part in (lo, hi, x, weights[0] - weights[1])]
        if any(part is None for part in single) or np.count_nonzero(np.minimum(*weights)):
            return super().interval_sums(x, weights, lo, hi)
        *floats, signed = map(np.asarray, single)
        count = 2 * len(lo) + 1
        keys, high, low = _keys(count + len(x))
        high[0] = np.iinfo(np.int32).min
        high[1:count:2], high[2:count:2], high[count:] = map(_ordered, floats)
        low[:count:2], low[1:count:2], low[0] = 0xFFFFFFFF, 0, 0
        low[count:] = signed.view(np.uint32)
        keys.sort()
        weight = low.copy()
        is_end = weight + np.uint32(1) < 2
        at = np.flatnonzero(is_end)
        if len(at) != count:  # some have no weight
            return super().interval_sums(x, weights, lo, hi)
        weight[at] = 0
        place = 2 * np.cumsum(is_end)
        place += weight >> np.uint32(31)
        weight &= np.uint32(0x7FFFFFFF)
        sums = np.bincount(place, weights=weight.view(np.float32), minlength=2 * count + 2).reshape(-1, 2)[1:]
        behind = np.append(at[1:], len(keys))
        ends = (_ordered(high[where]).view(np.float32) for where in (np.minimum(at + 1, len(keys) - 1), behind - 1))
        return [*ends, *sums.T]

    def segment_sum(self, values: Array, segments: Array, length: int) -> Array:
        return np.bincount(segments, weights=values, minlength=length).astype(values.dtype, copy=False)

    def segment_max(self, values: Array, segments: Array, length: int, empty: float) -> Array:
        out = np.full(length, empty, dtype=values.dtype)
        np.maximum.at(out, segments, values)
        return out

    def numpy_views(self, arrays: Sequence[Array | None]) -> Sequence[np.ndarray[Any, Any] | None] | None:
        return arrays


def _as_single(x: Array) -> Array | None:
    """The floats in float32, None if they are none there."""
    if x.dtype.kind != "f":
        return None
    with np.errstate(over="ignore"):
        single = x.astype(np.float32, copy=False)
    return single if single is x or np.array_equal(single, x) else None


def _keys(count: int) -> tuple[Array, Array, Array]:
    """An array of int64 and its halves: the high one, which is signed, and the low one, which is not."""
    keys = np.empty(count, dtype=np.int64)
    high = sys.byteorder == "little"
    return keys, keys.view(np.int32)[high::2], keys.view(np.uint32)[not high :: 2]


def _ordered(x: Array) -> Array:
    """Integers that order as the float32 do; of such integers, the bits of the float32."""
    bits = x.view(np.int32)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


BACKEND: Backend = _NumPy(np, np.ndarray, np.generic)

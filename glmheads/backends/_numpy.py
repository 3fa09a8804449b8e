"""NumPy, on the host."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from glmheads.backends import blocks
from glmheads.backends._base import Array, Backend, Device, DType

__all__ = ["BACKEND"]


class _NumPy(Backend):
    name = "numpy"

    def owns(self, array: Array) -> bool:
        return isinstance(array, (np.ndarray, np.generic))

    def device(self, array: Array) -> Device:
        return "cpu"

    def find_device(self, device: object) -> Device:
        if device not in (None, "cpu"):
            raise ValueError(f"NumPy has no device {device!r}")
        return device

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        return np.asarray(array)

    def from_numpy(self, array: np.ndarray[Any, Any], device: Device = None) -> Array:
        return array

    # np.any, np.min and np.max take as long for a small batch as a pass over it.

    def may_have(self, mask: Array) -> bool:
        return bool(np.count_nonzero(mask))

    def may_have_nan(self, x: Array) -> bool:
        return bool(x.size and np.isnan(np.minimum.reduce(x, axis=None)))

    def extent(self, x: Array) -> tuple[float, float] | None:
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

    def argsort(self, x: Array) -> Array:
        with np.errstate(over="ignore"):
            single = x.astype(np.float32, copy=False)
        if single is not x and not np.array_equal(single, x):
            return np.argsort(x)
        # NumPy sorts integers three times as fast as it finds the order of floats: of those whose high half orders as
        # the floats do, and whose low half is the position.
        bits = single.view(np.int32)
        ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
        keys = (ordered.astype(np.int64) << 32) | np.arange(len(x))
        keys.sort()
        return keys & 0xFFFFFFFF

    def segment_sum(self, values: Array, segments: Array, length: int) -> Array:
        return np.bincount(segments, weights=values, minlength=length).astype(values.dtype, copy=False)

    def segment_max(self, values: Array, segments: Array, length: int, empty: float) -> Array:
        out = np.full(length, empty, dtype=values.dtype)
        if len(segments):
            starts = np.flatnonzero(np.diff(segments, prepend=segments[0] - 1))
            out[segments[starts]] = np.maximum.reduceat(values, starts)
        return out

    def runs_blocks(self, arrays: Sequence[Array | None]) -> bool:
        return True

    def fold(self, kernel: Callable[..., Any], arrays: tuple[Array | None, ...], add: Callable[[Any, Any], Any]) -> Any:
        return blocks.fold(kernel, arrays, add)

    def fill(
        self, kernel: Callable[..., Array], arrays: tuple[Array | None, ...], shape: tuple[int, ...], dtype: DType
    ) -> Array:
        out = np.empty(shape, dtype=dtype)
        blocks.fill(out, kernel, arrays)
        return out


BACKEND = _NumPy(np)

"""NumPy, on the host."""

from collections.abc import Callable
from typing import Any

import array_api_compat.numpy
import numpy as np

from glmheads.backends._base import Array, Backend, Device

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

    def log1p_exp(self, x: Array) -> Array:
        # NumPy's float32 exp and log1p are 2 ulp off each.
        return np.log1p(np.exp(x, dtype=np.float64)).astype(x.dtype, copy=False)

    def segment_sum(self, values: Array, segments: Array, length: int) -> Array:
        return np.bincount(segments, weights=values, minlength=length).astype(values.dtype, copy=False)

    def segment_max(self, values: Array, segments: Array, length: int, empty: float) -> Array:
        out = np.full(length, empty, dtype=values.dtype)
        if len(segments):
            starts = np.flatnonzero(np.diff(segments, prepend=segments[0] - 1))
            out[segments[starts]] = np.maximum.reduceat(values, starts)
        return out

    def run_blocks(
        self,
        kernel: Callable[..., Any],
        arrays: tuple[Array | None, ...],
        add: Callable[[Any, Any], Any],
    ) -> Any:
        return in_blocks(kernel, arrays, add)


# Elements of a block: temporaries of this size stay in a core's cache.
_BLOCK = 128 * 1024


def in_blocks(kernel: Callable[..., Any], arrays: tuple[Array | None, ...], add: Callable[[Any, Any], Any]) -> Any:
    """`Backend.run_blocks` for arrays on the host, whose slices are views."""
    first = next(array for array in arrays if array is not None)
    rows = first.shape[0]
    block = max(1, _BLOCK * rows // max(1, first.size if isinstance(first, np.ndarray) else first.numel()))
    if rows <= block:
        return kernel(*arrays)
    total = None
    for start in range(0, rows, block):
        part = kernel(*(None if array is None else array[start : start + block] for array in arrays))
        total = part if total is None else add(total, part)
    return total


BACKEND = _NumPy(array_api_compat.numpy)

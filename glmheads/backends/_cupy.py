"""CuPy, on CUDA GPUs."""

from collections.abc import Callable
from functools import cache
from typing import Any

import array_api_compat.cupy
import cupy as cp
import cupyx
import numpy as np

from glmheads.backends._base import Array, Backend, Device


class _CuPy(Backend):
    name = "cupy"
    dynamic_shapes = False
    shares_compiler = True

    def on_host(self, array: Array) -> bool:
        return False

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        return np.asarray(cp.asnumpy(array))

    def from_numpy(self, array: np.ndarray[Any, Any], device: Device = None) -> Array:
        with self.find_device(device):
            return cp.asarray(array)

    def find_device(self, device: object) -> Device:
        if device is None:
            return cp.cuda.Device()
        if isinstance(device, str):  # as torch writes it: "cuda" or "cuda:1"
            device = int(device.partition(":")[2] or 0)
        return device if isinstance(device, cp.cuda.Device) else cp.cuda.Device(device)

    # cupy.bincount and fancy indexing look at the data for the length, and wait for the device; scatter does not.

    def segment_sum(self, values: Array, segments: Array, length: int) -> Array:
        out = cp.zeros(length, dtype=values.dtype)
        cupyx.scatter_add(out, segments, values)
        return out

    def segment_max(self, values: Array, segments: Array, length: int, empty: float) -> Array:
        out = cp.full(length, empty, dtype=values.dtype)
        cupyx.scatter_max(out, segments, values)
        return out

    # cupy.fuse fuses elementwise operations and a reduction; PyTorch's compiler, where it is there, a whole call.

    @property
    def compiles(self) -> bool:  # type: ignore[override]
        return _compiler() is not None

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        compiler = _compiler()
        return function if compiler is None else compiler.compile_for(function, cp.from_dlpack)


@cache
def _compiler() -> Any:
    """PyTorch's backend, if PyTorch is installed and sees the device."""
    try:
        from glmheads.backends import _torch
    except ImportError:
        return None
    return _torch.BACKEND if _torch.BACKEND.xp.cuda.is_available() else None


BACKEND: Backend = _CuPy(array_api_compat.cupy, cp.ndarray)

"""PyTorch, on any device."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import array_api_compat.torch
import numpy as np
import torch

from glmheads.backends._base import Array, Backend, Device, DType
from glmheads.backends._numpy import in_blocks

__all__ = ["BACKEND"]


class _Torch(Backend):
    name = "torch"
    has_autograd = True

    def owns(self, array: Array) -> bool:
        return isinstance(array, torch.Tensor)

    def on_host(self, array: Array) -> bool:
        return bool(array.device.type == "cpu")

    def at_hand(self, array: Array) -> bool:
        return self.on_host(array) and not self.is_lazy(array)

    def is_traced(self, array: Array) -> bool:
        if torch.compiler.is_compiling():
            return True
        return bool(array.device.type == "meta" or torch._C._functorch.is_functorch_wrapped_tensor(array))

    def quiet(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def accumulation_dtype(self, device: Device) -> DType:
        return torch.float32 if getattr(device, "type", device) == "mps" else torch.float64

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        array = array.detach().cpu()
        if array.dtype == torch.bfloat16:
            array = array.to(torch.float32)
        return np.asarray(array.numpy())

    def from_numpy(self, array: np.ndarray[Any, Any], device: Device = None) -> Array:
        if array.dtype == np.float64 and self.accumulation_dtype(device) == torch.float32:
            array = array.astype(np.float32)
        if any(stride < 0 for stride in array.strides) or not array.flags.writeable:
            array = array.copy()  # torch has neither negative strides nor read-only tensors
        return torch.as_tensor(array, device=device)

    def find_device(self, device: object) -> Device:
        return torch.device(device)  # type: ignore[call-overload]

    def detach(self, array: Array) -> Array:
        return array.detach()

    def make_traceable(self, cls: Any) -> bool:
        from torch.utils import _pytree

        if torch.compiler.is_compiling():
            return False

        _pytree.register_pytree_node(
            cls,
            lambda record: (record.arrays(), record.structure()),
            lambda arrays, form: cls.from_arrays(form, arrays),
        )
        return True

    def segment_sum(self, values: Array, segments: Array, length: int) -> Array:
        out = torch.zeros(length, dtype=values.dtype, device=values.device)
        return out.index_add(0, segments.to(torch.int64), values)

    def segment_max(self, values: Array, segments: Array, length: int, empty: float) -> Array:
        out = torch.full((length,), empty, dtype=values.dtype, device=values.device)
        return out.scatter_reduce(0, segments.to(torch.int64), values, "amax")

    def gradient(self, function: Callable[[Array], Array], x: Array) -> Array:
        return torch.func.grad(function)(x.detach())

    def hessian_diagonal(self, function: Callable[[Array], Array], x: Array) -> Array:
        gradient = torch.func.grad(function)
        x = x.detach()
        columns = [
            torch.func.grad(lambda x, column=column: gradient(x)[..., column].sum())(x)[..., column]
            for column in range(x.shape[-1])
        ]
        return torch.stack(columns, dim=-1)

    def run_blocks(
        self,
        kernel: Callable[..., Any],
        arrays: tuple[Array | None, ...],
        add: Callable[[Any, Any], Any],
    ) -> Any:
        first = next(array for array in arrays if array is not None)
        return in_blocks(kernel, arrays, add) if self.at_hand(first) else kernel(*arrays)


BACKEND = _Torch(array_api_compat.torch)

"""PyTorch, on any device."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import FunctionType
from typing import Any

import array_api_compat.torch
import numpy as np
import torch
from torch.autograd import forward_ad
from torch.utils import _pytree

from glmheads.backends._base import Array, Backend, Device, Function


class _Torch(Backend):
    name = "torch"
    has_autograd = True
    compiles = True
    shares_memory = True

    def on_host(self, array: Array) -> bool:
        return bool(array.device.type == "cpu")

    def is_traced(self, array: Array) -> bool:
        if self.is_compiling():
            return True
        return bool(array.device.type == "meta" or torch._C._functorch.is_functorch_wrapped_tensor(array))

    def errstate(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def accumulation_dtype(self, device: Device) -> Any:
        return torch.float32 if getattr(device, "type", device) == "mps" else torch.float64

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        if array.dtype == torch.bfloat16:
            array = array.to(torch.float32)
        numbers: np.ndarray[Any, Any] = array.numpy(force=True)
        return numbers

    def from_numpy(self, array: np.ndarray[Any, Any], device: Device = None) -> Array:
        if array.dtype == np.float64 and self.accumulation_dtype(device) == torch.float32:
            array = array.astype(np.float32)
        if array.ndim and (any(stride < 0 for stride in array.strides) or not array.flags.writeable):
            array = array.copy()  # torch has neither negative strides nor read-only tensors
        return torch.as_tensor(array if array.ndim else array[()], device=device)

    def find_device(self, device: object) -> Device:
        return torch.device(device)  # type: ignore[call-overload]

    def detach(self, array: Array) -> Array:
        return array.detach()

    def register_pytree(self, cls: Any) -> None:
        _pytree.register_pytree_node(
            cls,
            lambda record: (record.arrays(), record.structure()),
            lambda arrays, form: cls.from_arrays(form, arrays),
        )

    def is_compiling(self) -> bool:
        return torch.compiler.is_compiling()

    def segment_sum(self, values: Array, segments: Array, length: int) -> Array:
        out = torch.zeros(length, dtype=values.dtype, device=values.device)
        return out.index_add(0, segments.to(torch.int64), values)

    def segment_max(self, values: Array, segments: Array, length: int, empty: float) -> Array:
        out = torch.full((length,), empty, dtype=values.dtype, device=values.device)
        return out.scatter_reduce(0, segments.to(torch.int64), values, "amax")

    def gradient(self, function: Function, x: Array) -> Array:
        return torch.func.grad(function)(x if self.is_traced(x) else x.detach())

    # On the CPU a tensor shares its memory with a NumPy array, on which kernels run block by block, without a copy.
    # Where autograd must see the operations, they are torch's own on whole tensors.

    def numpy_views(self, arrays: Sequence[Array | None]) -> Sequence[np.ndarray[Any, Any] | None] | None:
        given = [array for array in arrays if array is not None]
        if not all(self.is_concrete(array) and not _differentiates(array) for array in given):
            return None
        return [None if array is None else self.to_numpy(array) for array in arrays]

    def thread_limit(self) -> int | None:
        return torch.get_num_threads()

    def call(self, function: Callable[..., Array], *arrays: Array, shape: tuple[float, ...], **options: Any) -> Array:
        views = self.numpy_views(arrays)
        return function(*arrays, **options) if views is None else torch.as_tensor(function(*views, **options))

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        # What torch has compiled belongs to the code object, of which it compiles few variants: each head gets its own.
        assert isinstance(function, FunctionType)
        own = FunctionType(function.__code__.replace(), function.__globals__, closure=function.__closure__)
        return torch.compile(own)

    def compile_for(self, function: Callable[..., Any], bring_back: Callable[[Array], Array]) -> Callable[..., Any]:
        """`compile` for another library on the same device: arrays share their memory with tensors, both ways."""
        compiled = self.compile(function)

        def run(*arrays: Array | None) -> Any:
            tensors = [None if array is None else torch.utils.dlpack.from_dlpack(array) for array in arrays]
            return _pytree.tree_map_only(torch.Tensor, bring_back, compiled(*tensors))

        return run

    def differentiable(
        self, function: Function, with_gradient: Function, gradient: Function, x: Array, *others: Array | None
    ) -> Array:
        wanted = x.requires_grad and torch.is_grad_enabled() and self.is_concrete(x)
        if not wanted or self.numpy_views([x.detach(), *others]) is None:
            return function(x)
        return _ClosedForm.apply(x, with_gradient, gradient)  # type: ignore[no-untyped-call]


def _differentiates(tensor: torch.Tensor) -> bool:
    """Whether autograd would follow an operation on the tensor."""
    if tensor.requires_grad and torch.is_grad_enabled():
        return True
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(tensor).tangent is not None  # type: ignore[no-untyped-call]


class _ClosedForm(torch.autograd.Function):
    """A function whose gradient comes with its value, and is itself a function that autograd can follow."""

    @staticmethod
    def forward(ctx: Any, x: Array, with_gradient: Function, gradient: Function) -> Array:
        ctx.save_for_backward(x)
        ctx.gradient = gradient
        value, ctx.found = with_gradient(x.detach())
        return value

    @staticmethod
    def backward(ctx: Any, above: Array) -> Any:
        (x,) = ctx.saved_tensors
        found, ctx.found = ctx.found, None  # nobody else may hold it, so that it can become x.grad as it is
        if found is None or torch.is_grad_enabled():
            found = ctx.gradient(x)
        found = found if not torch.is_grad_enabled() and above == 1 else found * above.to(found.dtype)
        return found.to(x.dtype), None, None


BACKEND: Backend = _Torch(array_api_compat.torch, torch.Tensor)

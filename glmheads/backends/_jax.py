"""JAX, on any device, with and without x64; its functions are traced as well as run."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glmheads.backends._base import Array, Backend, Device, DType, Namespace

__all__ = ["BACKEND"]


class _Jax(Backend):
    name = "jax"
    trims = False
    has_autograd = True

    @cached_property
    def xp(self) -> Namespace:
        return jnp

    def owns(self, array: Array) -> bool:
        return isinstance(array, jax.Array)

    def device(self, array: Array) -> Device:
        return None if self.is_lazy(array) else array.device

    def on_host(self, array: Array) -> bool:
        return self.is_lazy(array) or all(device.platform == "cpu" for device in array.devices())

    def at_hand(self, array: Array) -> bool:
        return not self.is_lazy(array) and self.on_host(array)

    def is_traced(self, array: Array) -> bool:
        return isinstance(array, jax.core.Tracer)

    def accumulation_dtype(self, device: Device) -> DType:
        return jax.dtypes.canonicalize_dtype(np.float64)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        return np.asarray(array)

    def from_numpy(self, array: np.ndarray[Any, Any], device: Device = None) -> Array:
        # Without x64, jax would warn of every float64 and int64 that it narrows.
        return jnp.asarray(array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False), device=device)

    def find_device(self, device: object) -> Device:
        if isinstance(device, str):  # as torch writes it: "cpu", "cuda" or "cuda:1"
            platform, _, index = device.partition(":")
            return jax.devices(platform)[int(index or 0)]
        return device

    def detach(self, array: Array) -> Array:
        return jax.lax.stop_gradient(array)

    def make_traceable(self, cls: Any) -> None:
        jax.tree_util.register_pytree_node(
            cls,
            lambda record: (record.arrays(), record.structure()),
            lambda form, arrays: cls.from_arrays(form, arrays),
        )

    def segment_sum(self, values: Array, segments: Array, length: int) -> Array:
        return jax.ops.segment_sum(values, segments, num_segments=length)

    def segment_max(self, values: Array, segments: Array, length: int, empty: float) -> Array:
        return jnp.full(length, empty, dtype=values.dtype).at[segments].max(values)

    def gradient(self, function: Callable[[Array], Array], x: Array) -> Array:
        return jax.grad(function)(x)

    def hessian_diagonal(self, function: Callable[[Array], Array], x: Array) -> Array:
        gradient = jax.grad(function)
        columns = []
        for column in range(x.shape[-1]):
            one_hot = jnp.zeros_like(x).at[..., column].set(1)
            columns.append(jax.jvp(gradient, (x,), (one_hot,))[1][..., column])
        return jnp.stack(columns, axis=-1)


BACKEND = _Jax()

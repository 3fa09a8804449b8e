"""JAX, on any device, with and without x64; its functions are traced as well as run."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glmheads.backends._base import Array, Arrays, Backend, Device, Function


class _Jax(Backend):
    name = "jax"
    dynamic_shapes = False
    has_autograd = True
    compiles = True

    def device(self, array: Array) -> Device:
        return None if self.is_lazy(array) else array.device

    def on_host(self, array: Array) -> bool:
        return self.is_lazy(array) or all(device.platform == "cpu" for device in array.devices())

    def is_traced(self, array: Array) -> bool:
        return isinstance(array, jax.core.Tracer)

    def accumulation_dtype(self, device: Device) -> Any:
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

    def register_pytree(self, cls: Any) -> None:
        jax.tree_util.register_pytree_node(cls, lambda record: (record.arrays(), record.structure()), cls.from_arrays)

    def optimization_barrier(self, x: Array) -> Array:
        exponent, mantissa = (11, 52) if x.dtype == jnp.float64 else (8, 23)
        return jax.lax.reduce_precision(x, exponent, mantissa)

    def exp_log1p(self, x: Array) -> tuple[Array, Array]:
        # XLA's log1p is log(1 + e), 2.3 ulp off on the CPU; this puts back what 1 + e loses (Kahan).
        e = jnp.exp(x)
        u = self.optimization_barrier(1 + e)
        return e, jnp.log(u) + (e - (u - 1)) / u

    def segment_sum(self, values: Array, segments: Array, length: int) -> Array:
        return jax.ops.segment_sum(values, segments, num_segments=length)

    def segment_max(self, values: Array, segments: Array, length: int, empty: float) -> Array:
        return jnp.full(length, empty, dtype=values.dtype).at[segments].max(values)

    def repeat(self, function: Callable[[Array, Arrays], Arrays], state: Arrays, times: int) -> Arrays:
        # As a loop, not unrolled: XLA takes minutes to compile what the agnostic one writes out.
        return tuple(jax.lax.fori_loop(0, times, function, state))

    def call(self, function: Callable[..., Array], *arrays: Array, shape: tuple[float, ...], **options: Any) -> Array:
        return _compiled(function, tuple(options))(*arrays, **options)

    def execute(self, kernel: Callable[..., Any], arrays: tuple[Array | None, ...]) -> Any:
        return _compiled(kernel, ())(*arrays)

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return jax.jit(function)

    def gradient(self, function: Function, x: Array) -> Array:
        return jax.grad(function)(x)


@lru_cache(maxsize=1024)
def _compiled(function: Callable[..., Any], static: tuple[str, ...]) -> Callable[..., Any]:
    """The function under ``jax.jit``: kept, because what it has compiled is lost with it."""
    return jax.jit(function, static_argnames=static)


BACKEND: Backend = _Jax(jnp, jax.Array)

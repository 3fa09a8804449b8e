"""`Backend`: what kernels and heads may ask of an array library, written with the Array API standard alone."""

import functools
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any
"""An array of any library that follows the Array API standard; the standard has no type to name it by."""

Device: TypeAlias = Any
Arrays: TypeAlias = tuple[Array, ...]
Function: TypeAlias = Callable[[Array], Any]


class once:  # noqa: N801
    """A property that is computed once; torch.compile refuses the lock of ``functools.cached_property``."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.name = function.__name__
        self.__doc__ = function.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        found = self.function(instance)
        instance.__dict__[self.name] = found  # which Python finds before this descriptor
        return found


class Backend:
    """An array library, as the rest of the package sees it.

    Parameters
    ----------
    xp : module
        The library's namespace.
    *types : type
        The classes of its arrays, if not all that have a namespace are.
    """

    name = "array API"
    dynamic_shapes = True
    """Whether arrays whose length depends on values cost nothing extra (no recompilation, no synchronisation)."""
    has_autograd = False
    compiles = False
    """Whether `compile` compiles."""
    shares_compiler = False
    """Whether `compile` passes arrays of another library, which has the compiler, to the function."""
    shares_memory = False
    """Whether `numpy_views` are views of another library's arrays."""

    def __init__(self, xp: Any, *types: type) -> None:
        self.xp, self.types = xp, types

    # Facts

    def owns(self, array: Array) -> bool:
        """Whether `array`, whose class comes from this library, is one of its arrays."""
        return isinstance(array, self.types) if self.types else hasattr(array, "__array_namespace__")

    def device(self, array: Array) -> Device:
        return array.device

    def on_host(self, array: Array) -> bool:
        """Whether the array's memory is the host's."""
        return True

    def is_concrete(self, array: Array) -> bool:
        """Whether the values can be looked at without waiting: on the host, and neither traced nor lazy."""
        return self.on_host(array) and not self.is_lazy(array)

    def is_lazy(self, array: Array) -> bool:
        """Whether the array has no values yet: traced, or a graph that waits to be computed."""
        return self.is_traced(array)

    def is_traced(self, array: Array) -> bool:
        """Whether a compiler or a transformation traces the array, so that it can never have values here."""
        return False

    def accumulation_dtype(self, device: Device) -> Any:
        """float64 where the device has it, else float32."""
        return self.xp.float64

    def errstate(self) -> AbstractContextManager[Any]:
        """No warnings of overflow or invalid operations: kernels give infinity and NaN where they are the answer."""
        return np.errstate(all="ignore")

    def possibly_any(self, mask: Array) -> bool:
        """Whether any element is true, as far as can be known without waiting.

        What only such elements need may be left out where there are none.
        """
        return not self.is_concrete(mask) or bool(self.xp.any(mask))

    def possibly_nan(self, x: Array) -> bool:
        """Whether any element is NaN, likewise."""
        extremes = self.min_max(x)  # quicker than a mask
        return extremes is None or math.isnan(extremes[0])

    def min_max(self, x: Array) -> tuple[float, float] | None:
        """The least and the largest element, NaN if any is; None where that can't be known without waiting."""
        if not self.is_concrete(x):
            return None
        if 0 in x.shape:
            return 0.0, 0.0
        least, most = self.xp.min(x), self.xp.max(x)
        # Under jax.jit, what is computed of an array at hand (a closed-over constant) is traced.
        return (float(self.detach(least)), float(self.detach(most))) if self.is_concrete(least) else None

    # Conversion

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """The values as a NumPy array: waits for the device, and computes what is lazy."""
        return np.asarray(np.from_dlpack(array))

    def to_numpy_all(self, arrays: Sequence[Array]) -> list[np.ndarray[Any, Any]]:
        """`to_numpy` of several arrays, which may share the work of computing them."""
        return [self.to_numpy(array) for array in arrays]

    def from_numpy(self, array: np.ndarray[Any, Any], device: Device = None) -> Array:
        """A NumPy array brought to this library and `device`, in the nearest dtype that it has."""
        return self.xp.asarray(array, device=device)

    def find_device(self, device: object) -> Device:
        """A device of this library from what a user calls it."""
        return device

    def detach(self, array: Array) -> Array:
        """The array without the graph that autograd would keep alive with it."""
        return array

    def register_pytree(self, cls: type) -> None:
        """Let the library's transformations see into records of `cls`."""

    def is_compiling(self) -> bool:
        """Whether the running Python code is being compiled by the library."""
        return False

    # Arithmetic

    def optimization_barrier(self, x: Array) -> Array:
        """The array, hidden from the compiler's algebra: XLA simplifies (c + x) − c to x where c is a constant."""
        return x

    def zero_where(self, mask: Array, x: Array) -> Array:
        """The array with 0 where `mask` is true, whatever was there."""
        return self.xp.where(mask, self.xp.zeros_like(x), x)

    def exp_log1p(self, x: Array) -> tuple[Array, Array]:
        """exp(x) and log(1 + exp(x)) for x ≤ 0."""
        e = self.xp.exp(x)
        return e, self.xp.log1p(e)

    # Operations that the standard lacks, or that a library has in a faster form

    def argsort(self, x: Array) -> Array:
        """An order in which the elements of `x`, shape (n,), ascend; equal ones may come in any order."""
        return self.xp.argsort(x, stable=False)

    def segment_sum(self, values: Array, segments: Array, length: int) -> Array:
        """Sum of the values of each segment: ``out[s] = sum(values[segments == s])``, shape (length,).

        `values` and `segments` (integers from 0 to length - 1) have shape (n,).
        """
        order = self.xp.argsort(segments, stable=True)
        values, segments = self.xp.take(values, order), self.xp.take(segments, order)
        return self.segment_reduce((values,), segments, length, lambda a, b: (a[0] + b[0],), 0.0)[0]

    def segment_max(self, values: Array, segments: Array, length: int, empty: float) -> Array:
        """Largest value of each segment, `empty` where a segment has none, shape (length,); `segments` ascend."""
        combine = self.xp.maximum
        return self.segment_reduce((values,), segments, length, lambda a, b: (combine(a[0], b[0]),), empty)[0]

    def interval_sums(self, x: Array, weights: tuple[Array, Array], lo: Array, hi: Array) -> list[Array]:
        """Of the elements of `x` in each interval and in each gap: the least, the largest, and the sum of each weight.

        `x` and its weights, which are not negative, have shape (n,), `lo` and `hi`, of the accumulation dtype, shape
        (m,), n and m > 0, and each interval from lo[i] to hi[i] lies above those before. The results have shape
        (2m + 1,): the gap before each interval, the interval, and the gap behind the last. The least and the largest of
        none are any.
        """
        xp = self.xp
        x, *rest = (xp.astype(a, lo.dtype, copy=False) for a in (x, *weights))
        order = self.argsort(x)
        x = xp.take(x, order)
        starts, ends = xp.searchsorted(x, lo, side="left"), xp.searchsorted(x, hi, side="right")
        edges = xp.reshape(xp.stack([starts, ends], axis=1), (-1,))
        zero, last = xp.zeros_like(edges[:1]), xp.full_like(edges[:1], x.shape[0])
        starts, ends = xp.concat([zero, edges]), xp.concat([edges, last])
        cell = xp.repeat(xp.arange(ends.shape[0], dtype=ends.dtype), ends - starts)
        found = [xp.take(x, xp.clip(at, 0, x.shape[0] - 1)) for at in (starts, ends - 1)]
        return found + [self.segment_sum(xp.take(weight, order), cell, ends.shape[0]) for weight in rest]

    def segment_reduce(
        self, values: Arrays, segments: Array, length: int, combine: Callable[[Arrays, Arrays], Arrays], empty: float
    ) -> Arrays:
        """Each segment's elements combined by an associative function, `empty` where there are none.

        `values` are arrays of shape (n,) that belong together, `segments` ascend; the results have shape (length,).
        """
        xp = self.xp
        count = segments.shape[0]
        if count == 0:
            return tuple(xp.full((length,), empty, dtype=v.dtype, device=self.device(v)) for v in values)
        scanned = self.scan(values, combine, segments)
        names = xp.arange(length, dtype=segments.dtype, device=self.device(values[0]))
        last = xp.searchsorted(segments, names, side="right") - 1
        index = xp.clip(last, 0, count - 1)
        found = (last >= 0) & (xp.take(segments, index) == names)
        return tuple(xp.where(found, xp.take(v, index), xp.full_like(index, empty, dtype=v.dtype)) for v in scanned)

    def scan(self, values: Arrays, combine: Callable[[Arrays, Arrays], Arrays], segments: Array) -> Arrays:
        """Each element combined with all before it in its segment, by doubling (Hillis and Steele, 1986).

        `values` are arrays of shape (n,) that belong together, `segments` ascend, `combine` is associative.
        """
        xp = self.xp
        count = segments.shape[0]
        position = xp.arange(count, dtype=segments.dtype, device=self.device(values[0]))

        def double(exponent: Array, values: Arrays) -> Arrays:
            step = 1 << exponent
            same = (position >= step) & (segments == xp.roll(segments, step))
            combined = combine(tuple(xp.roll(v, step) for v in values), values)
            return tuple(xp.where(same, c, v) for v, c in zip(values, combined, strict=True))

        return self.repeat(double, values, max(count - 1, 0).bit_length())

    def repeat(self, function: Callable[[Array, Arrays], Arrays], state: Arrays, times: int) -> Arrays:
        """The state after `times` calls ``state = function(index, state)``, which keep its arrays' shapes and dtypes.

        Where values are at hand, no further call is made once one has changed nothing.
        """
        for index in range(times):
            before, state = state, function(index, state)
            if self.is_concrete(state[0]) and all(self.xp.all(a == b) for a, b in zip(before, state, strict=True)):
                break
        return state

    # Derivatives of a user's own function

    def gradient(self, function: Function, x: Array) -> Array:
        """Gradient of a function that returns a 0-d array, at `x`, by the library's autograd."""
        raise TypeError(
            f"{self.name} arrays have no automatic differentiation, which a custom loss_fn needs for "
            "gradient and hessian. Use PyTorch or JAX arrays, or a head without loss_fn."
        )

    def hessian_diagonal(self, function: Function, x: Array) -> Array:
        """Second derivative of the function by each element of `x`, shape (..., d), by the library's autograd.

        Elements that differ in another index than the last must not interact (the examples of a batch don't).
        """

        def total_slope(x: Array, column: int) -> Array:
            return self.xp.sum(self.gradient(function, x)[..., column])

        columns = range(x.shape[-1])
        slopes = [self.gradient(functools.partial(total_slope, column=column), x)[..., column] for column in columns]
        return self.xp.stack(slopes, axis=-1)

    # Running

    def call(self, function: Callable[..., Array], *arrays: Array, shape: tuple[float, ...], **options: Any) -> Array:
        """``function(*arrays, **options)``, for a costly function of whole arrays, which may sort.

        It runs as one piece: lazily, or compiled, where the library does that. `shape` is that of the result, NaN for a
        length that depends on values; its dtype is that of the first array. The options are hashable.
        """
        return function(*arrays, **options)

    def numpy_views(self, arrays: Sequence[Array | None]) -> Sequence[np.ndarray[Any, Any] | None] | None:
        """NumPy arrays that share the arrays' memory, if a kernel may be run on them instead; else None."""
        return None

    def thread_limit(self) -> int | None:
        """The most threads that the library lets a computation use; None if it sets no limit."""
        return None

    def execute(self, kernel: Callable[..., Any], arrays: tuple[Array | None, ...]) -> Any:
        """``kernel(*arrays)``, where a kernel is as `glmheads.engine` says: compiled or split as the library does it.

        Kernels are hashable, and equal ones compute the same.
        """
        return kernel(*arrays)

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A pure function of arrays, compiled: it is traced on its first call, and again for other shapes."""
        return function

    def differentiable(
        self, function: Function, with_gradient: Function, gradient: Function, x: Array, *others: Array | None
    ) -> Array:
        """``function(x)``, a 0-d array, whose derivative may be had in closed form instead of by autograd.

        `with_gradient` gives the value and the gradient in one pass, `gradient` as a function that autograd can follow.
        `others` are the arrays that the functions close over.
        """
        return function(x)

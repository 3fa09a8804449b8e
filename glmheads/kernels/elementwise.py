"""What the pointwise kernels share: they are computed in float32 or wider and rounded once."""

from collections.abc import Callable
from functools import wraps

from glmheads import backends
from glmheads.backends import Array


def to_compute_dtype(x: Array) -> Array:
    """float32 and float64 as they are, narrower floats as float32, integers and booleans as the default real dtype.

    Raises
    ------
    TypeError
        If `x` is complex or not numeric.
    """
    dtype = compute_dtype(x)
    return x if x.dtype == dtype else backends.of(x).xp.astype(x, dtype)


def in_dtype(x: Array, dtype: Array) -> Array:
    """The array in `dtype`: as it is if it has it, for which some libraries take as long as for a small batch."""
    return x if x.dtype == dtype else backends.of(x).xp.astype(x, dtype)


def compute_dtype(x: Array) -> Array:
    """The dtype of ``to_compute_dtype(x)``."""
    backend = backends.of(x)
    xp = backend.xp
    if x.dtype == xp.float32 or x.dtype == xp.float64:
        return x.dtype
    if is_integral(xp, x.dtype):
        return xp.__array_namespace_info__().default_dtypes(device=backend.device(x))["real floating"]
    # bfloat16 is no dtype of the standard, and isdtype of some libraries doesn't know it.
    if "bfloat16" in str(x.dtype) or xp.isdtype(x.dtype, "real floating"):
        # longdouble, and float64 of the other byte order, are not narrowed further than need be.
        return xp.float32 if x.dtype.itemsize <= 4 else xp.float64
    raise TypeError(f"expected real numbers, got an array of dtype {x.dtype}")


def is_integral(xp: backends.Array, dtype: backends.Array) -> bool:
    """Whether the dtype is of integers or booleans."""
    return "bfloat16" not in str(dtype) and bool(xp.isdtype(dtype, ("bool", "integral")))


def elementwise(kernel: Callable[..., Array]) -> Callable[..., Array]:
    """Let a kernel written for float32 and float64 take any real dtype: its last array argument is the logits, whose
    shape and dtype the result has (the default real dtype if they are integers).
    """

    @wraps(kernel)
    def wrapper(*arrays: Array, **options: bool) -> Array:
        *others, logits = arrays
        backend = backends.of(logits)
        x = to_compute_dtype(logits)
        for index, other in enumerate(others):
            if backends.of(other) is not backend:
                raise TypeError(f"labels and logits must come from one library, got {type(other)} and {type(logits)}")
            if other.shape != x.shape:
                raise ValueError(
                    f"labels must be shaped like the logits: labels have shape {tuple(other.shape)}, "
                    f"logits {tuple(x.shape)}"
                )
            others[index] = in_dtype(to_compute_dtype(other), x.dtype)
        with backend.errstate():
            result = kernel(*others, x, **options)
        return result if is_integral(backend.xp, logits.dtype) else in_dtype(result, logits.dtype)

    return wrapper

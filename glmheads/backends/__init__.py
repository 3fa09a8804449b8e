"""The only place that knows an array library by name.

The rules that a backend follows:

- ``of(array)`` finds the backend of an array by its type; importing glmheads imports no array library, and a backend's
  file is read when the first array of its library arrives.
- A backend holds the library's namespace ``xp`` (the Array API standard, through array-api-compat) and the few
  operations that the standard lacks. `Backend` implements each with the standard alone, so any conforming library
  works unlisted; a file here overrides what its library does better, or has no standard way to do.
- An operation never synchronises with a device and never looks at values, unless its name says so (``to_numpy``).
- Facts about an array are asked here: ``is_concrete`` (its values can be looked at now: on the host, and neither traced
  nor lazy), ``accumulation_dtype``, ``device``.
"""

import sys
from importlib import import_module

from glmheads.backends._base import Array, Backend, once

__all__ = ["Array", "Backend", "is_array", "named", "of", "once", "register_pytree"]

_LIBRARIES = {"numpy", "torch", "cupy", "jax", "jaxlib", "dask"}
"""The modules that array classes come from."""

_by_type: dict[type, Backend] = {}
_by_name: dict[str, Backend] = {}
_traceable: set[tuple[str, type]] = set()


def of(array: Array) -> Backend:
    """The backend of an array, a TypeError when it is none."""
    return _by_type.get(type(array)) or _find(array)


def is_array(value: object) -> bool:
    """Whether `value` is an array of a library that follows the Array API standard."""
    if type(value) in _by_type:
        return True
    root = _library(type(value))
    return hasattr(value, "__array_namespace__") if root is None else _load(root).owns(value)


def named(library: object) -> Backend:
    """The backend of a library given by its name or by its module, as in ``"torch"``, ``torch`` or ``jax.numpy``.

    Raises
    ------
    ValueError
        If the library is not installed, or is none that is known and none that follows the standard.
    """
    name = library if isinstance(library, str) else getattr(library, "__name__", "")
    root = name.removeprefix("array_api_compat.").split(".")[0]
    if root in _LIBRARIES:
        return _load(root)
    if isinstance(library, str):
        try:
            library = import_module(library)
        except ImportError:
            raise ValueError(f"no array library named {name!r} is installed") from None
    if not hasattr(library, "asarray"):
        raise ValueError(f"{library!r} is not an array library: it has no asarray")
    return _by_name.setdefault(name, Backend(library))


def register_pytree(cls: type) -> None:
    """Let the libraries in use see into the records of `cls`, made of ``arrays()``, ``structure()`` and
    ``from_arrays()``.

    ``jax`` can trace a function of a record only if it knows the record's class, and is not imported for that; so a
    record asks for this whenever one is made.
    """
    libraries = [name for name in ("jax", "torch") if name in sys.modules and (name, cls) not in _traceable]
    if not libraries or ("torch" in sys.modules and _load("torch").is_compiling()):
        return  # a compiled function can't register a class, and need not
    for library in libraries:
        _load(library).register_pytree(cls)
        _traceable.add((library, cls))


def _library(cls: type) -> str | None:
    for base in cls.__mro__:
        root = base.__module__.split(".")[0]
        if root in _LIBRARIES:
            return root
    return None


def _find(array: Array) -> Backend:
    if not is_array(array):
        raise TypeError(f"expected an array of a library that follows the Array API standard, got {type(array)}")
    root = _library(type(array))
    _by_type[type(array)] = named(array.__array_namespace__()) if root is None else _load(root)
    return _by_type[type(array)]


def _load(root: str) -> Backend:
    if root not in _by_name:
        try:
            # Written out, because torch.compile can follow an import statement and not import_module.
            if root == "numpy":
                from glmheads.backends._numpy import BACKEND
            elif root == "torch":
                from glmheads.backends._torch import BACKEND
            elif root == "cupy":
                from glmheads.backends._cupy import BACKEND
            elif root == "dask":
                from glmheads.backends._dask import BACKEND
            else:
                from glmheads.backends._jax import BACKEND
        except ImportError as error:
            raise ValueError(f"the array library {root} is not installed: {error}") from error
        _by_name[root] = BACKEND
    return _by_name[root]

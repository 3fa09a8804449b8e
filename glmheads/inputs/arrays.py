"""From what people have to arrays: lists, columns of a table, DLPack objects, NumPy's and other libraries' arrays."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from glmheads import backends
from glmheads.backends import Array
from glmheads.inputs.tables import column_names

SHOWN = 5
"""Most bad values that an error shows."""


def to_library(name: str, value: Any, logits: Array) -> Array:
    """`value` as an array of real numbers in the library and on the device of the logits.

    Raises
    ------
    ValueError
        If it is on another device.
    TypeError
        If it does not hold real numbers.
    """
    ours = backends.of(logits)
    value = as_array(name, value)
    theirs = backends.of(value)
    if theirs is ours:
        here, there = ours.device(logits), theirs.device(value)
        if here != there and here is not None and there is not None:
            raise ValueError(f"{name} must be on the device of the logits, {here}, not on {there}: move one of them")
        return native(value)
    if not theirs.on_host(value) or theirs.is_lazy(value):
        place = "without values yet" if theirs.on_host(value) else f"on {theirs.device(value)}"
        raise ValueError(
            f"{name} are a {theirs.name} array {place}, the logits of {ours.name}: bring both to one library and device"
        )
    return ours.from_numpy(_portable(theirs.to_numpy(value)), ours.device(logits))


def as_array(name: str, value: Any) -> Array:
    """`value` as an array of real numbers: an array as it is, anything else by NumPy, not copied where it need not be.

    What may come is taken by what it can do: a list, a column of a table, what has ``__dlpack__`` or ``__array__``.

    Raises
    ------
    ValueError
        If values are missing (null, None), or lists are of unequal length.
    TypeError
        If it does not hold real numbers, or is no array of numbers at all.
    """
    if not backends.is_array(value):
        value = as_numpy(name, value)
    _check_numeric(name, value)
    return value


def as_numpy(name: str, value: Any) -> np.ndarray[Any, Any]:
    """What is no array as a NumPy array, of any dtype."""
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise TypeError(f"{name} must not be sparse: give the array that its toarray() returns")
    if hasattr(value, "collect"):
        raise TypeError(f"{name} must have values, not be lazy: collect them. Given type: {type(value)}")
    if hasattr(value, "columns") or hasattr(value, "column_names"):
        return _from_table(name, value)
    if hasattr(value, "combine_chunks"):
        value = value.chunk(0) if value.num_chunks == 1 else value.combine_chunks()
    if hasattr(value, "dictionary_decode"):
        value = value.dictionary_decode()
    if type(getattr(value, "dtype", None)).__name__ == "Struct":
        raise TypeError(f"{name} must be real numbers, not records: give the field that is meant")
    _refuse_nulls(name, _null_mask(value))
    array = _from_dlpack(name, value) if hasattr(value, "__dlpack__") else _from_numpy(name, value)
    if array.dtype.kind == "O" and array.ndim == 1 and len(array) and isinstance(array[0], (list, tuple, np.ndarray)):
        array = _from_numpy(name, array.tolist())
    if array.ndim > 1:
        flatten = getattr(value, "flatten", getattr(value, "explode", None))
        if hasattr(value, "null_count") and flatten is not None:
            _refuse_nulls(name, _null_mask(flatten()))
    if array.dtype.kind == "O" and array.ndim == 0 and value is not None:
        raise TypeError(
            f"{name} must be real numbers: an array, a list or a column of a table. Given type: {type(value)}"
        )
    return array


def _from_table(name: str, table: Any) -> np.ndarray[Any, Any]:
    """The columns of a table as the last axis."""
    names = column_names(table)
    if len(set(names)) < len(names):
        raise ValueError(f"{name} must be columns of different names. Given: {names}")
    columns = [as_array(f"{name} (column {key})", table[key]) for key in names]
    if len(columns) == 1:
        return np.reshape(columns[0], (-1, 1))
    return np.stack(columns, axis=-1) if columns else np.asarray(table)


def _from_dlpack(name: str, value: Any) -> np.ndarray[Any, Any]:
    """By DLPack where NumPy can, which copies nothing and asks no other library to be imported."""
    device = tuple(value.__dlpack_device__()) if hasattr(value, "__dlpack_device__") else (1, 0)
    if int(device[0]) not in (1, 3):  # kDLCPU and kDLCUDAHost
        raise ValueError(
            f"{name} are not in the host's memory but on device {device} of DLPack: give them in the logits' library"
        )
    try:
        return np.from_dlpack(value)
    except Exception:
        if not hasattr(value, "__array__"):
            raise
        return _from_numpy(name, value)


def _from_numpy(name: str, value: Any) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(value)
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise ValueError(f"{name} must not be nested lists of unequal length: {error}") from error


def _null_mask(value: Any) -> np.ndarray[Any, Any] | None:
    """Which values of a column are missing; None if none are, or the column has no way to say so but NaN."""
    if hasattr(value, "null_count"):
        count = value.null_count() if callable(value.null_count) else value.null_count
        return np.asarray(value.is_null()) if count else None
    if hasattr(value, "isna") and not isinstance(getattr(value, "dtype", None), np.dtype):
        return np.asarray(value.isna())
    return None


def _refuse_nulls(name: str, missing: np.ndarray[Any, Any] | None) -> None:
    if missing is not None and np.any(missing):
        index = np.flatnonzero(missing)
        shown = ", ".join(map(str, index[:SHOWN])) + (", ..." if len(index) > SHOWN else "")
        count = f"{len(index)} of {missing.size}"
        raise ValueError(f"{name} must not be missing: {count} are null, at {shown}. Drop or fill them")


def _refuse_objects(name: str, array: np.ndarray[Any, Any]) -> None:
    """Say what is wrong with an array of objects or words."""
    if isinstance(array, np.ndarray) and array.dtype.kind == "O" and array.ndim:
        flat = array.ravel().tolist()
        # None, and what pandas has for it; the names are those of no other class
        missing = np.asarray([x is None or type(x).__name__ in ("NAType", "NaTType") for x in flat], dtype=bool)
        others = [x for x, is_missing in zip(flat, missing, strict=True) if not is_missing]
        if all(isinstance(x, (int, float, np.generic, Decimal, Fraction)) for x in others):
            _refuse_nulls(name, missing)
            exact = [f"{type(x)}: convert them to float" for x in others if isinstance(x, (Decimal, Fraction))]
            kind = exact[0] if exact else "an array of objects: convert it with astype(float)"
            raise TypeError(f"{name} must be real numbers; they are {kind}")
    hint = "are words or objects: give label_vocabulary" if name.startswith("labels") else "are not numbers"
    raise TypeError(f"{name} must be real numbers; they {hint}. Given dtype: {array.dtype}")


def native(array: Array) -> Array:
    """A NumPy array in the machine's byte order; any other array as it is."""
    if isinstance(array, np.ndarray) and not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array


def _portable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Real numbers in a dtype that every library has or can narrow without wrapping around."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind in "biu":
        return array.astype(np.float64) if size == 8 else native(array)
    return array.astype(np.float32 if size <= 4 else np.float64, copy=False)


def _check_numeric(name: str, array: Array) -> None:
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name} must not be a masked array: drop or fill what is masked")
    kind = array.dtype.kind if isinstance(array.dtype, np.dtype) else "?"
    if kind in "biuf":
        return
    if kind in "OSUT":
        _refuse_objects(name, array)
    if kind in "mM":
        raise TypeError(f"{name} must be real numbers, not dates or times. Given dtype: {array.dtype}")
    if (kind != "?" or "complex" in str(array.dtype)) and "bfloat16" not in str(array.dtype):
        raise TypeError(f"{name} must be real numbers. Given dtype: {array.dtype}")
    if getattr(array, "is_sparse", False) or getattr(array, "is_sparse_csr", False):
        raise TypeError(f"{name} must not be sparse: give the array that its to_dense() returns")


def to_host(values: Any) -> np.ndarray[Any, Any]:
    """Values that a head has accepted, as a NumPy array of any dtype."""
    if backends.is_array(values):
        return backends.of(values).to_numpy(values)
    if hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
        return np.from_dlpack(values)
    return np.asarray(values)

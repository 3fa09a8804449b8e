"""From what people have to arrays: logits, labels and weights, in the logits' library and on their device.

Shapes and dtypes are checked at once. Values are checked where they are at hand; elsewhere a label or weight that is
not allowed becomes NaN, which makes the loss NaN and is counted in the statistics. An element of weight 0 is never
refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from glmheads import backends
from glmheads.backends import Array

__all__ = [
    "NumericColumn",
    "as_array",
    "as_labels",
    "as_logits",
    "as_weights",
    "bring",
    "check_labels",
    "check_weights",
    "column",
    "column_names",
    "numeric_column",
]


@dataclass(frozen=True)
class NumericColumn:
    """A column of numbers by name, and what is done to it when it is read. Made by `numeric_column`.

    Examples
    --------
    >>> import glmheads as gh
    >>> gh.numeric_column("count").key
    'count'
    """

    key: str
    normalizer_fn: Callable[[Any], Any] | None = None


def numeric_column(key: str, *, normalizer_fn: Callable[[Any], Any] | None = None) -> NumericColumn:
    """A weight column that is normalized when it is read.

    Parameters
    ----------
    key : str
        The column's name in the features.
    normalizer_fn : callable, optional
        Takes the column as it is found in the features (an array as it is, any other column as a NumPy array) and
        returns the weights.

    Raises
    ------
    TypeError
        If `key` is not a string or `normalizer_fn` not callable.

    Examples
    --------
    >>> import glmheads as gh
    >>> weight = gh.numeric_column("count", normalizer_fn=lambda column: column / 10)
    >>> head = gh.BinaryClassHead(weight_column=weight)
    """
    if not isinstance(key, str):
        raise TypeError(f"key must be a string, the name of a column. Given type: {type(key)}")
    if normalizer_fn is not None and not callable(normalizer_fn):
        raise TypeError(f"normalizer_fn must be callable. Given: {normalizer_fn!r}")
    return NumericColumn(key, normalizer_fn)


# ---------------------------------------------------------------------------------------------------------------------
# Bringing


def as_logits(logits: Any, dimension: int) -> Array:
    """Logits as an array of shape (D0, ..., DN, dimension); what is no array becomes a NumPy one.

    Raises
    ------
    ValueError
        If the shape is another.
    TypeError
        If they are not real numbers.
    """
    logits = as_array("logits", logits)
    logits = _native(logits)
    shape = tuple(logits.shape)
    if len(shape) < 2:
        raise ValueError(
            f"logits must have rank at least 2.  Received rank {len(shape)}, shape {shape}. "
            f"The last axis is the logits dimension: reshape them to (-1, {dimension})."
        )
    if shape[-1] != dimension:
        raise ValueError(
            f"logits shape must be [D0, D1, ... DN, logits_dimension], got {shape}. "
            f"This head has logits_dimension {dimension}."
        )
    return logits


def as_labels(
    labels: Any, logits: Array, vocabulary: tuple[str, ...] | None = None, weights: Array | None = None
) -> Array:
    """Labels as an array shaped like the logits; they may come without the last axis when it has length 1.

    Words of the vocabulary become their positions in it; an unknown one of weight 0 becomes NaN.

    Raises
    ------
    ValueError
        If there are none, the shape is another, or a word is unknown.
    TypeError
        If they are not real numbers, or are words without a vocabulary.
    """
    if labels is None:
        raise ValueError(
            "You must provide a labels Tensor. Given: None. "
            "Check that your data contain the labels, and that your input function returns them."
        )
    if vocabulary is not None:
        labels = _look_up(labels, vocabulary, weights)
    labels = bring("labels", labels, logits)
    shape = tuple(logits.shape)
    dimension = shape[-1]
    if len(labels.shape) == len(shape) - 1:
        labels = backends.of(labels).xp.reshape(labels, (*labels.shape, 1))
    if len(labels.shape) < 2:
        raise ValueError(
            f"labels must have rank at least 2.  Received rank {len(labels.shape)}, shape {tuple(labels.shape)}. "
            f"Give each of the logits, of shape {shape}, its label."
        )
    found = tuple(labels.shape)
    if found[-1] != dimension:
        raise ValueError(
            f"Mismatched label shape. Expected labels dimension={dimension}.  Received {found[-1]}. "
            f"Labels of shape {found} don't fit logits of shape {shape}: if they are one-hot, give the class instead."
        )
    if found != shape:
        raise ValueError(
            f"labels shape must be [D0, D1, ... DN, {dimension}]. "
            f"Give each logit its label, expected_labels_shape: {shape}. labels_shape: {found}."
        )
    return labels


def as_weights(features: Any, weight_column: str | NumericColumn | None, logits: Array) -> Array | None:
    """Weights from the features as an array that broadcasts to the logits, None without a weight column.

    Raises
    ------
    ValueError
        If the column is missing or its shape is another.
    TypeError
        If it does not hold real numbers.
    """
    if weight_column is None:
        return None
    if isinstance(weight_column, str):
        weight_column = NumericColumn(weight_column)
    name = f"weights (feature {weight_column.key})"
    weights = column(features, weight_column.key)
    if weight_column.normalizer_fn is not None:
        weights = weight_column.normalizer_fn(weights if backends.is_array(weights) else _converted(name, weights))
    weights = bring(name, weights, logits)
    shape = tuple(logits.shape)
    if tuple(weights.shape) == shape[:-1]:
        weights = backends.of(weights).xp.reshape(weights, (*weights.shape, 1))
    found = tuple(weights.shape)
    if found not in (shape, (*shape[:-1], 1)):
        or_each = "" if shape[-1] == 1 else " or [D0, D1, ... DN, logits_dimension]"
        either = " or " if shape[-1] == 1 else ", "
        raise ValueError(
            f"weights shape must be [D0, D1, ... DN]{either}[D0, D1, ... DN, 1]{or_each}, "
            f"logits_shape: {shape}. weights_shape: {found}."
        )
    return weights


def column(features: Any, key: str) -> Any:
    """A column of a mapping, a DataFrame or a Table.

    Raises
    ------
    ValueError
        If there is no such column.
    TypeError
        If the features have no columns by name.
    """
    names = [] if features is None else column_names(features)
    if key not in names:
        raise ValueError(
            f"Feature {key} is not in features dictionary. "
            + ("No features were given." if features is None else f"It has {names}.")
        )
    return features[key]


def column_names(features: Any) -> list[Any]:
    """The names of the columns of a mapping, a DataFrame or a Table.

    Raises
    ------
    TypeError
        If the features have no columns by name.
    """
    found = getattr(features, "column_names", None)
    found = getattr(features, "columns", None) if found is None else found
    if found is None and not hasattr(features, "keys"):
        raise TypeError(f"features must be a mapping of columns, a DataFrame or a Table. Given: {type(features)}")
    return list(features.keys() if found is None else found)


def bring(name: str, value: Any, logits: Array) -> Array:
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
        return _native(value)
    if not theirs.on_host(value):
        raise ValueError(
            f"{name} are a {theirs.name} array on {theirs.device(value)}, the logits a {ours.name} array: "
            "move them to one library and device"
        )
    if theirs.is_lazy(value):
        raise ValueError(
            f"{name} are a {theirs.name} array without values yet, the logits a {ours.name} array: "
            "bring both to one library"
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
        value = _converted(name, value)
    _check_numeric(name, value)
    return value


def _converted(name: str, value: Any) -> np.ndarray[Any, Any]:
    """What is no array as a NumPy array, of any dtype."""
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise TypeError(f"{name} must not be sparse: give the array that its toarray() returns")
    if hasattr(value, "collect"):
        raise TypeError(f"{name} must have values, not be lazy: collect them. Given type: {type(value)}")
    if hasattr(value, "columns") or hasattr(value, "column_names"):
        return _from_table(name, value)
    value = _in_one_piece(value)
    if type(getattr(value, "dtype", None)).__name__ == "Struct":
        raise TypeError(f"{name} must be real numbers, not records: give the field that is meant")
    _refuse_nulls(name, _null_mask(value))
    array = _from_dlpack(name, value) if hasattr(value, "__dlpack__") else None
    if array is None:
        array = _from_numpy(name, value)
    if array.dtype.kind == "O" and array.ndim == 1 and len(array) and isinstance(array[0], (list, tuple, np.ndarray)):
        array = _from_numpy(name, array.tolist())
    if array.ndim > 1:
        for flatten in ("flatten", "explode"):
            if hasattr(value, "null_count") and hasattr(value, flatten):
                _refuse_nulls(name, _null_mask(getattr(value, flatten)()))
    if array.dtype.kind == "O" and array.ndim == 0 and value is not None:
        raise TypeError(
            f"{name} must be real numbers: an array, a list or a column of a table. Given type: {type(value)}"
        )
    return array


def _in_one_piece(value: Any) -> Any:
    """A column neither in chunks nor encoded by a dictionary, if it is one that can be."""
    if hasattr(value, "combine_chunks"):
        value = value.chunk(0) if value.num_chunks == 1 else value.combine_chunks()
    return value.dictionary_decode() if hasattr(value, "dictionary_decode") else value


def _from_table(name: str, table: Any) -> np.ndarray[Any, Any]:
    """The columns of a table as the last axis."""
    names = column_names(table)
    if len(set(names)) < len(names):
        raise ValueError(f"{name} must be columns of different names. Given: {names}")
    columns = [as_array(f"{name} (column {key})", table[key]) for key in names]
    if len(columns) == 1:
        return np.reshape(columns[0], (-1, 1))
    return np.stack(columns, axis=-1) if columns else np.asarray(table)


def _from_dlpack(name: str, value: Any) -> np.ndarray[Any, Any] | None:
    """By DLPack, which copies nothing and asks no other library to be imported; None where NumPy can't."""
    on_host = (1, 3)  # kDLCPU and kDLCUDAHost
    if hasattr(value, "__dlpack_device__") and int(value.__dlpack_device__()[0]) not in on_host:
        raise ValueError(
            f"{name} are not in the host's memory but on device {tuple(value.__dlpack_device__())} of DLPack: "
            "give them as an array of the logits' library"
        )
    try:
        return np.from_dlpack(value)
    except Exception:
        if not hasattr(value, "__array__"):
            raise
        return None


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
        shown = ", ".join(map(str, index[:_SHOWN])) + (", ..." if len(index) > _SHOWN else "")
        raise ValueError(
            f"{name} must not be missing: {len(index)} of {missing.size} are null, at {shown}. Drop or fill them"
        )


def _refuse_objects(name: str, array: np.ndarray[Any, Any]) -> None:
    """Say what is wrong with an array of objects or words."""
    if isinstance(array, np.ndarray) and array.dtype.kind == "O" and array.ndim:
        flat = array.ravel().tolist()
        # None, and what pandas has for it; the names are those of no other class
        missing = np.asarray([x is None or type(x).__name__ in ("NAType", "NaTType") for x in flat], dtype=bool)
        others = [x for x, is_missing in zip(flat, missing, strict=True) if not is_missing]
        if all(isinstance(x, (int, float, np.generic)) for x in others):
            _refuse_nulls(name, missing)
            raise TypeError(f"{name} must be real numbers; they are an array of objects: convert it with astype(float)")
        if all(isinstance(x, (int, float, Decimal, Fraction)) for x in others):
            _refuse_nulls(name, missing)
            raise TypeError(f"{name} must be real numbers; they are {type(others[0])}: convert them to float")
    hint = "are words or objects: give label_vocabulary" if name.startswith("labels") else "are not numbers"
    raise TypeError(f"{name} must be real numbers; they {hint}. Given dtype: {array.dtype}")


def _native(array: Array) -> Array:
    """A NumPy array in the machine's byte order; any other array as it is."""
    if isinstance(array, np.ndarray) and not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array


def _portable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Real numbers in a dtype that every library has or can narrow without wrapping around."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind in "biu":
        return array.astype(np.float64) if size == 8 else _native(array)
    return array.astype(np.float32 if size <= 4 else np.float64, copy=False)


def _check_numeric(name: str, array: Array) -> None:
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name} must not be a masked array: drop or fill what is masked")
    if isinstance(array.dtype, np.dtype) and array.dtype.kind in "biuf":
        return
    if isinstance(array.dtype, np.dtype):
        if array.dtype.kind in "OSUT":
            _refuse_objects(name, array)
        if array.dtype.kind in "mM":
            raise TypeError(f"{name} must be real numbers, not dates or times. Given dtype: {array.dtype}")
        if "bfloat16" not in str(array.dtype):
            raise TypeError(f"{name} must be real numbers. Given dtype: {array.dtype}")
    elif "complex" in str(array.dtype):
        raise TypeError(f"{name} must be real numbers. Given dtype: {array.dtype}")
    elif getattr(array, "is_sparse", False) or getattr(array, "is_sparse_csr", False):
        raise TypeError(f"{name} must not be sparse: give the array that its to_dense() returns")


def _look_up(labels: Any, vocabulary: tuple[str, ...], weights: Array | None) -> np.ndarray[Any, Any]:
    """Positions of words in the vocabulary."""
    if backends.is_array(labels):
        if backends.of(labels).is_traced(labels):
            raise ValueError(
                "labels are words of label_vocabulary, which can't be looked up under a trace: "
                "give a head without a vocabulary their positions"
            )
        labels = backends.of(labels).to_numpy(labels)
    labels = np.asarray(labels)
    words = _words(labels)
    ids = np.full(words.shape, np.nan)
    for position, word in enumerate(vocabulary):
        ids[words == word] = position
    unknown = np.isnan(ids)
    if weights is not None and np.any(unknown) and not backends.of(weights).is_lazy(weights):
        present = backends.of(weights).to_numpy(weights).ravel() != 0
        unknown = unknown & present if present.shape == unknown.shape else unknown
    if np.any(unknown):
        raise ValueError(
            f"Labels must be >= 0, a word of label_vocabulary {list(vocabulary)}: {int(unknown.sum())} of "
            f"{unknown.size} are not, the first at {int(np.argmax(unknown))}; "
            f"unknown are {np.unique(words[unknown]).tolist()[:_SHOWN]}"
        )
    return ids.reshape(labels.shape)


def _words(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The elements as text, flat."""
    flat = array.ravel()
    if flat.dtype.kind == "U":
        return flat
    return np.asarray([w.decode() if isinstance(w, bytes) else str(w) for w in flat.tolist()], dtype=str)


# ---------------------------------------------------------------------------------------------------------------------
# Checking values

_SHOWN = 5


def check_weights(weights: Array) -> tuple[Array, bool]:
    """The weights, in which what is not allowed (negative, infinite) is NaN unless it could be refused, and whether
    some may be 0.

    Raises
    ------
    ValueError
        If a weight at hand is negative, infinite or NaN.
    """
    extent = backends.of(weights).extent(weights)
    if extent is not None and _is_within(extent, 0.0, _INFINITY):
        return weights, extent[0] == 0
    return _refuse(weights, _outside(weights, 0.0, _INFINITY), None, "weights must be finite and >= 0", "weights"), True


def check_labels(labels: Array, weights: Array | None, low: float, high: float, messages: tuple[str, str]) -> Array:
    """The labels, in which what is not allowed (infinite, or not from `low` to `high`) is NaN unless it could be
    refused.

    `messages` say that a label is too high, and that it is too low or not finite.

    Raises
    ------
    ValueError
        If a label at hand is not allowed and its weight is not 0.
    """
    extent = backends.of(labels).extent(labels)
    if extent is not None and _is_within(extent, low, high):
        return labels
    too_high, too_low = messages
    if too_high != too_low and backends.of(labels).at_hand(labels):
        labels = _refuse(labels, labels > high, weights, too_high, "labels")
    return _refuse(labels, _outside(labels, low, high), weights, too_low, "labels")


_INFINITY = float("inf")


def _is_within(extent: tuple[float, float], low: float, high: float) -> bool:
    """Whether numbers from the least to the most of the extent are finite and from `low` to `high`."""
    least, most = extent
    return low <= least and most <= high and least > -_INFINITY and most < _INFINITY


def _outside(values: Array, low: float, high: float) -> Array:
    """Which values are not finite numbers from `low` to `high`."""
    above = values >= low if low > -_INFINITY else values > low
    below = values <= high if high < _INFINITY else values < high
    return ~(above & below)


def _refuse(values: Array, bad: Array, weights: Array | None, message: str, name: str) -> Array:
    backend = backends.of(values)
    xp = backend.xp
    if weights is not None:
        bad = bad & (weights != 0)
    if not backend.at_hand(bad):
        return xp.where(bad, xp.full_like(values, float("nan")), values)
    if bool(xp.any(bad)):
        flat, where = backend.to_numpy(values).ravel(), backend.to_numpy(bad).ravel()
        index = np.flatnonzero(where)
        shown = ", ".join(f"{flat[i]:g} at {i}" for i in index[:_SHOWN])
        more = ", ..." if len(index) > _SHOWN else ""
        raise ValueError(f"{message}; {len(index)} of {len(flat)} {name} are not: {shown}{more}")
    return values

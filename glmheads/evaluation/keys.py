"""Keys of slices: the values of the columns that define a slice, and which rows of the data have which."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glmheads.inputs.arrays import to_host

Key = tuple[str | int | float | bool | None, ...]
"""The key of a slice: its value of each column, None where the value is missing."""


def key_text(value: Any) -> str:
    """A value of a key as tables and plots show it."""
    return "(missing)" if value is None else str(value)


def in_order(slices: Mapping[Key, Any]) -> dict[Key, Any]:
    """The slices sorted by key: numbers before words, missing values last."""

    def order(item: tuple[Key, Any]) -> list[tuple[int, Any]]:
        return [(2, 0) if value is None else (int(isinstance(value, str)), value) for value in item[0]]

    return dict(sorted(slices.items(), key=order))


def factorize(columns: list[tuple[str, Any]], count: int) -> tuple[list[Key], np.ndarray[Any, Any]]:
    """The keys that occur in `count` rows, and the position of each row's key; `columns` are (name, values).

    Raises
    ------
    ValueError
        If a column has another number of rows.
    TypeError
        If it holds values that can't define slices, such as lists.
    """
    keys: list[Key] = [()]
    codes = np.zeros(count, dtype=np.int64)
    for name, column in columns:
        try:
            more, values = _encoded(column)
        except (TypeError, NotImplementedError) as error:
            raise TypeError(f"by column {name!r} must hold words or numbers: {error}") from error
        if more.shape != (count,):
            raise ValueError(f"by column {name!r} must have a value for each of {count} examples, not {more.shape}")
        own: dict[Any, int] = {}
        # The code -1 finds the last position, that of None. Different values may be one in a key, as NaN and null are.
        own_codes = np.asarray([own.setdefault(_key_value(value), len(own)) for value in (*values, None)])
        combined, codes = np.unique(codes * len(own) + own_codes[more], return_inverse=True)
        own_values = list(own)
        keys = [(*keys[i // len(own)], own_values[i % len(own)]) for i in combined.tolist()]
    return keys, codes


def _encoded(column: Any) -> tuple[np.ndarray[Any, Any], Sequence[Any]]:
    """For each row the position of its value, -1 if it is missing; and the values."""
    if hasattr(column, "dictionary_encode"):
        encoded = column.dictionary_encode()
        encoded = encoded.combine_chunks() if hasattr(encoded, "combine_chunks") else encoded
        return np.asarray(encoded.indices.fill_null(-1)), encoded.dictionary.to_pylist()
    if hasattr(column, "factorize"):
        codes, values = column.factorize()
        return np.asarray(codes), list(values)
    if isinstance(column, (list, tuple)) or hasattr(column, "to_list"):
        rows = column.to_list() if hasattr(column, "to_list") else column
    else:
        array = to_host(column)
        if array.dtype.kind in "biuf":
            values, codes = np.unique(array, return_inverse=True)
            return codes, values.tolist()
        is_time = array.dtype.kind in "mM"
        rows = (np.where(np.isnat(array), np.asarray(None), array.astype(str)) if is_time else array).tolist()
    positions = {value: position for position, value in enumerate(dict.fromkeys(rows))}
    return np.fromiter(map(positions.__getitem__, rows), dtype=np.int64, count=len(rows)), list(positions)


def _key_value(value: Any) -> str | int | float | bool | None:
    """A value as it stands in a key."""
    if isinstance(value, np.generic):
        value = float(value) if isinstance(value, np.floating) else value.item()
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value + 0.0  # −0 is 0
    text = str(value)
    return None if text in ("<NA>", "NaT", "NaN") else text

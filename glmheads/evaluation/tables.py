"""Tables and batches as people have them, taken by what they can do."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from glmheads import backends
from glmheads import features as inputs

__all__ = ["Renamed", "batches", "column", "is_table", "names", "to_host"]


def names(argument: str, given: str | Sequence[str]) -> tuple[str, ...]:
    """Names of columns, of which an argument gives one or several.

    Raises
    ------
    TypeError
        If they are no strings.
    ValueError
        If there are none, or two are the same.
    """
    found = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else (given,)
    if not all(isinstance(name, str) for name in found):
        raise TypeError(f"{argument} must be the name of a column, or a list of names. Given: {given!r}")
    if not found or len(set(found)) < len(found):
        raise ValueError(f"{argument} must be the name of a column, or different names. Given: {given!r}")
    return found


def is_table(data: Any) -> bool:
    """Whether the data have columns by name."""
    has_names = hasattr(data, "column_names") or hasattr(data, "columns") or hasattr(data, "keys")
    return has_names and hasattr(data, "__getitem__")


def batches(data: Any, columns: tuple[str, ...] | None) -> Iterable[Any]:
    """What the data yield batch by batch, with no more columns than needed where that saves reading them.

    Raises
    ------
    TypeError
        If they are neither a table nor an iterable.
    """
    wanted = None if columns is None else list(columns)
    if hasattr(data, "collect"):  # a lazy table
        _check_names(list(data.collect_schema()), columns)
        data = data if wanted is None else data.select(wanted)
        return data.collect_batches(maintain_order=True) if hasattr(data, "collect_batches") else [data.collect()]
    if hasattr(data, "scanner"):  # a data set of files
        _check_names(data.schema.names, columns)
        found: Iterable[Any] = data.scanner(columns=wanted).to_batches()
        return found
    if is_table(data):
        return [data]
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes)):
        return data
    raise TypeError(f"data must be a table, a mapping of columns or an iterable of batches. Given type: {type(data)}")


def column(table: Any, name: str) -> Any:
    """A column of a table; None is one without columns.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    _check_names([] if table is None else inputs.column_names(table), (name,))
    return table[name]


def _check_names(found: list[str], wanted: Iterable[str] | None) -> None:
    for name in wanted or ():
        if name not in found:
            raise ValueError(f"the data have no column {name!r}; they have {found}")


class Renamed(Mapping[str, Any]):
    """Features in which one column goes by another name too."""

    def __init__(self, features: Any, key: str | None, column: str | None) -> None:
        self._features, self._key, self._column = features, key, column

    def __getitem__(self, name: str) -> Any:
        return column(self._features, self._column if name == self._key else name)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[str]:
        found = [] if self._features is None else inputs.column_names(self._features)
        return iter(dict.fromkeys((*found, *(() if self._key is None else (self._key,)))))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def to_host(values: Any) -> np.ndarray[Any, Any]:
    """Values that a head has taken as a NumPy array, of any dtype."""
    if backends.is_array(values):
        return backends.of(values).to_numpy(values)
    if hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
        return np.from_dlpack(values)
    return np.asarray(values)

"""Tables and batches as people have them, taken by what they can do."""

from collections.abc import Iterable, Sequence
from typing import Any


def feature(features: Any, key: str) -> Any:
    """A column of the features, which are a mapping, a DataFrame or a Table.

    Raises
    ------
    ValueError
        If there is no such column.
    TypeError
        If the features have no columns by name.
    """
    names = [] if features is None else column_names(features)
    if key not in names:
        found = "No features were given." if features is None else f"It has {names}."
        raise ValueError(f"Feature {key} is not in features dictionary. {found}")
    return features[key]


def column_names(features: Any) -> list[Any]:
    """The names of the columns of a mapping, a DataFrame or a Table.

    Raises
    ------
    TypeError
        If the features have no columns by name.
    """
    found = getattr(features, "column_names", getattr(features, "columns", None))
    if found is None and not hasattr(features, "keys"):
        raise TypeError(f"features must be a mapping of columns, a DataFrame or a Table. Given: {type(features)}")
    return list(features.keys() if found is None else found)


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
    return hasattr(data, "__getitem__") and any(hasattr(data, names) for names in ("column_names", "columns", "keys"))


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
    """A column of a table; None has no columns.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    _check_names([] if table is None else column_names(table), (name,))
    return table[name]


def _check_names(found: list[str], wanted: Iterable[str] | None) -> None:
    for name in wanted or ():
        if name not in found:
            raise ValueError(f"the data have no column {name!r}; they have {found}")

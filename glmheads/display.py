"""How objects look in a notebook and in a traceback: small tables, and what can be said of an array without waiting."""

from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_EVEN, Context
from functools import partial
from html import escape
from typing import Any

from glmheads import backends
from glmheads.backends import Array

__all__ = ["html_table", "place", "qualified_name", "rounded"]


def html_table(title: str, rows: Mapping[str, str]) -> str:
    """A table of two columns, a name and a text in each row, as HTML; whatever stands in it is escaped."""
    body = "".join(
        f'<tr><th style="text-align: left">{escape(name)}</th><td style="text-align: left">{escape(text)}</td></tr>'
        for name, text in rows.items()
    )
    return f'<table><caption style="text-align: left">{escape(title)}</caption><tbody>{body}</tbody></table>'


def place(array: Array) -> str:
    """The library of an array and its device, or that it has no values yet."""
    backend = backends.of(array)
    library = str(backend.xp.__name__).removeprefix("array_api_compat.")
    if backend.is_traced(array):
        return f"{library}, traced"
    if backend.is_lazy(array):
        return f"{library}, lazy"
    return f"{library} on {backend.device(array)}"


def rounded(value: float, digits: int, rounding: str = ROUND_HALF_EVEN) -> float:
    """A finite number to so many significant digits, by one of the roundings of ``decimal``: a bound outward."""
    return float(Context(prec=digits, rounding=rounding).create_decimal_from_float(value))


def qualified_name(function: Callable[..., Any] | None) -> str | None:
    """The dotted name of a function, or of the class of a callable object; None for None."""
    if function is None:
        return None
    if isinstance(function, partial):
        return f"partial({qualified_name(function.func)}, {function.args}, {function.keywords})"
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"

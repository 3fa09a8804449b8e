"""How objects look in a notebook and in a traceback: numbers, small tables, and where an array is."""

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context
from functools import partial
from html import escape
from typing import Any, NamedTuple

from glmheads import backends
from glmheads.backends import Array


class Table(NamedTuple):
    """A table of text, as wide as its header; the first `words` columns hold words, the others numbers."""

    header: Sequence[str]
    rows: list[list[str]]
    words: int = 1

    def as_text(self, width: int) -> str:
        """The table in aligned columns, as many of them as fit in a line."""
        cells = [self.header, *self.rows]
        lines = [""] * len(cells)
        for index, column in enumerate(zip(*cells, strict=True)):
            room = max(map(len, column))
            if index > self.words and len(lines[0]) + room + 2 > width:
                break
            justify = str.ljust if index < self.words else str.rjust
            lines = [f"{line}  {justify(cell, room)}" for line, cell in zip(lines, column, strict=True)]
        return "\n".join(line.rstrip() for line in lines)

    def as_html(self) -> str:
        """The table as HTML, with everything in it escaped."""
        lines = [("th", self.header), *(("td", row) for row in self.rows)]
        rows = ["".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) for tag, cells in lines]
        return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def html_table(title: str, rows: Mapping[str, str]) -> str:
    """A table of two columns, a name and a text in each row, as HTML, with everything in it escaped."""
    body = "".join(
        f'<tr><th style="text-align: left">{escape(name)}</th><td style="text-align: left">{escape(text)}</td></tr>'
        for name, text in rows.items()
    )
    return f'<table><caption style="text-align: left">{escape(title)}</caption><tbody>{body}</tbody></table>'


def place(array: Array) -> str:
    """The library of an array and its device, or that it has no values yet."""
    backend = backends.of(array)
    library = str(backend.xp.__name__).removeprefix("array_api_compat.")
    if backend.is_traced(array) or backend.is_lazy(array):
        return f"{library}, {'traced' if backend.is_traced(array) else 'lazy'}"
    return f"{library} on {backend.device(array)}"


def number(value: float | None, *, digits: int = 6, rounding: str = ROUND_HALF_EVEN, keep_zeros: bool = False) -> str:
    """A number to so many significant digits, by one of the roundings of ``decimal``; "" for None."""
    if value is None or not math.isfinite(value):
        return "" if value is None else str(value)
    rounded = float(Context(prec=digits, rounding=rounding).create_decimal_from_float(value))
    return f"{rounded:#.{digits}g}" if keep_zeros else f"{rounded:.{digits}g}"


def qualified_name(function: Callable[..., Any] | None) -> str | None:
    """The dotted name of a function, or of the class of a callable object; None for None."""
    if function is None:
        return None
    if isinstance(function, partial):
        return f"partial({qualified_name(function.func)}, {function.args}, {function.keywords})"
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"

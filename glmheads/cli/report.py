"""What an evaluation found, as text."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["FORMATS", "Report", "as_json", "as_table"]

_DIGITS = 6
_WIDE = 160  # of what no terminal limits


@dataclass(frozen=True)
class Report:
    """What an evaluation found.

    Attributes
    ----------
    head : str
    files : tuple of str
    examples : int
        How many rows were read.
    metrics : mapping of float
    bounds : mapping of (float, float)
        Of the areas, by the metric's key.
    """

    head: str
    files: tuple[str, ...]
    examples: int
    metrics: Mapping[str, float]
    bounds: Mapping[str, tuple[float, float]]


def as_json(report: Report) -> str:
    """The report as JSON, numbers in full; what JSON has no number for (NaN, infinity) is null."""
    content = {
        "head": report.head,
        "files": report.files,
        "examples": report.examples,
        "metrics": {key: _finite(value) for key, value in report.metrics.items()},
        "bounds": {key: [_finite(bound) for bound in bounds] for key, bounds in report.bounds.items()},
    }
    return json.dumps(content, indent=2, allow_nan=False)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def as_table(report: Report) -> str:
    """The report as a table for the terminal, numbers to six digits and bounds rounded outward."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("metric")
    table.add_column("value", justify="right")
    if report.bounds:
        table.add_column("at least", justify="right")
        table.add_column("at most", justify="right")
    for key, value in report.metrics.items():
        lower, upper = report.bounds.get(key, (None, None))
        table.add_row(key, _rounded(value), _rounded(lower, ROUND_FLOOR), _rounded(upper, ROUND_CEILING))
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDE)
    with console.capture() as captured:
        console.print(table)
    files = "1 file" if len(report.files) == 1 else f"{len(report.files):,} files"
    lines = [f"{report.head} head, {report.examples:,} examples of {files}", *captured.get().splitlines()]
    return "\n".join(line.rstrip() for line in lines).rstrip()


def _rounded(value: float | None, rounding: str = ROUND_HALF_EVEN) -> str:
    if value is None or not math.isfinite(value):
        return "" if value is None else str(value)
    return f"{float(Context(prec=_DIGITS, rounding=rounding).create_decimal_from_float(value)):#.{_DIGITS}g}"


FORMATS: dict[str, Callable[[Report], str]] = {"table": as_table, "json": as_json}
"""Formats by name."""

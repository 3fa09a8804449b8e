"""What one evaluation found, or two of the same examples, as text."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from glmheads.cli.errors import printable
from glmheads.evaluation import Evaluation, Key
from glmheads.names import MetricKeys

__all__ = ["FORMATS", "Report", "as_csv", "as_json", "as_markdown", "as_table"]

_DIGITS = 6
_WIDE = 160  # of what no terminal limits
_LONGEST = 40  # of a word in a table

_HIGHER_IS_BETTER = {
    MetricKeys.ACCURACY,
    MetricKeys.AUC,
    MetricKeys.AUC_PR,
    MetricKeys.BALANCED_ACCURACY,
    MetricKeys.F1,
    MetricKeys.MATTHEWS_CORRELATION,
    MetricKeys.PRECISION,
    MetricKeys.RECALL,
    MetricKeys.SPECIFICITY,
}
_LOWER_IS_BETTER = {
    MetricKeys.BRIER_SCORE,
    MetricKeys.CALIBRATION_ERROR,
    MetricKeys.LOSS_MEAN,
    MetricKeys.NORMALIZED_ENTROPY,
}


@dataclass(frozen=True)
class Report:
    """What is reported.

    Attributes
    ----------
    head : str
    models : tuple of str
        What the evaluations are called.
    evaluations : tuple of Evaluation
        One, or two of the same examples.
    """

    head: str
    models: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]

    @property
    def whole(self) -> "Piece":
        """All examples."""
        return Piece("whole", (), self.evaluations)

    @property
    def by(self) -> tuple[str, ...]:
        """The columns that tell slices."""
        return self.evaluations[0].by

    def slices(self) -> "Iterator[Piece]":
        """The slices, and at last those together that are too small to be reported one by one."""
        slices = [evaluation.slices for evaluation in self.evaluations]
        for key in slices[0]:
            yield Piece("slice", key, tuple(found[key] for found in slices))
        others = tuple(evaluation.other for evaluation in self.evaluations)
        if others[0] is not None:
            yield Piece("other", (), tuple(other for other in others if other is not None))


@dataclass(frozen=True)
class Piece:
    """Some of the examples: all, a slice, or the slices that are too small.

    Attributes
    ----------
    part : str
        ``"whole"``, ``"slice"`` or ``"other"``
    key : tuple
        Of a slice.
    evaluations : tuple of Evaluation
    """

    part: str
    key: Key
    evaluations: tuple[Evaluation, ...]

    @property
    def examples(self) -> int:
        """How many there are."""
        return self.evaluations[0].count

    def difference(self, metric: str) -> float:
        """By how much the second model's metric is above the first one's."""
        first, second = (evaluation.results[metric] for evaluation in self.evaluations)
        return 0.0 if first == second else second - first

    def difference_bounds(self, metric: str) -> tuple[float, float] | None:
        """Bounds of the difference, where the metric has any."""
        first, second = (evaluation.bounds.get(metric) for evaluation in self.evaluations)
        return None if first is None or second is None else (second[0] - first[1], second[1] - first[0])

    def style(self, metric: str) -> str:
        """Green if the second model is better, red if it is worse; none where that can't be said."""
        low, high = self.difference_bounds(metric) or (self.difference(metric),) * 2
        base = metric.partition("/")[0]
        if base in _LOWER_IS_BETTER:
            low, high = -high, -low
        elif base not in _HIGHER_IS_BETTER:
            return ""
        return "green" if low > 0 else "red" if high < 0 else ""


# ---------------------------------------------------------------------------------------------------------------------
# For programs


def as_json(report: Report, *, width: int | None = None) -> str:
    """The report as JSON, numbers in full; what JSON has no number for (NaN, infinity) is null."""
    first = report.evaluations[0]
    slices = list(report.slices())
    content = {
        "head": report.head,
        "name": first.head.name,
        "models": report.models,
        "files": first.sources,
        **_numbers(report.whole),
        "by": report.by,
        "min_count": first.min_count,
        "slices": [
            {"key": {name: _key(value) for name, value in zip(report.by, piece.key, strict=True)}, **_numbers(piece)}
            for piece in slices
            if piece.part == "slice"
        ],
        "other": next(
            (
                {"slices": len(piece.evaluations[0].all_slices), **_numbers(piece)}
                for piece in slices
                if piece.part == "other"
            ),
            None,
        ),
    }
    return json.dumps(content, indent=2, allow_nan=False)


def _numbers(piece: Piece) -> dict[str, Any]:
    first, *others = map(_metrics, piece.evaluations)
    found: dict[str, Any] = {"examples": piece.examples, **first}
    if others:
        found["compared"] = others[0]
        found["difference"] = {key: _finite(piece.difference(key)) for key in first["metrics"]}
    return found


def _metrics(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "metrics": {key: _finite(value) for key, value in evaluation.results.items()},
        "bounds": {key: [_finite(bound) for bound in bounds] for key, bounds in evaluation.bounds.items()},
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _key(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def as_csv(report: Report, *, width: int | None = None) -> str:
    """A row for each metric of the whole and of each slice, numbers in full."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    header = ["part", *report.by, "examples", "metric", "value", "at_least", "at_most"]
    if len(report.models) == 2:
        header += ["compared", "compared_at_least", "compared_at_most", "difference"]
    writer.writerow(header)
    for piece in (report.whole, *report.slices()):
        key = piece.key or ("",) * len(report.by)
        for metric in piece.evaluations[0].results:
            numbers: list[Any] = []
            for evaluation in piece.evaluations:
                numbers += [evaluation.results[metric], *evaluation.bounds.get(metric, ("", ""))]
            if len(piece.evaluations) == 2:
                numbers.append(piece.difference(metric))
            writer.writerow([piece.part, *key, piece.examples, metric, *numbers])
    return file.getvalue().removesuffix("\n")


# ---------------------------------------------------------------------------------------------------------------------
# For people


@dataclass(frozen=True)
class _Grid:
    """A table of text and its style.

    Attributes
    ----------
    headers : list of str
    rows : list of rows
    words : int
        How many columns, the first ones, hold no numbers.
    stay : int
        How many columns, the first ones, say what a row is: they are repeated where a table is too wide.
    group : int
        How many of the others belong together.
    """

    headers: list[str]
    rows: list[list[tuple[str, str]]]
    words: int
    stay: int
    group: int = 1


def as_table(report: Report, *, width: int | None = None) -> str:
    """The report as tables for the terminal, or for a width; numbers to six digits and bounds rounded outward."""
    console = Console() if width is None else Console(width=width, color_system=None, force_terminal=False)
    if width is None and not console.is_terminal:
        console = Console(width=_WIDE)
    lines = [_title(report)]
    with console.capture() as captured:
        for grid in _grids(report):
            for block in _blocks(grid, console.width):
                console.print(_table(block))
    lines += captured.get().splitlines()
    return "\n".join(line.rstrip() for line in lines).rstrip()


def as_markdown(report: Report, *, width: int | None = None) -> str:
    """The report as tables of Markdown, numbers as in `as_table`."""
    lines = [_escaped(_title(report))]
    for grid in _grids(report):
        rows = [[_escaped(cell) for cell, _ in row] for row in grid.rows]
        marks = ["---" if index < grid.words else "---:" for index in range(len(grid.headers))]
        header = [_escaped(header.replace("\n", ", ")) for header in grid.headers]
        lines += ["", *(f"| {' | '.join(row)} |" for row in (header, marks, *rows))]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return re.sub(r"[\\`*\[\]<>|]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)  # an underscore within a word is one


def _title(report: Report) -> str:
    first = report.evaluations[0]
    files = "1 file" if len(first.sources) == 1 else f"{len(first.sources):,} files"
    compared = ": {} and {}".format(*map(_word, report.models)) if len(report.models) == 2 else ""
    return f"{report.head} head, {first.count:,} examples of {files}{compared}"


def _grids(report: Report) -> Iterator[_Grid]:
    yield _metrics_grid(report)
    if report.by:
        yield _slices_grid(report)


def _metrics_grid(report: Report) -> _Grid:
    whole = report.whole
    has_bounds = bool(whole.evaluations[0].bounds)
    two = len(whole.evaluations) == 2
    values = [*map(_word, report.models), "difference"] if two else ["value"]
    rows = []
    for metric in whole.evaluations[0].results:
        row = [(metric, ""), *_cells(whole, metric)]
        if has_bounds:
            bounds = whole.difference_bounds(metric) if two else whole.evaluations[0].bounds.get(metric)
            low, high = bounds or (None, None)
            row += [(_rounded(low, ROUND_FLOOR), ""), (_rounded(high, ROUND_CEILING), "")]
        rows.append(row)
    return _Grid(["metric", *values, *(["at least", "at most"] if has_bounds else [])], rows, words=1, stay=1)


def _slices_grid(report: Report) -> _Grid:
    metrics = list(report.evaluations[0].results)
    headers = [*map(_word, report.by), "examples"]
    two = len(report.models) == 2
    for metric in metrics:
        headers += [f"{metric}\n{name}" for name in (*map(_word, report.models), "difference")] if two else [metric]
    rows = []
    for piece in (report.whole, *report.slices()):
        if piece.part == "slice":
            key = ["(missing)" if value is None else _word(str(value)) for value in piece.key]
        else:
            number = f"(other: {len(piece.evaluations[0].all_slices):,} slices)"
            key = ["(all)" if piece.part == "whole" else number, *[""] * (len(report.by) - 1)]
        row = [(cell, "") for cell in (*key, f"{piece.examples:,}")]
        for metric in metrics:
            row += _cells(piece, metric)
        rows.append(row)
    return _Grid(headers, rows, words=len(report.by), stay=len(report.by) + 1, group=3 if two else 1)


def _cells(piece: Piece, metric: str) -> list[tuple[str, str]]:
    cells = [(_rounded(evaluation.results[metric]), "") for evaluation in piece.evaluations]
    if len(cells) == 2:
        cells.append((_rounded(piece.difference(metric)), piece.style(metric)))
    return cells


def _word(text: str) -> str:
    return printable(text, _LONGEST)


def _blocks(grid: _Grid, width: int) -> Iterator[_Grid]:
    """The grid in parts that fit the width, each with the columns that say what a row is."""
    columns = list(zip(*([(header, "") for header in grid.headers], *grid.rows), strict=True))
    widths = [max(cell_len(line) for cell, _ in column for line in cell.split("\n")) + 3 for column in columns]
    if sum(widths) + 2 <= width:
        yield grid
        return
    room = width - 2 - sum(widths[: grid.stay])
    at = grid.stay
    while at < len(columns):
        end = at + grid.group
        while end < len(columns) and sum(widths[at : end + grid.group]) <= room:
            end += grid.group
        chosen = [*range(grid.stay), *range(at, min(end, len(columns)))]
        rows = [[row[i] for i in chosen] for row in grid.rows]
        yield replace(grid, headers=[grid.headers[i] for i in chosen], rows=rows)
        at = end


def _table(grid: _Grid) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for index, header in enumerate(grid.headers):
        table.add_column(Text(header), justify="left" if index < grid.words else "right")
    for row in grid.rows:
        table.add_row(*(Text(cell, style=style) for cell, style in row))
    return table


def _rounded(value: float | None, rounding: str = ROUND_HALF_EVEN) -> str:
    if value is None or not math.isfinite(value):
        return "" if value is None else str(value)
    return f"{float(Context(prec=_DIGITS, rounding=rounding).create_decimal_from_float(value)):#.{_DIGITS}g}"


FORMATS: dict[str, Callable[..., str]] = {
    "table": as_table,
    "markdown": as_markdown,
    "json": as_json,
    "csv": as_csv,
}
"""Formats by name."""

"""What one evaluation found, or two of the same examples, as text."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from glmheads.cli.errors import printable
from glmheads.display import rounded
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
    title : str
    headers : list of str
    rows : list of rows
    words : int
        How many columns, the first ones, hold no numbers.
    stay : int
        How many columns, the first ones, say what a row is: they are repeated where a table is too wide.
    """

    title: str
    headers: list[str]
    rows: list[list[tuple[str, str]]]
    words: int
    stay: int


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
        rows = [[_escaped(cell) for cell, _ in row] + [""] * (len(grid.headers) - len(row)) for row in grid.rows]
        marks = ["---" if index < grid.words else "---:" for index in range(len(grid.headers))]
        header = [_escaped(header) for header in grid.headers]
        lines += ["", *([f"**{_escaped(grid.title)}**", ""] if grid.title else [])]
        lines += [*(f"| {' | '.join(row)} |" for row in (header, marks, *rows))]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return re.sub(r"[\\`*\[\]<>|]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)  # an underscore within a word is one


def _title(report: Report) -> str:
    first = report.evaluations[0]
    files = "1 file" if len(first.sources) == 1 else f"{len(first.sources):,} files"
    compared = ": {} and {}".format(*map(_word, report.models)) if len(report.models) == 2 else ""
    return f"{report.head} head, {first.count:,} examples of {files}{compared}"


def _grids(report: Report) -> Iterator[_Grid]:
    whole = report.whole
    metrics = list(whole.evaluations[0].results)
    two = len(report.models) == 2
    rows = [[(metric, ""), *_cells(whole, metric, bounds=True)] for metric in metrics]
    yield _Grid("", ["metric", *_headers(report, bool(whole.evaluations[0].bounds))], rows, words=1, stay=1)
    if not report.by:
        return
    pieces = [whole, *report.slices()]
    keys = [[(cell, "") for cell in _key_cells(report, piece)] for piece in pieces]
    words = len(report.by)
    header = [*map(_word, report.by), "examples"]
    if not two:
        rows = [[*key, *(_cells(piece, m)[0] for m in metrics)] for key, piece in zip(keys, pieces, strict=True)]
        yield _Grid("", [*header, *metrics], rows, words, stay=words + 1)
        return
    for metric in metrics:
        rows = [[*key, *_cells(piece, metric, bounds=True)] for key, piece in zip(keys, pieces, strict=True)]
        headers = [*header, *_headers(report, metric in whole.evaluations[0].bounds)]
        yield _Grid(metric, headers, rows, words, stay=words + 1)


def _headers(report: Report, bounds: bool) -> list[str]:
    values = [*map(_word, report.models), "difference"] if len(report.models) == 2 else ["value"]
    return [*values, "at least", "at most"] if bounds else values


def _key_cells(report: Report, piece: Piece) -> list[str]:
    """What a row of slices is of."""
    if piece.part == "slice":
        key = ["(missing)" if value is None else _word(str(value)) for value in piece.key]
    else:
        count = len(piece.evaluations[0].all_slices)
        other = f"(other: {count:,} slice{'s' * (count > 1)})"
        key = ["(all)" if piece.part == "whole" else other, *[""] * (len(report.by) - 1)]
    return [*key, f"{piece.examples:,}"]


def _cells(piece: Piece, metric: str, *, bounds: bool = False) -> list[tuple[str, str]]:
    """A metric of each model, the difference of two, and the bounds of the last of these, if wanted and there."""
    first = piece.evaluations[0]
    cells = [(_rounded(evaluation.results[metric]), "") for evaluation in piece.evaluations]
    found = first.bounds.get(metric)
    if len(cells) == 2:
        cells.append((_rounded(piece.difference(metric)), piece.style(metric)))
        found = piece.difference_bounds(metric)
    if bounds and found is not None:
        cells += [(_rounded(found[0], ROUND_FLOOR), ""), (_rounded(found[1], ROUND_CEILING), "")]
    return cells


def _word(text: str) -> str:
    return printable(text, _LONGEST)


def _blocks(grid: _Grid, width: int) -> Iterator[_Grid]:
    """The grid in parts that fit the width, each with the columns that say what a row is."""
    grid = replace(grid, rows=[row + [("", "")] * (len(grid.headers) - len(row)) for row in grid.rows])
    columns = list(zip(*([(header, "") for header in grid.headers], *grid.rows), strict=True))
    widths = [max(cell_len(cell) for cell, _ in column) + 3 for column in columns]
    if sum(widths) + 2 <= width:
        yield grid
        return
    room = width - 2 - sum(widths[: grid.stay])
    at = grid.stay
    while at < len(columns):
        end = at + 1
        while end < len(columns) and sum(widths[at : end + 1]) <= room:
            end += 1
        chosen = [*range(grid.stay), *range(at, end)]
        rows = [[row[i] for i in chosen] for row in grid.rows]
        yield replace(grid, headers=[grid.headers[i] for i in chosen], rows=rows)
        at = end


def _table(grid: _Grid) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=Text(grid.title) if grid.title else None, title_justify="left")
    for index, header in enumerate(grid.headers):
        table.add_column(Text(header), justify="left" if index < grid.words else "right")
    for row in grid.rows:
        table.add_row(*(Text(cell, style=style) for cell, style in row))
    return table


def _rounded(value: float | None, rounding: str = ROUND_HALF_EVEN) -> str:
    if value is None or not math.isfinite(value):
        return "" if value is None else str(value)
    return f"{rounded(value, _DIGITS, rounding):#.{_DIGITS}g}"


FORMATS: dict[str, Callable[..., str]] = {
    "table": as_table,
    "markdown": as_markdown,
    "json": as_json,
    "csv": as_csv,
}
"""Formats by name."""

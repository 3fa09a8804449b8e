"""The results of one evaluation, or of two models on the same examples, as text."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from glmheads.cli.errors import printable
from glmheads.display import number
from glmheads.evaluation import Evaluation
from glmheads.evaluation.rows import Group, Row, groups, number_cells, slice_table
from glmheads.names import MetricKeys

_WIDE = 160  # columns, where no terminal limits them
_LONGEST = 40  # characters of a name or a value in a table

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
    """The results to show.

    Attributes
    ----------
    head : str
    models : tuple of str
        The names of the evaluations.
    evaluations : tuple of Evaluation
        One, or two of the same examples.
    """

    head: str
    models: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]

    @property
    def by(self) -> tuple[str, ...]:
        """The columns that define the slices."""
        return self.evaluations[0].by

    def sections(self) -> "Iterator[Section]":
        """The whole, the slices, and at last those that are too small to be reported one by one, as one section."""
        for models in zip(*map(groups, self.evaluations), strict=True):
            rows = [group.rows for group in models]
            if len(rows) == 2:
                rows.append({metric: _difference(rows[0][metric], rows[1][metric]) for metric in rows[0]})
            yield Section(_for_terminal(models[0]), rows)


class Section(NamedTuple):
    """A group of examples, with rows by metric: of the model, or of the first, the second, and their difference."""

    group: Group
    rows: list[dict[str, Row]]


def _difference(first: Row, second: Row) -> Row:
    """The row of the second model minus that of the first."""
    value = 0.0 if first["value"] == second["value"] else second["value"] - first["value"]
    lower = upper = None
    if first["lower_bound"] is not None and second["lower_bound"] is not None:
        lower, upper = second["lower_bound"] - first["upper_bound"], second["upper_bound"] - first["lower_bound"]
    return {"metric": first["metric"], "value": value, "lower_bound": lower, "upper_bound": upper}


# ---------------------------------------------------------------------------------------------------------------------
# For programs


def as_json(report: Report, *, width: int | None = None) -> str:
    """The report as JSON, numbers in full; NaN and infinity, which JSON does not have, are null."""
    first = report.evaluations[0]
    whole, *sections = report.sections()
    content = {
        "head": report.head,
        "name": first.head.name,
        "models": report.models,
        "files": first.sources,
        **_json_numbers(whole),
        "by": report.by,
        "min_count": first.min_count,
        "slices": [
            {"key": {name: _json_key(value) for name, value in section.group.key.items()}, **_json_numbers(section)}
            for section in sections
            if section.group.kind == "slice"
        ],
        "other": None,
    }
    if sections and sections[-1].group.kind == "other":
        content["other"] = {"slices": len(sections[-1].group.evaluation.all_slices), **_json_numbers(sections[-1])}
    return json.dumps(content, indent=2, allow_nan=False)


def _json_numbers(section: Section) -> dict[str, Any]:
    first, *others = section.rows
    numbers = {"examples": section.group.evaluation.count, **_json_rows(first)}
    if others:
        second, difference = others
        numbers["compared"] = _json_rows(second)
        numbers["difference"] = {metric: _finite(row["value"]) for metric, row in difference.items()}
    return numbers


def _json_rows(rows: dict[str, Row]) -> dict[str, Any]:
    bounds = {metric: (row["lower_bound"], row["upper_bound"]) for metric, row in rows.items()}
    return {
        "metrics": {metric: _finite(row["value"]) for metric, row in rows.items()},
        "bounds": {metric: [_finite(low), _finite(high)] for metric, (low, high) in bounds.items() if low is not None},
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _json_key(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def as_csv(report: Report, *, width: int | None = None) -> str:
    """A row for each metric of the whole and of each slice, numbers in full."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    header = ["part", *report.by, "examples", "metric", "value", "at_least", "at_most"]
    if len(report.models) == 2:
        header += ["compared", "compared_at_least", "compared_at_most", "difference"]
    writer.writerow(header)
    for group, rows in report.sections():
        key = list(group.key.values()) or [""] * len(report.by)
        for metric in rows[0]:
            numbers = [of_model[metric][f] for of_model in rows for f in ("value", "lower_bound", "upper_bound")]
            cells = [group.kind, *key, group.evaluation.count, metric, *numbers]
            writer.writerow(cells[: len(header)])  # without the bounds of the difference
    return file.getvalue().removesuffix("\n")


# ---------------------------------------------------------------------------------------------------------------------
# For people


class _Grid(NamedTuple):
    """A table of text."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int
    """How many columns, the first ones, hold words and not numbers."""
    fixed: int
    """How many columns, the first ones, tell the rows apart: they are repeated where a table is too wide."""
    styles: Sequence[str] = ()
    """Of the difference in each row, which is the third number."""


def as_table(report: Report, *, width: int | None = None) -> str:
    """The report as tables for the terminal, or for a width; numbers to six digits and bounds rounded outward."""
    console = Console() if width is None else Console(width=width, color_system=None, force_terminal=False)
    if width is None and not console.is_terminal:
        console = Console(width=_WIDE)
    with console.capture() as captured:
        for grid in _grids(report):
            for columns in _blocks(grid, console.width):
                console.print(_table(grid, columns))
    lines = [_title(report), *captured.get().splitlines()]
    return "\n".join(line.rstrip() for line in lines).rstrip()


def as_markdown(report: Report, *, width: int | None = None) -> str:
    """The report as tables of Markdown, numbers as in `as_table`."""
    lines = [_escaped(_title(report))]
    for grid in _grids(report):
        marks = ["---" if index < grid.words else "---:" for index in range(len(grid.header))]
        lines += ["", *([f"**{_escaped(grid.title)}**", ""] if grid.title else [])]
        lines += [f"| {' | '.join(row)} |" for row in (map(_escaped, grid.header), marks)]
        lines += [f"| {' | '.join(map(_escaped, row))} |" for row in grid.rows]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return re.sub(r"[\\`*\[\]<>|]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)  # an underscore within a word is one


def _title(report: Report) -> str:
    first = report.evaluations[0]
    files = "1 file" if len(first.sources) == 1 else f"{len(first.sources):,} files"
    compared = ": {} and {}".format(*map(_word, report.models)) if len(report.models) == 2 else ""
    return f"{report.head} head, {first.count:,} examples of {files}{compared}"


def _grids(report: Report) -> Iterator[_Grid]:
    """The metrics of the whole and, with slices, one table of them or, for two models, one for each metric."""
    whole, *_ = sections = list(report.sections())
    metrics = list(whole.rows[0])
    two = len(report.models) == 2
    values = [*map(_word, report.models), "difference"] if two else ["value"]
    yield _number_grid("", ["metric"], values, [([printable(metric)], whole, metric) for metric in metrics])
    by = list(map(_word, report.by))
    if by and not two:
        table = slice_table((section.group for section in sections), by, metrics, keep_zeros=True)
        yield _Grid("", *table, fixed=table.words + 1)
    elif by:
        labels = [[*section.group.cells, f"{section.group.evaluation.count:,}"] for section in sections]
        for metric in metrics:
            lines = [(cells, section, metric) for cells, section in zip(labels, sections, strict=True)]
            yield _number_grid(metric, [*by, "examples"], values, lines)


def _for_terminal(group: Group) -> Group:
    """The group with cells that a terminal shows as they are."""
    cells = [_word(cell) for cell in group.cells]
    if group.kind == "other":
        cells[0] = cells[0].replace("(other: 1 slices)", "(other: 1 slice)")
    return group._replace(cells=cells)


def _number_grid(
    title: str, words: list[str], values: list[str], lines: Sequence[tuple[list[str], Section, str]]
) -> _Grid:
    """A line for each section and metric: its words, the value of each model, the difference of two, and its bounds."""
    rows, styles = [], []
    for cells, section, metric in lines:
        *models, last = [of_model[metric] for of_model in section.rows]
        numbers = [number(row["value"], keep_zeros=True) for row in models]
        rows.append([*cells, *numbers, *number_cells(last, keep_zeros=True)])
        styles.append(_style(last) if models else "")
    header = [*words, *values, "at least", "at most"]
    width = len(header) if any(row[-1] for row in rows) else len(header) - 2
    fixed = len(words)
    return _Grid(title, header[:width], [row[:width] for row in rows], max(1, fixed - 1), fixed, styles)


def _style(difference: Row) -> str:
    """Green if the second model is better, red if it is worse; none where the bounds leave that open."""
    low, high = difference["lower_bound"], difference["upper_bound"]
    if low is None:
        low = high = difference["value"]
    base = difference["metric"].partition("/")[0]
    if base in _LOWER_IS_BETTER:
        low, high = -high, -low
    elif base not in _HIGHER_IS_BETTER:
        return ""
    return "green" if low > 0 else "red" if high < 0 else ""


def _word(text: str) -> str:
    return printable(text, _LONGEST)


def _blocks(grid: _Grid, width: int) -> Iterator[list[int]]:
    """The columns in blocks that fit the width, each with the columns that tell the rows apart."""
    widths = [max(map(cell_len, column)) + 3 for column in zip(grid.header, *grid.rows, strict=True)]
    fixed, columns = list(range(grid.fixed)), range(grid.fixed, len(widths))
    room = width - 2 - sum(widths[: grid.fixed])
    block: list[int] = []
    for column in columns:
        if block and sum(widths[i] for i in [*block, column]) > room:
            yield [*fixed, *block]
            block = []
        block.append(column)
    yield [*fixed, *block]


def _table(grid: _Grid, columns: Sequence[int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=Text(grid.title) if grid.title else None, title_justify="left")
    for index in columns:
        table.add_column(Text(grid.header[index]), justify="left" if index < grid.words else "right")
    for row, style in zip_longest(grid.rows, grid.styles, fillvalue=""):
        table.add_row(*(Text(row[index], style=style if index == grid.fixed + 2 else "") for index in columns))
    return table


FORMATS: dict[str, Callable[..., str]] = {"table": as_table, "markdown": as_markdown, "json": as_json, "csv": as_csv}
"""Formats by name."""

"""What the commands share: the head's names, the options of their results, and how results are handed out."""

import io
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

import glmheads as gh
from glmheads.cli import output
from glmheads.cli.errors import DataError, UsageError, named
from glmheads.cli.report import FORMATS, Report

__all__ = [
    "AgainOption",
    "FormatName",
    "FormatOption",
    "HeadName",
    "MinCountOption",
    "OutputOption",
    "ReportOption",
    "SaveOption",
    "check_outputs",
    "hand_out",
    "head_name",
    "load",
    "with_min_count",
]


class HeadName(StrEnum):
    """Heads by the names that the command line has for them."""

    BINARY = "binary"
    LOGISTIC = "logistic"
    REGRESSION = "regression"
    POISSON = "poisson"


_HEADS = {
    gh.BinaryClassHead: HeadName.BINARY,
    gh.LogisticRegressionHead: HeadName.LOGISTIC,
    gh.RegressionHead: HeadName.REGRESSION,
    gh.PoissonRegressionHead: HeadName.POISSON,
}


def head_name(head: gh.Head) -> str:
    """What the head is called in a report."""
    return str(_HEADS.get(type(head), type(head).__name__))


class FormatName(StrEnum):
    """Formats of the report."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"
    CSV = "csv"


_REPORT = "Report"
_PIECES = "Data in pieces"

FormatOption = Annotated[
    FormatName,
    typer.Option(
        "--format", help="JSON and CSV have all digits; JSON has null for NaN and infinity.", rich_help_panel=_REPORT
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="FILE",
        readable=False,
        help="Write the report there instead of printing it.",
        rich_help_panel=_REPORT,
    ),
]
MinCountOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Examples that a slice needs to be reported by itself; smaller ones are reported together, as other.",
        rich_help_panel=_REPORT,
    ),
]
SaveOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--save",
        metavar="FILE",
        readable=False,
        help="Save the statistics, to resume or merge; with --compare twice, a file for each model.",
        rich_help_panel=_PIECES,
    ),
]
ReportOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--report",
        metavar="FILE.html",
        readable=False,
        help="Write a page with the metrics, curves, calibration and slices; with --compare twice, as --save.",
        rich_help_panel=_REPORT,
    ),
]
AgainOption = Annotated[
    bool, typer.Option("--again", help="Count a file once more that is in already.", rich_help_panel=_PIECES)
]


def check_outputs(
    printed: Path | None,
    save: Sequence[Path],
    pages: Sequence[Path],
    models: int,
    inputs: Sequence[Path],
    resumed: Sequence[Path] = (),
) -> None:
    """Refuse files that can't be written, before anything is read; what is resumed may be saved in its place.

    Raises
    ------
    UsageError, DataError
    """
    for option, paths in (("--save", save), ("--report", pages)):
        if paths and len(paths) != models:
            raise UsageError(
                f"{option} is given {len(paths)} times for {models} model{'s' * (models > 1)}; there is a file for "
                "each, first that of --logits or --probabilities, then that of --compare"
            )
    if pages and not (find_spec("matplotlib") and find_spec("jinja2")):
        raise UsageError("--report needs matplotlib and jinja2: pip install 'glmheads[report]'")
    for path in save:
        output.check("--save", path, inputs)
    for path in pages:
        output.check("--report", path, [*inputs, *resumed])
    if printed is not None:
        output.check("--output", printed, [*inputs, *resumed])
    outputs = [path.resolve() for path in (*save, *pages, *([] if printed is None else [printed]))]
    if len(set(outputs)) < len(outputs):
        raise UsageError(f"{outputs[-1]} is to be written twice; give files of different names")


def load(path: Path, head: gh.Head | None = None) -> gh.Evaluation:
    """A saved evaluation.

    Raises
    ------
    DataError
        If it can't be read, or is of another head.
    """
    with named(path):
        content = path.read_bytes()
    if not content.startswith(b"PK"):
        raise DataError(f"{path}: is no file that --save wrote")
    file = io.BytesIO(content)
    file.name = str(path)  # for the message of an error
    try:
        return gh.Evaluation.load(file, head)
    except (ValueError, RecursionError) as error:
        raise DataError(str(error)) from error


def with_min_count(evaluations: Sequence[gh.Evaluation], min_count: int | None) -> tuple[gh.Evaluation, ...]:
    """The evaluations with another floor on the size of a slice, if one is given.

    Raises
    ------
    UsageError
        If there are no slices.
    """
    if min_count is None:
        return tuple(evaluations)
    if not evaluations[0].by:
        raise UsageError("--min-count is for slices, and there are none: give --by")
    return tuple(replace(evaluation, min_count=min_count) for evaluation in evaluations)


def hand_out(
    report: Report, format_: FormatName, path: Path | None, save: Sequence[Path], pages: Sequence[Path]
) -> None:
    """Save the statistics, write the pages, and print the report or write it to a file.

    Raises
    ------
    DataError
        If a file can't be written.
    """
    text = FORMATS[format_](report, **({} if path is None else {"width": 160}))
    for evaluation, place in zip(report.evaluations, save, strict=False):
        file = io.BytesIO()
        evaluation.save(file)
        output.write(place, file.getvalue())
    for evaluation, place in zip(report.evaluations, pages, strict=False):
        from glmheads.report import render  # matplotlib takes a while to import

        output.write(place, render(evaluation).encode())
    if path is None:
        output.say(text)
    else:
        output.write(path, f"{text}\n".encode())

"""``glmheads merge``: the metrics of data that were evaluated in pieces."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import glmheads as gh
from glmheads.cli import sources
from glmheads.cli.errors import DataError, UsageError
from glmheads.cli.options import (
    AgainOption,
    FormatName,
    FormatOption,
    MinCountOption,
    OutputOption,
    ReportOption,
    SaveOption,
    check_outputs,
    hand_out,
    head_name,
    load,
    with_min_count,
)
from glmheads.cli.report import Report

__all__ = ["merge"]


def merge(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            readable=False,
            show_default=False,
            help="What glmheads evaluate --save wrote; patterns in quotes.",
        ),
    ],
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            readable=False,
            help="What was saved of a second model over the same data; a pattern in quotes, or several times.",
        ),
    ] = None,
    min_count: MinCountOption = None,
    format_: FormatOption = FormatName.TABLE,
    output: OutputOption = None,
    report: ReportOption = None,
    save: SaveOption = None,
    again: AgainOption = False,
) -> None:
    """Add up saved statistics: the metrics of all their data, as if they had been read at once.

    \b
    For example:
      glmheads merge monday.npz tuesday.npz --save both.npz
      glmheads merge 'part-*.npz' --min-count 1000 --format markdown
      glmheads merge 'new-*.npz' --compare 'old-*.npz'
    """  # noqa: D301 \b is typer's mark of lines to keep
    groups = [[path for argument in group for path in sources.matching(argument)] for group in (files, compare or [])]
    save = save or []
    models = [group for group in groups if group]
    check_outputs(output, save, report or [], len(models), [path for group in models for path in group])
    merged = with_min_count([_sum(group, again) for group in models], min_count)
    if len(merged) == 2:
        _check_same(*merged)
    names = tuple(" ".join(map(str, given)) for given in (files, compare) if given)
    hand_out(Report(head_name(merged[0].head), names, merged), format_, output, save, report or [])


def _sum(paths: Sequence[Path], again: bool) -> gh.Evaluation:
    first, *others = paths
    total = load(first)
    records = [(record, str(first)) for record in total.sources]
    for path in others:
        more = load(path)
        if more.head != total.head:
            raise DataError(
                f"{path}: is of {more.head!r}, and {first} of {total.head!r}; only those of one head add up"
            )
        records += [(record, str(path)) for record in more.sources]
        if not again:
            sources.refuse_twice(records)
        try:
            total = total + more
        except ValueError as error:
            raise DataError(f"{path}: does not add up with {first}: {error}") from error
    return total


def _check_same(first: gh.Evaluation, second: gh.Evaluation) -> None:
    """Refuse to compare models over different data."""
    if first.head != second.head:
        raise UsageError(f"the two models are of different heads, {first.head!r} and {second.head!r}")
    counts = [
        (evaluation.by, evaluation.count, {key: part.count for key, part in evaluation.all_slices.items()})
        for evaluation in (first, second)
    ]
    if counts[0] != counts[1] or first.min_count != second.min_count:
        raise UsageError(
            f"the two models are not of the same data: {first.count:,} and {second.count:,} examples, or other slices"
        )

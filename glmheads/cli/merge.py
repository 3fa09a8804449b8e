"""``glmheads merge``: the metrics of data that were evaluated in pieces."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import glmheads as gh
from glmheads.cli import options, sources
from glmheads.cli.errors import DataError, UsageError
from glmheads.cli.output import Outputs
from glmheads.cli.report import Report


def merge(
    files: Annotated[list[Path], options.file_argument("What glmheads evaluate --save wrote; patterns in quotes.")],
    compare: Annotated[
        list[Path] | None,
        options.pieces("What --save wrote for a second model on the same data; a pattern in quotes, or several times."),
    ] = None,
    min_count: options.MinCountOption = None,
    format_: options.FormatOption = "table",
    output: options.OutputOption = None,
    report: options.ReportOption = None,
    save: options.SaveOption = None,
    again: options.AgainOption = False,
) -> None:
    """Add up saved statistics: the metrics of all their data, as if they had been read at once.

    \b
    For example:
      glmheads merge monday.npz tuesday.npz --save both.npz
      glmheads merge 'part-*.npz' --min-count 1000 --format markdown
      glmheads merge 'new-*.npz' --compare 'old-*.npz'
    """  # noqa: D301 \b is typer's mark of lines to keep
    given = [group for group in (files, compare) if group]
    groups = [[path for argument in group for path in sources.matching(argument)] for group in given]
    outputs = Outputs(format_, output, save, report)
    outputs.check(len(groups), [path for group in groups for path in group])
    merged = sources.with_min_count([_sum(group, again) for group in groups], min_count)
    if len(merged) == 2:
        _check_same(*merged)
    names = tuple(" ".join(map(str, group)) for group in given)
    outputs.write(Report(options.head_name(merged[0].head), names, merged))


def _sum(paths: Sequence[Path], again: bool) -> gh.Evaluation:
    first, *others = paths
    total = sources.load(first)
    seen = [(source, str(first)) for source in total.sources]
    for path in others:
        more = sources.load(path)
        if more.head != total.head:
            raise DataError(f"{path}: is of {more.head!r}, and {first} of {total.head!r}; only one head's add up")
        seen += [(source, str(path)) for source in more.sources]
        if not again:
            sources.refuse_twice(seen)
        try:
            total = total + more
        except ValueError as error:
            raise DataError(f"{path}: does not add up with {first}: {error}") from error
    return total


def _check_same(first: gh.Evaluation, second: gh.Evaluation) -> None:
    """Refuse to compare models on different data."""
    if first.head != second.head:
        raise UsageError(f"the two models are of different heads, {first.head!r} and {second.head!r}")
    if _shape(first) != _shape(second):
        raise UsageError(
            f"the two models are not of the same data: {first.count:,} and {second.count:,} examples, or other slices"
        )


def _shape(evaluation: gh.Evaluation) -> tuple[object, ...]:
    counts = {key: part.count for key, part in evaluation.all_slices.items()}
    return evaluation.by, evaluation.count, evaluation.min_count, counts

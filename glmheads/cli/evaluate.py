"""``glmheads evaluate``: the metrics of a head over files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

import glmheads as gh
from glmheads.cli import sources
from glmheads.cli.errors import DataError, UsageError
from glmheads.cli.examples import Columns, Models
from glmheads.cli.options import (
    AgainOption,
    FormatName,
    FormatOption,
    HeadName,
    MinCountOption,
    OutputOption,
    ReportOption,
    SaveOption,
    check_outputs,
    hand_out,
    load,
    with_min_count,
)
from glmheads.cli.progress import reading
from glmheads.cli.report import Report
from glmheads.cli.sources import DataFormat, Source
from glmheads.metrics import calibration_measures, confusion_measures

__all__ = ["METRICS", "evaluate"]

METRICS = (*map(str, (*calibration_measures(), *confusion_measures(()))), "all")
"""What `--metrics` takes."""

_DATA = "Data"
_MODEL = "Model"
_REPORT = "Report"
_PIECES = "Data in pieces"


def _complete_metrics(incomplete: str) -> list[str]:
    return [name for name in METRICS if name.startswith(incomplete)]


def evaluate(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            readable=False,
            show_default=False,
            help="CSV, Parquet, Arrow or JSON lines files; directories of them; patterns in quotes; - for the standard "
            "input.",
        ),
    ],
    head: Annotated[HeadName, typer.Option(show_default=False, help="What the logits are of.", rich_help_panel=_MODEL)],
    labels: Annotated[
        str, typer.Option(metavar="COLUMN", show_default=False, help="The truth.", rich_help_panel=_DATA)
    ],
    logits: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", show_default=False, help="The model's output, before any link.", rich_help_panel=_DATA
        ),
    ] = None,
    probabilities: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="In place of --logits: probabilities of the positive class.", rich_help_panel=_DATA
        ),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="A second model's output, of the same kind: its metrics beside the first one's.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Weights of the examples; without it each is 1.", rich_help_panel=_DATA),
    ] = None,
    vocabulary: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="NEG POS",
            help="The two words that the labels are, the negative class first.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN...",
            help="Columns that tell slices: every metric for each of their values too.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    input_format: Annotated[
        DataFormat | None,
        typer.Option(
            help="What is read from a pipe, or from a file whose name does not say it.", rich_help_panel=_DATA
        ),
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(
            metavar="CHARACTER",
            help="What separates the columns of CSV files, if not a comma; tab is one too.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    threshold: Annotated[
        list[float] | None,
        typer.Option(
            metavar="P...",
            help="Probabilities at which to report accuracy, precision and recall too.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC...",
            help=f"More metrics: {', '.join(METRICS)}.",
            autocompletion=_complete_metrics,
            rich_help_panel=_MODEL,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Appended to the names of the metrics.", rich_help_panel=_MODEL)
    ] = None,
    min_count: MinCountOption = None,
    format_: FormatOption = FormatName.TABLE,
    output: OutputOption = None,
    report: ReportOption = None,
    save: SaveOption = None,
    resume: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            readable=False,
            help="Add to what was saved there; with --compare twice, as --save.",
            rich_help_panel=_PIECES,
        ),
    ] = None,
    again: AgainOption = False,
) -> None:
    """Evaluate the logits in files: every metric of a head, over all rows of all files.

    Files may be larger than memory. Areas under curves come with bounds that hold their exact value.

    \b
    For example:
      glmheads evaluate clicks.parquet --head binary --logits x --labels clicked
      glmheads evaluate day*.csv.gz --head binary --logits x --labels outcome \\
        --vocabulary stay leave --threshold 0.5 0.9 --metrics brier_score f1
      glmheads evaluate visits.csv --head poisson --logits x --labels visits \\
        --weights exposure --format json --output visits.json

    \b
    Slices, and two models side by side:
      glmheads evaluate logs/ --head binary --logits x --labels y \\
        --by country device --min-count 1000
      glmheads evaluate logs/ --head binary --logits new --compare old --labels y

    \b
    In pieces:
      glmheads evaluate mon.csv --head binary --logits x --labels y --save s.npz
      glmheads evaluate tue.csv --head binary --logits x --labels y \\
        --resume s.npz --save s.npz
      zcat wed.csv.gz | glmheads evaluate - --input-format csv --head binary \\
        --logits x --labels y
    """  # noqa: D301 \b is typer's mark of lines to keep
    columns = _columns(logits, probabilities, compare, labels, weights, by, vocabulary)
    model = _head(head, columns, threshold, metrics, name)
    found = sources.find(files, input_format, _delimiter(delimiter))
    save, resume = save or [], resume or []
    check_outputs(
        output, save, report or [], len(columns.scores), [source.path for source in found if source.size], resume
    )
    seen = _resumed(resume, model, columns)
    if not again:
        new = [(source.record, "the files to read") for source in found]
        for path, evaluation in zip(resume, seen, strict=True):
            sources.refuse_twice([*new, *((record, str(path)) for record in evaluation.sources)])
        sources.refuse_twice(new)
    evaluations = with_min_count(_evaluate(model, columns, found, seen), min_count)
    hand_out(Report(str(head), columns.scores, evaluations), format_, output, save, report or [])


def _columns(
    logits: str | None,
    probabilities: str | None,
    compare: str | None,
    labels: str,
    weights: str | None,
    by: list[str] | None,
    vocabulary: tuple[str, str] | None,
) -> Columns:
    if logits is not None and probabilities is not None:
        raise UsageError("the scores are logits or probabilities: give one of --logits and --probabilities")
    first = logits if logits is not None else probabilities
    if first is None:
        raise UsageError("Missing option '--logits' or '--probabilities'")
    if compare == first:
        raise UsageError(f"--compare {compare!r} is the first model's column; give another one")
    by = by or []
    if len(set(by)) < len(by):
        raise UsageError(f"--by has a column twice: {', '.join(map(repr, by))}")
    scale = "logits" if probabilities is None else "probabilities"
    scores = (first,) if compare is None else (first, compare)
    return Columns(scores, scale, labels, weights, tuple(by), vocabulary)


def _head(
    head: HeadName, columns: Columns, thresholds: list[float] | None, metrics: list[str] | None, name: str | None
) -> gh.Head:
    weights = columns.weights
    classifies = {"--threshold": thresholds, "--vocabulary": columns.vocabulary}
    predicts = {"--metrics": metrics, "--probabilities": columns.scale == "probabilities"}
    for options, heads in ((classifies, ["binary"]), (predicts, ["binary", "logistic"])):
        for option, given in options.items():
            if given and head not in heads:
                raise UsageError(f"{option} is for --head {' or '.join(heads)}, not {head}")
    more = "all" if metrics and "all" in metrics else metrics
    try:
        if head is HeadName.BINARY:
            return gh.BinaryClassHead(weights, thresholds, columns.vocabulary, name=name, extra_metrics=more)
        if head is HeadName.LOGISTIC:
            return gh.LogisticRegressionHead(weights, name=name, extra_metrics=more)
    except ValueError as error:
        raise UsageError(str(error).replace("extra_metrics", "--metrics")) from error
    if head is HeadName.POISSON:
        return gh.PoissonRegressionHead(weight_column=weights, name=name)
    return gh.RegressionHead(weight_column=weights, name=name)


def _delimiter(given: str | None) -> str | None:
    delimiter = {"tab": "\t", "\\t": "\t"}.get(given or "", given)
    if delimiter is not None and (len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0'):
        raise UsageError(f"--delimiter is one character, as ';', or tab. Given: {given!r}")
    return delimiter


def _resumed(paths: Sequence[Path], model: gh.Head, columns: Columns) -> list[gh.Evaluation]:
    """What was saved, a file for each model, if any."""
    if paths and len(paths) != len(columns.scores):
        raise UsageError(
            f"--resume is given {len(paths)} times for {len(columns.scores)} models; there is a file for each model, "
            "as with --save"
        )
    found = [load(path, model) for path in paths]
    for path, evaluation in zip(paths, found, strict=True):
        if evaluation.by != columns.by:
            names = " ".join(evaluation.by)
            has, mend = (f"slices by {names}", f"give --by {names}") if names else ("no slices", "leave --by out")
            raise UsageError(f"{path} has {has}: {mend}")
    return found


def _evaluate(
    model: gh.Head, columns: Columns, found: Sequence[Source], seen: Sequence[gh.Evaluation]
) -> list[gh.Evaluation]:
    models = Models(model, columns, 1)
    with reading(found) as read:
        for source in found:
            for part in read(source, columns.names, columns.by):
                models.add(part)
    records = tuple(dict.fromkeys(source.record for source in found))
    evaluations = [replace(evaluation, sources=records) for evaluation in models.evaluations()]
    if not evaluations[0].count:
        raise DataError(f"{found[0]}: is empty: neither it nor what else was read has rows")
    return [old + new for old, new in zip(seen, evaluations, strict=True)] if seen else evaluations

"""``glmheads evaluate``: the metrics of a head over files."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import glmheads as gh
from glmheads.cli import options, sources
from glmheads.cli.errors import DataError, UsageError
from glmheads.cli.examples import Columns, Models
from glmheads.cli.output import Outputs
from glmheads.cli.readers import reading
from glmheads.cli.report import Report
from glmheads.cli.sources import DataFormat, Source

_ALWAYS, _ALL = (gh.BinaryClassHead(extra_metrics=extra).metrics() for extra in (None, "all"))
METRICS = (*(key for key in _ALL if key not in _ALWAYS), "all")
"""What `--metrics` takes."""

SEVERAL: dict[str, Callable[[str], Any]] = {"--by": str, "--metrics": METRICS.index, "--threshold": float}
"""The options that several values may follow, with a function that raises ValueError for a word that is not one."""


def _complete_metrics(incomplete: str) -> list[str]:
    return [name for name in METRICS if name.startswith(incomplete)]


def evaluate(
    files: Annotated[
        list[Path],
        options.file_argument(
            "CSV, Parquet, Arrow or JSON lines files; directories of them; patterns in quotes; - for standard input."
        ),
    ],
    head: Annotated[options.HeadName, options.model("The kind of model that the logits come from.")],
    labels: Annotated[str, options.data("The true labels.")],
    logits: Annotated[str | None, options.data("The model's output, before any link.")] = None,
    probabilities: Annotated[
        str | None, options.data("In place of --logits: probabilities of the positive class.")
    ] = None,
    compare: Annotated[
        str | None, options.data("A second model's output, of the same kind: its metrics beside the first one's.")
    ] = None,
    weights: Annotated[str | None, options.data("Weights of the examples; without it each is 1.")] = None,
    vocabulary: Annotated[
        tuple[str, str] | None,
        options.data("The two words that the labels are, the negative class first.", metavar="NEG POS"),
    ] = None,
    by: Annotated[
        list[str] | None,
        options.data("Columns of slices: every metric for each of their values too.", metavar="COLUMN..."),
    ] = None,
    input_format: Annotated[
        DataFormat | None,
        options.data("The format of a pipe, or of a file whose name does not tell it.", metavar=None),
    ] = None,
    delimiter: Annotated[
        str | None,
        options.data("What separates the columns of CSV files, if not a comma; or tab.", metavar="CHARACTER"),
    ] = None,
    threshold: Annotated[
        list[float] | None,
        options.model("Probabilities at which to report accuracy, precision and recall too.", metavar="P..."),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        options.model(f"More metrics: {', '.join(METRICS)}.", metavar="METRIC...", autocompletion=_complete_metrics),
    ] = None,
    name: Annotated[str | None, options.model("Appended to the names of the metrics.")] = None,
    min_count: options.MinCountOption = None,
    format_: options.FormatOption = "table",
    output: options.OutputOption = None,
    report: options.ReportOption = None,
    save: options.SaveOption = None,
    resume: Annotated[
        list[Path] | None, options.pieces("Add to what was saved there; with --compare twice, as --save.")
    ] = None,
    again: options.AgainOption = False,
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
    columns = Columns(labels, logits, probabilities, compare, weights, tuple(by or []), vocabulary)
    model = _head(head, columns, threshold, metrics, name)
    inputs = sources.find(files, input_format, _delimiter(delimiter))
    resume = resume or []
    outputs = Outputs(format_, output, save, report)
    outputs.check(len(columns.scores), [source.path for source in inputs if source.size], resume)
    saved = _resumed(resume, model, columns)
    if not again:
        new = [(source.identity, "the files to read") for source in inputs]
        for path, evaluation in zip(resume, saved, strict=True):
            sources.refuse_twice([*new, *((identity, str(path)) for identity in evaluation.sources)])
        sources.refuse_twice(new)
    evaluations = sources.with_min_count(_evaluate(model, columns, inputs, saved), min_count)
    outputs.write(Report(head, columns.scores, evaluations))


def _head(
    head: options.HeadName,
    columns: Columns,
    thresholds: list[float] | None,
    metrics: list[str] | None,
    name: str | None,
) -> gh.FamilyHead:
    only_for = {
        "--threshold": (thresholds, "binary"),
        "--vocabulary": (columns.vocabulary, "binary"),
        "--metrics": (metrics, "binary or logistic"),
        "--probabilities": (columns.scale == "probabilities", "binary or logistic"),
    }
    for option, (given, heads) in only_for.items():
        if given and head not in heads.split(" or "):
            raise UsageError(f"{option} is for --head {heads}, not {head}")
    arguments: dict[str, Any] = {"weight_column": columns.weights, "name": name}
    if head in ("binary", "logistic"):
        arguments["extra_metrics"] = "all" if metrics and "all" in metrics else metrics
    if head == "binary":
        arguments |= {"thresholds": thresholds, "label_vocabulary": columns.vocabulary}
    try:
        return options.HEADS[head](**arguments)
    except ValueError as error:
        raise UsageError(str(error).replace("extra_metrics", "--metrics")) from error


def _delimiter(given: str | None) -> str | None:
    delimiter = {"tab": "\t", "\\t": "\t"}.get(given or "", given)
    if delimiter is not None and (len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0'):
        raise UsageError(f"--delimiter is one character, as ';', or tab. Given: {given!r}")
    return delimiter


def _resumed(paths: Sequence[Path], model: gh.FamilyHead, columns: Columns) -> list[gh.Evaluation]:
    """The saved evaluations, one for each model, or none."""
    if paths and len(paths) != len(columns.scores):
        raise UsageError(
            f"--resume is given {len(paths)} times for {len(columns.scores)} models; there is a file for each model, "
            "as with --save"
        )
    saved = [sources.load(path, model) for path in paths]
    for path, evaluation in zip(paths, saved, strict=True):
        if evaluation.by != columns.by:
            names = " ".join(evaluation.by)
            has, remedy = (f"slices by {names}", f"give --by {names}") if names else ("no slices", "leave --by out")
            raise UsageError(f"{path} has {has}: {remedy}")
    return saved


def _evaluate(
    model: gh.FamilyHead, columns: Columns, inputs: Sequence[Source], saved: Sequence[gh.Evaluation]
) -> list[gh.Evaluation]:
    models = Models(model, columns)
    with reading(inputs) as read:
        for source in inputs:
            for chunk in read(source, columns.names, columns.by):
                models.add(chunk)
    identities = tuple(dict.fromkeys(source.identity for source in inputs))
    evaluations = [replace(evaluation, sources=identities) for evaluation in models.evaluations()]
    if not evaluations[0].count:
        raise DataError(f"{inputs[0]}: is empty: neither it nor what else was read has rows")
    return [old + new for old, new in zip(saved, evaluations, strict=True)] if saved else evaluations

"""``glmheads evaluate``: the metrics of a head over files."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

import glmheads as gh
from glmheads.cli import readers
from glmheads.cli.examples import Columns, bad_row
from glmheads.cli.readers import DataError, Part
from glmheads.cli.report import FORMATS, Report

__all__ = ["app", "evaluate", "run"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

# The base of typer's errors of usage; typer has no public name for it.
_UsageError: Any = typer.BadParameter.__base__


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status; an error is one line on stderr and status 2."""
    arguments = _spread("--threshold", sys.argv[1:] if arguments is None else arguments)
    try:
        status = app(args=arguments, prog_name="glmheads", standalone_mode=False)
    except _UsageError as error:
        return _fail(f"{error.format_message()} (glmheads --help says more)")
    except DataError as error:
        return _fail(str(error))
    except typer.Abort:
        return 130
    return int(status or 0)


def _spread(option: str, arguments: Sequence[str]) -> list[str]:
    """The arguments with the option repeated, where one is followed by several numbers: typer takes one value each."""
    spread: list[str] = []
    for argument in arguments:
        if len(spread) >= 2 and spread[-2] == option and _is_number(argument):
            spread.append(option)
        spread.append(argument)
    return spread


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _fail(message: str) -> int:
    typer.echo(f"glmheads: {' '.join(message.split())}", err=True)
    return 2


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"glmheads {gh.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Model heads: loss, predictions and metrics from logits."""


# ---------------------------------------------------------------------------------------------------------------------
# The command


class HeadName(StrEnum):
    """Heads by the names that the command line has for them."""

    BINARY = "binary"
    LOGISTIC = "logistic"
    REGRESSION = "regression"
    POISSON = "poisson"


class FormatName(StrEnum):
    """Formats of the report."""

    TABLE = "table"
    JSON = "json"


@app.command()
def evaluate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", show_default=False, help="CSV or Parquet files.")],
    head: Annotated[HeadName, typer.Option(show_default=False, help="What the logits are of.")],
    logits: Annotated[
        str, typer.Option(metavar="COLUMN", show_default=False, help="The model's output, before any link.")
    ],
    labels: Annotated[str, typer.Option(metavar="COLUMN", show_default=False, help="The truth.")],
    weights: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Weights of the examples; without it each is 1.")
    ] = None,
    threshold: Annotated[
        list[float] | None,
        typer.Option(metavar="P", help="A probability to report accuracy, precision and recall at; one or more."),
    ] = None,
    vocabulary: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="NEG POS", help="The two words that the labels are, the negative class first."),
    ] = None,
    format_: Annotated[
        FormatName, typer.Option("--format", help="JSON has all digits, and null for NaN and infinity.")
    ] = FormatName.TABLE,
) -> None:
    """Evaluate the logits in files: every metric of a head, over all rows of all files.

    Files may be larger than memory. Areas under curves come with bounds that hold their exact value.

    \b
    For example:
      glmheads evaluate clicks.parquet --head binary --logits x --labels clicked
      glmheads evaluate day*.csv --head binary --logits x --labels outcome \\
        --vocabulary stay leave --threshold 0.5 0.9
      glmheads evaluate visits.csv --head poisson --logits x --labels visits \\
        --weights exposure --format json
    """  # noqa: D301 \b is typer's mark of lines to keep
    model = _make_head(head, weights, threshold, vocabulary)
    columns = Columns(logits, labels, weights, vocabulary)
    metrics = model.metrics()
    examples = 0
    with _progress(files) as read:
        for path in files:
            for part in read(path, columns.names):
                _add(model, metrics, columns, part)
                examples += part.rows.num_rows
    statistics = next(iter(metrics.values())).statistics
    report = Report(
        head=head,
        files=tuple(map(str, files)),
        examples=examples,
        metrics={key: float(value) for key, value in model.results(statistics).items()},
        bounds={key: (float(low), float(high)) for key, (low, high) in model.bounds(statistics).items()},
    )
    typer.echo(FORMATS[format_](report))


def _make_head(
    head: HeadName, weights: str | None, thresholds: list[float] | None, vocabulary: tuple[str, str] | None
) -> gh.Head:
    if head is HeadName.BINARY:
        try:
            return gh.BinaryClassHead(weights, thresholds=thresholds, label_vocabulary=vocabulary)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    if thresholds or vocabulary:
        raise typer.BadParameter(f"--{'threshold' if thresholds else 'vocabulary'} is for --head binary, not {head}")
    if head is HeadName.LOGISTIC:
        return gh.LogisticRegressionHead(weights)
    if head is HeadName.POISSON:
        return gh.PoissonRegressionHead(weight_column=weights)
    return gh.RegressionHead(weight_column=weights)


def _add(head: gh.Head, metrics: dict[str, gh.Metric], columns: Columns, part: Part) -> None:
    """Let the metrics see the rows, or say which row they can't."""
    try:
        found = columns.examples(part.rows)
        head.update_metrics(metrics, found.features, found.logits, found.labels)
    except ValueError as error:
        raise bad_row(head, columns, part) from error
    if next(iter(metrics.values())).statistics.invalid["logits"] > 0:
        raise bad_row(head, columns, part)


# ---------------------------------------------------------------------------------------------------------------------
# Progress

_Read = Callable[[Path, Sequence[str]], Iterator[Part]]


@contextmanager
def _progress(files: Sequence[Path]) -> Iterator[_Read]:
    """`readers.read`, which shows on a terminal how much of all files it has read."""
    sizes = {path: readers.check(path) for path in files}
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with progress if sys.stderr.isatty() else nullcontext():
        task = progress.add_task("", total=sum(sizes[path] for path in files), rows=0)
        before = rows = 0

        def read(path: Path, columns: Sequence[str]) -> Iterator[Part]:
            nonlocal before, rows
            for part in readers.read(path, columns):
                yield part
                rows += part.rows.num_rows
                progress.update(task, description=path.name, completed=before + part.position, rows=rows)
            before += sizes[path]

        yield read

"""The heads by name, and the options that the commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import glmheads as gh

HeadName = Literal["binary", "logistic", "regression", "poisson"]
FormatName = Literal["table", "markdown", "json", "csv"]

HEADS: dict[str, type[gh.FamilyHead]] = {
    "binary": gh.BinaryClassHead,
    "logistic": gh.LogisticRegressionHead,
    "regression": gh.RegressionHead,
    "poisson": gh.PoissonRegressionHead,
}


def head_name(head: gh.Head) -> str:
    """The name of a head on the command line, or that of its class."""
    return next((name for name, type_ in HEADS.items() if type_ is type(head)), type(head).__name__)


def _panel(title: str, **defaults: Any) -> Callable[..., Any]:
    """A function that declares an option of a panel of the help, with its text, flags, and what else typer takes."""

    def option(text: str, *flags: str, **more: Any) -> Any:
        return typer.Option(*flags, help=text, rich_help_panel=title, **(defaults | more))

    return option


# readable=False: the errors about files are glmheads' own, so typer must not look whether it could read them
data = _panel("Data", metavar="COLUMN", show_default=False)
model = _panel("Model", show_default=False)
results = _panel("Report")
pieces = _panel("Data in pieces", metavar="FILE", readable=False)


def file_argument(text: str) -> Any:
    """The argument FILE... of a command."""
    return typer.Argument(metavar="FILE...", show_default=False, readable=False, help=text)


FormatOption = Annotated[
    FormatName, results("JSON and CSV have all digits; JSON has null for NaN and infinity.", "--format")
]
OutputOption = Annotated[
    Path | None,
    results("Write the report there instead of printing it.", "--output", metavar="FILE", readable=False),
]
ReportOption = Annotated[
    list[Path] | None,
    results(
        "Write a page with the metrics, curves, calibration and slices; with --compare twice, as --save.",
        "--report",
        metavar="FILE.html",
        readable=False,
    ),
]
MinCountOption = Annotated[
    int | None,
    results(
        "Examples that a slice needs to be reported by itself; smaller ones are reported together, as other.",
        min=1,
        metavar="N",
    ),
]
SaveOption = Annotated[
    list[Path] | None,
    pieces("Save the statistics, to resume or merge; with --compare twice, a file for each model.", "--save"),
]
AgainOption = Annotated[bool, pieces("Count a file again that is already counted.", "--again", metavar=None)]

"""The commands together: their arguments, their errors, their exit status."""

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

import glmheads as gh
from glmheads.cli.errors import DataError, UsageError, printable
from glmheads.cli.evaluate import METRICS, evaluate
from glmheads.cli.merge import merge

__all__ = ["app", "run"]

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(evaluate)
app.command()(merge)

# The base of typer's errors of usage; typer has no public name for it.
_TyperUsageError: Any = typer.BadParameter.__base__


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status; an error is one line on stderr and status 2."""
    try:
        status = app(
            args=_spread(sys.argv[1:] if arguments is None else arguments), prog_name="glmheads", standalone_mode=False
        )
    except _TyperUsageError as error:
        return _fail(f"{error.format_message()} (glmheads --help says more)")
    except UsageError as error:
        return _fail(f"{error} (glmheads --help says more)")
    except DataError as error:
        return _fail(str(error))
    except MemoryError:
        return _fail("out of memory")
    except typer.Abort:
        return 130
    return int(status or 0)


def _fail(message: str) -> int:
    typer.echo(f"glmheads: {printable(' '.join(message.split()))}", err=True)
    return 2


# ---------------------------------------------------------------------------------------------------------------------
# Options of several values: typer takes one each


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_SPREADS: dict[str, Callable[[str], bool]] = {
    "--by": lambda _: True,
    "--metrics": lambda word: word in METRICS,
    "--threshold": _is_number,
}
"""The options that several values may follow, and which words are values of theirs."""


def _spread(arguments: Sequence[str]) -> list[str]:
    """The arguments with the option repeated, where one is followed by several values."""
    spread: list[str] = []
    option, values = "", 0
    for index, argument in enumerate(arguments):
        if argument == "--":
            return [*spread, *arguments[index:]]
        if argument.startswith("-") and argument != "-":
            option, equals, _ = argument.partition("=")
            values = len(equals)
        elif option in _SPREADS:
            if values and not (argument != "-" and _SPREADS[option](argument)):
                option = ""
            elif values:
                spread.append(option)
            values += 1
        spread.append(argument)
    return spread


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

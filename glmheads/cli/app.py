"""The commands together: their arguments, their errors, their exit status."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

import glmheads as gh
from glmheads.cli.errors import DataError, printable
from glmheads.cli.evaluate import SEVERAL, evaluate
from glmheads.cli.merge import merge


class _Command(TyperCommand):
    """A command whose options in `SEVERAL` may be followed by several values: ``--by country device``.

    typer takes one value for each time that the option is given, so the option is put before each further value.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        repeated: list[str] = []
        option, has_value = "", False
        for index, word in enumerate(args):
            if word == "--":
                repeated += args[index:]
                break
            if word.startswith("-") and word != "-":
                option, equals, _ = word.partition("=")
                has_value = bool(equals)
            elif not has_value:
                has_value = True
            elif word != "-" and _is_value(option, word):
                repeated.append(option)
            else:
                option = ""
            repeated.append(word)
        return super().parse_args(ctx, repeated)


def _is_value(option: str, word: str) -> bool:
    """Whether the word can be a further value of the option."""
    try:
        SEVERAL[option](word)
    except (KeyError, ValueError):
        return False
    return True


app = typer.Typer(pretty_exceptions_enable=False)
app.command(cls=_Command)(evaluate)
app.command()(merge)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status; an error is one line on stderr and status 2."""
    try:
        return int(app(args=arguments, prog_name="glmheads", standalone_mode=False) or 0)
    except typer.TyperException as error:
        return _fail(f"{error.format_message()} (glmheads --help says more)")
    except DataError as error:
        return _fail(str(error))
    except MemoryError:
        return _fail("out of memory")
    except typer.Abort:
        return 130


def _fail(message: str) -> int:
    typer.echo(f"glmheads: {printable(' '.join(message.split()))}", err=True)
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

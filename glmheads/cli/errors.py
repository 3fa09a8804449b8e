"""Errors of the command line, each of which is one line for people to read."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import typer


class DataError(ValueError):
    """What is wrong with a file, in one line that names it."""


class UsageError(typer.TyperException):
    """What is wrong with the arguments."""


_DAMAGED = "is damaged, or is not what its name says"


@contextmanager
def named(label: object) -> Iterator[None]:
    """Turn what can go wrong in reading or writing a file into one line that names it."""
    try:
        yield
    except DataError:
        raise
    except pa.ArrowCancelled as error:
        raise KeyboardInterrupt from error
    except UnicodeError as error:
        raise DataError(f"{label}: is not UTF-8 text") from error
    except (OSError, pa.ArrowException) as error:
        number = getattr(error, "errno", None)
        raise DataError(f"{label}: {os.strerror(number) if number else f'{_DAMAGED}: {error}'}") from error


def printable(text: str, most: int | None = None) -> str:
    """Text that a terminal shows as it is: what moves the cursor, or is no character, is escaped.

    Of a text of more than `most` characters the start is kept.
    """
    shown = re.sub(r"\s", " ", text)
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)
    return shown if most is None or len(shown) <= most else f"{shown[: most - 1]}…"

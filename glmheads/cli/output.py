"""What a command writes: on the standard output, or to files, which are whole or not there."""

import os
import secrets
import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from glmheads.cli.errors import DataError, UsageError, named

__all__ = ["check", "say", "write"]


def check(option: str, path: Path, inputs: Iterable[Path]) -> None:
    """Refuse a file that can't be written, before anything is read.

    Raises
    ------
    UsageError
        If it is one of the inputs.
    DataError
        If it can't be written.
    """
    with named(path):
        for other in inputs:
            if path.exists() and other.exists() and path.samefile(other):
                raise UsageError(f"{option} {path} is one of the files that are read; name another one")
        folder = path.resolve().parent
        if path.is_dir():
            raise DataError(f"{path}: is a directory; {option} is a file")
        if not folder.is_dir():
            raise DataError(f"{path}: there is no directory {folder}; make it first")
        if path.exists():
            if not os.access(path, os.W_OK):
                raise DataError(f"{path}: Permission denied")
            if not path.is_file():
                return
        if not os.access(folder, os.W_OK | os.X_OK):
            raise DataError(f"{path}: can't be written in {folder}: Permission denied")


def write(path: Path, content: bytes) -> None:
    """Write a file beside its place and then move it there; a pipe or a device is written as it is.

    Raises
    ------
    DataError
        If it can't be written.
    """
    with named(path):
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        place = path.resolve()
        beside = place.with_name(f".{place.name[:200]}.{secrets.token_hex(8)}")
        try:
            with beside.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if place.exists():
                shutil.copymode(place, beside)
            beside.replace(place)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise


def say(text: str) -> None:
    """Print text; what the standard output has no character for is escaped."""
    if sys.stdout is None:
        raise DataError("standard output: is closed")
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()

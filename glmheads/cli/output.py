"""What a command writes: to the standard output, or to files, which are whole or not there."""

import io
import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from glmheads.cli.errors import DataError, UsageError, named
from glmheads.cli.report import FORMATS, Report


@dataclass(frozen=True)
class Outputs:
    """Where a command writes its results, and in which format.

    Attributes
    ----------
    format : {"table", "markdown", "json", "csv"}
    report : Path, optional
        The file of the report, which is printed if there is none.
    saved, pages : list of Path, optional
        The files of the statistics, and of the pages of HTML, one for each model.
    """

    format: str
    report: Path | None
    saved: list[Path] | None
    pages: list[Path] | None

    def check(self, models: int, inputs: Sequence[Path], resumed: Sequence[Path] = ()) -> None:
        """Refuse files that can't be written, before anything is read; a resumed file may be saved in its place.

        Raises
        ------
        UsageError, DataError
        """
        for option, paths in (("--save", self.saved), ("--report", self.pages)):
            if paths and len(paths) != models:
                raise UsageError(
                    f"{option} is given {len(paths)} times for {models} model{'s' * (models > 1)}; there is a file for "
                    "each, first that of --logits or --probabilities, then that of --compare"
                )
        if self.pages and not (find_spec("matplotlib") and find_spec("jinja2")):
            raise UsageError("--report needs matplotlib and jinja2: pip install 'glmheads[report]'")
        others = [("--report", path) for path in self.pages or []]
        if self.report is not None:
            others.append(("--output", self.report))
        for path in self.saved or []:
            _check("--save", path, inputs)
        for option, path in others:
            _check(option, path, [*inputs, *resumed])
        paths = [path.resolve() for path in (*(self.saved or []), *(path for _, path in others))]
        if len(set(paths)) < len(paths):
            raise UsageError(f"{paths[-1]} is to be written twice; give files of different names")

    def write(self, report: Report) -> None:
        """Save the statistics, write the pages, and print the report or write it to its file.

        Raises
        ------
        DataError
            If a file can't be written.
        """
        text = FORMATS[self.format](report, width=None if self.report is None else 160)
        for evaluation, path in zip(report.evaluations, self.saved or [], strict=False):
            file = io.BytesIO()
            evaluation.save(file)
            _write(path, file.getvalue())
        for evaluation, path in zip(report.evaluations, self.pages or [], strict=False):
            from glmheads.report import render  # matplotlib takes a while to import

            _write(path, render(evaluation).encode())
        if self.report is None:
            _print_text(text)
        else:
            _write(self.report, f"{text}\n".encode())


def _check(option: str, path: Path, inputs: Iterable[Path]) -> None:
    """Refuse a file that can't be written, or is one of the inputs."""
    with named(path):
        exists, folder = path.exists(), path.resolve().parent
        if exists and any(other.exists() and path.samefile(other) for other in inputs):
            raise UsageError(f"{option} {path} is one of the files that are read; name another one")
        if path.is_dir():
            raise DataError(f"{path}: is a directory; {option} is a file")
        if not folder.is_dir():
            raise DataError(f"{path}: there is no directory {folder}; make it first")
        if exists and not os.access(path, os.W_OK):
            raise DataError(f"{path}: Permission denied")
        if (path.is_file() or not exists) and not os.access(folder, os.W_OK | os.X_OK):
            raise DataError(f"{path}: can't be written in {folder}: Permission denied")


def _write(path: Path, content: bytes) -> None:
    """Write a file under another name beside its place and then rename it; a pipe or a device is written as it is."""
    with named(path):
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        target = path.resolve()
        temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(8)}")
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, temporary)
            temporary.replace(target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def _print_text(text: str) -> None:
    """Print text; characters that the standard output does not have are escaped."""
    if sys.stdout is None:
        raise DataError("standard output: is closed")
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()

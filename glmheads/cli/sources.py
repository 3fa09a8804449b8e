"""The files that a command reads, from arguments that name files, directories, patterns and pipes; what is saved."""

import glob
import io
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import glmheads as gh
from glmheads.cli.errors import DataError, UsageError, named

PIPE = "-"
"""The argument that is the standard input, and the identity of all pipes."""


class DataFormat(StrEnum):
    """Formats of data."""

    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"
    JSONL = "jsonl"


_ENDINGS = {
    ".csv": DataFormat.CSV,
    ".tsv": DataFormat.CSV,
    ".parquet": DataFormat.PARQUET,
    ".arrow": DataFormat.ARROW,
    ".feather": DataFormat.ARROW,
    ".jsonl": DataFormat.JSONL,
    ".ndjson": DataFormat.JSONL,
}
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_TEXT = (DataFormat.CSV, DataFormat.JSONL)
_KNOWN = f"{', '.join(_ENDINGS)}, {' or '.join(f'.csv{ending}' for ending in _COMPRESSIONS)}"


@dataclass(frozen=True)
class Source:
    """A file or a pipe, and how it is read.

    Attributes
    ----------
    path : Path
        ``-`` is the standard input.
    format : DataFormat
    compression : str or None
        As pyarrow calls it.
    size : int or None
        Of the file, in bytes; None for a pipe.
    delimiter : str
        Of a CSV file.
    may_be_empty : bool
        Whether a file without rows is allowed, as one of many in a directory is.
    """

    path: Path
    format: DataFormat
    compression: str | None = None
    size: int | None = None
    delimiter: str = ","
    may_be_empty: bool = False

    @property
    def identity(self) -> str:
        """The full path, which identifies the file on this machine; a pipe has no identity of its own."""
        return PIPE if self.size is None else os.path.realpath(self.path)

    def __str__(self) -> str:
        return "standard input" if self.path == Path(PIPE) else str(self.path)


def find(arguments: Sequence[Path], format_: DataFormat | None, delimiter: str | None) -> list[Source]:
    """The files that the arguments name: for a directory all files of a known format in it and below, for a pattern
    that is not a file's name all files that match.

    Parameters
    ----------
    arguments : sequence of Path
    format_ : DataFormat, optional
        Of files whose names do not tell it.
    delimiter : str, optional
        Of CSV files; a comma, or a tab in .tsv files, if not given.

    Raises
    ------
    DataError
        If something is missing, neither file nor directory, empty, or of an unknown format.
    """
    sources: list[Source] = []
    for path in (path for argument in arguments for path in matching(argument)):
        sources += _below(path, format_) if path.is_dir() else [_source(path, format_)]
    return sources if delimiter is None else [replace(source, delimiter=delimiter) for source in sources]


def matching(argument: Path) -> list[Path]:
    """The paths that an argument stands for, in order."""
    if not glob.has_magic(str(argument)) or os.path.lexists(argument):
        return [argument]
    with named(argument):
        paths = sorted(map(Path, glob.glob(str(argument), recursive=True)))
    if not paths:
        raise DataError(f"{argument}: no file matches")
    return paths


def _below(directory: Path, format_: DataFormat | None) -> list[Source]:
    with named(directory):
        paths = sorted(path for path in _walk(directory) if _kind(path) is not None)
    if not paths:
        raise DataError(f"{directory}: has no files to read; their names must end in {_KNOWN}")
    return [replace(_source(path, format_), may_be_empty=True) for path in paths]


def _walk(directory: Path) -> Iterator[Path]:
    """The regular files below a directory but hidden ones, which by Spark's convention may start with an underscore."""

    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename}: {os.strerror(error.errno or 0)}")

    seen = set()
    for folder, folders, files in os.walk(directory, onerror=fail, followlinks=True):
        seen.add(os.path.realpath(folder))
        # a link may lead back to where it is
        folders[:] = [name for name in _visible(folders) if os.path.realpath(f"{folder}/{name}") not in seen]
        paths = (Path(folder, name) for name in _visible(files))
        # a link that leads nowhere is an error later on; the file must not be left out silently
        yield from (path for path in paths if path.is_file() or not path.exists())


def _visible(names: Sequence[str]) -> list[str]:
    return [name for name in names if not name.startswith((".", "_"))]


def _kind(path: Path) -> tuple[DataFormat, str | None, str] | None:
    """Format, compression and delimiter by the ending of the name."""
    compression = _COMPRESSIONS.get(path.suffix.lower())
    ending = (path.with_suffix("") if compression else path).suffix.lower()
    format_ = _ENDINGS.get(ending)
    if format_ is None or (compression and format_ not in _TEXT):
        return None
    return format_, compression, "\t" if ending == ".tsv" else ","


def _source(path: Path, format_: DataFormat | None) -> Source:
    size = None
    if path != Path(PIPE):
        with named(path):
            status = path.stat()
        if stat.S_ISREG(status.st_mode):
            size = status.st_size
        elif not (stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode)):
            raise DataError(f"{path}: is not a file")
        if size == 0:
            raise DataError(f"{path}: is empty")
    kind = _kind(path)
    if kind is None and format_ is not None:
        kind = format_, _COMPRESSIONS.get(path.suffix.lower()) if format_ in _TEXT else None, ","
    if kind is None:
        if path == Path(PIPE):
            raise DataError(f"standard input: is of an unknown format; say --input-format {' or '.join(DataFormat)}")
        raise DataError(f"{path}: is of an unknown format; the name must end in {_KNOWN}, or give --input-format")
    return Source(path, kind[0], kind[1], size, kind[2])


def refuse_twice(identities: Sequence[tuple[str, str]]) -> None:
    """Refuse sources of which one occurs twice.

    Parameters
    ----------
    identities : sequence of (identity, where it is from)

    Raises
    ------
    UsageError
    """
    seen: dict[str, str] = {}
    for identity, where in identities:
        if identity in seen and identity != PIPE:
            places = f"in {where} twice" if seen[identity] == where else f"in {seen[identity]} and in {where}"
            raise UsageError(f"{identity} would be counted twice, it is {places}; if that is meant, give --again")
        seen[identity] = where


# ---------------------------------------------------------------------------------------------------------------------
# Saved evaluations


def load(path: Path, head: gh.FamilyHead | None = None) -> gh.Evaluation:
    """A saved evaluation.

    Raises
    ------
    DataError
        If it can't be read, or is of another head.
    """
    with named(path):
        content = path.read_bytes()
    if not content.startswith(b"PK"):
        raise DataError(f"{path}: is not a file that --save wrote")
    file = io.BytesIO(content)
    file.name = str(path)  # for the message of an error
    try:
        return gh.Evaluation.load(file, head)
    except (ValueError, RecursionError) as error:
        raise DataError(str(error)) from error


def with_min_count(evaluations: Sequence[gh.Evaluation], min_count: int | None) -> tuple[gh.Evaluation, ...]:
    """The evaluations with another `min_count`, if one is given.

    Raises
    ------
    UsageError
        If there are no slices.
    """
    if min_count is None:
        return tuple(evaluations)
    if not evaluations[0].by:
        raise UsageError("--min-count is for slices, and there are none: give --by")
    return tuple(replace(evaluation, min_count=min_count) for evaluation in evaluations)

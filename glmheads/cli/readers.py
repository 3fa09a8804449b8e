"""Files as streams of record batches, in memory that does not grow with the file.

A format is a `Format` in `FORMATS`: how to read the names of a file's columns, and how to read some of the columns.
"""

import csv
import os
import reprlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

__all__ = ["FORMATS", "ROWS", "DataError", "Format", "Part", "check", "read"]

ROWS = 65_536
"""Most rows of a batch."""
_BLOCK = 1 << 20  # bytes of a CSV file read at once; pyarrow holds some 32 blocks, and no row may be longer
_BUFFER = 1 << 20  # bytes of a Parquet column read at once


class DataError(ValueError):
    """What is wrong with a file, in one line that names it."""


@dataclass(frozen=True)
class Part:
    """Consecutive rows of a file.

    Attributes
    ----------
    path : Path
    first_row : int
        Number of the first row in the file; the file's first is 1, a header not counted.
    rows : pyarrow.RecordBatch
        Not more than `ROWS`.
    position : int
        About how many bytes of the file have been read.
    """

    path: Path
    first_row: int
    rows: pa.RecordBatch
    position: int


@dataclass(frozen=True)
class Format:
    """How files of a format are read.

    Attributes
    ----------
    names : callable of (path)
        The names of the columns.
    batches : callable of (path, columns)
        Record batches of these columns, each with the bytes read so far.
    """

    names: Callable[[Path], list[str]]
    batches: Callable[[Path, Sequence[str]], Iterator[tuple[pa.RecordBatch, int]]]


def check(path: Path) -> int:
    """The size of a file, if it is one that can be read.

    Raises
    ------
    DataError
        If it is missing, no file, empty, or of an unknown format.
    """
    with _errors_name(path):
        size = path.stat().st_size
    if not path.is_file():
        raise DataError(f"{path}: is not a file")
    if not size:
        raise DataError(f"{path}: is empty")
    _format(path)
    return size


def read(path: Path, columns: Sequence[str]) -> Iterator[Part]:
    """The rows of a file.

    Parameters
    ----------
    path : Path
    columns : sequence of str
        The columns to read.

    Raises
    ------
    DataError
        If the file can't be read, lacks a column or has no rows.
    """
    format_ = _format(path)
    row = 1
    with _errors_name(path):
        _check_columns(path, format_.names(path), columns)
        for batch, position in _in_step(format_.batches(path, columns)):
            yield Part(path, row, batch, position)
            row += batch.num_rows
    if row == 1:
        raise DataError(f"{path}: is empty: it has no rows")


def _in_step(batches: Iterator[tuple[pa.RecordBatch, int]]) -> Iterator[tuple[pa.RecordBatch, int]]:
    """The same rows in batches of `ROWS`, the last one shorter: a head takes few large batches fastest."""
    waiting: list[pa.RecordBatch] = []
    position = 0
    for batch, position in batches:
        waiting.append(batch)
        if sum(b.num_rows for b in waiting) >= ROWS:
            rows = pa.concat_batches(waiting)
            whole = rows.num_rows - rows.num_rows % ROWS
            for start in range(0, whole, ROWS):
                yield rows.slice(start, ROWS), position
            waiting = [rows.slice(whole)]
    if any(b.num_rows for b in waiting):
        yield pa.concat_batches(waiting), position


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """Make one line of what can go wrong in reading."""
    try:
        yield
    except UnicodeError as error:
        raise DataError(f"{path}: is not UTF-8 text") from error
    except OSError as error:
        raise DataError(f"{path}: {os.strerror(error.errno) if error.errno else error}") from error
    except (pa.ArrowException, csv.Error) as error:
        raise DataError(f"{path}: {error}") from error


def _format(path: Path) -> Format:
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        raise DataError(f"{path}: is of an unknown format; the name must end in {' or '.join(FORMATS)}") from None


def _check_columns(path: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    if not names:
        raise DataError(f"{path}: is empty")
    for column in columns:
        if column not in names:
            raise DataError(f"{path}: has no column {column!r}; it has {', '.join(map(repr, names))}")
        if names.count(column) > 1:
            raise DataError(f"{path}: has {names.count(column)} columns {column!r}; names must differ")


# ---------------------------------------------------------------------------------------------------------------------
# Formats


def _csv_names(path: Path) -> list[str]:
    # the file is decoded in larger pieces than the header, whose bytes alone matter here
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        names = next((names for names in csv.reader(file) if names), [])
    return [name.encode().decode() for name in names]


def _csv_batches(path: Path, columns: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, int]]:
    """All columns come as bytes: types inferred from the first block need not fit the next."""
    refused: list[pa.csv.InvalidRow] = []

    def refuse(row: pa.csv.InvalidRow) -> str:
        refused.append(row)
        return "error"

    file = pa.OSFile(str(path))
    row = 0
    try:
        batches = pa.csv.open_csv(
            file,
            # one thread, which knows the row; reading is not slower, since blocks come in order anyway
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
            convert_options=pa.csv.ConvertOptions(
                include_columns=columns, column_types={column: pa.binary() for column in columns}
            ),
        )
        for batch in batches:
            row += batch.num_rows
            yield batch, file.tell()
    except pa.ArrowInvalid as error:
        if refused:
            raise DataError(_wrong_length(path, refused[0])) from error
        if "straddl" in str(error):
            raise DataError(
                f"{path}: a row after row {row} has more than {_BLOCK:,} bytes; is a quote open?"
            ) from error
        raise


def _wrong_length(path: Path, row: pa.csv.InvalidRow) -> str:
    where = f"{path}, row {row.number - 1}"  # pyarrow counts the header
    return f"{where}: has {row.actual_columns} columns, not {row.expected_columns}: {reprlib.repr(row.text)}"


def _parquet_names(path: Path) -> list[str]:
    return list(pa.parquet.read_schema(path).names)


def _parquet_batches(path: Path, columns: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, int]]:
    size = path.stat().st_size
    done = 0
    # without a buffer, or with pre_buffer, a whole row group is in memory
    with pa.parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False, page_checksum_verification=True) as file:
        for batch in file.iter_batches(ROWS, columns=list(columns)):
            done += batch.num_rows
            yield batch, size * done // file.metadata.num_rows


FORMATS = {
    ".csv": Format(_csv_names, _csv_batches),
    ".parquet": Format(_parquet_names, _parquet_batches),
}
"""Formats by the ending of a file's name."""

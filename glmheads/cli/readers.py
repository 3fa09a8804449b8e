"""Sources as streams of record batches, in memory that does not grow with the file.

A format is a function in `_FORMATS`: it takes a source and the columns to read, and yields record batches of these
columns, each with about how many bytes of the file have been read.
"""

import csv
import io
import json
import re
import reprlib
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from glmheads.cli.errors import DataError, named, printable
from glmheads.cli.sources import PIPE, DataFormat, Source

ROWS = 65_536
"""Most rows of a batch."""
_BLOCK = 1 << 20  # bytes of a text file read at once; pyarrow holds some 32 blocks of CSV, and no row may be longer
_BUFFER = 1 << 20  # bytes of a Parquet column read at once

_Batches = Iterator[tuple[pa.RecordBatch, int]]


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a source.

    Attributes
    ----------
    source : Source
    first_row : int
        Number of the first row in the file; the file's first is 1, a header and blank lines not counted.
    rows : pyarrow.RecordBatch
        Not more than `ROWS`.
    position : int
        About how many bytes of the file have been read.
    """

    source: Source
    first_row: int
    rows: pa.RecordBatch
    position: int


def read(source: Source, columns: Sequence[str], sparse: Collection[str] = ()) -> Iterator[Chunk]:
    """The rows of a source.

    Parameters
    ----------
    source : Source
    columns : sequence of str
        The columns to read.
    sparse : collection of str
        Those of them that may be missing from many rows, in a format that can leave them out.

    Raises
    ------
    DataError
        If it can't be read, is changed meanwhile, lacks a column or has no rows.
    """
    row = 1
    with named(source):
        for batch, position in _rebatched(_FORMATS[source.format](source, columns, sparse)):
            yield Chunk(source, row, batch, position)
            row += batch.num_rows
        if source.size is not None and source.path.stat().st_size != source.size:
            raise DataError(f"{source}: has changed while it was read: evaluate a copy")
    if row == 1 and not source.may_be_empty:
        raise DataError(f"{source}: is empty: it has no rows")


class _Rate(ProgressColumn):
    """Rows a second since the start."""

    def render(self, task: Task) -> Text:
        rows, seconds = task.fields["rows"], task.finished_time or task.elapsed
        return Text(f"{rows / seconds:,.0f} rows/s" if rows and seconds else "")


@contextmanager
def reading(sources: Sequence[Source]) -> Iterator[Callable[[Source, Sequence[str], Collection[str]], Iterator[Chunk]]]:
    """`read`, which shows on a terminal how much of all sources it has read, how fast, and the time left."""
    sizes = [source.size for source in sources]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    text, rate, left = TextColumn("{task.description}", markup=False), _Rate(), TimeRemainingColumn()
    columns = (text, BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rows]:,} rows"), rate, left)
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    with progress if sys.stderr.isatty() else nullcontext():
        task = progress.add_task("", total=total, rows=0)
        before = rows = 0

        def shown(source: Source, columns: Sequence[str], sparse: Collection[str]) -> Iterator[Chunk]:
            nonlocal before, rows
            name = printable(source.path.name, 40)
            for chunk in read(source, columns, sparse):
                yield chunk
                rows += chunk.rows.num_rows
                progress.update(task, description=name, completed=before + chunk.position, rows=rows)
            before += source.size or 0

        yield shown


def _rebatched(batches: _Batches) -> _Batches:
    """The same rows in batches of `ROWS`, the last one shorter: a head takes few large batches fastest."""
    pending: list[pa.RecordBatch] = []
    count = position = 0
    for batch, position in batches:
        if pending and batch.schema != pending[0].schema:
            # JSON lines: a column of numbers may hold text from here on
            yield pa.concat_batches(pending), position
            pending, count = [], 0
        pending.append(batch)
        count += batch.num_rows
        if count >= ROWS:
            rows = pa.concat_batches(pending)
            whole = count - count % ROWS
            for start in range(0, whole, ROWS):
                yield rows.slice(start, ROWS), position
            pending, count = [rows.slice(whole)], count - whole
    if count:
        yield pa.concat_batches(pending), position


def _check_columns(source: Source, names: Sequence[str], columns: Sequence[str]) -> None:
    for column in columns:
        if column not in names:
            hint = _delimiter_hint(source, names)
            raise DataError(f"{source}: has no column {column!r}; it has {_shown(names)}{hint}")
        if names.count(column) > 1:
            raise DataError(f"{source}: has {names.count(column)} columns {column!r}; names must differ")


def _shown(names: Sequence[str], most: int = 30) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(reprlib.repr, names[:most])) + more


def _delimiter_hint(source: Source, names: Sequence[str]) -> str:
    if source.format is not DataFormat.CSV or len(names) > 1:
        return ""
    other = next((mark for mark in ";\t|, " if mark != source.delimiter and mark in names[0]), None)
    option = "tab" if other == "\t" else other
    return "" if other is None else f". Is it separated by {other!r}? Then say --delimiter {option!r}"


# ---------------------------------------------------------------------------------------------------------------------
# Bytes


_MAGIC = {
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"\x1f\x8b": "compressed by gzip",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"PK\x03\x04": "a zip file, as those of spreadsheets are",
}
"""How files start that are no text."""


def _open(source: Source) -> pa.NativeFile:
    if str(source.path) == PIPE:
        if sys.stdin is None:
            raise DataError(f"{source}: is closed")
        return pa.PythonFile(sys.stdin.buffer, "r")
    if source.size is None:
        return pa.PythonFile(source.path.open("rb"), "r")
    return pa.OSFile(str(source.path))


def _close(source: Source, file: pa.NativeFile) -> None:
    """Close the file, but not the standard input."""
    if str(source.path) != PIPE:
        file.close()


class _Text:
    """The bytes of a text file, whose first block, `head`, is known before they are read."""

    closed = False  # as pyarrow asks of a file

    def __init__(self, source: Source) -> None:
        self._source = source
        self._file = self._stream = _open(source)
        if source.compression is not None:
            self._stream = pa.CompressedInputStream(self._file, source.compression)
        self._position = 0
        self._is_at_end = False
        self.head = b""
        while len(self.head) < _BLOCK and (more := self._stream.read(_BLOCK - len(self.head))):
            self.head += more
        self._unread = self.head
        if not self.head:
            raise DataError(f"{source}: is empty")
        if self.head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(f"{source}: is not UTF-8 text but UTF-16: save it as UTF-8")
        kind = next((kind for magic, kind in _MAGIC.items() if self.head.startswith(magic)), None)
        if kind is not None:
            raise DataError(f"{source}: is {kind}; what it is called, or --input-format, says otherwise")

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end."""
        if self._unread:
            block, self._unread = self._unread[:size], self._unread[size:]
        else:
            block = b"" if self._is_at_end else self._stream.read(size)
        with suppress(OSError, ValueError, pa.ArrowException):
            self._position = self._file.tell()
        if not block and not self._is_at_end:
            self._is_at_end = True
            _close(self._source, self._file)
        return block

    def tell(self) -> int:
        """About how many bytes of the file have been read."""
        return self._position


# ---------------------------------------------------------------------------------------------------------------------
# Formats


# pyarrow counts the header. It has a handler for such rows too, which fails where they are not UTF-8.
_WRONG_LENGTH = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+): (.*)", re.DOTALL)


def _csv_batches(source: Source, columns: Sequence[str], sparse: Collection[str]) -> _Batches:
    """All columns come as bytes: types inferred from the first block need not fit the next."""
    file = _Text(source)
    names = _csv_names(source, file.head)
    if not names:
        raise DataError(f"{source}: is empty")
    _check_columns(source, names, columns)
    types, row = dict.fromkeys(columns, pa.binary()), 0
    try:
        batches = pa.csv.open_csv(
            pa.PythonFile(file, "r"),
            # one thread, which knows the row; reading is not slower, since blocks come in order anyway
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK),
            parse_options=pa.csv.ParseOptions(delimiter=source.delimiter, newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(include_columns=columns, column_types=types),
        )
        for batch in batches:
            row += batch.num_rows
            yield batch, file.tell()
    except pa.ArrowInvalid as error:
        length = _WRONG_LENGTH.search(str(error))
        if length:
            number, expected, count, text = length.groups()
            where = f"{source}, row {int(number) - 1}"
            raise DataError(f"{where}: has {count} columns, not {expected}: {reprlib.repr(text)}") from error
        if "straddl" in str(error):
            long = f"a row after row {row} has more than {_BLOCK:,} bytes"
            raise DataError(f"{source}: {long}; is a quote open?") from error
        raise


def _csv_names(source: Source, head: bytes) -> list[str]:
    # the head ends somewhere in a later row, whose bytes don't matter here
    lines = io.StringIO(head.decode("utf-8-sig", "surrogateescape"), newline="")
    try:
        names = next((names for names in csv.reader(lines, delimiter=source.delimiter) if names), [])
    except csv.Error as error:
        raise DataError(f"{source}: {error}, in the header") from error
    return [name.encode().decode() for name in names]


def _jsonl_batches(source: Source, columns: Sequence[str], sparse: Collection[str]) -> _Batches:
    text = _Text(source)
    missing = set(columns)
    row = 1
    for block in _whole_lines(source, text):
        batch = _objects(source, block, row, columns)
        missing -= {name for name in missing if batch.column(name).null_count < batch.num_rows}
        if row == 1:
            needed = [name for name in columns if name in missing and name not in sparse]
            _check_columns(source, list(_object(source, _first_line(block), 1)), needed)
        row += batch.num_rows
        yield batch, text.tell()
    if missing and row > 1:
        raise DataError(f"{source}: has no column {min(missing, key=columns.index)!r} in any row")


def _whole_lines(source: Source, text: _Text) -> Iterator[bytes]:
    """Blocks of whole lines that are not all blank."""
    rest, lines = b"", 0
    more = text.read(_BLOCK).removeprefix(b"\xef\xbb\xbf")
    while more:
        block = rest + more
        end = block.rfind(b"\n") + 1
        whole, rest = block[:end], block[end:]
        lines += whole.count(b"\n")
        if len(rest) > _BLOCK:
            raise DataError(f"{source}: line {lines + 1} has more than {_BLOCK:,} bytes; is it one object a line?")
        if whole.strip():
            yield whole
        more = text.read(_BLOCK)
    if rest.strip():
        yield rest


def _first_line(block: bytes) -> bytes:
    return block.lstrip().partition(b"\n")[0]


def _objects(source: Source, block: bytes, row: int, columns: Sequence[str]) -> pa.RecordBatch:
    """The columns of a block of lines: by pyarrow where the types of the first line fit all, else value by value."""
    first = _object(source, _first_line(block), row)
    schema = pa.schema([(name, _type(first.get(name))) for name in columns])
    with suppress(pa.ArrowException, UnicodeError):
        table = pa.json.read_json(
            pa.BufferReader(block),
            read_options=pa.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
        table.validate(full=True)
        # an object that spans lines, or two on one, would shift the numbers of the rows
        if table.num_rows == sum(1 for line in block.splitlines() if line.strip()):
            arrays = [pa.concat_arrays(table.column(name).chunks) for name in columns]
            return pa.RecordBatch.from_arrays(arrays, list(columns))
    objects = [_object(source, line, row + i) for i, line in enumerate(filter(bytes.strip, block.split(b"\n")))]
    arrays = [_array([value.get(name) for value in objects]) for name in columns]
    return pa.RecordBatch.from_arrays(arrays, list(columns))


def _object(source: Source, line: bytes, row: int) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeError as error:
        raise DataError(f"{source}, row {row}: is not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}, row {row}: is not JSON: {reprlib.repr(line.decode().strip())}") from error
    if not isinstance(value, dict):
        raise DataError(f"{source}, row {row}: is no object {{...}}: {reprlib.repr(line.decode().strip())}")
    return value


def _type(value: Any) -> pa.DataType:
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int):
        return pa.int64()
    return pa.float64() if isinstance(value, float) else pa.string()


def _array(values: list[Any]) -> pa.Array:
    """Values of JSON as an array; of different types, as text."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) == 1 or kinds == {int, float}:
        with suppress(pa.ArrowException, OverflowError, UnicodeError):
            return pa.array(values, pa.float64() if float in kinds else None)
    texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return pa.array([text and text.encode("utf-8", "backslashreplace").decode() for text in texts], pa.string())


def _parquet_batches(source: Source, columns: Sequence[str], sparse: Collection[str]) -> _Batches:
    if source.size is None:
        raise DataError(f"{source}: a Parquet file is read from its end and can't come through a pipe: save it first")
    done = 0
    # without a buffer, or with pre_buffer, a whole row group is in memory
    options: dict[str, Any] = {"buffer_size": _BUFFER, "pre_buffer": False, "page_checksum_verification": True}
    with pa.parquet.ParquetFile(source.path, **options) as file:
        _check_columns(source, list(file.schema_arrow.names), columns)
        for batch in file.iter_batches(ROWS, columns=list(columns)):
            done += batch.num_rows
            yield batch.select(list(columns)), source.size * done // file.metadata.num_rows


def _arrow_batches(source: Source, columns: Sequence[str], sparse: Collection[str]) -> _Batches:
    """The batches of a file or of a stream, as its first bytes tell."""
    file, size = _open(source), source.size
    is_file = size is not None and file.read(6) == b"ARROW1"
    open_reader = pa.ipc.open_file if is_file else pa.ipc.open_stream
    if size is not None:
        file.seek(0)
    reader = open_reader(file)
    names = reader.schema.names
    _check_columns(source, names, columns)
    if size is not None:  # a pipe can't be opened again: all its columns are read
        file.seek(0)
        wanted = sorted(names.index(column) for column in columns)
        reader = open_reader(file, options=pa.ipc.IpcReadOptions(included_fields=wanted))
    count = reader.num_record_batches if is_file else 0
    for index, batch in enumerate(map(reader.get_batch, range(count)) if is_file else reader, 1):
        batch = batch.select(list(columns))
        batch.validate(full=True)  # nobody has looked at its buffers yet
        yield batch, 0 if size is None else size * index // count if is_file else file.tell()
    _close(source, file)


_FORMATS: dict[DataFormat, Callable[[Source, Sequence[str], Collection[str]], _Batches]] = {
    DataFormat.CSV: _csv_batches,
    DataFormat.PARQUET: _parquet_batches,
    DataFormat.ARROW: _arrow_batches,
    DataFormat.JSONL: _jsonl_batches,
}

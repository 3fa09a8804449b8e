"""From record batches to what a head takes, and to the first row that it refuses."""

import reprlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from glmheads.cli.readers import DataError, Part
from glmheads.heads import Head

__all__ = ["Columns", "Examples", "bad_row"]

_Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Examples:
    """The arguments of ``Head.statistics``."""

    labels: _Array
    logits: _Array
    features: dict[str, _Array] | None


@dataclass(frozen=True)
class Columns:
    """Where examples are in a record batch.

    Attributes
    ----------
    logits, labels : str
    weights : str, optional
    vocabulary : tuple of two strings, optional
        The words that the labels are, if they are no numbers.
    """

    logits: str
    labels: str
    weights: str | None = None
    vocabulary: tuple[str, str] | None = None

    @property
    def names(self) -> list[str]:
        """The columns to read."""
        names = (self.logits, self.labels, self.weights)
        return list(dict.fromkeys(name for name in names if name is not None))

    def examples(self, rows: pa.RecordBatch) -> Examples:
        """The examples in the rows.

        Raises
        ------
        ValueError
            If a value is missing, or is no number or word of the vocabulary.
        """
        words = self.vocabulary
        labels = _numbers(rows, self.labels) if words is None else _words(rows, self.labels, words)
        logits = _numbers(rows, self.logits)
        features = None if self.weights is None else {self.weights: _numbers(rows, self.weights)}
        return Examples(labels, logits[:, None], features)


class _ColumnError(ValueError):
    """Why values of a column are refused."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column


def _plain(rows: pa.RecordBatch, name: str) -> pa.Array:
    """A column without missing values, neither encoded nor raw bytes."""
    column = rows.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.null_count:
        raise _ColumnError(name, "the value is missing")
    if _is_bytes(column.type):
        try:
            return pc.cast(column, pa.string())
        except pa.ArrowInvalid as error:
            raise _ColumnError(name, "not UTF-8 text") from error
    return column


def _numbers(rows: pa.RecordBatch, name: str) -> _Array:
    """Floating numbers as they are, anything else as float64."""
    column = _plain(rows, name)
    try:
        if not pa.types.is_floating(column.type):
            column = _as_float64(column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _ColumnError(name, "not a number") from error
    return _array(column)


def _as_float64(column: pa.Array) -> pa.Array:
    try:
        return pc.cast(column, pa.float64(), safe=False)
    except pa.ArrowInvalid:
        text = pc.utf8_lower(pc.utf8_trim_whitespace(column))
        for word, digit in (("true", "1"), ("false", "0")):
            text = pc.if_else(pc.equal(text, word), digit, text)
        return pc.cast(text, pa.float64())


def _words(rows: pa.RecordBatch, name: str, vocabulary: tuple[str, str]) -> _Array:
    """The labels as text; unknown words are refused here, before one of any length is copied to every row."""
    column = _plain(rows, name)
    try:
        encoded = pc.dictionary_encode(column)
    except pa.ArrowNotImplementedError as error:
        raise _ColumnError(name, "not a word") from error
    words = [str(word) for word in encoded.dictionary.to_pylist()]
    if not set(words) <= set(vocabulary):
        raise _ColumnError(name, f"not a word of the vocabulary, {' or '.join(map(repr, vocabulary))}")
    labels: _Array = np.asarray(words)[_array(encoded.indices)]
    return labels


def _array(column: pa.Array) -> _Array:
    """The numbers, not copied; by DLPack, since `to_numpy` would import pandas first, if there is one."""
    return np.from_dlpack(column)


def _is_bytes(type_: pa.DataType) -> bool:
    return bool(pa.types.is_binary(type_) or pa.types.is_large_binary(type_))


# ---------------------------------------------------------------------------------------------------------------------
# The row that is refused


def bad_row(head: Head, columns: Columns, part: Part) -> DataError:
    """What is wrong with the first row of those that the head refuses.

    The head itself judges, on ever smaller halves of the rows, so that there is one set of rules.
    """
    rows, first = part.rows, part.first_row
    while rows.num_rows > 1:
        half = rows.num_rows // 2
        if _fault(head, columns, rows.slice(0, half)) is None:
            rows, first = rows.slice(half), first + half
        else:
            rows = rows.slice(0, half)
    fault = _fault(head, columns, rows)
    assert fault is not None, "a head that refuses rows refuses one of them"
    value = _shown(rows.column(fault.column)[0])
    return DataError(f"{part.path}, row {first}, column {fault.column!r}: bad value {value}: {fault}")


def _fault(head: Head, columns: Columns, rows: pa.RecordBatch) -> _ColumnError | None:
    """Why the rows are refused, None if they are not."""
    try:
        examples = columns.examples(rows)
    except _ColumnError as fault:
        return fault
    try:
        statistics = head.statistics(examples.labels, examples.logits, examples.features)
    except ValueError as error:
        return _blame(head, columns, examples, error)
    # a NaN logit is no error of a head, which may be training; in a file of examples it is one
    return _ColumnError(columns.logits, "a logit must not be NaN") if statistics.invalid["logits"] > 0 else None


def _blame(head: Head, columns: Columns, examples: Examples, error: ValueError) -> _ColumnError:
    """Weights are to blame if the head takes the examples with others."""
    column = columns.labels
    if columns.weights is not None:
        ones = {columns.weights: np.ones(len(examples.logits))}
        try:
            head.statistics(examples.labels, examples.logits, ones)
        except ValueError as labels_error:
            error = labels_error
        else:
            column = columns.weights
    rule, _, _ = str(error).partition(";")  # what follows counts and shows values, here of one row
    return _ColumnError(column, rule)


def _shown(value: pa.Scalar) -> str:
    if not value.is_valid:
        return "null"
    if _is_bytes(value.type):
        return reprlib.repr(value.as_py().decode(errors="backslashreplace"))
    # str and not as_py, which for some types needs other libraries
    return str(value) if pa.types.is_primitive(value.type) else reprlib.repr(str(value))

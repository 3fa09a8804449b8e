"""From record batches to the arrays that an evaluator takes, and to the first row that it refuses."""

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from glmheads.cli.errors import DataError, UsageError
from glmheads.cli.readers import Chunk
from glmheads.cli.sources import DataFormat
from glmheads.evaluation import Evaluation, Evaluator
from glmheads.heads import FamilyHead

MOST_SLICES = 20_000
"""The most slices of a model, each of which takes memory."""

_Array = np.ndarray[Any, Any]

# The names of the columns for an evaluator; no column of slices in a file can have them.
_SCORES, _LABELS, _WEIGHTS = "\0scores", "\0labels", "\0weights"


@dataclass(frozen=True)
class Columns:
    """The names of the columns, as the options give them.

    Attributes
    ----------
    labels : str
    logits, probabilities : str, optional
        The scores of the model: one of the two.
    compare : str, optional
        The scores of a second model.
    weights : str, optional
    by : tuple of str
        The columns of slices.
    vocabulary : tuple of two strings, optional
        The words that the labels are, if they are not numbers.

    Raises
    ------
    UsageError
        If they do not fit together.
    """

    labels: str
    logits: str | None = None
    probabilities: str | None = None
    compare: str | None = None
    weights: str | None = None
    by: tuple[str, ...] = ()
    vocabulary: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        first = [name for name in (self.logits, self.probabilities) if name is not None]
        if len(first) > 1:
            raise UsageError("the scores are logits or probabilities: give one of --logits and --probabilities")
        if not first:
            raise UsageError("Missing option '--logits' or '--probabilities'")
        if self.compare in first:
            raise UsageError(f"--compare {self.compare!r} is the first model's column; give another one")
        if len(set(self.by)) < len(self.by):
            raise UsageError(f"--by has a column twice: {', '.join(map(repr, self.by))}")

    @property
    def scale(self) -> str:
        """What the scores are, ``"logits"`` or ``"probabilities"``."""
        return "logits" if self.probabilities is None else "probabilities"

    @property
    def scores(self) -> tuple[str, ...]:
        """A column for each model."""
        return tuple(name for name in (self.logits, self.probabilities, self.compare) if name is not None)

    @property
    def names(self) -> list[str]:
        """The columns to read."""
        names = (*self.scores, self.labels, self.weights, *self.by)
        return list(dict.fromkeys(name for name in names if name is not None))


class Models:
    """The models of one command: an evaluator for each, which sees the same examples with its own scores."""

    def __init__(self, head: FamilyHead, columns: Columns) -> None:
        self._head = head
        self._columns = columns
        self._evaluators = [self._evaluator(columns.by) for _ in columns.scores]

    def evaluations(self) -> list[Evaluation]:
        """The results so far, of each model."""
        return [evaluator.evaluation() for evaluator in self._evaluators]

    def add(self, chunk: Chunk) -> None:
        """Let every model see the rows.

        Raises
        ------
        DataError
            For the first row that is refused.
        """
        try:
            shared = self._shared(chunk, chunk.rows)
            for evaluator, name in zip(self._evaluators, self._columns.scores, strict=True):
                evaluator.update({**shared, _SCORES: self._scores(chunk.rows, name, shared)})
        except ValueError as error:
            raise self._bad_row(chunk) from error
        count = max(evaluator.slice_count for evaluator in self._evaluators)
        if count > MOST_SLICES:
            raise DataError(
                f"{chunk.source}: up to row {chunk.first_row + chunk.rows.num_rows - 1} there are {count:,} slices, "
                f"and the most are {MOST_SLICES:,}: give columns of fewer values to --by"
            )

    def _evaluator(self, by: tuple[str, ...] = ()) -> Evaluator:
        scores: dict[str, Any] = {self._columns.scale: _SCORES}
        weights = None if self._columns.weights is None else _WEIGHTS
        return Evaluator(self._head, labels=_LABELS, weights=weights, by=by or None, **scores)

    # Columns

    def _shared(self, chunk: Chunk, rows: pa.RecordBatch) -> dict[str, Any]:
        """The columns that all models share."""
        columns = self._columns
        words = columns.vocabulary
        labels = _numbers(rows, columns.labels) if words is None else _words(rows, columns.labels, words)
        shared: dict[str, Any] = {_LABELS: labels}
        if columns.weights is not None:
            shared[_WEIGHTS] = _numbers(rows, columns.weights)
        return shared | {name: _slices(rows, name, chunk.source.format) for name in columns.by}

    def _scores(self, rows: pa.RecordBatch, name: str, shared: Mapping[str, Any]) -> _Array:
        scores = _numbers(rows, name)
        # a head accepts a NaN logit, which a diverging training may give; in a file of examples it is an error
        unknown = np.isnan(scores)
        if unknown.any() and (unknown & (shared.get(_WEIGHTS, 1) != 0)).any():
            raise _ColumnError(name, f"one of the {self._columns.scale} must not be NaN")
        return scores

    # The row that is refused

    def _bad_row(self, chunk: Chunk) -> DataError:
        """What is wrong with the first row of those that are refused.

        The evaluators judge ever smaller halves of the rows, so that there is one set of rules.
        """
        rows, first = chunk.rows, chunk.first_row
        while rows.num_rows > 1:
            half = rows.num_rows // 2
            if self._fault(chunk, rows.slice(0, half)) is None:
                rows, first = rows.slice(half), first + half
            else:
                rows = rows.slice(0, half)
        fault = self._fault(chunk, rows)
        assert fault is not None, "rows are refused because one of them is"
        value = _shown(rows.column(fault.column)[0])
        return DataError(f"{chunk.source}, row {first}, column {fault.column!r}: bad value {value}: {fault}")

    def _fault(self, chunk: Chunk, rows: pa.RecordBatch) -> "_ColumnError | None":
        """Why the rows are refused, None if they are not."""
        try:
            shared = self._shared(chunk, rows)
            for name in self._columns.scores:
                self._check(name, {**shared, _SCORES: self._scores(rows, name, shared)})
        except _ColumnError as fault:
            return fault
        return None

    def _check(self, name: str, batch: dict[str, Any]) -> None:
        """Blame the scores if the head takes others, the weights if it takes others, else the labels."""
        columns = self._columns
        rule = self._refusal(batch)
        if rule is None:
            return
        ones = np.ones(len(batch[_SCORES]))
        if self._refusal({**batch, _SCORES: 0.5 * ones}) is None:
            hint = ". Are they logits? Then say --logits" if columns.scale == "probabilities" else ""
            raise _ColumnError(name, rule + hint)
        if columns.weights is not None:
            labels_rule = self._refusal({**batch, _WEIGHTS: ones})
            if labels_rule is None:
                raise _ColumnError(columns.weights, rule)
            rule = labels_rule
        raise _ColumnError(columns.labels, rule)

    def _refusal(self, batch: Mapping[str, Any]) -> str | None:
        """The rule by which the head refuses the batch: what follows it in the message counts and shows values."""
        try:
            self._evaluator().update(batch)
        except ValueError as error:
            return str(error).partition(";")[0]
        return None


class _ColumnError(ValueError):
    """Why values of a column are refused."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column


# ---------------------------------------------------------------------------------------------------------------------
# Columns


def _stored(rows: pa.RecordBatch, name: str) -> pa.Array:
    """A column as it is stored."""
    column = rows.column(name)
    return column.storage if isinstance(column, pa.ExtensionArray) else column


def _plain(rows: pa.RecordBatch, name: str) -> pa.Array:
    """A column without missing values, neither encoded nor raw bytes."""
    column = _stored(rows, name)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.null_count:
        raise _ColumnError(name, "the value is missing")
    return _as_text(name, column) if _is_bytes(column.type) else column


def _as_text(name: str, column: pa.Array) -> pa.Array:
    try:
        return pc.cast(column, pa.string())
    except pa.ArrowInvalid as error:
        raise _ColumnError(name, "not UTF-8 text") from error


def _numbers(rows: pa.RecordBatch, name: str) -> _Array:
    """Floating numbers as they are, anything else as float64."""
    column = _plain(rows, name)
    try:
        if not pa.types.is_floating(column.type):
            column = _as_float64(column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
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
    return bool(pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_))


@dataclass(frozen=True)
class _Encoded:
    """A column of slices, with the method of pandas that an evaluator asks for."""

    codes: _Array
    values: Sequence[Any]

    def factorize(self) -> tuple[_Array, Sequence[Any]]:
        """For each row the position of its value, -1 if it is missing; and the values."""
        return self.codes, self.values


def _slices(rows: pa.RecordBatch, name: str, format_: DataFormat) -> _Encoded:
    """The values of a column of slices; in formats of text, a value that is written as a number is that number."""
    column = _stored(rows, name)
    if _is_bytes(column.type):
        column = _as_text(name, column)
    if pa.types.is_float16(column.type):
        column = pc.cast(column, pa.float32())
    try:
        encoded = column.dictionary_encode()
        if pa.types.is_nested(encoded.dictionary.type):
            raise NotImplementedError
        values = encoded.dictionary.to_pylist()
    except (NotImplementedError, pa.ArrowException) as error:
        raise _ColumnError(name, f"a column of slices must hold words or numbers, not {column.type}") from error
    if format_ in (DataFormat.CSV, DataFormat.JSONL):
        values = [_read(value) if isinstance(value, str) else value for value in values]
    return _Encoded(_array(encoded.indices.fill_null(-1)), values)


def _read(text: str) -> str | int | float | None:
    """The number that Python writes like the text; another spelling, as 007, stays a word; "" is a missing value."""
    if not text:
        return None
    if len(text) <= 25 and (text[-1].isdigit() and text.isascii()):
        for kind in (int, float):
            try:
                number = kind(text)
            except ValueError:
                continue
            if math.isfinite(number) and str(number) == text:
                return number
    return text


def _shown(value: pa.Scalar) -> str:
    if not value.is_valid:
        return "null"
    if _is_bytes(value.type):
        return reprlib.repr(value.as_py().decode(errors="backslashreplace"))
    # str and not as_py, which for some types needs other libraries
    return str(value) if pa.types.is_primitive(value.type) else reprlib.repr(str(value))

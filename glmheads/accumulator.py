"""`Accumulator`: what has been seen of a stream, as a whole or by slices.

It takes about 0.1 ms to measure a batch however small, and less than twice that to measure ten thousand examples. So
small batches are checked and copied when they come, and measured together.
"""

import math
from itertools import pairwise
from typing import Any

import numpy as np

from glmheads import backends, engine
from glmheads.inputs.examples import Examples, concatenated
from glmheads.statistics import Measurement, Statistics

Codes = np.ndarray[Any, np.dtype[np.int64]]

_SMALL = 8192
"""Most logits of a batch that is buffered: a larger one takes little longer than its share of many."""
_CAPACITY = 32_768
"""Logits at which the buffer is measured, or"""
_BATCHES = 64
"""batches."""
_SLICE_CAPACITY = 1 << 20
"""Rows at which the buffer of slices is measured: each slice in it costs a call."""


class Accumulator:
    """The statistics of the examples seen so far.

    Parameters
    ----------
    measurement : Measurement
        Of the head.
    compiled : bool
        Whether the head is compiled.

    Attributes
    ----------
    config : str
        That of the record.
    """

    def __init__(self, measurement: Measurement, *, compiled: bool = False) -> None:
        self._measurement, self._compiled = measurement, compiled
        self.config = measurement.config
        self._record = Statistics(self.config, {})
        self._pending: list[Examples] = []
        """Validated, in NumPy arrays."""
        self._size = 0
        """The number of their logits."""
        self._form: tuple[Any, ...] = ()
        """The library of the pending examples before they were NumPy arrays, and their dtypes and shapes."""
        self._read: Statistics | None = None
        """The last result of `statistics`, while nothing is added."""

    @property
    def statistics(self) -> Statistics:
        """The record of all examples."""
        if self._read is None:
            self._read = self._record
            if self._pending:
                examples, backend = concatenated(self._pending), backends.named(self._form[0])
                arrays = [None if array is None else backend.from_numpy(array) for array in examples.arrays()]
                measured = engine.run(self._measurement, examples.with_arrays(arrays))[0]
                self._read = (self._record + measured).compressed()
        return self._read

    def copy(self) -> "Accumulator":
        """Another one that has seen the same and goes on by itself."""
        other = Accumulator.__new__(Accumulator)
        vars(other).update(vars(self), _pending=list(self._pending))
        return other

    def add(self, examples: Examples) -> None:
        """Add examples.

        Raises
        ------
        ValueError
            If a label or weight at hand is not allowed; nothing is added then.
        """
        small = self._as_pending(examples) or self._as_pending(examples.detached())
        if small is None:
            self.merge(engine.run(self._measurement, examples.detached(), compiled=self._compiled)[0].detach())
            return
        form = (examples.backend.name, *_form(small))
        if self._pending and self._form != form:
            self._flush()
        self._form, self._read = form, None
        self._pending.append(small)
        self._size += small.logits.size
        if self._size > _CAPACITY or len(self._pending) > _BATCHES:
            self._flush()

    def merge(self, statistics: Statistics) -> None:
        """Add a record."""
        self._flush()
        self._record = self._read = (self._record + statistics).compressed()

    def _flush(self) -> None:
        self._record, self._pending, self._size = self.statistics, [], 0

    def _as_pending(self, examples: Examples) -> Examples | None:
        """Validated copies in NumPy arrays, if the examples may wait: nothing can go wrong when they are measured, and
        their record adds to what was seen without moving it.
        """
        backend, record = examples.backend, self._record
        may_wait = (
            math.prod(examples.logits.shape) <= _SMALL
            and self._measurement.is_safe
            and examples.losses is None
            and examples.predictions is None
            and not (self._compiled and backend.compiles)
            and (not record.states or (record.backend is backend and backend.is_concrete(record.any_array)))
        )
        views = backend.numpy_views(examples.arrays()) if may_wait else None
        if views is None:
            return None
        examples = examples.with_arrays(views) if backend.shares_memory else examples
        return _copied(examples.flattened(elementwise=self._measurement.elementwise).validated())


class SliceAccumulator:
    """The statistics of each slice of the examples seen so far; they are measured on the host.

    Parameters
    ----------
    measurement : Measurement
        Of the head.
    """

    def __init__(self, measurement: Measurement) -> None:
        self._measurement = measurement
        self._records: dict[int, tuple[Statistics, int]] = {}
        self._pending: list[tuple[Codes, Examples]] = []

    def add(self, examples: Examples, codes: Codes) -> None:
        """Add examples in NumPy arrays, of the slices that the codes number, one for each row."""
        if self._pending and _form(self._pending[0][1]) != _form(examples):
            self._flush()
        for start in range(0, len(codes), _SLICE_CAPACITY):
            rows = slice(start, start + _SLICE_CAPACITY)
            self._pending.append((codes[rows], _copied(examples[rows])))
            if sum(len(pending) for pending, _ in self._pending) >= _SLICE_CAPACITY:
                self._flush()

    def records(self) -> dict[int, tuple[Statistics, int]]:
        """The record of each slice, and how many rows it has, by code."""
        self._flush()
        return self._records

    def _flush(self) -> None:
        if not self._pending:
            return
        codes = np.concatenate([pending for pending, _ in self._pending])
        examples = concatenated([part for _, part in self._pending])
        self._pending = []
        # NumPy sorts 16 bits by radix.
        order = np.argsort(codes.astype(np.uint16) if codes.max() < 1 << 16 else codes, kind="stable")
        codes, examples = codes[order], examples[order]
        for start, stop in pairwise(np.flatnonzero(np.diff(codes, prepend=-1, append=-1)).tolist()):
            code = int(codes[start])
            record, count = self._records.get(code, (Statistics(self._measurement.config, {}), 0))
            more = engine.run(self._measurement, examples[start:stop])[0]
            self._records[code] = (record + more).compressed(), count + stop - start


def _form(examples: Examples) -> list[Any]:
    """What examples must share to be concatenated without changing a number."""
    return [array if array is None else (array.dtype, array.shape[1:]) for array in examples.arrays()]


def _copied(examples: Examples) -> Examples:
    """Examples in NumPy arrays whose memory no one else uses: whoever gives batches may use theirs again."""
    return examples.with_arrays([None if array is None else array.copy() for array in examples.arrays()])

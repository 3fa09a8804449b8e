"""`Accumulator`: what has been seen of a stream, as a whole or by slices.

It takes about 0.1 ms to measure a batch however small, and less than twice that to measure ten thousand examples. So
small batches are checked and copied when they come, and measured together.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from glmheads import backends, engine
from glmheads.inputs.examples import Examples, concatenated
from glmheads.statistics import Statistics
from glmheads.statistics.measurement import Measurement

__all__ = ["Accumulator"]

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
    """

    def __init__(self, measurement: Measurement, *, compiled: bool = False) -> None:
        self._measurement, self._compiled = measurement, compiled
        self._record = Statistics(measurement.config, {})
        self._pending: list[Examples] = []
        """Validated, in NumPy arrays."""
        self._size = 0
        """The number of their logits."""
        self._form: tuple[Any, ...] = ()
        """The library of the pending examples before they were NumPy arrays, and their dtypes and shapes."""
        self._read: Statistics | None = None
        """The last result of `statistics`, while nothing is added."""

    @property
    def config(self) -> str:
        """That of the record."""
        return self._measurement.config

    @property
    def statistics(self) -> Statistics:
        """The record of all examples."""
        if self._read is None:
            pending = self._measured_pending() if self._pending else None
            self._read = self._record if pending is None else (self._record + pending).compressed()
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
        small = self._as_pending(examples)
        if small is None:
            examples = examples.detached()
            small = self._as_pending(examples)
        if small is None:
            return self.merge(engine.run(self._measurement, examples, compiled=self._compiled)[0].detach())
        form = (examples.backend.name, *_form(small))
        if self._pending and self._form != form:
            self._flush()
        self._form, self._read = form, None
        self._pending.append(small)
        self._size += small.logits.size
        if self._size > _CAPACITY or len(self._pending) > _BATCHES:
            self._flush()
        return None

    def merge(self, statistics: Statistics) -> None:
        """Add a record."""
        self._record, self._pending = (self.statistics + statistics).compressed(), []
        self._read, self._size = self._record, 0

    def _flush(self) -> None:
        self._record, self._pending, self._size = self.statistics, [], 0

    def _measured_pending(self) -> Statistics:
        examples, backend = concatenated(self._pending), backends.named(self._form[0])
        arrays = [None if array is None else backend.from_numpy(array) for array in examples.arrays()]
        measured: Statistics = engine.run(self._measurement, examples.with_arrays(arrays))[0]
        return measured

    def _as_pending(self, examples: Examples) -> Examples | None:
        """Validated copies in NumPy arrays, if the examples may wait: nothing can go wrong when they are measured."""
        backend = examples.backend
        may_wait = (
            math.prod(examples.logits.shape) <= _SMALL
            and self._measurement.is_safe
            and examples.losses is None
            and examples.predictions is None
            and not (self._compiled and backend.compiles)
            and self._takes(backend)
        )
        views = backend.numpy_views(examples.arrays()) if may_wait else None
        if views is None:
            return None
        examples = examples.with_arrays(views) if backend.shares_memory else examples
        validated = examples.flattened(elementwise=self._measurement.elementwise).validated()
        return validated.with_arrays([None if array is None else array.copy() for array in validated.arrays()])

    def _takes(self, backend: backends.Backend) -> bool:
        """Whether records of this library add to what was seen without moving it."""
        record = self._record
        if not record.states:
            return True
        return record.backend is backend and backend.is_concrete(record.any_array)


def _form(examples: Examples) -> list[Any]:
    """What examples must share to be concatenated without changing a number."""
    return [array if array is None else (array.dtype, array.shape[1:]) for array in examples.arrays()]


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
            part = examples[rows]
            # Copies: whoever gives the batches may use their memory again.
            part = part.with_arrays([None if array is None else array.copy() for array in part.arrays()])
            self._pending.append((codes[rows], part))
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
        for code, part in _by_code(codes, examples):
            record, count = self._records.get(code, (Statistics(self._measurement.config, {}), 0))
            more = engine.run(self._measurement, part)[0]
            self._records[code] = (record + more).compressed(), count + part.logits.shape[0]


def _by_code(codes: Codes, examples: Examples) -> Iterator[tuple[int, Examples]]:
    """The examples of each code."""
    # NumPy sorts 16 bits by radix.
    order = np.argsort(codes.astype(np.uint16) if codes.max() < 1 << 16 else codes, kind="stable")
    codes, examples = codes[order], examples[order]
    for start, stop in pairwise(np.flatnonzero(np.diff(codes, prepend=-1, append=-1)).tolist()):
        yield int(codes[start]), examples[start:stop]

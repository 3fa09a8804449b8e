"""`evaluate`: every metric of a head over data as people have them, as a whole and by slices; and what it found.

The data come in batches of columns. `Evaluator` lets a head measure each batch and adds the records up. With `by` it
keeps the examples of some batches, sorts them by slice, and lets the head measure each slice of them; so a slice of
few examples in each of many batches costs one call for many of them. A slice is told by its key, a tuple with one value
for each column of `by`.
"""

import html
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from glmheads import archive, backends
from glmheads import features as inputs
from glmheads.backends import Array
from glmheads.families import BERNOULLI
from glmheads.heads import Head
from glmheads.statistics import Statistics

__all__ = ["Evaluation", "Evaluator", "Key", "evaluate"]

Key = tuple[str | int | float | bool | None, ...]
"""What tells a slice: for each column its value, None where it is missing."""


def evaluate(
    head: Head,
    data: Any,
    *,
    logits: str | Sequence[str] | None = None,
    probabilities: str | None = None,
    labels: str | Sequence[str] = "labels",
    weights: str | None = None,
    by: str | Sequence[str] | None = None,
    min_count: int = 1,
    progress: Callable[[int], object] | None = None,
) -> "Evaluation":
    """Every metric of a head over data, as a whole and, with `by`, for each slice of them, in one pass.

    Parameters
    ----------
    head : Head
    data : table, or iterable of batches
        A table is a DataFrame, an Arrow Table or a mapping of columns. What yields batches of a table is read batch by
        batch: a LazyFrame, an Arrow RecordBatchReader or Dataset. A batch is a table, or a tuple (labels, logits[,
        features[, regularization_losses]]) as ``Head.evaluate`` takes it.
    logits : str or sequence of str, optional
        The column of the logits, ``"logits"`` if neither this nor `probabilities` is given; a column for each of
        several logits. A column of a mapping may have the logits' shape.
    probabilities : str, optional
        In place of `logits`, a column of probabilities of the positive class, for a head of two classes. They become
        logits by log(p / (1 − p)): 0 and 1 become infinite ones.
    labels : str or sequence of str
        The column of the labels, or one for each of several.
    weights : str, optional
        The column of the weights, if it is not named as the head's weight column.
    by : str or sequence of str, optional
        Columns whose values tell the slices. A missing value is a value of its own.
    min_count : int
        Examples that a slice must have to be reported by itself; smaller ones are reported together, as ``other``.
    progress : callable of (int), optional
        Called after each batch with the number of examples seen.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If a column is missing or of another length, or the head refuses what is in it; a probability is not from 0 to
        1.
    TypeError
        If the data are none of these, or a column does not hold what it should.

    Notes
    -----
    The whole has the bits of an evaluation without `by`. Slices are measured by NumPy, on the host; each takes at most
    about 1 MiB, and much less if it has few examples.

    Examples
    --------
    >>> import glmheads as gh
    >>> data = {"x": [2.0, -1.0, 0.5, 3.0], "y": [1, 0, 0, 1], "site": ["a", "a", "b", "b"]}
    >>> found = gh.evaluate(gh.BinaryClassHead(), data, logits="x", labels="y", by="site")
    >>> found.results["accuracy"]
    0.75
    >>> {key: part.results["accuracy"] for key, part in found.slices.items()}
    {('a',): 1.0, ('b',): 0.5}
    """
    evaluator = Evaluator(
        head,
        logits=logits,
        probabilities=probabilities,
        labels=labels,
        weights=weights,
        by=by,
        min_count=min_count,
    )
    for index, batch in enumerate(_batches(data, evaluator.columns)):
        try:
            evaluator.update(batch)
        except (TypeError, ValueError) as error:
            if index or evaluator.count:
                error.add_note(f"in batch {index}, after {evaluator.count:,} examples")
            raise
        if progress is not None:
            progress(evaluator.count)
    return evaluator.evaluation()


# ---------------------------------------------------------------------------------------------------------------------
# What is found


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """What `evaluate` found: the statistics of the whole and of each slice. Evaluations of one head add up.

    It is immutable; ``dataclasses.replace`` gives one with another `min_count` or other `sources`.

    Attributes
    ----------
    head : Head
    statistics : Statistics
        Of the whole.
    count : int
        How many examples there were, those of weight 0 too.
    by : tuple of str
        The columns that tell the slices.
    parts : mapping from tuple to Evaluation
        Every slice by its key, however small, in order. A key has a value for each column of `by`: a string, a number,
        a bool, or None where the value was missing (null or NaN). What else it may be (a date, a decimal number) is
        written as a string.
    min_count : int
        Examples that a slice must have to be among the `slices`.
    sources : tuple of str
        What data it is of, for reports; evaluations that are added up keep those of both.

    Examples
    --------
    >>> import glmheads as gh
    >>> monday = {"logits": [2.0, -1.0], "labels": [1, 0], "site": ["a", "b"]}
    >>> tuesday = {"logits": [0.5, -3.0], "labels": [0, 0], "site": ["a", "c"]}
    >>> head = gh.LogisticRegressionHead()
    >>> found = gh.evaluate(head, monday, by="site") + gh.evaluate(head, tuesday, by="site")
    >>> found.count, list(found.slices)
    (4, [('a',), ('b',), ('c',)])
    >>> found.slices["a",].results["label/mean"]
    0.5
    """

    head: Head
    statistics: Statistics
    count: int
    by: tuple[str, ...] = ()
    parts: Mapping[Key, "Evaluation"] = field(default_factory=dict)
    min_count: int = 1
    sources: tuple[str, ...] = ()

    # Reading

    @cached_property
    def results(self) -> dict[str, float]:
        """Every metric of the whole.

        Raises
        ------
        ValueError
            If the data held bad labels or weights that could be counted but not refused.
        """
        return {key: float(value) for key, value in self.head.results(self._on_host).items()}

    @cached_property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Of the areas, by metric key: (lower, upper) that hold the exact value for the data."""
        return {key: (float(low), float(high)) for key, (low, high) in self.head.bounds(self._on_host).items()}

    def curves(self) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
        """Curves of the whole, by name: see ``Head.curves``."""
        return self.head.curves(self._on_host)

    @cached_property
    def _on_host(self) -> Statistics:
        return self.statistics.to("numpy")

    @property
    def slices(self) -> dict[Key, "Evaluation"]:
        """The slices of at least `min_count` examples by key, in order: numbers before words, what is missing last."""
        return {key: part for key, part in self.parts.items() if part.count >= self.min_count}

    @cached_property
    def other(self) -> "Evaluation | None":
        """The slices of fewer than `min_count` examples together, its `parts`; None if there are none."""
        small = {key: part for key, part in self.parts.items() if part.count < self.min_count}
        if not small:
            return None
        statistics = sum((part.statistics for part in small.values()), start=self.head.empty())
        return Evaluation(self.head, statistics, sum(part.count for part in small.values()), self.by, small)

    # Adding

    def __add__(self, other: "Evaluation") -> "Evaluation":
        """The evaluation of the data of both, with the larger `min_count`.

        Raises
        ------
        ValueError
            If the heads measure different things, or the slices are by different columns.
        """
        if not isinstance(other, Evaluation):
            return NotImplemented
        if self.by != other.by:
            raise ValueError(
                "evaluations by different columns don't add up: "
                f"the left one is by {list(self.by)}, the right one by {list(other.by)}"
            )
        parts = dict(self.parts)
        for key, part in other.parts.items():
            parts[key] = parts[key] + part if key in parts else replace(part, head=self.head)
        return Evaluation(
            self.head,
            self.statistics + other.statistics,
            self.count + other.count,
            self.by,
            _sorted(parts),
            max(self.min_count, other.min_count),
            tuple(dict.fromkeys((*self.sources, *other.sources))),
        )

    # Saving

    def save(self, file: archive.File) -> None:
        """Write the statistics of the whole and of every slice to a file, in NumPy's npz format and without pickle.

        Parameters
        ----------
        file : path or binary file
            A path without an ending gets .npz.
        """
        evaluations = [self, *self.parts.values()]
        records = [evaluation._on_host for evaluation in evaluations]
        arrays = [array for record in records for array in record.arrays()]
        # One array for each dtype: thousands of members make a slow file.
        dtypes = list(dict.fromkeys(array.dtype.str for array in arrays))
        flat = [
            np.concatenate([array.ravel() for array in arrays if array.dtype.str == dtype], dtype=np.dtype(dtype))
            for dtype in dtypes
        ]
        structures = list(dict.fromkeys(record.structure()[1] for record in records))
        archive.write(
            file,
            {
                "format": _FORMAT,
                "version": _VERSION,
                "config": self.statistics.config,
                "by": self.by,
                "min_count": self.min_count,
                "sources": self.sources,
                "dtypes": dtypes,
                "structures": structures,
                "keys": list(self.parts),
                "counts": [evaluation.count for evaluation in evaluations],
                "records": [
                    [
                        structures.index(record.structure()[1]),
                        [[dtypes.index(array.dtype.str), *array.shape] for array in record.arrays()],
                    ]
                    for record in records
                ],
            },
            flat,
        )

    @classmethod
    def load(cls, file: archive.File, head: Head) -> "Evaluation":
        """The evaluation that `save` wrote, with statistics as NumPy arrays.

        Parameters
        ----------
        file : path or binary file
        head : Head
            One that measures what the head did that made the evaluation.

        Raises
        ------
        ValueError
            If the file is not such an evaluation, is damaged, is of a later version of the format, or is of a
            differently configured head.
        """
        fields, flat = archive.read(file, _FORMAT, _VERSION, noun="a glmheads evaluation")
        label = getattr(file, "name", file)
        config = head.empty().config
        if fields.get("config") != config:
            raise ValueError(
                f"{label} is of a differently configured head: it is of {fields.get('config')}, this head is {config}"
            )
        try:
            return cls._from_fields(head, fields, flat)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"{label} is not a file of a glmheads evaluation, or is damaged: {error}") from error

    @classmethod
    def _from_fields(cls, head: Head, fields: dict[str, Any], flat: list[np.ndarray[Any, Any]]) -> "Evaluation":
        used = [0] * len(flat)

        def take(dtype: int, *shape: int) -> np.ndarray[Any, Any]:
            start = used[dtype]
            used[dtype] += math.prod(shape)
            return flat[dtype][start : used[dtype]].reshape(shape)

        def structure(parts: Any) -> Any:
            return fields["config"], tuple((name, kind, tuple(keys)) for name, kind, keys in parts)

        records = [
            Statistics.from_arrays(structure(fields["structures"][index]), [take(*form) for form in forms])
            for index, forms in fields["records"]
        ]
        whole, *evaluations = [cls(head, *both) for both in zip(records, fields["counts"], strict=True)]
        keys = [tuple(key) for key in fields["keys"]]
        return replace(
            whole,
            by=tuple(fields["by"]),
            parts=dict(zip(keys, evaluations, strict=True)),
            min_count=fields["min_count"],
            sources=tuple(fields["sources"]),
        )

    # Showing

    def to_dict(self) -> dict[str, Any]:
        """All results and bounds as plain dicts, lists, strings and numbers; NaN and infinities stay what they are.

        A slice is a dict too, with its ``key``, a dict from column to value. ``other`` has ``slices``, their number.
        """
        found: dict[str, Any] = {**self._numbers(), "by": list(self.by), "sources": list(self.sources)}
        if self.by:
            found["min_count"] = self.min_count
            found["slices"] = [
                {"key": dict(zip(self.by, key, strict=True)), **part._numbers()} for key, part in self.slices.items()
            ]
            found["other"] = None
            if self.other is not None:
                found["other"] = {"slices": len(self.other.parts), **self.other._numbers()}
        return found

    def _numbers(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "results": self.results,
            "bounds": {key: list(bounds) for key, bounds in self.bounds.items()},
        }

    def _title(self) -> str:
        by = f", {len(self.parts):,} slices by {', '.join(self.by)}" if self.by else ""
        return f"Evaluation of {self.head!r}: {self.count:,} examples{by}"

    def _tables(self, width: float = math.inf) -> Iterator[list[list[str]]]:
        """The metrics as rows of text, and one row for each slice, not wider than `width`."""
        rows = [["metric", "value", "at least", "at most"]]
        for key, value in self.results.items():
            rows.append([key, f"{value:.6g}", *(f"{bound:.6g}" for bound in self.bounds.get(key, ()))])
        yield [[*row, *[""] * (4 - len(row))] for row in rows]
        if not self.by:
            return
        shown = [(list(map(shown_value, key)), part) for key, part in self.slices.items()]
        if self.other is not None:
            number = f"(other: {len(self.other.parts):,} slices)"
            shown.append(([number, *[""] * (len(self.by) - 1)], self.other))
        hidden = len(shown) - _MOST_ROWS
        rows = [[*self.by, "count", *self.results]]
        rows += [
            [*key, f"{part.count:,}", *(f"{part.results[name]:.6g}" for name in part.results if name in self.results)]
            for key, part in shown[:_MOST_ROWS]
        ]
        if hidden > 0:
            rows.append([f"({hidden:,} more)", *[""] * (len(rows[0]) - 1)])
        fitting = 0
        for column in range(len(rows[0])):
            width -= 2 + max(len(row[column]) if column < len(row) else 0 for row in rows)
            fitting += width >= 0
        yield [row[: max(fitting, len(self.by) + 1)] for row in rows]

    def __repr__(self) -> str:
        lines = [self._title()]
        for table in self._tables(width=_WIDTH):
            left = len(self.by) if table[0][0] != "metric" else 1
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            lines.append("")
            for row in table:
                cells = (
                    cell.ljust(width) if index < left else cell.rjust(width)
                    for index, (cell, width) in enumerate(zip(row, widths, strict=True))
                )
                lines.append(("  " + "  ".join(cells)).rstrip())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = [f"<p>{html.escape(self._title())}</p>"]
        for head, *rows in self._tables():
            lines = ["".join(f"<th>{html.escape(cell)}</th>" for cell in head)]
            lines += ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
            parts.append("<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>")
        return "\n".join(parts)


_FORMAT = "glmheads.Evaluation"
_VERSION = 1
_WIDTH = 118
_MOST_ROWS = 60


def shown_value(value: Any) -> str:
    """A value of a key for people to read."""
    return "(missing)" if value is None else str(value)


def _sorted(parts: Mapping[Key, Any]) -> dict[Key, Any]:
    return dict(sorted(parts.items(), key=lambda item: [_order(value) for value in item[0]]))


def _order(value: Any) -> tuple[int, Any]:
    """Numbers, words, and what is missing, each in its order."""
    if value is None:
        return 2, 0
    return (1, value) if isinstance(value, str) else (0, value)


# ---------------------------------------------------------------------------------------------------------------------
# How it is found


class Evaluator:
    """What `evaluate` does, batch by batch, for a loop of one's own.

    Parameters are those of `evaluate`.

    Attributes
    ----------
    columns : tuple of str or None
        The columns that are read; None for all, which a `loss_fn` may ask for.
    count : int
        How many examples have been seen.

    Examples
    --------
    >>> import glmheads as gh
    >>> from glmheads.evaluation import Evaluator
    >>> evaluator = Evaluator(gh.LogisticRegressionHead(), labels="y")
    >>> for batch in ({"logits": [0.0], "y": [1]}, {"logits": [0.0], "y": [0]}):
    ...     evaluator.update(batch)
    >>> evaluator.evaluation().results["label/mean"]
    0.5
    """

    def __init__(
        self,
        head: Head,
        *,
        logits: str | Sequence[str] | None = None,
        probabilities: str | None = None,
        labels: str | Sequence[str] = "labels",
        weights: str | None = None,
        by: str | Sequence[str] | None = None,
        min_count: int = 1,
    ) -> None:
        if not isinstance(head, Head):
            raise TypeError(f"head must be a Head. Given type: {type(head)}")
        if isinstance(min_count, bool) or not isinstance(min_count, int) or min_count < 1:
            raise ValueError(f"min_count must be an integer >= 1. Given: {min_count!r}")
        if probabilities is not None:
            if logits is not None:
                raise ValueError(f"give logits or probabilities, not both: {logits!r} and {probabilities!r}")
            if head._family.name != BERNOULLI.name or head.logits_dimension != 1:
                raise ValueError(f"probabilities are for a head of two classes, not for {head!r}: give logits")
        column = head._weight_column
        self._weight_key = column.key if isinstance(column, inputs.NumericColumn) else column
        if weights is not None and self._weight_key is None:
            raise ValueError(
                f"weights are {weights!r}, but the head has no weight column: make it with weight_column={weights!r}"
            )
        self._head = head
        self._is_probability = probabilities is not None
        self._scores = _names("logits", "logits" if logits is None else logits)
        if probabilities is not None:
            self._scores = _names("probabilities", probabilities)
        self._labels = _names("labels", labels)
        self._weights = self._weight_key if weights is None else _names("weights", weights)[0]
        self._by = () if by is None else _names("by", by)
        self._min_count = min_count
        self._reads_features = "features" in head._loss_arguments
        self._whole = head.empty()
        self._slices = _Slices(head)
        self.count = 0
        self.columns: tuple[str, ...] | None = None
        if not self._reads_features:
            wanted = (*self._scores, *self._labels, *(() if self._weights is None else (self._weights,)), *self._by)
            self.columns = tuple(dict.fromkeys(wanted))

    def update(self, batch: Any) -> None:
        """Let it see a batch: see `evaluate`.

        Raises
        ------
        ValueError, TypeError
            As `evaluate` does; nothing is changed then.
        """
        labels, scores, features, regularization_losses = self._examples(batch)
        logits = inputs.as_logits(scores, self._head.logits_dimension)
        if self._is_probability:
            logits = log_odds(logits)
        given = _Renamed(features, self._weight_key, self._weights) if self._weights != self._weight_key else features
        count = int(logits.shape[0])
        keys, codes = _factorize_all([(name, _column(features, name)) for name in self._by], count)
        more = self._head._measure(labels, logits, given, regularization_losses).detach()
        if self._by:
            self._slices.add(keys, codes, labels, logits, self._host_features(given))
        self._whole = (self._whole + more).settled()
        self.count += count

    def evaluation(self) -> Evaluation:
        """What has been seen so far."""
        self._slices.measure()
        parts = {
            key: Evaluation(self._head, statistics, count) for key, (statistics, count) in self._slices.records.items()
        }
        return Evaluation(self._head, self._whole, self.count, self._by, _sorted(parts), self._min_count)

    def _examples(self, batch: Any) -> tuple[Any, Any, Any, Any]:
        """Labels, logits or probabilities, features and regularization losses."""
        if isinstance(batch, (tuple, list)) and 2 <= len(batch) <= 4 and not self._is_probability:
            labels, scores, *more = batch
            return labels, scores, more[0] if more else None, more[1] if len(more) > 1 else None
        if not _is_table(batch):
            raise TypeError(
                "a batch must be a table or a mapping of columns, or a tuple (labels, logits[, features[, "
                f"regularization_losses]]) if no probabilities are given. Given type: {type(batch)}"
            )
        return self._read("labels", batch, self._labels), self._read("logits", batch, self._scores), batch, None

    def _read(self, name: str, batch: Any, columns: tuple[str, ...]) -> Any:
        if len(columns) == 1 and name == "labels":
            return _column(batch, columns[0])
        arrays = [inputs.as_array(f"{name} (column {column})", _column(batch, column)) for column in columns]
        if len(columns) == 1:
            (array,) = arrays
            return backends.of(array).xp.reshape(array, (-1, 1)) if len(array.shape) == 1 else array
        return backends.of(arrays[0]).xp.stack(arrays, axis=-1)

    def _host_features(self, features: Any) -> dict[str, np.ndarray[Any, Any]]:
        """What the head may ask of the features, by name."""
        names = inputs.column_names(features) if self._reads_features and features is not None else []
        if self._weight_key is not None:
            names = [*names, self._weight_key]
        return {name: _to_host(inputs.column(features, name)) for name in dict.fromkeys(names)}


class _Slices:
    """The records of slices, and examples that wait to be measured."""

    _WAITING = 1 << 20

    def __init__(self, head: Head) -> None:
        self.records: dict[Key, tuple[Statistics, int]] = {}
        self._head = head
        self._ids: dict[Key, int] = {}
        self._waiting: list[tuple[np.ndarray[Any, Any], ...]] = []
        self._features: tuple[str, ...] = ()
        self._rows = 0

    def add(
        self, keys: list[Key], codes: np.ndarray[Any, Any], labels: Any, logits: Any, features: Mapping[str, Any]
    ) -> None:
        """Examples of the slices ``keys[codes]``."""
        ids = np.asarray([self._ids.setdefault(key, len(self._ids)) for key in keys], dtype=np.int64)
        if tuple(features) != self._features:
            self.measure()
            self._features = tuple(features)
        columns = (_to_host(labels), _to_host(logits), *features.values())
        for start in range(0, len(codes), self._WAITING):
            rows = slice(start, start + self._WAITING)
            self._waiting.append((ids[codes[rows]], *(column[rows] for column in columns)))
            self._rows += len(codes[rows])
            if self._rows >= self._WAITING:
                self.measure()

    def measure(self) -> None:
        """Measure what waits."""
        if not self._waiting:
            return
        ids, *columns = (np.concatenate(arrays) for arrays in zip(*self._waiting, strict=True))
        self._waiting, self._rows = [], 0
        order = np.argsort(ids.astype(np.uint16) if len(self._ids) <= 1 << 16 else ids, kind="stable")
        ids, *columns = (column[order] for column in (ids, *columns))
        cuts = np.flatnonzero(np.diff(ids, prepend=-1, append=-1))
        keys = list(self._ids)
        for start, stop in pairwise(cuts.tolist()):
            labels, logits, *values = (column[start:stop] for column in columns)
            features = dict(zip(self._features, values, strict=True))
            key = keys[ids[start]]
            seen, count = self.records.get(key, (self._head.empty(), 0))
            more = self._head._measure(labels, logits, features)
            self.records[key] = (seen + more).settled(), count + stop - start


def log_odds(probabilities: Array) -> Array:
    """Logits log(p / (1 − p)) of probabilities p, in float64 where the device has it, right to a few ulp.

    Raises
    ------
    ValueError
        If a probability at hand is not from 0 to 1; elsewhere its logit is NaN.
    """
    backend = backends.of(probabilities)
    xp = backend.xp
    p = xp.astype(probabilities, backend.accumulation_dtype(backend.device(probabilities)), copy=False)
    outside = (p < 0) | (p > 1)
    if backend.at_hand(outside) and bool(xp.any(outside)):
        flat, where = backend.to_numpy(p).ravel(), np.flatnonzero(backend.to_numpy(outside).ravel())
        shown = ", ".join(f"{flat[i]:g} at {i}" for i in where[:5])
        raise ValueError(
            f"probabilities must be in [0, 1]; {len(where)} of {len(flat)} are not: {shown}"
            f"{', ...' if len(where) > 5 else ''}. Are they logits?"
        )
    with backend.quiet():
        # 2p − 1 is exact here, and the difference of logarithms would cancel.
        middle = xp.log1p((2 * p - 1) / (1 - p))
        return xp.where((p > 0.25) & (p < 0.75), middle, xp.log(p) - xp.log1p(-p))


# ---------------------------------------------------------------------------------------------------------------------
# Batches and columns


def _names(argument: str, given: str | Sequence[str]) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else tuple(given)
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"{argument} must be the name of a column, or different names. Given: {given!r}")
    return names


def _is_table(data: Any) -> bool:
    has_names = hasattr(data, "column_names") or hasattr(data, "columns") or hasattr(data, "keys")
    return has_names and hasattr(data, "__getitem__")


def _batches(data: Any, columns: tuple[str, ...] | None) -> Iterable[Any]:
    """What the data yield batch by batch, with no more columns than needed where that saves reading them."""
    if hasattr(data, "collect"):
        # a lazy table
        wanted = data if columns is None else data.select(list(columns))
        return wanted.collect_batches() if hasattr(wanted, "collect_batches") else [wanted.collect()]
    if hasattr(data, "scanner"):
        return data.scanner(columns=None if columns is None else list(columns)).to_batches()  # type: ignore[no-any-return]
    if _is_table(data):
        return [data]
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes)):
        return data
    raise TypeError(f"data must be a table, a mapping of columns or an iterable of batches. Given type: {type(data)}")


def _column(batch: Any, name: str) -> Any:
    names = [] if batch is None else inputs.column_names(batch)
    if name not in names:
        raise ValueError(f"the data have no column {name!r}; they have {list(names)}")
    return batch[name]


class _Renamed(Mapping[str, Any]):
    """Features in which one column goes by another name too."""

    def __init__(self, features: Any, key: str | None, column: str | None) -> None:
        self._features, self._key, self._column = features, key, column

    def __getitem__(self, name: str) -> Any:
        return _column(self._features, self._column if name == self._key else name)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[str]:
        names = [] if self._features is None else inputs.column_names(self._features)
        return iter(dict.fromkeys((*names, *(() if self._key is None else (self._key,)))))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _to_host(column: Any) -> np.ndarray[Any, Any]:
    return backends.of(column).to_numpy(column) if backends.is_array(column) else np.asarray(column)


# ---------------------------------------------------------------------------------------------------------------------
# Keys


def _factorize_all(columns: list[tuple[str, Any]], count: int) -> tuple[list[Key], np.ndarray[Any, Any]]:
    """The keys that there are, and for each row which of them."""
    keys: list[Key] = [()]
    codes = np.zeros(count, dtype=np.int64)
    for name, column in columns:
        values, more = _factorize(name, column)
        if more.shape != (count,):
            raise ValueError(f"by column {name!r} must have a value for each of {count} examples, not {more.shape}")
        combined, codes = np.unique(codes * max(1, len(values)) + more, return_inverse=True)
        keys = [(*keys[i // len(values)], values[i % len(values)]) for i in combined.tolist()]
    return keys, codes


def _factorize(name: str, column: Any) -> tuple[list[Any], np.ndarray[Any, Any]]:
    """The values of a column, and for each row which of them."""
    try:
        if hasattr(column, "dictionary_encode"):
            encoded = column.dictionary_encode()
            encoded = encoded.combine_chunks() if hasattr(encoded, "combine_chunks") else encoded
            codes, found = np.asarray(encoded.indices.fill_null(-1)), encoded.dictionary.to_pylist()
        elif hasattr(column, "factorize"):
            codes, found = column.factorize()
            found = list(found)
        else:
            array = None if hasattr(column, "to_list") else _to_host(column)
            if array is not None and array.dtype.kind in "biuf":
                found, codes = np.unique(array, return_inverse=True)
                found = found.tolist()
            else:
                listed = (
                    column.to_list()
                    if array is None
                    else (array.astype(str) if array.dtype.kind in "mM" else array).tolist()
                )
                positions = {value: position for position, value in enumerate(dict.fromkeys(listed))}
                codes = np.fromiter(map(positions.__getitem__, listed), dtype=np.int64, count=len(listed))
                found = list(positions)
    except (TypeError, NotImplementedError) as error:
        raise TypeError(f"by column {name!r} must hold words or numbers: {error}") from error
    positions = {}
    # the last one is of the code -1
    places = [positions.setdefault(_value(value), len(positions)) for value in (*found, None)]
    return list(positions), np.asarray(places, dtype=np.int64)[codes]


def _value(value: Any) -> str | int | float | bool | None:
    """A value as it stands in a key."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    text = str(value)
    return None if text in ("<NA>", "NaT", "NaN") else text

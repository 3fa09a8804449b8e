"""`evaluate`: every metric of a head over data as people have them, as a whole and by slices.

The data come in batches of columns. `Evaluator` lets a head measure each batch and adds the records up. With `by` it
keeps the examples of some batches, sorts them by slice, and lets the head measure each slice of them; so a slice of
few examples in each of many batches costs one call for many of them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from glmheads import backends
from glmheads import features as inputs
from glmheads.backends import Array
from glmheads.evaluation.evaluation import Evaluation
from glmheads.evaluation.keys import Key, factorize, in_order
from glmheads.evaluation.tables import Renamed, batches, column, is_table, names, to_host
from glmheads.families import BERNOULLI
from glmheads.heads import Head
from glmheads.metrics import Seen
from glmheads.statistics import Statistics

__all__ = ["Evaluator", "evaluate", "log_odds"]


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
) -> Evaluation:
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
    for index, batch in enumerate(batches(data, evaluator.columns)):
        try:
            evaluator.update(batch)
        except (TypeError, ValueError) as error:
            if index or evaluator.count:
                error.add_note(f"in batch {index}, after {evaluator.count:,} examples")
            raise
        if progress is not None:
            progress(evaluator.count)
    return evaluator.evaluation()


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
        weighted = head._weight_column
        self._weight_key = weighted.key if isinstance(weighted, inputs.NumericColumn) else weighted
        if weights is not None and self._weight_key is None:
            raise ValueError(
                f"weights are {weights!r}, but the head has no weight column: make it with weight_column={weights!r}"
            )
        self._head = head
        self._scale = "logits" if probabilities is None else "probabilities"
        self._scores = names(
            self._scale, next((given for given in (logits, probabilities) if given is not None), "logits")
        )
        self._labels = names("labels", labels)
        self._weights = self._weight_key if weights is None else names("weights", weights)[0]
        self._by = () if by is None else names("by", by)
        self._min_count = min_count
        self._reads_features = "features" in head._loss_arguments
        self._whole = Seen(head.empty())
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
        labels, scores, given, regularization_losses = self._examples(batch)
        features = given if self._weights == self._weight_key else Renamed(given, self._weight_key, self._weights)
        logits = inputs.as_logits(scores, self._head.logits_dimension)
        if self._scale == "probabilities":
            logits = log_odds(logits, inputs.as_weights(features, self._head._weight_column, logits))
        count = int(logits.shape[0])
        keys, codes = factorize([(name, column(given, name)) for name in self._by], count)
        more = self._head._measure_or_keep(labels, logits, features, regularization_losses)
        if self._by:
            self._slices.add(keys, codes, labels, logits, self._host_features(features))
        self._whole += more
        self.count += count

    @property
    def slice_count(self) -> int:
        """How many slices have been seen."""
        return self._slices.count

    def evaluation(self) -> Evaluation:
        """What has been seen so far."""
        self._slices.measure()
        parts = {
            key: Evaluation(self._head, statistics, count) for key, (statistics, count) in self._slices.records.items()
        }
        return Evaluation(self._head, self._whole.record, self.count, self._by, in_order(parts), self._min_count)

    def _examples(self, batch: Any) -> tuple[Any, Any, Any, Any]:
        """Labels, logits or probabilities, features and regularization losses."""
        if isinstance(batch, Mapping) and self._is_of_arguments(batch):
            return (batch["labels"], batch["logits"], batch.get("features"), batch.get("regularization_losses"))
        if is_table(batch):
            return self._read("labels", batch, self._labels), self._read(self._scale, batch, self._scores), batch, None
        if isinstance(batch, (tuple, list)) and 2 <= len(batch) <= 4 and self._scale == "logits":
            labels, logits, features, regularization_losses = (*batch, None, None)[:4]
            return labels, logits, features, regularization_losses
        raise TypeError(
            "a batch must be a table, a mapping of columns or, without probabilities, a tuple (labels, logits[, "
            f"features[, regularization_losses]]). Given type: {type(batch)}"
        )

    def _is_of_arguments(self, batch: Mapping[str, Any]) -> bool:
        """Whether a mapping has the arguments of ``Head.statistics``, not columns."""
        more = {"features", "regularization_losses"} & set(batch) - set(self.columns or ())
        return bool(more) and {"labels", "logits"} <= set(batch) <= {"labels", "logits", *more}

    def _read(self, argument: str, batch: Any, names: tuple[str, ...]) -> Any:
        """Columns as one array; what one column of labels holds, words perhaps, as it is."""
        if argument == "labels" and len(names) == 1:
            return column(batch, names[0])
        arrays = [inputs.as_array(f"{argument} (column {name})", column(batch, name)) for name in names]
        xp = backends.of(arrays[0]).xp
        if len(arrays) > 1:
            return xp.stack(arrays, axis=-1)
        return xp.reshape(arrays[0], (-1, 1)) if len(arrays[0].shape) == 1 else arrays[0]

    def _host_features(self, features: Any) -> dict[str, np.ndarray[Any, Any]]:
        """What the head may ask of the features, by name."""
        names = inputs.column_names(features) if self._reads_features and features is not None else []
        if self._weight_key is not None:
            names = [*names, self._weight_key]
        return {name: to_host(inputs.column(features, name)) for name in dict.fromkeys(names)}


class _Slices:
    """The records of slices, and examples that wait to be measured together."""

    _MOST_WAITING = 1 << 20

    def __init__(self, head: Head) -> None:
        self.records: dict[Key, tuple[Statistics, int]] = {}
        self._head = head
        self._ids: dict[Key, int] = {}
        self._waiting: list[tuple[np.ndarray[Any, Any], ...]] = []
        self._rows = 0
        self._form: tuple[tuple[str, tuple[int, ...], str], ...] = ()

    @property
    def count(self) -> int:
        return len(self._ids)

    def add(
        self, keys: list[Key], codes: np.ndarray[Any, Any], labels: Any, logits: Any, features: Mapping[str, Any]
    ) -> None:
        """Examples of the slices ``keys[codes]``."""
        logits = to_host(logits)
        arrays = {"labels": to_host(labels).reshape(logits.shape), "logits": logits, **features}
        form = tuple((name, array.shape[1:], _kind(array.dtype)) for name, array in arrays.items())
        if form != self._form:
            self.measure()
            self._form = form
        ids = np.asarray([self._ids.setdefault(key, len(self._ids)) for key in keys], dtype=np.int64)
        for start in range(0, len(codes), self._MOST_WAITING):
            rows = slice(start, start + self._MOST_WAITING)
            # Copies: whoever gives the batches may use their memory again.
            self._waiting.append((ids[codes[rows]], *(array[rows].copy() for array in arrays.values())))
            self._rows += len(codes[rows])
            if self._rows >= self._MOST_WAITING:
                self.measure()

    def measure(self) -> None:
        """Measure what waits."""
        if not self._waiting:
            return
        ids, *arrays = (np.concatenate(pieces) for pieces in zip(*self._waiting, strict=True))
        self._waiting, self._rows = [], 0
        # NumPy sorts 16 bits by radix.
        order = np.argsort(ids.astype(np.uint16) if len(self._ids) <= 1 << 16 else ids, kind="stable")
        ids, *arrays = (array[order] for array in (ids, *arrays))
        names = [name for name, *_ in self._form[2:]]
        keys = list(self._ids)
        for start, stop in pairwise(np.flatnonzero(np.diff(ids, prepend=-1, append=-1)).tolist()):
            labels, logits, *features = (array[start:stop] for array in arrays)
            key = keys[ids[start]]
            seen, count = self.records.get(key, (self._head.empty(), 0))
            more = self._head._measure(labels, logits, dict(zip(names, features, strict=True)))
            self.records[key] = (seen + more).settled(), count + stop - start


def _kind(dtype: np.dtype[Any]) -> str:
    """What arrays must share to be one without changing numbers; strings may differ in length."""
    return dtype.kind if dtype.kind in "SU" else dtype.str


def log_odds(probabilities: Array, weights: Array | None = None) -> Array:
    """Logits log(p / (1 − p)) of probabilities p, in float64 where the device has it, right to a few ulp.

    Raises
    ------
    ValueError
        If a probability at hand is not from 0 to 1 and its weight is not 0; elsewhere its logit is NaN.
    """
    backend = backends.of(probabilities)
    xp = backend.xp
    p = xp.astype(probabilities, backend.accumulation_dtype(backend.device(probabilities)), copy=False)
    outside = (p < 0) | (p > 1)
    if weights is not None:
        outside = outside & (weights != 0)
    if backend.at_hand(outside) and bool(xp.any(outside)):
        flat, where = backend.to_numpy(p).ravel(), np.flatnonzero(backend.to_numpy(outside).ravel())
        shown = ", ".join(f"{flat[i]:g} at {i}" for i in where[:5])
        raise ValueError(
            f"probabilities must be in [0, 1]; {len(where)} of {len(flat)} are not: {shown}"
            f"{', ...' if len(where) > 5 else ''}. Are they logits?"
        )
    inside = (p > 0) & (p < 1)
    is_middle = (p > 0.25) & (p < 0.75)
    half = xp.full_like(p, 0.5)
    q, r = xp.where(inside, p, half), xp.where(is_middle, p, half)
    # In the middle 2r − 1 is exact, and the difference of logarithms would cancel.
    logits = xp.where(is_middle, xp.log1p((2 * r - 1) / (1 - r)), xp.log(q) - xp.log1p(-q))
    for probability, logit in ((0, -math.inf), (1, math.inf)):
        logits = xp.where(p == probability, xp.full_like(p, logit), logits)
    return xp.where(inside | (p == 0) | (p == 1), logits, xp.full_like(p, math.nan))

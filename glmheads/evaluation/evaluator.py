"""`evaluate`: every metric of a head over data as people have them, as a whole and by slices.

The data come in batches of columns. `Evaluator` adds the examples of each batch to an accumulator, and with `by` to one
of slices.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from glmheads import backends
from glmheads.accumulator import SliceAccumulator
from glmheads.backends import Array
from glmheads.evaluation.evaluation import Evaluation
from glmheads.evaluation.keys import Key, factorize, in_order
from glmheads.families import BERNOULLI
from glmheads.heads import FamilyHead
from glmheads.inputs import NumericColumn, as_logits, as_weights
from glmheads.inputs.arrays import SHOWN, as_array, to_host
from glmheads.inputs.tables import batches, column, column_names, is_table, names
from glmheads.kernels.links import logit


def evaluate(
    head: FamilyHead,
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
    head : FamilyHead
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
        head, logits=logits, probabilities=probabilities, labels=labels, weights=weights, by=by, min_count=min_count
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
        head: FamilyHead,
        *,
        logits: str | Sequence[str] | None = None,
        probabilities: str | None = None,
        labels: str | Sequence[str] = "labels",
        weights: str | None = None,
        by: str | Sequence[str] | None = None,
        min_count: int = 1,
    ) -> None:
        if not isinstance(head, FamilyHead):
            raise TypeError(f"head must be a Head that has statistics, as FamilyHead. Given type: {type(head)}")
        if isinstance(min_count, bool) or not isinstance(min_count, int) or min_count < 1:
            raise ValueError(f"min_count must be an integer >= 1. Given: {min_count!r}")
        if probabilities is not None:
            if logits is not None:
                raise ValueError(f"give logits or probabilities, not both: {logits!r} and {probabilities!r}")
            if head.family != BERNOULLI or head.logits_dimension != 1:
                raise ValueError(f"probabilities are for a head of two classes, not for {head!r}: give logits")
        weighted = head.weight_column
        self._weight_key = weighted.key if isinstance(weighted, NumericColumn) else weighted
        if weights is not None and self._weight_key is None:
            raise ValueError(
                f"weights are {weights!r}, but the head has no weight column: make it with weight_column={weights!r}"
            )
        self._head = head
        self._scale = "logits" if probabilities is None else "probabilities"
        scores = logits if probabilities is None else probabilities
        self._scores = names(self._scale, "logits" if scores is None else scores)
        self._labels = names("labels", labels)
        self._weights = self._weight_key if weights is None else names("weights", weights)[0]
        self._by = () if by is None else names("by", by)
        self._min_count = min_count
        self._whole = head.accumulator()
        self._slices = SliceAccumulator(head.measurement)
        self._codes: dict[Key, int] = {}
        self.count = 0
        wanted = (*self._scores, *self._labels, self._weights, *self._by)
        needed = dict.fromkeys(name for name in wanted if name is not None)
        self.columns = None if head.reads_features else tuple(needed)

    def update(self, batch: Any) -> None:
        """Let it see a batch: see `evaluate`.

        Raises
        ------
        ValueError, TypeError
            As `evaluate` does; nothing is changed then.
        """
        labels, scores, given, regularization_losses = self._examples(batch)
        features = given
        if self._weights is not None and self._weights != self._weight_key:
            read = column_names(given) if self._head.reads_features else ()
            features = {name: given[name] for name in read} | {self._weight_key: column(given, self._weights)}
        logits = as_logits(scores, self._head.logits_dimension)
        if self._scale == "probabilities":
            logits = log_odds(logits, as_weights(features, self._head.weight_column, logits))
        count = int(logits.shape[0])
        keys, codes = factorize([(name, column(given, name)) for name in self._by], count)
        examples = self._head.accumulate(self._whole, labels, logits, features, regularization_losses)
        if self._by:
            own = [self._codes.setdefault(key, len(self._codes)) for key in keys]
            examples = examples.detached()
            on_host = examples.with_arrays([None if array is None else to_host(array) for array in examples.arrays()])
            self._slices.add(on_host.validated(), np.asarray(own, dtype=np.int64)[codes])
        self.count += count

    @property
    def slice_count(self) -> int:
        """How many slices have been seen."""
        return len(self._codes)

    def evaluation(self) -> Evaluation:
        """The evaluation of what has been seen so far."""
        records = self._slices.records()
        slices = {key: Evaluation(self._head, *records[code]) for key, code in self._codes.items()}
        return Evaluation(self._head, self._whole.statistics, self.count, self._by, in_order(slices), self._min_count)

    def _examples(self, batch: Any) -> tuple[Any, Any, Any, Any]:
        """Labels, logits or probabilities, features and regularization losses."""
        arguments = {"labels", "logits", "features", "regularization_losses"}
        if (
            isinstance(batch, Mapping)
            and {"labels", "logits"} <= set(batch) <= arguments
            and (set(batch) & {"features", "regularization_losses"}) - set(self.columns or ())
        ):
            return batch["labels"], batch["logits"], batch.get("features"), batch.get("regularization_losses")
        if is_table(batch):
            return self._read("labels", batch, self._labels), self._read(self._scale, batch, self._scores), batch, None
        if isinstance(batch, (tuple, list)) and 2 <= len(batch) <= 4 and self._scale == "logits":
            labels, logits, *more = batch
            return labels, logits, *more, *[None] * (2 - len(more))
        raise TypeError(
            "a batch must be a table, a mapping of columns or, without probabilities, a tuple (labels, logits[, "
            f"features[, regularization_losses]]). Given type: {type(batch)}"
        )

    def _read(self, argument: str, batch: Any, names: tuple[str, ...]) -> Any:
        """Columns as one array; what one column of labels holds, words perhaps, as it is."""
        if argument == "labels" and len(names) == 1:
            return column(batch, names[0])
        arrays = [as_array(f"{argument} (column {name})", column(batch, name)) for name in names]
        if len(arrays) > 1:
            return backends.of(arrays[0]).xp.stack(arrays, axis=-1)
        return arrays[0][:, None] if arrays[0].ndim == 1 else arrays[0]


def log_odds(probabilities: Array, weights: Array | None = None) -> Array:
    """Logits log(p / (1 − p)) of probabilities p, in float64 where the device has it, right to a few ulp.

    Raises
    ------
    ValueError
        If a probability at hand is not from 0 to 1 and its weight is not 0; elsewhere its logit is NaN.
    """
    backend = backends.of(probabilities)
    dtype = backend.accumulation_dtype(backend.device(probabilities))
    p = backend.xp.astype(probabilities, dtype, copy=False)
    outside = ((p < 0) | (p > 1)) & (True if weights is None else weights != 0)
    if backend.is_concrete(outside) and bool(backend.xp.any(outside)):
        flat, where = backend.to_numpy(p).ravel(), np.flatnonzero(backend.to_numpy(outside))
        shown = ", ".join([f"{flat[i]:g} at {i}" for i in where[:SHOWN]] + ["..."] * (len(where) > SHOWN))
        raise ValueError(
            f"probabilities must be in [0, 1]; {len(where)} of {len(flat)} are not: {shown}. Are they logits?"
        )
    return logit(p)

"""`Head`: the interface of tf.estimator's heads. `StatisticsHead`: metrics as functions of additive statistics."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import FrozenInstanceError
from typing import Any

from glmheads import backends, engine
from glmheads.accumulator import Accumulator
from glmheads.backends import Array
from glmheads.heads.configuration import Configured
from glmheads.heads.estimator_spec import EstimatorSpec, ExportOutput, ModeKeys, PredictOutput, training_op
from glmheads.heads.losses import has, sum_of
from glmheads.inputs import Examples, LabelRule
from glmheads.kernels.elementwise import compute_dtype
from glmheads.metrics import REGULARIZATION, Metric, MetricSpec, update
from glmheads.names import Reduction
from glmheads.statistics import Measurement, ProbabilityBins, Regularization, Statistics

Mode = ModeKeys | str | None
Scalars = Sequence[Any] | None
"""Regularization losses, each a number or an array of one element."""
Prediction = Array | Callable[[], Any]


class Predictions(Mapping[str, Any]):
    """Predictions by key; strings, which only NumPy holds, are made when they are read."""

    def __init__(self, values: Mapping[str, Prediction]) -> None:
        self._values = dict(values)

    def __getitem__(self, key: str) -> Any:
        found = self._values[key]
        return found() if callable(found) else found

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Predictions({list(self._values)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Predictions, (dict(self),)


class Head(Configured, ABC):
    """The top of a model: given logits it knows the loss, the predictions and the metrics.

    This class is the interface, of tf.estimator.Head. A subclass that defines its abstract members has
    `create_estimator_spec`, and its repr, equality and dict come from the arguments of its ``__init__``, each of which
    is kept in the attribute of its name. `FamilyHead` implements everything for a `Family`.

    Examples
    --------
    >>> import glmheads as gh
    >>> isinstance(gh.RegressionHead(), gh.Head)
    True
    """

    @property
    @abstractmethod
    def name(self) -> str | None:
        """The head's name, or None."""

    @property
    @abstractmethod
    def logits_dimension(self) -> int:
        """Length of the last axis of the logits."""

    @property
    @abstractmethod
    def loss_reduction(self) -> Reduction:
        """How the losses of a batch become one."""

    @abstractmethod
    def loss(
        self, labels: Any, logits: Any, features: Any = None, mode: Mode = None, regularization_losses: Scalars = None
    ) -> Any:
        """The reduced loss, a scalar."""

    @abstractmethod
    def predictions(self, logits: Any, keys: Sequence[str] | None = None) -> Mapping[str, Any]:
        """The predictions, by key."""

    @abstractmethod
    def metrics(self, regularization_losses: Scalars = None) -> dict[str, Any]:
        """New metrics that have seen no data, by key."""

    @abstractmethod
    def update_metrics(
        self,
        eval_metrics: dict[str, Any],
        features: Any,
        logits: Any,
        labels: Any,
        mode: Mode = None,
        regularization_losses: Scalars = None,
    ) -> dict[str, Any]:
        """Let metrics see a batch, and return them."""

    def create_estimator_spec(
        self,
        features: Any,
        mode: ModeKeys | str,
        logits: Any,
        labels: Any = None,
        optimizer: Any = None,
        trainable_variables: Sequence[Any] | None = None,
        train_op_fn: Callable[[Array], Any] | None = None,
        update_ops: Sequence[Callable[[], Any]] | None = None,
        regularization_losses: Scalars = None,
    ) -> EstimatorSpec:
        """All that a model function returns in a mode.

        Parameters
        ----------
        features, logits, labels, regularization_losses
            As in `loss`; labels are not needed to predict.
        mode : ModeKeys
        optimizer : optional
            A ``torch.optim.Optimizer``, or an object with its methods ``zero_grad`` and ``step``. Nothing changes
            before ``spec.train_op()`` is called, which takes one step, calls the `update_ops` and returns the loss.
        trainable_variables : list or tuple, optional
            The optimizer's own parameters; needed with an optimizer.
        train_op_fn : callable of (loss), optional
            Called at once, on any library; what it returns is ``spec.train_op``. The `update_ops` are called after it.
        update_ops : list or tuple of callables, optional

        Returns
        -------
        EstimatorSpec

        Raises
        ------
        ValueError
            If labels are missing; or if not exactly one of `optimizer` and `train_op_fn` is given in mode TRAIN.
        """
        mode = ModeKeys(mode)
        predictions = self.predictions(logits)
        if mode == ModeKeys.PREDICT:
            return EstimatorSpec(mode, predictions, export_outputs=self._export_outputs(predictions))
        given = {"features": features, "logits": logits, "labels": labels, "mode": mode}
        given["regularization_losses"] = regularization_losses
        loss = self.loss(**given)
        if mode == ModeKeys.EVAL:
            metrics = self.update_metrics(self.metrics(regularization_losses), **given)
            return EstimatorSpec(mode, predictions, loss=loss, eval_metric_ops=metrics)
        train_op = training_op(loss, optimizer, trainable_variables, train_op_fn, update_ops)
        return EstimatorSpec(mode, predictions, loss=loss, train_op=train_op)

    def _export_outputs(self, predictions: Mapping[str, Any]) -> dict[str, ExportOutput]:
        """The exports of a model that predicts, by signature."""
        return dict.fromkeys(("serving_default", "predict"), PredictOutput(predictions))


class StatisticsHead(Head):
    """A head whose metrics are functions of the statistics of examples.

    A subclass has `metric_specs`, the `measurement` that computes their statistics, and `examples`.
    """

    metric_specs: tuple[MetricSpec, ...]
    measurement: Measurement
    weight_column: Any
    _is_compiled = False

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self):
            raise FrozenInstanceError(f"cannot assign to {name}: a head does not change. Make another one")
        object.__setattr__(self, name, value)

    def examples(self, labels: Any, logits: Any, features: Any = None, *, evaluated: bool = False) -> Examples:
        """Labels, logits and weights as arrays of one library, of shapes that fit."""
        raise NotImplementedError

    def statistics(
        self, labels: Any, logits: Any, features: Any = None, regularization_losses: Scalars = None
    ) -> Statistics:
        """The sufficient statistics of a batch: a pure function, whose results add up.

        Parameters
        ----------
        labels, logits, features, regularization_losses
            As in `loss`.

        Returns
        -------
        Statistics
            In the library and on the device of the logits.

        Raises
        ------
        ValueError, TypeError
            As `loss` does; a value that can't be looked at is counted instead.

        Notes
        -----
        A record of more examples than its summary of the scores has room for (28,672) is compressed when it is made,
        and the bounds of areas widen when such records are added up. `evaluate` and `update_metrics` fold the scores of
        large batches into the summary as they come: their bounds are several times tighter.
        """
        examples = self.examples(labels, logits, features, evaluated=True)
        record: Statistics = engine.run(self.measurement, examples, compiled=self._is_compiled)[0]
        if has(regularization_losses):
            record = record + self._regularization(regularization_losses, examples.logits)
        return record.compressed()

    def _regularization(self, losses: Sequence[Any], logits: Array) -> Statistics:
        """The record of one call with these regularization losses."""
        state = Regularization().of_call(sum_of(losses, _zeros((), logits)))
        return Statistics(self.measurement.config, {Regularization.name: state})

    def empty(self, like: Array | None = None) -> Statistics:
        """The neutral element of ``+``: the statistics of no data.

        Parameters
        ----------
        like : array, optional
            Without it the record holds no arrays and adds to any other. With it, it is a record of zeros in the array's
            library, dtype and device, of the largest shape, which a loop that must not change shapes (``jax.lax.scan``)
            can carry.
        """
        if like is None:
            return Statistics(self.measurement.config, {})
        none = _zeros((0, self.logits_dimension), like)
        weights = none[:, :1] if self.weight_column is not None else None
        examples = Examples(none, none, weights, LabelRule.of(None), none, none, is_validated=True)
        return self.measurement(examples.flattened(elementwise=self.measurement.elementwise))[0].fixed_shape()

    def results(self, statistics: Statistics) -> dict[str, Array]:
        """Every metric of the data, as 0-d arrays of the accumulation dtype; 0 / 0 is 0.

        Raises
        ------
        ValueError
            If the record is another head's, or holds bad labels or weights that could be counted but not refused; under
            a trace and on lazy arrays those make the results NaN.
        """
        return {self._key(spec): spec.compute(statistics) for spec in self._specs_of(statistics)}

    def bounds(self, statistics: Statistics) -> dict[str, Array]:
        """The bounds of the areas, by metric key: (lower, upper), which hold the exact value, arrays of shape (2,).

        Raises
        ------
        ValueError
            As `results` does.
        """
        specs = [spec for spec in self._specs_of(statistics) if spec.bounds is not None]
        return {self._key(spec): spec.compute_bounds(statistics) for spec in specs}

    def curves(self, statistics: Statistics) -> dict[str, dict[str, Array]]:
        """Curves of the data, by name, each a dict of arrays; a head has those that its metrics need.

        Returns
        -------
        dict
            ``"calibration"``, of a head with `extra_metrics` that read bins of the probability, holds for each bin, in
            ascending order, its edges ``lower`` and ``upper``, the ``mean_prediction`` and ``mean_label`` (NaN where
            the bin is empty), the ``weight`` and the ``count`` of the examples in it: arrays of one shape (m,), empty
            before any data. The bins are finer near 0 and 1; neighbours may be joined by their weighted means.

        Raises
        ------
        ValueError
            If the record is another head's.
        """
        for statistic in {spec.statistic for spec in self._specs_of(statistics)}:
            if isinstance(statistic, ProbabilityBins):
                return {"calibration": statistic.curve(statistics.states.get(statistic.name))}
        return {}

    def _specs_of(self, statistics: Statistics) -> tuple[MetricSpec, ...]:
        """The metrics that can be read from a record of this head."""
        if not isinstance(statistics, Statistics):
            raise TypeError(f"expected Statistics, which Head.statistics makes. Given type: {type(statistics)}")
        config = self.measurement.config
        if statistics.config != config:
            raise ValueError(f"the statistics are of a differently configured head: {statistics.config}, not {config}")
        has_regularization = Regularization.name in statistics.states
        return (*self.metric_specs, REGULARIZATION) if has_regularization else self.metric_specs

    def _key(self, spec: MetricSpec) -> str:
        return f"{spec.key}/{self.name}" if self.name else str(spec.key)

    # Streams

    def accumulator(self) -> Accumulator:
        """An accumulator that has seen no data."""
        return Accumulator(self.measurement, compiled=self._is_compiled)

    def accumulate(
        self,
        accumulator: Accumulator,
        labels: Any,
        logits: Any,
        features: Any = None,
        regularization_losses: Scalars = None,
    ) -> Examples:
        """Add a batch to an accumulator of this head, and return its examples.

        Raises
        ------
        ValueError, TypeError
            As `statistics` does, or if the accumulator is another head's; nothing is added then.
        """
        examples = self.examples(labels, logits, features, evaluated=True)
        self._add(accumulator, examples, regularization_losses)
        return examples

    def _add(self, accumulator: Accumulator, examples: Examples, regularization_losses: Scalars) -> None:
        if accumulator.config != self.measurement.config:
            _ = accumulator.statistics + self.empty()  # which says so
        more = self._regularization(regularization_losses, examples.logits) if has(regularization_losses) else None
        accumulator.add(examples)
        if more is not None:
            accumulator.merge(more.detach())

    def evaluate(self, batches: Iterable[Any]) -> dict[str, Array]:
        """The results of an iterable of batches.

        Parameters
        ----------
        batches : iterable
            Of tuples (labels, logits[, features[, regularization_losses]]) or of mappings with these keys.

        Raises
        ------
        TypeError
            If a batch is neither.
        ValueError, TypeError
            As `statistics` does.

        Examples
        --------
        >>> import numpy as np, glmheads as gh
        >>> head = gh.RegressionHead()
        >>> batches = [(np.asarray([1.0, 3.0]), np.asarray([[1.0], [1.0]])), (np.asarray([1.0]), np.asarray([[0.0]]))]
        >>> float(head.evaluate(batches)["average_loss"])
        1.6666666666666667
        """
        accumulator = self.accumulator()
        for batch in batches:
            if isinstance(batch, Mapping):
                self.accumulate(accumulator, **batch)
            elif isinstance(batch, (tuple, list)) and 2 <= len(batch) <= 4:
                self.accumulate(accumulator, *batch)
            else:
                keys = "labels, logits[, features[, regularization_losses]]"
                raise TypeError(f"a batch must be a tuple ({keys}) or a mapping with these keys. Given: {type(batch)}")
        return self.results(accumulator.statistics)

    def metrics(self, regularization_losses: Scalars = None) -> dict[str, Metric]:
        """New metrics that have seen no data, by key.

        Parameters
        ----------
        regularization_losses : sequence of scalars, optional
            If there are any, their mean over updates is among the metrics.
        """
        specs = (*self.metric_specs, REGULARIZATION) if has(regularization_losses) else self.metric_specs
        accumulator = self.accumulator()
        return {self._key(spec): Metric(spec, accumulator) for spec in specs}

    def update_metrics(
        self,
        eval_metrics: dict[str, Metric],
        features: Any,
        logits: Any,
        labels: Any,
        mode: Mode = None,
        regularization_losses: Scalars = None,
    ) -> dict[str, Metric]:
        """Let metrics see a batch.

        Parameters
        ----------
        eval_metrics : dict of Metric
            From `metrics`, or some of them; each is updated in place.
        features, logits, labels, regularization_losses
            As in `loss`.
        mode : ModeKeys, optional
            Accepted for compatibility.

        Returns
        -------
        dict of Metric
            `eval_metrics`.

        Raises
        ------
        ValueError, TypeError
            As `statistics` does; no metric is changed then. No graph is kept alive.
        """
        if not isinstance(eval_metrics, Mapping) or not all(isinstance(m, Metric) for m in eval_metrics.values()):
            raise TypeError(f"eval_metrics must be a dict of Metric, as Head.metrics makes. Given: {eval_metrics!r}")
        examples = self.examples(labels, logits, features, evaluated=True)
        update(eval_metrics.values(), lambda accumulator: self._add(accumulator, examples, regularization_losses))
        return eval_metrics


def _zeros(shape: tuple[int, ...], like: Array) -> Array:
    """Zeros in the library, compute dtype and device of `like`."""
    backend = backends.of(like)
    device = None if backend.is_lazy(like) else backend.device(like)
    return backend.xp.zeros(shape, dtype=compute_dtype(like), device=device)

"""Metrics: a `MetricSpec` defines one as a function of a state, a `Metric` is one with data; and all definitions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from glmheads import backends
from glmheads.accumulator import Accumulator
from glmheads.backends import Array
from glmheads.display import html_table, place
from glmheads.kernels import calibration, curves
from glmheads.kernels.reductions import Pair, safe_divide, value
from glmheads.kernels.thresholds import Confusion
from glmheads.names import MetricKeys
from glmheads.statistics import Means, Statistic, Statistics, Sums, Validity
from glmheads.statistics.statistic import ProbabilityBins, RankingSummary, Regularization, ScoreBuckets, ThresholdCounts

StateFunction = Callable[[Any], Array]
"""A function of the state that a metric's statistic computes."""


@dataclass(frozen=True)
class Partial:
    """``function(*arguments, state)``: like ``functools.partial``, but equal to another of the same parts."""

    function: Callable[..., Array]
    arguments: tuple[Any, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", tuple(self.arguments))

    def __call__(self, state: Any) -> Array:
        return self.function(*self.arguments, state)


@dataclass(frozen=True)
class MetricSpec:
    """The definition of a metric.

    Attributes
    ----------
    key : str
    statistic : Statistic
        Whose state the metric reads.
    value : callable of (state)
        The metric, a 0-d array of the accumulation dtype; 0 / 0 is 0.
    bounds : callable of (state), optional
        For an area, an array (lower, upper) that holds its exact value.
    reads_logits : bool
        Whether a NaN logit makes the metric NaN.

    Examples
    --------
    >>> import numpy as np, glmheads as gh
    >>> from glmheads.families import BERNOULLI
    >>> from glmheads.statistics import Means
    >>> total = gh.MetricSpec("total_loss", Means(), value=lambda state: state["loss"])
    >>> head = gh.FamilyHead(family=BERNOULLI, metrics=[total])
    >>> round(float(head.evaluate([([1, 0], [[2.0], [0.5]])])["total_loss"]), 4)
    1.101
    """

    key: str
    statistic: Statistic = field(repr=False)
    value: StateFunction = field(repr=False)
    bounds: StateFunction | None = field(default=None, repr=False)
    reads_logits: bool = field(default=True, repr=False)

    def compute(self, statistics: Statistics) -> Array:
        """The value: a 0-d array, 0 before any data.

        A NaN logit makes it NaN; so does a bad label or weight under a trace.

        Raises
        ------
        ValueError
            If bad labels or weights have been counted and their number can be looked at.
        """
        return self._computed(statistics, self.value, np.asarray(0.0))

    def compute_bounds(self, statistics: Statistics) -> Array:
        """(lower, upper), an array of shape (2,) that holds the exact value; both are the value if it has no bounds.

        Raises
        ------
        ValueError
            As `compute` does.
        """
        both = self.bounds or (lambda state: statistics.backend.xp.stack([self.value(state)] * 2))
        return self._computed(statistics, both, np.zeros(2))

    def _computed(self, statistics: Statistics, function: StateFunction, without_data: Array) -> Array:
        state = statistics.states.get(self.statistic.name)
        if state is None:
            return without_data
        with statistics.backend.errstate():
            result = function(state)
        if Validity.name not in statistics.states:
            return result
        invalid, backend = statistics.invalid, backends.of(result)
        if not backend.is_lazy(result):
            counts = {key: int(invalid[key]) for key in ("labels", "weights")}
            if any(counts.values()):
                found = " and ".join(f"{count} bad {key}" for key, count in counts.items() if count)
                raise ValueError(
                    f"{self.key} is of data with {found} (NaN, infinite or out of range), which could not be refused "
                    "when they came because their values were not at hand. Check them before they reach the head."
                )
        count = invalid["labels"] + invalid["weights"] + invalid["logits"] * float(self.reads_logits)
        return backend.xp.where(count > 0, backend.xp.full_like(result, float("nan")), result)


def choose(
    extra_metrics: Sequence[str] | str | None, available: Mapping[str, tuple[MetricSpec, ...]]
) -> tuple[MetricSpec, ...]:
    """The metrics that a head's `extra_metrics` names, in its order; all for ``"all"``.

    Raises
    ------
    ValueError
        If a name is not available.
    TypeError
        If `extra_metrics` is not a sequence of strings.
    """
    if extra_metrics is None or extra_metrics == "all":
        return tuple(spec for specs in available.values() for spec in specs) if extra_metrics else ()
    known = ", ".join(map(str, available))
    if isinstance(extra_metrics, str):
        raise ValueError(
            f'extra_metrics must be "all" or a list of names. Given the string {extra_metrics!r}. The names: {known}'
        )
    if not isinstance(extra_metrics, Iterable) or not all(isinstance(name, str) for name in extra_metrics):
        raise TypeError(f'extra_metrics must be "all" or a list of names. Given: {extra_metrics!r}')
    unknown = [str(name) for name in extra_metrics if name not in available]
    if unknown:
        raise ValueError(
            f"extra_metrics has names that this head does not know: {unknown}. It knows {known}; what a head reports "
            "by default, and thresholds, are not named here."
        )
    return tuple(spec for name in dict.fromkeys(extra_metrics) for spec in available[name])


def chosen_names(extra_metrics: Sequence[str] | str | None) -> tuple[str, ...] | str | None:
    """A head's `extra_metrics` as it is kept."""
    if extra_metrics is None or isinstance(extra_metrics, str):
        return extra_metrics
    return tuple(map(str, extra_metrics))


class Metric:
    """A metric and the data that it has seen.

    ``Head.metrics`` makes it and ``Head.update_metrics`` feeds it; the metrics of a head share one accumulator.

    Parameters
    ----------
    spec : MetricSpec
    accumulator : Accumulator

    Examples
    --------
    >>> import numpy as np, glmheads as gh
    >>> head = gh.BinaryClassHead()
    >>> metrics = head.metrics()
    >>> metrics = head.update_metrics(metrics, None, logits=[[2.0], [0.5]], labels=[1, 0])
    >>> float(metrics["accuracy"].result())
    0.5
    >>> metrics["accuracy"].reset()
    >>> float(metrics["accuracy"].result())
    0.0
    """

    def __init__(self, spec: MetricSpec, accumulator: Accumulator) -> None:
        self._spec = spec
        self._accumulator = self._initial = accumulator

    @property
    def statistics(self) -> Statistics:
        """The record of the data seen since the last reset."""
        return self._accumulator.statistics

    def result(self) -> Array:
        """The value, a 0-d array of the accumulation dtype; 0 before any update.

        Raises
        ------
        ValueError
            If the data held bad labels or weights that could not be refused when they came.
        """
        return self._spec.compute(self.statistics)

    def bounds(self) -> Array:
        """An interval (lower, upper) that holds the exact value for the data seen, shape (2,).

        For an area it is as wide as the summary of the scores makes it; for any other metric both are the value.
        """
        return self._spec.compute_bounds(self.statistics)

    def reset(self) -> None:
        """Forget the data seen; the other metrics of the head keep theirs."""
        self._accumulator = self._initial

    def __repr__(self) -> str:
        return f"<Metric {self._spec.key}: {self._shown(self.result)}>"

    def _repr_html_(self) -> str:
        rows = {"value": self._shown(self.result)}
        if self._spec.bounds is not None:
            rows["bounds"] = self._shown(self.bounds)
        return html_table(str(self._spec.key), rows)

    def _shown(self, read: Callable[[], Array]) -> str:
        """The values as text; where reading them would wait for a device or compute what is lazy, the place."""
        arrays = self.statistics.arrays()
        if not arrays:
            return "no data"
        backend = backends.of(arrays[0])
        if not backend.is_concrete(arrays[0]):
            return place(arrays[0])
        try:
            found = backend.to_numpy(backend.detach(read()))
        except ValueError:
            return "the data have bad labels or weights"
        return " to ".join(f"{value:.6g}" for value in np.ravel(found))


def update(metrics: Iterable[Metric], add: Callable[[Accumulator], None]) -> None:
    """Apply ``add`` to what every metric has seen; none is changed if it fails for one."""
    metrics = list(metrics)
    updated = {accumulator: accumulator.copy() for accumulator in {metric._accumulator for metric in metrics}}
    for accumulator in updated.values():
        add(accumulator)
    for metric in metrics:
        metric._accumulator = updated[metric._accumulator]


# ---------------------------------------------------------------------------------------------------------------------
# Weighted means


def _ratio(numerator: str, denominator: str, sums: Sums) -> Array:
    return safe_divide(sums[numerator], sums[denominator])


def mean_metrics() -> tuple[MetricSpec, ...]:
    """Weighted means of the loss, the predictions and the labels."""
    return (
        MetricSpec(MetricKeys.LOSS_MEAN, Means(), Partial(_ratio, ("loss", "weight"))),
        MetricSpec(MetricKeys.PREDICTION_MEAN, Means(), Partial(_ratio, ("prediction", "weight"))),
        MetricSpec(MetricKeys.LABEL_MEAN, Means(), Partial(_ratio, ("label", "weight")), reads_logits=False),
    )


REGULARIZATION = MetricSpec(
    MetricKeys.LOSS_REGULARIZATION, Regularization(), Partial(_ratio, ("loss", "calls")), reads_logits=False
)
"""Mean over calls of the sum of the regularization losses."""


# ---------------------------------------------------------------------------------------------------------------------
# Of the class ids, and of a probability at thresholds: functions of the confusion weights


_Metric = tuple[str, str, Callable[[Confusion], Array]]
"""Its key of the class ids and at a threshold, and a function of the confusion weights."""


def _accuracy(counts: Confusion) -> Array:
    return safe_divide(counts.tp + counts.tn, counts.tp + counts.tn + counts.fp + counts.fn)


def _precision(counts: Confusion) -> Array:
    return safe_divide(counts.tp, counts.tp + counts.fp)


def _recall(counts: Confusion) -> Array:
    return safe_divide(counts.tp, counts.tp + counts.fn)


def _f1(counts: Confusion) -> Array:
    return safe_divide(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def _specificity(counts: Confusion) -> Array:
    return safe_divide(counts.tn, counts.tn + counts.fp)


def _balanced_accuracy(counts: Confusion) -> Array:
    return (_recall(counts) + _specificity(counts)) / 2


def _matthews_correlation(counts: Confusion) -> Array:
    """(TP·TN − FP·FN) / √((TP + FP)(TP + FN)(TN + FP)(TN + FN)), of shares, whose products don't overflow."""
    xp = backends.of(counts.tp).xp
    everything = sum(counts)
    tp, fp, tn, fn = (safe_divide(count, everything) for count in counts)
    margins = [xp.sqrt(margin) for margin in (tp + fp, tp + fn, tn + fp, tn + fn)]
    return safe_divide(tp * tn - fp * fn, margins[0] * margins[1] * margins[2] * margins[3])


_BY_DEFAULT: tuple[_Metric, ...] = (
    (MetricKeys.ACCURACY, MetricKeys.ACCURACY_AT_THRESHOLD, _accuracy),
    (MetricKeys.PRECISION, MetricKeys.PRECISION_AT_THRESHOLD, _precision),
    (MetricKeys.RECALL, MetricKeys.RECALL_AT_THRESHOLD, _recall),
)
_ON_REQUEST: tuple[_Metric, ...] = (
    (MetricKeys.F1, MetricKeys.F1_AT_THRESHOLD, _f1),
    (MetricKeys.SPECIFICITY, MetricKeys.SPECIFICITY_AT_THRESHOLD, _specificity),
    (MetricKeys.BALANCED_ACCURACY, MetricKeys.BALANCED_ACCURACY_AT_THRESHOLD, _balanced_accuracy),
    (MetricKeys.MATTHEWS_CORRELATION, MetricKeys.MATTHEWS_CORRELATION_AT_THRESHOLD, _matthews_correlation),
)


def _at(statistic: ThresholdCounts, threshold: float | None, function: Callable[..., Array], state: Sums) -> Array:
    return function(statistic.confusion(threshold, state))


def _spec(statistic: ThresholdCounts, threshold: float | None, metric: _Metric) -> MetricSpec:
    """A metric of the class ids, or at a threshold."""
    key, at_threshold, function = metric
    key = key if threshold is None else at_threshold % threshold
    return MetricSpec(key, statistic, Partial(_at, (statistic, threshold, function)))


def _accuracy_baseline(sums: Sums) -> Array:
    """The accuracy of always predicting the more frequent class."""
    xp = backends.of(sums["weight"]).xp
    mean = safe_divide(sums["label"], sums["weight"])
    return xp.where(sums["weight"] == 0, mean, xp.maximum(mean, 1 - mean))


def threshold_metrics(thresholds: tuple[float, ...]) -> tuple[MetricSpec, ...]:
    """Accuracy, precision and recall of the class ids (logit > 0) and at each threshold of the probability."""
    statistic = ThresholdCounts(thresholds)
    of_class_ids = (_spec(statistic, None, metric) for metric in _BY_DEFAULT)
    baseline = MetricSpec(MetricKeys.ACCURACY_BASELINE, Means(), _accuracy_baseline, reads_logits=False)
    at_thresholds = (_spec(statistic, threshold, metric) for threshold in thresholds for metric in _BY_DEFAULT)
    return (*of_class_ids, baseline, *at_thresholds)


def confusion_metrics(thresholds: tuple[float, ...]) -> dict[str, tuple[MetricSpec, ...]]:
    """More metrics of the class ids, by name, each followed by the same at each threshold."""
    statistic = ThresholdCounts(thresholds)
    return {metric[0]: tuple(_spec(statistic, at, metric) for at in (None, *thresholds)) for metric in _ON_REQUEST}


# ---------------------------------------------------------------------------------------------------------------------
# Areas under curves, and how good probabilities are


def area_metrics(statistic: RankingSummary | ScoreBuckets) -> tuple[MetricSpec, ...]:
    """Both areas, by rank of the logits or by Keras's thresholds."""
    kind = type(statistic)
    return tuple(
        MetricSpec(key, statistic, Partial(kind.area, (statistic, area)), Partial(kind.area_bounds, (statistic, area)))
        for key, area in ((MetricKeys.AUC, curves.roc_area), (MetricKeys.AUC_PR, curves.precision_recall_area))
    )


_BINS = ProbabilityBins()


def _determined(result: Array, weight: Array, where: Array) -> Array:
    """The result, and NaN where the data don't determine it; 0 without data."""
    xp = backends.of(result).xp
    undetermined = xp.where(weight == 0, xp.zeros_like(result), xp.full_like(result, float("nan")))
    return xp.where(where, result, undetermined)


def _calibration_ratio(sums: Sums) -> Array:
    return _determined(_ratio("prediction", "label", sums), sums["weight"], sums["label"] > 0)


def _normalized_entropy(sums: Sums) -> Array:
    """The mean loss relative to that of always predicting the label mean, which is the entropy of the label mean."""
    weight, label = sums["weight"], sums.values["label"]
    positive = safe_divide(value(label), weight)
    negative = safe_divide(value(sums.values["weight"] + Pair(-label.hi, -label.lo)), weight)
    entropy = -positive * _log(positive, negative) - negative * _log(negative, positive)
    return _determined(safe_divide(_ratio("loss", "weight", sums), entropy), weight, (positive > 0) & (negative > 0))


def _log(share: Array, rest: Array) -> Array:
    """log(share) to full accuracy, given 1 − share as well; 0 for 0."""
    xp = backends.of(share).xp
    small = xp.where((share > 0) & (share < 0.5), share, xp.ones_like(share))
    return xp.where(share < 0.5, xp.log(small), xp.log1p(-xp.where(share < 0.5, xp.zeros_like(rest), rest)))


def _brier_score(sums: Sums) -> Array:
    hi, lo = sums.values["bins"]
    xp = backends.of(hi).xp
    return safe_divide(sums["squared_error"], xp.sum(hi[:2, :]) + xp.sum(lo[:2, :]))


def _calibration_error(sums: Sums) -> Array:
    return _BINS.call(calibration.expected_calibration_error, (), sums)


def _recalibration(index: int, sums: Sums) -> Array:
    return _BINS.call(calibration.recalibration, (2,), sums)[index]


def calibration_metrics(*, log_loss: bool = True) -> dict[str, tuple[MetricSpec, ...]]:
    """Metrics by name; the normalized entropy only where the loss is the sigmoid cross entropy."""
    metrics = [
        MetricSpec(MetricKeys.BRIER_SCORE, _BINS, _brier_score),
        MetricSpec(MetricKeys.CALIBRATION_ERROR, _BINS, _calibration_error),
        MetricSpec(MetricKeys.CALIBRATION_RATIO, Means(), _calibration_ratio),
        MetricSpec(MetricKeys.CALIBRATION_INTERCEPT, _BINS, Partial(_recalibration, (0,))),
        MetricSpec(MetricKeys.CALIBRATION_SLOPE, _BINS, Partial(_recalibration, (1,))),
        MetricSpec(MetricKeys.NORMALIZED_ENTROPY, Means(), _normalized_entropy),
    ]
    return {spec.key: (spec,) for spec in (metrics if log_loss else metrics[:-1])}

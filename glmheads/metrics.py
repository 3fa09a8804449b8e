"""Metrics: what is reported, each a function of one part of the statistics.

A `Measure` is the definition: its key, the recipe of the part that it reads, and the function. A `Metric` is what
``Head.metrics`` gives out: a measure with the statistics seen so far.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from glmheads import backends
from glmheads.backends import Array
from glmheads.display import html_table, place
from glmheads.kernels import calibration, curves, thresholds
from glmheads.kernels.reductions import Pair, add, safe_divide, value
from glmheads.names import MetricKeys
from glmheads.statistics import (
    MeanSums,
    ProbabilityBins,
    RankingSummary,
    Recipe,
    RegularizationSums,
    ScoreBuckets,
    Statistics,
    Sums,
    ThresholdCounts,
)

__all__ = [
    "REGULARIZATION",
    "Measure",
    "Metric",
    "Seen",
    "Waiting",
    "area_measures",
    "calibration_measures",
    "choose",
    "confusion_measures",
    "evaluate",
    "mean_measures",
    "threshold_measures",
]


PartFunction = Callable[[Any], Array]
"""A function of the part that a measure's recipe makes."""


@dataclass(frozen=True)
class Measure:
    """The definition of a metric.

    Attributes
    ----------
    key : str
    recipe : Recipe
        Of the part that the metric reads.
    value : callable of (part)
        The metric, a 0-d array of the accumulation dtype; 0 / 0 is 0.
    bounds : callable of (part), optional
        For an area, an array (lower, upper) that holds its exact value.
    reads_logits : bool
        Whether a NaN logit makes the metric NaN.

    Examples
    --------
    >>> import numpy as np, glmheads as gh
    >>> from glmheads.families import BERNOULLI
    >>> from glmheads.metrics import mean_measures
    >>> loss, *_ = mean_measures()
    >>> total = gh.Measure("total_loss", loss.recipe, value=lambda part: part["loss"])
    >>> head = gh.Head(family=BERNOULLI, measures=[total])
    >>> round(float(head.evaluate([([1, 0], [[2.0], [0.5]])])["total_loss"]), 4)
    1.101
    """

    key: str
    recipe: Recipe = field(repr=False)
    value: PartFunction = field(repr=False)
    bounds: PartFunction | None = field(default=None, repr=False)
    reads_logits: bool = field(default=True, repr=False)


# ---------------------------------------------------------------------------------------------------------------------
# Definitions


def _ratio(numerator: str, denominator: str, part: Sums) -> Array:
    return safe_divide(part[numerator], part[denominator])


def mean_measures() -> tuple[Measure, ...]:
    """Weighted means of the loss, the predictions and the labels: every head has them."""
    recipe = MeanSums()
    return (
        Measure(MetricKeys.LOSS_MEAN, recipe, partial(_ratio, "loss", "weight")),
        Measure(MetricKeys.PREDICTION_MEAN, recipe, partial(_ratio, "prediction", "weight")),
        Measure(MetricKeys.LABEL_MEAN, recipe, partial(_ratio, "label", "weight"), reads_logits=False),
    )


REGULARIZATION = Measure(
    MetricKeys.LOSS_REGULARIZATION, RegularizationSums(), partial(_ratio, "loss", "calls"), reads_logits=False
)
"""Mean over calls of the sum of the regularization losses."""


def _accuracy_baseline(part: Sums) -> Array:
    """What always predicting the more frequent class would reach."""
    xp = backends.of(part["weight"]).xp
    mean = safe_divide(part["label"], part["weight"])
    return xp.where(part["weight"] == 0, mean, xp.maximum(mean, 1 - mean))


def _accuracy(counts: thresholds.Confusion) -> Array:
    return safe_divide(counts.tp + counts.tn, counts.tp + counts.tn + counts.fp + counts.fn)


def _precision(counts: thresholds.Confusion) -> Array:
    return safe_divide(counts.tp, counts.tp + counts.fp)


def _recall(counts: thresholds.Confusion) -> Array:
    return safe_divide(counts.tp, counts.tp + counts.fn)


def _at_threshold(
    recipe: ThresholdCounts, threshold: float | None, function: Callable[[thresholds.Confusion], Array], part: Sums
) -> Array:
    return function(recipe.confusion(threshold, part))


def threshold_measures(given: tuple[float, ...]) -> tuple[Measure, ...]:
    """Accuracy, precision and recall of the class ids (logit > 0) and at each given threshold of the probability."""
    recipe = ThresholdCounts(given)

    def at(threshold: float | None, function: Callable[[thresholds.Confusion], Array]) -> PartFunction:
        return partial(_at_threshold, recipe, threshold, function)

    measures = [
        Measure(MetricKeys.ACCURACY, recipe, at(None, _accuracy)),
        Measure(MetricKeys.PRECISION, recipe, at(None, _precision)),
        Measure(MetricKeys.RECALL, recipe, at(None, _recall)),
        Measure(MetricKeys.ACCURACY_BASELINE, MeanSums(), _accuracy_baseline, reads_logits=False),
    ]
    for threshold in given:
        measures += [
            Measure(MetricKeys.ACCURACY_AT_THRESHOLD % threshold, recipe, at(threshold, _accuracy)),
            Measure(MetricKeys.PRECISION_AT_THRESHOLD % threshold, recipe, at(threshold, _precision)),
            Measure(MetricKeys.RECALL_AT_THRESHOLD % threshold, recipe, at(threshold, _recall)),
        ]
    return tuple(measures)


def area_measures(recipe: RankingSummary | ScoreBuckets) -> tuple[Measure, ...]:
    """Areas under the ROC and the precision–recall curve, by rank of the logits or by Keras's thresholds."""
    areas = ((MetricKeys.AUC, curves.roc_area), (MetricKeys.AUC_PR, curves.precision_recall_area))
    return tuple(
        Measure(key, recipe, value=partial(recipe.area, area), bounds=partial(recipe.area_bounds, area))
        for key, area in areas
    )


# ---------------------------------------------------------------------------------------------------------------------
# Definitions of what is reported when asked for


def _determined(result: Array, weight: Array, where: Array) -> Array:
    """The result, and NaN where the data don't determine it; 0 without data."""
    xp = backends.of(result).xp
    undetermined = xp.where(weight == 0, xp.zeros_like(result), xp.full_like(result, float("nan")))
    return xp.where(where, result, undetermined)


def _calibration_ratio(part: Sums) -> Array:
    return _determined(_ratio("prediction", "label", part), part["weight"], part["label"] > 0)


def _normalized_entropy(part: Sums) -> Array:
    """The mean loss relative to that of always predicting the label mean, which is the entropy of the label mean."""
    weight, label = part["weight"], part.values["label"]
    positive = safe_divide(value(label), weight)
    negative = safe_divide(value(add(part.values["weight"], Pair(-label.hi, -label.lo))), weight)
    entropy = -positive * _log(positive, negative) - negative * _log(negative, positive)
    return _determined(safe_divide(_ratio("loss", "weight", part), entropy), weight, (positive > 0) & (negative > 0))


def _log(share: Array, rest: Array) -> Array:
    """log(share) to full accuracy, given 1 − share as well; 0 for 0."""
    xp = backends.of(share).xp
    small = xp.where((share > 0) & (share < 0.5), share, xp.ones_like(share))
    return xp.where(share < 0.5, xp.log(small), xp.log1p(-xp.where(share < 0.5, xp.zeros_like(rest), rest)))


def _brier_score(part: Sums) -> Array:
    hi, lo = part.values["bins"]
    xp = backends.of(hi).xp
    return safe_divide(part["squared_error"], xp.sum(hi[:2, :]) + xp.sum(lo[:2, :]))


def _recalibration(recipe: ProbabilityBins, index: int, part: Sums) -> Array:
    return recipe.call(calibration.recalibration, (2,), part)[index]


def calibration_measures(*, log_loss: bool = True) -> dict[str, tuple[Measure, ...]]:
    """Measures of how good probabilities are, by name; one of them only where the loss is the sigmoid cross entropy."""
    means, recipe = MeanSums(), ProbabilityBins()
    measures = [
        Measure(MetricKeys.BRIER_SCORE, recipe, _brier_score),
        Measure(MetricKeys.CALIBRATION_ERROR, recipe, partial(recipe.call, calibration.expected_calibration_error, ())),
        Measure(MetricKeys.CALIBRATION_RATIO, means, _calibration_ratio),
        Measure(MetricKeys.CALIBRATION_INTERCEPT, recipe, partial(_recalibration, recipe, 0)),
        Measure(MetricKeys.CALIBRATION_SLOPE, recipe, partial(_recalibration, recipe, 1)),
    ]
    if log_loss:
        measures.append(Measure(MetricKeys.NORMALIZED_ENTROPY, means, _normalized_entropy))
    return {measure.key: (measure,) for measure in measures}


def _f1(counts: thresholds.Confusion) -> Array:
    return safe_divide(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def _specificity(counts: thresholds.Confusion) -> Array:
    return safe_divide(counts.tn, counts.tn + counts.fp)


def _balanced_accuracy(counts: thresholds.Confusion) -> Array:
    return (_recall(counts) + _specificity(counts)) / 2


def _matthews_correlation(counts: thresholds.Confusion) -> Array:
    """(TP·TN − FP·FN) / √((TP + FP)(TP + FN)(TN + FP)(TN + FN)), of shares, whose products don't overflow."""
    xp = backends.of(counts.tp).xp
    everything = counts.tp + counts.fp + counts.tn + counts.fn
    tp, fp, tn, fn = (safe_divide(count, everything) for count in counts)
    margins = [xp.sqrt(margin) for margin in (tp + fp, tp + fn, tn + fp, tn + fn)]
    return safe_divide(tp * tn - fp * fn, margins[0] * margins[1] * margins[2] * margins[3])


def confusion_measures(given: tuple[float, ...]) -> dict[str, tuple[Measure, ...]]:
    """More measures of the class ids, by name, each followed by the same at each given threshold."""
    recipe = ThresholdCounts(given)
    functions = (
        (MetricKeys.F1, MetricKeys.F1_AT_THRESHOLD, _f1),
        (MetricKeys.SPECIFICITY, MetricKeys.SPECIFICITY_AT_THRESHOLD, _specificity),
        (MetricKeys.BALANCED_ACCURACY, MetricKeys.BALANCED_ACCURACY_AT_THRESHOLD, _balanced_accuracy),
        (MetricKeys.MATTHEWS_CORRELATION, MetricKeys.MATTHEWS_CORRELATION_AT_THRESHOLD, _matthews_correlation),
    )
    return {
        key: tuple(
            Measure(key if t is None else at_threshold % t, recipe, partial(_at_threshold, recipe, t, function))
            for t in (None, *given)
        )
        for key, at_threshold, function in functions
    }


def choose(
    extra_metrics: Sequence[str] | str | None, available: Mapping[str, tuple[Measure, ...]]
) -> tuple[Measure, ...]:
    """The measures that a head's `extra_metrics` names, in its order; all for ``"all"``.

    Raises
    ------
    ValueError
        If a name is not available.
    TypeError
        If `extra_metrics` is not a sequence of strings.
    """
    known = ", ".join(map(str, available))
    if extra_metrics is None:
        return ()
    if extra_metrics == "all":
        extra_metrics = list(available)
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
    return tuple(measure for name in dict.fromkeys(extra_metrics) for measure in available[name])


# ---------------------------------------------------------------------------------------------------------------------
# Reading


def evaluate(measure: Measure, statistics: Statistics, *, bounds: bool = False) -> Array:
    """The value of a measure, or its (lower, upper) bounds, which for a measure without bounds of its own are the
    value.

    Before any data it is 0. A NaN logit makes it NaN; so does a bad label or weight under a trace.

    Raises
    ------
    ValueError
        If bad labels or weights have been counted and their number can be looked at.
    """
    part = statistics.parts.get(measure.recipe.name)
    if part is None:
        return np.zeros(2) if bounds else np.asarray(0.0)
    backend = statistics.backend
    with backend.quiet():
        if not bounds:
            result = measure.value(part)
        elif measure.bounds is not None:
            result = measure.bounds(part)
        else:
            result = backend.xp.stack([measure.value(part)] * 2)
    return _unless_invalid(result, statistics, measure)


def _unless_invalid(result: Array, statistics: Statistics, measure: Measure) -> Array:
    if not statistics.parts.keys() >= {"validity"}:
        return result
    invalid = statistics.invalid
    backend = backends.of(result)
    if not backend.is_lazy(result):
        counts = {key: int(invalid[key]) for key in ("labels", "weights")}
        if any(counts.values()):
            found = " and ".join(f"{count} bad {key}" for key, count in counts.items() if count)
            raise ValueError(
                f"{measure.key} is of data with {found} (NaN, infinite or out of range), which could not be refused "
                "when they came because their values were not at hand. Check them before they reach the head."
            )
    count = invalid["labels"] + invalid["weights"] + invalid["logits"] * float(measure.reads_logits)
    return backend.xp.where(count > 0, backend.xp.full_like(result, float("nan")), result)


@dataclass(frozen=True, eq=False)
class Waiting:
    """A small batch, checked and copied, that waits to be measured together with others."""

    arrays: tuple[np.ndarray[Any, Any] | None, ...]
    """Labels, logits and weights."""
    backend: backends.Backend
    """That of the record of the batch."""
    config: str
    """That of the record, too."""
    measure: Callable[..., Statistics]
    """What makes the record of such arrays of the backend."""
    size: int
    """The number of logits."""

    MOST = 8192
    """Most logits of a batch that waits: a larger one takes little longer than its share of many."""

    def measured(self, *others: "Waiting") -> Statistics:
        """The record of this batch and of others that fit."""
        columns = zip(self.arrays, *(other.arrays for other in others), strict=True)
        joined = (None if column[0] is None else np.concatenate(column) for column in columns)
        return self.measure(*(None if a is None else self.backend.from_numpy(a) for a in joined))

    def fits(self, other: "Waiting") -> bool:
        """Whether both can be measured together."""
        return (self.backend, self.config) == (other.backend, other.config) and all(
            (one is None and two is None)
            or (one is not None and two is not None and one.dtype == two.dtype and one.shape[1:] == two.shape[1:])
            for one, two in zip(self.arrays, other.arrays, strict=True)
        )


class Seen:
    """The data that metrics have seen: their record, and small batches of which it knows nothing yet.

    It takes about 0.1 ms to measure a batch however small, and less than twice that to measure ten thousand examples.
    """

    MOST = 32_768
    """Most logits that wait,"""
    BATCHES = 64
    """and most batches."""

    def __init__(self, record: Statistics, waiting: tuple[Waiting, ...] = ()) -> None:
        self._state = record, waiting

    def __reduce__(self) -> tuple[Any, ...]:
        return Seen, (self.record,)

    @property
    def record(self) -> Statistics:
        """The record of all data."""
        record, waiting = self._state
        if waiting:
            self._state = (record + Waiting.measured(*waiting)).settled(), ()
        return self._state[0]

    def __add__(self, more: Statistics | Waiting) -> "Seen":
        if isinstance(more, Waiting) and not self._takes(more):
            more = more.measured()
        if isinstance(more, Statistics):
            return Seen((self.record + more).settled())
        record, waiting = self._state
        if waiting and not waiting[0].fits(more):
            record, waiting = self.record, ()
        waiting = (*waiting, more)
        seen = Seen(record, waiting)
        if len(waiting) > self.BATCHES or sum(batch.size for batch in waiting) > self.MOST:
            _ = seen.record  # which measures them
        return seen

    def _takes(self, batch: Waiting) -> bool:
        """Whether a batch may wait here: nothing can go wrong when it is measured later."""
        record = self._state[0]
        is_empty = not record.structure()[1]
        return record.config == batch.config and (
            is_empty or (record.backend is batch.backend and batch.backend.at_hand(record.any_array))
        )


class Metric:
    """A metric and the data that it has seen.

    ``Head.metrics`` makes it and ``Head.update_metrics`` feeds it; the metrics of a head share one immutable record.

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

    def __init__(self, measure: Measure, seen: Seen) -> None:
        self._measure = measure
        self._seen = self._nothing = seen

    @property
    def statistics(self) -> Statistics:
        """The record of the data seen since the last reset."""
        return self._seen.record

    def result(self) -> Array:
        """The value, a 0-d array of the accumulation dtype; 0 before any update.

        Raises
        ------
        ValueError
            If the data held bad labels or weights that could not be refused when they came.
        """
        return evaluate(self._measure, self.statistics)

    def bounds(self) -> Array:
        """An interval (lower, upper) that holds the exact value for the data seen, shape (2,).

        For an area it is as wide as the summary of the scores makes it; for any other metric both are the value.
        """
        return evaluate(self._measure, self.statistics, bounds=True)

    def reset(self) -> None:
        """Forget the data seen; the other metrics of the head keep theirs."""
        self._seen = self._nothing

    def __repr__(self) -> str:
        return f"<Metric {self._measure.key}: {self._shown(self.result)}>"

    def _repr_html_(self) -> str:
        rows = {"value": self._shown(self.result)}
        if self._measure.bounds is not None:
            rows["bounds"] = self._shown(self.bounds)
        return html_table(str(self._measure.key), rows)

    def _shown(self, read: Callable[[], Array]) -> str:
        """What is read, as text; where that would wait for a device or compute what is lazy, where the data are."""
        arrays = self.statistics.arrays()
        if not arrays:
            return "no data"
        backend = backends.of(arrays[0])
        if not backend.at_hand(arrays[0]):
            return place(arrays[0])
        try:
            found = backend.to_numpy(backend.detach(read()))
        except ValueError:
            return "of data with bad labels or weights"
        return " to ".join(f"{value:.6g}" for value in np.ravel(found))


def update(metrics: Iterable[Metric], add: Callable[[Seen], Seen]) -> None:
    """Replace what every metric has seen by ``add`` of it; none is changed if one can't be."""
    metrics = list(metrics)
    seen = {id(metric._seen): metric._seen for metric in metrics}
    updated = {key: add(each) for key, each in seen.items()}
    for metric in metrics:
        metric._seen = updated[id(metric._seen)]

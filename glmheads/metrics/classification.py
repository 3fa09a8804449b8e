"""Metrics of the class ids and of a probability at thresholds: functions of the confusion weights."""

from collections.abc import Callable

from glmheads import backends
from glmheads.backends import Array
from glmheads.kernels.reductions import safe_divide
from glmheads.kernels.thresholds import Confusion
from glmheads.metrics.means import ACCURACY_BASELINE
from glmheads.metrics.spec import MetricSpec, Partial
from glmheads.names import MetricKeys
from glmheads.statistics import Sums, ThresholdCounts

__all__ = ["confusion_metrics", "threshold_metrics"]

ConfusionFunction = Callable[[Confusion], Array]


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
    everything = counts.tp + counts.fp + counts.tn + counts.fn
    tp, fp, tn, fn = (safe_divide(count, everything) for count in counts)
    margins = [xp.sqrt(margin) for margin in (tp + fp, tp + fn, tn + fp, tn + fn)]
    return safe_divide(tp * tn - fp * fn, margins[0] * margins[1] * margins[2] * margins[3])


_BY_DEFAULT: tuple[tuple[str, str, ConfusionFunction], ...] = (
    (MetricKeys.ACCURACY, MetricKeys.ACCURACY_AT_THRESHOLD, _accuracy),
    (MetricKeys.PRECISION, MetricKeys.PRECISION_AT_THRESHOLD, _precision),
    (MetricKeys.RECALL, MetricKeys.RECALL_AT_THRESHOLD, _recall),
)
_ON_REQUEST: tuple[tuple[str, str, ConfusionFunction], ...] = (
    (MetricKeys.F1, MetricKeys.F1_AT_THRESHOLD, _f1),
    (MetricKeys.SPECIFICITY, MetricKeys.SPECIFICITY_AT_THRESHOLD, _specificity),
    (MetricKeys.BALANCED_ACCURACY, MetricKeys.BALANCED_ACCURACY_AT_THRESHOLD, _balanced_accuracy),
    (MetricKeys.MATTHEWS_CORRELATION, MetricKeys.MATTHEWS_CORRELATION_AT_THRESHOLD, _matthews_correlation),
)


def _at_threshold(
    statistic: ThresholdCounts, threshold: float | None, function: ConfusionFunction, state: Sums
) -> Array:
    return function(statistic.confusion(threshold, state))


def _spec(
    statistic: ThresholdCounts, threshold: float | None, metric: tuple[str, str, ConfusionFunction]
) -> MetricSpec:
    """A metric of the class ids, or at a threshold."""
    key, at_threshold, function = metric
    value = Partial(_at_threshold, (statistic, threshold, function))
    return MetricSpec(key if threshold is None else at_threshold % threshold, statistic, value)


def threshold_metrics(thresholds: tuple[float, ...]) -> tuple[MetricSpec, ...]:
    """Accuracy, precision and recall of the class ids (logit > 0) and at each threshold of the probability."""
    statistic = ThresholdCounts(thresholds)
    of_class_ids = (_spec(statistic, None, metric) for metric in _BY_DEFAULT)
    at_thresholds = (_spec(statistic, threshold, metric) for threshold in thresholds for metric in _BY_DEFAULT)
    return (*of_class_ids, ACCURACY_BASELINE, *at_thresholds)


def confusion_metrics(thresholds: tuple[float, ...]) -> dict[str, tuple[MetricSpec, ...]]:
    """More metrics of the class ids, by name, each followed by the same at each threshold."""
    statistic = ThresholdCounts(thresholds)
    return {
        metric[0]: tuple(_spec(statistic, threshold, metric) for threshold in (None, *thresholds))
        for metric in _ON_REQUEST
    }

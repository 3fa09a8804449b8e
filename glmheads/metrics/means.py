"""Weighted means, which every head reports, and what is relative to the label mean."""

from glmheads import backends
from glmheads.backends import Array
from glmheads.kernels.reductions import Pair, safe_divide, value
from glmheads.metrics.spec import MetricSpec, Partial
from glmheads.names import MetricKeys
from glmheads.statistics import Means, Regularization, Sums

__all__ = ["ACCURACY_BASELINE", "CALIBRATION_RATIO", "NORMALIZED_ENTROPY", "REGULARIZATION", "mean_metrics"]


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


def _accuracy_baseline(sums: Sums) -> Array:
    """The accuracy of always predicting the more frequent class."""
    xp = backends.of(sums["weight"]).xp
    mean = safe_divide(sums["label"], sums["weight"])
    return xp.where(sums["weight"] == 0, mean, xp.maximum(mean, 1 - mean))


ACCURACY_BASELINE = MetricSpec(MetricKeys.ACCURACY_BASELINE, Means(), _accuracy_baseline, reads_logits=False)


def _determined(result: Array, weight: Array, where: Array) -> Array:
    """The result, and NaN where the data don't determine it; 0 without data."""
    xp = backends.of(result).xp
    undetermined = xp.where(weight == 0, xp.zeros_like(result), xp.full_like(result, float("nan")))
    return xp.where(where, result, undetermined)


def _calibration_ratio(sums: Sums) -> Array:
    return _determined(_ratio("prediction", "label", sums), sums["weight"], sums["label"] > 0)


CALIBRATION_RATIO = MetricSpec(MetricKeys.CALIBRATION_RATIO, Means(), _calibration_ratio)


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


NORMALIZED_ENTROPY = MetricSpec(MetricKeys.NORMALIZED_ENTROPY, Means(), _normalized_entropy)

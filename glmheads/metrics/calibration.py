"""How good probabilities are: Brier score and calibration."""

from glmheads import backends
from glmheads.backends import Array
from glmheads.kernels import calibration
from glmheads.kernels.reductions import safe_divide
from glmheads.metrics.means import CALIBRATION_RATIO, NORMALIZED_ENTROPY
from glmheads.metrics.spec import MetricSpec, Partial
from glmheads.names import MetricKeys
from glmheads.statistics import ProbabilityBins, Sums

__all__ = ["calibration_metrics"]

_STATISTIC = ProbabilityBins()


def _brier_score(sums: Sums) -> Array:
    hi, lo = sums.values["bins"]
    xp = backends.of(hi).xp
    return safe_divide(sums["squared_error"], xp.sum(hi[:2, :]) + xp.sum(lo[:2, :]))


def _calibration_error(sums: Sums) -> Array:
    return _STATISTIC.call(calibration.expected_calibration_error, (), sums)


def _recalibration(index: int, sums: Sums) -> Array:
    return _STATISTIC.call(calibration.recalibration, (2,), sums)[index]


def calibration_metrics(*, log_loss: bool = True) -> dict[str, tuple[MetricSpec, ...]]:
    """Metrics by name; the normalized entropy only where the loss is the sigmoid cross entropy."""
    metrics = [
        MetricSpec(MetricKeys.BRIER_SCORE, _STATISTIC, _brier_score),
        MetricSpec(MetricKeys.CALIBRATION_ERROR, _STATISTIC, _calibration_error),
        CALIBRATION_RATIO,
        MetricSpec(MetricKeys.CALIBRATION_INTERCEPT, _STATISTIC, Partial(_recalibration, (0,))),
        MetricSpec(MetricKeys.CALIBRATION_SLOPE, _STATISTIC, Partial(_recalibration, (1,))),
        *([NORMALIZED_ENTROPY] if log_loss else []),
    ]
    return {spec.key: (spec,) for spec in metrics}

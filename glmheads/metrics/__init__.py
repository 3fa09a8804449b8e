"""Metrics: definitions by subject, each a function of a state of the statistics; and live metrics."""

from glmheads.metrics.areas import area_metrics
from glmheads.metrics.calibration import calibration_metrics
from glmheads.metrics.classification import confusion_metrics, threshold_metrics
from glmheads.metrics.live import Metric, update
from glmheads.metrics.means import REGULARIZATION, mean_metrics
from glmheads.metrics.spec import MetricSpec, choose, chosen_names

__all__ = [
    "REGULARIZATION",
    "Metric",
    "MetricSpec",
    "area_metrics",
    "calibration_metrics",
    "choose",
    "chosen_names",
    "confusion_metrics",
    "mean_metrics",
    "threshold_metrics",
    "update",
]

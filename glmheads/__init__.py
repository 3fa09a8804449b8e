"""Model heads on any array library: from logits to loss, predictions and metrics."""

from glmheads import kernels
from glmheads.engine import threads
from glmheads.evaluation import Evaluation, evaluate
from glmheads.families import Family, Interval
from glmheads.heads import (
    BinaryClassHead,
    FamilyHead,
    Head,
    LogisticRegressionHead,
    PoissonRegressionHead,
    RegressionHead,
    binary_classification_head,
    logistic_regression_head,
)
from glmheads.heads.estimator_spec import EstimatorSpec, ModeKeys
from glmheads.inputs import NumericColumn, numeric_column
from glmheads.metrics import Metric, MetricSpec
from glmheads.names import MetricKeys, PredictionKeys, Reduction
from glmheads.statistics import Statistics

__version__ = "0.1.0"

__all__ = [
    "BinaryClassHead",
    "EstimatorSpec",
    "Evaluation",
    "Family",
    "FamilyHead",
    "Head",
    "Interval",
    "LogisticRegressionHead",
    "Metric",
    "MetricKeys",
    "MetricSpec",
    "ModeKeys",
    "NumericColumn",
    "PoissonRegressionHead",
    "PredictionKeys",
    "Reduction",
    "RegressionHead",
    "Statistics",
    "binary_classification_head",
    "evaluate",
    "kernels",
    "logistic_regression_head",
    "numeric_column",
    "threads",
]

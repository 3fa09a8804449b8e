"""Model heads on any array library: from logits to loss, predictions and metrics."""

from glmheads import kernels
from glmheads.backends.blocks import threads
from glmheads.estimator_spec import EstimatorSpec, ModeKeys
from glmheads.evaluation import Evaluation, evaluate
from glmheads.families import Family
from glmheads.features import NumericColumn, numeric_column
from glmheads.heads import (
    BinaryClassHead,
    Head,
    LogisticRegressionHead,
    PoissonRegressionHead,
    RegressionHead,
    binary_classification_head,
    logistic_regression_head,
)
from glmheads.metrics import Measure, Metric
from glmheads.names import MetricKeys, PredictionKeys, Reduction
from glmheads.statistics import Statistics

__version__ = "0.1.0"

__all__ = [
    "BinaryClassHead",
    "EstimatorSpec",
    "Evaluation",
    "Family",
    "Head",
    "LogisticRegressionHead",
    "Measure",
    "Metric",
    "MetricKeys",
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

"""What people hold: one class for each kind of model output, and the contract that they share."""

from glmheads.heads.base import Head
from glmheads.heads.binary import BinaryClassHead, binary_classification_head
from glmheads.heads.regression import (
    LogisticRegressionHead,
    PoissonRegressionHead,
    RegressionHead,
    logistic_regression_head,
)

__all__ = [
    "BinaryClassHead",
    "Head",
    "LogisticRegressionHead",
    "PoissonRegressionHead",
    "RegressionHead",
    "binary_classification_head",
    "logistic_regression_head",
]

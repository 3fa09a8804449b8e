"""Heads: the interface, the head of a family, and a file for each kind of model output."""

from glmheads.heads.binary import BinaryClassHead, binary_classification_head
from glmheads.heads.family_head import FamilyHead
from glmheads.heads.head import Head
from glmheads.heads.regression import (
    LogisticRegressionHead,
    PoissonRegressionHead,
    RegressionHead,
    logistic_regression_head,
)

__all__ = [
    "BinaryClassHead",
    "FamilyHead",
    "Head",
    "LogisticRegressionHead",
    "PoissonRegressionHead",
    "RegressionHead",
    "binary_classification_head",
    "logistic_regression_head",
]

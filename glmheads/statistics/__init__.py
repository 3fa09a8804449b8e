"""The record of sufficient statistics: `Statistic` computes a `State` from examples, `Statistics` holds them all."""

from glmheads.statistics.record import Measurement, Statistics
from glmheads.statistics.states import Ranking, State, Sums
from glmheads.statistics.statistic import (
    BinnedStatistic,
    Means,
    ProbabilityBins,
    RankingSummary,
    Regularization,
    ScoreBuckets,
    Statistic,
    ThresholdCounts,
    Validity,
)

__all__ = [
    "BinnedStatistic",
    "Means",
    "Measurement",
    "ProbabilityBins",
    "Ranking",
    "RankingSummary",
    "Regularization",
    "ScoreBuckets",
    "State",
    "Statistic",
    "Statistics",
    "Sums",
    "ThresholdCounts",
    "Validity",
]

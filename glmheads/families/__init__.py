"""Families: `Family`, what they all are, and the distributions of the package."""

from glmheads.families.distributions import BERNOULLI, GAUSSIAN, POISSON, POISSON_WITHOUT_CONSTANT
from glmheads.families.family import Family, Interval, Link

__all__ = ["BERNOULLI", "GAUSSIAN", "POISSON", "POISSON_WITHOUT_CONSTANT", "Family", "Interval", "Link"]

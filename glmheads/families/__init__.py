"""Families: a file for each distribution, and `Family`, what they all are."""

from glmheads.families.bernoulli import BERNOULLI
from glmheads.families.family import Family, Interval, Link
from glmheads.families.gaussian import GAUSSIAN
from glmheads.families.poisson import POISSON, POISSON_WITHOUT_CONSTANT

__all__ = ["BERNOULLI", "GAUSSIAN", "POISSON", "POISSON_WITHOUT_CONSTANT", "Family", "Interval", "Link"]

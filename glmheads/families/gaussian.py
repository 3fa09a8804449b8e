"""The Gaussian distribution with the identity link."""

from glmheads.families.family import Family, Link
from glmheads.kernels import links, losses

__all__ = ["GAUSSIAN", "Gaussian"]


class Gaussian(Family):
    """Squared error; labels are finite numbers."""

    name = "gaussian"
    loss = staticmethod(losses.squared_error)
    gradient = staticmethod(losses.squared_error_gradient)
    hessian = staticmethod(losses.squared_error_hessian)
    link = Link("identity", inverse=links.identity, forward=links.identity)
    inverse_link = staticmethod(links.identity)
    portable = True


GAUSSIAN = Gaussian()
"""Squared error, with the identity link."""

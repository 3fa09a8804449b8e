"""The Poisson distribution with the log link."""

import math

from glmheads.families.family import Family, Interval, Link
from glmheads.kernels import links, losses

__all__ = ["POISSON", "POISSON_WITHOUT_CONSTANT", "Poisson"]


class Poisson(Family):
    """Log-Poisson loss with Stirling's approximation of log z!; labels are nonnegative."""

    name = "poisson"
    loss = staticmethod(losses.log_poisson_loss)
    gradient = staticmethod(losses.log_poisson_gradient)
    hessian = staticmethod(losses.log_poisson_hessian)
    link = Link("log", inverse=links.exp, forward=links.log)
    inverse_link = staticmethod(links.exp)
    valid_labels = Interval(0, math.inf)
    portable = True


POISSON = Poisson()
"""Log-Poisson loss, with the log link."""
POISSON_WITHOUT_CONSTANT = Poisson(name="poisson without constant", loss=losses.log_poisson_loss_without_constant)
"""Without log z!, which does not depend on the logits."""

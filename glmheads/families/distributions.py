"""The distributions that the package has heads of: Bernoulli, Gaussian and Poisson, each with its canonical link."""

import math

from glmheads.backends import Array
from glmheads.families.family import Family, Interval, Link
from glmheads.kernels import links, losses


class Bernoulli(Family):
    """Sigmoid cross entropy; labels are shares of the positive class, from 0 to 1."""

    name = "bernoulli"
    loss = staticmethod(losses.sigmoid_cross_entropy)
    gradient = staticmethod(losses.sigmoid_cross_entropy_gradient)
    hessian = staticmethod(losses.sigmoid_cross_entropy_hessian)
    link = Link("logit", inverse=links.sigmoid, forward=links.logit)
    inverse_link = staticmethod(links.sigmoid)
    valid_labels = Interval(0, 1)
    portable = True

    def loss_and_gradient(self, labels: Array, logits: Array) -> tuple[Array, Array]:
        both = super().loss_and_gradient if self.is_changed else losses.sigmoid_cross_entropy_with_gradient
        return both(labels, logits)

    def loss_and_mean(self, labels: Array, logits: Array) -> tuple[Array, Array]:
        both = super().loss_and_mean if self.is_changed else losses.sigmoid_cross_entropy_with_mean
        return both(labels, logits)


class Gaussian(Family):
    """Squared error; labels are finite numbers."""

    name = "gaussian"
    loss = staticmethod(losses.squared_error)
    gradient = staticmethod(losses.squared_error_gradient)
    hessian = staticmethod(losses.squared_error_hessian)
    link = Link("identity", inverse=links.identity, forward=links.identity)
    inverse_link = staticmethod(links.identity)
    portable = True


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


BERNOULLI = Bernoulli()
"""Sigmoid cross entropy, with the logit link."""
GAUSSIAN = Gaussian()
"""Squared error, with the identity link."""
POISSON = Poisson()
"""Log-Poisson loss, with the log link."""
POISSON_WITHOUT_CONSTANT = Poisson(name="poisson without constant", loss=losses.log_poisson_loss_without_constant)
"""Without log z!, which does not depend on the logits."""

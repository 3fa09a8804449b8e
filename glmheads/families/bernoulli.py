"""The Bernoulli distribution with the logit link."""

from glmheads.families.family import Family, Interval, Link
from glmheads.kernels import links, losses

__all__ = ["BERNOULLI", "Bernoulli"]


class Bernoulli(Family):
    """Sigmoid cross entropy; labels are shares of the positive class, from 0 to 1."""

    name = "bernoulli"
    loss = staticmethod(losses.sigmoid_cross_entropy)
    gradient = staticmethod(losses.sigmoid_cross_entropy_gradient)
    hessian = staticmethod(losses.sigmoid_cross_entropy_hessian)
    loss_and_gradient = staticmethod(losses.sigmoid_cross_entropy_with_gradient)
    loss_and_mean = staticmethod(losses.sigmoid_cross_entropy_with_mean)
    link = Link("logit", inverse=links.sigmoid, forward=links.logit)
    inverse_link = staticmethod(links.sigmoid)
    valid_labels = Interval(0, 1)
    portable = True


BERNOULLI = Bernoulli()

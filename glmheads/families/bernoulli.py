"""The Bernoulli distribution with the logit link."""

from glmheads.backends import Array
from glmheads.families.family import Family, Interval, Link
from glmheads.kernels import links, losses

__all__ = ["BERNOULLI", "Bernoulli"]


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
        if self.is_changed:
            return super().loss_and_gradient(labels, logits)
        return losses.sigmoid_cross_entropy_with_gradient(labels, logits)

    def loss_and_mean(self, labels: Array, logits: Array) -> tuple[Array, Array]:
        if self.is_changed:
            return super().loss_and_mean(labels, logits)
        return losses.sigmoid_cross_entropy_with_mean(labels, logits)


BERNOULLI = Bernoulli()
"""Sigmoid cross entropy, with the logit link."""

"""A GLM family: a distribution with its link, as one frozen object of functions of labels and logits.

A further family is one more object here; a head is a table around one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from glmheads.backends import Array
from glmheads.kernels import links, losses

__all__ = ["BERNOULLI", "GAUSSIAN", "POISSON", "POISSON_WITHOUT_CONSTANT", "Family"]


_INFINITY = float("inf")

_KERNELS = (links.__name__, losses.__name__, __name__)
_TOGETHER: dict[tuple[Callable[..., Array], Callable[..., Array]], Callable[..., tuple[Array, Array]]] = {
    (losses.sigmoid_cross_entropy, losses.sigmoid_cross_entropy_gradient): losses.sigmoid_cross_entropy_with_gradient,
    (losses.sigmoid_cross_entropy, links.sigmoid): losses.sigmoid_cross_entropy_with_mean,
}
"""Kernels that compute two others in one go."""


@dataclass(frozen=True)
class Family:
    """Loss, gradient, hessian and inverse link of one distribution.

    Labels and logits are arrays of one shape and one dtype, float32 or float64, and so is what the functions return.

    Attributes
    ----------
    name : str
    loss, gradient, hessian : callable of (labels, logits)
        The unreduced, unweighted loss, and its first and second derivative by the logits.
    inverse_link : callable of (logits)
        The mean of the distribution.
    label_range : (float, float)
        Smallest and largest label that the distribution can give.

    Examples
    --------
    >>> import numpy as np, glmheads as gh
    >>> half = gh.Family(
    ...     name="half squared error",
    ...     loss=lambda labels, logits: (logits - labels) ** 2 / 2,
    ...     gradient=lambda labels, logits: logits - labels,
    ...     hessian=lambda labels, logits: 0 * logits + 1,
    ...     inverse_link=lambda logits: logits,
    ...     label_range=(-float("inf"), float("inf")),
    ... )
    >>> half.gradient(np.asarray([1.0, 2.0]), np.asarray([1.5, 1.0])).tolist()
    [0.5, -1.0]
    """

    name: str
    loss: Callable[[Array, Array], Array] = field(repr=False)
    gradient: Callable[[Array, Array], Array] = field(repr=False)
    hessian: Callable[[Array, Array], Array] = field(repr=False)
    inverse_link: Callable[[Array], Array] = field(repr=False)
    label_range: tuple[float, float] = field(repr=False)

    portable: bool = field(init=False, repr=False, compare=False)
    """Whether the functions are kernels of this library, which take arrays of any other: then PyTorch tensors on the
    CPU are computed as the NumPy arrays with which they share memory."""

    def __post_init__(self) -> None:
        functions = (self.loss, self.gradient, self.hessian, self.inverse_link)
        ours = all(getattr(function, "__module__", None) in _KERNELS for function in functions)
        object.__setattr__(self, "portable", ours)

    def loss_and_gradient(self, labels: Array, logits: Array) -> tuple[Array, Array]:
        """``loss`` and ``gradient``, with the work that they share done once where that is known."""
        together = _TOGETHER.get((self.loss, self.gradient))
        return together(labels, logits) if together else (self.loss(labels, logits), self.gradient(labels, logits))

    def loss_and_mean(self, labels: Array, logits: Array) -> tuple[Array, Array]:
        """``loss`` and ``inverse_link``, likewise."""
        together = _TOGETHER.get((self.loss, self.inverse_link))
        return together(labels, logits) if together else (self.loss(labels, logits), self.inverse_link(logits))

    @property
    def label_rule(self) -> str:
        """What a label must be, in words."""
        low, high = self.label_range
        bounds = [f"{sign} {bound:g}" for sign, bound in ((">=", low), ("<=", high)) if abs(bound) != _INFINITY]
        return " and ".join(["Labels must be finite", *bounds])


BERNOULLI = Family(
    name="bernoulli",
    loss=losses.sigmoid_cross_entropy,
    gradient=losses.sigmoid_cross_entropy_gradient,
    hessian=losses.sigmoid_cross_entropy_hessian,
    inverse_link=links.sigmoid,
    label_range=(0.0, 1.0),
)

GAUSSIAN = Family(
    name="gaussian",
    loss=losses.squared_error,
    gradient=losses.squared_error_gradient,
    hessian=losses.squared_error_hessian,
    inverse_link=links.identity,
    label_range=(-_INFINITY, _INFINITY),
)

POISSON = Family(
    name="poisson",
    loss=losses.log_poisson_loss,
    gradient=losses.log_poisson_gradient,
    hessian=losses.log_poisson_hessian,
    inverse_link=links.exp,
    label_range=(0.0, _INFINITY),
)


def _log_poisson_loss_without_constant(labels: Array, logits: Array) -> Array:
    return losses.log_poisson_loss(labels, logits, compute_full_loss=False)


POISSON_WITHOUT_CONSTANT = Family(
    name="poisson without constant",
    loss=_log_poisson_loss_without_constant,
    gradient=losses.log_poisson_gradient,
    hessian=losses.log_poisson_hessian,
    inverse_link=links.exp,
    label_range=(0.0, _INFINITY),
)

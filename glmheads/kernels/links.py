"""Inverse links: from logits to the mean of a distribution.

Every function takes float32 or float64 logits of any shape and returns an array like them.
"""

from glmheads import backends
from glmheads.backends import Array

__all__ = ["identity", "log_sigmoid", "sigmoid", "split"]


def split(x: Array) -> tuple[Array, Array, Array]:
    """(x ≥ 0, t, m) with t = −1 where x ≥ 0 and else 1, and m = t·x = −|x|.

    Through m every kernel takes the exponential of a number that is never positive, and its derivatives are right on
    both sides and at 0, where those of ``abs`` and ``maximum`` are not.
    """
    xp = backends.of(x).xp
    positive = x >= 0
    t = xp.where(positive, -xp.ones_like(x), xp.ones_like(x))
    return positive, t, t * x


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(−x)), without overflow and with full relative accuracy in both tails.

    Examples
    --------
    >>> import numpy as np
    >>> from glmheads import kernels
    >>> kernels.sigmoid(np.asarray([-2.0, 0.0, 2.0])).round(4).tolist()
    [0.1192, 0.5, 0.8808]
    """
    xp = backends.of(x).xp
    positive, _, m = split(x)
    e = xp.exp(m)
    return xp.where(positive, xp.ones_like(e), e) / (1 + e)


def log_sigmoid(x: Array) -> Array:
    """log(sigmoid(x)) = min(x, 0) − log1p(exp(−|x|)).

    Examples
    --------
    >>> import numpy as np
    >>> from glmheads import kernels
    >>> kernels.log_sigmoid(np.asarray([-800.0, 0.0])).round(4).tolist()
    [-800.0, -0.6931]
    """
    xp = backends.of(x).xp
    positive, _, m = split(x)
    return xp.where(positive, xp.zeros_like(x), x) - backends.of(m).log1p_exp(m)


def identity(x: Array) -> Array:
    """The logits themselves, the inverse link of the Gaussian family."""
    return x


def exp(x: Array) -> Array:
    """exp(x), the inverse link of the Poisson family."""
    return backends.of(x).xp.exp(x)

"""Links and their inverses: from the mean of a distribution to logits and back.

Every function takes a float32 or float64 array of any shape and returns an array like it.
"""

import math

from glmheads import backends
from glmheads.backends import Array


def split(x: Array) -> tuple[Array, Array]:
    """(s, m) with s = 1 where x ≥ 0 and else 0, and m = (1 − 2s) x = −|x|.

    Through m every kernel takes the exponential of a number that is never positive, and its derivatives are right on
    both sides and at 0, where those of ``abs`` and ``maximum`` are not. A choice between the sides is arithmetic with
    s, exact since s is 0 or 1: ``where`` costs NumPy ten times as much when they come in random order.
    """
    backend = backends.of(x)
    xp = backend.xp
    s = xp.astype(x >= 0, x.dtype)
    return s, (1 - 2 * s) * x if backend.has_autograd else -xp.abs(x)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(−x)), without overflow and with full relative accuracy in both tails.

    Examples
    --------
    >>> import numpy as np
    >>> from glmheads import kernels
    >>> kernels.sigmoid(np.asarray([-2.0, 0.0, 2.0])).round(4).tolist()
    [0.1192, 0.5, 0.8808]
    """
    s, m = split(x)
    return sigmoid_of_split(s, backends.of(x).xp.exp(m))


def sigmoid_of_split(s: Array, e: Array) -> Array:
    """The sigmoid from s and exp(m) of `split`."""
    return (s + (1 - s) * e) / (1 + e)


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
    m = split(x)[1]
    return xp.where(x >= 0, xp.zeros_like(x), x) - backends.of(m).exp_log1p(m)[1]


def identity(x: Array) -> Array:
    """The logits themselves, the inverse link of the Gaussian family."""
    return x


def exp(x: Array) -> Array:
    """exp(x), the inverse link of the Poisson family."""
    return backends.of(x).xp.exp(x)


def log(means: Array) -> Array:
    """log(μ), the link of the Poisson family; the logit of 0 is −∞, and NaN where μ < 0."""
    xp = backends.of(means).xp
    positive = means > 0
    logits = xp.log(xp.where(positive, means, xp.ones_like(means)))
    logits = xp.where(means == 0, xp.full_like(means, -math.inf), logits)
    return xp.where(means >= 0, logits, xp.full_like(means, math.nan))


def logit(probabilities: Array) -> Array:
    """log(p / (1 − p)), right to a few ulp; ∓∞ where p is 0 or 1, and NaN where it is not from 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from glmheads.kernels.links import logit
    >>> logit(np.asarray([0.0, 0.5])).tolist()
    [-inf, 0.0]
    """
    p = probabilities
    xp = backends.of(p).xp
    inside = (p > 0) & (p < 1)
    is_middle = (p > 0.25) & (p < 0.75)
    half = xp.full_like(p, 0.5)
    q, r = xp.where(inside, p, half), xp.where(is_middle, p, half)
    # In the middle 2r − 1 is exact, and the difference of logarithms would cancel.
    logits = xp.where(is_middle, xp.log1p((2 * r - 1) / (1 - r)), xp.log(q) - xp.log1p(-q))
    for probability, infinity in ((0, -math.inf), (1, math.inf)):
        logits = xp.where(p == probability, xp.full_like(p, infinity), logits)
    return xp.where(inside | (p == 0) | (p == 1), logits, xp.full_like(p, math.nan))

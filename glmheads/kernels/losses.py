"""Pointwise losses with their first and second derivatives by the logits.

Every function takes labels z and logits x of one shape and one dtype, float32 or float64, and returns an array like
them, unweighted. NaN in gives NaN out; an infinite logit gives the limit, never NaN.
"""

import math

from glmheads import backends
from glmheads.backends import Array
from glmheads.kernels.links import sigmoid_of_split, split


def sigmoid_cross_entropy(labels: Array, logits: Array) -> Array:
    """−z log σ(x) − (1 − z) log(1 − σ(x)) for labels z in [0, 1].

    With s = 1 where x ≥ 0 and else 0 it is ``log1p(exp(−|x|)) + x (s − z)``: both terms are nonnegative, so nothing
    cancels, and a confidently right example keeps its full relative accuracy.

    Examples
    --------
    >>> import numpy as np
    >>> from glmheads import kernels
    >>> kernels.sigmoid_cross_entropy(np.asarray([1.0, 0.25]), np.asarray([2.0, 0.0])).round(4).tolist()
    [0.1269, 0.6931]
    """
    s, m = split(logits)
    return _cross_entropy(s - labels, logits, m, backends.of(m).exp_log1p(m)[1])


def sigmoid_cross_entropy_gradient(labels: Array, logits: Array) -> Array:
    """σ(x) − z, for a hard label as ∓σ(∓x) and never as a difference of nearly equal numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from glmheads import kernels
    >>> kernels.sigmoid_cross_entropy_gradient(np.asarray([1.0, 0.25]), np.asarray([2.0, 0.0])).round(4).tolist()
    [-0.1192, 0.25]
    """
    s, m = split(logits)
    return _cross_entropy_gradient(s, s - labels, labels, backends.of(m).xp.exp(m))


def sigmoid_cross_entropy_with_gradient(labels: Array, logits: Array) -> tuple[Array, Array]:
    """`sigmoid_cross_entropy` and its gradient."""
    s, m = split(logits)
    wrong = s - labels
    e, log1p_e = backends.of(m).exp_log1p(m)
    return _cross_entropy(wrong, logits, m, log1p_e), _cross_entropy_gradient(s, wrong, labels, e)


def sigmoid_cross_entropy_with_mean(labels: Array, logits: Array) -> tuple[Array, Array]:
    """`sigmoid_cross_entropy` and the sigmoid of the logits."""
    s, m = split(logits)
    e, log1p_e = backends.of(m).exp_log1p(m)
    return _cross_entropy(s - labels, logits, m, log1p_e), sigmoid_of_split(s, e)


def _cross_entropy(wrong: Array, logits: Array, m: Array, log1p_e: Array) -> Array:
    """The loss from s − z, the signed share of the label on the other side of the logit, and m = −|x|."""
    backend = backends.of(logits)
    xp = backend.xp
    infinite = m == -math.inf
    if backend.possibly_any(infinite):  # ∞ · 0 is a right infinite logit, whose loss is 0
        logits = xp.where(infinite & (wrong == 0), xp.zeros_like(logits), logits)
    return log1p_e + logits * wrong


def _cross_entropy_gradient(s: Array, wrong: Array, labels: Array, e: Array) -> Array:
    """((1 − z) − z e) / (1 + e) where s = 1, ((1 − z) e − z) / (1 + e) where s = 0."""
    return (wrong + ((1 - s) - labels) * e) / (1 + e)


def sigmoid_cross_entropy_hessian(labels: Array, logits: Array) -> Array:
    """σ(x) (1 − σ(x)), which does not depend on the labels.

    Examples
    --------
    >>> import numpy as np
    >>> from glmheads import kernels
    >>> kernels.sigmoid_cross_entropy_hessian(np.asarray([1.0, 0.25]), np.asarray([2.0, 0.0])).round(4).tolist()
    [0.105, 0.25]
    """
    e = backends.of(logits).xp.exp(split(logits)[1])
    above = 1 + e
    return e / (above * above)


def squared_error(labels: Array, logits: Array) -> Array:
    """(z − x)²

    Examples
    --------
    >>> import numpy as np
    >>> from glmheads import kernels
    >>> kernels.squared_error(np.asarray([1.0, 3.0]), np.asarray([2.0, 0.0])).tolist()
    [1.0, 9.0]
    """
    error = labels - logits
    return error * error


def squared_error_gradient(labels: Array, logits: Array) -> Array:
    """2 (x − z)

    Examples
    --------
    >>> import numpy as np
    >>> from glmheads import kernels
    >>> kernels.squared_error_gradient(np.asarray([1.0, 3.0]), np.asarray([2.0, 0.0])).tolist()
    [2.0, -6.0]
    """
    return 2 * (logits - labels)


def squared_error_hessian(labels: Array, logits: Array) -> Array:
    """2, and NaN where the logit is NaN

    Examples
    --------
    >>> import numpy as np
    >>> from glmheads import kernels
    >>> kernels.squared_error_hessian(np.asarray([1.0, 3.0]), np.asarray([2.0, 0.0])).tolist()
    [2.0, 2.0]
    """
    xp = backends.of(logits).xp
    return xp.where(xp.isnan(logits), logits, xp.full_like(logits, 2))


def log_poisson_loss(labels: Array, logits: Array, *, compute_full_loss: bool = True) -> Array:
    """exp(x) − x z for counts z ≥ 0, up to the constant of the Poisson log-likelihood.

    With `compute_full_loss`, Stirling's approximation z log z − z + ½ log(2πz) of that constant, log z!, is added where
    z > 1 (Abramowitz and Stegun, 6.1.38).

    Examples
    --------
    >>> import numpy as np
    >>> from glmheads import kernels
    >>> kernels.log_poisson_loss(np.asarray([1.0, 3.0]), np.asarray([2.0, 0.0])).round(4).tolist()
    [5.3891, 2.7641]
    """
    xp = backends.of(logits).xp
    rate = xp.exp(logits)
    # exp(x) outgrows x z; −inf · 0 is a rate of 0 that saw no event.
    infinite = xp.isinf(rate) | ((labels == 0) & xp.isinf(logits))
    loss = rate - xp.where(infinite, xp.zeros_like(logits), logits) * labels
    if compute_full_loss:
        many = labels > 1
        z = xp.where(many, labels, xp.ones_like(labels))
        stirling = z * xp.log(z) - z + 0.5 * xp.log((2 * math.pi) * z)
        loss = loss + xp.where(many, stirling, xp.zeros_like(stirling))
    return loss


def log_poisson_loss_without_constant(labels: Array, logits: Array) -> Array:
    """exp(x) − x z"""
    return log_poisson_loss(labels, logits, compute_full_loss=False)


def log_poisson_gradient(labels: Array, logits: Array) -> Array:
    """exp(x) − z

    Examples
    --------
    >>> import numpy as np
    >>> from glmheads import kernels
    >>> kernels.log_poisson_gradient(np.asarray([1.0, 3.0]), np.asarray([2.0, 0.0])).round(4).tolist()
    [6.3891, -2.0]
    """
    return backends.of(logits).xp.exp(logits) - labels


def log_poisson_hessian(labels: Array, logits: Array) -> Array:
    """exp(x)

    Examples
    --------
    >>> import numpy as np
    >>> from glmheads import kernels
    >>> kernels.log_poisson_hessian(np.asarray([1.0, 3.0]), np.asarray([2.0, 0.0])).round(4).tolist()
    [7.3891, 1.0]
    """
    return backends.of(logits).xp.exp(logits)

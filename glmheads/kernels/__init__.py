"""Pure functions on arrays, written once against the Array API standard.

Elementwise: labels and logits of one shape go in, an array with the logits' shape, dtype and device comes out (the
default real dtype for integer logits); float16 and bfloat16 are computed in float32 and rounded once. Nothing is
checked but shapes and dtypes.
"""

from glmheads.kernels import links, losses
from glmheads.kernels.curves import average_precision, roc_auc
from glmheads.kernels.elementwise import elementwise
from glmheads.kernels.reductions import reduce

__all__ = [
    "average_precision",
    "log_poisson_gradient",
    "log_poisson_hessian",
    "log_poisson_loss",
    "log_sigmoid",
    "reduce",
    "roc_auc",
    "sigmoid",
    "sigmoid_cross_entropy",
    "sigmoid_cross_entropy_gradient",
    "sigmoid_cross_entropy_hessian",
    "squared_error",
    "squared_error_gradient",
    "squared_error_hessian",
]

sigmoid = elementwise(links.sigmoid)
log_sigmoid = elementwise(links.log_sigmoid)
log_poisson_gradient = elementwise(losses.log_poisson_gradient)
log_poisson_hessian = elementwise(losses.log_poisson_hessian)
log_poisson_loss = elementwise(losses.log_poisson_loss)
sigmoid_cross_entropy = elementwise(losses.sigmoid_cross_entropy)
sigmoid_cross_entropy_gradient = elementwise(losses.sigmoid_cross_entropy_gradient)
sigmoid_cross_entropy_hessian = elementwise(losses.sigmoid_cross_entropy_hessian)
squared_error = elementwise(losses.squared_error)
squared_error_gradient = elementwise(losses.squared_error_gradient)
squared_error_hessian = elementwise(losses.squared_error_hessian)

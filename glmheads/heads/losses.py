"""The reduced loss of a head and its derivatives: of a family, in closed form; of a user's `loss_fn`, by autograd."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from glmheads import backends, engine
from glmheads.backends import Array
from glmheads.families import Family
from glmheads.inputs import Examples
from glmheads.inputs.arrays import to_library
from glmheads.kernels.elementwise import compute_dtype, in_dtype, is_integral, to_compute_dtype
from glmheads.kernels.reductions import Pair, divisor, reduce, total, value, weigh
from glmheads.names import Reduction

# ---------------------------------------------------------------------------------------------------------------------
# Kernels


@dataclass(frozen=True)
class _Kernel:
    """A function of the family by its name: Σ w l of ``"loss"``, the gradient or hessian over a scale, or both."""

    family: Family
    function: str

    @property
    def elementwise(self) -> bool:
        return self.family.elementwise

    @property
    def portable(self) -> bool:
        return self.family.portable

    def __call__(self, examples: Examples, scale: Array | None = None) -> tuple[Pair | None, Array | None]:
        found = getattr(self.family, self.function)(examples.labels, examples.logits)
        if self.function == "loss":
            return self._total(found, examples), None
        losses, derivative = found if self.function == "loss_and_gradient" else (None, found)
        derivative = examples.weigh(derivative)
        if scale is not None:
            derivative = derivative / in_dtype(scale, derivative.dtype)
        return None if losses is None else self._total(losses, examples), derivative

    def _total(self, losses: Array, examples: Examples) -> Pair:
        weights = examples.weights
        if weights is not None and losses.ndim < weights.ndim:
            losses = examples.backend.xp.reshape(losses, weights.shape)
        # Our own losses of what is absent, of label and logit 0, are finite.
        return total(examples.weigh(losses) if self.portable else weigh(losses, weights))


@dataclass(frozen=True)
class _Divisor:
    """What the sum of a batch is divided by, of which that of weights is a sum itself."""

    reduction: Reduction
    elementwise: bool
    portable = True

    def __call__(self, examples: Examples) -> tuple[Pair, None]:
        losses = examples.logits if self.elementwise else examples.logits[:, :1]
        return divisor(losses, examples.weights, self.reduction), None


# ---------------------------------------------------------------------------------------------------------------------
# Losses


@dataclass(frozen=True)
class FamilyLoss:
    """The reduced loss of a family.

    Attributes
    ----------
    family : Family
    reduction : Reduction
    compiled : bool
        Whether it is compiled where the library has a compiler.
    """

    family: Family
    reduction: Reduction
    compiled: bool

    def __call__(self, examples: Examples) -> Array:
        """A 0-d array, which can be differentiated by the logits."""
        backend = examples.backend
        if not (backend.has_autograd and self.family.portable):  # autograd follows the operations of other families
            return self._value("loss", examples)[0]
        return backend.differentiable(
            lambda x: self._value("loss", examples.with_logits(x))[0],
            lambda x: self._value("loss_and_gradient", examples.with_logits(x)),
            lambda x: self.derivative("gradient", examples.with_logits(x)),
            examples.logits,
            examples.labels,
            examples.weights,
        )

    def derivative(self, function: str, examples: Examples) -> Array:
        """By the logits, in their dtype: the ``"gradient"``, or the ``"hessian"``'s diagonal."""
        _, derivative = self._run(_Kernel(self.family, function), examples, self._scale(examples))
        return in_dtype(derivative, result_dtype(examples.logits))

    def _run(self, kernel: engine.Kernel, examples: Examples, *scalars: Array | None) -> tuple[Any, Any]:
        return engine.run(kernel, examples, *scalars, compiled=self.compiled)

    def _value(self, function: str, examples: Examples) -> tuple[Array, Array]:
        """The loss, and the gradient if it is in the function."""
        scale = self._scale(examples)
        summed, gradient = self._run(_Kernel(self.family, function), examples, scale)
        result = value(summed) if scale is None else value(summed) / scale
        return in_dtype(result, compute_dtype(examples.logits)), gradient

    def _scale(self, examples: Examples) -> Array | None:
        """What the sum is divided by: 0-d in the accumulation dtype, and 1 in place of 0, where the sum is 0 too."""
        logits, elementwise = examples.logits, self.family.elementwise
        if self.reduction == Reduction.SUM:
            return None
        if examples.weights is None or self.reduction in (Reduction.SUM_OVER_BATCH_SIZE, Reduction.AUTO):
            return value(divisor(logits if elementwise else logits[..., :1], None, self.reduction))
        scale = value(self._run(_Divisor(self.reduction, elementwise), examples)[0])
        xp = backends.of(scale).xp
        return xp.where(scale == 0, xp.ones_like(scale), scale)


@dataclass(frozen=True)
class UserLoss:
    """The reduced loss of a `loss_fn`, which is called with whole arrays of the user's own library.

    Attributes
    ----------
    function : callable of (labels, logits)
    reduction : Reduction
    elementwise : bool
        Whether it returns a loss for each logit, and not for each row of them.
    """

    function: Callable[..., Array]
    reduction: Reduction
    elementwise: bool

    def losses(self, examples: Examples) -> Array:
        """The unreduced, unweighted losses of validated examples."""
        logits = examples.logits
        expected = tuple(logits.shape) if self.elementwise else (*logits.shape[:-1], 1)
        losses = self.function(labels=examples.labels, logits=logits)
        shape = tuple(getattr(losses, "shape", ()))
        if shape != expected:
            raise ValueError(
                f"loss_fn must return Tensor of shape [D0, D1, ... DN, {expected[-1]}]. "
                f"It must not reduce, logits_shape: {tuple(logits.shape)}. loss_shape: {shape}."
            )
        return checked_result("loss_fn", losses, logits, expected)

    def __call__(self, examples: Examples) -> Array:
        """A 0-d array, which can be differentiated by the logits."""
        examples = examples.validated()
        with examples.backend.errstate():
            return reduce(self.losses(examples), examples.weights, self.reduction)

    def derivative(self, function: str, examples: Examples) -> Array:
        """By the logits, in their dtype, by the library's autograd: as that of `FamilyLoss`."""
        backend = examples.backend
        differentiate = backend.gradient if function == "gradient" else backend.hessian_diagonal
        dtype = result_dtype(examples.logits)
        examples = examples.validated()

        def loss(x: Array) -> Array:
            return reduce(self.losses(examples.with_logits(x)), examples.weights, self.reduction)

        return in_dtype(differentiate(loss, examples.logits), dtype)


# ---------------------------------------------------------------------------------------------------------------------
# Users' functions


def loss_fn_arguments(loss_fn: Callable[..., Array]) -> tuple[str, ...]:
    """The optional arguments that a loss_fn takes.

    Raises
    ------
    ValueError
        If it does not take labels and logits, or takes others than features and loss_reduction.
    TypeError
        If it is not callable.
    """
    if not callable(loss_fn):
        raise TypeError(f"loss_fn must be callable. Given: {loss_fn!r}")
    known = ("labels", "logits", "features", "loss_reduction")
    arguments = tuple(
        parameter.name
        for parameter in inspect.signature(loss_fn).parameters.values()
        if (parameter.name in known and parameter.kind is not parameter.POSITIONAL_ONLY)
        or parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        # functools.partial leaves options with a default, which nobody else sets.
        or (parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty)
    )
    for needed in known[:2]:
        if needed not in arguments:
            raise ValueError(f"loss_fn must contain argument: {needed}. Given arguments: {arguments}")
    unexpected = [argument for argument in arguments if argument not in known]
    if unexpected:
        raise ValueError(f"loss_fn has unexpected args: {unexpected}. It may take {', '.join(known)}.")
    return tuple(argument for argument in arguments if argument in known[2:])


def checked_result(name: str, result: Any, logits: Array, shape: tuple[int, ...]) -> Array:
    """What a user's function returned, as real numbers of the logits' dtype.

    Raises
    ------
    ValueError
        If it is of another shape.
    TypeError
        If it is not an array of the logits' library or does not hold real numbers.
    """
    backend = backends.of(logits)
    if not backends.is_array(result) or backends.of(result) is not backend:
        raise TypeError(f"{name} must return an array of the logits' library, {backend.name}. Got {type(result)}")
    if tuple(result.shape) != shape:
        raise ValueError(f"{name} must return an array shaped like the logits, {shape}. Got {tuple(result.shape)}")
    return in_dtype(to_compute_dtype(to_library(f"what {name} returns", result, logits)), logits.dtype)


def result_dtype(logits: Array) -> Any:
    """The dtype of derivatives and predictions: the logits' own, of integers the default real one."""
    return compute_dtype(logits) if is_integral(backends.of(logits).xp, logits.dtype) else logits.dtype


def sum_of(regularization_losses: Sequence[Any], like: Array) -> Array:
    """Their sum as a 0-d array of the library, dtype and device of `like`."""
    xp = backends.of(like).xp
    result = xp.zeros_like(like)
    for loss in regularization_losses:
        if not backends.is_array(loss):
            result = result + float(loss)
            continue
        if any(length != 1 for length in loss.shape):
            raise ValueError(f"regularization_losses must be scalars. One has shape {tuple(loss.shape)}")
        loss = to_compute_dtype(to_library("regularization_losses", loss, like))
        result = result + in_dtype(xp.reshape(loss, ()), like.dtype)
    return result


def has(regularization_losses: Sequence[Any] | None) -> TypeGuard[Sequence[Any]]:
    """Whether there are any."""
    return regularization_losses is not None and len(regularization_losses) > 0

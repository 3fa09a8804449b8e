"""glmheads as a contestant: the kinds of work, each on any array library."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import glmheads as gh
from benchmarks.measure import Answer, Batch, Contestant, Make, Setting, SkippedError, Work, each
from glmheads.families import BERNOULLI
from glmheads.metrics import mean_metrics, threshold_metrics

THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
# The default areas lie between bounds about the exact ones; 200 thresholds, and the steps by which scikit-learn and
# torchmetrics draw precision–recall, are coarser.
COARSE = {"auc": 2e-3, "auc_precision_recall": 2e-2}
Step = Callable[[Any, Any, Any], Any]


@dataclass(frozen=True)
class Library:
    """An array library on one device."""

    array: Callable[[np.ndarray], Any]
    copy: Callable[[Any], Any]
    wait: Callable[[Any], Any] = id

    def contestant(self, step: Step, answer: Callable[[Any], Answer], **options: Any) -> Contestant:
        """That does a step of (labels, logits, weights) for each batch."""

        def prepare(batches: Sequence[Batch]) -> Work:
            return each(batches, self.array, step, self.wait)

        return Contestant(prepare, answer, **options)


def numpy() -> Library:
    return Library(np.asarray, np.copy)


def torch(device: str = "cpu") -> Library:
    import torch

    if device == "cpu":
        return Library(torch.as_tensor, torch.clone)
    if not torch.cuda.is_available():
        raise SkippedError("PyTorch sees no CUDA device")
    return Library(partial(torch.as_tensor, device=device), torch.clone, lambda _: torch.cuda.synchronize())


def jax(device: str = "cpu") -> Library:
    import jax

    if jax.default_backend() != device:
        raise SkippedError(f"JAX runs on {jax.default_backend()} here, not on {device}")
    return Library(jax.numpy.asarray, partial(jax.numpy.array, copy=True), jax.block_until_ready)


def cupy() -> Library:
    import cupy

    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise SkippedError(f"CuPy: {error}") from None
    return Library(cupy.asarray, cupy.copy, lambda _: cupy.cuda.get_current_stream().synchronize())


MakeLibrary = Callable[[], Library]


# Heads


def binary(num_thresholds: int | None = 200, weighted: bool = True) -> gh.BinaryClassHead:
    column = "weight" if weighted else None
    return gh.BinaryClassHead(weight_column=column, thresholds=THRESHOLDS, num_thresholds=num_thresholds)


def sums_and_counts() -> gh.Head:
    """A head without areas."""
    metrics = (*mean_metrics(), *threshold_metrics(THRESHOLDS))
    return gh.FamilyHead(family=BERNOULLI, metrics=metrics, weight_column="weight")


# The work


def copy(library: MakeLibrary) -> Make:
    """What the memory can do: each example's 12 bytes read once and written once."""

    def make(setting: Setting) -> Contestant:
        there = library()
        return there.contestant(lambda *arrays: [there.copy(a) for a in arrays], lambda _: {}, bytes_per_example=24)

    return make


def loss(library: MakeLibrary, compiled: bool = False) -> Make:
    def make(setting: Setting) -> Contestant:
        return library().contestant(loss_step(_maybe(compiled, binary())), loss_answer, bytes_per_example=12)

    return make


def jax_loss(setting: Setting) -> Contestant:
    """A loss that the user compiles, as a training step is."""
    there = jax()
    import jax as jax_

    return there.contestant(jax_.jit(loss_step(binary())), loss_answer, bytes_per_example=12)


def gradient(library: MakeLibrary, compiled: bool = False) -> Make:
    """In closed form."""

    def make(setting: Setting) -> Contestant:
        head = _maybe(compiled, binary())
        step = lambda z, x, w: (None, head.gradient(z, x, {"weight": w}))  # noqa: E731
        return library().contestant(step, derivatives_answer, bytes_per_example=16)

    return make


def gradient_and_hessian(library: MakeLibrary) -> Make:
    def make(setting: Setting) -> Contestant:
        head = binary()

        def step(labels: Any, logits: Any, weights: Any) -> Any:
            features = {"weight": weights}
            return None, head.gradient(labels, logits, features), head.hessian(labels, logits, features)

        return library().contestant(step, derivatives_answer)

    return make


def torch_training(compiled: bool = False, device: str = "cpu") -> Make:
    """The loss and its gradient by autograd."""

    def make(setting: Setting) -> Contestant:
        step = backward_step(loss_step(_maybe(compiled, binary())))
        return torch(device).contestant(step, derivatives_answer, bytes_per_example=16)

    return make


def jax_training(setting: Setting) -> Contestant:
    there = jax("gpu")
    import jax as jax_

    head = binary()
    value_and_gradient = jax_.jit(jax_.value_and_grad(lambda x, z, w: head.loss(z, x, {"weight": w})))
    step = lambda z, x, w: value_and_gradient(x, z, w)  # noqa: E731
    return there.contestant(step, derivatives_answer, bytes_per_example=16)


def report(library: MakeLibrary, num_thresholds: int | None = 200, weighted: bool = True) -> Make:
    """Statistics of all data at once, and their results."""

    def make(setting: Setting) -> Contestant:
        head = binary(num_thresholds, weighted)
        step = lambda z, x, w: head.results(head.statistics(z, x, {"weight": w}))  # noqa: E731
        moved = 12 if weighted else 8
        return library().contestant(step, numbers, weighted=weighted, tolerance=COARSE, bytes_per_example=moved)

    return make


def statistics(library: MakeLibrary, make_head: Callable[[], gh.Head]) -> Make:
    """Compiled, without reading the results."""

    def make(setting: Setting) -> Contestant:
        head, compiled = make_head(), make_head().compiled()
        step = lambda z, x, w: compiled.statistics(z, x, {"weight": w})  # noqa: E731
        answer = lambda value: numbers(head.results(value))  # noqa: E731
        return library().contestant(step, answer, tolerance=COARSE, bytes_per_example=12)

    return make


def update(
    library: MakeLibrary, num_thresholds: int | None = 200, weighted: bool = True, compiled: bool = False
) -> Make:
    """One stream of batches; a result is read at its end, for which the last update must be done."""

    def make(setting: Setting) -> Contestant:
        head = _maybe(compiled, binary(num_thresholds, weighted))
        there = library()

        def prepare(batches: Sequence[Batch]) -> Work:
            metrics = head.metrics()
            step = lambda z, x, w: head.update_metrics(metrics, {"weight": w}, x, z)  # noqa: E731
            updates = each(batches, there.array, step, there.wait)

            def work() -> Any:
                updates()
                there.wait(metrics["average_loss"].result())
                return metrics

            return work

        answer = lambda metrics: numbers({key: metric.result() for key, metric in metrics.items()})  # noqa: E731
        return Contestant(prepare, answer, weighted, COARSE, bytes_per_example=12 if weighted else 8)

    return make


def _maybe(compiled: bool, head: Any) -> Any:
    return head.compiled() if compiled else head


def loss_step(head: gh.Head) -> Step:
    return lambda labels, logits, weights: head.loss(labels, logits, {"weight": weights})


def backward_step(loss: Step) -> Step:
    """The loss and its gradient by torch's autograd."""

    def step(labels: Any, logits: Any, weights: Any) -> Any:
        leaf = logits.detach().requires_grad_()
        value = loss(labels, leaf, weights)
        value.backward()
        return value.detach(), leaf.grad

    return step


# The answers


def numbers(results: Any) -> Answer:
    return {key: float(value) for key, value in results.items()}


def loss_answer(value: Any) -> Answer:
    return {"loss": float(value)}


def derivatives_answer(value: Any) -> Answer:
    """Of (loss or None, gradient[, hessian]): the loss, and the derivatives' norms."""
    loss, *derivatives = value
    norms = {name: float((d**2).sum()) ** 0.5 for name, d in zip(("gradient", "hessian"), derivatives, strict=False)}
    return norms if loss is None else {"loss": float(loss), **norms}

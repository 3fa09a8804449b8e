"""How far the losses of glmheads and of other libraries are from the true value, and what common metrics lose.

The first table is the worst error in units in the last place (ulp) over a grid of logits and labels, against arithmetic
of 60 digits, of the sigmoid cross entropy and of its gradient for hard labels. An error below the smallest
normal number counts for none, since some libraries flush subnormals. The second table is about metrics of small data
whose true value is plain.

    python benchmarks/accuracy.py
    python benchmarks/accuracy.py --points 3000 --markdown

Every other library is optional: one that is missing is named and skipped.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from itertools import product
from typing import Any

import mpmath
import numpy as np

import glmheads as gh
from glmheads.kernels.reductions import Pair, add

DIGITS = 60
DTYPES = ("float32", "float64")
Function = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Implementation:
    """The unreduced loss of (labels, logits) and its gradient, from NumPy to NumPy."""

    name: str
    loss: Function
    gradient: Function


# The implementations


def of_library(title: str, package: str, to_array: Callable[[np.ndarray], Any]) -> Implementation:
    def on(kernel: Callable[[Any, Any], Any]) -> Function:
        return lambda z, x: np.asarray(kernel(to_array(z), to_array(x)))

    kernels = gh.kernels
    name = f"glmheads, {title} {version(package)}"
    return Implementation(name, on(kernels.sigmoid_cross_entropy), on(kernels.sigmoid_cross_entropy_gradient))


def of_jax(name: str, loss: Callable[[Any, Any], Any]) -> Implementation:
    """From a loss of JAX arrays (labels, logits), differentiated by JAX."""
    import jax

    def on(function: Callable[[Any, Any], Any]) -> Function:
        compiled = jax.jit(function)
        return lambda z, x: np.asarray(compiled(jax.numpy.asarray(z), jax.numpy.asarray(x)))

    return Implementation(name, on(loss), on(jax.grad(lambda z, x: loss(z, x).sum(), argnums=1)))


def of_torch(name: str, loss: Callable[[Any, Any], Any]) -> Implementation:
    """From a loss of tensors (labels, logits), differentiated by PyTorch."""
    import torch

    def values(z: np.ndarray, x: np.ndarray) -> np.ndarray:
        return loss(torch.as_tensor(z), torch.as_tensor(x)).numpy()

    def gradient(z: np.ndarray, x: np.ndarray) -> np.ndarray:
        leaf = torch.tensor(x, requires_grad=True)
        return torch.autograd.grad(loss(torch.as_tensor(z), leaf).sum(), leaf)[0].numpy()

    return Implementation(name, values, gradient)


def glmheads_numpy() -> Implementation:
    return of_library("NumPy", "numpy", np.asarray)


def glmheads_torch() -> Implementation:
    import torch

    return of_library("PyTorch", "torch", torch.as_tensor)


def glmheads_torch_autograd() -> Implementation:
    return of_torch("glmheads, PyTorch autograd", gh.kernels.sigmoid_cross_entropy)


def glmheads_jax() -> Implementation:
    import jax

    return of_library("JAX", "jax", jax.numpy.asarray)


def glmheads_jax_autograd() -> Implementation:
    return of_jax("glmheads, JAX jit and grad", gh.kernels.sigmoid_cross_entropy)


def glmheads_array_api_strict() -> Implementation:
    import array_api_strict

    def kernels_on(kernel: Callable[[Any, Any], Any]) -> Function:
        return lambda z, x: np.from_dlpack(kernel(array_api_strict.asarray(z), array_api_strict.asarray(x)))

    name = f"glmheads, array-api-strict {version('array-api-strict')}"
    kernels = gh.kernels
    loss, gradient = kernels.sigmoid_cross_entropy, kernels.sigmoid_cross_entropy_gradient
    return Implementation(name, kernels_on(loss), kernels_on(gradient))


def torch_bce() -> Implementation:
    from torch.nn import functional

    def loss(z: Any, x: Any) -> Any:
        return functional.binary_cross_entropy_with_logits(x, z, reduction="none")

    return of_torch(f"torch {version('torch')} binary_cross_entropy_with_logits", loss)


def scikit_learn_half_binomial() -> Implementation:
    from sklearn._loss import HalfBinomialLoss

    loss = HalfBinomialLoss()
    name = f"scikit-learn {version('scikit-learn')} HalfBinomialLoss"
    return Implementation(name, lambda z, x: loss.loss(z, x), lambda z, x: loss.gradient(z, x))


def optax_bce() -> Implementation:
    import optax

    name = f"optax {version('optax')} sigmoid_binary_cross_entropy"
    return of_jax(name, lambda z, x: optax.sigmoid_binary_cross_entropy(x, z))


def keras_bce() -> Implementation:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    def loss(z: Any, x: Any) -> Any:
        return keras.ops.binary_crossentropy(z, x, from_logits=True)

    backend = keras.backend.backend()
    if backend not in ("jax", "torch"):
        raise ImportError(f"runs on JAX or PyTorch here, not on {backend}")
    name = f"Keras {version('keras')} ({backend}) binary_crossentropy"
    return of_jax(name, loss) if backend == "jax" else of_torch(name, loss)


IMPLEMENTATIONS = (
    glmheads_numpy,
    glmheads_array_api_strict,
    glmheads_torch,
    glmheads_torch_autograd,
    glmheads_jax,
    glmheads_jax_autograd,
    torch_bce,
    scikit_learn_half_binomial,
    optax_bce,
    keras_bce,
)


# The error in ulp


@dataclass(frozen=True)
class Exact:
    """True values as unevaluated sums of two float64."""

    high: np.ndarray
    low: np.ndarray

    def ulps(self, got: np.ndarray, dtype: str) -> np.ndarray:
        error = np.abs((got.astype(np.float64) - self.high) - self.low)
        unit = np.spacing(np.abs(self.high).astype(dtype)).astype(np.float64)
        return np.where(error < np.finfo(dtype).tiny, 0, error / unit)


def exact(function: Callable[[Any, Any], Any], labels: np.ndarray, logits: np.ndarray) -> Exact:
    with mpmath.workdps(DIGITS):
        pairs = zip(labels.tolist(), logits.tolist(), strict=True)
        values = [function(mpmath.mpf(z), mpmath.mpf(x)) for z, x in pairs]
        high = [float(value) for value in values]
        low = [float(value - mpmath.mpf(h)) for value, h in zip(values, high, strict=True)]
    return Exact(np.asarray(high), np.asarray(low))


def true_loss(z: Any, x: Any) -> Any:
    return z * mpmath.log1p(mpmath.exp(-x)) + (1 - z) * mpmath.log1p(mpmath.exp(x))


def true_gradient(z: Any, x: Any) -> Any:
    return (1 - z) / (1 + mpmath.exp(-x)) - z / (1 + mpmath.exp(x))


def grid(points: int, seed: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and logits: |x| from 1e-6 to 110, labels hard, soft, and within 1e-6 of 0 and 1."""
    rng = np.random.default_rng(seed)
    sizes = np.concatenate(
        [
            np.exp(rng.uniform(np.log(1e-6), np.log(110), points // 2)),
            rng.uniform(0, 4, points // 4),
            rng.uniform(0, 110, points - points // 2 - points // 4),
        ]
    )
    logits = sizes * rng.choice([-1.0, 1.0], points)
    u = rng.random(points)
    kind = rng.integers(0, 5, points)
    labels = np.choose(kind, [np.zeros(points), np.ones(points), 1e-6 * u, 1 - 1e-6 * u, u])
    return labels.astype(dtype), logits.astype(dtype)


def ulp_rows(implementations: Sequence[Implementation], points: int, seed: int) -> Iterator[list[str]]:
    truths = {}
    for dtype in DTYPES:
        z, x = grid(points, seed, dtype)
        hard = np.rint(z)
        truths[dtype] = (z, hard, x, exact(true_loss, z, x), exact(true_gradient, hard, x))
    for implementation in implementations:
        worst = {}
        for dtype, (z, hard, x, loss, gradient) in truths.items():
            worst["loss", dtype] = loss.ulps(implementation.loss(z, x), dtype).max()
            worst["gradient", dtype] = gradient.ulps(implementation.gradient(hard, x), dtype).max()
        cells = [worst[key] for key in product(("loss", "gradient"), DTYPES)]
        yield [implementation.name, *(f"{cell:.2f}" if cell < 100 else f"{cell:.1e}" for cell in cells)]


# The metrics


def pair_count_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The probability that a positive has a higher score, a tie counting half, by looking at every pair."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    above = int((positive[:, None] > negative).sum())
    ties = int((positive[:, None] == negative).sum())
    return float(Fraction(2 * above + ties, 2 * positive.size * negative.size))


def near_98() -> list[str]:
    logits = (98 + 0.125 * np.arange(15)).astype(np.float32)
    labels = np.asarray([0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 1, 1, 0, 1, 1], dtype=np.float32)
    ours = float(gh.BinaryClassHead().evaluate([(labels, logits[:, None])])["auc"])
    theirs = "not installed"
    if torchmetrics := optional("torchmetrics"):
        import torch

        auroc = torchmetrics.functional.classification.binary_auroc
        theirs = f"{float(auroc(torch.as_tensor(logits), torch.as_tensor(labels).int())):.4f}"
    return [
        "AUC of 15 logits around 98",
        f"{pair_count_auc(labels, logits):.4f}",
        f"{ours:.4f}",
        f"torchmetrics: {theirs}",
    ]


def logits_within_0_and_1() -> list[str]:
    logits = np.asarray([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9], dtype=np.float32)
    labels = np.ones_like(logits)
    ours = float(gh.BinaryClassHead().evaluate([(labels, logits[:, None])])["accuracy"])
    theirs = "not installed"
    if torchmetrics := optional("torchmetrics"):
        import torch

        accuracy = torchmetrics.functional.classification.binary_accuracy
        theirs = f"{float(accuracy(torch.as_tensor(logits), torch.as_tensor(labels).int())):.4f}"
    true = float(np.mean((logits > 0) == (labels == 1)))
    name = "Accuracy of 8 positives, logits in [0, 1] (all p > ½)"
    return [name, f"{true:.4f}", f"{ours:.4f}", f"torchmetrics: {theirs}"]


def one_more_than_2_to_24() -> list[str]:
    seen = 2**24
    zero, one = np.zeros((), dtype=np.float32), np.ones((), dtype=np.float32)
    count = add(Pair(one * seen, zero), Pair(one, zero))
    ours = int(count.hi) + int(count.lo)
    theirs = "not installed"
    if torchmetrics := optional("torchmetrics"):
        metric = torchmetrics.MeanMetric()
        metric.update(0.5, weight=float(seen))
        metric.update(0.5, weight=1.0)
        theirs = f"{int(metric.weight):,}"
    name = "Examples counted after the 16,777,217th, in float32"
    return [name, f"{seen + 1:,}", f"{ours:,}", f"torchmetrics MeanMetric: {theirs}"]


def click_auc(seed: int, count: int = 1_000_000, batch: int = 65_536) -> list[str]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(-8, 1, count)
    labels = (rng.random(count) < 1 / (1 + np.exp(-logits))).astype(float)
    batches = [(labels[i : i + batch], logits[i : i + batch, None]) for i in range(0, count, batch)]
    order = np.argsort(logits, kind="stable")
    ranks = np.empty(count)
    ranks[order] = np.arange(1, count + 1)  # no ties: the logits are float64
    positives = labels.sum()
    true = (ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * (count - positives))
    head = gh.BinaryClassHead()
    record = head.empty()
    for z, x in batches:
        record = record + head.statistics(z, x)
    lower, upper = head.bounds(record)["auc"]
    ours = f"{float(head.results(record)['auc']):.5f}, within [{lower:.5f}, {upper:.5f}]"
    thresholds = float(gh.BinaryClassHead(num_thresholds=200).evaluate(batches)["auc"])
    theirs = f"200 thresholds, as Keras: {thresholds:.5f}"
    if torchmetrics := optional("torchmetrics"):
        import torch

        auroc = torchmetrics.functional.classification.binary_auroc
        binned = auroc(torch.as_tensor(logits), torch.as_tensor(labels).int(), thresholds=200)
        theirs += f"; torchmetrics: {float(binned):.5f}"
    return [f"AUC of {count:,} click logits ~ N(−8, 1)", f"{true:.5f}", ours, theirs]


# Printing


def optional(package: str) -> Any:
    """The package, or None where it is missing."""
    try:
        return __import__(package)
    except ImportError:
        return None


def available() -> Iterator[Implementation]:
    if jax := optional("jax"):
        jax.config.update("jax_enable_x64", True)
    for load in IMPLEMENTATIONS:
        try:
            yield load()
        except ImportError as error:
            print(f"skipped {load.__name__}: {error}", file=sys.stderr)


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool) -> None:
    if markdown:
        lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
        print(f"\n**{title}**\n", *("| " + " | ".join(line) + " |" for line in lines), sep="\n")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=max(120, Console().width)).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=30_000, help="points of the grid (default: 30000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    options = parser.parse_args()
    columns = [
        "Sigmoid cross entropy, worst error in ulp",
        *(f"{w}, {d}" for w, d in product(("loss", "gradient"), DTYPES)),
    ]
    rows = list(ulp_rows(list(available()), options.points, options.seed))
    show(f"{options.points:,} points against {DIGITS} digits, |x| from 1e-6 to 110", columns, rows, options.markdown)
    metrics = [near_98(), logits_within_0_and_1(), one_more_than_2_to_24(), click_auc(options.seed)]
    show("Metrics", ["Metric", "true", "glmheads", "others"], metrics, options.markdown)


if __name__ == "__main__":
    main()

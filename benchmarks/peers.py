"""What glmheads is timed against, each skipped by name where it is not installed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks import ours
from benchmarks.measure import Answer, Batch, Contestant, Make, Setting, Work, each
from benchmarks.ours import COARSE, THRESHOLDS

# What sums in float32 is not held to more.
SINGLE = 1e-4

# The weighted loss: its sum over n, as Reduction.SUM_OVER_BATCH_SIZE


def _fused() -> ours.Step:
    from torch.nn import functional

    return lambda z, x, w: functional.binary_cross_entropy_with_logits(x, z, w)


def torch_fused(setting: Setting) -> Contestant:
    return ours.torch().contestant(_fused(), ours.loss_answer, bytes_per_example=12)


def torch_fused_training(device: str = "cpu") -> Make:
    def make(setting: Setting) -> Contestant:
        return ours.torch(device).contestant(
            ours.backward_step(_fused()), ours.derivatives_answer, default_tolerance=SINGLE, bytes_per_example=16
        )

    return make


def torch_formula_training(setting: Setting) -> Contestant:
    """The formula as one writes it out, compiled."""
    import torch

    @torch.compile(dynamic=False)
    def formula(labels: Any, logits: Any, weights: Any) -> Any:
        return (weights * (logits.clamp(min=0) - logits * labels + logits.abs().neg().exp().log1p())).mean()

    return ours.torch().contestant(
        ours.backward_step(formula), ours.derivatives_answer, default_tolerance=SINGLE, bytes_per_example=16
    )


def sklearn_loss(setting: Setting) -> Contestant:
    from sklearn._loss import HalfBinomialLoss

    loss = HalfBinomialLoss().loss

    def step(labels: Any, logits: Any, weights: Any) -> Any:
        return loss(labels, logits, sample_weight=weights, n_threads=setting.threads).mean()

    return _on_numpy(step, ours.loss_answer, flat=True, largest=4 * 10**6, default_tolerance=SINGLE)


def sklearn_derivatives(setting: Setting) -> Contestant:
    """Of the sum: scaled to the mean in the answer, which costs nothing."""
    from sklearn._loss import HalfBinomialLoss

    both = HalfBinomialLoss().gradient_hessian

    def step(labels: Any, logits: Any, weights: Any) -> Any:
        return both(labels, logits, sample_weight=weights, n_threads=setting.threads)

    def answer(value: Any) -> Answer:
        return ours.derivatives_answer((None, *(derivative / derivative.size for derivative in value)))

    return _on_numpy(step, answer, flat=True, default_tolerance=SINGLE)


def numexpr_loss(setting: Setting) -> Contestant:
    import numexpr

    formula = "w * (where(x > 0, x, 0) - x * z + log1p(exp(-abs(x))))"  # its own sum is off by 5e-4 at 1e6 examples

    def step(labels: Any, logits: Any, weights: Any) -> Any:
        return numexpr.evaluate(formula, {"z": labels, "x": logits, "w": weights}).mean()

    return _on_numpy(step, ours.loss_answer, largest=4 * 10**6, default_tolerance=SINGLE)


# The report


def sklearn_report(setting: Setting) -> Contestant:
    """Exact."""
    from sklearn import metrics

    def step(labels: Any, logits: Any, weights: Any) -> Answer:
        probabilities = 1 / (1 + np.exp(-logits))
        predicted = logits > 0
        return {
            "average_loss": metrics.log_loss(labels, probabilities, sample_weight=weights),
            "accuracy": metrics.accuracy_score(labels, predicted, sample_weight=weights),
            "precision": metrics.precision_score(labels, predicted, sample_weight=weights),
            "recall": metrics.recall_score(labels, predicted, sample_weight=weights),
            "auc": metrics.roc_auc_score(labels, probabilities, sample_weight=weights),
            "auc_precision_recall": metrics.average_precision_score(labels, probabilities, sample_weight=weights),
        }

    return _on_numpy(step, ours.numbers, flat=True, tolerance=COARSE, default_tolerance=SINGLE, largest=2 * 10**6)


def torchmetrics(work: str, device: str = "cpu") -> Make:
    """A "report" of each batch or an "update" by it of a stream, as one collection, without weights: it takes none."""

    def make(setting: Setting) -> Contestant:
        library = ours.torch(device)
        metrics = TorchMetrics(device)

        def report(labels: Any, logits: Any, weights: Any) -> dict[str, Any]:
            metrics.reset()
            metrics.update(labels, logits)
            return metrics.compute()

        def update(labels: Any, logits: Any, weights: Any) -> None:
            metrics.update(labels, logits)

        def prepare(batches: Sequence[Batch]) -> Work:
            metrics.reset()
            return each(batches, library.array, report if work == "report" else update, library.wait)

        def answer(results: Any) -> Answer:
            return ours.numbers(metrics.compute() if results is None else results)

        return Contestant(prepare, answer, False, COARSE, SINGLE, largest=2 * 10**6 if device == "cpu" else 2**24)

    return make


class TorchMetrics:
    """The report in torchmetrics."""

    def __init__(self, device: str) -> None:
        from torchmetrics import MeanMetric, MetricCollection
        from torchmetrics import classification as binary

        def at(threshold: float) -> dict[str, Any]:
            given = {"threshold": threshold}
            return {"precision": binary.BinaryPrecision(**given), "recall": binary.BinaryRecall(**given)}

        areas = {
            "auc": binary.BinaryAUROC(thresholds=200),
            "auc_precision_recall": binary.BinaryAveragePrecision(thresholds=200),
        }
        self._at_half = MetricCollection({"accuracy": binary.BinaryAccuracy(), **at(0.5), **areas}).to(device)
        self._at = {t: MetricCollection(at(t)).to(device) for t in THRESHOLDS}
        names = ("average_loss", "prediction/mean", "label/mean")
        self._means = {name: MeanMetric().to(device) for name in names}

    def reset(self) -> None:
        for metric in (self._at_half, *self._at.values(), *self._means.values()):
            metric.reset()

    def update(self, labels: Any, logits: Any) -> None:
        from torch.nn.functional import binary_cross_entropy_with_logits

        labels, logits = labels[:, 0], logits[:, 0]
        probabilities = logits.sigmoid()
        classes = labels.int()
        for metric in (self._at_half, *self._at.values()):
            metric.update(probabilities, classes)
        self._means["average_loss"].update(binary_cross_entropy_with_logits(logits, labels))
        self._means["prediction/mean"].update(probabilities)
        self._means["label/mean"].update(labels)

    def compute(self) -> dict[str, Any]:
        results = self._at_half.compute() | {name: metric.compute() for name, metric in self._means.items()}
        for threshold, metrics in self._at.items():
            for key, value in metrics.compute().items():
                results[f"{key}/positive_threshold_{threshold:g}"] = value
        return results


# JAX


def optax_loss(flat: bool = False) -> Make:
    """With the arrays' shape (N, 1), or (N,), which XLA does better."""

    def make(setting: Setting) -> Contestant:
        import jax
        import optax

        @jax.jit
        def step(labels: Any, logits: Any, weights: Any) -> Any:
            return (weights * optax.sigmoid_binary_cross_entropy(logits, labels)).mean()

        def array(values: np.ndarray) -> Any:
            return jax.numpy.asarray(values[:, 0] if flat else values)

        def prepare(batches: Sequence[Batch]) -> Work:
            return each(batches, array, step, jax.block_until_ready)

        return Contestant(prepare, ours.loss_answer, default_tolerance=SINGLE, bytes_per_example=12)

    return make


def metrax_auc(setting: Setting) -> Contestant:
    """One of the areas, by 200 thresholds."""
    import jax
    import metrax

    @jax.jit
    def step(labels: Any, logits: Any, weights: Any) -> Any:
        x, z, w = logits[:, 0], labels[:, 0], weights[:, 0]
        return metrax.AUCROC.from_model_output(jax.nn.sigmoid(x), z, w).compute()

    return ours.jax().contestant(step, lambda auc: {"auc": float(auc)}, tolerance=COARSE)


def _on_numpy(step: ours.Step, answer: Callable[[Any], Answer], flat: bool = False, **options: Any) -> Contestant:
    """On NumPy arrays, of shape (n,) where the peer takes no other."""
    array = np.ravel if flat else np.asarray
    return Contestant(lambda batches: each(batches, array, step, id), answer, **options)

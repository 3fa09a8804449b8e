"""What must hold on a CUDA device beside the tests that the `lib` fixture runs there: no call waits for the device."""

from collections.abc import Iterator

import numpy as np
import pytest

import glmheads as gh

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch-cuda: no CUDA device")

HEADS = {
    "ranked": gh.BinaryClassHead(weight_column="w", thresholds=[0.2, 0.8]),
    "bucketed": gh.BinaryClassHead(weight_column="w", num_thresholds=200),
    "logistic": gh.LogisticRegressionHead(weight_column="w"),
    "calibrated": gh.BinaryClassHead(weight_column="w", thresholds=[0.2], num_thresholds=200, extra_metrics="all"),
    "regression": gh.RegressionHead(weight_column="w"),
    "poisson": gh.PoissonRegressionHead(weight_column="w"),
}


@pytest.fixture
def no_synchronisation() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


def _batch(device: str) -> tuple:
    rng = np.random.default_rng(0)
    arrays = (rng.random((4096, 1)) < 0.3, rng.normal(size=(4096, 1)), rng.exponential(size=4096))
    return tuple(torch.as_tensor(array.astype(np.float32), device=device) for array in arrays)


@pytest.mark.parametrize("name", HEADS)
def test_loss_and_update_never_wait_for_the_device(name: str, no_synchronisation: None) -> None:
    head = HEADS[name]
    labels, logits, weights = _batch("cuda")
    metrics = head.metrics()
    for _ in range(3):
        head.loss(labels, logits, {"w": weights})
        head.gradient(labels, logits, {"w": weights})
        metrics = head.update_metrics(metrics, {"w": weights}, logits, labels)


@pytest.mark.parametrize("name", HEADS)
def test_device_agrees_with_host(name: str) -> None:
    head = HEADS[name]
    results = []
    for device in ("cuda", "cpu"):
        labels, logits, weights = _batch(device)
        results.append(head.results(head.statistics(labels, logits, {"w": weights})))
    for key, value in results[0].items():
        assert value.device.type == "cuda"
        assert float(value) == pytest.approx(float(results[1][key]), rel=1e-6), key


def test_labels_of_another_device_are_refused() -> None:
    labels, logits, weights = _batch("cuda")
    with pytest.raises(ValueError, match="device"):
        gh.BinaryClassHead(weight_column="w").loss(labels.cpu(), logits, {"w": weights})


def test_bad_labels_are_counted_and_refused_at_the_result() -> None:
    head = HEADS["ranked"]
    labels, logits, weights = _batch("cuda")
    labels[0] = 2
    assert torch.isnan(head.loss(labels, logits, {"w": weights}))
    metrics = head.update_metrics(head.metrics(), {"w": weights}, logits, labels)
    with pytest.raises(ValueError, match="1 bad labels"):
        metrics["auc"].result()

"""Every head answers what tf.estimator's answered: 80 recorded cases, on each library whose values are at hand.

`data/README.md` says where the cases come from and what is in one.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glmheads as gh

RECORDED = json.loads(gzip.decompress((Path(__file__).parent / "data" / "tf_estimator_cases.json.gz").read_bytes()))
CASES = [pytest.param(case, id=f"{number}-{case['kind']}") for number, case in enumerate(RECORDED["cases"])]
ANSWERED = [param for param in CASES if "error" not in param.values[0]["answer"]]
REFUSED = [param for param in CASES if "error" in param.values[0]["answer"]]

TOLERANCE = 3e-5
VANISHING = 1e-37
"""Near the smallest normal float32 TensorFlow on the CPU gives 0."""

BEGINNINGS = (
    "thresholds not in (0, 1): ((",
    "label_vocabulary should be a list or a tuple. Given type: <class 'str'>",
    "Invalid loss_reduction: none.",
    "Invalid loss_reduction: median.",
    "Invalid label_dimension 0.",
    "logits shape must be [D0, D1, ... DN, logits_dimension], got (1, 2).",
    "logits must have rank at least 2.  Received rank 1, shape (2,)",
    "Mismatched label shape. Expected labels dimension=1.  Received 2.",
    "labels shape must be [D0, D1, ... DN, 1].",
    "Labels must be <= 2 - 1",
    "Labels must be >= 0",
    "Labels must be in range [0, 1]",
    "weights shape must be [D0, D1, ... DN] or [D0, D1, ... DN, 1], logits_shape: (2, 1). weights_shape: (",
    "Feature w is not in features dictionary.",
    "Weight column must be either a string or NumericColumn. Given type: <class 'int'>.",
)
"""Up to where a text is tf.estimator's; what follows says more, or quotes the input in another way."""


@pytest.fixture(params=("numpy", "array_api_strict", "torch", "jax"))
def lib(request, library):
    return library(request.param)


def decoded(recorded: dict[str, Any]) -> np.ndarray:
    dtype = None if recorded["dtype"] == "str" else recorded["dtype"]
    return np.asarray(recorded["data"], dtype=dtype).reshape(recorded["shape"])


def given(lib, recorded: dict[str, Any]) -> Any:
    """An array of the library, or of NumPy if it holds words."""
    array = decoded(recorded)
    return array if array.dtype.kind == "U" else lib.array(array)


def batches(lib, case: dict[str, Any]) -> list[tuple[Any, Any, dict[str, Any]]]:
    """Labels, logits and features of every batch."""
    return [
        (
            given(lib, batch["labels"]),
            given(lib, batch["logits"]),
            {name: given(lib, column) for name, column in batch["features"].items()},
        )
        for batch in case["batches"]
    ]


def make_head(case: dict[str, Any]) -> gh.Head:
    arguments = dict(case["kwargs"])
    if case["kind"] == "BinaryClassHead":
        arguments["num_thresholds"] = 200
    return getattr(gh, case["kind"])(**arguments)


def assert_predictions(lib, found: Any, recorded: dict[str, Any]) -> None:
    assert set(found) == set(recorded)
    for key in recorded:
        expected, array = decoded(recorded[key]), lib.numpy(found[key])
        assert array.shape == expected.shape, key
        assert array.dtype.kind == expected.dtype.kind, key
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(array, expected, rtol=TOLERANCE, atol=VANISHING, err_msg=key)
        else:
            np.testing.assert_array_equal(array, expected, err_msg=key)


@pytest.mark.parametrize("case", ANSWERED)
def test_answers_are_tf_estimators(lib, case):
    answer, regularization = case["answer"], case["regularization_losses"]
    head = make_head(case)
    assert (head.name, head.logits_dimension, head.loss_reduction) == (
        answer["name"],
        answer["logits_dimension"],
        answer["loss_reduction"],
    )
    metrics = head.metrics(regularization_losses=regularization)
    assert sorted(metrics) == sorted(answer["metric_keys"])
    for number, (labels, logits, features) in enumerate(batches(lib, case)):
        loss = lib.numpy(head.loss(labels, logits, features, regularization_losses=regularization))
        expected = decoded(answer["loss"][number])
        assert loss.shape == expected.shape
        np.testing.assert_allclose(loss, expected, rtol=TOLERANCE, atol=VANISHING)
        assert_predictions(lib, head.predictions(logits), answer["predictions"][number])
        head.update_metrics(metrics, features, logits, labels, regularization_losses=regularization)
    found = {key: float(metric.result()) for key, metric in metrics.items()}
    assert found == pytest.approx(answer["metrics"], rel=TOLERANCE, abs=TOLERANCE)


def use(lib, case: dict[str, Any], method: str) -> None:
    """Make the head and give its method every batch."""
    head = make_head(case)
    for labels, logits, features in batches(lib, case):
        if method == "loss":
            head.loss(labels, logits, features)
        else:
            head.update_metrics(head.metrics(), features, logits, labels)


@pytest.mark.parametrize("method", ["loss", "update_metrics"])
@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_as_tf_estimator_did(lib, case, method):
    answer = case["answer"]
    (beginning,) = (text for text in BEGINNINGS if answer["message"].startswith(text))
    with pytest.raises((ValueError, TypeError)) as caught:
        use(lib, case, method)
    assert type(caught.value).__name__ == answer["error"]
    assert str(caught.value).startswith(beginning)

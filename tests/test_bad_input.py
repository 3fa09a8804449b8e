"""What bad input gets: a test for each row of ``docs/bad-input.md``, named as the row is."""
# ruff: noqa: ARG005 - the arguments of a loss_fn are its contract

import io
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import LIBRARIES
from scipy.special import expit

import glmheads as gh
from glmheads import backends

DOCUMENT = Path(__file__).parent.parent / "docs" / "bad-input.md"

BINARY = gh.BinaryClassHead(weight_column="w")
LOGISTIC = gh.LogisticRegressionHead(weight_column="w")
POISSON = gh.PoissonRegressionHead(weight_column="w")
REGRESSION = gh.RegressionHead(weight_column="w")
TWO = gh.RegressionHead(label_dimension=2, weight_column="w")
WORDS = gh.BinaryClassHead(weight_column="w", label_vocabulary=["no", "yes"])

LABELS = [1.0, 0.0, 1.0]
LOGITS = [[1.0], [-2.0], [0.5]]
WEIGHTS = [1.0, 2.0, 1.0]
NAN, INFINITY = float("nan"), float("inf")


class TestTable:
    def test_every_row_has_a_test_and_every_test_a_row(self):
        rows = re.findall(r"^\| `([a-z0-9-]+)` \|", DOCUMENT.read_text(), re.MULTILINE)
        tests = [name.removeprefix("test_").replace("_", "-") for name in globals() if name.startswith("test_")]
        assert rows == tests

    def test_every_row_has_three_cells(self):
        lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]
        assert {line.count("|") for line in lines} == {4}


# ---------------------------------------------------------------------------------------------------------------------
# Helpers


def calls(head: gh.Head, labels: Any, logits: Any, features: Any, metrics: Any) -> dict[str, Callable[[], Any]]:
    """Every call that takes labels and logits."""
    return {
        "loss": lambda: head.loss(labels, logits, features),
        "gradient": lambda: head.gradient(labels, logits, features),
        "hessian": lambda: head.hessian(labels, logits, features),
        "statistics": lambda: head.statistics(labels, logits, features),
        "update_metrics": lambda: head.update_metrics(metrics, features, logits, labels),
        "evaluate": lambda: head.evaluate([(labels, logits, features)]),
        "eval": lambda: head.create_estimator_spec(features, gh.ModeKeys.EVAL, logits, labels=labels),
        "train": lambda: head.create_estimator_spec(
            features, gh.ModeKeys.TRAIN, logits, labels=labels, train_op_fn=lambda loss: loss
        ),
    }


def refused(
    error: type[Exception], text: str, head: gh.Head, labels: Any, logits: Any, weights: Any = WEIGHTS, **given: Any
) -> None:
    """Every call raises this, and the metrics keep their records."""
    features = given["features"] if given else {"w": weights}
    metrics = head.metrics()
    records = [metric.statistics for metric in metrics.values()]
    for call in calls(head, labels, logits, features, metrics).values():
        with pytest.raises(error, match=re.escape(text)):
            call()
    assert all(metric.statistics is record for metric, record in zip(metrics.values(), records, strict=True))


def value(array: Any) -> float:
    return float(backends.of(array).to_numpy(array))


def numbers(results: dict[str, Any]) -> dict[str, float]:
    """The results as floats, which a lazy library computes together."""
    if backends.of(next(iter(results.values()))).name == "dask":
        import dask

        (results,) = dask.compute(results)
    return {key: value(result) for key, result in results.items()}


@pytest.fixture(params=[name for name in LIBRARIES if name != "jax-x64"])
def lib(request: pytest.FixtureRequest, library: Any) -> Any:
    """Each array library in turn, and JAX once: what is refused does not depend on its widths."""
    return library(request.param)


@cache
def traced(head: gh.Head) -> Callable[..., Any]:
    """Loss, statistics and results under ``jax.jit``."""
    import jax

    def run(labels, logits, weights):
        statistics = head.statistics(labels, logits, {"w": weights})
        return head.loss(labels, logits, {"w": weights}), statistics, head.results(statistics)

    return jax.jit(run)


def bad_values(
    lib: Any, argument: str, count: int, text: str, head: gh.Head, labels: Any = LABELS, weights: Any = WEIGHTS
) -> None:
    """The values are refused where they are at hand, and elsewhere make the loss NaN and are counted."""
    logits, labels, weights = lib.array(LOGITS), lib.array(labels), lib.array(weights)
    if lib.checks_values:
        refused(ValueError, text, head, labels, logits, weights)
    else:
        statistics = head.statistics(labels, logits, {"w": weights})
        check_counted(argument, count, head.loss(labels, logits, {"w": weights}), statistics, head.results(statistics))
        metrics = head.update_metrics(head.metrics(), {"w": weights}, logits, labels)
        if lib.is_lazy:
            assert np.isnan(value(metrics["average_loss"].result()))
        else:
            check_raises(argument, count, head, statistics)
    if lib.name.startswith("jax"):
        loss, statistics, results = traced(head)(labels, logits, weights)
        check_counted(argument, count, loss, statistics, results)
        check_raises(argument, count, head, statistics)


def check_counted(argument: str, count: int, loss: Any, statistics: gh.Statistics, results: dict[str, Any]) -> None:
    assert np.isnan(value(loss))
    others = {"labels", "logits", "weights"} - {argument}
    assert value(statistics.invalid[argument]) == count
    assert [value(statistics.invalid[other]) for other in others] == [0, 0]
    assert all(np.isnan(result) for result in numbers(results).values())


def check_raises(argument: str, count: int, head: gh.Head, statistics: gh.Statistics) -> None:
    with pytest.raises(ValueError, match=f"{count} bad {argument}"):
        head.results(statistics)


def same(lib: Any, found: Any, expected: Any) -> None:
    """Losses, or dicts of results, to the rounding of the library's floats."""
    tolerance = 1e-12 if lib.has_float64 else 1e-5
    if isinstance(expected, dict):
        assert numbers(found) == pytest.approx(numbers(expected), rel=tolerance)
        return
    np.testing.assert_allclose(lib.numpy(found), backends.of(expected).to_numpy(expected), rtol=tolerance)


def reference(head: gh.Head, labels: Any = LABELS, weights: Any = WEIGHTS) -> Any:
    """The loss of NumPy arrays."""
    return head.loss(np.asarray(labels), np.asarray(LOGITS), {"w": np.asarray(weights)})


def hosts(library: Any) -> Iterator[tuple[str, Any]]:
    """The libraries whose arrays have values on the host."""
    for name in ("numpy", "array_api_strict", "torch", "jax"):
        yield name, library(name)


# ---------------------------------------------------------------------------------------------------------------------
# Logits


def test_logits_rank(lib):
    for shape in ((), (3,)):
        logits = lib.array(np.ones(shape))
        refused(ValueError, "logits must have rank at least 2", BINARY, lib.array(LABELS), logits, lib.array(WEIGHTS))
        with pytest.raises(ValueError, match="logits must have rank at least 2"):
            BINARY.predictions(logits)


def test_logits_last_axis(lib):
    for head, shape in ((BINARY, (3, 2)), (BINARY, (1, 3)), (TWO, (3, 1)), (BINARY, (3, 0))):
        logits = lib.array(np.ones(shape))
        refused(ValueError, "logits shape must be [D0, D1, ... DN, logits_dimension], got ", head, LABELS, logits)
        with pytest.raises(ValueError, match=re.escape(f"got {shape}")):
            head.predictions(logits)


def test_logits_dtype(lib):
    bad = [lib.array(LOGITS, dtype="complex64"), np.asarray(LOGITS, dtype=object), np.asarray([["a"]] * 3), None, "abc"]
    for logits in bad:
        refused(TypeError, "logits must be real numbers", BINARY, LABELS, logits)
        with pytest.raises(TypeError, match="logits must be real numbers"):
            BINARY.predictions(logits)


def test_logits_ragged():
    ragged = [[1.0], [1.0, 2.0], [0.5]]
    text = "must not be nested lists of unequal length"
    refused(ValueError, f"logits {text}", BINARY, LABELS, ragged)
    refused(ValueError, f"labels {text}", BINARY, ragged, LOGITS)
    refused(ValueError, f"weights (feature w) {text}", BINARY, LABELS, LOGITS, ragged)


def test_logits_integer(lib):
    for dtype in ("int8", "int64", "uint8", "bool"):
        logits = lib.array([[1], [0], [1]], dtype=dtype)
        expected = (2 * np.log1p(np.exp(-1)) + np.log(2)) / 3
        loss = gh.BinaryClassHead().loss(lib.array(LABELS), logits)
        np.testing.assert_allclose(lib.numpy(loss), expected, rtol=1e-6)
        default = lib.xp.__array_namespace_info__().default_dtypes()["real floating"]
        assert loss.dtype == gh.BinaryClassHead().predictions(logits)["logistic"].dtype == default


def test_logits_nan(lib):
    head = gh.BinaryClassHead()
    labels, logits = lib.array(LABELS), lib.array([[1.0], [NAN], [0.5]])
    assert np.isnan(lib.numpy(head.loss(labels, logits)))
    expected = (expit([[1.0], [NAN], [0.5]]) - np.asarray(LABELS)[:, None]) / 3
    np.testing.assert_allclose(lib.numpy(head.gradient(labels, logits)), expected, rtol=1e-6)
    predictions = head.predictions(logits)
    assert np.isnan(lib.numpy(predictions["logistic"])[1, 0])
    assert lib.numpy(predictions["class_ids"]).tolist() == [[1], [0], [1]]
    statistics = head.statistics(labels, logits)
    assert {name: value(count) for name, count in statistics.invalid.items()} == {
        "logits": 1,
        "labels": 0,
        "weights": 0,
    }
    results = numbers(head.results(statistics))
    assert results.pop("label/mean") == pytest.approx(2 / 3)
    assert results.pop("accuracy_baseline") == pytest.approx(2 / 3)
    assert all(np.isnan(result) for result in results.values())


def test_logits_nan_weight_0(lib):
    labels, features = lib.array(LABELS), {"w": lib.array([1.0, 0.0, 1.0])}
    for head, bad in ((BINARY, NAN), (LOGISTIC, INFINITY), (REGRESSION, -INFINITY)):
        logits, good = lib.array([[1.0], [bad], [0.5]]), lib.array([[1.0], [7.0], [0.5]])
        same(lib, head.loss(labels, logits, features), head.loss(labels, good, features))
        same(lib, head.gradient(labels, logits, features), head.gradient(labels, good, features))
        statistics = head.statistics(labels, logits, features)
        assert value(statistics.invalid["logits"]) == 0
        same(lib, head.results(statistics), head.results(head.statistics(labels, good, features)))


def test_logits_infinite(lib):
    head = gh.BinaryClassHead()
    labels, logits = lib.array(LABELS), lib.array([[INFINITY], [-INFINITY], [0.5]])
    np.testing.assert_allclose(lib.numpy(head.loss(labels, logits)), np.log1p(np.exp(-0.5)) / 3, rtol=1e-6)
    results = head.results(head.statistics(labels, logits))
    assert value(results["auc"]) == 1
    wrong = lib.array([0.0, 0.0, 1.0])
    assert value(head.loss(wrong, logits)) == INFINITY
    assert value(head.results(head.statistics(wrong, logits))["auc"]) == pytest.approx(0.5)


def test_logits_masked():
    mask = [True, False, False]
    text = "must not be a masked array"
    refused(TypeError, f"logits {text}", BINARY, LABELS, np.ma.array(LOGITS, mask=[[m] for m in mask]))
    refused(TypeError, f"labels {text}", BINARY, np.ma.array(LABELS, mask=mask), LOGITS)
    refused(TypeError, f"weights (feature w) {text}", BINARY, LABELS, LOGITS, np.ma.array(WEIGHTS, mask=mask))


# ---------------------------------------------------------------------------------------------------------------------
# Labels


def test_labels_none(lib):
    refused(ValueError, "You must provide a labels Tensor. Given: None.", BINARY, None, lib.array(LOGITS))
    spec = BINARY.create_estimator_spec(None, gh.ModeKeys.PREDICT, lib.array(LOGITS))
    assert set(spec.export_outputs) == {"serving_default", "classification", "regression", "predict"}


def test_labels_without_last_axis(lib):
    for head in (BINARY, REGRESSION):
        flat, column = lib.array(LABELS), lib.array([[z] for z in LABELS])
        logits, features = lib.array(LOGITS), {"w": lib.array(WEIGHTS)}
        same(lib, head.loss(flat, logits, features), head.loss(column, logits, features))
        assert head.gradient(flat, logits, features).shape == (3, 1)
        results = head.results(head.statistics(flat, logits, features))
        same(lib, results, head.results(head.statistics(column, logits, features)))
        assert value(results["label/mean"]) == 0.5


def test_labels_shape(lib):
    logits = lib.array(LOGITS)
    for shape in ((), (1,), (1, 3), (4,), (4, 1), (3, 2), (3, 3), (3, 1, 1), (0,)):
        labels = lib.array(np.ones(shape))
        expected = "Mismatched label shape" if len(shape) > 1 and shape[-1] != 1 else "labels shape must be"
        refused(
            ValueError,
            expected if shape else "labels must have rank at least 2",
            BINARY,
            labels,
            logits,
            lib.array(WEIGHTS),
        )
    for shape in ((3,), (2,), (3, 1), (1, 2), (2, 3)):
        with pytest.raises(ValueError, match=r"Mismatched label shape|labels shape must be|labels must have rank"):
            TWO.loss(lib.array(np.ones(shape)), lib.array(np.ones((3, 2))), {"w": lib.array(WEIGHTS)})
    # the first two axes of equal length
    with pytest.raises(ValueError, match="labels must have rank at least 2"):
        BINARY.loss(lib.array(np.ones((3,))), lib.array(np.ones((3, 3, 1))), {"w": lib.array(np.ones((3, 3)))})


def test_labels_dtype(lib):
    bad = [
        lib.array(LABELS, dtype="complex64"),
        np.asarray(["2020-01-01"] * 3, dtype="datetime64[D]"),
        np.asarray([1, 2, 3], dtype="timedelta64[s]"),
        np.asarray(LABELS, dtype=object),
        np.asarray([(1.0,)] * 3, dtype=[("a", float)]),
        {1, 0},
    ]
    for labels in bad:
        refused(TypeError, "labels must be real numbers", BINARY, labels, lib.array(LOGITS))


def test_labels_words_without_vocabulary(lib):
    words = ["1", "0", "1"]
    bad = [words, np.asarray(words), np.asarray(words, dtype=bytes), np.asarray(words, dtype=object)]
    if lib.is_lazy:
        bad += [lib.backend.from_numpy(np.asarray(words, dtype=dtype)) for dtype in ("U", "S", object)]
    for labels in bad:
        refused(TypeError, "give label_vocabulary", BINARY, labels, lib.array(LOGITS))


def test_labels_nan(lib):
    labels = [1.0, NAN, 1.0]
    bad_values(lib, "labels", 1, "Labels must be >= 0; 1 of 3 labels are not: nan at 1", BINARY, labels)
    bad_values(lib, "labels", 1, "Labels must be in range [0, 1]; 1 of 3 labels are not: nan at 1", LOGISTIC, labels)
    bad_values(lib, "labels", 1, "Labels must be finite; 1 of 3 labels are not: nan at 1", REGRESSION, labels)
    bad_values(lib, "labels", 1, "Labels must be finite and >= 0; 1 of 3 labels are not: nan at 1", POISSON, labels)


def test_labels_infinite(lib):
    for bad in (INFINITY, -INFINITY):
        text = f"; 2 of 3 labels are not: {bad} at 0, {bad} at 2"
        labels = [bad, 0.0, bad]
        bad_values(lib, "labels", 2, f"Labels must be in range [0, 1]{text}", LOGISTIC, labels)
        bad_values(lib, "labels", 2, f"Labels must be finite{text}", REGRESSION, labels)
        bad_values(lib, "labels", 2, f"Labels must be finite and >= 0{text}", POISSON, labels)


def test_labels_out_of_range(lib):
    bad_values(lib, "labels", 2, "Labels must be <= 2 - 1; 2 of 3 labels are not: 2 at 0", BINARY, [2.0, 0.0, 1.5])
    bad_values(lib, "labels", 1, "Labels must be >= 0; 1 of 3 labels are not: -1 at 0", BINARY, [-1.0, 0.0, 1.0])
    bad_values(lib, "labels", 3, "Labels must be in range [0, 1]", LOGISTIC, [-0.5, 1.25, 7.0])
    bad_values(lib, "labels", 1, "Labels must be finite and >= 0; 1 of 3 labels are not", POISSON, [3.0, 0.0, -0.5])
    far = [-3e9, 1e9, 0.0]
    assert np.isfinite(value(REGRESSION.loss(lib.array(far), lib.array(LOGITS), {"w": lib.array(WEIGHTS)})))
    if lib.checks_values:
        many = np.full((20, 1), 2.0)
        with pytest.raises(ValueError, match=r"20 of 20 labels are not: 2 at 0, .*, 2 at 4, \.\.\.$"):
            gh.BinaryClassHead().loss(lib.array(many), lib.array(np.ones((20, 1))))


def test_labels_far_out_of_range(lib):
    for label in (2**32, 2**63, -(2**33)):
        labels = np.asarray([label, 0, 1])
        if lib.checks_values:
            refused(ValueError, "Labels must be", BINARY, labels, lib.array(LOGITS), lib.array(WEIGHTS))
            refused(ValueError, "Labels must be", LOGISTIC, labels, lib.array(LOGITS), lib.array(WEIGHTS))
        else:
            assert np.isnan(value(LOGISTIC.loss(labels, lib.array(LOGITS), {"w": lib.array(WEIGHTS)})))


def test_labels_weight_0(lib):
    logits, weights = lib.array(LOGITS), {"w": lib.array([1.0, 0.0, 1.0])}
    expected = reference(BINARY, LABELS, [1.0, 0.0, 1.0])
    for bad in (NAN, INFINITY, 5.0, -1.0):
        labels = lib.array([1.0, bad, 1.0])
        same(lib, BINARY.loss(labels, logits, weights), expected)
        statistics = BINARY.statistics(labels, logits, weights)
        assert value(statistics.invalid["labels"]) == 0
        assert value(BINARY.results(statistics)["label/mean"]) == 1
    if lib.checks_values:
        for word in ("perhaps", None, NAN):
            labels = np.asarray(["yes", word, "yes"], dtype=object)
            same(lib, WORDS.loss(labels, logits, weights), expected)


def test_labels_unknown_word(lib):
    logits = lib.array(LOGITS)
    start = "Labels must be >= 0, a word of label_vocabulary ['no', 'yes']: "
    text = start + "2 of 3 are not, the first at 1; unknown are ['maybe', 'often']"
    refused(ValueError, text, WORDS, ["yes", "often", "maybe"], logits)
    for word in ("Yes", "yes ", "", 1, None, NAN):
        text = start + f"1 of 3 are not, the first at 2; unknown are ['{word}']"
        refused(ValueError, text, WORDS, np.asarray(["yes", "no", word], dtype=object), logits)


def test_labels_words_under_a_trace(library):
    jax = pytest.importorskip("jax")
    head = gh.BinaryClassHead(label_vocabulary=["0", "1"])
    logits = library("jax").array(LOGITS)
    text = "can't be looked up under a trace"
    with pytest.raises(ValueError, match=text):
        jax.jit(lambda labels: head.loss(labels, logits))(library("jax").array([1, 0, 1]))
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=text):
        head.loss(torch.ones(3, device="meta"), torch.ones((3, 1), device="meta"))


def test_labels_one_class(lib):
    head = gh.BinaryClassHead()
    for label, expected in (
        (1.0, {"auc": 0, "recall": 2 / 3, "precision": 1, "label/mean": 1, "accuracy_baseline": 1}),
        (0.0, {"auc": 0, "recall": 0, "precision": 0, "label/mean": 0, "accuracy_baseline": 1}),
    ):
        labels, logits = lib.array([label] * 3), lib.array(LOGITS)
        statistics = head.statistics(labels, logits)
        results = head.results(statistics)
        assert {key: value(results[key]) for key in expected} == pytest.approx(expected)
        assert lib.numpy(head.bounds(statistics)["auc"]).tolist() == [0, 0]
        side = 2 * label - 1
        same(lib, head.loss(labels, logits), np.mean(np.log1p(np.exp(-side * np.asarray(LOGITS)))))


# ---------------------------------------------------------------------------------------------------------------------
# Weights


def test_weights_without_features(lib):
    text = "Feature w is not in features dictionary. No features were given."
    refused(ValueError, text, BINARY, lib.array(LABELS), lib.array(LOGITS), features=None)


def test_weights_missing_column(lib):
    text = "Feature w is not in features dictionary. It has ['v', 'W']"
    features = {"v": lib.array(WEIGHTS), "W": lib.array(WEIGHTS)}
    refused(ValueError, text, BINARY, lib.array(LABELS), lib.array(LOGITS), features=features)
    refused(ValueError, "It has [].", BINARY, lib.array(LABELS), lib.array(LOGITS), features={})


def test_weights_features_type(lib):
    structured = np.asarray([(1.0,)] * 3, dtype=[("w", float)])
    for features in (5, "w", b"w", object(), [WEIGHTS], structured, lib.array(WEIGHTS)):
        refused(TypeError, "features must be", BINARY, lib.array(LABELS), lib.array(LOGITS), features=features)


def test_weights_shape(lib):
    labels, logits = lib.array(LABELS), lib.array(LOGITS)
    text = "weights shape must be [D0, D1, ... DN] or [D0, D1, ... DN, 1], logits_shape: (3, 1). weights_shape: "
    for shape in ((), (1,), (1, 1), (1, 3), (2,), (4, 1), (3, 2), (3, 3), (3, 1, 1), (0,)):
        refused(ValueError, f"{text}{shape}", BINARY, labels, logits, lib.array(np.ones(shape)))
    text = "weights shape must be [D0, D1, ... DN], [D0, D1, ... DN, 1] or [D0, D1, ... DN, logits_dimension]"
    for shape in ((), (2,), (1, 2), (2, 3), (3, 3), (3, 2, 1)):
        weights = lib.array(np.ones(shape))
        refused(ValueError, text, TWO, lib.array(np.ones((3, 2))), lib.array(np.ones((3, 2))), weights)


def test_weights_dtype(lib):
    bad = [
        lib.array(WEIGHTS, dtype="complex64"),
        ["1", "2", "1"],
        np.asarray(WEIGHTS, dtype=object),
        np.asarray([1, 2, 1], dtype="timedelta64[s]"),
        None,
    ]
    for weights in bad:
        text = "weights (feature w) must be real numbers"
        refused(TypeError, text, BINARY, lib.array(LABELS), lib.array(LOGITS), weights)


def test_weights_negative(lib):
    text = "weights must be finite and >= 0; 1 of 3 weights are not: -1 at 1"
    for head in (BINARY, LOGISTIC, REGRESSION, POISSON):
        bad_values(lib, "weights", 1, text, head, weights=[1.0, -1.0, 1.0])
    same(lib, BINARY.loss(LABELS, lib.array(LOGITS), {"w": [1.0, -0.0, 1.0]}), reference(BINARY, weights=[1, 0, 1]))


def test_weights_nan(lib):
    text = "weights must be finite and >= 0; 2 of 3 weights are not: nan at 0, nan at 2"
    bad_values(lib, "weights", 2, text, LOGISTIC, weights=[NAN, 1.0, NAN])


def test_weights_infinite(lib):
    text = "weights must be finite and >= 0; 1 of 3 weights are not: inf at 2"
    bad_values(lib, "weights", 1, text, LOGISTIC, weights=[1.0, 1.0, INFINITY])


def test_weights_far_too_large(lib):
    head = gh.LogisticRegressionHead("w", loss_reduction="sum")
    for weight in (2**31, 5 * 10**9, 2**63):
        features = {"w": np.asarray([weight, 0, 0])}
        loss = head.loss(lib.array(LABELS), lib.array(LOGITS), features)
        assert value(loss) == pytest.approx(weight * np.log1p(np.exp(-1.0)), rel=1e-6)
    results = head.results(head.statistics(lib.array(LABELS), lib.array(LOGITS), features))
    assert value(results["prediction/mean"]) == pytest.approx(expit(1.0), rel=1e-6)


def test_weights_all_0(lib):
    labels, logits, features = lib.array(LABELS), lib.array(LOGITS), {"w": lib.array([0.0, 0.0, 0.0])}
    for reduction in set(gh.Reduction) - {gh.Reduction.NONE}:
        head = gh.BinaryClassHead("w", loss_reduction=reduction)
        assert value(head.loss(labels, logits, features)) == 0
        assert not lib.numpy(head.gradient(labels, logits, features)).any()
    statistics = LOGISTIC.statistics(labels, logits, features)
    assert set(numbers(LOGISTIC.results(statistics)).values()) == {0}
    good = LOGISTIC.statistics(labels, logits, {"w": lib.array(WEIGHTS)})
    same(lib, LOGISTIC.results(good + statistics), LOGISTIC.results(good))


def test_weights_normalizer(lib):
    def head(normalizer_fn):
        return gh.BinaryClassHead(weight_column=gh.numeric_column("w", normalizer_fn=normalizer_fn))

    labels, logits, weights = lib.array(LABELS), lib.array(LOGITS), lib.array(WEIGHTS)
    refused(ValueError, "weights shape must be", head(lambda w: w[:2]), labels, logits, weights)
    refused(TypeError, "must be real numbers", head(lambda w: None), labels, logits, weights)
    refused(TypeError, "must be real numbers", head(lambda w: ["a"] * 3), labels, logits, weights)
    if lib.checks_values:
        refused(ValueError, "weights must be finite and >= 0", head(lambda w: -w), labels, logits, weights)


# ---------------------------------------------------------------------------------------------------------------------
# Arrays of any argument


def test_empty_batch(lib):
    for head in (BINARY, gh.BinaryClassHead("w", num_thresholds=20), TWO, POISSON)[: 4 if lib.name != "jax" else 1]:
        shape = (0, head.logits_dimension)
        labels, logits, weights = lib.array(np.ones(shape)), lib.array(np.ones(shape)), lib.array(np.ones(0))
        assert value(head.loss(labels, logits, {"w": weights})) == 0
        assert head.gradient(labels, logits, {"w": weights}).shape == shape
        statistics = head.statistics(labels, logits, {"w": weights})
        assert set(numbers(head.results(statistics)).values()) == {0}
        shape = (3, head.logits_dimension)
        good = head.statistics(lib.array(np.ones(shape)), lib.array(np.ones(shape)), {"w": lib.array(WEIGHTS)})
        same(lib, head.results(good + statistics), head.results(good))
        assert all(0 in lib.numpy(array).shape for array in head.predictions(logits).values() if array.ndim > 1)
    assert value(gh.BinaryClassHead().loss(lib.array(np.ones((2, 0))), lib.array(np.ones((2, 0, 1))))) == 0


def test_other_library(lib, library):
    expected = reference(BINARY)
    logits = lib.array(LOGITS)
    for name, other in hosts(library):
        loss = BINARY.loss(other.array(LABELS), logits, {"w": other.array(WEIGHTS)})
        same(lib, loss, expected)
        assert backends.of(loss) is lib.backend, name
    same(lib, BINARY.loss(LABELS, logits, {"w": tuple(WEIGHTS)}), expected)


def test_other_library_without_values(library):
    dask, jax = library("dask"), pytest.importorskip("jax")
    for _, other in hosts(library):
        logits = other.array(LOGITS)
        refused(ValueError, "bring both to one library", BINARY, dask.array(LABELS), logits)
        refused(ValueError, "bring both to one library", BINARY, LABELS, logits, dask.array(WEIGHTS))
        if other.name != "jax":
            with pytest.raises(ValueError, match="bring both to one library"):
                jax.jit(lambda z, x=logits: BINARY.loss(z, x, {"w": WEIGHTS}))(np.ones(3, dtype=np.float32))


def test_other_device(library):
    torch = pytest.importorskip("torch")
    for device in ("meta", "cuda") if torch.cuda.is_available() else ("meta",):
        labels, weights = torch.tensor(LABELS, device=device), torch.tensor(WEIGHTS, device=device)
        for name, other in (*hosts(library), ("dask", library("dask"))):
            logits = other.array(LOGITS)
            where = f"on the device of the logits, cpu, not on {device}" if name == "torch" else f"on {device}"
            refused(ValueError, where, BINARY, labels, logits, other.array(WEIGHTS))
            refused(ValueError, where, BINARY, other.array(LABELS), logits, weights)
            with pytest.raises(ValueError, match=device):
                BINARY.loss(LABELS, logits, {"w": WEIGHTS}, regularization_losses=[torch.ones((), device=device)])
        logits = torch.tensor(LOGITS, device=device)
        refused(
            ValueError, f"device of the logits, {device}", BINARY, labels.new_ones(3, device="cpu"), logits, weights
        )


def test_nulls(lib):
    text = "must not be missing: 1 of 3 are null, at 1"
    missing = [1.0, None, 0.0]
    refused(ValueError, f"labels {text}", BINARY, missing, lib.array(LOGITS))
    refused(ValueError, f"weights (feature w) {text}", BINARY, LABELS, lib.array(LOGITS), missing)
    refused(ValueError, f"logits {text}", BINARY, LABELS, missing)


def test_decimals(lib):
    for numbers, text in (
        ([Decimal(1), 0, Decimal(1)], "they are <class 'decimal.Decimal'>: convert them to float"),
        ([Fraction(1, 2), 0, 1], "they are <class 'fractions.Fraction'>: convert them to float"),
        (np.asarray(LABELS, dtype=object), "they are an array of objects: convert it with astype(float)"),
    ):
        refused(TypeError, f"labels must be real numbers; {text}", BINARY, numbers, lib.array(LOGITS))
        refused(TypeError, f"(feature w) must be real numbers; {text}", BINARY, LABELS, lib.array(LOGITS), numbers)
        refused(TypeError, f"logits must be real numbers; {text}", BINARY, LABELS, numbers)


def test_sparse():
    sparse = pytest.importorskip("scipy.sparse")
    text = "must not be sparse: give the array that its toarray() returns"
    for matrix in (sparse.csr_array(LOGITS), sparse.coo_matrix(LOGITS)):
        refused(TypeError, f"logits {text}", BINARY, LABELS, matrix)
    refused(TypeError, f"labels {text}", BINARY, sparse.coo_array(np.asarray(LOGITS)), LOGITS)
    tensor = pytest.importorskip("torch").tensor(LOGITS)
    text = "must not be sparse: give the array that its to_dense() returns"
    refused(TypeError, f"logits {text}", BINARY, LABELS, tensor.to_sparse())
    refused(TypeError, f"weights (feature w) {text}", BINARY, LABELS, tensor, tensor.to_sparse())


def test_lazy_table():
    table = pytest.importorskip("polars").LazyFrame({"x": [1.0, -2.0, 0.5], "y": LABELS})
    refused(TypeError, "logits must have values, not be lazy: collect them", BINARY, LABELS, table)
    refused(TypeError, "labels must have values, not be lazy: collect them", BINARY, table, LOGITS)
    assert gh.evaluate(gh.BinaryClassHead(), table, logits="x", labels="y").count == 3


def test_no_array(lib):
    for given in ({1.0}, {"a": 1.0}, (x for x in LABELS), object()):
        text = f"must be real numbers: an array, a list or a column of a table. Given type: {type(given)}"
        refused(TypeError, f"labels {text}", BINARY, given, lib.array(LOGITS))
        refused(TypeError, f"logits {text}", BINARY, LABELS, given)


def test_dlpack_on_a_device(lib):
    class OnDevice:
        def __dlpack__(self, **options):
            raise BufferError

        def __dlpack_device__(self):
            return 2, 1

    text = "are not in the host's memory but on device (2, 1) of DLPack"
    refused(ValueError, f"labels {text}", BINARY, OnDevice(), lib.array(LOGITS))
    refused(ValueError, f"logits {text}", BINARY, LABELS, OnDevice())


def test_read_only(lib):
    arrays = [np.asarray(values) for values in (LABELS, LOGITS, WEIGHTS)]
    for array in arrays:
        array.flags.writeable = False
    labels, logits, weights = arrays
    own = lib.array(logits)
    for call in calls(BINARY, labels, own, {"w": weights}, BINARY.metrics()).values():
        call()
    same(lib, BINARY.loss(labels, own, {"w": weights}), reference(BINARY))


def test_strides(lib):
    def variants(values):
        a = np.asarray(values)
        twice = np.repeat(a, 2, axis=0)
        wide = np.repeat(a[:, None], 3, axis=1)
        yield twice[::2]
        yield a[::-1].copy()[::-1]
        yield wide[:, 1]
        yield np.asfortranarray(a)
        yield a.astype(a.dtype.newbyteorder())

    expected = reference(BINARY)
    logits, weights = lib.array(LOGITS), lib.array(WEIGHTS)
    for labels in variants(LABELS):
        same(lib, BINARY.loss(labels, logits, {"w": weights}), expected)
    for column in variants(WEIGHTS):
        same(lib, BINARY.loss(lib.array(LABELS), logits, {"w": column}), expected)
    wide = lib.array(np.repeat(np.asarray(LOGITS), 3, axis=1))
    backward = lib.xp.flip(lib.array(LOGITS[::-1]), axis=0)
    for own in (wide[:, 1:2], wide[:, ::3], backward):
        same(lib, BINARY.loss(lib.array(LABELS), own, {"w": weights}), expected)
    if lib.name == "numpy":
        for own in variants(LOGITS):
            same(lib, BINARY.loss(LABELS, own, {"w": WEIGHTS}), expected)


def test_inputs_unchanged(lib):
    given = {"labels": [1.0, 0.0, 0.5], "logits": [[NAN], [-0.0], [INFINITY]], "weights": [0.0, 2.0, 1.0]}
    arrays = {name: lib.array(values) for name, values in given.items()}
    before = {name: lib.numpy(array).copy() for name, array in arrays.items()}
    features = {"w": arrays["weights"]}
    losses = [lib.array(0.5)]
    metrics = BINARY.metrics(losses)
    for call in calls(BINARY, arrays["labels"], arrays["logits"], features, BINARY.metrics()).values():
        call()
    BINARY.update_metrics(metrics, features, arrays["logits"], arrays["labels"], regularization_losses=losses)
    dict(BINARY.predictions(arrays["logits"]))
    for name, array in arrays.items():
        after = lib.numpy(array)
        assert after.dtype == before[name].dtype
        assert after.tobytes() == before[name].tobytes()
    assert list(features) == ["w"]
    assert features["w"] is arrays["weights"]
    assert [value(loss) for loss in losses] == [0.5]


def test_failed_update(lib):
    logits, labels, features = lib.array(LOGITS), lib.array(LABELS), {"w": lib.array(WEIGHTS)}
    metrics = BINARY.update_metrics(BINARY.metrics([0.5]), features, logits, labels, regularization_losses=[0.5])
    before = {key: value(metric.result()) for key, metric in metrics.items()}
    records = {key: metric.statistics for key, metric in metrics.items()}
    bad: list[tuple[Any, Any, Any, Any]] = [
        (features, logits, None, [0.5]),
        (features, logits, lib.array([1.0, 0.0]), [0.5]),
        (features, lib.array(LABELS), labels, [0.5]),
        ({}, logits, labels, [0.5]),
        ({"w": lib.array([1.0])}, logits, labels, [0.5]),
        (features, logits, labels, ["a"]),
    ]
    if lib.checks_values:
        bad += [(features, logits, lib.array([1.0, 2.0, NAN]), [0.5]), ({"w": -features["w"]}, logits, labels, [0.5])]
    for features_, logits_, labels_, losses in bad:
        with pytest.raises((ValueError, TypeError)):
            BINARY.update_metrics(metrics, features_, logits_, labels_, regularization_losses=losses)
    assert all(metrics[key].statistics is record for key, record in records.items())
    assert {key: value(metric.result()) for key, metric in metrics.items()} == before


# ---------------------------------------------------------------------------------------------------------------------
# Regularization losses


def with_regularization(head: gh.Head, logits: Any, losses: Any) -> dict[str, Callable[[], Any]]:
    features = {"w": WEIGHTS}
    return {
        "loss": lambda: head.loss(LABELS, logits, features, regularization_losses=losses),
        "statistics": lambda: head.statistics(LABELS, logits, features, losses),
        "update_metrics": lambda: head.update_metrics(
            head.metrics(), features, logits, LABELS, regularization_losses=losses
        ),
        "spec": lambda: head.create_estimator_spec(
            features, gh.ModeKeys.EVAL, logits, labels=LABELS, regularization_losses=losses
        ),
    }


def check_regularization(error: type[Exception], text: str | None, logits: Any, losses: Callable[[], Any]) -> None:
    for name in with_regularization(BINARY, logits, None):
        with pytest.raises(error, match=text):
            with_regularization(BINARY, logits, losses())[name]()


def test_regularization_type(lib):
    logits = lib.array(LOGITS)
    for losses in (0.5, lib.array(0.5)):
        check_regularization(TypeError, None, logits, lambda losses=losses: losses)
        with pytest.raises(TypeError):
            BINARY.metrics(losses)
    check_regularization(TypeError, None, logits, lambda: (loss for loss in (0.5,)))


def test_regularization_shape(lib):
    logits = lib.array(LOGITS)
    for losses in ([lib.array([0.5, 1.0])], [0.5, lib.array(LOGITS)], [np.ones(2)], [lib.array(np.ones(0))]):
        check_regularization(ValueError, "regularization_losses must be scalars", logits, lambda losses=losses: losses)


def test_regularization_dtype(lib):
    logits = lib.array(LOGITS)
    check_regularization(ValueError, "could not convert string to float", logits, lambda: ["a"])
    for loss in (lib.array(1j, dtype="complex64"), 1j, None, np.asarray("a"), np.asarray(None)):
        check_regularization(TypeError, None, logits, lambda loss=loss: [loss])


def test_regularization_other_library(lib, library):
    logits = lib.array(LOGITS)
    expected = reference(BINARY) + 0.75
    for _, other in hosts(library):
        losses = [other.array(0.5), 0.25]
        loss = BINARY.loss(LABELS, logits, {"w": WEIGHTS}, regularization_losses=losses)
        same(lib, loss, expected)
        assert backends.of(loss) is lib.backend
        results = BINARY.results(BINARY.statistics(LABELS, logits, {"w": WEIGHTS}, losses))
        assert value(results["regularization_loss"]) == 0.75


def test_regularization_nan(lib):
    for losses in ([NAN, 1.0], [lib.array(NAN)]):
        logits = lib.array(LOGITS)
        assert np.isnan(value(BINARY.loss(LABELS, logits, {"w": WEIGHTS}, regularization_losses=losses)))
        results = BINARY.results(BINARY.statistics(LABELS, logits, {"w": WEIGHTS}, losses))
        assert np.isnan(value(results["regularization_loss"]))
        assert value(results["label/mean"]) == 0.5


# ---------------------------------------------------------------------------------------------------------------------
# Other arguments of calls


def test_predictions_keys(lib):
    logits = lib.array(LOGITS)
    for head, key in ((BINARY, "scores"), (BINARY, "predictions"), (REGRESSION, "logistic"), (REGRESSION, "logits")):
        with pytest.raises(ValueError, match=f"Prediction key must be in PredictionKeys, given: {key}"):
            head.predictions(logits, keys=[key])
    for keys in ([None], [5], [["logits"]]):
        with pytest.raises(ValueError, match="Prediction key must be in PredictionKeys"):
            BINARY.predictions(logits, keys=keys)
    with pytest.raises(TypeError, match=re.escape("write ['logits']")):
        BINARY.predictions(logits, keys="logits")


def test_mode(lib):
    for mode in (None, "EVAL", "predict", 1):
        with pytest.raises(ValueError, match="is not a valid ModeKeys"):
            BINARY.create_estimator_spec({"w": WEIGHTS}, mode, lib.array(LOGITS), labels=LABELS)


def test_training_arguments(lib):
    for arguments, text in (
        ({}, "train_op_fn and optimizer cannot both be None"),
        ({"train_op_fn": id, "optimizer": object()}, "train_op_fn and optimizer cannot both be set"),
        ({"train_op_fn": id, "update_ops": {id}}, "update_ops should be a list or a tuple"),
        ({"train_op_fn": id, "update_ops": [5]}, "update_ops should be a list or a tuple of callables"),
        ({"optimizer": object(), "trainable_variables": []}, "optimizer must have the methods zero_grad and step"),
    ):
        with pytest.raises(ValueError, match=text):
            BINARY.create_estimator_spec(
                {"w": WEIGHTS}, gh.ModeKeys.TRAIN, lib.array(LOGITS), labels=LABELS, **arguments
            )


def test_statistics_type():
    for wrong in (None, {}, np.ones(3), REGRESSION.metrics()):
        for method in (BINARY.results, BINARY.bounds, BINARY.curves):
            with pytest.raises(TypeError, match="expected Statistics"):
                method(wrong)
        with pytest.raises(TypeError):
            BINARY.empty() + wrong


def test_statistics_of_another_head(lib):
    other = REGRESSION.statistics(LABELS, lib.array(LOGITS), {"w": WEIGHTS})
    mine = BINARY.statistics(LABELS, lib.array(LOGITS), {"w": WEIGHTS})
    for call in (
        lambda: BINARY.results(other),
        lambda: BINARY.bounds(other),
        lambda: BINARY.curves(other),
        lambda: mine + other,
        lambda: BINARY.empty() + other,
    ):
        with pytest.raises(ValueError, match="differently configured head") as caught:
            call()
        assert "RegressionHead" in str(caught.value)
        assert "BinaryClassHead" in str(caught.value)


def test_statistics_target(lib):
    record = REGRESSION.statistics(LABELS, lib.array(LOGITS), {"w": WEIGHTS})
    if lib.name in ("numpy", "dask", "array_api_strict"):
        names = ["no_such_library"]
    else:
        names = ["no_such_library", "no_such_device:3"]
    for target in names if lib.name not in ("numpy", "dask") else []:
        with pytest.raises(ValueError, match=target):
            record.to(target)
    with pytest.raises(ValueError, match="no_such_library"):
        record.to("no_such_library", "cpu")


def test_statistics_file(tmp_path):
    foreign = io.BytesIO()
    np.savez(foreign, a=np.ones(3))
    file = io.BytesIO()
    BINARY.statistics(LABELS, LOGITS, {"w": WEIGHTS}).save(file)
    for content in (b"", b"not a record", foreign.getvalue(), file.getvalue()[:-200]):
        path = tmp_path / "record.npz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"record\.npz"):
            gh.Statistics.load(path)


def test_metrics_type(lib):
    for metrics in (None, list(BINARY.metrics().values()), {"auc": 0.5}, BINARY.empty(), "auc"):
        with pytest.raises(TypeError, match="eval_metrics must be"):
            BINARY.update_metrics(metrics, {"w": WEIGHTS}, lib.array(LOGITS), LABELS)


def test_metrics_of_another_head(lib):
    mine, others = BINARY.metrics(), REGRESSION.metrics()
    mixed = {"mine": mine["auc"], "other": others["average_loss"]}
    for metrics in (others, mixed):
        with pytest.raises(ValueError, match="differently configured heads"):
            BINARY.update_metrics(metrics, {"w": WEIGHTS}, lib.array(LOGITS), LABELS)
        assert all(float(metric.result()) == 0 for metric in metrics.values())


def test_evaluate_batches(lib):
    logits, features = lib.array(LOGITS), {"w": WEIGHTS}
    good = (LABELS, logits, features)
    for batches in (5, None, [logits], [good, 5], [(LABELS,)], [(*good, None, None)], [{"labels": LABELS}]):
        with pytest.raises(TypeError):
            BINARY.evaluate(batches)
    with pytest.raises(TypeError, match="logit"):
        BINARY.evaluate([{"labels": LABELS, "logit": logits}])
    assert {float(result) for result in BINARY.evaluate([]).values()} == {0}


def test_empty_like():
    for like in ([1.0], 5, None, "numpy"):
        if like is None:
            assert BINARY.empty(like).states == {}
            continue
        with pytest.raises(TypeError, match="expected an array"):
            BINARY.empty(like)


def test_loss_fn_result_shape(lib):
    for loss_fn in (
        lambda labels, logits: logits[:, 0],
        lambda labels, logits: logits[:2, :],
        lambda labels, logits: lib.xp.sum(logits),
        lambda labels, logits: logits - lib.xp.reshape(labels, (1, 3)),
        lambda labels, logits: None,
        lambda labels, logits: 1.0,
    ):
        head = gh.BinaryClassHead("w", loss_fn=loss_fn)
        for name in ("loss", "statistics", "update_metrics", "evaluate"):
            with pytest.raises(ValueError, match="loss_fn must return Tensor of shape"):
                calls(head, LABELS, lib.array(LOGITS), {"w": WEIGHTS}, head.metrics())[name]()


def test_loss_fn_result_dtype(lib):
    labels, logits = lib.array([1.0, 1.0, 0.0]), lib.array(LOGITS)
    head = gh.BinaryClassHead(loss_fn=lambda labels, logits: (logits > 0) != (labels > 0))
    loss = head.loss(labels, logits)
    assert loss.dtype == logits.dtype
    assert value(loss) == pytest.approx(2 / 3)
    assert value(head.results(head.statistics(labels, logits))["average_loss"]) == pytest.approx(2 / 3)
    whole = gh.BinaryClassHead(loss_fn=lambda labels, logits: lib.xp.astype((logits > 0) != (labels > 0), lib.xp.int32))
    assert value(whole.loss(labels, logits)) == pytest.approx(2 / 3)
    complex_ = gh.BinaryClassHead(loss_fn=lambda labels, logits: lib.xp.astype(logits, lib.xp.complex64))
    with pytest.raises(TypeError, match="loss_fn"):
        complex_.loss(labels, logits)


def test_loss_fn_result_library(lib, library):
    for name, other in hosts(library):
        if other.backend is lib.backend:
            continue
        foreign = other.array(LOGITS)
        head = gh.BinaryClassHead(loss_fn=lambda labels, logits: foreign)  # noqa: B023
        for method in (head.loss, head.statistics):
            with pytest.raises(TypeError, match="loss_fn must return an array of the logits' library"):
                method(lib.array(LABELS), lib.array(LOGITS))
        assert name != lib.name


def test_inverse_link_fn_result(lib):
    logits = lib.array(LOGITS)
    foreign = [[1.0]] * 3 if lib.name in ("numpy", "dask") else np.ones((3, 1))  # dask computes with NumPy's arrays
    for inverse_link_fn, error in (
        (lambda x: x[:, 0], ValueError),
        (lambda x: x[0, 0], ValueError),
        (lambda x: x - x.T, ValueError),
        (lambda x: foreign, TypeError),
        (lambda x: None, TypeError),
        (lambda x: backends.of(x).xp.astype(x, backends.of(x).xp.complex64), TypeError),
    ):
        head = gh.RegressionHead(weight_column="w", inverse_link_fn=inverse_link_fn)
        for call in (
            lambda head=head: head.predictions(logits),
            lambda head=head: head.statistics(LABELS, logits, {"w": WEIGHTS}),
        ):
            with pytest.raises(error, match="inverse_link_fn"):
                call()


def test_kernels_arrays(lib):
    logits = lib.array(LOGITS)
    kernel = gh.kernels.sigmoid_cross_entropy
    for labels in (lib.array(LABELS), lib.array([LABELS]), lib.array(1.0)):
        with pytest.raises(ValueError, match="labels must be shaped like the logits"):
            kernel(labels, logits)
    foreign = np.ones((3, 1)) if lib.name != "numpy" else [[1.0]] * 3
    for labels in (foreign, None, 1.0):
        with pytest.raises(TypeError, match=r"expected an array|one library"):
            kernel(labels, logits)
    with pytest.raises(TypeError, match="expected real numbers"):
        kernel(logits, lib.array(LOGITS, dtype="complex64"))


# ---------------------------------------------------------------------------------------------------------------------
# Evaluations

TABLE = {"x": [1.0, -2.0, 0.5], "y": LABELS, "w": WEIGHTS, "g": ["a", "b", "a"]}
NAMES = {"logits": "x", "labels": "y"}


def test_evaluation_data():
    for data in (5, None, "table.csv", BINARY):
        with pytest.raises(TypeError, match="data must be a table"):
            gh.evaluate(BINARY, data, **NAMES)
    for data in (
        [5],
        [None],
        "x",
        np.ones((2, 2)),
        [(LABELS,)],
        [TABLE, "x"],
        (np.asarray(LABELS), np.asarray(LOGITS)),
    ):
        with pytest.raises(TypeError, match=r"(a batch|data) must be a table"):
            gh.evaluate(BINARY, data, **NAMES)
    with pytest.raises(TypeError, match="head must be a Head"):
        gh.evaluate("binary", TABLE, **NAMES)


def test_evaluation_columns():
    polars = pytest.importorskip("polars")
    for data in (TABLE, polars.DataFrame(TABLE), polars.LazyFrame(TABLE), [TABLE]):
        for names in ({"logits": "z"}, {"labels": "z"}, {"weights": "z"}, {"by": ["g", "z"]}):
            with pytest.raises(ValueError, match=r"the data have no column 'z'; they have \['x', 'y', 'w', 'g'\]"):
                gh.evaluate(BINARY, data, **{**NAMES, **names})
    for argument in ("logits", "labels", "by"):
        for bad in ([], ["g", "g"]):
            with pytest.raises(ValueError, match=f"{argument} must be the name of a column, or different names"):
                gh.evaluate(BINARY, TABLE, **{**NAMES, argument: bad})
        for bad in (5, [5], [None]):
            with pytest.raises(TypeError, match=f"{argument} must be the name of a column"):
                gh.evaluate(BINARY, TABLE, **{**NAMES, argument: bad})


def test_evaluation_by():
    for bad in ([[1], [1, 2], []], [{}, {}, {}]):
        with pytest.raises((TypeError, ValueError), match="by column 'g' must"):
            gh.evaluate(BINARY, {**TABLE, "g": bad}, by="g", **NAMES)
    for bad in (["a"], ["a"] * 4, np.ones((3, 1)), 1):
        with pytest.raises(ValueError, match="by column 'g' must have a value for each of 3 examples"):
            gh.evaluate(BINARY, {**TABLE, "g": bad}, by="g", **NAMES)


def test_evaluation_weights():
    with pytest.raises(ValueError, match=r"the head has no weight column: make it with weight_column='w'"):
        gh.evaluate(gh.BinaryClassHead(), TABLE, weights="w", **NAMES)


def test_evaluation_probabilities(lib):
    data = {**TABLE, "p": lib.array([0.5, 1.5, -0.5])}
    if lib.checks_values:
        with pytest.raises(ValueError, match=r"probabilities must be in \[0, 1\]; 2 of 3 are not: 1.5 at 1, -0.5 at 2"):
            gh.evaluate(BINARY, data, probabilities="p", labels="y")
    else:
        assert np.isnan(gh.evaluate(BINARY, data, probabilities="p", labels="y").results["average_loss"])
    with pytest.raises(ValueError, match="give logits or probabilities, not both"):
        gh.evaluate(BINARY, data, logits="x", probabilities="p")
    for head in (REGRESSION, POISSON):
        with pytest.raises(ValueError, match="probabilities are for a head of two classes"):
            gh.evaluate(head, data, probabilities="p", labels="y")


def test_evaluation_min_count():
    for bad in (0, -1, 1.5, "2", None, True):
        with pytest.raises(ValueError, match="min_count must be an integer >= 1"):
            gh.evaluate(BINARY, TABLE, by="g", min_count=bad, **NAMES)


def test_evaluation_adding():
    found = gh.evaluate(BINARY, TABLE, by="g", **NAMES)
    with pytest.raises(ValueError, match="differently configured heads"):
        found + gh.evaluate(LOGISTIC, TABLE, by="g", **NAMES)
    with pytest.raises(ValueError, match="evaluations by different columns don't add up"):
        found + gh.evaluate(BINARY, TABLE, **NAMES)


def test_evaluation_file(tmp_path):
    path = tmp_path / "found.npz"
    gh.evaluate(BINARY, TABLE, by="g", **NAMES).save(path)
    whole = path.read_bytes()
    with pytest.raises(ValueError, match=r"found\.npz is of a differently configured head"):
        gh.Evaluation.load(path, LOGISTIC)
    BINARY.empty().save(path)
    for content in (b"", b"no file", path.read_bytes(), whole[:-200], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"found\.npz"):
            gh.Evaluation.load(path, BINARY)


# ---------------------------------------------------------------------------------------------------------------------
# Arguments of constructors

HEADS = (gh.BinaryClassHead, gh.LogisticRegressionHead, gh.RegressionHead, gh.PoissonRegressionHead)
FACTORIES = (gh.logistic_regression_head, gh.binary_classification_head)


def test_weight_column():
    for make in (*HEADS, *FACTORIES):
        for column in (5, ["w"], b"w", object()):
            with pytest.raises(TypeError, match="Weight column must be either a string or NumericColumn"):
                make(weight_column=column)


def test_numeric_column():
    for key in (5, None, b"w", ["w"]):
        with pytest.raises(TypeError, match="key must be a string"):
            gh.numeric_column(key)
    for normalizer_fn in (5, "log"):
        with pytest.raises(TypeError, match="normalizer_fn must be callable"):
            gh.numeric_column("w", normalizer_fn=normalizer_fn)


def test_thresholds():
    for make in (gh.BinaryClassHead, gh.binary_classification_head):
        for thresholds in ([0.0], [1.0], [-0.5], [0.5, 1.5], [NAN], [INFINITY], (0.5, 1), np.asarray([0.5, 2.0])):
            with pytest.raises(ValueError, match=r"thresholds not in \(0, 1\)"):
                make(thresholds=thresholds)
        with pytest.raises(ValueError, match="thresholds must differ"):
            make(thresholds=[0.25, 0.25000001])
        for thresholds in (0.5, "0.5", ["a"], [None], object()):
            with pytest.raises(TypeError, match="thresholds must be a sequence of numbers"):
                make(thresholds=thresholds)


def test_num_thresholds():
    for number in (1, 0, -5, True, 2.0, 200.5, "200", NAN, [200]):
        with pytest.raises(ValueError, match="num_thresholds must be an integer >= 2"):
            gh.BinaryClassHead(num_thresholds=number)


def test_label_vocabulary():
    for make in (gh.BinaryClassHead, gh.binary_classification_head):
        for vocabulary in ("ab", b"ab", {"a", "b"}, {"a": 0, "b": 1}, np.asarray(["a", "b"]), 2):
            with pytest.raises(ValueError, match="label_vocabulary should be a list or a tuple"):
                make(label_vocabulary=vocabulary)
        for vocabulary in ([], ["a"], ["a", "b", "c"], ["a", "a"], [b"a", "a"]):
            with pytest.raises(ValueError, match="label_vocabulary must hold two different words"):
                make(label_vocabulary=vocabulary)


def test_label_dimension():
    for make in (gh.RegressionHead, gh.PoissonRegressionHead):
        for dimension in (0, -1, True, 1.0, 1.5, "1", None, [1]):
            with pytest.raises(ValueError, match="Invalid label_dimension"):
                make(label_dimension=dimension)


def test_loss_reduction():
    for make in (*HEADS, *FACTORIES):
        for reduction in ("none", gh.Reduction.NONE, "median", "SUM", "", None, 5, []):
            with pytest.raises(ValueError, match=re.escape(f"Invalid loss_reduction: {reduction}.")):
                make(loss_reduction=reduction)


def test_loss_fn():
    def only_by_position(labels, logits, /):
        return logits

    for make in (gh.BinaryClassHead, gh.RegressionHead, gh.binary_classification_head):
        for loss_fn in (5, "squared_error", [max]):
            with pytest.raises(TypeError, match="loss_fn must be callable"):
                make(loss_fn=loss_fn)
        for loss_fn in (lambda labels: labels, lambda logits: logits, lambda *arrays: arrays, only_by_position):
            with pytest.raises(ValueError, match=r"loss_fn must contain argument: (labels|logits)"):
                make(loss_fn=loss_fn)
        for loss_fn in (
            lambda labels, logits, name: logits,
            lambda labels, logits, name=None: logits,
            lambda labels, logits, *, name: logits,
        ):
            with pytest.raises(ValueError, match="loss_fn has unexpected args"):
                make(loss_fn=loss_fn)


def test_inverse_link_fn():
    for inverse_link_fn in (5, "exp", [np.exp]):
        with pytest.raises(TypeError, match="inverse_link_fn must be callable"):
            gh.RegressionHead(inverse_link_fn=inverse_link_fn)


def test_name():
    for make in (*HEADS, *FACTORIES):
        for name in (5, b"a", ["a"]):
            with pytest.raises(TypeError, match="name must be a string"):
                make(name=name)

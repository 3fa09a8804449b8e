"""Metrics: their values against scikit-learn, and how they are kept, reset, refused and read."""

import gc
import pickle
import weakref
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    log_loss,
    mean_poisson_deviance,
    mean_squared_error,
    precision_score,
    recall_score,
    roc_auc_score,
)

import glmheads as gh
from glmheads import backends
from glmheads.kernels import ranking
from glmheads.statistics import Means

THRESHOLDS = [0.2, 0.5, 0.9]
HEAD = gh.BinaryClassHead(weight_column="w", thresholds=THRESHOLDS)
ROWS = 6
"""Rows of a batch where every new shape costs a compilation."""

READS_NO_LOGITS = {"label/mean", "accuracy_baseline"}


@pytest.fixture
def batch() -> dict[str, np.ndarray]:
    labels = np.asarray([0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    logits = np.asarray([-1.5, 2.0, -0.5, 0.25, 3.0, -4.0])
    weights = np.asarray([1.0, 2.0, 0.5, 1.0, 0.0, 4.0])
    return {"labels": labels[:, None], "logits": logits[:, None], "weights": weights[:, None]}


def updated(lib: Any, metrics: Any, labels: Any, logits: Any, weights: Any, head: gh.Head = HEAD) -> Any:
    return head.update_metrics(metrics, {"w": lib.array(weights)}, lib.array(logits), lib.array(labels))


def floats(arrays: dict[str, Any]) -> dict[str, float]:
    """0-d arrays as numbers, computed together where they are lazy."""
    if any(backends.of(a).name == "dask" for a in arrays.values()):
        import dask

        (arrays,) = dask.compute(arrays)
    return {key: float(a) for key, a in arrays.items()}


def values(metrics: dict[str, gh.metrics.Metric]) -> dict[str, float]:
    return floats({key: metric.result() for key, metric in metrics.items()})


@cache
def under_jit(name: str) -> Any:
    """A method of the head, compiled."""
    jax = pytest.importorskip("jax")
    if name in ("results", "bounds"):
        return jax.jit(getattr(HEAD, name))
    method = jax.jit(lambda labels, logits, weights: getattr(HEAD, name)(labels, logits, {"w": weights}))
    return lambda **arrays: method(**{key: jax.numpy.asarray(a, "float32") for key, a in arrays.items()})


# ---------------------------------------------------------------------------------------------------------------------
# Values


def scikit_learn(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """Every metric of a binary head, of flat arrays with hard labels."""
    p = expit(logits)

    def scores(name: str, found: np.ndarray) -> dict[str, float]:
        given = {"sample_weight": weights}
        return {
            f"accuracy{name}": accuracy_score(labels, found, **given),
            f"precision{name}": precision_score(labels, found, zero_division=0.0, **given),
            f"recall{name}": recall_score(labels, found, zero_division=0.0, **given),
        }

    mean = np.average(labels, weights=weights)
    expected = {
        "average_loss": log_loss(labels, p, sample_weight=weights, labels=[0, 1]),
        "prediction/mean": np.average(p, weights=weights),
        "label/mean": mean,
        "accuracy_baseline": max(mean, 1 - mean),
        **scores("", logits > 0),
    }
    for t in THRESHOLDS:
        expected |= scores(f"/positive_threshold_{t:g}", p > t)
    if 0 < mean < 1:
        expected["auc"] = roc_auc_score(labels, logits, sample_weight=weights)
    return expected


@st.composite
def binary_data(draw: Any, rows: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = rows if isinstance(rows, int) else draw(rows)
    scores = st.integers(-80, 80).map(lambda k: k / 8)  # none where the probability is a threshold but ½
    columns = (st.sampled_from([0.0, 1.0]), scores, st.sampled_from([0.0, 1.0, 0.5, 3.0]))
    labels, logits, weights = (np.asarray(draw(st.lists(c, min_size=count, max_size=count))) for c in columns)
    weights[0] = 1.0
    return labels, logits, weights


class TestValues:
    @settings(max_examples=50)
    @given(binary_data(st.integers(1, 40)))
    def test_binary(self, data):
        labels, logits, weights = data
        metrics = HEAD.update_metrics(HEAD.metrics(), {"w": weights}, logits[:, None], labels)
        found = values(metrics)
        expected = scikit_learn(*data)
        assert set(expected) | {"auc", "auc_precision_recall"} == set(found)
        for key, value in expected.items():
            assert found[key] == pytest.approx(value, rel=1e-10, abs=1e-12), key

    @settings(max_examples=3)
    @given(data=binary_data(2 * ROWS))
    def test_binary_everywhere(self, lib, data):
        labels, logits, weights = (a[:, None].astype("float32") for a in data)
        metrics = HEAD.metrics()
        for rows in (slice(ROWS), slice(ROWS, None)):
            updated(lib, metrics, labels[rows], logits[rows], weights[rows])
        found = values(metrics)
        for key, value in scikit_learn(*data).items():
            assert found[key] == pytest.approx(value, rel=2e-6, abs=1e-6), key

    def test_regression(self, lib):
        rng = np.random.default_rng(0)
        labels, logits, weights = rng.normal(size=(ROWS, 2)), rng.normal(size=(ROWS, 2)), rng.random((ROWS, 1))
        head = gh.RegressionHead(label_dimension=2, weight_column="w")
        found = values(updated(lib, head.metrics(), labels, logits, weights, head))
        expected = {
            "average_loss": mean_squared_error(labels, logits, sample_weight=weights[:, 0]),
            "prediction/mean": np.average(logits, weights=np.broadcast_to(weights, (ROWS, 2))),
            "label/mean": np.average(labels, weights=np.broadcast_to(weights, (ROWS, 2))),
        }
        assert found == pytest.approx(expected, rel=1e-5)

    def test_poisson(self, lib):
        rng = np.random.default_rng(0)
        labels, logits, weights = rng.integers(1, 5, (ROWS, 1)), rng.normal(size=(ROWS, 1)), rng.random((ROWS, 1))
        head = gh.PoissonRegressionHead(weight_column="w", compute_full_loss=False)
        found = values(updated(lib, head.metrics(), labels, logits, weights, head))
        # The deviance is twice the loss less the loss of a perfect prediction.
        deviance = mean_poisson_deviance(labels[:, 0], np.exp(logits[:, 0]), sample_weight=weights[:, 0])
        perfect = np.average(labels - labels * np.log(labels), weights=weights)
        assert found["average_loss"] == pytest.approx(deviance / 2 + perfect, rel=1e-5)
        assert found["prediction/mean"] == pytest.approx(np.average(np.exp(logits), weights=weights), rel=1e-5)

    def test_average_precision_is_near(self):
        """Davis and Goadrich's area and the step sum meet where scores are many."""
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 2, 5000)
        logits = labels + rng.normal(size=5000)
        found = gh.BinaryClassHead().evaluate([(labels, logits[:, None])])["auc_precision_recall"]
        assert float(found) == pytest.approx(average_precision_score(labels, logits), abs=1e-3)

    def test_soft_labels_are_split_examples(self, lib):
        """A label of ¼ is a positive of weight ¼ and a negative of weight ¾."""
        labels, logits, weights = np.full(3, 0.25), np.asarray([-1.0, 0.5, 2.0]), np.asarray([1.0, 2.0, 4.0])
        split = (np.repeat([1.0, 0.0], 3), np.tile(logits, 2), np.concatenate([weights / 4, weights * 3 / 4]))
        soft = values(updated(lib, HEAD.metrics(), *(np.tile(a, 2)[:, None] for a in (labels, logits, weights))))
        hard = values(updated(lib, HEAD.metrics(), *(a[:, None] for a in split)))
        assert soft == pytest.approx(hard, rel=1e-5)
        assert soft["auc"] == pytest.approx(0.5, abs=1e-5)

    def test_results_are_zero_dimensional_arrays_of_the_library(self, lib, batch):
        metrics = updated(lib, HEAD.metrics(), **batch)
        for key, metric in metrics.items():
            result, bounds = metric.result(), metric.bounds()
            assert {lib.backend} == {backends.of(result), backends.of(bounds)}, key
            assert tuple(result.shape) == (), key
            assert tuple(bounds.shape) == (2,), key
            assert str(result.dtype).endswith("float64" if lib.has_float64 else "float32"), key
            assert key in repr(metric)
        found = values(metrics)
        for key in ("auc", "auc_precision_recall", "accuracy"):
            lower, upper = lib.numpy(metrics[key].bounds())
            assert lower <= found[key] <= upper, key

    def test_results_agree_with_metrics(self, lib, batch):
        arrays = {key: lib.array(a) for key, a in batch.items()}
        s = HEAD.statistics(arrays["labels"], arrays["logits"], {"w": arrays["weights"]})
        metrics = updated(lib, HEAD.metrics(), **batch)
        results, bounds = HEAD.results(s), HEAD.bounds(s)
        assert list(results) == list(metrics)
        assert set(bounds) == {"auc", "auc_precision_recall"}
        assert values(metrics) == floats(results)
        for key in bounds:
            np.testing.assert_array_equal(lib.numpy(metrics[key].bounds()), lib.numpy(bounds[key]))


# ---------------------------------------------------------------------------------------------------------------------
# Life


class TestLife:
    def test_zero_before_any_update(self):
        for metric in HEAD.metrics().values():
            assert float(metric.result()) == 0
            assert metric.bounds().tolist() == [0, 0]

    def test_zero_weight_is_zero(self, lib, batch):
        batch["weights"][:] = 0
        assert set(values(updated(lib, HEAD.metrics(), **batch)).values()) == {0.0}

    def test_reset(self, lib, batch):
        metrics = updated(lib, HEAD.metrics(), **batch)
        before = values(metrics)
        metrics["auc"].reset()
        assert values(metrics) == {**before, "auc": 0.0}
        updated(lib, metrics, **batch)
        after = values(metrics)
        assert after["auc"] == pytest.approx(before["auc"], abs=1e-5)
        for key in before:  # the others have seen the batch twice, and all are means
            assert after[key] == pytest.approx(before[key], rel=1e-5), key

    def test_two_sets_of_metrics_are_apart(self, batch, library):
        one, other = HEAD.metrics(), HEAD.metrics()
        updated(library("numpy"), one, **batch)
        assert set(values(other).values()) == {0.0}

    def test_subset(self, batch, library):
        metrics = HEAD.metrics()
        some = {"auc": metrics["auc"]}
        assert updated(library("numpy"), some, **batch) is some
        assert float(metrics["auc"].result()) > 0
        assert {float(m.result()) for key, m in metrics.items() if key != "auc"} == {0.0}

    @pytest.mark.parametrize(
        "other",
        [gh.BinaryClassHead(weight_column="w"), gh.LogisticRegressionHead(weight_column="w"), gh.RegressionHead()],
    )
    def test_metrics_of_another_head(self, other, batch, library):
        metrics = {**HEAD.metrics(), "other": other.metrics()["average_loss"]}
        with pytest.raises(ValueError, match="differently configured"):
            updated(library("numpy"), metrics, **batch)
        assert set(values(metrics).values()) == {0.0}

    def test_name(self, batch, library):
        head = gh.BinaryClassHead(weight_column="w", thresholds=[0.5], name="click")
        keys = gh.BinaryClassHead(weight_column="w", thresholds=[0.5]).metrics()
        assert list(head.metrics([1.0])) == [f"{key}/click" for key in (*keys, "regularization_loss")]
        metrics = updated(library("numpy"), head.metrics(), **batch, head=head)
        assert list(head.results(metrics["auc/click"].statistics)) == [f"{key}/click" for key in keys]
        assert list(head.bounds(metrics["auc/click"].statistics)) == ["auc/click", "auc_precision_recall/click"]

    def test_regularization_loss_is_a_mean_over_calls(self, lib):
        head = gh.RegressionHead()
        metrics = head.metrics(regularization_losses=[0.0])
        assert float(metrics["regularization_loss"].result()) == 0
        for rows, losses in ((ROWS, [1.0, 2.0]), (2 * ROWS, [0.5]), (ROWS, [lib.array(np.asarray(2.5)), 0])):
            ones = lib.array(np.ones((rows, 1)))
            head.update_metrics(metrics, None, ones, ones, regularization_losses=losses)
        assert float(metrics["regularization_loss"].result()) == 2.0
        assert "regularization_loss" not in head.metrics()
        assert "regularization_loss" not in head.results(head.statistics(ones, ones))

    def test_detached_from_autograd(self, batch):
        torch = pytest.importorskip("torch")
        labels, logits, weights = (torch.asarray(batch[key]) for key in ("labels", "logits", "weights"))
        leaf = logits.requires_grad_()
        middle = leaf.exp()  # its graph keeps its value
        metrics = HEAD.update_metrics(HEAD.metrics(), {"w": weights}, middle, labels)
        assert not any(a.requires_grad for a in metrics["auc"].statistics.arrays())
        assert not any(metric.result().requires_grad for metric in metrics.values())
        alive = weakref.ref(middle)
        del middle
        gc.collect()
        assert alive() is None

    def test_statistics_are_not_detached(self, batch):
        torch = pytest.importorskip("torch")
        labels, logits, weights = (torch.asarray(batch[key]) for key in ("labels", "logits", "weights"))
        logits.requires_grad_()
        HEAD.results(HEAD.statistics(labels, logits, {"w": weights}))["average_loss"].backward()
        expected = batch["weights"] * (expit(batch["logits"]) - batch["labels"]) / batch["weights"].sum()
        np.testing.assert_allclose(logits.grad.numpy(), expected, atol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# Bad values


BAD = {
    "labels": [-1.0, 2.0, np.nan, np.inf],
    "weights": [-1.0, np.nan, np.inf],
}
each_bad = pytest.mark.parametrize(("argument", "bad"), [(key, value) for key in BAD for value in BAD[key]])


class TestSmallBatches:
    """They are buffered and measured together; nobody can tell."""

    HEADS = (HEAD, gh.BinaryClassHead(num_thresholds=20), gh.RegressionHead(label_dimension=2, weight_column="w"))

    @staticmethod
    def batches(head: gh.Head, count: int, rows: int = 1500) -> list[tuple[np.ndarray, ...]]:
        rng = np.random.default_rng(count)
        shape = (rows, head.logits_dimension)
        return [
            (rng.integers(0, 2, shape).astype(np.float32), rng.normal(size=shape).astype(np.float32), rng.random(shape))
            for _ in range(count)
        ]

    @pytest.mark.parametrize("name", ["numpy", "torch", "array_api_strict"])
    @pytest.mark.parametrize("head", HEADS, ids=["binary", "keras", "regression"])
    @pytest.mark.parametrize(("count", "rows"), [(40, 1500), (150, 3)])
    def test_are_those_of_all_at_once(self, library, name, head, count, rows):
        lib = library(name)
        metrics = head.metrics()
        given = self.batches(head, count, rows)
        for index, (labels, logits, weights) in enumerate(given):
            # Whoever gives them may use the arrays again.
            arrays = [np.empty_like(a) for a in (labels, logits, weights)]
            for array, source in zip(arrays, (labels, logits, weights), strict=True):
                array[...] = source
            brought = [lib.array(a) for a in arrays]
            head.update_metrics(metrics, {"w": brought[2]}, brought[1], brought[0])
            for array in arrays:
                array[...] = 7
            if index in (0, 17):  # reading in between changes nothing
                values(metrics)
        labels, logits, weights = (np.concatenate(column) for column in zip(*given, strict=True))
        expected = floats(head.results(head.statistics(labels, logits, {"w": weights})))
        for key, value in values(metrics).items():
            assert value == pytest.approx(expected[key], rel=1e-6, abs=1e-4 if "auc" in key else 0), key
        assert backends.of(next(iter(metrics.values())).statistics.arrays()[0]) is lib.backend

    def test_of_other_dtypes_are_not_mixed(self):
        """Probabilities are compared with thresholds in the dtype of the logits."""
        head = gh.BinaryClassHead(thresholds=[0.7])
        logits = np.log(np.asarray([[0.7 / 0.3]]))
        logits = np.concatenate([logits, np.nextafter(logits, 9), np.nextafter(logits, -9)])
        labels = np.asarray([[1], [1], [1]])
        alone = []
        together = head.metrics()
        for dtype in (np.float32, np.float64, np.float32):
            head.update_metrics(together, None, logits.astype(dtype), labels)
            alone.append(head.statistics(labels, logits.astype(dtype)))
        expected = floats(head.results(alone[0] + alone[1] + alone[2]))
        assert values(together) == expected

    def test_of_several_libraries(self, library):
        torch = library("torch")
        metrics = HEAD.metrics()
        for labels, logits, weights in self.batches(HEAD, 2, rows=9):
            HEAD.update_metrics(metrics, {"w": weights}, logits, labels)
            HEAD.update_metrics(metrics, {"w": torch.array(weights)}, torch.array(logits), torch.array(labels))
        assert float(metrics["average_loss"].statistics.states["means"]["weight"]) == pytest.approx(
            sum(2 * w.sum() for _, _, w in self.batches(HEAD, 2, rows=9)), rel=1e-6
        )

    def test_bad_values_are_refused_at_once(self):
        metrics = HEAD.metrics()
        labels, logits, weights = self.batches(HEAD, 1, rows=5)[0]
        HEAD.update_metrics(metrics, {"w": weights}, logits, labels)
        with pytest.raises(ValueError, match=r"Labels must be <= 2 - 1; 5 of 5 labels are not: 3 at 0"):
            HEAD.update_metrics(metrics, {"w": weights}, logits, labels * 0 + 3)
        with pytest.raises(ValueError, match="weights must be finite"):
            HEAD.update_metrics(metrics, {"w": -weights}, logits, labels)
        assert values(metrics) == floats(HEAD.results(HEAD.statistics(labels, logits, {"w": weights})))

    def test_a_users_own_statistic_refuses_at_once(self):
        class Picky(Means):
            name = "picky"

            def state(self, examples):
                if float(examples.logits.max()) > 100:
                    raise ValueError("too high")
                return super().state(examples)

        spec = gh.MetricSpec("loss", Picky(), lambda state: state["loss"])
        head = gh.FamilyHead(family=gh.families.GAUSSIAN, metrics=[spec])
        metrics = head.update_metrics(head.metrics(), None, np.zeros((1, 1)), np.ones(1))
        with pytest.raises(ValueError, match="too high"):
            head.update_metrics(metrics, None, np.full((1, 1), 101.0), np.ones(1))
        assert float(metrics["loss"].result()) == 1

    def test_another_head_is_refused_at_once(self):
        labels, logits, _ = self.batches(HEAD, 1, rows=5)[0]
        with pytest.raises(ValueError, match="differently configured"):
            gh.BinaryClassHead().update_metrics(HEAD.metrics(), None, logits, labels)

    def test_copies_are_independent(self):
        metrics = HEAD.metrics()
        labels, logits, weights = self.batches(HEAD, 1, rows=5)[0]
        HEAD.update_metrics(metrics, {"w": weights}, logits, labels)
        copied = pickle.loads(pickle.dumps(metrics))
        before = values(metrics)
        HEAD.update_metrics(metrics, {"w": weights}, logits, 1 - labels)
        assert values(copied) == before != values(metrics)

    def test_reset_forgets_them(self):
        metrics = HEAD.metrics()
        labels, logits, weights = self.batches(HEAD, 1, rows=5)[0]
        HEAD.update_metrics(metrics, {"w": weights}, logits, labels)
        metrics["auc"].reset()
        assert not metrics["auc"].statistics.arrays()
        assert metrics["accuracy"].statistics.arrays()


class TestRefusals:
    @each_bad
    def test_bad_values_change_nothing(self, lib, batch, argument, bad):
        if not lib.checks_values:
            pytest.skip("its values are not at hand")
        metrics = updated(lib, HEAD.metrics(), **batch)
        before = values(metrics)
        batch[argument][1] = bad
        message = "weights must be finite and >= 0" if argument == "weights" else "Labels must be"
        with pytest.raises(ValueError, match=message) as refused:
            updated(lib, metrics, **batch)
        assert f"{bad:g} at 1" in str(refused.value)
        assert "1 of 6" in str(refused.value)
        assert values(metrics) == before

    @pytest.mark.parametrize(
        ("argument", "shape"),
        [
            ("labels", (ROWS + 1, 1)),
            ("labels", (ROWS, 2)),
            ("logits", (ROWS, 2)),
            ("logits", (ROWS,)),
            ("weights", (ROWS, 2)),
        ],
    )
    def test_bad_shapes_change_nothing(self, lib, batch, argument, shape):
        metrics = updated(lib, HEAD.metrics(), **batch)
        before = metrics["auc"].statistics
        with pytest.raises(ValueError, match=argument if argument != "labels" else "[Ll]abels?"):
            updated(lib, metrics, **{**batch, argument: np.ones(shape)})
        assert metrics["auc"].statistics is before

    def test_a_missing_column_changes_nothing(self, batch, library):
        metrics = HEAD.metrics()
        with pytest.raises(ValueError, match="Feature w is not in features dictionary"):
            HEAD.update_metrics(metrics, {}, batch["logits"], batch["labels"])
        assert set(values(metrics).values()) == {0.0}

    @each_bad
    def test_lazy(self, library, batch, argument, bad):
        lib = library("dask")
        batch[argument][1] = bad
        arrays = {key: lib.array(a) for key, a in batch.items()}
        features = {"w": arrays["weights"]}
        assert np.isnan(float(HEAD.loss(arrays["labels"], arrays["logits"], features)))
        s = HEAD.statistics(arrays["labels"], arrays["logits"], features)
        assert {key: count for key, count in floats(s.invalid).items() if count} == {argument: 1}
        assert np.isnan(list(floats(HEAD.results(s)).values())).all()
        assert all(np.isnan(lib.numpy(bounds)).all() for bounds in HEAD.bounds(s).values())
        with pytest.raises(ValueError, match=f"1 bad {argument}"):
            HEAD.results(s.to("numpy"))

    @each_bad
    def test_traced_by_jax(self, batch, argument, bad):
        batch[argument][1] = bad
        assert np.isnan(float(under_jit("loss")(**batch)))
        s = under_jit("statistics")(**batch)
        assert {key: count for key, count in floats(s.invalid).items() if count} == {argument: 1}
        for name in ("results", "bounds"):
            with pytest.raises(ValueError, match=f"1 bad {argument}"):
                getattr(HEAD, name)(s)
            for key, found in under_jit(name)(s).items():
                assert np.isnan(np.asarray(found)).all(), key

    @each_bad
    def test_traced_by_torch(self, batch, argument, bad):
        torch = pytest.importorskip("torch")
        batch[argument][1] = bad
        arrays = [torch.asarray(batch[key])[None] for key in ("labels", "logits", "weights")]
        found = torch.func.vmap(lambda z, x, w: HEAD.loss(z, x, {"w": w}))(*arrays)
        assert bool(torch.isnan(found).all())

    def test_bad_values_of_weight_0(self, lib, batch):
        expected = values(updated(lib, HEAD.metrics(), **batch))
        absent = batch["weights"] == 0
        for bad in (np.nan, -3.0, np.inf):
            poisoned = {**batch, **{key: np.where(absent, bad, batch[key]) for key in ("labels", "logits")}}
            assert values(updated(lib, HEAD.metrics(), **poisoned)) == expected

    def test_added_bad_values_are_not_forgotten(self, batch):
        good = HEAD.statistics(batch["labels"], batch["logits"], {"w": batch["weights"]})
        batch["labels"][1] = 5.0
        total = good + under_jit("statistics")(**batch)
        with pytest.raises(ValueError, match="1 bad labels"):
            HEAD.results(total)


class TestNaNLogits:
    def test_loss_and_metrics(self, lib, batch):
        batch["logits"][2] = np.nan
        arrays = {key: lib.array(a) for key, a in batch.items()}
        features = {"w": arrays["weights"]}
        assert np.isnan(float(HEAD.loss(arrays["labels"], arrays["logits"], features)))
        metrics = updated(lib, HEAD.metrics(), **batch)
        for key, value in values(metrics).items():
            assert np.isnan(value) == (key not in READS_NO_LOGITS), key
        assert float(metrics["label/mean"].result()) == pytest.approx(
            np.average(batch["labels"], weights=batch["weights"])
        )
        assert np.isnan(lib.numpy(metrics["auc"].bounds())).all()
        assert floats(metrics["auc"].statistics.invalid) == {"logits": 1, "labels": 0, "weights": 0}

    def test_later_batches_do_not_hide_it(self, lib, batch):
        metrics = HEAD.metrics()
        good = batch["logits"].copy()
        batch["logits"][0] = np.nan
        updated(lib, metrics, **batch)
        updated(lib, metrics, **{**batch, "logits": good})
        assert np.isnan(float(metrics["auc"].result()))
        assert np.isnan(float(metrics["accuracy"].result()))

    def test_weight_0(self, lib, batch):
        expected = values(updated(lib, HEAD.metrics(), **batch))
        batch["logits"][batch["weights"] == 0] = np.nan
        metrics = updated(lib, HEAD.metrics(), **batch)
        assert values(metrics) == expected
        assert {float(count) for count in metrics["auc"].statistics.invalid.values()} == {0.0}

    def test_infinite_logits_rank(self, lib):
        labels = np.asarray([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])[:, None]
        logits = np.asarray([-np.inf, np.inf, -1.0, 1.0, np.inf, -np.inf])[:, None]
        found = values(updated(lib, HEAD.metrics(), labels, logits, np.ones((ROWS, 1))))
        assert found["auc"] == found["accuracy"] == found["recall"] == 1
        assert np.isfinite(found["average_loss"])


# ---------------------------------------------------------------------------------------------------------------------
# evaluate


class TestEvaluate:
    @pytest.fixture
    def batches(self, batch, lib) -> list[tuple[Any, ...]]:
        labels, logits, weights = (lib.array(batch[key]) for key in ("labels", "logits", "weights"))
        return [(labels, logits, {"w": weights}), (1 - labels, logits, {"w": weights})]

    def test_tuples_lists_and_mappings(self, lib, batches):
        names = ("labels", "logits", "features")
        expected = HEAD.results(HEAD.statistics(*batches[0]) + HEAD.statistics(*batches[1]))
        for form in (
            batches,
            iter(batches),
            [list(b) for b in batches],
            [dict(zip(names, b, strict=True)) for b in batches],
        ):
            found = HEAD.evaluate(form)
            assert floats(found) == floats(expected)

    def test_regularization_losses(self, lib, batches):
        head = gh.BinaryClassHead(weight_column="w")
        found = head.evaluate([(*batches[0], [1.0]), (*batches[1], [2.0, 3.0])])
        assert float(found["regularization_loss"]) == 3.0

    def test_nothing(self):
        assert {float(a) for a in HEAD.evaluate([]).values()} == {0.0}

    @pytest.mark.parametrize("bad", [np.ones((2, 1)), (np.ones(2),), 3, (1, 2, 3, 4, 5)])
    def test_what_is_no_batch(self, bad):
        with pytest.raises(TypeError, match="a batch must be a tuple"):
            HEAD.evaluate([bad])

    def test_a_stream_fills_the_summary_and_no_more(self, monkeypatch, library):
        monkeypatch.setattr(ranking, "CAPACITY", 64)
        monkeypatch.setattr(ranking, "TARGET", 32)
        rng = np.random.default_rng(0)
        labels, logits = rng.integers(0, 2, 1000).astype(float), rng.normal(size=1000)
        head = gh.BinaryClassHead()
        metrics = head.metrics()
        for rows in np.split(np.arange(1000), 50):
            head.update_metrics(metrics, None, logits[rows, None], labels[rows])
            assert metrics["auc"].statistics.states["ranking"].slots.shape[1] <= 64
        lower, upper = metrics["auc"].bounds().tolist()
        assert lower <= roc_auc_score(labels, logits) <= upper

"""The interface alone, families of rows of logits, and users' functions: what a user builds a head of."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from array_api_compat import array_namespace
from scipy.special import log_softmax, softmax

import glmheads as gh
from glmheads.testing import check_law


class ConstantHead(gh.Head):
    """The seven abstract members of tf.estimator.Head and nothing else."""

    @property
    def name(self) -> str:
        return "constant"

    @property
    def logits_dimension(self) -> int:
        return 1

    @property
    def loss_reduction(self) -> str:
        return "sum"

    def loss(self, labels, logits, features=None, mode=None, regularization_losses=None):
        return 2.0

    def predictions(self, logits, keys=None):
        return {"predictions": logits}

    def metrics(self, regularization_losses=None):
        return {"seen": 0}

    def update_metrics(self, eval_metrics, features, logits, labels, mode=None, regularization_losses=None):
        return {"seen": eval_metrics["seen"] + len(labels)}


class TestInterface:
    def test_a_subclass_with_the_abstract_members_makes_specs(self):
        head = ConstantHead()
        predict = head.create_estimator_spec({}, gh.ModeKeys.PREDICT, logits=[1.0])
        assert predict.export_outputs["serving_default"].outputs == {"predictions": [1.0]}
        spec = head.create_estimator_spec({}, gh.ModeKeys.EVAL, logits=[1.0, 2.0], labels=[0, 1])
        assert (spec.loss, spec.eval_metric_ops) == (2.0, {"seen": 2})
        train = head.create_estimator_spec({}, gh.ModeKeys.TRAIN, logits=[1.0], labels=[0], train_op_fn=lambda x: 3 * x)
        assert train.train_op == 6.0

    def test_is_shown_compared_and_written(self):
        assert repr(ConstantHead()) == "ConstantHead()"
        assert ConstantHead() == ConstantHead() != gh.RegressionHead()
        assert gh.Head.from_dict(ConstantHead().to_dict()) == ConstantHead()

    @pytest.mark.parametrize("missing", ["name", "logits_dimension", "loss_reduction", "loss", "metrics"])
    def test_every_abstract_member_is_needed(self, missing):
        members = {key: value for key, value in vars(ConstantHead).items() if key != missing}
        incomplete = type("Incomplete", (gh.Head,), members)
        with pytest.raises(TypeError, match=missing):
            incomplete()

    def test_an_evaluation_needs_statistics(self):
        with pytest.raises(TypeError, match=r"head must be a Head that has statistics, as FamilyHead\. Given type"):
            gh.evaluate(ConstantHead(), {"logits": [1.0], "labels": [1.0]})


class TestFamilyHead:
    def test_reports_the_means_by_default(self):
        head = gh.FamilyHead(family=gh.families.POISSON, name="n")
        found = head.evaluate([([1.0, 3.0], [[0.0], [0.0]])])
        assert {key: float(value) for key, value in found.items() if key != "average_loss/n"} == {
            "prediction/mean/n": 1.0,
            "label/mean/n": 2.0,
        }

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"family": "poisson"}, TypeError, "family must be a Family"),
            ({"metrics": ["auc"]}, TypeError, "metrics must be a sequence of MetricSpec"),
            ({"logits_dimension": 0}, ValueError, "logits_dimension must be an integer >= 1"),
            ({"logits_dimension": True}, ValueError, "logits_dimension must be an integer >= 1"),
        ],
    )
    def test_refuses_bad_arguments(self, arguments, error, message):
        with pytest.raises(error, match=message):
            gh.FamilyHead(**{"family": gh.families.POISSON, **arguments})

    def test_is_a_frozen_dataclass(self):
        assert dataclasses.is_dataclass(gh.FamilyHead)
        for head, argument in ((gh.RegressionHead(), "name"), (gh.BinaryClassHead(), "thresholds")):
            with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign"):
                setattr(head, argument, "another")

    def test_takes_keywords_alone(self):
        with pytest.raises(TypeError, match="positional"):
            gh.FamilyHead(gh.families.POISSON)


class TestInterval:
    @pytest.mark.parametrize(
        ("interval", "inside", "outside"),
        [
            (gh.Interval(), [-1e308, 0.0], [np.inf, -np.inf, np.nan]),
            (gh.Interval(0, 1), [0.0, 1.0], [-1e-9, 1.0000001]),
            (gh.Interval(0, np.inf, low_closed=False), [1e-300, 1e300], [0.0, np.inf]),
            (gh.Interval(-1, 1, high_closed=False), [-1.0, 0.9999], [1.0]),
        ],
    )
    def test_contains(self, lib, interval, inside, outside):
        if lib.name == "jax":
            pytest.skip("no float64 without x64")
        assert lib.numpy(interval.contains(lib.array(inside, "float64"))).all()
        assert not lib.numpy(interval.contains(lib.array(outside, "float64"))).any()
        assert interval.contains_range(min(inside), max(inside))
        assert not any(interval.contains_range(value, value) for value in outside)

    def test_words(self):
        assert str(gh.Interval(0, 1, high_closed=False)) == ">= 0 and < 1"
        assert str(gh.Interval()) == ""

    def test_ends_in_the_wrong_order_are_refused(self):
        with pytest.raises(ValueError, match="low <= high"):
            gh.Interval(1, 0)

    def test_an_open_end_refuses_its_label(self):
        family = gh.Family(
            name="positive",
            loss=lambda z, x: x + z,
            gradient=lambda z, x: 0 * z * x + 1,
            hessian=lambda z, x: 0 * z * x,
            inverse_link=lambda x: x,
            valid_labels=gh.Interval(0, np.inf, low_closed=False),
        )
        head = gh.FamilyHead(family=family)
        assert head.loss(np.asarray([1.0]), np.asarray([[2.0]])) == 3
        with pytest.raises(ValueError, match="Labels must be finite and > 0; 1 of 1 labels are not: 0 at 0"):
            head.loss(np.asarray([0.0]), np.asarray([[2.0]]))


class TestFamily:
    def test_may_be_subclassed(self):
        class Scaled(gh.Family):
            name = "scaled"

            def __init__(self, scale: float) -> None:
                super().__init__()
                self.scale = scale

            def loss(self, labels, logits):
                return self.scale * (logits - labels) ** 2

            def gradient(self, labels, logits):
                return 2 * self.scale * (logits - labels)

            def hessian(self, labels, logits):
                return 2 * self.scale + 0 * logits

            def inverse_link(self, logits):
                return logits

        assert Scaled(2.0) == Scaled(2.0) != Scaled(3.0)
        assert Scaled(2.0).identity != Scaled(3.0).identity
        head = gh.FamilyHead(family=Scaled(2.0), weight_column="w")
        assert head.loss(np.asarray([1.0]), np.asarray([[3.0]]), {"w": [1.0]}) == 8
        check_law("derivative", head, dtype="float64", max_examples=10)

    def test_other_families_of_one_name_do_not_add_up(self):
        def family(factor: float) -> gh.Family:
            class Named(gh.Family):
                name = "same"
                loss = gradient = hessian = staticmethod(lambda z, x: factor * (x - z))
                inverse_link = staticmethod(lambda x: x)

            return Named(portable=factor > 1)

        one, other = (gh.FamilyHead(family=family(factor)) for factor in (1.0, 2.0))
        with pytest.raises(ValueError, match="differently configured"):
            _ = one.statistics([1.0], [[1.0]]) + other.statistics([1.0], [[1.0]])

    def test_a_function_that_is_missing_is_named(self):
        with pytest.raises(TypeError, match=r"family 'x': hessian must be callable\. Given: None"):
            gh.Family(name="x", loss=abs, gradient=abs, inverse_link=abs)


# ---------------------------------------------------------------------------------------------------------------------
# Softmax, as a user would write it


def probabilities(logits: Any) -> Any:
    xp = array_namespace(logits)
    shifted = xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))
    return shifted / xp.sum(shifted, axis=-1, keepdims=True)


def one_hot(labels: Any, logits: Any) -> Any:
    xp = array_namespace(logits)
    classes = xp.cumulative_sum(xp.ones_like(logits), axis=-1) - 1
    return xp.astype(labels == classes, logits.dtype)


def softmax_loss(labels: Any, logits: Any) -> Any:
    xp = array_namespace(logits)
    highest = xp.max(logits, axis=-1, keepdims=True)
    total = xp.log(xp.sum(xp.exp(logits - highest), axis=-1, keepdims=True)) + highest
    return total - xp.sum(one_hot(labels, logits) * logits, axis=-1, keepdims=True)


SOFTMAX = gh.Family(
    name="softmax",
    loss=softmax_loss,
    gradient=lambda labels, logits: probabilities(logits) - one_hot(labels, logits),
    hessian=lambda _, logits: probabilities(logits) * (1 - probabilities(logits)),
    inverse_link=probabilities,
    valid_labels=gh.Interval(0, 2),
    elementwise=False,
)


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "array_api_strict"])
@pytest.mark.parametrize("weighted", [True, False])
class TestSoftmax:
    @pytest.fixture
    def data(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        x = rng.normal(0, 2, (50, 3)).astype(np.float32)
        return rng.integers(0, 3, (50, 1)).astype(np.float32), x, rng.exponential(1, 50).astype(np.float32)

    def test_loss_and_derivatives(self, library, name, weighted, data):
        lib, head = library(name), self.head(weighted)
        labels, logits, weights = data
        w = weights[:, None] if weighted else 1.0
        p = softmax(logits, axis=-1)
        losses = -np.take_along_axis(log_softmax(logits, axis=-1), labels.astype(int), axis=-1)
        given = lib.array(labels), lib.array(logits), {"w": lib.array(weights)}
        assert float(head.loss(*given)) == pytest.approx(float((w * losses).sum() / 50), rel=1e-5)
        gradient = w * (p - (labels == np.arange(3))) / 50
        np.testing.assert_allclose(lib.numpy(head.gradient(*given)), gradient, atol=1e-6)
        np.testing.assert_allclose(lib.numpy(head.hessian(*given)), w * p * (1 - p) / 50, atol=1e-6)
        np.testing.assert_allclose(lib.numpy(head.predictions(given[1])["predictions"]), p, atol=1e-6)

    def test_evaluates_in_batches_as_in_one(self, library, name, weighted, data):
        lib, head = library(name), self.head(weighted)
        labels, logits, weights = data
        w = weights.astype(float) if weighted else np.ones(50)
        losses = -np.take_along_axis(log_softmax(logits, axis=-1), labels.astype(int), axis=-1)[:, 0]
        cuts = [slice(0, 20), slice(20, 50)]
        batches = [(lib.array(labels[c]), lib.array(logits[c]), {"w": lib.array(weights[c])}) for c in cuts]
        found = {key: float(value) for key, value in head.evaluate(batches).items()}
        assert found["average_loss"] == pytest.approx((w * losses).sum() / w.sum(), rel=1e-5)
        assert found["label/mean"] == pytest.approx((w * labels[:, 0]).sum() / w.sum(), rel=1e-5)
        assert found["prediction/mean"] == pytest.approx(1 / 3, rel=1e-5)
        deep = lib.array(logits.reshape(5, 10, 3)), lib.array(labels.reshape(5, 10)), lib.array(weights.reshape(5, 10))
        again = head.results(head.statistics(deep[1], deep[0], {"w": deep[2]}))
        assert float(again["average_loss"]) == pytest.approx(found["average_loss"], rel=1e-5)

    def test_trains(self, library, name, weighted, data):
        lib, head = library(name), self.head(weighted)
        labels, _, weights = data
        x = lib.array(np.zeros((50, 3), np.float32))
        given = {"w": lib.array(weights)}
        before = float(head.loss(lib.array(labels), x, given))
        for _ in range(20):
            x = x - 5.0 * head.gradient(lib.array(labels), x, given)
        assert float(head.loss(lib.array(labels), x, given)) < 0.7 * before

    def test_refuses_weights_of_each_logit(self, library, name, weighted, data):
        if weighted:
            labels, logits, _ = data
            with pytest.raises(ValueError, match="weights shape must be"):
                self.head(True).loss(labels, logits, {"w": np.ones((50, 3))})

    def head(self, weighted: bool) -> gh.FamilyHead:
        return gh.FamilyHead(family=SOFTMAX, logits_dimension=3, weight_column="w" if weighted else None)


class TestAutograd:
    """Of softmax by torch and JAX, against the closed form."""

    labels, logits = np.asarray([0.0, 2.0, 1.0]), np.asarray([[1.0, 0.0, -1.0], [0.5, 0.5, 0.0], [3.0, -3.0, 0.0]])

    def test_torch(self):
        torch = pytest.importorskip("torch")
        head = gh.FamilyHead(family=SOFTMAX, logits_dimension=3)
        x = torch.tensor(self.logits, requires_grad=True)
        head.loss(torch.tensor(self.labels), x).backward()
        np.testing.assert_allclose(x.grad, head.gradient(self.labels, self.logits), rtol=1e-12)

    def test_jax(self):
        jax = pytest.importorskip("jax")
        head = gh.FamilyHead(family=SOFTMAX, logits_dimension=3)
        found = jax.jit(jax.grad(lambda x: head.loss(self.labels, x)))(jax.numpy.asarray(self.logits))
        np.testing.assert_allclose(found, head.gradient(self.labels, self.logits), rtol=1e-5, atol=1e-6)


class TestUsersFunctions:
    @pytest.mark.parametrize("name", ["torch", "jax-x64"])
    def test_labels_and_logits_of_a_loss_fn_are_not_swapped(self, lib, name):
        """The loss z² x³ + x⁴ / 12 has the first derivative 3 z² x² + x³ / 3 and the second 6 z² x + x²."""
        if lib.name != name:
            pytest.skip("another library")
        head = gh.RegressionHead(loss_fn=lambda labels, logits: labels**2 * logits**3 + logits**4 / 12)
        z, x = np.asarray([[2.0], [3.0]]), np.asarray([[0.5], [-1.0]])
        gradient, hessian = (getattr(head, d)(lib.array(z), lib.array(x)) for d in ("gradient", "hessian"))
        np.testing.assert_allclose(lib.numpy(gradient), (3 * z**2 * x**2 + x**3 / 3) / 2, rtol=1e-12)
        np.testing.assert_allclose(lib.numpy(hessian), (6 * z**2 * x + x**2) / 2, rtol=1e-12)

    def test_metrics_keep_no_graph(self):
        torch = pytest.importorskip("torch")
        head = gh.RegressionHead(loss_fn=lambda labels, logits: (labels - logits) ** 2)
        for logits in (torch.ones((3, 1), requires_grad=True), torch.ones((9000, 1), requires_grad=True)):
            metrics = head.update_metrics(head.metrics(), None, 2 * logits, torch.zeros(len(logits)))
            arrays = metrics["average_loss"].statistics.arrays()
            assert not any(array.requires_grad for array in arrays)

    def test_one_foreign_metric_among_good_ones_is_refused(self):
        head = gh.RegressionHead()
        metrics = {**head.metrics(), "mine": lambda: 0}
        with pytest.raises(TypeError, match="eval_metrics must be a dict of Metric"):
            head.update_metrics(metrics, None, [[1.0]], [1.0])


class TestColumnsThatAreRead:
    def test_a_data_set_reads_the_needed_columns_alone(self):
        """As of pyarrow: `scanner` is asked for columns."""

        class Dataset:
            schema = type("Schema", (), {"names": ["logits", "labels", "g", "unused"]})
            asked: list[str] | None = None

            def scanner(self, columns):
                self.asked = columns
                return self

            def to_batches(self):
                return [{"logits": [1.0, 2.0], "labels": [1.0, 0.0], "g": ["a", "b"]}]

        data = Dataset()
        assert gh.evaluate(gh.RegressionHead(), data, by="g").count == 2
        assert data.asked == ["logits", "labels", "g"]

        def loss(labels, logits, features):
            return features["unused"] * (labels - logits)

        with pytest.raises(KeyError, match="unused"):
            gh.evaluate(gh.RegressionHead(loss_fn=loss), data)
        assert data.asked is None  # it may read any

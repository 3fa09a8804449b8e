"""`create_estimator_spec` in its three modes: what a spec holds, how it trains, and what is refused."""

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit

import glmheads as gh
from glmheads import backends
from glmheads.heads.estimator_spec import ClassificationOutput, PredictOutput, RegressionOutput

LOGITS = [[1.0], [-2.0], [0.5]]
LABELS = [1.0, 0.0, 1.0]
FEATURES = {"w": [2.0, 1.0, 1.0]}

HEADS = {
    "binary": gh.BinaryClassHead(weight_column="w"),
    "logistic": gh.LogisticRegressionHead(weight_column="w"),
    "regression": gh.RegressionHead(weight_column="w"),
    "poisson": gh.PoissonRegressionHead(weight_column="w"),
}
each_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)


def numbers(results: dict[str, Any]) -> dict[str, float]:
    return {key: float(backends.of(result).to_numpy(result)) for key, result in results.items()}


class TestPredict:
    @each_head
    def test_needs_logits_alone(self, lib, head):
        spec = head.create_estimator_spec(features=None, mode=gh.ModeKeys.PREDICT, logits=lib.array(LOGITS))
        assert spec.mode == "infer"
        assert set(spec.predictions) == set(head.predictions(lib.array(LOGITS)))
        assert (spec.loss, spec.train_op, dict(spec.eval_metric_ops)) == (None, None, {})

    def test_ignores_what_trains(self):
        spec = HEADS["binary"].create_estimator_spec(
            FEATURES, gh.ModeKeys.PREDICT, LOGITS, labels=LABELS, train_op_fn=pytest.fail
        )
        assert spec.loss is None
        assert spec.train_op is None

    @pytest.mark.parametrize("name", ["logistic", "regression", "poisson"])
    def test_export_of_a_regression(self, lib, name):
        spec = HEADS[name].create_estimator_spec(None, "infer", lib.array(LOGITS))
        outputs = spec.export_outputs
        assert list(outputs) == ["serving_default", "regression", "predict"]
        assert isinstance(outputs["regression"], RegressionOutput)
        assert outputs["serving_default"] == outputs["regression"]
        assert outputs["regression"].value is spec.predictions["predictions"]
        assert outputs["predict"] == PredictOutput(spec.predictions)

    def test_export_of_a_classification(self, lib):
        head = gh.BinaryClassHead(label_vocabulary=["stay", "leave"])
        spec = head.create_estimator_spec(None, "infer", lib.array(LOGITS))
        outputs = spec.export_outputs
        assert list(outputs) == ["serving_default", "classification", "regression", "predict"]
        assert isinstance(outputs["classification"], ClassificationOutput)
        assert outputs["serving_default"] is outputs["classification"]
        scores = lib.numpy(outputs["classification"].scores)
        assert_allclose(scores, np.concatenate([expit(np.negative(LOGITS)), expit(LOGITS)], axis=1), rtol=1e-6)
        assert np.asarray(outputs["classification"].classes).tolist() == [["stay", "leave"]] * 3
        assert isinstance(outputs["regression"], RegressionOutput)
        assert outputs["regression"].value is spec.predictions["logistic"]
        assert outputs["predict"].outputs is spec.predictions


class TestEval:
    @each_head
    def test_holds_loss_and_filled_metrics(self, lib, head):
        logits = lib.array(LOGITS)
        spec = head.create_estimator_spec(FEATURES, gh.ModeKeys.EVAL, logits, labels=lib.array(LABELS))
        assert spec.mode == "eval"
        assert spec.train_op is None
        assert spec.export_outputs is None
        assert set(spec.predictions) == set(head.predictions(logits))
        means = numbers({key: spec.eval_metric_ops[key].result() for key in ("average_loss", "label/mean")})
        assert set(spec.eval_metric_ops) == set(head.metrics())
        # Σ w l over n = 3 and over Σ w = 4
        assert means["average_loss"] == pytest.approx(float(lib.numpy(spec.loss)) * 3 / 4, rel=1e-6)
        assert means["label/mean"] == 0.75

    def test_metrics_are_new_in_every_spec(self):
        head = HEADS["binary"]
        first, second = (
            head.create_estimator_spec(FEATURES, "eval", LOGITS, labels=labels).eval_metric_ops
            for labels in (LABELS, [0.0, 0.0, 0.0])
        )
        assert float(first["label/mean"].result()) == 0.75
        assert float(second["label/mean"].result()) == 0

    def test_metrics_go_on(self):
        head = gh.RegressionHead()
        metrics = head.create_estimator_spec(None, "eval", [[0.0]], labels=[1.0]).eval_metric_ops
        head.update_metrics(metrics, None, [[0.0]], [3.0])
        assert float(metrics["average_loss"].result()) == 5

    def test_regularization(self, lib):
        head = gh.RegressionHead(name="tower")
        losses = [0.5, lib.array(0.25)]
        spec = head.create_estimator_spec(
            None, "eval", lib.array([[0.0]]), labels=lib.array([2.0]), regularization_losses=losses
        )
        assert float(lib.numpy(spec.loss)) == 4.75
        results = numbers({key: metric.result() for key, metric in spec.eval_metric_ops.items()})
        assert results["regularization_loss/tower"] == 0.75
        assert results["average_loss/tower"] == 4


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


class Model:
    """A linear model on 200 examples whose labels another linear model has drawn."""

    def __init__(self, torch: Any, lr: float = 0.5) -> None:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(200, 3))
        z = rng.random(200) < expit(x @ [2.0, -1.0, 0.5])
        self.x, self.labels = torch.tensor(x), torch.tensor(z)
        self.weight = torch.zeros((3, 1), dtype=torch.float64, requires_grad=True)
        self.optimizer = torch.optim.SGD([self.weight], lr=lr)
        self.head = gh.BinaryClassHead()

    def spec(self, **arguments: Any) -> gh.EstimatorSpec:
        given = {"optimizer": self.optimizer, "trainable_variables": [self.weight], **arguments}
        logits = self.x @ self.weight
        return self.head.create_estimator_spec(None, gh.ModeKeys.TRAIN, logits, labels=self.labels, **given)

    def gradient(self) -> np.ndarray:
        """That of the mean cross entropy, by its closed form."""
        x, weight = self.x.numpy(), self.weight.detach().numpy()
        return x.T @ (expit(x @ weight) - self.labels.numpy()[:, None]) / len(x)


class TestTrainWithAnOptimizer:
    @pytest.mark.parametrize("name", ["SGD", "Adam"])
    def test_loss_falls(self, torch, name):
        model = Model(torch)
        model.optimizer = getattr(torch.optim, name)([model.weight], lr=0.1)
        losses = [float(model.spec().train_op().detach()) for _ in range(50)]
        assert losses[0] == pytest.approx(np.log(2))
        assert all(after < before for before, after in itertools.pairwise(losses[:20]))
        assert losses[-1] < 0.5
        assert np.sign(model.weight.detach().numpy()).ravel().tolist() == [1, -1, 1]

    def test_spec_holds_predictions_and_loss(self, torch):
        spec = Model(torch).spec()
        assert spec.mode == "train"
        assert set(spec.predictions) >= {"logits", "logistic", "classes"}
        assert float(spec.loss.detach()) == pytest.approx(np.log(2))
        assert callable(spec.train_op)
        assert dict(spec.eval_metric_ops) == {}
        assert spec.export_outputs is None

    def test_nothing_changes_before_the_step(self, torch):
        model = Model(torch)
        model.weight.grad = torch.ones_like(model.weight)
        called = []
        model.spec(update_ops=[lambda: called.append(1)])
        assert not model.weight.detach().numpy().any()
        assert (model.weight.grad == 1).all()
        assert model.optimizer.state_dict()["state"] == {}
        assert called == []

    def test_gradients_are_zeroed_and_one_step_is_taken(self, torch):
        model = Model(torch)
        model.weight.grad = torch.full_like(model.weight, 1e6)
        expected = -0.5 * model.gradient()
        spec = model.spec()
        assert spec.train_op() is spec.loss
        assert_allclose(model.weight.detach().numpy(), expected, rtol=1e-12)
        assert_allclose(model.weight.grad.numpy(), expected / -0.5, rtol=1e-12)

    def test_regularization_losses_are_trained_on(self, torch):
        model = Model(torch)
        with torch.no_grad():
            model.weight += 1
        expected = model.gradient() + 2 * 0.1  # d(0.1 Σ w²)/dw at 1
        model.spec(regularization_losses=[0.1 * (model.weight**2).sum()]).train_op()
        assert_allclose(1 - model.weight.detach().numpy(), 0.5 * expected, rtol=1e-12)

    @pytest.mark.parametrize("sequence", [list, tuple])
    def test_order_of_calls(self, sequence):
        order = []

        class Loss:
            def backward(self):
                order.append("backward")

        class Optimizer:
            def zero_grad(self):
                order.append("zero_grad")

            def step(self):
                order.append("step")

        class Head(gh.RegressionHead):
            def loss(self, *arguments: Any, **options: Any) -> Any:
                return Loss()

        spec = Head().create_estimator_spec(
            None,
            "train",
            [[1.0]],
            labels=[1.0],
            optimizer=Optimizer(),
            trainable_variables=sequence([]),
            update_ops=sequence([lambda: order.append("first"), lambda: order.append("second")]),
        )
        assert order == []
        assert spec.train_op() is spec.loss
        assert order == ["zero_grad", "backward", "step", "first", "second"]

    def test_any_object_with_zero_grad_and_step(self, torch):
        model = Model(torch)

        class Descent:
            def zero_grad(self):
                model.weight.grad = None

            def step(self):
                with torch.no_grad():
                    model.weight -= 0.25 * model.weight.grad

        expected = -0.25 * model.gradient()
        model.spec(optimizer=Descent(), trainable_variables=(model.weight,)).train_op()
        assert_allclose(model.weight.detach().numpy(), expected, rtol=1e-12)

    def test_variables_of_all_groups_are_the_optimizers(self, torch):
        model = Model(torch)
        bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        model.optimizer = torch.optim.SGD([{"params": [model.weight]}, {"params": [bias], "lr": 0.1}], lr=0.5)
        model.spec(trainable_variables=[bias, model.weight])
        for variables in ([], [bias], [model.weight], [bias, model.weight, bias.detach().clone()]):
            with pytest.raises(ValueError, match="trainable_variables must be the optimizer's own parameters"):
                model.spec(trainable_variables=variables)

    def test_equal_variables_are_not_the_same(self, torch):
        model = Model(torch)
        text = "1 of the 1 given are not among them, and 1 of its 1 are not given"
        with pytest.raises(ValueError, match=text):
            model.spec(trainable_variables=[model.weight.detach().clone()])


class TestTrainWithAFunction:
    def test_is_called_at_once_with_the_loss(self, lib):
        seen = []

        def train_op_fn(loss):
            seen.append(loss)
            return "what it returns"

        spec = HEADS["binary"].create_estimator_spec(
            FEATURES, "train", lib.array(LOGITS), labels=lib.array(LABELS), train_op_fn=train_op_fn
        )
        assert spec.train_op == "what it returns"
        assert seen[0] is spec.loss
        assert backends.of(spec.loss) is lib.backend
        assert (spec.export_outputs, dict(spec.eval_metric_ops)) == (None, {})

    def test_update_ops_are_called_after_it(self, lib):
        order = []
        HEADS["regression"].create_estimator_spec(
            FEATURES,
            "train",
            lib.array(LOGITS),
            labels=LABELS,
            train_op_fn=lambda _: order.append("train"),
            update_ops=(lambda: order.append("first"), lambda: order.append("second")),
        )
        assert order == ["train", "first", "second"]

    def test_trainable_variables_are_not_needed(self):
        spec = HEADS["regression"].create_estimator_spec(
            FEATURES, "train", LOGITS, labels=LABELS, train_op_fn=float, trainable_variables=None
        )
        assert spec.train_op == float(spec.loss)

    def test_loss_falls_in_jax(self):
        jax = pytest.importorskip("jax")
        head = gh.BinaryClassHead()
        x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
        labels = (x[:, 0] > 0).astype(np.float32)

        @jax.jit
        def step(weight):
            def loss(weight):
                spec = head.create_estimator_spec(
                    None, "train", x @ weight, labels=jax.numpy.asarray(labels), train_op_fn=lambda loss: loss
                )
                return spec.train_op

            value, gradient = jax.value_and_grad(loss)(weight)
            return value, weight - gradient

        weight, losses = jax.numpy.zeros((2, 1)), []
        for _ in range(20):
            value, weight = step(weight)
            losses.append(float(value))
        assert losses[0] == pytest.approx(np.log(2))
        assert losses[-1] < 0.3


class TestRefused:
    def refused(self, text: str, **arguments: Any) -> None:
        given = {"labels": LABELS, "mode": gh.ModeKeys.TRAIN, **arguments}
        with pytest.raises(ValueError, match=text):
            HEADS["binary"].create_estimator_spec(features=FEATURES, logits=LOGITS, **given)

    def test_no_labels(self):
        for mode in ("train", "eval"):
            self.refused("You must provide a labels Tensor. Given: None.", mode=mode, labels=None, train_op_fn=id)

    def test_both_or_neither(self):
        self.refused("train_op_fn and optimizer cannot both be set.", optimizer=object(), train_op_fn=id)
        self.refused("train_op_fn and optimizer cannot both be None.")

    def test_trainable_variables(self, torch):
        weight = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.SGD([weight])
        self.refused("trainable_variables cannot be None", optimizer=optimizer)
        for wrong in ({weight}, weight, iter([weight]), "w"):
            self.refused(
                "trainable_variables should be a list or a tuple", optimizer=optimizer, trainable_variables=wrong
            )

    def test_update_ops(self, torch):
        weight = torch.zeros(1, requires_grad=True)
        trains = (
            {"train_op_fn": pytest.fail},
            {"optimizer": torch.optim.SGD([weight]), "trainable_variables": [weight]},
        )
        for how in trains:
            for wrong in ({id}, id, "ops", iter([])):
                self.refused("update_ops should be a list or a tuple", update_ops=wrong, **how)
            self.refused("update_ops should be a list or a tuple of callables", update_ops=[id, 5], **how)

    def test_an_optimizer_without_its_methods(self):
        class OnlySteps:
            def step(self): ...

        self.refused("has no zero_grad. Elsewhere, give train_op_fn", optimizer=OnlySteps(), trainable_variables=[])
        self.refused("optimizer must have the methods zero_grad and step", optimizer="sgd", trainable_variables=[])

    def test_unknown_mode(self):
        for mode in (None, "predict", "TRAIN"):
            self.refused("is not a valid ModeKeys", mode=mode)

    def test_bad_batch_trains_nothing(self):
        for arguments in ({"labels": [1.0, 0.0, 2.0]}, {"labels": [1.0]}):
            self.refused("abels", train_op_fn=pytest.fail, **arguments)


def test_modes_are_tf_estimators_strings():
    assert [str(mode) for mode in gh.ModeKeys] == ["train", "eval", "infer"]


def test_spec_is_immutable():
    spec = HEADS["binary"].create_estimator_spec(None, "infer", LOGITS)
    with pytest.raises(AttributeError):
        spec.loss = 0

"""The conformance kit: every head passes it on every library, and it finds the faults planted here, by their law."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from array_api_compat import array_namespace
from hypothesis import given, settings
from hypothesis import strategies as st

import glmheads as gh
from glmheads import metrics, statistics
from glmheads.inputs import Examples
from glmheads.inputs import examples as examples_module
from glmheads.kernels import curves, losses, ranking, reductions, thresholds
from glmheads.kernels.links import sigmoid
from glmheads.kernels.reductions import Pair, safe_divide, total
from glmheads.testing import LAWS, Batch, batches, check_head, check_law

HEADS = {
    "binary": gh.BinaryClassHead(weight_column="w", thresholds=[0.25, 0.5, 0.9], name="named"),
    "words": gh.BinaryClassHead(label_vocabulary=["no", "yes"], loss_reduction="sum"),
    "keras": gh.BinaryClassHead(weight_column="w", num_thresholds=20, loss_reduction="weighted_mean"),
    "logistic": gh.LogisticRegressionHead(weight_column="w", loss_reduction="weighted_sum_by_nonzero_weights"),
    "regression": gh.RegressionHead(label_dimension=2, weight_column="w"),
    "poisson": gh.PoissonRegressionHead(weight_column="w", loss_reduction="sum"),
    "poisson without constant": gh.PoissonRegressionHead(label_dimension=2, compute_full_loss=False),
}

CHEAP = ["order", "scale", "infinity", "purity", "result_types", "refusal", "agreement"]
"""Laws that need few shapes or graphs."""

each_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
each_law = pytest.mark.parametrize("law", LAWS)


class TestShippedHeads:
    @each_law
    @each_head
    def test_numpy(self, head, law):
        check_law(law, head, dtype="float64", max_examples=12)

    @each_law
    @each_head
    def test_torch(self, head, law):
        check_law(law, head, pytest.importorskip("torch"), max_examples=6)

    @pytest.mark.parametrize("name", ["binary", "regression"])
    @pytest.mark.parametrize("xp", ["numpy", "torch"])
    def test_half_precision(self, xp, name):
        pytest.importorskip(xp)
        check_head(HEADS[name], xp, dtype="float16", max_examples=4)

    @each_law
    @pytest.mark.parametrize("name", ["binary", "poisson"])
    def test_any_library_of_the_standard(self, name, law):
        check_law(law, HEADS[name], pytest.importorskip("array_api_strict"), max_examples=4)

    @pytest.mark.parametrize("law", CHEAP)
    @pytest.mark.parametrize("name", ["logistic", "regression"])
    def test_jax(self, name, law):
        check_law(law, HEADS[name], pytest.importorskip("jax.numpy"), max_examples=3)

    def test_jax_with_areas(self):
        check_law("agreement", HEADS["binary"], pytest.importorskip("jax.numpy"), max_examples=3)

    def test_jax_in_float64(self):
        jax = pytest.importorskip("jax")
        with jax.enable_x64(True):
            check_law("agreement", HEADS["binary"], jax.numpy, dtype="float64", max_examples=3)
            check_law("derivative", HEADS["binary"], jax.numpy, dtype="float64", max_examples=3)
        with pytest.raises(ValueError, match="has no float64 here: it makes it float32"):
            check_law("agreement", HEADS["binary"], jax.numpy, dtype="float64")

    @pytest.mark.parametrize("law", ["order", "infinity", "result_types", "refusal", "agreement"])
    @pytest.mark.parametrize("name", ["binary", "regression"])
    def test_dask(self, name, law):
        pytest.importorskip("dask.array")
        check_law(law, HEADS[name], "dask", max_examples=1)

    def test_cuda(self):
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
        for head in HEADS.values():
            check_head(head, torch, device="cuda", max_examples=4)


# ---------------------------------------------------------------------------------------------------------------------
# Heads of one's own


def _inverse_of_logits(x: Any) -> Any:
    return array_namespace(x).exp(-x)


GAMMA = gh.Family(
    name="gamma",
    loss=lambda z, x: x + z * _inverse_of_logits(x),
    gradient=lambda z, x: 1 - z * _inverse_of_logits(x),
    hessian=lambda z, x: z * _inverse_of_logits(x),
    inverse_link=lambda x: array_namespace(x).exp(x),
    valid_labels=gh.Interval(0, math.inf),
)


def own_head(**changes: Any) -> gh.Head:
    mean = metrics.mean_metrics()
    ratio = gh.MetricSpec(
        "ratio", statistics.Means(), lambda state: safe_divide(state["loss"], state["weight"] + state["label"])
    )
    return gh.FamilyHead(family=replace(GAMMA, **changes), metrics=(*mean, ratio), weight_column="w")


def absolute_loss(labels: Any, logits: Any) -> Any:
    return ((labels - logits) ** 2 + 1) ** 0.5


class TestOwnHeads:
    @pytest.mark.parametrize("law", [law for law in LAWS if law != "infinity"])
    @pytest.mark.parametrize("xp", ["numpy", "torch"])
    def test_a_family_of_ones_own(self, xp, law):
        pytest.importorskip(xp)
        check_law(law, own_head(), xp, max_examples=8)

    def test_its_derivatives_are_checked(self):
        with pytest.raises(AssertionError, match=r"^derivative fails for FamilyHead"):
            check_law("derivative", own_head(hessian=lambda z, x: 2 * z * _inverse_of_logits(x)))

    def test_a_number_that_its_library_alone_gets_wrong(self):
        def loss(z: Any, x: Any) -> Any:
            return GAMMA.loss(z, x) * (1 if isinstance(x, np.ndarray) else 1.001)

        torch = pytest.importorskip("torch")
        check_law("agreement", own_head(loss=loss), max_examples=5)
        with pytest.raises(AssertionError, match=r"^agreement fails for FamilyHead.* with torch in float32"):
            check_law("agreement", own_head(loss=loss), torch)

    @pytest.mark.parametrize("xp", ["numpy", "torch"])
    def test_a_loss_fn(self, xp):
        pytest.importorskip(xp)
        head = gh.RegressionHead(weight_column="w", loss_fn=absolute_loss, inverse_link_fn=lambda x: 2 * x)
        check_head(head, xp, max_examples=4)


# ---------------------------------------------------------------------------------------------------------------------
# Planted faults

FAULTS: dict[str, tuple[str, Callable[[pytest.MonkeyPatch], gh.Head]]] = {}


def breaks(law: str) -> Callable[[Any], Any]:
    """Register a fault, which makes a head, by the law that must find it."""

    def register(fault: Any) -> Any:
        FAULTS[fault.__name__] = law, fault
        return fault

    return register


def binary(threshold: float = 0.5, **changes: Any) -> gh.Head:
    """A head with a threshold, of a family with some functions changed."""
    head = gh.BinaryClassHead(weight_column="w", thresholds=[threshold])
    family = replace(head.family, **changes)
    loss, measurement = (replace(part, family=family) for part in (head._family_loss, head.measurement))
    vars(head).update(family=family, _family_loss=loss, measurement=measurement)
    return head


def changed_state(monkeypatch: pytest.MonkeyPatch, statistic: type, change: Callable[[Any], dict[str, Any]]) -> gh.Head:
    """A head with some sums of a state changed, given the examples."""
    compute = statistic.state

    def changed(self: Any, examples: Any) -> Any:
        state = compute(self, examples)
        return replace(state, values={**state.values, **change(examples)})

    monkeypatch.setattr(statistic, "state", changed)
    return binary()


@breaks("accumulation")
def float32_counter(monkeypatch):
    def add(p: Pair, q: Pair) -> Pair:
        hi = (p.hi.astype(np.float32) + q.hi.astype(np.float32)).astype(np.float64)
        return Pair(hi, 0 * hi)

    monkeypatch.setattr(reductions, "add", add)
    return binary()


@breaks("repetition")
def metric_without_weights(monkeypatch):
    return changed_state(monkeypatch, statistics.Means, lambda examples: {"loss": total(examples.losses)})


@breaks("repetition")
def mean_over_examples(monkeypatch):
    return changed_state(
        monkeypatch, statistics.Means, lambda examples: {"weight": total(1.0 * (examples.weights > 0))}
    )


@breaks("scale")
def weight_squared(monkeypatch):
    monkeypatch.setattr(Examples, "weigh", lambda examples, values: examples.weights**2 * values)
    return binary()


@breaks("agreement")
def flipped_inequality_of_class_ids(monkeypatch):
    bins = thresholds.threshold_bins
    monkeypatch.setattr(thresholds, "threshold_bins", lambda p, x, events: bins(p, x, events) + (x == 0))
    return gh.BinaryClassHead()


@breaks("agreement")
def flipped_inequality_at_a_threshold(monkeypatch):
    bins = thresholds.threshold_bins
    monkeypatch.setattr(thresholds, "threshold_bins", lambda p, x, events: bins(p, x, events) + (p == 0.75))

    # No logit of float32 has this probability by itself.
    return binary(0.75, inverse_link=lambda x: np.where(x == 0, 0.75, sigmoid(x)))


@breaks("agreement")
def off_by_one_bin(monkeypatch):
    confusions = thresholds.confusions
    monkeypatch.setattr(thresholds, "confusions", lambda counts: [confusions(counts)[0], *confusions(counts)[:-1]])
    return gh.BinaryClassHead(thresholds=[0.9])


@breaks("agreement")
def tie_counted_as_a_win(monkeypatch):
    def area(weights: Any) -> Any:
        positive, negative = weights.positive.hi, weights.negative.hi
        pairs = positive.sum() * negative.sum()
        return (positive * np.cumsum(negative)).sum() / pairs if pairs else np.float64(0)

    monkeypatch.setattr(curves, "roc_area", area)
    return binary()


@breaks("agreement")
def ranking_by_probability(monkeypatch):
    from_scores = ranking.from_scores
    monkeypatch.setattr(ranking, "from_scores", lambda scores, *weights: from_scores(sigmoid(scores), *weights))
    return binary()


@breaks("agreement")
def clipped_probability(monkeypatch):
    def loss(z: Any, x: Any) -> Any:
        p = np.clip(sigmoid(x), 1e-7, 1 - 1e-7)
        return -z * np.log(p) - (1 - z) * np.log1p(-p)

    return binary(loss=loss)


@breaks("agreement")
def soft_labels_are_rounded(monkeypatch):
    known = Examples.known_labels.function
    monkeypatch.setattr(Examples, "known_labels", property(lambda examples: np.round(known(examples))))
    return binary()


@breaks("agreement")
def reduction_over_the_wrong_count(monkeypatch):
    class Wrong(gh.LogisticRegressionHead):
        def loss(self, labels, logits, *arguments):
            return super().loss(labels, logits, *arguments) * logits.shape[0] / max(1, logits.size)

    return Wrong(weight_column="w")


@breaks("derivative")
def sign_of_the_gradient_at_label_0(monkeypatch):
    return binary(gradient=lambda z, x: np.where(z == 0, -1, 1) * losses.sigmoid_cross_entropy_gradient(z, x))


@breaks("derivative")
def hessian_twice(monkeypatch):
    return binary(hessian=lambda z, x: 2 * losses.sigmoid_cross_entropy_hessian(z, x))


@breaks("derivative")
def gradient_of_other_reduction(monkeypatch):
    class Wrong(gh.RegressionHead):
        def gradient(self, labels, logits, features=None):
            return super().gradient(labels, logits, features) * len(logits)

    return Wrong(weight_column="w")


@breaks("bounds")
def bounds_too_tight(monkeypatch):
    whole = ranking.areas_with_bounds

    def tight(slots: Any, areas: Any) -> Any:
        lower, value, upper = whole(slots, areas).T
        return np.stack([value - (value - lower) / 8, value, value + (upper - value) / 8], axis=1)

    monkeypatch.setattr(ranking, "areas_with_bounds", tight)
    return binary()


@breaks("bounds")
def joined_scores_forget_their_interval(monkeypatch):
    compress = ranking.compress

    def forgetful(slots: Any) -> Any:
        slots = compress(slots)
        return np.concatenate([slots[:1], slots[:1], slots[2:]])

    monkeypatch.setattr(ranking, "compress", forgetful)
    return binary()


@breaks("zero_weights")
def absent_nan(monkeypatch):
    validated = Examples.validated
    monkeypatch.setattr(Examples, "validated", lambda examples: validated(examples).with_logits(examples.logits))
    return binary()


@breaks("zero_weights")
def absent_labels_are_checked(monkeypatch):
    check = examples_module._checked_labels
    monkeypatch.setattr(examples_module, "_checked_labels", lambda labels, _, rule: check(labels, None, rule))
    return binary()


@breaks("refusal")
def bad_labels_pass(monkeypatch):
    monkeypatch.setattr(examples_module, "_checked_labels", lambda labels, *_: np.clip(labels, 0, 1))
    return binary()


@breaks("refusal")
def negative_weights_pass(monkeypatch):
    monkeypatch.setattr(examples_module, "_checked_weights", lambda weights: (weights, True))
    return binary()


@breaks("infinity")
def infinite_logits_make_nan(monkeypatch):
    return binary(loss=lambda z, x: np.maximum(x, 0) - x * z + np.log1p(np.exp(-abs(x))))


@breaks("order")
def later_examples_count_more(monkeypatch):
    def change(examples: Any) -> dict[str, Any]:
        position = np.cumsum(np.ones_like(examples.labels), axis=0)
        return {"label": total(examples.weigh(examples.labels * position))}

    return changed_state(monkeypatch, statistics.Means, change)


@breaks("additivity")
def right_counts_are_lost(monkeypatch):
    add = statistics.Statistics.__add__

    def lossy(left: Any, right: Any) -> Any:
        kept = {name: state for name, state in right.states.items() if name != "thresholds" or name not in left.states}
        return add(left, statistics.Statistics(right.config, kept))

    monkeypatch.setattr(statistics.Statistics, "__add__", lossy)
    return binary()


@breaks("additivity")
def evaluate_sees_the_last_batch(monkeypatch):
    class Wrong(gh.PoissonRegressionHead):
        def evaluate(self, batches):
            return super().evaluate(list(batches)[-1:])

    return Wrong(weight_column="w")


@breaks("purity")
def input_changed_in_place(monkeypatch):
    class Wrong(gh.RegressionHead):
        def loss(self, labels, logits, *arguments):
            result = super().loss(labels, logits, *arguments)
            logits += 1
            return result

    return Wrong(weight_column="w")


@breaks("purity")
def loss_remembers(monkeypatch):
    calls = []

    class Wrong(gh.RegressionHead):
        def loss(self, *arguments):
            calls.append(1)
            return super().loss(*arguments) * (1 + len(calls) / 64)

    return Wrong(weight_column="w")


@breaks("result_types")
def gradient_in_float64(monkeypatch):
    class Wrong(gh.PoissonRegressionHead):
        def gradient(self, *arguments):
            return super().gradient(*arguments).astype(np.float64)

    return Wrong(weight_column="w")


class TestPlantedFaults:
    @pytest.mark.parametrize("name", FAULTS)
    def test_is_found_by_its_law(self, name, monkeypatch):
        law, fault = FAULTS[name]
        head = fault(monkeypatch)
        with pytest.raises(AssertionError) as failure:
            check_law(law, head)
        assert str(failure.value).startswith(f"{law} fails for {type(head).__name__}(")
        assert " with numpy in float32\n" in str(failure.value)
        assert "Batch(labels=[" in str(failure.value)

    @pytest.mark.parametrize("name", ["metric_without_weights", "input_changed_in_place"])
    def test_is_found_by_the_whole_kit(self, name, monkeypatch):
        head = FAULTS[name][1](monkeypatch)
        with pytest.raises(AssertionError, match=rf"^({'|'.join(LAWS)}) fails for "):
            check_head(head, max_examples=20)

    def test_every_law_finds_one(self):
        assert {law for law, _ in FAULTS.values()} == set(LAWS)

    def test_the_batch_shown_is_minimal(self):
        head = binary(hessian=lambda z, x: 2 * losses.sigmoid_cross_entropy_hessian(z, x))
        with pytest.raises(AssertionError) as failure:
            check_law("derivative", head)
        assert str(failure.value).splitlines()[1:] == [
            "The gradient is the derivative of the loss and the hessian the second: by differences, and by autograd.",
            "the hessian is [[0.5]], and the loss differs by [[0.24999999999029873]]",
            "Failing test case: holds(",
            "    data=data(...),",
            ")",
            "Draw 1: Batch(labels=[[0.0]], logits=[[0.0]], weights=[[1.0]], flat=False)",
        ]


# ---------------------------------------------------------------------------------------------------------------------
# Batches, and the interface


class TestBatches:
    @each_head
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    def test_are_what_the_head_takes(self, head, dtype):
        @settings(max_examples=10)
        @given(batches(head, dtype))
        def holds(batch):
            assert batch.logits.dtype == batch.labels.dtype == batch.weights.dtype == dtype
            assert batch.logits.shape == batch.labels.shape == batch.weights.shape
            assert np.isfinite(head.loss(*batch.arguments(head)))
            assert (head.family.valid_labels or gh.Interval()).contains(batch.labels).all()

        holds()

    @pytest.mark.parametrize(
        "awkward",
        [
            lambda b: len(b) == 0,
            lambda b: b.logits.shape == (1, 1),
            lambda b: b.logits.ndim > 2,
            lambda b: b.flat and len(b) > 1,
            lambda b: 0 < (b.weights == 0).sum() < b.weights.size,
            lambda b: b.weights.size and (b.weights == 0).all(),
            lambda b: ((b.labels > 0) & (b.labels < 1)).any(),
            lambda b: len(b) > 3 and (b.labels == 1).all(),
            lambda b: len(b) > 3 and (b.labels == 0).all(),
            lambda b: (abs(b.logits) > 100).any(),
            lambda b: (np.signbit(b.logits) & (b.logits == 0)).any(),
            lambda b: len(np.unique(b.logits)) < b.logits.size,
        ],
    )
    def test_are_awkward(self, awkward):
        found = []

        @settings(max_examples=300, derandomize=True, database=None)
        @given(batches(HEADS["binary"]))
        def look(batch):
            found.append(bool(awkward(batch)))

        look()
        assert sum(found) >= 3

    @given(st.data())
    def test_of_a_given_shape(self, data):
        head = HEADS["regression"]
        first = data.draw(batches(head, rows=3, inner=(2,)))
        second = data.draw(batches(head, rows=1, inner=(2,)))
        both = first.followed_by(second)
        assert both.logits.shape == (4, 2, 2)
        assert both[3:].labels.tolist() == second.labels.tolist()

    def test_last_axis(self):
        column = np.ones((2, 1), dtype=np.float32)
        labels, logits, given_features = Batch(column, column, column, flat=True).arguments(HEADS["binary"])
        assert (labels.shape, logits.shape, given_features["w"].shape) == ((2,), (2, 1), (2,))
        pair = np.ones((2, 2), dtype=np.float32)
        labels, _, given_features = Batch(pair, pair, pair, flat=False).arguments(HEADS["regression"])
        assert (labels.shape, given_features["w"].shape) == ((2, 2), (2, 1))

    def test_words(self):
        column = np.asarray([[0.0], [1.0]])
        labels, _, given_features = Batch(column, column, column).arguments(HEADS["words"])
        assert labels.tolist() == [["no"], ["yes"]]
        assert given_features is None


class TestInterface:
    def test_unknown_law(self):
        with pytest.raises(ValueError, match="there is no law 'gravity'; the laws are additivity, order"):
            check_law("gravity", HEADS["binary"])

    def test_unknown_library(self):
        with pytest.raises(ValueError, match="no array library named"):
            check_head(HEADS["binary"], "no_such_library")

    def test_an_error_in_a_head_is_a_law_that_fails(self):
        def loss(labels: Any, logits: Any) -> Any:
            raise RuntimeError("out of order")

        head = own_head()
        vars(head)["loss_fn"] = loss
        with pytest.raises(AssertionError, match=r"(?s)^order fails for .*RuntimeError: out of order"):
            check_law("order", head)

    def test_results_are_the_same_in_every_run(self):
        head = binary(loss=lambda z, x: 1.001 * losses.sigmoid_cross_entropy(z, x))
        said = set()
        for _ in range(2):
            with pytest.raises(AssertionError) as failure:
                check_law("agreement", head)
            said.add(str(failure.value))
        assert len(said) == 1

    def test_every_law_is_in_the_documentation(self):
        page = (Path(__file__).parents[1] / "docs" / "testing.md").read_text(encoding="utf-8")
        table = re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE)
        assert table == [(name, str(law.__doc__).partition("\n")[0]) for name, law in LAWS.items()]

"""The law: statistics(a followed by b) == statistics(a) + statistics(b); and what follows from it."""

import io
import itertools
import json
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit
from sklearn.metrics import average_precision_score

import glmheads as gh
from glmheads import backends, engine
from glmheads.kernels import ranking
from glmheads.kernels.curves import average_precision_area
from glmheads.metrics import mean_metrics, threshold_metrics
from glmheads.statistics import Sums

HEADS = {
    "binary": gh.BinaryClassHead(weight_column="w", thresholds=[0.25, 0.5, 0.75]),
    "keras": gh.BinaryClassHead(weight_column="w", num_thresholds=20),
    "logistic": gh.LogisticRegressionHead(weight_column="w"),
    "regression": gh.RegressionHead(label_dimension=2, weight_column="w"),
    "poisson": gh.PoissonRegressionHead(weight_column="w", compute_full_loss=False),
}
RANKING = HEADS["binary"]
PART = 6
"""Rows of a part of the data where every new shape costs a compilation."""

each_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
KINDS = ("binary", "keras", "regression")
each_kind = pytest.mark.parametrize("head", [HEADS[name] for name in KINDS], ids=KINDS)
"""Heads that keep different parts, for tests in every library."""


# ---------------------------------------------------------------------------------------------------------------------
# Data, and what NumPy says of them


@dataclass(frozen=True)
class Data:
    """NumPy arrays: labels and logits of shape (n, ..., d), weights of shape (n, ..., 1)."""

    labels: np.ndarray
    logits: np.ndarray
    weights: np.ndarray

    def __getitem__(self, rows: Any) -> "Data":
        return Data(self.labels[rows], self.logits[rows], self.weights[rows])

    def __len__(self) -> int:
        return len(self.logits)

    def weighing(self, weights: np.ndarray) -> "Data":
        return Data(self.labels, self.logits, weights)


def together(*data: Data) -> Data:
    return Data(*(np.concatenate([getattr(d, name) for d in data]) for name in ("labels", "logits", "weights")))


def measure(head: gh.Head, data: Data, lib: Any = None) -> gh.Statistics:
    def bring(a: np.ndarray) -> Any:
        return a if lib is None else lib.array(a)

    return head.statistics(bring(data.labels), bring(data.logits), {"w": bring(data.weights)})


def summed(statistics: gh.Statistics) -> dict[str, np.ndarray]:
    """All sums of a record, in float64."""
    pairs = {
        f"{name}/{key}": pair
        for name, part in statistics.states.items()
        if isinstance(part, Sums)
        for key, pair in part.values.items()
    }
    his, los = (numpy_of([pair[i] for pair in pairs.values()]) for i in range(2))
    return {key: hi + lo for key, hi, lo in zip(pairs, his, los, strict=True)}


def numpy_of(arrays: list[Any]) -> list[np.ndarray]:
    """The arrays in NumPy and float64, computed together where they are lazy."""
    if arrays and backends.of(arrays[0]).name == "dask":
        import dask

        arrays = list(dask.compute(*arrays))
    return [backends.of(a).to_numpy(a).astype(np.float64) for a in arrays]


def bounds_of(head: gh.Head, statistics: gh.Statistics) -> dict[str, np.ndarray]:
    bounds = numpy_of(list(head.bounds(statistics).values()))
    return dict(zip(head.bounds(statistics), bounds, strict=True))


def means_of(head: gh.Head, data: Data) -> dict[str, tuple[float, float]]:
    """Each weighted sum by NumPy in float64, and the sum of the magnitudes of all terms in it."""
    z, x = data.labels.astype(np.float64), data.logits.astype(np.float64)
    w = np.broadcast_to(data.weights.astype(np.float64), x.shape)
    z, x = np.where(w == 0, 0, z), np.where(w == 0, 0, x)
    if isinstance(head, gh.RegressionHead):
        p, loss, size = x, (z - x) ** 2, (abs(z) + abs(x)) ** 2
    elif isinstance(head, gh.PoissonRegressionHead):
        p = np.exp(x)
        loss, size = p - x * z, p * (1 + abs(x)) + abs(x * z)
    else:
        p = expit(x)
        loss, size = np.logaddexp(0, x) - x * z, np.logaddexp(0, abs(x)) + abs(x * z)
    sums = {
        "loss": (loss, size),
        "prediction": (p, abs(p) * (1 + abs(x))),
        "label": (z, abs(z)),
        "weight": (1 + 0 * x, 1),
    }
    return {f"means/{key}": (float((w * a).sum()), float((w * size).sum())) for key, (a, size) in sums.items()}


def exact_auc(data: Data) -> float:
    """The share of pairs of a positive and a negative in which the positive is ahead, a tie counting half."""
    w, z, x = (a.astype(np.float64).ravel() for a in (data.weights, data.labels, data.logits))
    present = w > 0
    w, z, x = w[present], z[present], x[present]
    ahead = (x[:, None] > x) + (x[:, None] == x) / 2
    pairs = np.outer(w * z, w * (1 - z))
    return float((ahead * pairs).sum() / pairs.sum()) if pairs.sum() else 0.0


def assert_same(head: gh.Head, found: gh.Statistics, expected: gh.Statistics, data: Data) -> None:
    """Two records of `data` are equal: sums to rounding, areas within their bounds."""
    one, other = summed(found), summed(expected)
    assert one.keys() == other.keys()
    scale = {key: size for key, (_, size) in means_of(head, data).items()}
    mass = scale["means/weight"]
    eps = np.finfo(np.float32 if data.logits.dtype == np.float16 else data.logits.dtype).eps
    for key in one:
        tolerance = 4 * (data.logits.size + 1) * eps * scale.get(key, mass)
        np.testing.assert_allclose(one[key], other[key], rtol=0, atol=tolerance, err_msg=key)
    here, there = bounds_of(head, found), bounds_of(head, expected)
    assert here.keys() == there.keys()
    for key in here:
        assert here[key][0] <= there[key][1], key
        assert there[key][0] <= here[key][1], key


def assert_same_bits(found: gh.Statistics, expected: gh.Statistics) -> None:
    assert found.structure() == expected.structure()
    for one, other in zip(found.arrays(), expected.arrays(), strict=True):
        one, other = (backends.of(a).to_numpy(a) for a in (one, other))
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()


WEIGHTS = st.sampled_from([0.0, 1.0, 1.0, 2.0, 0.25, 5.0, 2.0**-10])  # their products with labels are exact


def logits_for(head: gh.Head) -> st.SearchStrategy[float]:
    if isinstance(head, gh.PoissonRegressionHead):
        return st.floats(-8, 8, width=16)
    return st.sampled_from([0.0, -0.0, 1.0, -1.0, 88.0, -88.0]) | st.floats(-100, 100, width=16)


def labels_for(head: gh.Head) -> st.SearchStrategy[float]:
    if isinstance(head, gh.RegressionHead):
        return st.floats(-100, 100, width=16)
    if isinstance(head, gh.PoissonRegressionHead):
        return st.integers(0, 9).map(float)
    return st.sampled_from([0.0, 1.0, 0.0, 1.0, 0.25, 0.75])


@st.composite
def data_for(draw: Any, head: gh.Head, rows: int | None = None, dtype: str | None = None) -> Data:
    """Data of any shape and dtype, with weights of 0 and soft labels where the head takes them."""
    any_shape = st.tuples(st.integers(0, 12)).flatmap(lambda n: st.sampled_from([n, (*n, 1), (*n, 3), (*n, 2, 2)]))
    shape = draw(any_shape) if rows is None else (rows,)
    dtype = draw(st.sampled_from(["float16", "float32", "float64"])) if dtype is None else dtype
    full = (*shape, head.logits_dimension)
    return Data(
        draw(arrays("float64", full, elements=labels_for(head), fill=st.nothing())).astype(dtype),
        draw(arrays("float64", full, elements=logits_for(head), fill=st.nothing())).astype(dtype),
        draw(arrays("float64", (*shape, 1), elements=WEIGHTS, fill=st.nothing())).astype(dtype),
    )


def random_data(head: gh.Head, rows: int, dtype: str = "float32", seed: int = 0) -> Data:
    rng = np.random.default_rng(seed)
    shape = (rows, head.logits_dimension)
    labels = rng.integers(0, 2, shape)
    weights = rng.choice([0.0, 0.5, 1.0, 2.0], (rows, 1))
    return Data(labels.astype(dtype), rng.normal(size=shape).astype(dtype), weights.astype(dtype))


# ---------------------------------------------------------------------------------------------------------------------
# The law


class TestLaw:
    @each_head
    @settings(max_examples=80)
    @given(st.data())
    def test_additive(self, head, data):
        whole = data.draw(data_for(head))
        cut = data.draw(st.integers(0, len(whole)))
        found = measure(head, whole[:cut]) + measure(head, whole[cut:])
        assert_same(head, found, measure(head, whole), whole)

    @each_head
    def test_every_cut(self, head):
        whole = random_data(head, 7)
        expected = measure(head, whole)
        for inner in itertools.chain.from_iterable(itertools.combinations(range(1, 7), k) for k in range(7)):
            edges = [0, *inner, 7]
            parts = [measure(head, whole[a:b]) for a, b in itertools.pairwise(edges)]
            assert_same(head, sum(parts[1:], start=parts[0]), expected, whole)

    @each_kind
    @settings(max_examples=3)
    @given(st.data())
    def test_additive_in_every_library(self, lib, head, data):
        whole = data.draw(data_for(head, rows=2 * PART, dtype="float32"))
        found = measure(head, whole[:PART], lib) + measure(head, whole[PART:], lib)
        assert_same(head, found, measure(head, whole, lib), whole)
        assert_same(head, found, measure(head, whole), whole)

    @each_head
    @settings(max_examples=50)
    @given(st.data())
    def test_sums_are_those_of_the_data(self, head, data):
        whole = data.draw(data_for(head))
        found = summed(measure(head, whole))
        eps = float(np.finfo(np.float32 if whole.logits.dtype == np.float16 else whole.logits.dtype).eps)
        for key, (value, size) in means_of(head, whole).items():
            assert abs(found[key] - value) <= 8 * eps * size, key

    @settings(max_examples=50)
    @given(st.data())
    def test_areas_are_those_of_the_data(self, data):
        whole = data.draw(data_for(RANKING))
        lower, upper = bounds_of(RANKING, measure(RANKING, whole))["auc"]
        assert lower <= exact_auc(whole) <= upper

    @each_head
    @given(st.data())
    def test_associative_and_commutative(self, head, data):
        whole = data.draw(data_for(head, rows=9))
        a, b, c = (measure(head, whole[i : i + 3]) for i in (0, 3, 6))
        expected = measure(head, whole)
        for found in ((a + b) + c, a + (b + c), c + (b + a), (a + c) + b):
            assert_same(head, found, expected, whole)

    @each_kind
    def test_neutral(self, lib, head):
        data = random_data(head, PART)
        s = measure(head, data, lib)
        assert_same_bits(head.empty() + s, s)
        assert_same_bits(s + head.empty(), s)
        assert not (head.empty() + head.empty()).states
        assert {float(r) for r in head.results(head.empty()).values()} == {0.0}

    @pytest.mark.parametrize("head", [RANKING, HEADS["regression"]], ids=["binary", "regression"])
    def test_neutral_like(self, lib, head):
        data = random_data(head, PART)
        empty = head.empty(like=lib.array(data.logits))
        assert all(type(a) is type(b) for a, b in zip(empty.arrays(), measure(head, data, lib).arrays(), strict=True))
        assert not np.any(numpy_of(list(head.results(empty).values())))
        for found in (empty + measure(head, data, lib), measure(head, data, lib) + empty):
            assert_same(head, found, measure(head, data), data)

    @each_head
    @given(st.data())
    def test_examples_of_weight_0_are_absent(self, head, data):
        whole = data.draw(data_for(head, rows=8))
        absent = whole.weights == 0
        bad = data.draw(st.sampled_from([np.nan, np.inf, -7.0]))
        poisoned = Data(np.where(absent, bad, whole.labels), np.where(absent, bad, whole.logits), whole.weights)
        s = measure(head, poisoned)
        assert_same(head, s, measure(head, whole[~absent[:, 0]]), whole)
        assert {key: float(count) for key, count in s.invalid.items()} == {"logits": 0, "labels": 0, "weights": 0}

    @each_head
    @given(st.data())
    def test_weight_2_is_twice(self, head, data):
        whole = data.draw(data_for(head, rows=6))
        twice = together(whole, whole)
        assert_same(head, measure(head, whole.weighing(2 * whole.weights)), measure(head, twice), twice)

    @each_head
    @given(st.data())
    def test_order_does_not_matter(self, head, data):
        whole = data.draw(data_for(head, rows=8))
        order = np.asarray(data.draw(st.permutations(range(8))))
        assert_same(head, measure(head, whole[order]), measure(head, whole), whole)

    @each_head
    def test_leading_axes_do_not_matter(self, head):
        whole = random_data(head, 12)
        shaped = Data(*(a.reshape(3, 4, -1) for a in (whole.labels, whole.logits, whole.weights)))
        assert_same(head, measure(head, shaped), measure(head, whole), whole)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("batch", [1, 7, 1000])
    def test_number_of_batches_does_not_matter(self, batch, dtype):
        rng = np.random.default_rng(3)
        labels = rng.integers(0, 2, (5000, 1)).astype(dtype)
        whole = Data(labels, rng.normal(0, 3, (5000, 1)).astype(dtype), rng.random((5000, 1)).astype(dtype))
        batches = (
            (b.labels, b.logits, {"w": b.weights}) for b in (whole[i : i + batch] for i in range(0, 5000, batch))
        )
        found = RANKING.evaluate(batches)
        expected = RANKING.results(measure(RANKING, whole))
        for key, value in expected.items():
            assert float(found[key]) == pytest.approx(float(value), rel=1e-13), key

    @each_head
    def test_blocks_do_not_matter(self, head, monkeypatch):
        whole = random_data(head, 50, "float64")
        expected = measure(head, whole)
        monkeypatch.setattr(engine, "_BLOCK", 8)
        assert_same(head, measure(head, whole), expected, whole)

    def test_record_is_unchanged_by_adding(self):
        data = random_data(RANKING, 20)
        s, t = measure(RANKING, data[:9]), measure(RANKING, data[9:])
        before = [a.copy() for a in s.arrays()]
        _ = s + t
        assert all(np.array_equal(a, b) for a, b in zip(s.arrays(), before, strict=True))

    def test_other_operands(self):
        with pytest.raises(TypeError):
            _ = measure(RANKING, random_data(RANKING, 3)) + 1


@pytest.mark.parametrize(
    "other",
    [
        gh.BinaryClassHead(thresholds=[0.25, 0.5, 0.75]),
        gh.BinaryClassHead(weight_column="v", thresholds=[0.25, 0.5, 0.75]),
        gh.BinaryClassHead(weight_column="w", thresholds=[0.25]),
        gh.BinaryClassHead(weight_column="w", thresholds=[0.25, 0.5, 0.75], num_thresholds=200),
        gh.BinaryClassHead(weight_column="w", thresholds=[0.25, 0.5, 0.75], label_vocabulary=["a", "b"]),
        gh.BinaryClassHead(
            weight_column="w", thresholds=[0.25, 0.5, 0.75], loss_fn=lambda labels, logits: labels - logits
        ),
        *(HEADS[name] for name in HEADS if name != "binary"),
    ],
)
def test_differently_configured_heads_do_not_mix(other):
    s = measure(RANKING, random_data(RANKING, 3))
    for pair in ((s, other.empty()), (other.empty(), s)):
        with pytest.raises(ValueError, match="differently configured"):
            _ = pair[0] + pair[1]
    for read in (other.results, other.bounds, other.curves):
        with pytest.raises(ValueError, match="differently configured"):
            read(s)


def test_name_and_reduction_may_differ():
    other = gh.BinaryClassHead(weight_column="w", thresholds=[0.25, 0.5, 0.75], name="other", loss_reduction="sum")
    data = random_data(RANKING, 8)
    assert_same(RANKING, measure(RANKING, data[:4]) + measure(other, data[4:]), measure(RANKING, data), data)


class TestCounts:
    """Adding one example to 2**40 still counts, where the device has no float64 too."""

    def test_one_more_than_2_to_the_40(self, lib):
        head = gh.RegressionHead(weight_column="w")

        def example(weight: float) -> gh.Statistics:
            data = Data(np.ones((1, 1), "float32"), np.ones((1, 1), "float32"), np.full((1, 1), weight, "float32"))
            return measure(head, data, lib)

        s = example(2.0**40)
        for _ in range(5):
            s = s + example(1.0)
        for key in ("weight", "label", "prediction"):
            hi, lo = (lib.numpy(a) for a in s.states["means"].values[key])
            assert int(hi) + int(lo) == 2**40 + 5, key
        assert summed(example(1.0) + example(2.0**40))["means/weight"] == 2**40 + 1

    def test_more_than_2_to_the_24_batches_of_one(self, lib):
        data = Data(np.ones((1, 1), "float32"), np.ones((1, 1), "float32"), np.full((1, 1), 2.0**24, "float32"))
        one = data.weighing(np.ones((1, 1), "float32"))
        s = measure(RANKING, data, lib) + measure(RANKING, one, lib)
        found = summed(s)
        assert found["thresholds/bins"].sum() == found["means/weight"] == 2**24 + 1
        masses = lib.numpy(s.states["ranking"].slots)[2:].astype(np.float64)
        assert masses.sum() == 2**24 + 1


# ---------------------------------------------------------------------------------------------------------------------
# Between libraries


class TestForms:
    def test_sums_of_records_of_different_forms_lose_nothing(self):
        head, logit = gh.RegressionHead(), np.zeros((1, 1))
        records = [
            head.statistics(np.asarray([label]), logit, None, losses)
            for label, losses in ((1e16, [1.0]), (1.0, None), (-1e16, None))
        ]
        assert float(head.results(records[0] + records[1] + records[2])["label/mean"]) == pytest.approx(1 / 3)

    def test_an_area_of_one_s_own(self):
        head = gh.BinaryClassHead()
        record = head.statistics(np.asarray([1, 0, 1]), np.asarray([[2.0], [0.5], [-1.0]]))
        part = record.states["ranking"]
        expected = average_precision_score([1, 0, 1], [2.0, 0.5, -1.0])
        assert float(part.area(average_precision_area)[1]) == pytest.approx(expected)

    def test_counts_of_what_is_invalid_are_the_reader_s(self):
        record = gh.RegressionHead().statistics(np.asarray([1.0]), np.asarray([[math.nan]]))
        record.invalid.clear()
        assert float(record.invalid["logits"]) == 1


class TestMass:
    """Sums of weights and of labels are no less exact where there are histograms."""

    @pytest.mark.parametrize("num_thresholds", [None, 200])
    def test_many_equal_weights(self, num_thresholds):
        n = 131_072
        head = gh.BinaryClassHead(weight_column="w", thresholds=[0.5], num_thresholds=num_thresholds)
        logits, labels = np.linspace(-3, 3, n)[:, None], np.full((n, 1), 0.7)
        for weight in (1.0, 0.1):
            means = head.statistics(labels, logits, {"w": np.full((n, 1), weight)}).states["means"]
            assert float(means["weight"]) == pytest.approx(n * weight, rel=1e-15)
            assert float(means["label"]) == pytest.approx(n * weight * 0.7, rel=1e-15)

    def test_labels_of_any_size(self):
        measures = (*mean_metrics(), *threshold_metrics((0.5,)))
        head = gh.FamilyHead(family=gh.families.POISSON, metrics=measures)
        means = head.statistics(np.asarray([1e17, 3.0, 0.0]), np.zeros((3, 1))).states["means"]
        assert float(means["weight"]) == 3


class TestHistograms:
    """Those of several binned statistics, which are marginals of a joint one where examples are many."""

    @pytest.mark.parametrize("rows", [5, 200])
    def test_are_those_of_each_alone(self, lib, rows):
        rng = np.random.default_rng(0)
        logits = rng.normal(0, 3, (rows, 1))
        weights = rng.integers(0, 5, (rows, 1)).astype(np.float64)  # sums in any order are exact
        thresholds = (0.2, 0.5, 0.8)
        column = "w" if rows == 200 else None
        both = gh.BinaryClassHead(weight_column=column, thresholds=thresholds, num_thresholds=9)
        one = gh.BinaryClassHead(weight_column=column, thresholds=thresholds)
        other = gh.BinaryClassHead(weight_column=column, num_thresholds=9)
        for labels in (rng.integers(0, 2, (rows, 1)), rng.integers(0, 5, (rows, 1)) / 4):
            arrays = [lib.array(a, "float32") for a in (labels, logits, weights)]
            parts = [head.statistics(*arrays[:2], {"w": arrays[2]}).states for head in (both, one, other)]
            for name, key, alone in (("thresholds", "bins", parts[1]), ("buckets", "bins", parts[2])):
                together, expected = (lib.numpy(each[name][key]) for each in (parts[0], alone))
                assert together.sum() == (weights.sum() if column else rows)
                np.testing.assert_array_equal(together, expected)


class TestLibraries:
    def test_left_library_wins(self, lib):
        if lib.is_lazy:
            pytest.skip("a lazy record wins from either side")
        data = random_data(RANKING, 2 * PART)
        here, there = measure(RANKING, data[:PART], lib), measure(RANKING, data[PART:])
        for found, backend in ((here + there, lib.backend), (there + here, backends.named("numpy"))):
            assert {backends.of(a).name for a in found.arrays()} == {backend.name}
            assert_same(RANKING, found, measure(RANKING, data), data)

    def test_lazy_dask_wins(self, library):
        dask = library("dask")
        data = random_data(RANKING, 2 * PART)
        for name in ("numpy", "torch"):
            here, there = measure(RANKING, data[:PART], dask), measure(RANKING, data[PART:], library(name))
            for found in (here + there, there + here):
                assert {backends.of(a).name for a in found.arrays()} == {"dask"}
                assert_same(RANKING, found, measure(RANKING, data), data)

    def test_traced_wins(self, library):
        jax = pytest.importorskip("jax")
        lib = library("jax")
        data = random_data(RANKING, 2 * PART)
        seen = measure(RANKING, data[:PART])

        @jax.jit
        def add(labels, logits, weights):
            return seen + RANKING.statistics(labels, logits, {"w": weights})

        found = add(*(lib.array(a) for a in (data[PART:].labels, data[PART:].logits, data[PART:].weights)))
        assert {backends.of(a).name for a in found.arrays()} == {"jax"}
        assert_same(RANKING, found, measure(RANKING, data), data)

    def test_to_and_back(self, lib):
        data = random_data(RANKING, PART)
        s = measure(RANKING, data)
        for target in (lib.backend.name if lib.name != "array_api_strict" else "array_api_strict", lib.xp):
            there = s.to(target)
            assert {backends.of(a).name for a in there.arrays()} == {lib.backend.name}
            assert_same(RANKING, there, s, data)
            assert_same(RANKING, there.to("numpy"), s, data)
        if lib.has_float64:
            assert_same_bits(s.to(lib.xp).to(np), s)

    @pytest.mark.parametrize("target", ["cpu", "device"])
    def test_to_device(self, library, target):
        torch = pytest.importorskip("torch")
        s = measure(RANKING, random_data(RANKING, PART), library("torch"))
        assert_same_bits(s.to("cpu" if target == "cpu" else torch.device("cpu")), s)
        assert_same_bits(s.to("numpy").to("torch", "cpu"), s)

    @pytest.mark.parametrize("target", ["no_such_library", "no such device:7", 3.5])
    def test_to_nowhere(self, target):
        with pytest.raises(ValueError, match="neither an installed array library nor a device"):
            measure(RANKING, random_data(RANKING, 3)).to(target)
        with pytest.raises(ValueError, match=r"no array library|not an array library"):
            measure(RANKING, random_data(RANKING, 3)).to(target, "cpu")

    def test_empty_to_anywhere(self, lib):
        assert not RANKING.empty().to(lib.xp).states

    @given(st.lists(st.floats(1e-3, 1e12), min_size=1, max_size=20))
    def test_pairs_keep_47_bits(self, weights):
        pytest.importorskip("jax")
        n = len(weights)
        data = Data(np.ones((n, 1)), np.zeros((n, 1)), np.asarray(weights)[:, None])
        s = measure(HEADS["logistic"], data)
        there = s.to("jax")
        assert {str(a.dtype) for a in there.arrays()} == {"float32"}
        back = there.to("numpy")
        for key, value in summed(s).items():
            np.testing.assert_allclose(summed(back)[key], value, rtol=2.0**-47, atol=0)
        assert_same_bits(back.to("jax"), there)

    @settings(max_examples=50)
    @given(st.data())
    def test_narrowed_bounds_hold(self, data):
        """Scores that float64 tells apart and float32 does not stay in the intervals that are kept of them."""
        pytest.importorskip("jax")
        near = st.builds(
            lambda base, k: base + k * 1e-12 * abs(base),
            st.sampled_from([0.0, 1.0, -3.0, 1e39, -1e39, 1e-46, 1e-39, 88.0]),
            st.integers(-3, 3),
        )
        n = data.draw(st.integers(1, 12))
        logits = np.asarray(data.draw(st.lists(near | st.sampled_from([np.inf, -np.inf]), min_size=n, max_size=n)))
        labels = np.asarray(data.draw(st.lists(st.sampled_from([0.0, 1.0, 0.5]), min_size=n, max_size=n)))
        whole = Data(labels[:, None], logits[:, None], np.ones((n, 1)))
        lower, upper = bounds_of(RANKING, measure(RANKING, whole).to("jax").to("numpy"))["auc"]
        assert lower <= exact_auc(whole) <= upper


# ---------------------------------------------------------------------------------------------------------------------
# Saving


def saved(statistics: gh.Statistics) -> bytes:
    file = io.BytesIO()
    statistics.save(file)
    return file.getvalue()


@pytest.fixture(scope="module")
def record() -> gh.Statistics:
    return measure(RANKING, random_data(RANKING, 5))


class TestFiles:
    @each_kind
    def test_round_trip(self, lib, head, tmp_path):
        s = measure(head, random_data(head, PART), lib)
        s.save(tmp_path / "record.npz")
        found = gh.Statistics.load(tmp_path / "record.npz")
        assert {type(a) for a in found.arrays()} == {np.ndarray}
        assert_same_bits(found, s)
        assert_same_bits(found.to(lib.xp), s)

    def test_paths_and_files(self, record, tmp_path):
        record.save(str(tmp_path / "a"))
        assert_same_bits(gh.Statistics.load(str(tmp_path / "a.npz")), record)
        with open(tmp_path / "b", "wb") as file:
            record.save(file)
        with open(tmp_path / "b", "rb") as file:
            assert_same_bits(gh.Statistics.load(file), record)

    def test_empty_record(self):
        assert_same_bits(gh.Statistics.load(io.BytesIO(saved(RANKING.empty()))), RANKING.empty())

    def test_regularization_is_kept(self):
        head = gh.RegressionHead()
        s = head.statistics(np.ones((2, 1)), np.ones((2, 1)), regularization_losses=[0.5, 1.0])
        found = gh.Statistics.load(io.BytesIO(saved(s)))
        assert float(head.results(found)["regularization_loss"]) == 1.5

    @pytest.mark.parametrize("cut", [1, 3])
    def test_interrupted_evaluation(self, lib, cut, tmp_path):
        data = random_data(RANKING, 4 * PART)
        batches = [data[i : i + PART] for i in range(0, 4 * PART, PART)]
        expected = RANKING.empty()
        for batch in batches:
            expected = expected + measure(RANKING, batch, lib)
        seen = RANKING.empty()
        for batch in batches[:cut]:
            seen = seen + measure(RANKING, batch, lib)
        seen.save(tmp_path / "seen.npz")
        found = gh.Statistics.load(tmp_path / "seen.npz").to(lib.xp)
        for batch in batches[cut:]:
            found = found + measure(RANKING, batch, lib)
        assert_same_bits(found, expected)

    def test_a_loaded_record_adds_to_any(self, lib):
        data = random_data(RANKING, 2 * PART)
        loaded = gh.Statistics.load(io.BytesIO(saved(measure(RANKING, data[:PART], lib))))
        more = measure(RANKING, data[PART:])
        for found in (loaded + more, more + loaded):
            assert_same(RANKING, found, measure(RANKING, data), data)
        if not lib.is_lazy:
            assert_same(RANKING, measure(RANKING, data[PART:], lib) + loaded, measure(RANKING, data), data)

    def refuse(self, content: bytes, path: Any) -> None:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=path.name):
            gh.Statistics.load(path)

    def test_truncated(self, record, tmp_path):
        content = saved(record)
        for length in {*range(0, len(content), 97), *range(64), *range(len(content) - 64, len(content))}:
            self.refuse(content[:length], tmp_path / "truncated.npz")

    @given(st.binary(max_size=400))
    def test_random_bytes(self, tmp_path, content):
        self.refuse(content, tmp_path / "random.npz")
        self.refuse(b"PK\x03\x04" + content, tmp_path / "random.npz")
        self.refuse(b"\x93NUMPY" + content, tmp_path / "random.npz")

    def test_foreign(self, tmp_path):
        path = tmp_path / "foreign.npz"
        self.refuse(b"", path)
        self.refuse(b"label,logit\n1,0.5\n", path)
        self.refuse("π".encode("utf-16"), path)
        npy = io.BytesIO()
        np.save(npy, np.arange(3.0))
        self.refuse(npy.getvalue(), path)
        headers = (None, "", "not json", "[]", "3", '{"format": "other", "version": 1, "structure": []}')
        for header in headers:
            npz = io.BytesIO()
            np.savez(npz, array_0=np.arange(3.0), **({} if header is None else {"header": header, "digest": "0"}))
            self.refuse(npz.getvalue(), path)

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            gh.Statistics.load(tmp_path / "missing.npz")

    @settings(max_examples=300)
    @given(st.data())
    def test_flipped_bits(self, record, tmp_path, data):
        """A file in which bits are flipped is refused, unless it still says the same."""
        content = bytearray(saved(record))
        index = data.draw(st.integers(0, len(content) - 1))
        content[index] ^= data.draw(st.integers(1, 255))
        path = tmp_path / "flipped.npz"
        path.write_bytes(bytes(content))
        try:
            assert_same_bits(gh.Statistics.load(path), record)
        except ValueError as error:
            message = str(error)
        else:
            return
        assert path.name in message

    def tampered(self, record: gh.Statistics, change: Any) -> bytes:
        with np.load(io.BytesIO(saved(record))) as content:
            entries = {name: content[name] for name in content.files}
        change(entries)
        file = io.BytesIO()
        np.savez(file, **entries)
        return file.getvalue()

    def test_tampered(self, record, tmp_path):
        def other_head(entries):
            entries["header"] = np.asarray(str(entries["header"]).replace('\\"w\\"', '\\"v\\"'))

        def other_value(entries):
            entries["array_1"] = entries["array_1"] + 1

        def other_dtype(entries):
            entries["array_1"] = entries["array_1"].astype(np.float32)

        def one_less(entries):
            del entries["array_1"]

        def one_more(entries):
            entries[f"array_{len(entries) - 2}"] = np.zeros(3)

        def objects(entries):
            entries["array_1"] = np.asarray({"a": 1}, dtype=object)

        for change in (other_head, other_value, other_dtype, one_less, one_more, objects):
            self.refuse(self.tampered(record, change), tmp_path / "tampered.npz")

    def test_later_version(self, record, tmp_path):
        def later(entries):
            fields = json.loads(str(entries["header"]))
            entries["header"] = np.asarray(json.dumps({**fields, "version": fields["version"] + 1}))

        path = tmp_path / "later.npz"
        path.write_bytes(self.tampered(record, later))
        with pytest.raises(ValueError, match=r"later\.npz has version 4"):
            gh.Statistics.load(path)


# ---------------------------------------------------------------------------------------------------------------------
# Under the transformations of JAX and PyTorch, and on lazy arrays


class TestJax:
    @pytest.fixture
    def jax(self, monkeypatch) -> Any:
        """JAX, with a summary so small that a few batches fill it."""
        monkeypatch.setattr(ranking, "CAPACITY", 16)
        monkeypatch.setattr(ranking, "TARGET", 8)
        return pytest.importorskip("jax")

    @pytest.fixture
    def data(self) -> Data:
        return random_data(RANKING, 2 * PART)

    def arrays(self, jax: Any, data: Data) -> tuple[Any, ...]:
        return tuple(jax.numpy.asarray(a) for a in (data.labels, data.logits, data.weights))

    @staticmethod
    def statistics(labels: Any, logits: Any, weights: Any) -> gh.Statistics:
        return RANKING.statistics(labels, logits, {"w": weights})

    def test_jit(self, jax, data):
        found = jax.jit(self.statistics)(*self.arrays(jax, data))
        assert isinstance(found, gh.Statistics)
        assert_same(RANKING, found, measure(RANKING, data), data)

    def test_jit_of_adding_and_reading(self, jax, data):
        one, other = (self.statistics(*self.arrays(jax, d)) for d in (data[:PART], data[PART:]))
        found = jax.jit(lambda a, b: RANKING.results(a + b))(one, other)
        for key, value in RANKING.results(measure(RANKING, data)).items():
            assert float(found[key]) == pytest.approx(float(value), abs=1e-5), key

    def test_vmap(self, jax, data):
        batches = tuple(a.reshape(2, PART, 1) for a in self.arrays(jax, data))
        found = jax.vmap(self.statistics)(*batches)
        parts = [jax.tree.map(lambda a, i=i: a[i], found) for i in range(2)]
        for part, rows in zip(parts, (data[:PART], data[PART:]), strict=True):
            assert_same(RANKING, part, measure(RANKING, rows), rows)
        assert_same(RANKING, parts[0] + parts[1], measure(RANKING, data), data)

    def test_scan(self, jax):
        data = random_data(RANKING, 8 * PART)
        batches = tuple(a.reshape(8, PART, 1) for a in self.arrays(jax, data))

        def step(seen, batch):
            return seen + self.statistics(*batch), None

        found, _ = jax.lax.scan(step, RANKING.empty(like=batches[1]), batches)
        assert_same(RANKING, found, measure(RANKING, data), data)
        lower, upper = bounds_of(RANKING, found)["auc"]
        assert lower <= exact_auc(data) <= upper

    def test_tree(self, jax, data):
        s = self.statistics(*self.arrays(jax, data))
        leaves, form = jax.tree.flatten(s)
        assert len(leaves) == len(s.arrays())
        assert_same_bits(jax.tree.unflatten(form, leaves), s)
        assert_same_bits(jax.tree.map(lambda a: a, s), s)

    def test_constants_of_a_traced_function(self, jax, data):
        """Data that a compiled function closes over are at hand, and what is computed of them is not."""
        labels, logits, weights = self.arrays(jax, data)
        found = jax.jit(lambda x: RANKING.loss(labels, x, {"w": weights}))(logits)
        assert float(found) == pytest.approx(
            float(RANKING.loss(data.labels, data.logits, {"w": data.weights})), rel=1e-6
        )
        assert_same(
            RANKING, jax.jit(lambda x: self.statistics(labels, x, weights))(logits), measure(RANKING, data), data
        )
        assert np.isnan(float(jax.jit(lambda x: RANKING.loss(labels - 5, x, {"w": weights}))(logits)))

    def test_gradient_passes_through(self, jax, data):
        labels, logits, weights = self.arrays(jax, data)
        mean = jax.jit(jax.grad(lambda x: RANKING.results(self.statistics(labels, x, weights))["average_loss"]))(logits)
        expected = data.weights * (expit(data.logits) - data.labels) / data.weights.sum()
        np.testing.assert_allclose(np.asarray(mean), expected, atol=1e-6)

    @pytest.mark.parametrize("num_thresholds", [None, 20])
    def test_a_record_that_a_compiled_function_has_read(self, library, num_thresholds):
        """Nothing of the trace stays with it."""
        jax = pytest.importorskip("jax")
        head = gh.BinaryClassHead(num_thresholds=num_thresholds, thresholds=[0.3])
        z, x = (library("jax").array(a, "float32") for a in ([1, 0, 1], [[2.0], [0.5], [-1.0]]))
        fresh, read = head.statistics(z, x), head.statistics(z, x)
        expected = head.results(read)
        for record in (fresh, read):
            compiled = jax.jit(lambda record=record: head.results(record))()
            for key, value in head.results(record).items():
                assert float(value) == float(expected[key]) == pytest.approx(float(compiled[key]), rel=1e-6), key

        @jax.jit
        def nested(record):
            inner = jax.jit(lambda x: head.results(record)["auc"] * x)(1.0)
            return inner + head.results(record)["auc"]

        assert float(nested(fresh)) == pytest.approx(2 * float(expected["auc"]))


class TestTorch:
    @pytest.fixture
    def torch(self) -> Iterator[Any]:
        torch = pytest.importorskip("torch")
        torch._dynamo.reset()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, while it compiles
            yield torch

    def arrays(self, torch: Any, head: gh.Head, seed: int = 0) -> tuple[Any, ...]:
        data = random_data(head, 2 * PART, seed=seed)
        return tuple(torch.asarray(a) for a in (data.labels, data.logits, data.weights))

    @each_head
    @pytest.mark.parametrize("method", ["loss", "gradient", "hessian"])
    def test_compile(self, torch, head, method):
        def function(labels, logits, weights):
            return getattr(head, method)(labels, logits, {"w": weights})

        compiled = torch.compile(function, fullgraph=True, backend="eager")
        for seed in range(2):
            arrays = self.arrays(torch, head, seed)
            torch.testing.assert_close(compiled(*arrays), function(*arrays))

    @each_head
    def test_compile_statistics(self, torch, head):
        def function(labels, logits, weights):
            return head.statistics(labels, logits, {"w": weights}).arrays()

        compiled = torch.compile(function, fullgraph=True, backend="eager")
        for seed in range(2):
            arrays = self.arrays(torch, head, seed)
            torch.testing.assert_close(compiled(*arrays), function(*arrays))

    @each_head
    def test_func_grad(self, torch, head):
        labels, logits, weights = self.arrays(torch, head)
        found = torch.func.grad(lambda x: head.loss(labels, x, {"w": weights}))(logits)
        torch.testing.assert_close(found, head.gradient(labels, logits, {"w": weights}))

    @each_head
    def test_func_vmap(self, torch, head):
        labels, logits, weights = (a.reshape(2, PART, -1) for a in self.arrays(torch, head))
        found = torch.func.vmap(lambda z, x, w: head.loss(z, x, {"w": w}))(labels, logits, weights)
        expected = [head.loss(labels[i], logits[i], {"w": weights[i]}) for i in range(2)]
        torch.testing.assert_close(found, torch.stack(expected))


class TestDask:
    @pytest.fixture
    def dask(self) -> Any:
        return pytest.importorskip("dask")

    @each_head
    def test_nothing_is_computed_before_it_is_asked_for(self, dask, head):
        da = pytest.importorskip("dask.array")

        def refuse(*args, **kwargs):
            raise AssertionError("computed")

        data = random_data(head, 10)
        labels, logits, weights = (da.from_array(a, chunks=(4, -1)) for a in (data.labels, data.logits, data.weights))
        features = {"w": weights}
        with dask.config.set(scheduler=refuse):
            loss = head.loss(labels, logits, features)
            lazy = [loss, head.gradient(labels, logits, features), head.hessian(labels, logits, features)]
            predictions = head.predictions(logits)
            lazy += [predictions[key] for key in predictions if "classes" not in key]
            s = head.statistics(labels, logits, features) + head.statistics(labels, logits, features)
            s = head.empty() + s + head.empty(like=logits)
            results, bounds = head.results(s), head.bounds(s)
            curves = [a for curve in head.curves(s).values() for a in curve.values()]
            seen = head.update_metrics(head.metrics(), features, logits, labels)
            lazy += [*results.values(), *bounds.values(), *curves, *(m.result() for m in seen.values()), *s.arrays()]
            assert {type(a) for a in lazy} == {da.Array}
            with pytest.raises(AssertionError, match="computed"):
                loss.compute()
        twice = data.weighing(2 * data.weights)
        assert_same(head, s, measure(head, twice), twice)
        assert float(loss) == pytest.approx(float(head.loss(data.labels, data.logits, {"w": data.weights})), rel=1e-6)

    @each_head
    @given(st.data())
    @settings(max_examples=5)
    def test_chunks_do_not_matter(self, dask, head, data):
        da = pytest.importorskip("dask.array")
        whole = random_data(head, 10)
        cuts = [data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)) for _ in range(3)]
        parts = [
            da.from_array(a, chunks=((*cut, 10 - sum(cut)) if sum(cut) < 10 else (10,), (a.shape[1],)))
            for a, cut in zip((whole.labels, whole.logits, whole.weights), cuts, strict=True)
        ]
        found = head.statistics(parts[0], parts[1], {"w": parts[2]})
        assert_same(head, found, measure(head, whole), whole)

    def test_lengths_that_are_not_known(self, dask):
        da = pytest.importorskip("dask.array")
        data = random_data(RANKING, 10)
        keep = data.weights[:, 0] > 0
        labels, logits, weights = (da.from_array(a, chunks=(4, -1)) for a in (data.labels, data.logits, data.weights))
        keep_lazily = weights[:, 0] > 0
        kept = [a[keep_lazily] for a in (labels, logits, weights)]
        with pytest.raises(ValueError, match="shape"):
            RANKING.statistics(kept[0], kept[1], {"w": kept[2]})
        known = [a.compute_chunk_sizes() for a in kept]
        found = RANKING.statistics(known[0], known[1], {"w": known[2]})
        assert_same(RANKING, found, measure(RANKING, data[keep]), data)

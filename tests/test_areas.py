"""Areas under the curves: exact ones against scikit-learn and fractions, and bounds that hold whatever comes."""

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

import glmheads as gh
from glmheads import backends, engine
from glmheads.kernels import ranking
from glmheads.kernels.curves import precision_recall_area, weights_by_score
from glmheads.kernels.reductions import Pair
from glmheads.statistics import states

HEAD = gh.BinaryClassHead(weight_column="w")
ROWS = 6
"""Rows of a batch where every new shape costs a compilation."""


def measure(labels: Any, logits: Any, weights: Any, lib: Any = None, head: gh.Head = HEAD) -> gh.Statistics:
    arrays = (np.asarray(a)[:, None] for a in (labels, logits, weights))
    labels, logits, weights = arrays if lib is None else (lib.array(a) for a in arrays)
    with np.errstate(over="ignore"):  # of losses
        return head.statistics(labels, logits, {"w": weights})


def uncompressed(head: gh.FamilyHead, labels: Any, logits: Any, weights: Any) -> gh.Statistics:
    """A record that may hold more than the bound on its memory."""
    return engine.run(head.measurement, head.examples(labels, logits, {"w": weights}))[0]


def read(statistics: gh.Statistics, head: gh.Head = HEAD) -> dict[str, tuple[float, float, float]]:
    """Lower bound, value and upper bound of both areas."""
    keys = ("auc", "auc_precision_recall")
    results, bounds = (numbers({key: read(statistics)[key] for key in keys}) for read in (head.results, head.bounds))
    return {key: (float(bounds[key][0]), float(results[key]), float(bounds[key][1])) for key in keys}


def numbers(arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays in NumPy, computed together where they are lazy."""
    if any(backends.of(a).name == "dask" for a in arrays.values()):
        import dask

        (arrays,) = dask.compute(arrays)
    return {key: backends.of(a).to_numpy(a) for key, a in arrays.items()}


# ---------------------------------------------------------------------------------------------------------------------
# The truth


def by_score(
    labels: Sequence[float], logits: Sequence[float], weights: Sequence[float]
) -> list[tuple[Fraction, Fraction]]:
    """Exact masses of positives and negatives by descending score."""
    masses: dict[float, list[Fraction]] = {}
    for z, x, w in zip(labels, logits, weights, strict=True):
        if w > 0:
            pair = masses.setdefault(float(x), [Fraction(0), Fraction(0)])  # -0.0 and 0.0 are one key
            pair[0] += Fraction(float(w)) * Fraction(float(z))
            pair[1] += Fraction(float(w)) * (1 - Fraction(float(z)))
    return [tuple(masses[x]) for x in sorted(masses, reverse=True)]  # type: ignore[misc]


def exact_areas(labels: Any, logits: Any, weights: Any) -> dict[str, Fraction]:
    """Both areas: ROC as a fraction, Davis and Goadrich's by a logarithm of 800 digits for each tie."""
    masses = by_score(labels, logits, weights)
    positives, negatives = sum(p for p, _ in masses), sum(n for _, n in masses)
    roc, pr = Fraction(0), Fraction(0)
    tp, fp = Fraction(0), Fraction(0)
    with mpmath.workdps(800):
        for p, n in masses:
            roc += p * (negatives - fp - n / 2)
            if p:
                # Along the tie TP runs from tp to tp + p and FP = a + b TP with it; TP / (TP + FP) is integrated by TP.
                b = n / p
                a = fp - b * tp
                start, end = tp + fp, tp + fp + p + n
                log = Fraction(0)
                if start and a:
                    ratio = end / start
                    exact = mpmath.log(mpmath.mpf(ratio.numerator) / ratio.denominator)
                    log = Fraction(int(mpmath.ldexp(exact, 2600)), 2**2600) * a / (1 + b)
                pr += (p - log) / (1 + b)
            tp, fp = tp + p, fp + n
    return {
        "auc": Fraction(roc, positives * negatives) if positives and negatives else Fraction(0),
        "auc_precision_recall": Fraction(pr, positives) if positives else Fraction(0),
    }


def integrated(labels: Any, logits: Any, weights: Any) -> float:
    """Davis and Goadrich's area by numerical integration of the precision along their interpolated points."""
    tp = fp = area = 0.0
    masses = [(float(p), float(n)) for p, n in by_score(labels, logits, weights)]
    for p, n in masses:
        if p:

            def precision(t: float, tp: float = tp, fp: float = fp, p: float = p, n: float = n) -> float:
                false = fp + n * (t - tp) / p
                return t / (t + false) if t else p / (p + n)

            area += quad(precision, tp, tp + p, epsabs=1e-13, epsrel=1e-13, limit=200)[0]
        tp, fp = tp + p, fp + n
    return area / tp


def areas_of_stream(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """Both areas of hard labels in float64: by the rank sum, and by Gauss's quadrature along every tie."""
    positives, negatives = labels.sum(), (1 - labels).sum()
    rank_sum = rankdata(logits)[labels == 1].sum()
    _, inverse = np.unique(-logits, return_inverse=True)
    p, n = np.bincount(inverse, labels), np.bincount(inverse, 1 - labels)
    tp, fp = np.cumsum(p) - p, np.cumsum(n) - n
    p, n, tp, fp = (a[p > 0] for a in (p, n, tp, fp))
    nodes, shares = np.polynomial.legendre.leggauss(24)
    pr = 0.0
    for node, share in zip((nodes + 1) / 2, shares / 2, strict=True):
        pr += share * (p * (tp + node * p) / (tp + node * p + fp + node * n)).sum()
    return {
        "auc": (rank_sum - positives * (positives + 1) / 2) / (positives * negatives),
        "auc_precision_recall": pr / positives,
    }


def keras_areas(labels: Any, logits: Any, weights: Any, count: int) -> dict[str, float]:
    """Keras's areas by the formulas of tf.keras.metrics.AUC, a label in (0, 1) being that much of a positive."""
    p = np.asarray(expit(np.asarray(logits, np.float32)), np.float32)
    bucket = np.maximum(np.ceil(p * np.float32(count - 1)) - 1, 0).astype(int)
    at = bucket >= np.arange(count)[:, None] - 0  # positive at threshold i
    at[-1] = False
    w, z = np.asarray(weights, np.float64), np.asarray(labels, np.float64)
    tp, fp = (at * w * z).sum(1), (at * w * (1 - z)).sum(1)
    positives, negatives = (w * z).sum(), (w * (1 - z)).sum()
    tpr = tp / positives if positives else 0 * tp
    fpr = fp / negatives if negatives else 0 * fp
    roc = ((fpr[:-1] - fpr[1:]) * (tpr[:-1] + tpr[1:]) / 2).sum()
    pr = 0.0
    for i in range(count - 1):
        d_tp, d_p = tp[i] - tp[i + 1], tp[i] + fp[i] - tp[i + 1] - fp[i + 1]
        slope = d_tp / d_p if d_p else 0.0
        intercept = tp[i + 1] - slope * (tp[i + 1] + fp[i + 1])
        start, end = tp[i] + fp[i], tp[i + 1] + fp[i + 1]
        log = math.log(start / end) if start and end else 0.0
        pr += slope * (d_tp + intercept * log) / positives if positives else 0.0
    return {"auc": float(roc), "auc_precision_recall": float(pr)}


# ---------------------------------------------------------------------------------------------------------------------
# Data

TIED = st.integers(-3, 3).map(float)
ADVERSARIAL = st.one_of(
    TIED,
    st.sampled_from(
        [0.0, -0.0, math.inf, -math.inf, 5e-324, -5e-324, 2.3e-308, 1.8e308 / 1.1, -1e300, 1.0, 1.0 + 2**-52]
    ),
    st.floats(allow_nan=False),
)
LABELS = st.sampled_from([0.0, 1.0, 0.0, 1.0, 0.25, 0.5, 0.75])
HARD = st.sampled_from([0.0, 1.0])
WEIGHTS = st.sampled_from([0.0, 1.0, 1.0, 2.0, 0.5, 2.0**-20, 2.0**20, 3.0])
RUGGED = st.one_of(WEIGHTS, st.floats(1e-120, 1e120))


@st.composite
def data_sets(draw: Any, rows: Any, scores: Any = ADVERSARIAL, labels: Any = LABELS, weights: Any = WEIGHTS) -> Any:
    """Lists of labels, logits and weights of one length."""
    count = rows if isinstance(rows, int) else draw(rows)
    return tuple(draw(st.lists(each, min_size=count, max_size=count)) for each in (labels, scores, weights))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A summary so small that a handful of examples fills it."""
    monkeypatch.setattr(ranking, "CAPACITY", 16)
    monkeypatch.setattr(ranking, "TARGET", 8)


def assert_holds(found: dict[str, tuple[float, float, float]], exact: dict[str, Any], slack: float = 0.0) -> None:
    for key, (lower, value, upper) in found.items():
        assert 0 <= lower <= value <= upper <= 1, key
        assert lower - slack <= exact[key] <= upper + slack, (key, lower, float(exact[key]), upper)


class TestTruth:
    """The references above agree with each other."""

    @settings(max_examples=25)
    @given(data_sets(st.integers(1, 12), TIED, LABELS, st.sampled_from([1.0, 2.0, 0.5, 0.125])))
    def test_references(self, data):
        labels, logits, weights = data
        exact = exact_areas(labels, logits, weights)
        if any(z > 0 for z in labels):
            assert float(exact["auc_precision_recall"]) == pytest.approx(integrated(*data), abs=1e-10)
        hard = [float(z > 0.4) for z in labels]
        if 0 < sum(hard) < len(hard):
            ones = [1.0] * len(hard)
            stream = areas_of_stream(np.asarray(hard), np.asarray(logits))
            for key, value in exact_areas(hard, logits, ones).items():
                assert float(value) == pytest.approx(stream[key], abs=1e-9)
            assert stream["auc"] == pytest.approx(roc_auc_score(hard, logits), abs=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# Exact areas of arrays


class TestKernels:
    @pytest.mark.parametrize(
        ("kernel", "reference"),
        [(gh.kernels.roc_auc, roc_auc_score), (gh.kernels.average_precision, average_precision_score)],
        ids=["roc_auc", "average_precision"],
    )
    @given(st.data())
    def test_scikit_learn(self, kernel, reference, data):
        labels, scores, weights = data.draw(data_sets(st.integers(2, 40), TIED | st.floats(-1e6, 1e6), HARD))
        labels[:2], weights[:2] = [0.0, 1.0], [1.0, 0.5]
        expected = reference(labels, scores, sample_weight=weights)
        assert float(kernel(*(np.asarray(a) for a in (labels, scores, weights)))) == pytest.approx(expected, abs=1e-12)

    @settings(max_examples=4)
    @given(st.data())
    def test_every_library(self, lib, data):
        labels, scores, weights = data.draw(data_sets(2 * ROWS, TIED, HARD, st.floats(0.125, 100)))
        labels[:2] = [0.0, 1.0]
        arrays = [lib.array(np.asarray(a)) for a in (labels, scores, weights)]
        for kernel, reference in (
            (gh.kernels.roc_auc, roc_auc_score),
            (gh.kernels.average_precision, average_precision_score),
        ):
            found = kernel(*arrays)
            assert backends.of(found) is lib.backend
            expected = reference(labels, scores, sample_weight=weights)
            assert float(found) == pytest.approx(expected, abs=1e-12 if lib.has_float64 else 1e-5)
            unweighted = reference(labels, scores)
            assert float(kernel(*arrays[:2])) == pytest.approx(unweighted, abs=1e-12 if lib.has_float64 else 1e-5)

    def test_many_scores_in_float32(self, lib):
        """Sums of many float32 shares lose nothing that the bounds don't allow."""
        if lib.name == "array_api_strict":
            pytest.skip("slow")
        rng = np.random.default_rng(5)
        labels = rng.integers(0, 2, 20_000).astype(np.float32)
        scores = (labels + rng.normal(0, 0.3, 20_000)).astype(np.float32)
        tolerance = 1e-12 if lib.has_float64 else 1e-5
        found = gh.kernels.roc_auc(lib.array(labels), lib.array(scores))
        assert float(found) == pytest.approx(roc_auc_score(labels, scores), abs=tolerance)

    @given(data_sets(st.integers(0, 15), labels=LABELS, weights=RUGGED))
    def test_soft_labels(self, data):
        found = gh.kernels.roc_auc(*(np.asarray(a) for a in data))
        assert float(found) == pytest.approx(float(exact_areas(*data)["auc"]), abs=1e-12)

    def test_any_nan_is_the_highest(self):
        for bits in (0x7FC00000, 0xFFC00000):  # the second is what inf * 0 is on many machines
            scores = np.asarray([0, 1, 2, 3], np.float32)
            scores.view(np.uint32)[0] = bits
            found = gh.kernels.roc_auc(np.asarray([1.0, 0, 1, 0], np.float32), scores)
            assert float(found) == 0.75

    def test_scores_beyond_float64(self):
        scores = 2**60 + np.asarray([3, 2, 1, 0])
        assert float(gh.kernels.roc_auc(np.asarray([0.0, 1, 0, 1]), scores)) == 0.25

    def test_nothing_to_rank(self, lib):
        for kernel in (gh.kernels.roc_auc, gh.kernels.average_precision):
            assert float(kernel(lib.array(np.zeros(0)), lib.array(np.zeros(0)))) == 0
            assert float(kernel(lib.array(np.zeros(3)), lib.array(np.arange(3.0)))) == 0

    def test_shapes(self, lib):
        column = lib.array(np.ones((3, 1)))
        for kernel in (gh.kernels.roc_auc, gh.kernels.average_precision):
            with pytest.raises(ValueError, match=r"one shape \(n,\)"):
                kernel(column, column)
            with pytest.raises(ValueError, match="weights and scores"):
                kernel(lib.array(np.ones(3)), lib.array(np.ones(3)), lib.array(np.ones(4)))


class TestPrecisionRecall:
    """Davis and Goadrich's interpolation."""

    @staticmethod
    def area(labels: Any, scores: Any, weights: Any) -> float:
        z, x, w = (np.asarray(a) for a in (labels, scores, weights))
        pairs = (Pair(mass, np.zeros_like(mass)) for mass in (w * z, w * (1 - z)))
        return float(precision_recall_area(weights_by_score(x, *pairs)))

    @given(data_sets(st.integers(1, 20), weights=st.sampled_from([1.0, 2.0, 0.5, 0.125])))
    def test_integral(self, data):
        if any(data[0]):
            assert self.area(*data) == pytest.approx(integrated(*data), abs=1e-9)

    @given(data_sets(st.integers(1, 20), weights=RUGGED))
    def test_exact(self, data):
        assert self.area(*data) == pytest.approx(float(exact_areas(*data)["auc_precision_recall"]), abs=1e-12)

    @pytest.mark.parametrize("unit", [2.0**-1074, 2.0**1000])
    def test_does_not_depend_on_the_unit_of_the_weights(self, unit):
        labels, scores = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0], [5.0, 4.0, 3.0, 3.0, 2.0, 1.0]
        weights = np.asarray([1.0, 7.0, 3.0, 5.0, 9.0, 2.0])
        exact = exact_areas(labels, scores, weights)["auc_precision_recall"]
        assert self.area(labels, scores, unit * weights) == pytest.approx(float(exact), rel=1e-14)

    def test_limits(self):
        labels, weights = np.asarray([1.0, 0.0, 0.0, 1.0, 0.0]), np.asarray([3.0, 1.0, 2.0, 1.0, 1.0])
        assert self.area(labels, np.zeros(5), weights) == pytest.approx(0.5, abs=1e-15)  # all tied: the base rate
        assert self.area(labels, labels, weights) == pytest.approx(1.0, abs=1e-15)
        assert self.area(np.ones(5), np.arange(5.0), weights) == pytest.approx(1.0, abs=1e-15)
        assert self.area(np.zeros(5), np.arange(5.0), weights) == 0


# ---------------------------------------------------------------------------------------------------------------------
# Bounds


class TestBounds:
    @settings(max_examples=100)
    @given(data_sets(st.integers(0, 30), weights=RUGGED))
    def test_few_examples_are_exact(self, data):
        exact = exact_areas(*data)
        found = read(measure(*data))
        assert_holds(found, exact)
        for key, (lower, value, upper) in found.items():
            assert upper - lower <= 4e-12
            assert value == pytest.approx(float(exact[key]), abs=1e-12), key

    @settings(max_examples=150)
    @given(st.data())
    def test_any_cut_and_merge(self, small, data):
        """In whatever batches the data come, and in whatever order records are added."""
        labels, logits, weights = data.draw(
            data_sets(st.integers(1, 60), weights=data.draw(st.sampled_from([WEIGHTS, RUGGED])))
        )
        cuts = sorted(data.draw(st.lists(st.integers(0, len(labels)), max_size=8)))
        edges = [0, *cuts, len(labels)]
        records = [measure(labels[a:b], logits[a:b], weights[a:b]) for a, b in itertools.pairwise(edges)]
        while len(records) > 1:
            one = records.pop(data.draw(st.integers(0, len(records) - 1)))
            other = records.pop(data.draw(st.integers(0, len(records) - 1)))
            records.append((one + other).compressed())
        assert records[0].states["ranking"].slots.shape[1] <= 16
        assert_holds(read(records[0]), exact_areas(labels, logits, weights))

    @settings(max_examples=3)
    @given(st.data())
    def test_any_library(self, small, lib, data):
        rows = ROWS + 1  # shapes of its own, because what JAX has compiled holds the capacity
        scores = (
            TIED
            | st.sampled_from([math.inf, -math.inf, 0.0, -0.0])
            | st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False)
        )
        labels, logits, weights = data.draw(data_sets(5 * rows, scores, LABELS, WEIGHTS))
        batches = [slice(i, i + rows) for i in range(0, 5 * rows, rows)]
        records = [
            measure(*(np.asarray(a[batch], np.float32) for a in (labels, logits, weights)), lib=lib)
            for batch in batches
        ]
        exact = exact_areas(labels, logits, weights)
        one_by_one = records[0]
        for record in records[1:]:
            one_by_one = one_by_one + record
        assert_holds(read(one_by_one), exact)
        assert_holds(read((records[0] + records[1]) + ((records[2] + records[3]) + records[4])), exact)

    @settings(max_examples=60)
    @given(data_sets(st.integers(1, 30), labels=st.floats(0, 1, width=32), weights=st.floats(0, 100, width=32)))
    def test_soft_labels_in_float32(self, data):
        """The masses of float32 data are no worse than the data."""
        labels, logits, weights = data
        with np.errstate(over="ignore"):
            logits = np.asarray(logits, np.float32)
        assert_holds(
            read(measure(np.asarray(labels, np.float32), logits, np.asarray(weights, np.float32))),
            exact_areas(labels, logits, weights),
        )

    @settings(max_examples=50)
    @given(data_sets(st.integers(1, 40), weights=WEIGHTS))
    def test_settled_again(self, small, data):
        """A summary that is compressed time and again stays right."""
        labels, logits, weights = data
        seen = HEAD.empty()
        for row in range(len(labels)):
            seen = (seen + measure(labels[row : row + 1], logits[row : row + 1], weights[row : row + 1])).compressed()
        assert_holds(read(seen), exact_areas(*data))

    @settings(max_examples=150)
    @given(st.data())
    def test_many_at_once(self, small, data):
        """Batches of more scores than a summary holds, which wait to be taken in, between smaller ones."""
        dtype = data.draw(st.sampled_from([np.float32, np.float64]))
        scores = (
            ADVERSARIAL if dtype == np.float64 else TIED | st.sampled_from([math.inf, -math.inf, -0.0, 1e30, 1e-30])
        )
        labels = data.draw(st.sampled_from([HARD, LABELS]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(states, "_WAITING", data.draw(st.sampled_from([0, 40])))
            head = data.draw(st.sampled_from([HEAD, gh.BinaryClassHead()]))
            metrics = head.metrics()
            batches = data.draw(st.lists(data_sets(st.integers(1, 60), scores, labels), min_size=1, max_size=5))
            record = head.empty()
            for batch in batches:
                z, x, w = (np.asarray(a, dtype)[:, None] for a in batch)
                head.update_metrics(metrics, {"w": w}, x, z)
                record = record + uncompressed(head, z, x, w)
        labels, logits, weights = (list(itertools.chain(*parts)) for parts in zip(*batches, strict=True))
        exact = exact_areas(labels, logits, weights if head is HEAD else [1.0] * len(labels))
        assert_holds(read(metrics["auc"].statistics, head), exact)
        assert_holds(read(record.compressed(), head), exact)

    @pytest.mark.parametrize("absent", ["weight", "logit"])
    def test_batches_of_nothing(self, small, absent):
        """However many batches hold no score."""
        rng = np.random.default_rng(4)
        records = []
        for index in range(70):
            x, w = rng.normal(size=(40, 1)), np.ones((40, 1))
            if index:
                (w if absent == "weight" else x)[:] = 0 if absent == "weight" else math.nan
            records.append(uncompressed(HEAD, rng.integers(0, 2, (40, 1)), x, w))
        summed = records[0]
        for record in records[1:]:
            summed = summed + record
        one, all_ = (record.compressed().states["ranking"].slots for record in (records[0], summed))
        np.testing.assert_array_equal(one, all_)

    def test_few_scores_stay_exact_in_large_batches(self):
        """Also when new ones come between those that were there."""
        rng = np.random.default_rng(5)
        head = gh.BinaryClassHead()
        for first, second in ((np.arange(10), [0.3, 0.4, 0.5]), (np.arange(3000) / 3000, np.arange(9000) / 9000)):
            metrics = head.metrics()
            batches = [(rng.integers(0, 2, 50_000), rng.choice(values, 50_000)) for values in (first, second)]
            for labels, logits in batches:
                head.update_metrics(metrics, None, logits.astype(np.float32)[:, None], labels)
            lower, _, upper = read(metrics["auc"].statistics, head)["auc"]
            assert upper - lower <= 1e-10
            labels, logits = (np.concatenate(column) for column in zip(*batches, strict=True))
            assert lower <= roc_auc_score(labels, logits.astype(np.float32)) <= upper

    def test_infinite_logits_after_many_finite_ones(self):
        """They lie outside of a summary that was full before."""
        rng = np.random.default_rng(3)
        labels, logits = rng.integers(0, 2, 200_000), rng.normal(size=200_000)
        logits[150_000:150_100], logits[150_100:150_200] = -math.inf, math.inf
        found = read(in_batches(labels, logits, 50_000), gh.BinaryClassHead())["auc"]
        ranks = rankdata(logits)
        positives = labels.sum()
        exact = (ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(labels) - positives))
        assert found[0] <= exact <= found[2]

    def test_bounds_before_any_data(self):
        for key, bounds in HEAD.bounds(HEAD.empty()).items():
            assert bounds.tolist() == [0, 0], key

    def test_nothing_to_rank(self, lib):
        for labels in (np.zeros(ROWS), np.ones(ROWS)):
            found = read(measure(labels, np.arange(float(ROWS)), np.ones(ROWS), lib))
            assert found["auc"] == (0, 0, 0)
            assert found["auc_precision_recall"][1] == pytest.approx(labels[0], abs=1e-5)
        assert read(measure(np.ones(ROWS), np.zeros(ROWS), np.zeros(ROWS), lib))["auc"] == (0, 0, 0)

    def test_few_scores_are_exact(self):
        """Data of few distinct scores, however many, in batches and merged."""
        rng = np.random.default_rng(1)
        count = 200_000
        logits = rng.choice(rng.normal(0, 3, 100), count)
        labels = (rng.random(count) < expit(logits)).astype(np.float64)
        weights = rng.random(count)
        parts = [measure(*(a[i::4] for a in (labels, logits, weights))) for i in range(4)]
        whole = HEAD.evaluate(
            (labels[rows], logits[rows, None], {"w": weights[rows]}) for rows in np.split(np.arange(count), 100)
        )
        merged = parts[0] + parts[1] + parts[2] + parts[3]
        auc = roc_auc_score(labels, logits, sample_weight=weights)
        for record in (measure(labels, logits, weights), merged):
            for lower, value, upper in read(record).values():
                assert upper - lower <= 1e-10
                assert lower <= value <= upper
            assert read(record)["auc"][1] == pytest.approx(auc, abs=1e-12)
        assert float(whole["auc"]) == pytest.approx(auc, abs=1e-12)

    @pytest.mark.parametrize("rows", [1, 50, 5000, 100_000])
    def test_memory(self, lib, rows):
        if rows > 50 and lib.name != "numpy":
            rows = 50
        rng = np.random.default_rng(2)
        logits = rng.normal(size=rows)
        record = measure((rng.random(rows) < 0.5) * 1.0, logits, np.ones(rows), lib)
        record = record + record + record
        size = sum(lib.numpy(a).nbytes for a in record.arrays())
        assert size <= min(2**20, 1000 + 3 * 6 * 8 * rows)


# ---------------------------------------------------------------------------------------------------------------------
# Streams

STREAMS = {
    "N(0, 3)": lambda rng, n: (rng.normal(0, 3, n), 0.0, 1.0),
    "N(-8, 1)": lambda rng, n: (rng.normal(-8, 1, n), 0.6, 1.0),
    "N(98.5, 1)": lambda rng, n: (rng.normal(98.5, 1, n), -98.5, 1.0),
    "N(0, 1e-3)": lambda rng, n: (rng.normal(0, 1e-3, n), 0.0, 1000.0),
    "N(-40, 1e-2) and N(5, 20)": lambda rng, n: (
        np.where(rng.random(n) < 0.5, rng.normal(-40, 1e-2, n), rng.normal(5, 20, n)),
        0.0,
        0.1,
    ),
    "Cauchy": lambda rng, n: (rng.standard_cauchy(n), 0.0, 1.0),
}


def stream(name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels that follow the model (after a shift and a scale) and logits."""
    rng = np.random.default_rng(7)
    logits, shift, scale = STREAMS[name](rng, count)
    labels = (rng.random(count) < expit((logits + shift) * scale)).astype(np.float64)
    return labels, logits


def in_batches(labels: np.ndarray, logits: np.ndarray, size: int) -> gh.Statistics:
    head = gh.BinaryClassHead()
    metrics = head.metrics()
    for start in range(0, len(labels), size):
        rows = slice(start, start + size)
        head.update_metrics(metrics, None, logits[rows, None], labels[rows])
    return metrics["auc"].statistics


class TestStreams:
    COUNT = 200_000

    @pytest.mark.parametrize("name", STREAMS)
    @pytest.mark.parametrize("size", [1024, None])
    def test_one_stream(self, name, size):
        labels, logits = stream(name, self.COUNT)
        exact = areas_of_stream(labels, logits)
        found = read(in_batches(labels, logits, size or len(labels)), gh.BinaryClassHead())
        assert_holds(found, exact, slack=1e-9)  # the reference's own rounding
        lower, value, upper = found["auc"]
        assert upper - lower <= 3e-4
        assert abs(value - exact["auc"]) <= 2e-5

    @pytest.mark.parametrize("name", STREAMS)
    def test_merged(self, name):
        head = gh.BinaryClassHead()
        labels, logits = stream(name, self.COUNT)
        exact = areas_of_stream(labels, logits)
        parts = [in_batches(labels[i::16], logits[i::16], 8192) for i in range(16)]
        while len(parts) > 1:
            parts = [one + other for one, other in zip(parts[::2], parts[1::2], strict=True)]
        found = read(parts[0], head)
        assert_holds(found, exact, slack=1e-9)
        lower, _, upper = found["auc"]
        assert upper - lower <= 2e-3


# ---------------------------------------------------------------------------------------------------------------------
# Keras's areas, and curves


class TestKeras:
    @settings(max_examples=40)
    @given(data_sets(st.integers(0, 40), TIED | st.floats(-20, 20), LABELS, WEIGHTS), st.sampled_from([2, 3, 200]))
    def test_areas(self, data, count):
        head = gh.BinaryClassHead(weight_column="w", num_thresholds=count)
        # Both take the probability in float32, where 0.5 is a logit of 0 and no other is near a threshold.
        labels, logits, weights = (np.asarray(a, np.float32) for a in data)
        logits = np.where(abs(logits) < 1e-3, 0, logits).astype(np.float32)
        record = measure(labels, logits, weights, head=head)
        results = head.results(record)
        for key, value in keras_areas(labels, logits, weights, count).items():
            assert float(results[key]) == pytest.approx(value, abs=1e-9), key

    @settings(max_examples=60)
    @given(
        data_sets(st.integers(0, 40), TIED | st.floats(-20, 20, width=32), LABELS, WEIGHTS),
        st.sampled_from([2, 5, 200]),
    )
    def test_bounds_hold_the_area_by_rank(self, data, count):
        head = gh.BinaryClassHead(weight_column="w", num_thresholds=count)
        bounds = head.bounds(measure(*data, head=head))
        for key, exact in exact_areas(*data).items():
            lower, upper = bounds[key].tolist()
            assert lower <= exact <= upper, key

    @settings(max_examples=3)
    @given(data=data_sets(2 * ROWS, TIED, LABELS, WEIGHTS))
    def test_every_library(self, lib, data):
        head = gh.BinaryClassHead(weight_column="w", num_thresholds=200)
        labels, logits, weights = (np.asarray(a, np.float32) for a in data)
        results = numbers(head.results(measure(labels, logits, weights, lib, head)))
        for key, value in keras_areas(labels, logits, weights, 200).items():
            assert float(results[key]) == pytest.approx(value, abs=1e-9 if lib.has_float64 else 1e-5), key


class TestCurves:
    @pytest.fixture
    def data(self) -> Any:
        rng = np.random.default_rng(4)
        labels = np.asarray([0.0, 1.0] * ROWS)
        return labels, rng.integers(-3, 4, 2 * ROWS) + labels, rng.choice([0.5, 1.0, 2.0], 2 * ROWS)

    def test_roc(self, lib, data):
        labels, logits, weights = data
        curve = {key: lib.numpy(a) for key, a in HEAD.curves(measure(*data, lib))["roc"].items()}
        fpr, tpr, thresholds = roc_curve(labels, logits, sample_weight=weights, drop_intermediate=False)
        assert np.all(np.diff(curve["thresholds"]) <= 0)
        last = np.asarray(
            [np.flatnonzero(curve["thresholds"] == t)[-1] for t in thresholds]
        )  # ties may have many points
        np.testing.assert_allclose(curve["false_positive_rate"][last], fpr, atol=1e-6)
        np.testing.assert_allclose(curve["true_positive_rate"][last], tpr, atol=1e-6)

    def test_precision_recall(self, lib, data):
        labels, logits, weights = data
        curve = {key: lib.numpy(a) for key, a in HEAD.curves(measure(*data, lib))["precision_recall"].items()}
        precision, recall, thresholds = precision_recall_curve(labels, logits, sample_weight=weights)
        for i, threshold in enumerate(thresholds):
            at = np.flatnonzero(curve["thresholds"] == threshold)[-1]
            assert curve["precision"][at] == pytest.approx(precision[i], abs=1e-6)
            assert curve["recall"][at] == pytest.approx(recall[i], abs=1e-6)
        assert (curve["precision"][0], curve["recall"][0]) == (1, 0)

    def test_keras_buckets(self, data):
        head = gh.BinaryClassHead(weight_column="w", num_thresholds=20)
        labels, logits, weights = data
        curves = head.curves(measure(*data, head=head))
        bucket = np.maximum(np.ceil(expit(logits.astype(np.float32)) * np.float32(19)) - 1, 0)
        for threshold, tpr, fpr in zip(
            curves["roc"]["thresholds"],
            curves["roc"]["true_positive_rate"],
            curves["roc"]["false_positive_rate"],
            strict=True,
        ):
            at = bucket >= threshold * 19 - 1e-9
            assert tpr == pytest.approx((weights * labels)[at].sum() / (weights * labels).sum(), abs=1e-12)
            assert fpr == pytest.approx((weights * (1 - labels))[at].sum() / (weights * (1 - labels)).sum(), abs=1e-12)

    @settings(max_examples=100)
    @given(st.data())
    def test_points_are_on_the_curves(self, small, data):
        """Every point is the one at its threshold, however the data were cut and merged."""
        labels, logits, weights = (np.asarray(a) for a in data.draw(data_sets(st.integers(1, 50))))
        half = data.draw(st.integers(0, len(labels)))
        record = measure(labels[:half], logits[:half], weights[:half]) + measure(
            labels[half:], logits[half:], weights[half:]
        )
        curves = HEAD.curves(record)
        roc, pr = curves["roc"], curves["precision_recall"]
        positive, negative = weights * labels, weights * (1 - labels)
        for i in range(1, len(roc["thresholds"])):
            at = logits >= roc["thresholds"][i]
            tp, fp = positive[at].sum(), negative[at].sum()
            assert roc["true_positive_rate"][i] == pytest.approx(tp / positive.sum() if tp else 0, abs=1e-12)
            assert roc["false_positive_rate"][i] == pytest.approx(fp / negative.sum() if fp else 0, abs=1e-12)
            assert pr["precision"][i] == pytest.approx(tp / (tp + fp) if tp + fp else 1, abs=1e-12)
        assert np.array_equal(pr["recall"], roc["true_positive_rate"])
        for curve in curves.values():
            assert np.all(curve["thresholds"][1:] <= curve["thresholds"][:-1])
        if len(roc["thresholds"]) > 1:
            assert roc["true_positive_rate"][-1] == pytest.approx(float(positive.sum() > 0))
            assert roc["false_positive_rate"][-1] == pytest.approx(float(negative.sum() > 0))

    def test_before_any_data(self):
        for curve in HEAD.curves(HEAD.empty()).values():
            assert {a.shape for a in curve.values()} == {(0,)}

"""Calibration and the other metrics of `extra_metrics`: the law, scikit-learn's and torchmetrics' word, exact fits."""

import json
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    matthews_corrcoef,
    recall_score,
)

import glmheads as gh
from glmheads import backends
from glmheads.kernels import calibration
from glmheads.testing import check_head, check_law

THRESHOLDS = [0.2, 0.5, 0.9]
HEAD = gh.BinaryClassHead(weight_column="w", thresholds=THRESHOLDS, num_thresholds=20, extra_metrics="all")
LOGISTIC = gh.LogisticRegressionHead(weight_column="w", extra_metrics="all")
HEADS = {"binary": HEAD, "logistic": LOGISTIC}
EXTRA = (
    *("brier_score", "expected_calibration_error", "calibration_ratio", "calibration_intercept", "calibration_slope"),
    *("normalized_entropy", "f1", "specificity", "balanced_accuracy", "matthews_correlation"),
)
UNDETERMINED = ("calibration_ratio", "calibration_intercept", "calibration_slope", "normalized_entropy")
ROWS = 12
"""Rows of a batch where every new shape costs a compilation."""

each_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)

Data = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Labels, logits and weights, flat."""


def measure(head: gh.Head, data: Data, lib: Any = None) -> gh.Statistics:
    labels, logits, weights = (a[:, None] if lib is None else lib.array(a[:, None], "float32") for a in data)
    return head.statistics(labels, logits, {"w": weights})


def bins_of(statistics: gh.Statistics) -> np.ndarray:
    """Rows of negative mass, positive mass, predictions and counts."""
    hi, lo = (backends.of(a).to_numpy(a).astype(float) for a in statistics.states["calibration"].values["bins"])
    return hi + lo


def floats(head: gh.Head, statistics: gh.Statistics) -> dict[str, float]:
    found = head.results(statistics)
    if any(backends.of(a).name == "dask" for a in found.values()):
        import dask

        (found,) = dask.compute(found)
    return {key: float(value) for key, value in found.items()}


def results(data: Data, lib: Any = None, head: gh.Head = HEAD) -> dict[str, float]:
    return floats(head, measure(head, data, lib))


def curve(data: Data, lib: Any = None, head: gh.Head = HEAD) -> dict[str, np.ndarray]:
    found = head.curves(measure(head, data, lib))["calibration"]
    return {key: backends.of(a).to_numpy(a) for key, a in found.items()}


def random_data(rows: int, slope: float = 1.0, intercept: float = 0.0, mean: float = -1.0, seed: int = 0) -> Data:
    """Labels drawn with the log odds ``intercept + slope * logits``."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(mean, 2, rows)
    labels = (rng.random(rows) < expit(intercept + slope * logits)).astype(float)
    return labels, logits, rng.choice([0.5, 1.0, 2.0], rows)


WEIGHTS = st.sampled_from([0.0, 1.0, 1.0, 0.5, 3.0])
LOGITS = st.integers(-160, 160).map(lambda k: k / 8) | st.floats(-40, 40, width=16)
HARD = st.sampled_from([0.0, 1.0])
SOFT = st.sampled_from([0.0, 1.0, 0.25, 0.75])


@st.composite
def any_data(draw: Any, rows: int | None = None, labels: Any = SOFT, logits: Any = LOGITS) -> Data:
    count = draw(st.integers(1, 30)) if rows is None else rows
    columns = (labels, logits, WEIGHTS)
    return tuple(np.asarray(draw(st.lists(c, min_size=count, max_size=count))) for c in columns)


def rows_of(data: Data, rows: Any) -> Data:
    return tuple(a[rows] for a in data)


def assert_same(found: gh.Statistics, expected: gh.Statistics, head: gh.Head = HEAD, count: bool = True) -> None:
    one, other = (bins_of(s)[: 4 if count else 3] for s in (found, expected))
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-12)
    one, other = (floats(head, s) for s in (found, expected))
    for key in other:
        # Whether few examples have a line may hang on a rounding; the kit knows by how much it may change.
        if key not in ("calibration_intercept", "calibration_slope"):
            assert one[key] == pytest.approx(other[key], rel=1e-5, abs=1e-5, nan_ok=True), key


# ---------------------------------------------------------------------------------------------------------------------
# The law


class TestLaw:
    @each_head
    @given(any_data(), st.data())
    def test_additive(self, head, data, more):
        cut = more.draw(st.integers(0, len(data[0])))
        found = measure(head, rows_of(data, slice(cut))) + measure(head, rows_of(data, slice(cut, None)))
        assert_same(found, measure(head, data), head)

    @settings(max_examples=3)
    @given(data=any_data(rows=2 * ROWS))
    def test_additive_in_every_library(self, lib, data):
        one, other = (measure(LOGISTIC, rows_of(data, rows), lib) for rows in (slice(ROWS), slice(ROWS, None)))
        assert_same(one + other, measure(LOGISTIC, data, lib), LOGISTIC)
        assert_same(one + other, measure(LOGISTIC, tuple(a.astype("float32") for a in data)), LOGISTIC)

    @given(any_data(rows=10), st.permutations(range(10)))
    def test_order_does_not_matter(self, data, order):
        assert_same(measure(HEAD, rows_of(data, np.asarray(order))), measure(HEAD, data))

    @given(any_data(rows=10), st.sampled_from([np.nan, np.inf, -7.0]))
    def test_examples_of_weight_0_are_absent(self, data, bad):
        labels, logits, weights = data
        absent = weights == 0
        poisoned = (np.where(absent, bad, labels), np.where(absent, bad, logits), weights)
        assert_same(measure(HEAD, poisoned), measure(HEAD, rows_of(data, ~absent)))

    @given(any_data(rows=10))
    def test_weight_2_is_twice(self, data):
        labels, logits, weights = data
        twice = tuple(np.concatenate([a, a]) for a in data)
        assert_same(measure(HEAD, (labels, logits, 2 * weights)), measure(HEAD, twice), count=False)

    @given(any_data())
    def test_without_weights_every_weight_is_1(self, data):
        labels, logits, _ = data
        head = gh.BinaryClassHead(thresholds=THRESHOLDS, num_thresholds=20, extra_metrics="all")
        found = head.statistics(labels[:, None], logits[:, None])
        expected = measure(HEAD, (labels, logits, np.ones_like(labels)))
        np.testing.assert_allclose(bins_of(found), bins_of(expected), rtol=1e-12, atol=1e-12)
        assert floats(head, found) == pytest.approx(floats(HEAD, expected), rel=1e-9, abs=1e-9, nan_ok=True)

    @pytest.mark.parametrize("name", HEADS)
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    def test_kit(self, name, dtype):
        check_head(HEADS[name], dtype=dtype, max_examples=10)

    @pytest.mark.parametrize(("library", "count"), [("array_api_strict", 5), ("torch", 20), ("jax", 2), ("dask", 1)])
    def test_kit_in_every_library(self, library, count):
        pytest.importorskip(library)
        for law in ("accumulation", "agreement", "additivity", "result_types"):
            check_law(law, LOGISTIC, library, max_examples=count)

    def test_record_is_kept(self, tmp_path):
        s = measure(HEAD, random_data(100))
        s.save(tmp_path / "record.npz")
        assert floats(HEAD, gh.Statistics.load(tmp_path / "record.npz")) == floats(HEAD, s)

    def test_more_metrics_of_the_same_parts_read_the_same_record(self):
        plain, more = gh.BinaryClassHead(), gh.BinaryClassHead(extra_metrics=["f1", "normalized_entropy"])
        labels, logits, _ = random_data(100)
        s = plain.statistics(labels, logits[:, None]) + more.statistics(labels, logits[:, None])
        assert float(more.results(s)["f1"]) == pytest.approx(f1_score(labels, logits > 0))


# ---------------------------------------------------------------------------------------------------------------------
# What others say


def scikit_learn(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    p = expit(logits)
    mean = np.average(labels, weights=weights)
    expected = {"brier_score": brier_score_loss(labels, p, sample_weight=weights, labels=[0, 1])}
    if mean > 0:
        expected["calibration_ratio"] = np.average(p, weights=weights) / mean
    if 0 < mean < 1:
        loss = log_loss(labels, p, sample_weight=weights)
        expected["normalized_entropy"] = loss / log_loss(labels, np.full_like(p, mean), sample_weight=weights)
    for at, positive in {"": logits > 0, **{f"/positive_threshold_{t:g}": p > t for t in THRESHOLDS}}.items():
        given = {"sample_weight": weights}
        expected[f"f1{at}"] = f1_score(labels, positive, zero_division=0.0, **given)
        expected[f"specificity{at}"] = recall_score(labels, positive, pos_label=0, zero_division=0.0, **given)
        if 0 < mean < 1:
            expected[f"balanced_accuracy{at}"] = balanced_accuracy_score(labels, positive, **given)
        two = 0 < mean < 1 and len(set(positive[weights > 0])) == 2
        expected[f"matthews_correlation{at}"] = matthews_corrcoef(labels, positive, **given) if two else 0.0
    return expected


# Where probabilities don't round to 1, and none but ½ is a threshold.
MODEST = st.integers(-64, 64).map(lambda k: k / 8)


class TestValues:
    @settings(max_examples=40)
    @given(any_data(labels=HARD, logits=MODEST))
    def test_scikit_learn(self, data):
        data[2][0] = 1.0
        found = results(data)
        for key, value in scikit_learn(*data).items():
            assert found[key] == pytest.approx(value, rel=1e-9, abs=1e-9), key

    @settings(max_examples=3)
    @given(data=any_data(rows=ROWS, labels=HARD, logits=MODEST))
    def test_scikit_learn_in_every_library(self, lib, data):
        data[2][0] = 1.0
        found = results(data, lib)
        for key, value in scikit_learn(*data).items():
            assert found[key] == pytest.approx(value, rel=1e-4, abs=1e-5), key

    def test_confusion_by_hand(self):
        """2 true positives, 1 false positive, 3 true negatives, 2 false negatives."""
        labels = np.asarray([1, 1, 0, 0, 0, 0, 1, 1.0])
        logits = np.asarray([1, 1, 1, -1, -1, -1, -1, -1.0])
        found = results((labels, logits, np.ones(8)))
        expected = {
            "f1": 4 / 7,
            "specificity": 3 / 4,
            "balanced_accuracy": (2 / 4 + 3 / 4) / 2,
            "matthews_correlation": (2 * 3 - 1 * 2) / np.sqrt(3 * 4 * 4 * 5),
        }
        assert {key: found[key] for key in expected} == pytest.approx(expected)

    def test_torchmetrics(self):
        torch = pytest.importorskip("torch")
        metric = pytest.importorskip("torchmetrics").classification.BinaryCalibrationError(n_bins=15, norm="l1")
        labels, logits, _ = random_data(5000, slope=0.5, intercept=0.4)
        repeats = np.random.default_rng(1).integers(0, 4, 5000)
        many_labels, many_logits = np.repeat(labels, repeats), np.repeat(logits, repeats)
        expected = metric(torch.as_tensor(expit(many_logits)), torch.as_tensor(many_labels).int())
        found = results((labels, logits, repeats.astype(float)))["expected_calibration_error"]
        assert found == pytest.approx(float(expected), rel=1e-5)
        assert found > 0.02

    def test_expected_calibration_error_of_soft_labels(self):
        labels, logits, weights = random_data(300)
        labels = np.clip(labels, 0.1, 0.7)
        equal = np.minimum(np.floor(15 * expit(logits)), 14)
        gaps = [abs((weights * (expit(logits) - labels))[equal == b].sum()) for b in range(15)]
        found = results((labels, logits, weights))["expected_calibration_error"]
        assert found == pytest.approx(sum(gaps) / weights.sum())

    @pytest.mark.parametrize("mean", [1e-6, 1e-4, 0.5, 1 - 1e-4])
    def test_normalized_entropy(self, lib, mean):
        """Of soft labels alike, against 50 digits."""
        mean = float(np.float32(mean))
        with mpmath.workdps(50):
            p, z = 1 / (1 + mpmath.exp(mpmath.mpf(2))), mpmath.mpf(mean)
            loss = -z * mpmath.log(p) - (1 - z) * mpmath.log(1 - p)
            expected = float(loss / (-z * mpmath.log(z) - (1 - z) * mpmath.log(1 - z)))
        found = results((np.full(4, mean), np.full(4, -2.0), np.ones(4)), lib, LOGISTIC)["normalized_entropy"]
        assert found == pytest.approx(expected, rel=2e-6)

    def test_brier_score_of_soft_labels(self, lib):
        labels, logits, weights = np.linspace(0, 1, 8), np.linspace(-3, 3, 8), np.arange(8.0)
        expected = np.average((expit(logits) - labels) ** 2, weights=weights)
        assert results((labels, logits, weights), lib, LOGISTIC)["brier_score"] == pytest.approx(expected, rel=1e-6)

    @given(any_data(logits=st.integers(-70, 70).map(lambda k: k / 4 + 0.0625)))
    def test_mirror(self, data):
        """With the classes exchanged, and with them the signs of the logits, predictions are as good."""
        labels, logits, weights = data
        one, other = results(data), results((1 - labels, -logits, weights))
        same = ("brier_score", "expected_calibration_error", "matthews_correlation", "balanced_accuracy")
        for key in (*same, "normalized_entropy"):
            assert one[key] == pytest.approx(other[key], rel=1e-9, abs=1e-9, nan_ok=True), key


# ---------------------------------------------------------------------------------------------------------------------
# Slope and intercept


def fit(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Intercept and slope by scikit-learn; a soft label is a positive and a negative."""
    found = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000, solver="newton-cholesky").fit(
        np.tile(logits, 2)[:, None],
        np.repeat([1, 0], len(labels)),
        sample_weight=np.concatenate([weights * labels, weights * (1 - labels)]),
    )
    return float(found.intercept_[0]), float(found.coef_[0, 0])


class TestRecalibration:
    @pytest.mark.parametrize("mean", [-4.0, 0.0])
    @pytest.mark.parametrize("slope", [0.25, 0.5, 1.0, 2.0, 4.0])
    def test_exact_fit(self, slope, mean):
        """The bins cost a fifth of the standard errors at most, and a share of the slope of 1e-3 of its square."""
        data = random_data(20_000, slope, 0.3 - (slope - 1) * mean, mean)
        line = np.asarray(fit(*data))
        design = np.stack([np.ones_like(data[1]), data[1]])
        p = expit(line @ design)
        covariance = np.linalg.inv((data[2] * p * (1 - p) * design) @ design.T)
        by_width = 1e-3 * slope**3 * np.asarray([1 + abs(mean), 1])
        found = results(data)
        error = np.asarray([found["calibration_intercept"], found["calibration_slope"]]) - line
        assert np.all(abs(error) <= np.sqrt(np.diag(covariance)) / 5 + by_width)

    def test_exact_fit_of_binned_data(self):
        """Where every bin holds one logit nothing is lost."""
        rng = np.random.default_rng(0)
        logits = rng.integers(-20, 8, 3000) / 4 + 0.0625
        labels = (rng.random(3000) < expit(0.5 + 0.6 * logits)) * 0.75 + 0.125
        weights = rng.exponential(size=3000)
        intercept, slope = fit(labels, logits, weights)
        found = results((labels, logits, weights))
        assert found["calibration_slope"] == pytest.approx(slope, rel=1e-9)
        assert found["calibration_intercept"] == pytest.approx(intercept, abs=1e-9)

    def test_labels_equal_to_predictions_are_calibrated(self, lib):
        logits = np.linspace(-15, 15, ROWS, dtype="float32")
        found = results((expit(logits), logits, np.ones(ROWS)), lib, LOGISTIC)
        expected = {
            "expected_calibration_error": 0,
            "calibration_ratio": 1,
            "calibration_intercept": 0,
            "calibration_slope": 1,
        }
        assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-4)

    def test_slope_and_intercept_recalibrate(self):
        labels, logits, weights = random_data(20_000, slope=2.5, intercept=-0.7)
        first = results((labels, logits, weights))
        again = results((labels, first["calibration_intercept"] + first["calibration_slope"] * logits, weights))
        assert again["calibration_slope"] == pytest.approx(1, abs=5e-3)
        assert again["calibration_intercept"] == pytest.approx(0, abs=5e-3)
        assert again["expected_calibration_error"] < first["expected_calibration_error"] / 4
        assert again["normalized_entropy"] < first["normalized_entropy"]

    @pytest.mark.parametrize("exponent", [-30, 30])
    def test_weights_of_any_size(self, exponent):
        labels, logits, weights = random_data(500)
        found = results((labels, logits, weights * 2.0**exponent))
        assert found == pytest.approx(results((labels, logits, weights)), rel=1e-9)

    def test_rare_outliers(self):
        """A positive far below and a negative far above many that are right; each bin holds one logit."""
        logits = np.asarray([-15.9375, -1.0625, 0.9375, 15.8125])
        data = (np.asarray([1.0, 0.0, 1.0, 0.0]), logits, np.asarray([1.0, 5000.0, 5000.0, 1.0]))
        intercept, slope = fit(*data)
        found = results(data)
        assert found["calibration_slope"] == pytest.approx(slope, rel=1e-6)
        assert found["calibration_intercept"] == pytest.approx(intercept, abs=1e-6)

    def test_logits_beyond_16_count_as_16(self):
        labels, logits, _ = random_data(1000)
        far = (np.concatenate([labels, [0.0, 1.0]]), np.concatenate([logits, [-900.0, np.inf]]), np.ones(1002))
        near = (far[0], np.clip(far[1], -16, 16), far[2])
        for key in ("calibration_slope", "calibration_intercept"):
            assert results(far)[key] == pytest.approx(results(near)[key], rel=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# The curve


class TestCurve:
    @given(any_data())
    def test_bins_hold_their_examples(self, data):
        labels, logits, weights = data
        found = curve(data)
        lower, upper = found["lower"], found["upper"]
        assert all(len(a) == calibration.BINS for a in found.values())
        assert (lower[0], upper[-1]) == (0, 1)
        np.testing.assert_array_equal(lower[1:], upper[:-1])
        assert np.all(np.diff(lower) > 0)
        there = found["count"] > 0
        slack = 1e-12
        assert np.all(found["mean_prediction"][there] >= lower[there] - slack)
        assert np.all(found["mean_prediction"][there] <= upper[there] + slack)
        assert np.all(np.isnan(found["mean_label"][~there]) & np.isnan(found["mean_prediction"][~there]))
        assert found["count"].sum() == (weights > 0).sum()
        assert found["weight"].sum() == pytest.approx(weights.sum())
        assert np.nansum(found["weight"] * found["mean_label"]) == pytest.approx((weights * labels).sum())
        assert np.nansum(found["weight"] * found["mean_prediction"]) == pytest.approx((weights * expit(logits)).sum())

    @given(st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=20).map(np.asarray))
    def test_bins_are_where_a_search_finds_them(self, logits):
        on_grid = np.arange(-63, 64) / 4
        edges = np.sort([*logit(np.arange(1, 15) / 15), *on_grid])
        found = calibration.bins(logits, expit(logits))
        clear = np.min(np.abs(logits[:, None] - edges), axis=1) > 1e-9
        kept = clear | np.isin(logits, on_grid)
        np.testing.assert_array_equal(found[kept], np.searchsorted(edges, logits, side="right")[kept])

    def test_scikit_learn(self):
        """Joined into the 15 equal bins, they are those of a reliability diagram."""
        labels, logits, _ = random_data(4000, slope=0.6)
        found = curve((labels, logits, np.ones(4000)))
        equal = np.floor(15 * found["lower"] + 1e-9)
        there = found["count"] > 0
        mean_label, mean_prediction = (
            [np.average(found[key][b], weights=found["weight"][b]) for b in (there & (equal == k) for k in range(15))]
            for key in ("mean_label", "mean_prediction")
        )
        expected = calibration_curve(labels, expit(logits), n_bins=15)
        np.testing.assert_allclose(mean_label, expected[0])
        np.testing.assert_allclose(mean_prediction, expected[1])

    def test_rare_events_are_told_apart(self):
        """Click rates from 1e-5 to 1e-2 stand in 28 bins, of which an equal grid has one."""
        logits = np.linspace(np.log(1e-5), np.log(1e-2), 1000)
        assert 27 <= (curve((np.zeros(1000), logits, np.ones(1000)))["count"] > 0).sum() <= 29

    @settings(max_examples=2)
    @given(data=any_data(rows=ROWS))
    def test_every_library(self, lib, data):
        found, expected = (
            curve(d, library, LOGISTIC) for d, library in ((data, lib), (tuple(a.astype("f4") for a in data), None))
        )
        for key in expected:
            np.testing.assert_allclose(found[key], expected[key], rtol=2e-6, atol=1e-7, err_msg=key)

    @each_head
    def test_before_any_data(self, head):
        found = head.curves(head.empty())["calibration"]
        assert {key: a.shape for key, a in found.items()} == dict.fromkeys(
            ("lower", "upper", "mean_prediction", "mean_label", "weight", "count"), (0,)
        )

    def test_only_of_heads_that_measure_it(self):
        for extra in (None, ["f1", "normalized_entropy"]):
            head = gh.BinaryClassHead(extra_metrics=extra)
            assert set(head.curves(head.empty())) == {"roc", "precision_recall"}
        assert gh.LogisticRegressionHead().curves(gh.LogisticRegressionHead().empty()) == {}


# ---------------------------------------------------------------------------------------------------------------------
# Edges


class TestEdges:
    @each_head
    def test_no_data(self, lib, head):
        assert set(floats(head, head.empty()).values()) == {0.0}
        like = head.empty(like=lib.array(np.zeros((ROWS, 1)), "float32"))
        assert set(floats(head, like).values()) == {0.0}
        assert set(results((np.ones(ROWS), np.ones(ROWS), np.zeros(ROWS)), lib, head).values()) == {0.0}

    @pytest.mark.parametrize(
        ("labels", "logits", "undetermined"),
        [
            ([0, 0, 0], [-1.0, 0.5, 2.0], UNDETERMINED),
            ([1, 1, 1], [-1.0, 0.5, 2.0], UNDETERMINED[1:]),
            ([0, 0, 1], [-1.0, 0.5, 2.0], UNDETERMINED[1:3]),
            ([1, 1, 0], [-1.0, 0.5, 2.0], UNDETERMINED[1:3]),
            ([0, 0.5, 1], [-1.0, 0.5, 2.0], UNDETERMINED[1:3]),
            ([0, 1, 1], [0.5, 0.5, 0.5], UNDETERMINED[1:3]),
            ([0, 1, 0.5], [-1.0, 0.5, 2.0], ()),
        ],
        ids=["negatives", "positives", "separated", "reversed", "touching", "one bin", "overlapping"],
    )
    def test_what_the_data_do_not_determine_is_nan(self, lib, labels, logits, undetermined):
        found = results((np.asarray(labels, float), np.asarray(logits), np.ones(3)), lib, LOGISTIC)
        assert {key for key, value in found.items() if np.isnan(value)} == set(undetermined)

    @pytest.mark.parametrize("labels", [[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    @pytest.mark.parametrize("weights", [[1.0, 1.0, 1e-305], [1e-305, 1e-305, 1.0]])
    def test_no_line_fits_best_where_classes_are_separated_whatever_their_weights(self, labels, weights):
        found = results((np.asarray(labels), np.asarray([-2.0, -1.0, 1.0]), np.asarray(weights)))
        assert np.isnan([found["calibration_intercept"], found["calibration_slope"]]).all()

    def test_nan_logit(self, lib):
        labels, logits, weights = random_data(ROWS)
        logits[3] = np.nan
        s = measure(HEAD, (labels, logits, weights), lib)
        assert all(np.isnan(value) for key, value in floats(HEAD, s).items() if key.split("/")[0] in EXTRA)
        assert np.all(np.isfinite(bins_of(s)))
        assert bins_of(s)[3].sum() == ROWS - 1

    def test_infinite_logits(self, lib):
        labels, logits, weights = np.asarray([1.0, 0.0, 1.0, 0.0]), np.asarray([np.inf, -np.inf, 1, 1]), np.ones(4)
        found = results((labels, logits, weights), lib)
        p = expit(1.0)
        assert found["brier_score"] == pytest.approx((p**2 + (1 - p) ** 2) / 4, rel=1e-6)
        assert found["expected_calibration_error"] == pytest.approx(abs(2 * p - 1) / 4, rel=1e-6)
        assert found["f1"] == pytest.approx(0.8)

    def test_under_jit(self):
        jax = pytest.importorskip("jax")
        labels, logits, weights = (jax.numpy.asarray(a[:, None], "float32") for a in random_data(ROWS))

        @jax.jit
        def both(labels: Any, logits: Any, weights: Any) -> Any:
            s = LOGISTIC.statistics(labels, logits, {"w": weights})
            return LOGISTIC.results(s), LOGISTIC.curves(s)["calibration"]

        found, points = both(labels, logits, weights)
        expected = LOGISTIC.statistics(labels, logits, {"w": weights})
        for key, value in floats(LOGISTIC, expected).items():
            assert float(found[key]) == pytest.approx(value, rel=1e-4, abs=1e-6), key
        for key, array in LOGISTIC.curves(expected)["calibration"].items():
            np.testing.assert_allclose(points[key], array, rtol=1e-6)

    def test_without_a_graph_break(self):
        torch = pytest.importorskip("torch")
        labels, logits, weights = (torch.as_tensor(a[:, None]) for a in random_data(ROWS))

        def function(labels: Any, logits: Any, weights: Any) -> Any:
            return LOGISTIC.statistics(labels, logits, {"w": weights}).arrays()

        found = torch.compile(function, fullgraph=True, backend="eager")(labels, logits, weights)
        torch.testing.assert_close(found, function(labels, logits, weights))


# ---------------------------------------------------------------------------------------------------------------------
# The argument


class TestExtraMetrics:
    def test_default_is_that_of_tf_estimator(self):
        keys = list(gh.BinaryClassHead(thresholds=THRESHOLDS).metrics())
        assert not {key.split("/")[0] for key in keys} & set(EXTRA)
        every = list(gh.BinaryClassHead(thresholds=THRESHOLDS, extra_metrics="all").metrics())
        assert every[: len(keys)] == keys
        assert {key.split("/")[0] for key in every[len(keys) :]} == set(EXTRA)
        assert set(every[len(keys) :]) <= {k % t if "%" in k else k for k in gh.MetricKeys for t in THRESHOLDS}

    def test_in_the_order_given_with_thresholds(self):
        head = gh.BinaryClassHead(thresholds=[0.3], extra_metrics=["f1", gh.MetricKeys.BRIER_SCORE, "f1"], name="ads")
        plain = list(gh.BinaryClassHead(thresholds=[0.3], name="ads").metrics())
        assert list(head.metrics()) == [*plain, "f1/ads", "f1/positive_threshold_0.3/ads", "brier_score/ads"]

    def test_logistic_regression_has_those_of_probabilities(self):
        assert list(LOGISTIC.metrics()) == ["average_loss", "prediction/mean", "label/mean", *EXTRA[:6]]
        with pytest.raises(ValueError, match=r"f1.*It knows brier_score, expected_calibration_error"):
            gh.LogisticRegressionHead(extra_metrics=["f1"])

    @pytest.mark.parametrize("head", [gh.BinaryClassHead, gh.LogisticRegressionHead])
    @pytest.mark.parametrize(
        ("given", "error", "said"),
        [
            (["brier"], ValueError, r"\['brier'\]. It knows brier_score, "),
            (["brier_score", "auc_"], ValueError, r"\['auc_'\]"),
            (["f1/positive_threshold_0.5"], ValueError, "thresholds, are not named"),
            ("brier_score", ValueError, "Given the string 'brier_score'.*brier_score, "),
            (3, TypeError, "Given: 3"),
            ([None], TypeError, "None"),
        ],
    )
    def test_refused(self, head, given, error, said):
        with pytest.raises(error, match=said):
            head(extra_metrics=given)

    def test_normalized_entropy_is_of_the_log_loss(self):
        def loss_fn(labels: Any, logits: Any) -> Any:
            return (labels - logits) ** 2

        assert "normalized_entropy" not in gh.BinaryClassHead(loss_fn=loss_fn, extra_metrics="all").metrics()
        with pytest.raises(ValueError, match="normalized_entropy"):
            gh.BinaryClassHead(loss_fn=loss_fn, extra_metrics=["normalized_entropy"])

    def test_records_of_other_parts_do_not_add_up(self):
        with pytest.raises(ValueError, match="differently configured"):
            gh.BinaryClassHead().empty() + gh.BinaryClassHead(extra_metrics="all").empty()

    @pytest.mark.parametrize("given", ["all", ["f1", gh.MetricKeys.BRIER_SCORE], ("calibration_slope",)])
    @pytest.mark.parametrize("head", [gh.BinaryClassHead, gh.LogisticRegressionHead])
    def test_configuration_is_kept(self, head, given):
        if head is gh.LogisticRegressionHead and "f1" in given:
            given = given[1:]
        one = head(extra_metrics=given)
        other = gh.Head.from_dict(json.loads(json.dumps(one.to_dict())))
        assert other == one
        assert list(other.metrics()) == list(one.metrics())
        assert "extra_metrics=" in repr(one)
        assert "extra_metrics" not in repr(head())

    def test_metrics_update_and_reset(self):
        labels, logits, weights = random_data(50)
        metrics = HEAD.metrics()
        for rows in (slice(20), slice(20, None)):
            HEAD.update_metrics(metrics, {"w": weights[rows]}, logits[rows, None], labels[rows])
        expected = brier_score_loss(labels, expit(logits), sample_weight=weights)
        assert float(metrics["brier_score"].result()) == pytest.approx(expected)
        assert metrics["brier_score"].bounds() == pytest.approx([expected] * 2)
        metrics["brier_score"].reset()
        assert float(metrics["brier_score"].result()) == 0

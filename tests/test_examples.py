"""The example: its fit against scikit-learn's, and the report on its file against scikit-learn's weighted metrics."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

import glmheads as gh

EXAMPLES = Path(__file__).parents[1] / "examples"
HEAD = gh.BinaryClassHead(weight_column="weight")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("crash_fit", EXAMPLES / "crash_fit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return pd.read_parquet(EXAMPLES / "nass_cds.parquet")


def statistics(data: pd.DataFrame) -> gh.Statistics:
    return HEAD.statistics(data["dead"], data[["logit"]], data)


@pytest.fixture(scope="module")
def whole(data) -> gh.Statistics:
    return statistics(data)


def davis_goadrich(labels, scores, weights) -> float:
    """Area under the precision–recall curve that is straight in (FP, TP) between scikit-learn's points.

    Between two points, ∫₀¹ (TP + s ΔTP) / (N + s ΔN) ds with N = TP + FP, times the step in recall.
    """
    fpr, tpr, _ = metrics.roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    positives, negatives = weights[labels == 1].sum(), weights[labels == 0].sum()
    tp, n = positives * tpr, positives * tpr + negatives * fpr
    tp, n = tp[np.diff(n, prepend=-1) > 0], n[np.diff(n, prepend=-1) > 0]
    d_tp, d_n = np.diff(tp), np.diff(n)
    slope = d_tp / d_n
    mean = slope.copy()  # the first step starts at the origin: its precision is constant
    mean[1:] += (tp[1:-1] - n[1:-1] * slope[1:]) * np.log1p(d_n[1:] / n[1:-1]) / d_n[1:]
    return float(np.sum(mean * d_tp) / positives)


class TestData:
    def test_is_every_occupant(self, data):
        assert len(data) == 26_217
        assert data["dead"].sum() == 1_180
        assert (data["weight"] == 0).sum() == 212

    def test_names_its_source_and_terms(self, data):
        assert "DAAG" in data.attrs["source"]
        assert data.attrs["terms"] == "GPL-3"

    def test_is_small(self):
        assert (EXAMPLES / "nass_cds.parquet").stat().st_size < 500_000


class TestFit:
    def test_script_is_short(self):
        assert len((EXAMPLES / "crash_fit.py").read_text(encoding="utf-8").splitlines()) < 60

    def test_coefficients_are_scikit_learns(self, script, data):
        x = script.design(data).to_numpy()
        model = LogisticRegression(C=np.inf, fit_intercept=False, solver="newton-cholesky", tol=1e-14)
        model.fit(x, data["dead"], sample_weight=data["weight"])
        np.testing.assert_allclose(script.fit(data, x), model.coef_[0], rtol=1e-10)

    def test_reduction_does_not_matter(self, script, data, monkeypatch):
        x = script.design(data).to_numpy()
        expected = script.fit(data, x)
        monkeypatch.setattr(script, "HEAD", gh.LogisticRegressionHead(weight_column="weight", loss_reduction="sum"))
        np.testing.assert_allclose(script.fit(data, x), expected, rtol=1e-10)

    def test_rows_of_weight_zero_are_absent(self, script, data):
        x = script.design(data).to_numpy()
        present = (data["weight"] > 0).to_numpy()
        np.testing.assert_allclose(script.fit(data[present], x[present]), script.fit(data, x), rtol=1e-10)

    def test_logits_are_the_fits(self, script, data):
        x = script.design(data).to_numpy()
        np.testing.assert_allclose(data["logit"], x @ script.fit(data, x), rtol=1e-10)

    def test_mean_prediction_is_mean_label(self, whole):
        # what the intercept's derivative being 0 says
        results = HEAD.results(whole)
        assert results["prediction/mean"] == pytest.approx(results["label/mean"], rel=1e-10)


class TestReport:
    def test_is_scikit_learns(self, data, whole):
        labels, weights, probabilities = data["dead"], data["weight"], expit(data["logit"])
        classes = (data["logit"] > 0).astype(int)
        expected = {
            "average_loss": metrics.log_loss(labels, probabilities, sample_weight=weights),
            "accuracy": metrics.accuracy_score(labels, classes, sample_weight=weights),
            "precision": metrics.precision_score(labels, classes, sample_weight=weights),
            "recall": metrics.recall_score(labels, classes, sample_weight=weights),
            "auc": metrics.roc_auc_score(labels, data["logit"], sample_weight=weights),
            "prediction/mean": np.average(probabilities, weights=weights),
            "label/mean": np.average(labels, weights=weights),
            "accuracy_baseline": 1 - np.average(labels, weights=weights),
        }
        results = {key: float(value) for key, value in HEAD.results(whole).items()}
        area = results.pop("auc_precision_recall")
        assert results == pytest.approx(expected, rel=1e-10)
        assert area == pytest.approx(davis_goadrich(labels, data["logit"], weights), rel=1e-10)
        # Average precision is another area, of steps, each as high as the precision at its end. Along a death of great
        # weight precision climbs, so its step is too high: the two are near, not equal.
        steps = metrics.average_precision_score(labels, data["logit"], sample_weight=weights)
        assert area == pytest.approx(steps, abs=2e-3)

    def test_bounds_hold_the_areas(self, data, whole):
        arguments = data["dead"], data["logit"]
        bounds = HEAD.bounds(whole)
        for key, exact in (
            ("auc", metrics.roc_auc_score(*arguments, sample_weight=data["weight"])),
            ("auc_precision_recall", davis_goadrich(*arguments, data["weight"])),
        ):
            lower, upper = bounds[key]
            assert lower <= exact <= upper
            assert upper - lower < 1e-9

    def test_weights_matter(self, data):
        unweighted = gh.BinaryClassHead().evaluate([(data["dead"], data[["logit"]])])
        assert float(unweighted["label/mean"]) == pytest.approx(1_180 / 26_217)

    def test_batches_add_up(self, data, whole):
        total = sum((statistics(data[i : i + 1000]) for i in range(0, len(data), 1000)), start=HEAD.empty())
        expected = {key: float(value) for key, value in HEAD.results(whole).items()}
        assert {key: float(value) for key, value in HEAD.results(total).items()} == pytest.approx(expected, rel=1e-12)

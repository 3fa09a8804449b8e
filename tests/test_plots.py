"""Plots: the band holds the exact curve, and what is drawn is what the record says."""

import io
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve, roc_curve

import glmheads as gh
from glmheads import plots
from glmheads.plots import bands

HEAD = gh.BinaryClassHead(extra_metrics="all")
CURVES = {"roc": plots.roc, "precision_recall": plots.precision_recall}
OF_BINS = {"calibration": plots.calibration, "scores": plots.scores}


def sample(n: int, seed: int = 0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and logits that are about calibrated."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(shift, 2.0, n)
    return (rng.random(n) < 1 / (1 + np.exp(-logits))).astype(float), logits


def record(labels, logits, weights=None, head=HEAD):
    features = None if weights is None else {"w": np.asarray(weights)}
    return head.statistics(np.asarray(labels), np.asarray(logits)[:, None], features)


def points(labels, scores, weights=None) -> tuple[np.ndarray, ...]:
    """False positive rate, true positive rate and precision below each distinct score, by sorting."""
    weights = np.ones_like(labels) if weights is None else weights
    order = np.argsort(-scores, kind="stable")
    labels, scores, weights = labels[order], scores[order], weights[order]
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    tp, fp = np.cumsum(weights * labels)[ends], np.cumsum(weights * (1 - labels))[ends]
    return fp / fp[-1], tp / tp[-1], np.divide(tp, tp + fp, out=np.ones_like(tp), where=tp + fp > 0)


def assert_within(curve: bands.Curve, x: np.ndarray, y: np.ndarray) -> None:
    """Each point is on the line, or in a piece of the band."""
    tolerance = 1e-9
    is_in = np.zeros(len(x), dtype=bool)
    if curve.band is not None:
        for left, right in zip(np.stack(curve.band, 1)[:-1], np.stack(curve.band, 1)[1:], strict=True):
            if np.isnan(left[1] + right[1]):
                continue
            width = right[0] - left[0]
            inside = (x >= left[0] - tolerance) & (x <= right[0] + tolerance)
            if width > 1e-9:
                share = (x - left[0]) / width
                low, high = ((1 - share) * left[row] + share * right[row] for row in (1, 2))
            else:
                low, high = np.full((2, len(x)), [[min(left[1], right[1])], [max(left[2], right[2])]])
            is_in |= inside & (y >= low - tolerance) & (y <= high + tolerance)
    for x0, x1, y0, y1 in zip(curve.x[:-1], curve.x[1:], curve.y[:-1], curve.y[1:], strict=True):
        inside = (x >= x0 - tolerance) & (x <= x1 + tolerance)
        on = y0 + (y1 - y0) * (x - x0) / (x1 - x0) if x1 - x0 > 1e-9 else np.clip(y, min(y0, y1), max(y0, y1))
        is_in |= inside & (abs(y - on) <= 1e-6)
    assert is_in.all(), f"{(~is_in).sum()} of {len(x)} points are outside, first {x[~is_in][0], y[~is_in][0]}"


class TestBands:
    """Laws of the band, on data that are sorted by other means."""

    @given(seed=st.integers(0, 99), shift=st.sampled_from([-6.0, 0.0, 3.0]), weighted=st.booleans())
    def test_of_many_scores_they_hold_the_exact_curve(self, seed, shift, weighted):
        labels, logits = sample(60_000, seed, shift)
        weights = np.random.default_rng(seed).gamma(0.5, size=60_000) if weighted else None
        head = gh.BinaryClassHead(weight_column="w" if weighted else None)
        seen = record(labels, logits, weights, head)
        fpr, tpr, precision = points(labels, logits, weights)
        some = np.random.default_rng(1).choice(len(fpr), 400)
        roc, pr = bands.roc_curve(head, seen), bands.precision_recall_curve(head, seen)
        assert_within(roc, fpr[some], tpr[some])
        # Before the first positive there is no precision.
        some = some[tpr[some] > 0]
        assert_within(pr, tpr[some], precision[some])
        assert len(roc.band.x) < 1000
        assert len(pr.band.x) < 3000

    @given(
        data=st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.3, 1.0])), min_size=2, max_size=40),
    )
    def test_of_few_scores_they_are_exact(self, data):
        logits, labels = (np.asarray(column, dtype=float) for column in zip(*data, strict=True))
        seen = record(labels, logits)
        roc, pr = bands.roc_curve(HEAD, seen), bands.precision_recall_curve(HEAD, seen)
        if labels.min() == labels.max() and labels[0] in (0, 1):
            assert roc == pr == ("no positives" if labels[0] == 0 else "no negatives")
            return
        assert roc.band is None
        assert pr.band is None
        fpr, tpr, precision = points(labels, logits)
        assert_within(roc, fpr, tpr)
        some = tpr > 0
        assert_within(pr, tpr[some], precision[some])

    def test_between_thresholds_any_order_is_held(self):
        # In a bucket of the probability: negatives first, or positives first.
        head = gh.BinaryClassHead(num_thresholds=5)
        probabilities = np.asarray([0.9, 0.6, 0.6, 0.6, 0.6, 0.1])
        labels = np.asarray([1.0, 1, 1, 0, 0, 0])
        seen = record(labels, np.log(probabilities / (1 - probabilities)), head=head)
        for moved in ([0, 0, 0.01, 0.02, 0.03, 0], [0, 0.03, 0.04, 0.01, 0.02, 0]):
            fpr, tpr, precision = points(labels, probabilities + moved)
            assert_within(bands.roc_curve(head, seen), fpr, tpr)
            assert_within(bands.precision_recall_curve(head, seen), tpr, precision)
        assert bands.roc_curve(head, seen).band is not None

    def test_a_tie_between_intervals_is_a_line(self):
        labels, logits = sample(60_000)
        labels, logits = np.append(labels, np.tile([0.0, 1.0], 10_000)), np.append(logits, np.full(20_000, 0.25))
        curve = bands.roc_curve(HEAD, record(labels, logits))
        fpr, tpr, _ = points(labels, logits)
        start = np.argmax(np.diff(fpr))
        middle = (fpr[start] + fpr[start + 1]) / 2
        at = np.searchsorted(curve.band.x, middle)
        assert np.isnan(curve.band.low[at - 1])
        assert np.interp(middle, curve.x, curve.y) == pytest.approx((tpr[start] + tpr[start + 1]) / 2, abs=1e-3)

    def test_infinite_logits(self):
        labels, logits = np.asarray([1.0, 0, 1, 0]), np.asarray([np.inf, np.inf, 0.0, -np.inf])
        curve = bands.roc_curve(HEAD, record(labels, logits))
        assert curve.x.tolist() == [0, 0.5, 0.5, 1]
        assert curve.y.tolist() == [0, 0.5, 1, 1]


class TestCurves:
    """Facts of another library."""

    def test_roc(self):
        labels, logits = sample(2000)
        line = plots.roc(HEAD, record(labels, logits)).lines[-1]
        fpr, tpr, _ = roc_curve(labels, logits, drop_intermediate=False)
        np.testing.assert_allclose(line.get_xdata(), fpr, atol=1e-12)
        np.testing.assert_allclose(line.get_ydata(), tpr, atol=1e-12)

    def test_precision_recall(self):
        labels, logits = sample(2000)
        line = plots.precision_recall(HEAD, record(labels, logits)).lines[-1]
        precision, recall, _ = precision_recall_curve(labels, logits)
        np.testing.assert_allclose(line.get_xdata()[1:], recall[:-1][::-1], atol=1e-12)
        np.testing.assert_allclose(line.get_ydata()[1:], precision[:-1][::-1], atol=1e-12)

    def test_of_rare_events_the_axis_of_precision_ends_near_the_curve(self):
        labels, logits = sample(100_000, shift=-9.0)
        ax = plots.precision_recall(HEAD, record(labels, logits))
        assert ax.get_ylim()[1] < 0.9
        higher = plots.precision_recall(HEAD, record(*sample(1000)), ax)
        assert higher.get_ylim()[1] > 1

    def test_a_head_without_curves_is_refused(self):
        head = gh.RegressionHead()
        for draw in CURVES.values():
            with pytest.raises(ValueError, match="RegressionHead has no ROC"):
                draw(head, head.empty())

    def test_a_record_of_another_head_is_refused(self):
        for draw in (*CURVES.values(), *OF_BINS.values()):
            with pytest.raises(ValueError, match="differently configured head"):
                draw(HEAD, gh.BinaryClassHead().empty())


class TestCalibration:
    def test_equal_groups_are_those_of_another_library(self):
        labels, logits = sample(20_000)
        ax = plots.calibration(HEAD, record(labels, logits), scale="probability")
        observed, predicted = calibration_curve(labels, 1 / (1 + np.exp(-logits)), n_bins=15)
        np.testing.assert_allclose(ax.lines[-1].get_xdata(), predicted, rtol=1e-12)
        np.testing.assert_allclose(ax.lines[-1].get_ydata(), observed, rtol=1e-12)

    def test_log_odds_have_groups_of_half_a_unit(self):
        labels, logits = sample(20_000, shift=-5.0)
        ax = plots.calibration(HEAD, record(labels, logits), scale="log-odds")
        group = np.floor(logits * 2)
        for x, y in zip(ax.lines[-1].get_xdata(), ax.lines[-1].get_ydata(), strict=True):
            inside = group == np.floor(2 * (np.log(x) - np.log1p(-x)))
            assert x == pytest.approx((1 / (1 + np.exp(-logits[inside]))).mean(), rel=1e-9)
            assert np.isnan(y) if labels[inside].mean() in (0, 1) else y == pytest.approx(labels[inside].mean())
        (counts,) = ax.child_axes
        assert sum(bar.get_height() for bar in counts.patches) == 20_000

    def test_intervals_are_wilsons(self):
        stats = pytest.importorskip("scipy.stats")
        labels, logits = np.repeat([1.0, 0.0], [3, 7]), np.zeros(10)
        ax = plots.calibration(HEAD, record(labels, logits), scale="probability")
        (drawn,) = ax.collections
        interval = stats.binomtest(3, 10).proportion_ci(method="wilson")
        np.testing.assert_allclose(drawn.get_segments()[0][:, 1], [interval.low, interval.high], rtol=1e-12)

    def test_weights_have_no_intervals(self):
        head = gh.BinaryClassHead(weight_column="w", extra_metrics="all")
        labels, logits = sample(100)
        assert not plots.calibration(head, record(labels, logits, np.full(100, 2.0), head)).collections

    @pytest.mark.parametrize(("shift", "is_rare"), [(0.0, False), (-8.0, True), (8.0, True)])
    def test_rare_events_are_on_log_odds(self, shift, is_rare):
        seen = record(*sample(5000, shift=shift))
        assert plots.is_of_rare_events(HEAD, seen) is is_rare
        assert plots.calibration(HEAD, seen).get_xscale() == ("logit" if is_rare else "linear")

    def test_scores_are_a_histogram_of_each_class(self):
        labels, logits = sample(5000)
        ax = plots.scores(HEAD, record(labels, logits), scale="probability")
        for patch, label in zip(ax.patches[::2], (0, 1), strict=True):
            values, edges, _ = patch.get_data()
            counts, _ = np.histogram(1 / (1 + np.exp(-logits[labels == label])), edges)
            np.testing.assert_allclose(values, counts / (labels == label).sum(), atol=1e-12)

    @pytest.mark.parametrize("draw", OF_BINS.values(), ids=list(OF_BINS))
    def test_what_is_missing_is_named(self, draw):
        head = gh.BinaryClassHead()
        with pytest.raises(ValueError, match='extra_metrics="all"'):
            draw(head, head.empty())
        with pytest.raises(ValueError, match="scale must be"):
            draw(HEAD, HEAD.empty(), scale="odds")


SITES = {"logits": [2.0, -1.0, 0.5, 3.0, 1.0], "labels": [1, 0, 0, 1, 1], "site": ["a", "a", "b", "b", "$c_1^$"]}


class TestSlices:
    def test_dots_are_the_metric_and_counts_stand_beside(self):
        found = gh.evaluate(HEAD, SITES, by="site")
        ax = plots.slices(found, metric="accuracy")
        names = [text.get_text() for text in ax.get_yticklabels()]
        assert names == ["$c_1^$", "a", "b"]
        assert not any(text.get_parse_math() for text in ax.get_yticklabels())
        dots = ax.lines[0].get_xdata().tolist()
        assert dots == [found.slices[name,].results["accuracy"] for name in names]
        assert [text.get_text() for text in ax.texts] == ["all", "1", "2", "2"]

    def test_an_area_of_one_class_is_not_drawn(self):
        ax = plots.slices(gh.evaluate(gh.BinaryClassHead(name="x"), SITES, by="site"))
        assert ax.get_xlabel() == "auc/x"
        np.testing.assert_array_equal(ax.lines[0].get_xdata(), [np.nan, 1, 1])

    def test_of_many_the_largest(self):
        data = {"logits": [0.0] * 12, "labels": [1, 0] * 6, "k": [1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 6]}
        ax = plots.slices(gh.evaluate(HEAD, data, by="k"), most=2)
        assert [text.get_text() for text in ax.get_yticklabels()] == ["3", "4"]

    def test_what_there_is_not_is_refused(self):
        found = gh.evaluate(HEAD, SITES, by="site")
        with pytest.raises(ValueError, match=r"no metric 'area'\. It has average_loss"):
            plots.slices(found, metric="area")
        with pytest.raises(ValueError, match="most must be"):
            plots.slices(found, most=0)
        assert plots.slices(gh.evaluate(HEAD, {k: v for k, v in SITES.items() if k != "site"})).texts


DRAWS = {**CURVES, **OF_BINS}


class TestAxes:
    @pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))
    def test_draws_where_it_is_told(self, draw):
        seen = record(*sample(100))
        ax = Figure().subplots()
        assert draw(HEAD, seen, ax, label="monday") is ax
        assert any("monday" in text for text in ax.get_legend_handles_labels()[1])
        assert isinstance(draw(HEAD, seen), Axes)

    @pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))
    @pytest.mark.parametrize(
        ("labels", "logits", "why"),
        [([], [], "no data"), ([1, 0], [np.nan, 1.0], "1 bad logits"), ([0, 0], [1.0, 2.0], "no positives")],
    )
    def test_says_why_there_is_nothing(self, draw, labels, logits, why):
        ax = draw(HEAD, record(np.asarray(labels, dtype=float), np.asarray(logits, dtype=float)))
        if draw in OF_BINS.values() and why == "no positives":
            assert not ax.texts
        else:
            assert why in ax.texts[0].get_text()
        ax.figure.savefig(io.BytesIO(), format="svg")

    @pytest.mark.parametrize("n", [1, 2, 3, 1000])
    @pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e30])
    @pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))
    def test_any_data_can_be_drawn(self, draw, n, scale, tmp_path):
        labels, logits = sample(n)
        draw(HEAD, record(labels, logits * scale)).figure.savefig(tmp_path / "plot.png")

    def test_the_state_of_matplotlib_is_as_it_was(self):
        code = (
            "import sys, matplotlib as mpl, glmheads as gh; from glmheads import plots; before = mpl.rcParams.copy(); "
            "head = gh.BinaryClassHead(extra_metrics='all'); s = head.statistics([1, 0], [[1.0], [0.0]]); "
            "[draw(head, s) for draw in (plots.roc, plots.precision_recall, plots.calibration, plots.scores)]; "
            "assert 'matplotlib.pyplot' not in sys.modules; assert dict.__eq__(before, mpl.rcParams)"
        )
        subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)

    def test_colours_are_matplotlibs(self):
        with mpl.rc_context({"axes.prop_cycle": "cycler('color', ['#123456', '#654321'])"}):
            ax = plots.roc(HEAD, record(*sample(60_000)))
            plots.roc(HEAD, record(*sample(60_000)), ax)
        # Each draws a diagonal too, which does not take a colour.
        assert [line.get_color() for line in ax.lines[1::2]] == ["#123456", "#654321"]
        assert [tuple(band.get_facecolor()[0][:3]) for band in ax.collections] == [
            to_rgba("#123456")[:3],
            to_rgba("#654321")[:3],
        ]

    def test_without_matplotlib_it_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(ImportError, match=r"pip install 'glmheads\[plots\]'"):
            plots.roc(HEAD, HEAD.empty())

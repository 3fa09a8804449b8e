"""Records of scores in cells: bounds hold the exact areas however data are cut, merged and compressed."""

import functools
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
from scipy.special import expit
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from glmheads.kernels import cell_table, cells
from glmheads.kernels.cell_areas import Areas, areas, curve_points, totals
from glmheads.kernels.cells import Cells

# ---------------------------------------------------------------------------------------------------------------------
# The truth

Rows = Sequence[tuple[float, float]]
"""Scores and signed weights of one segment."""


def by_score(rows: Rows) -> list[tuple[Fraction, Fraction]]:
    """Exact weights of positives and negatives by descending score."""
    weights: dict[float, list[Fraction]] = {}
    for score, weight in rows:
        pair = weights.setdefault(float(score), [Fraction(0), Fraction(0)])  # −0.0 and 0.0 are one key
        pair[math.copysign(1, weight) < 0] += abs(Fraction(float(weight)))
    return [(p, n) for _, (p, n) in sorted(weights.items(), reverse=True)]


def exact_areas(rows: Rows) -> tuple[Fraction | None, Fraction | None]:
    """ROC as a fraction, Davis and Goadrich's with a logarithm of many digits for each tie; None where undefined."""
    weights = by_score(rows)
    positives, negatives = sum(p for p, _ in weights), sum(n for _, n in weights)
    roc = pr = tp = fp = Fraction(0)
    digits = 800 if any(not 1e-9 < abs(w) < 1e9 for _, w in rows) else 60
    with mpmath.workdps(digits):
        for p, n in weights:
            roc += p * (negatives - fp - n / 2)
            if p:
                # TP runs from tp to tp + p, FP = a + b TP.
                b = n / p
                a = fp - b * tp
                log = Fraction(0)
                if tp + fp and a:
                    ratio = (tp + fp + p + n) / (tp + fp)
                    found = mpmath.log(mpmath.mpf(ratio.numerator) / ratio.denominator)
                    log = Fraction(int(mpmath.ldexp(found, 3 * digits)), 2 ** (3 * digits)) * a / (1 + b)
                pr += (p - log) / (1 + b)
            tp, fp = tp + p, fp + n
    return (
        roc / (positives * negatives) if positives and negatives else None,
        pr / positives if positives else None,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Data

TIED = st.integers(-3, 3).map(float)
SPECIAL = st.sampled_from([0.0, -0.0, math.inf, -math.inf, 1e-45, -1e-45, 3.4e38, -3.4e38, 1.0, 1.0 + 2**-23])
SCORES = st.one_of(TIED, SPECIAL, st.floats(allow_nan=False, width=32))
DOUBLES = st.one_of(SCORES, st.sampled_from([5e-324, 1.7e308, 1 + 2**-52]), st.floats(allow_nan=False))
WEIGHTS = st.sampled_from([1.0, 1.0, -1.0, -1.0, 2.0, -0.5, 0.0, 0.1, -0.1, 3.0, -3.0])
RUGGED = st.one_of(
    WEIGHTS,
    st.sampled_from([5e-324, -5e-324, 1e-160, -1e-160, 1e160, -1e160, 1e300, -1e300]),
    st.floats(allow_nan=False, allow_infinity=False),
)


@st.composite
def batches(draw: Any, scores: Any = SCORES, weights: Any = WEIGHTS, dtype: Any = np.float32, most: int = 40) -> Any:
    """Batches of rows (code, score, weight) and the number of segments."""
    segments = draw(st.integers(1, 4))
    row = st.tuples(st.integers(0, segments - 1), scores, weights)
    data = draw(st.lists(st.lists(row, max_size=most), min_size=1, max_size=5))
    return [[(code, float(dtype(score)), weight) for code, score, weight in batch] for batch in data], segments


def record_of(batch: Any, segments: int, dtype: Any = np.float32, weights: Any = np.float64) -> Cells:
    code, score, weight = (list(column) for column in zip(*batch, strict=True)) if batch else ([], [], [])
    codes = None if segments == 1 else np.asarray(code, np.int64)
    return cells.build(np.asarray(score, dtype), np.asarray(weight, weights), codes, segments)


def of_segment(data: Any, segment: int) -> Rows:
    return [(score, weight) for batch in data for code, score, weight in batch if code == segment and weight]


# ---------------------------------------------------------------------------------------------------------------------
# What holds


def assert_valid(record: Cells, most: int | None = None) -> None:
    """Whether the record is one."""
    offsets, low, level, positive, negative, _ = record
    assert offsets[0] == 0
    assert offsets[-1] == len(low) == len(level) == len(positive) == len(negative)
    assert offsets.dtype == np.int64
    assert level.dtype == np.uint8
    assert positive.dtype == negative.dtype == np.float64
    assert np.all((positive >= 0) & (negative >= 0) & ((positive > 0) | (negative > 0)))
    width = 8 * low.dtype.itemsize
    for start, stop in itertools.pairwise(offsets):
        assert most is None or stop - start <= most
        keys = [(int(a), -int(b)) for a, b in zip(low[start:stop], level[start:stop], strict=True)]
        assert keys == sorted(set(keys))
        assert all((a + 2 ** (width - 1)) % 2**-b == 0 and -b <= width for a, b in keys)


def assert_places(record: Cells, data: Any) -> None:
    """Whether every weight lies in its cell: no threshold has more below it, or above it, than the data."""
    for segment in range(record.segments):
        rows = of_segment(data, segment)
        mine = slice(record.offsets[segment], record.offsets[segment + 1])
        low, last = (cells.scores(a[mine]).astype(float) for a in (record.low, cells.last_images(record)))
        for sign, weight in ((1, record.positive[mine]), (-1, record.negative[mine])):
            for threshold in {score for score, _ in rows}:
                below = sum(abs(w) for s, w in rows if s <= threshold and math.copysign(1, w) == sign)
                most, least = (sum(weight[ends <= threshold].tolist()) for ends in (low, last))
                assert least <= below * (1 + 1e-13) <= most * (1 + 1e-12)


def assert_holds(found: Areas, data: Any, width: float = 1.0) -> None:
    """Whether the bounds hold the exact areas of every segment, and are no wider but for what fixed point costs."""
    for segment in range(found.auc.shape[1]):
        rows = of_segment(data, segment)
        may_overflow = any(not 1e-100 < abs(weight) < 1e100 for _, weight in rows)
        widths = width, width + 3e-10
        for bounds, exact, most in zip(found[:2], exact_areas(rows), widths, strict=True):
            lower, value, upper = bounds[:, segment].tolist()
            if exact is None:
                assert all(map(math.isnan, (lower, value, upper)))
            elif not (may_overflow and math.isnan(value)):
                assert 0 <= lower <= value <= upper <= 1
                assert lower <= exact <= upper
                assert upper - lower <= most


def merged(draw: Any, records: list[Cells], most: int) -> Cells:
    """The sum of the records in any order, each step compressed."""
    while len(records) > 1:
        one, other = (records.pop(draw(st.integers(0, len(records) - 1))) for _ in range(2))
        both = cells.add(one, other)
        assert_valid(both)
        records.append(cells.compress(both, most))
        assert_valid(records[-1], most)
    return cells.compress(records[0], most)


class TestImages:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @given(st.data())
    def test_order(self, dtype, data):
        values = np.asarray(data.draw(st.lists(DOUBLES, min_size=2)))
        with np.errstate(over="ignore"):
            values = values.astype(dtype)
        images = cells.images(values)
        for (a, b), (i, j) in zip(itertools.pairwise(values), itertools.pairwise(images), strict=True):
            assert (a < b, a == b) == (i < j, i == j)
        np.testing.assert_array_equal(cells.scores(images), values)

    def test_beyond_infinity(self):
        info = np.iinfo(np.int32)
        np.testing.assert_array_equal(cells.scores(np.asarray([info.min, info.max], np.int32)), [-np.inf, np.inf])


class TestRecords:
    @settings(max_examples=200)
    @given(st.data())
    def test_exact(self, data):
        """Cells of single scores give the exact areas."""
        rows, segments = data.draw(batches(weights=RUGGED))
        record = functools.reduce(cells.add, (record_of(batch, segments) for batch in rows))
        assert_valid(record)
        assert not record.level.any()
        assert_holds(areas(record), rows, width=1e-11)

    @settings(max_examples=300)
    @given(st.data())
    def test_any_merge(self, data):
        """Bounds hold in whatever batches data come, and in whatever order records are added and compressed."""
        dtype = data.draw(st.sampled_from([np.float32, np.float64]))
        rows, segments = data.draw(
            batches(SCORES if dtype == np.float32 else DOUBLES, data.draw(st.sampled_from([WEIGHTS, RUGGED])), dtype)
        )
        most = data.draw(st.sampled_from([2, 4, 8, 16]))
        records = [cells.compress(record_of(batch, segments, dtype), most) for batch in rows]
        for record in records:
            assert_valid(record, most)
        record = merged(data.draw, records, most)
        assert_places(record, rows)
        assert_holds(areas(record), rows)

    @settings(max_examples=100)
    @given(st.data())
    def test_both_widths(self, data):
        """Records of float32 and of float64 scores add up."""
        rows, segments = data.draw(batches())
        records = [
            cells.compress(record_of(batch, segments, data.draw(st.sampled_from([np.float32, np.float64]))), 6)
            for batch in rows
        ]
        record = merged(data.draw, records, 6)
        assert_places(record, rows)
        assert_holds(areas(record), rows)
        wide = cells.widen(record)
        assert_valid(wide)
        assert_places(wide, rows)

    @given(st.data())
    def test_commutes(self, data):
        rows, segments = data.draw(batches(weights=st.sampled_from([1.0, -1.0, 2.0, -0.5])))
        one, other = (cells.compress(record_of(batch, segments), 5) for batch in (rows[0], rows[-1]))
        for a, b in zip(cells.add(one, other), cells.add(other, one), strict=True):
            np.testing.assert_array_equal(a, b)


class TestBuild:
    """However rows are sorted: as one integer of code, image and sign, weight or row, or else by an order."""

    @pytest.mark.parametrize("weights", ["ones", "float32", "float64"])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("segments", [1, 2, 2**20, 2**31])
    @given(st.data())
    def test_weights(self, segments, dtype, weights, data):
        rows = data.draw(
            st.lists(
                st.tuples(
                    st.integers(0, min(segments, 2**20) - 1) | st.sampled_from([0, min(segments, 2**20) - 1]),
                    SCORES,
                    st.sampled_from([1.0, -1.0] if weights == "ones" else [0.0, 1.5, -2.0, 0.25, -0.0]),
                ),
                max_size=30,
            )
        )
        code, score, weight = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
        given_codes = None if segments == 1 else np.asarray(code, np.int64)
        weight_dtype = np.float64 if weights == "float64" else np.float32
        record = cells.build(
            np.asarray(score, dtype), np.asarray(weight, weight_dtype), given_codes, min(segments, 2**20)
        )
        expected: dict[tuple[int, float], list[float]] = {}
        for c, x, w in rows:
            if w:
                expected.setdefault((c, x), [0.0, 0.0])[w < 0] += abs(w)
        found = zip(
            cells.segment_column(record), cells.scores(record.low), record.positive, record.negative, strict=True
        )
        assert [((c, x), [p, n]) for c, x, p, n in found] == sorted(expected.items())
        assert record.low.dtype == (np.int32 if dtype == np.float32 else np.int64)


class TestSegments:
    @settings(max_examples=100)
    @given(st.data())
    def test_alone_or_beside_others(self, data):
        """A segment reads the same, to the bit, whatever is beside it."""
        rows, segments = data.draw(batches(weights=RUGGED))
        record = cells.compress(functools.reduce(cells.add, (record_of(batch, segments) for batch in rows)), 6)
        found = areas(record)
        for segment in range(segments):
            alone = [[(0, *row) for row in of_segment([batch], segment)] for batch in rows]
            one = cells.compress(functools.reduce(cells.add, (record_of(batch, 1) for batch in alone)), 6)
            np.testing.assert_array_equal(areas(one).auc[1, 0], found.auc[1, segment])
            np.testing.assert_allclose(areas(one).auc, found.auc[:, segment : segment + 1], atol=1e-12)

    def test_small_beside_large(self):
        rng = np.random.default_rng(0)
        scores, weights = rng.normal(size=50_000), np.where(rng.random(50_000) < 0.3, 1e15, -1e15)
        codes = np.zeros(50_000, np.int64)
        codes[25_000:25_100], weights[25_000:25_100] = 1, np.sign(weights[25_000:25_100])
        mine = codes == 1
        found = areas(cells.build(scores, weights, codes, 3))
        assert found.auc[1, 1] == pytest.approx(roc_auc_score(weights[mine] > 0, scores[mine]), abs=1e-15)
        assert np.isnan(found.auc[:, 2]).all()
        np.testing.assert_array_equal(found.positive[1:], [(weights[mine] > 0).sum(), 0])

    def test_place(self):
        one = cells.build(np.asarray([1.0, 2.0, 3.0]), np.asarray([1.0, -1.0, 1.0]), np.asarray([0, 1, 1]), 2)
        placed = cells.place(one, np.asarray([1, 3]), 5)
        np.testing.assert_array_equal(cells.segment_column(placed), [1, 3, 3])
        assert_valid(placed)

    def test_empty(self):
        none = cells.empty(3)
        assert_valid(none)
        record = cells.build(np.ones(1, np.float32), np.ones(1), np.asarray([2]), 3)
        for both in (cells.add(none, record), cells.add(record, none)):
            np.testing.assert_array_equal(cells.segment_column(both), [2])
        assert np.isnan(areas(none).auc).all()
        assert len(curve_points(none).thresholds) == 0

    def test_capacity(self):
        assert cells.capacity(1) == cells.capacity(0) == 28_672
        assert cells.capacity(1_000) == 2_097
        assert cells.capacity(100_000) == 256


class TestAbsorb:
    @settings(max_examples=200)
    @given(st.data())
    def test_bounds(self, data):
        dtype = data.draw(st.sampled_from([np.float32, np.float64]))
        rows, segments = data.draw(batches(SCORES if dtype == np.float32 else DOUBLES, dtype=dtype))
        if dtype == np.float64:
            rows, segments = [[(0, *row[1:]) for row in batch] for batch in rows], 1
        most = data.draw(st.sampled_from([4, 16]))
        record = cells.compress(record_of(rows[0], segments, dtype), most)
        for batch in rows[1:]:
            run = record_of(batch, segments, dtype)
            taken, rest = cells.absorb(record, run, most)
            assert_valid(taken, most)
            assert_valid(rest)
            assert len(taken.low) == len(record.low)
            record = cells.compress(cells.add(taken, rest), most)
        assert_places(record, rows)
        assert_holds(areas(record), rows)

    @given(st.data())
    def test_extend(self, data):
        rows, segments = data.draw(batches(data.draw(st.sampled_from([SCORES, DOUBLES])), dtype=np.float64))
        record = cells.empty(segments, np.float64)
        for batch in rows:
            record = cells.extend(record, record_of(batch, segments, np.float64), 8)
            assert_valid(record, 8)
        assert_places(record, rows)
        assert_holds(areas(record), rows)


class TestCurves:
    @settings(max_examples=100)
    @given(st.data())
    def test_points_are_on_the_curves(self, data):
        rows, segments = data.draw(batches())
        most = data.draw(st.sampled_from([4, 100]))
        record = merged(data.draw, [cells.compress(record_of(batch, segments), most) for batch in rows], most)
        found = curve_points(record)
        for segment in range(segments):
            mine = slice(found.offsets[segment], found.offsets[segment + 1])
            points = list(zip(*(column[mine] for column in found[1:]), strict=True))
            data_here = of_segment(rows, segment)
            assert bool(points) == bool(data_here)
            if points:
                assert points[0][0] == math.inf
                assert points[0][3] == 1
            positives = sum(w for _, w in data_here if w > 0)
            negatives = -sum(w for _, w in data_here if w < 0)
            for threshold, fpr, recall, precision in points[1:]:
                tp = sum(w for x, w in data_here if x >= threshold and w > 0)
                fp = -sum(w for x, w in data_here if x >= threshold and w < 0)
                assert recall == pytest.approx(tp / positives if positives else math.nan, abs=1e-12, nan_ok=True)
                assert fpr == pytest.approx(fp / negatives if negatives else math.nan, abs=1e-12, nan_ok=True)
                assert precision == pytest.approx(tp / (tp + fp), abs=1e-12)
            thresholds = [point[0] for point in points]
            assert thresholds == sorted(set(thresholds), reverse=True) or thresholds[:2] == [math.inf, math.inf]

    def test_scikit_learn(self):
        rng = np.random.default_rng(4)
        scores, labels, weights = rng.integers(-30, 30, 500) / 4, rng.integers(0, 2, 500), rng.choice([0.5, 1, 2], 500)
        found = curve_points(cells.build(scores, np.where(labels, weights, -weights)))
        fpr, tpr, thresholds = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
        np.testing.assert_array_equal(found.thresholds, thresholds)
        np.testing.assert_allclose(found.false_positive_rate, fpr, atol=1e-14)
        np.testing.assert_allclose(found.recall, tpr, atol=1e-14)
        precision, recall, _ = precision_recall_curve(labels, scores, sample_weight=weights)
        np.testing.assert_allclose(found.precision, precision[::-1], atol=1e-14)
        np.testing.assert_allclose(found.recall, recall[::-1], atol=1e-14)


# ---------------------------------------------------------------------------------------------------------------------
# Large data

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
    "sorted": lambda rng, n: (np.sort(rng.normal(0, 3, n)), 0.0, 1.0),
    "drift": lambda rng, n: (rng.normal(0, 2, n) * np.linspace(1, 4, n) + np.linspace(0, 4, n), 0.0, 1.0),
    "rounded": lambda rng, n: (np.round(rng.normal(0, 3, n), 2), 0.0, 1.0),
    "perfect": lambda rng, n: (rng.normal(0, 3, n), 0.0, 1e9),
    "no skill": lambda rng, n: (rng.normal(0, 3, n), 0.0, 0.0),
    "clicks": lambda rng, n: (rng.normal(0, 2, n), -7.0, 1.0),
}
COUNT = 400_000


def stream(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and the signed weights of labels that follow the model."""
    rng = np.random.default_rng(7)
    scores, shift, scale = STREAMS[name](rng, COUNT)
    positive = rng.random(COUNT) < expit((scores + shift) * scale)
    return scores.astype(np.float32), np.where(positive, np.float32(1), np.float32(-1))


def assert_narrow(record: Cells, name: str, scores: np.ndarray, weights: np.ndarray) -> None:
    assert_valid(record, cells.capacity(record.segments))
    found, exact = areas(record), areas(cells.build(scores, weights))
    assert exact.auc[1, 0] == pytest.approx(roc_auc_score(weights > 0, scores), abs=1e-12)
    near = 2e-5, 4e-4
    widest = 1e-9 if name in ("rounded", "perfect") else 1.5e-4, 5e-3 if name == "clicks" else 1e-3
    for bounds, truth, width, error in zip(found[:2], exact[:2], widest, near, strict=True):
        lower, value, upper = bounds[:, 0]
        assert lower <= truth[1, 0] <= upper
        assert upper - lower <= width
        assert abs(value - truth[1, 0]) <= error


each_stream = pytest.mark.parametrize("name", STREAMS)


class TestStreams:
    @each_stream
    def test_one_piece(self, name):
        scores, weights = stream(name)
        assert_narrow(cells.compress(cells.build(scores, weights)), name, scores, weights)

    @each_stream
    @pytest.mark.parametrize("how", ["linear", "balanced", "rows"])
    def test_pieces(self, name, how):
        scores, weights = stream(name)
        rows = np.split(np.arange(COUNT), 200 if how != "rows" else 10)
        pieces = [cells.build(scores[i], weights[i]) for i in rows]
        if how == "rows":
            assert_narrow(functools.reduce(cells.extend, pieces, cells.empty()), name, scores, weights)
            return
        while len(pieces) > 1:
            two = 2 if how == "linear" else len(pieces) - len(pieces) % 2
            pairs = zip(pieces[:two:2], pieces[1:two:2], strict=True)
            pieces = [cells.compress(cells.add(one, other)) for one, other in pairs] + pieces[two:]
        assert_narrow(pieces[0], name, scores, weights)

    def test_capacity_holds_where_every_share_is_too_large(self):
        """Spikes with scores around them on every scale: chains of cells of which one half is heavy."""
        rng = np.random.default_rng(2)
        scores = rng.choice(rng.normal(size=2_000), 600_000) * (1 + 2.0 ** -rng.integers(1, 24, 600_000))
        weights = np.where(rng.random(600_000) < 0.5, 1.0, -1.0)
        record = cells.compress(cells.build(scores.astype(np.float32), weights), 1_000)
        assert_valid(record, 1_000)
        assert len(record.low) > 250

    def test_sums_of_tenths(self):
        """Bounds allow for the roundings of many additions."""
        tenths = cells.build(np.asarray([0.0, 1.0, 1.0]), np.asarray([-0.1, 0.1, -0.1]))
        third = cells.build(np.asarray([0.0]), np.asarray([0.1]))
        sums, count = tenths, 1
        for _ in range(20):
            sums = cells.add(sums, sums)
            count *= 2
        for _ in range(1_000):
            sums = cells.add(sums, tenths)
        sums = cells.add(sums, third)
        count += 1_000
        positives = count + 1  # tenths
        exact = Fraction(count * count + count * count // 2 * 1 + Fraction(count, 2), positives * 2 * count)
        exact = (count * (count + Fraction(count, 2)) + Fraction(count, 2)) / Fraction(positives * 2 * count)
        lower, _, upper = areas(sums).auc[:, 0]
        assert lower <= exact <= upper
        assert upper - lower <= 2e-12


class TestTable:
    @each_stream
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_widths(self, name, dtype):
        scores, weights = (a.astype(dtype) for a in stream(name))
        size = 100_000
        table = cell_table.table(scores[:size], weights[:size])
        if name == "rounded":
            assert table is None
            return
        sums = np.zeros((table.cells, 2))
        rows, records = 0, []
        for start in range(0, COUNT, size):
            block = slice(start, start + size)
            slots = cell_table.slots(table, scores[block])
            if cell_table.fits(table, slots):
                cell_table.weigh(sums, slots, weights[block])
                rows += size
            else:
                records.append(cells.build(scores[block], weights[block]))
        assert bool(records) == (name in ("sorted", "drift") or (dtype == np.float64 and name.startswith("N(-40")))
        record = cell_table.cells_of(table, sums, rows)
        assert_valid(record)
        record = functools.reduce(cells.extend, records, cells.compress(record))
        np.testing.assert_allclose(totals(record)[0], weights[weights > 0].sum())
        assert_narrow(record, name, scores, weights)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_every_score_has_its_cell(self, dtype):
        rng = np.random.default_rng(3)
        scores = rng.standard_cauchy(60_000).astype(dtype)
        table = cell_table.table(scores, np.where(rng.random(60_000) < 0.1, 1.0, -1.0))
        others = np.asarray([-np.inf, -1e30, -1.0, -0.0, 0.0, 1e-40, 1.0, 3e38, np.inf], dtype)
        for score in (*others, *scores[:200]):
            sums = np.zeros((table.cells, 2))
            cell_table.weigh(sums, cell_table.slots(table, np.asarray([score])), np.asarray([2.0]))
            record = cell_table.cells_of(table, sums, 1)
            assert record.positive.tolist() == [2.0]
            assert record.low[0] <= cells.images(np.asarray([score]))[0] <= cells.last_images(record)[0]

    def test_few_rows(self):
        assert cell_table.table(np.zeros(3), np.ones(3)) is None

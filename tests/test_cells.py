"""Records of scores in cells: bounds hold the exact areas however data are cut, merged and compressed."""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from glmheads.kernels import cells
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
    """Whether the bounds hold the exact areas of every segment."""
    for segment in range(found.auc.shape[1]):
        rows = of_segment(data, segment)
        may_overflow = any(not 1e-100 < abs(weight) < 1e100 for _, weight in rows)
        for bounds, exact in zip(found[:2], exact_areas(rows), strict=True):
            lower, value, upper = bounds[:, segment].tolist()
            if exact is None:
                assert math.isnan(lower) and math.isnan(value) and math.isnan(upper)
            elif not (may_overflow and math.isnan(value)):
                assert 0 <= lower <= value <= upper <= 1
                assert lower <= exact <= upper
                assert upper - lower <= width


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

"""Sums that lose nothing, the six reductions, and the sums by segment that each library does in its own way."""

import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from array_api_extra.testing import assert_close, assert_equal
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import glmheads as gh
from glmheads.kernels import reductions
from glmheads.kernels.reductions import Pair, add, safe_divide, segment_total, total, two_sum, value

NAN, INFINITY = float("nan"), float("inf")


def compiled(lib, function, **options):
    """The function, as one program in JAX, which otherwise compiles every operation for every shape."""
    if lib.backend.name != "jax":
        return partial(function, **options)
    import jax

    return jax.jit(partial(function, **options))


def by_numpy(losses: np.ndarray, weights: np.ndarray | None, reduction: str) -> np.ndarray:
    """The definitions, word for word."""
    each = np.ones_like(losses) if weights is None else np.broadcast_to(weights, losses.shape)
    present = each != 0
    weighted = np.where(present, each * np.where(present, losses, 0), 0)
    divisors = {
        "sum": 1,
        "sum_over_batch_size": losses.size,
        "auto": losses.size,
        "weighted_mean": each.sum(),
        "weighted_sum_by_nonzero_weights": present.sum(),
    }
    if reduction == "none":
        return weighted
    return weighted.sum() / divisors[reduction] if divisors[reduction] else np.zeros(())


@pytest.fixture(params=list(gh.Reduction), ids=str)
def reduction(request: pytest.FixtureRequest) -> gh.Reduction:
    return request.param


class TestReduce:
    @pytest.mark.parametrize("columns", [1, 3])
    @pytest.mark.parametrize("weighting", [None, "one for a row", "one for an element", "constant"])
    def test_follows_the_definition(self, lib, reduction, columns, weighting):
        rng = np.random.default_rng(0)
        losses = rng.exponential(size=(7, columns))
        shapes = {"one for a row": (7, 1), "one for an element": (7, columns), "constant": (1, 1)}
        weights = None if weighting is None else rng.choice([0.0, 0.5, 2.0], shapes[weighting])
        if weighting == "constant":
            weights = np.full((1, 1), 0.25)
        given_weights = None if weights is None else lib.array(weights)
        got = gh.kernels.reduce(lib.array(losses), given_weights, reduction)
        expected = by_numpy(losses, weights, str(reduction))
        assert_close(got, lib.array(expected.astype(lib.numpy(got).dtype)), rtol=1e-14 if lib.has_float64 else 1e-6)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_result_keeps_the_dtype(self, lib, reduction, dtype):
        if dtype == "float64" and not lib.has_float64:
            pytest.skip("no float64 without x64")
        losses = lib.array([[1.0], [2.0]], dtype)
        got = gh.kernels.reduce(losses, lib.array([[1.0], [3.0]], dtype), reduction)
        assert got.dtype == losses.dtype
        assert got.shape == (losses.shape if reduction == "none" else ())

    @pytest.mark.parametrize("absent", [NAN, INFINITY, -INFINITY])
    def test_weight_0_hides_any_loss(self, lib, reduction, absent):
        weights = lib.array([[1.0], [0.0], [2.0]])
        hidden = gh.kernels.reduce(lib.array([[1.0], [absent], [3.0]]), weights, reduction)
        assert_equal(hidden, gh.kernels.reduce(lib.array([[1.0], [5.0], [3.0]]), weights, reduction))

    def test_an_element_of_weight_0_counts_in_n_and_nowhere_else(self, lib):
        losses, weights = lib.array([[2.0], [4.0], [8.0], [NAN]]), lib.array([[1.0], [3.0], [0.0], [0.0]])
        expected = {
            "sum": 14.0,
            "sum_over_batch_size": 14 / 4,
            "auto": 14 / 4,
            "weighted_mean": 14 / 4,
            "weighted_sum_by_nonzero_weights": 14 / 2,
        }
        for name, result in expected.items():
            assert float(lib.numpy(gh.kernels.reduce(losses, weights, name))) == result

    @pytest.mark.parametrize("weights", [None, 0.0, 1.0])
    def test_0_over_0_is_0(self, lib, reduction, weights):
        rows = 3 if weights == 0.0 else 0
        losses = lib.array(np.ones((rows, 1)))
        given_weights = None if weights is None else lib.array(np.full((rows, 1), weights))
        got = gh.kernels.reduce(losses, given_weights, reduction)
        assert_array_equal(lib.numpy(got), np.zeros((rows, 1) if reduction == "none" else ()))

    @pytest.mark.parametrize("bad", [NAN, INFINITY])
    def test_a_loss_with_weight_is_not_hidden(self, lib, reduction, bad):
        got = gh.kernels.reduce(lib.array([[1.0], [bad]]), lib.array([[1.0], [0.5]]), reduction)
        assert not np.isfinite(lib.numpy(got)).all()

    @given(scale=st.sampled_from([0.25, 2.0, 1024.0]), seed=st.integers(0, 100))
    def test_means_do_not_depend_on_the_unit_of_the_weights(self, scale, seed):
        rng = np.random.default_rng(seed)
        losses, weights = rng.exponential(size=(9, 1)), rng.choice([0.0, 1.0, 3.0], (9, 1))
        mean = gh.kernels.reduce(losses, weights, "weighted_mean")
        assert gh.kernels.reduce(losses, scale * weights, "weighted_mean") == mean
        for name in ("sum", "sum_over_batch_size", "weighted_sum_by_nonzero_weights"):
            assert gh.kernels.reduce(losses, scale * weights, name) == scale * gh.kernels.reduce(losses, weights, name)

    def test_float32_losses_are_summed_without_loss(self, lib):
        # Plain float32 sums of a million numbers of one sign are off by more than 1e-6.
        losses = np.random.default_rng(1).random(10**6, dtype=np.float32)
        got = compiled(lib, gh.kernels.reduce, weights=None, reduction="sum")(lib.array(losses))
        assert abs(float(lib.numpy(got)) / math.fsum(losses) - 1) <= np.finfo(np.float32).eps

    def test_unknown_reduction_is_refused(self):
        with pytest.raises(ValueError, match="mean of nothing"):
            gh.kernels.reduce(np.ones(2), None, "mean of nothing")

    @pytest.mark.parametrize("name", ["torch", "jax"])
    def test_derivative_by_a_loss_is_its_share_and_0_where_the_weight_is_0(self, library, reduction, name):
        if reduction == "none":
            pytest.skip("reduces nothing")
        lib = library(name)
        weights = np.asarray([[1.0], [0.0], [3.0]], dtype=np.float32)
        losses = np.asarray([[1.0], [NAN], [2.0]], dtype=np.float32)
        got = lib.backend.gradient(lambda x: gh.kernels.reduce(x, lib.array(weights), reduction), lib.array(losses))
        divisor = {"sum": 1, "weighted_mean": 4, "weighted_sum_by_nonzero_weights": 2}.get(str(reduction), 3)
        assert_allclose(lib.numpy(got), weights / divisor, rtol=1e-6)

    def test_torch_backward_passes_through(self, library, reduction):
        torch = library("torch").xp
        losses = torch.tensor([[1.0], [NAN], [2.0]], requires_grad=True)
        gh.kernels.reduce(losses, torch.tensor([[1.0], [0.0], [3.0]]), reduction).sum().backward()
        assert torch.isfinite(losses.grad).all()
        assert float(losses.grad[1, 0]) == 0


numbers = st.floats(-1e300, 1e300)


class TestTwoSum:
    @given(a=numbers, b=numbers)
    def test_is_exact_in_float64(self, a, b):
        s, e = two_sum(np.float64(a), np.float64(b))
        assert Fraction(float(s)) + Fraction(float(e)) == Fraction(a) + Fraction(b)
        assert s == a + b

    def test_is_exact_in_every_library(self, lib):
        rng = np.random.default_rng(2)
        a, b = (rng.normal(size=(2, 300)) * 10.0 ** rng.integers(-10, 11, (2, 300))).astype(np.float32)
        for dtype in ("float32", "float64") if lib.has_float64 else ("float32",):
            s, e = (lib.numpy(part) for part in two_sum(lib.array(a, dtype), lib.array(b / 3, dtype)))
            third = (b / 3).astype(dtype)
            for x, y, high, low in zip(a, third, s, e, strict=True):
                assert Fraction(float(high)) + Fraction(float(low)) == Fraction(float(x)) + Fraction(float(y))

    def test_is_exact_under_jit(self, library):
        jax = pytest.importorskip("jax")
        lib = library("jax")
        a, b = lib.array([2.0**40, 1.0, -3.5], "float32"), lib.array([1.0, 2.0**-30, 1e-9], "float32")
        for got, expected in zip(jax.jit(two_sum)(a, b), two_sum(a, b), strict=True):
            assert_equal(got, expected)

    @pytest.mark.parametrize("constant_first", [True, False])
    @pytest.mark.parametrize("shape", [(), (4,)])
    def test_is_exact_under_jit_where_one_number_is_a_constant(self, library, constant_first, shape):
        jax = pytest.importorskip("jax")
        lib = library("jax")
        for large, small in ((2.0**40, 1.0), (1.0, 2.0**40)):
            constant = lib.array(np.full(shape, large), "float32")
            arguments = (lambda b, c=constant: (c, b)) if constant_first else (lambda b, c=constant: (b, c))
            _, lost = jax.jit(lambda b, f=arguments: two_sum(*f(b)))(lib.array(np.full(shape, small), "float32"))
            assert_array_equal(lib.numpy(lost), np.ones(shape))


class TestPair:
    @pytest.mark.parametrize(("dtype", "exponent"), [("float32", 40), ("float64", 60)])
    def test_one_more_than_a_power_of_2_counts(self, lib, dtype, exponent):
        if dtype == "float64" and not lib.has_float64:
            pytest.skip("no float64 without x64")
        zero, one = lib.array(0.0, dtype), lib.array(1.0, dtype)
        count = Pair(lib.array(2.0**exponent, dtype), zero)
        for _ in range(5):
            count = add(count, Pair(one, zero))
        assert int(lib.numpy(count.hi)) + int(lib.numpy(count.lo)) == 2**exponent + 5

    @given(parts=st.lists(st.integers(-(2**45), 2**45), min_size=1, max_size=20))
    def test_sum_of_whole_numbers_is_exact_in_any_order(self, parts):
        def pair(n: int) -> Pair:
            high = np.float32(n)
            return Pair(high, np.float32(n - int(high)))

        parts = [n // 2**10 for n in parts]  # whole numbers and sums that 48 bits hold
        for order in (parts, parts[::-1], sorted(parts)):
            summed = pair(0)
            for n in order:
                summed = add(summed, pair(n))
            assert int(summed.hi) + int(summed.lo) == sum(parts)

    @given(a=st.floats(-1e30, 1e30), b=st.floats(-1e30, 1e30))
    def test_adding_is_commutative_to_the_bit(self, a, b):
        zero = np.float64(0)
        p, q = Pair(np.float64(a), zero), Pair(np.float64(b), zero)
        assert add(p, q) == add(q, p)
        assert add(p, Pair(zero, zero)) == p

    @pytest.mark.filterwarnings("ignore:invalid value encountered")
    @pytest.mark.parametrize(("a", "b"), [(INFINITY, 1.0), (-INFINITY, 1.0), (INFINITY, INFINITY)])
    def test_infinity_stays(self, lib, a, b):
        zero = lib.array([0.0])
        got = add(Pair(lib.array([a]), zero), Pair(lib.array([b]), zero))
        assert_equal(value(got), lib.array([a]))

    def test_nan_stays(self, lib):
        zero = lib.array([0.0])
        assert np.isnan(lib.numpy(value(add(Pair(lib.array([NAN]), zero), Pair(zero, zero)))))

    @pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
    def test_overflow_is_infinite(self, lib):
        largest = Pair(lib.array([3e38], "float32"), lib.array([0.0], "float32"))
        assert_equal(value(add(largest, largest)), lib.array([INFINITY], "float32"))


class TestTotal:
    @pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 1000, 10**6])
    def test_is_the_sum(self, lib, count):
        x = np.random.default_rng(3).random(count, dtype=np.float32)
        pair = compiled(lib, total)(lib.array(x))
        got = float(lib.numpy(pair.hi)) + float(lib.numpy(pair.arrays()[1]))
        bound = 1e-13 if lib.has_float64 else 2e-9 if count == 10**6 else 2e-7
        assert abs(got - math.fsum(x)) <= bound * math.fsum(x)

    @pytest.mark.parametrize("shape", [(), (3,), (4, 5), (2, 0)])
    def test_takes_any_shape(self, lib, shape):
        pair = total(lib.array(np.ones(shape), "float32"))
        assert pair.hi.shape == pair.arrays()[1].shape == ()
        assert float(lib.numpy(value(pair))) == math.prod(shape)

    def test_counts_beyond_float32(self, lib):
        count = 2**24 + 1
        pair = compiled(lib, total)(lib.array(np.ones(count, dtype=np.float32)))
        assert int(lib.numpy(pair.hi)) + int(lib.numpy(pair.arrays()[1])) == count

    def test_whole_numbers_below_2_to_the_16_are_summed_exactly(self, lib):
        count, largest = 10_000, 2**16 - 1
        pair = total(lib.array(np.full(count, largest), "float32"))
        assert int(lib.numpy(pair.hi)) + int(lib.numpy(pair.arrays()[1])) == count * largest

    def test_is_of_the_accumulation_dtype(self, lib):
        pair = total(lib.array([1.0, 2.0], "float32"))
        accumulation = lib.backend.accumulation_dtype(lib.device or lib.backend.device(pair.hi))
        assert pair.hi.dtype == pair.arrays()[1].dtype == accumulation
        assert (accumulation == lib.xp.float64) == lib.has_float64

    @given(blocks=st.lists(st.integers(0, 40), min_size=1, max_size=6), seed=st.integers(0, 1000))
    def test_totals_of_blocks_add_up(self, blocks, seed):
        rng = np.random.default_rng(seed)
        parts = [rng.normal(size=count) for count in blocks]
        summed = total(parts[0])
        for part in parts[1:]:
            summed = add(summed, total(part))
        exact = math.fsum(np.concatenate(parts))
        assert abs(value(summed) - exact) <= 1e-14 * (1 + np.abs(np.concatenate(parts)).sum())


class TestSafeDivide:
    def test_is_0_where_the_divisor_is(self, lib):
        a, b = lib.array([1.0, 0.0, NAN, -3.0]), lib.array([0.0, 0.0, 0.0, 2.0])
        assert_equal(safe_divide(a, b), lib.array([0.0, 0.0, 0.0, -1.5]))


@pytest.fixture
def segmented(lib):
    """A library that can sum by segment: on Dask, sums by segment run on the NumPy chunks."""
    if lib.is_lazy:
        pytest.skip("dask: sums by segment run on the NumPy chunks")
    return lib


SEGMENTS = np.asarray([0, 0, 0, 2, 2, 5, 5, 5, 5, 7, 7, 7])
LENGTH = 9


class TestSegments:
    """Numbers of segments without elements, in the middle and at the end, included."""

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_segment_sum(self, segmented, dtype):
        if dtype == "float64" and not segmented.has_float64:
            pytest.skip("no float64 without x64")
        rng = np.random.default_rng(4)
        values, segments = rng.normal(size=500).astype(dtype), rng.integers(0, 40, 500)
        got = segmented.backend.segment_sum(segmented.array(values), segmented.array(segments, "int32"), 45)
        assert got.dtype == segmented.array(values).dtype
        expected = np.bincount(segments, values.astype(np.float64), minlength=45)
        assert_allclose(segmented.numpy(got), expected, atol=50 * np.finfo(dtype).eps)

    def test_segment_max(self, segmented):
        values = np.asarray([1.0, -2.0, 0.5, -7.0, -3.0, 2.0, 9.0, 4.0, -INFINITY, -1.0, -1.0, -4.0], dtype=np.float32)
        got = segmented.backend.segment_max(
            segmented.array(values), segmented.array(SEGMENTS, "int32"), LENGTH, -INFINITY
        )
        expected = np.full(LENGTH, -INFINITY)
        np.maximum.at(expected, SEGMENTS, values)
        assert_array_equal(segmented.numpy(got), expected)

    @pytest.mark.parametrize("count", [1, 2, 12])
    def test_segment_reduce_combines_in_order(self, segmented, count):
        # Affine maps x ↦ a x + b compose associatively, and the order matters.
        rng = np.random.default_rng(5)
        a, b = rng.integers(-3, 4, (2, count)).astype(np.float32)
        segments = SEGMENTS[:count]

        def then(f, g):
            return f[0] * g[0], g[0] * f[1] + g[1]

        expected = np.full((2, LENGTH), -1.0)
        for segment in set(segments):
            members = [pair for pair, s in zip(zip(a, b, strict=True), segments, strict=True) if s == segment]
            composed = members[0]
            for member in members[1:]:
                composed = then(composed, member)
            expected[:, segment] = composed
        arrays = (segmented.array(a), segmented.array(b))
        got = segmented.backend.segment_reduce(arrays, segmented.array(segments, "int32"), LENGTH, then, -1.0)
        assert_array_equal(np.stack([segmented.numpy(part) for part in got]), expected)

    def test_nothing_sums_to_nothing(self, segmented):
        none, segments = segmented.array([], "float32"), segmented.array([], "int32")
        backend = segmented.backend
        assert_array_equal(segmented.numpy(backend.segment_sum(none, segments, 3)), [0, 0, 0])
        assert_array_equal(segmented.numpy(backend.segment_max(none, segments, 3, -1.0)), [-1, -1, -1])
        (got,) = backend.segment_reduce((none,), segments, 3, lambda a, b: (a[0] + b[0],), 7.0)
        assert_array_equal(segmented.numpy(got), [7, 7, 7])


class TestSegmentTotal:
    @given(data=st.lists(st.tuples(st.integers(0, 5), st.integers(-(2**20), 2**20)), min_size=16, max_size=16))
    def test_of_whole_numbers_is_exact(self, segmented, data):
        segments, values = np.asarray(data).T
        pair = segment_total(segmented.array(values, "float32"), segmented.array(segments, "int32"), 7)
        got = segmented.numpy(pair.hi).astype(np.float64) + segmented.numpy(pair.arrays()[1])
        assert_array_equal(got, np.bincount(segments, values, minlength=7))

    def test_whole_numbers_below_2_to_the_16_are_summed_exactly(self, segmented):
        count, largest = 10_000, 2**16 - 1
        values, segments = np.full(count, largest), np.zeros(count)
        pair = segment_total(segmented.array(values, "float32"), segmented.array(segments, "int32"), 1)
        got = segmented.numpy(pair.hi).astype(np.float64) + segmented.numpy(pair.arrays()[1])
        assert_array_equal(got, [count * largest])

    @pytest.mark.parametrize("count", [0, 1, 300, 100_000])
    def test_is_numpys_bincount(self, segmented, count):
        rng = np.random.default_rng(6)
        values, segments = rng.random(count, dtype=np.float32), rng.integers(0, 37, count)
        sums = compiled(segmented, segment_total, length=40)
        pair = sums(segmented.array(values), segmented.array(segments, "int32"))
        got = segmented.numpy(pair.hi).astype(np.float64) + segmented.numpy(pair.arrays()[1])
        expected = np.bincount(segments, values.astype(np.float64), minlength=40)
        assert_allclose(got, expected, rtol=1e-13 if segmented.has_float64 else 1e-7)

    def test_counts_beyond_float32(self, segmented):
        if segmented.backend.name == "array API":
            pytest.skip("sorts, which is slow here and tells nothing new")
        count = 2**24 + 3
        values, segments = np.ones(count, dtype=np.float32), np.ones(count, dtype=np.int32)
        segments[:2] = 0
        pair = compiled(segmented, segment_total, length=3)(segmented.array(values), segmented.array(segments))
        assert_array_equal(
            segmented.numpy(pair.hi).astype(int) + segmented.numpy(pair.arrays()[1]).astype(int), [2, count - 2, 0]
        )


def test_every_reduction_has_a_definition(reduction):
    assert by_numpy(np.ones(1), None, str(reduction)) == 1
    assert reductions.reduce(np.ones(1), None, reduction) == 1

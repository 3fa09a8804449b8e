"""The pointwise kernels against arithmetic of 60 digits, SciPy, scikit-learn, and derivatives found in other ways."""

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import mpmath
import numpy as np
import pytest
from array_api_extra.testing import assert_close, assert_close_nulp, assert_equal
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special
from sklearn import metrics as sklearn_metrics

import glmheads as gh
from glmheads import backends
from glmheads.kernels import losses

K = gh.kernels
INFINITY = float("inf")
NAN = float("nan")

UNARY = ("sigmoid", "log_sigmoid")
BINARY = (
    "log_poisson_gradient",
    "log_poisson_hessian",
    "log_poisson_loss",
    "sigmoid_cross_entropy",
    "sigmoid_cross_entropy_gradient",
    "sigmoid_cross_entropy_hessian",
    "squared_error",
    "squared_error_gradient",
    "squared_error_hessian",
)

# The definitions, of mpmath numbers. None branches, and none subtracts numbers that are nearly equal.


def softplus(x):
    return mpmath.log1p(mpmath.exp(x))


EXACT = SimpleNamespace(
    sigmoid=lambda x: 1 / (1 + mpmath.exp(-x)),
    log_sigmoid=lambda x: -softplus(-x),
    sigmoid_cross_entropy=lambda z, x: z * softplus(-x) + (1 - z) * softplus(x),
    sigmoid_cross_entropy_gradient=lambda z, x: (1 - z) / (1 + mpmath.exp(-x)) - z / (1 + mpmath.exp(x)),
    sigmoid_cross_entropy_hessian=lambda _, x: 1 / ((1 + mpmath.exp(-x)) * (1 + mpmath.exp(x))),
    log_poisson_without_constant=lambda z, x: mpmath.exp(x) - x * z,
    log_poisson_gradient=lambda z, x: mpmath.exp(x) - z,
    log_poisson_hessian=lambda _, x: mpmath.exp(x),
    squared_error=lambda z, x: (z - x) ** 2,
)


def exact(name: str, *arrays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values as unevaluated sums of two float64, good to 100 bits."""
    with mpmath.workdps(60):
        function = getattr(EXACT, name)
        values = [function(*(mpmath.mpf(float(v)) for v in point)) for point in zip(*arrays, strict=True)]
        high = [float(v) for v in values]
        return np.asarray(high), np.asarray([float(v - mpmath.mpf(h)) for v, h in zip(values, high, strict=True)])


def error(got: np.ndarray, truth: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return np.abs((got.astype(np.float64) - truth[0]) - truth[1])


def ulp(values: np.ndarray, dtype: str) -> np.ndarray:
    return np.spacing(np.abs(values).astype(dtype)).astype(np.float64)


def check_ulps(lib: Any, got: Any, truth: tuple[np.ndarray, np.ndarray], dtype: str, bound: float) -> None:
    got = lib.numpy(got)
    assert got.dtype == dtype
    errors = error(got, truth)
    within = errors <= bound * ulp(truth[0], dtype)
    if flushes_subnormals(lib):
        within |= errors < np.finfo(dtype).tiny
    worst = np.argmax(np.where(within, 0, errors / ulp(truth[0], dtype)))
    assert within.all(), f"point {worst}: {got[worst]!r}, exact {truth[0][worst]!r}"


def flushes_subnormals(lib: Any) -> bool:
    return lib.backend.name == "jax"


@cache
def logits_grid(dtype: str) -> np.ndarray:
    """From 1e-6 to 110 in size, the neighbourhood of 0, and of where exp, log1p and rounding change their ways."""
    rng = np.random.default_rng(0)
    at = [np.log(2) / 2, np.log(2), 1.0, 2.0, 4.85, 8.0, 16.64, 17.33, 36.04, 36.74, 64.0, 87.34, 88.73, 103.28, 103.98]
    near = np.concatenate([np.asarray(at) * (1 + step * np.finfo(dtype).eps) for step in (-2, -1, 0, 1, 2)])
    tiny = np.finfo(dtype).tiny * np.asarray([0, 1, 2, 4, 1e3, 1e10, 1e20, 1e30])
    spaced = np.geomspace(1e-6, 110, 700)
    random = np.concatenate([rng.uniform(0, 2, 400), rng.uniform(0, 20, 200), rng.uniform(0, 110, 100)])
    sizes = np.concatenate([tiny, near, spaced, random, np.asarray([1e-7, 1e-6, 110.0])])
    return np.concatenate([sizes, -sizes]).astype(dtype)


def label_grid(kind: str, dtype: str) -> np.ndarray:
    """A label for each of `logits_grid`."""
    x = logits_grid(dtype)
    u = np.random.default_rng(1).random(x.shape)
    labels = {
        "0": 0 * u,
        "1": 0 * u + 1,
        "soft": u,
        "half": 0 * u + 0.5,
        "near 0": 1e-6 * u,
        "near 1": 1 - 1e-6 * u,
        "nearly right": np.where(x > 0, 1 - 1e-6 * u, 1e-6 * u),
        "tiny": 10.0 ** (-30 * u),
        "next to 1": 0 * u + np.nextafter(np.asarray(1, dtype), 0),
    }
    return labels[kind].astype(dtype)


LABELS = ("0", "1", "soft", "half", "near 0", "near 1", "nearly right", "tiny", "next to 1")


@cache
def exact_on_grid(name: str, labels: str | None, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    x = logits_grid(dtype)
    return exact(name, x) if labels is None else exact(name, label_grid(labels, dtype), x)


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest, lib: Any) -> str:
    if request.param == "float64" and not lib.has_float64:
        pytest.skip("no float64 without x64")
    return request.param


class TestAccuracy:
    @pytest.mark.parametrize("labels", LABELS)
    def test_sigmoid_cross_entropy_is_within_3_ulp(self, lib, dtype, labels):
        got = K.sigmoid_cross_entropy(lib.array(label_grid(labels, dtype)), lib.array(logits_grid(dtype)))
        check_ulps(lib, got, exact_on_grid("sigmoid_cross_entropy", labels, dtype), dtype, 3)

    @pytest.mark.parametrize("labels", ["0", "1"])
    def test_gradient_of_a_hard_label_is_within_4_ulp(self, lib, dtype, labels):
        got = K.sigmoid_cross_entropy_gradient(lib.array(label_grid(labels, dtype)), lib.array(logits_grid(dtype)))
        check_ulps(lib, got, exact_on_grid("sigmoid_cross_entropy_gradient", labels, dtype), dtype, 4)

    @pytest.mark.parametrize("labels", ["soft", "near 0", "near 1", "half"])
    def test_gradient_of_a_soft_label_is_within_4_ulp_of_its_larger_term(self, lib, dtype, labels):
        z, x = label_grid(labels, dtype), logits_grid(dtype)
        truth = exact_on_grid("sigmoid_cross_entropy_gradient", labels, dtype)
        got = lib.numpy(K.sigmoid_cross_entropy_gradient(lib.array(z), lib.array(x)))
        larger = np.maximum((1 - z) * special.expit(x), z * special.expit(-x))
        assert (error(got, truth) <= 4 * ulp(larger, dtype) + np.finfo(dtype).tiny).all()

    @pytest.mark.parametrize("labels", ["0", "1"])
    def test_loss_with_gradient_is_as_accurate_as_either(self, lib, dtype, labels):
        z, x = lib.array(label_grid(labels, dtype)), lib.array(logits_grid(dtype))
        loss, gradient = losses.sigmoid_cross_entropy_with_gradient(z, x)
        check_ulps(lib, loss, exact_on_grid("sigmoid_cross_entropy", labels, dtype), dtype, 3)
        check_ulps(lib, gradient, exact_on_grid("sigmoid_cross_entropy_gradient", labels, dtype), dtype, 4)

    @pytest.mark.parametrize("labels", ["0", "1", "soft"])
    def test_loss_with_mean_is_as_accurate_as_either(self, lib, dtype, labels):
        z, x = lib.array(label_grid(labels, dtype)), lib.array(logits_grid(dtype))
        loss, mean = losses.sigmoid_cross_entropy_with_mean(z, x)
        check_ulps(lib, loss, exact_on_grid("sigmoid_cross_entropy", labels, dtype), dtype, 3)
        check_ulps(lib, mean, exact_on_grid("sigmoid", None, dtype), dtype, 4)

    def test_hessian_is_within_6_ulp(self, lib, dtype):
        x = lib.array(logits_grid(dtype))
        got = K.sigmoid_cross_entropy_hessian(lib.xp.zeros_like(x), x)
        check_ulps(lib, got, exact_on_grid("sigmoid_cross_entropy_hessian", "0", dtype), dtype, 6)

    @pytest.mark.parametrize(("name", "bound"), [("sigmoid", 4), ("log_sigmoid", 3.5)])
    def test_inverse_link_is_within_a_few_ulp(self, lib, dtype, name, bound):
        got = getattr(K, name)(lib.array(logits_grid(dtype)))
        check_ulps(lib, got, exact_on_grid(name, None, dtype), dtype, bound)

    @pytest.mark.parametrize(("name", "function"), [("sigmoid", special.expit), ("log_sigmoid", special.log_expit)])
    def test_inverse_link_agrees_with_scipy(self, lib, dtype, name, function):
        x = np.linspace(-80, 80, 4001).astype(dtype)
        assert_close_nulp(getattr(K, name)(lib.array(x)), lib.array(function(x)), nulp=6)

    def test_error_at_the_worst_points_of_float32_is_below_3_ulp(self, lib):
        # Found by trying every float32 near 0.2 to 110 on NumPy (AVX-512) and JAX, whose exp and log1p are 2 ulp off.
        points = [
            (0.8471638560295105, 1.0051189661026),
            (3.6767221e-07, -1.0097066),
            (9.80503273e-07, -2.0171682834625244),
        ]
        points += [(3.81611045e-07, -0.6623683767), (0.8487936854362488, 0.8397552966), (1.0, 1.00506877899)]
        z, x = np.asarray(points, dtype=np.float32).T
        got = K.sigmoid_cross_entropy(lib.array(z), lib.array(x))
        # These two take NumPy's own log1p and exp, each 2 ulp off.
        bound = 4 if lib.name in ("array_api_strict", "dask") else 3
        check_ulps(lib, got, exact("sigmoid_cross_entropy", z, x), "float32", bound)

    def test_squared_error_is_three_roundings_off(self, lib, dtype):
        rng = np.random.default_rng(2)
        z, x = rng.normal(0, 100, (2, 2000)).astype(dtype)
        truth = exact("squared_error", z, x)
        got = lib.numpy(K.squared_error(lib.array(z), lib.array(x)))
        assert (error(got, truth) <= 1.51 * np.finfo(dtype).eps * truth[0]).all()
        gradient = lib.numpy(K.squared_error_gradient(lib.array(z), lib.array(x)))
        assert_array_equal(gradient, 2 * (x - z))  # one rounding, and doubling is exact

    @pytest.mark.parametrize("full", [False, True])
    def test_poisson_loss_is_a_few_roundings_of_its_largest_term_off(self, lib, dtype, full):
        rng = np.random.default_rng(3)
        x = np.concatenate([rng.normal(0, 3, 1500), rng.uniform(-80, 80, 500)]).astype(dtype)
        z = rng.choice([0.0, 0.5, 1.0, 1.5, 2.0, 17.0, 1000.0], x.shape).astype(dtype)
        high, low = exact("log_poisson_without_constant", z, x)
        terms = np.exp(x.astype(np.float64)) + np.abs(x * z)
        if full:
            many = np.where(z > 1, z, 1).astype(np.float64)
            stirling = [many * np.log(many), -many, 0.5 * np.log(2 * np.pi * many)]
            high = high + np.where(z > 1, sum(stirling), 0)
            terms = terms + np.where(z > 1, sum(map(np.abs, stirling)), 0)
        got = lib.numpy(K.log_poisson_loss(lib.array(z), lib.array(x), compute_full_loss=full))
        assert (error(got, (high, low)) <= 5 * np.finfo(dtype).eps * terms).all()

    def test_poisson_derivatives_are_a_few_roundings_of_their_largest_term_off(self, lib, dtype):
        x = np.linspace(-80, 80, 2001).astype(dtype)
        z = np.resize([0.0, 1.0, 2.0, 30.0], x.shape).astype(dtype)
        scale = 4 * np.finfo(dtype).eps * (np.exp(x.astype(np.float64)) + z)
        gradient = lib.numpy(K.log_poisson_gradient(lib.array(z), lib.array(x)))
        assert (error(gradient, exact("log_poisson_gradient", z, x)) <= scale).all()
        check_ulps(lib, K.log_poisson_hessian(lib.array(z), lib.array(x)), exact("log_poisson_hessian", z, x), dtype, 4)


def round_half(values: np.ndarray, bits: int, lowest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values rounded to a precision of so many bits, their ulp, and their distance in ulp from where rounding turns."""
    exponent = np.maximum(np.frexp(values)[1], lowest)
    unit = np.ldexp(1.0, exponent - bits)
    scaled = values / unit
    return np.rint(scaled) * unit, unit, np.abs(scaled - np.floor(scaled) - 0.5)


# Bits of precision, and the exponent of the smallest normal number as frexp gives it.
FORMATS = {"float16": (11, -13), "bfloat16": (8, -125)}


class TestHalfPrecision:
    """float16 and bfloat16 are computed in float32 and rounded once."""

    def logits_and_labels(self, lib, dtype):
        if not hasattr(lib.xp, dtype) or (lib.backend.name in ("numpy", "dask") and dtype == "bfloat16"):
            pytest.skip(f"no {dtype}")
        x = np.concatenate([np.geomspace(1e-3, 9, 300), np.linspace(0, 9, 300)])
        x = np.concatenate([x, -x]).astype(np.float32)
        z = np.random.default_rng(4).choice([0.0, 1.0, 0.25, 0.3], x.shape).astype(np.float32)
        narrow = [lib.xp.astype(lib.array(a), getattr(lib.xp, dtype)) for a in (z, x)]
        return narrow, [lib.numpy(lib.xp.astype(a, lib.xp.float32)) for a in narrow]

    @pytest.mark.parametrize("dtype", FORMATS)
    @pytest.mark.parametrize("name", ["sigmoid_cross_entropy", "sigmoid"])
    def test_is_the_exact_value_rounded_once(self, lib, name, dtype):
        (z, x), values = self.logits_and_labels(lib, dtype)
        arrays = (x,) if name in UNARY else (z, x)
        got = getattr(K, name)(*arrays)
        assert got.dtype == x.dtype
        bits, lowest = FORMATS[dtype]
        truth = exact(name, *values[-len(arrays) :])[0]
        rounded, unit, from_tie = round_half(truth, bits, lowest)
        got = lib.numpy(lib.xp.astype(got, lib.xp.float32)).astype(np.float64)
        assert (np.abs(got - rounded) <= unit).all()
        clear = from_tie > 4 * 2.0 ** (bits - 24)
        assert clear.mean() > 0.9
        assert_array_equal(got[clear], rounded[clear])


class TestExtremes:
    """An infinite logit gives the limit, NaN stays NaN."""

    def test_sigmoid_cross_entropy_of_infinite_logits(self, lib, dtype):
        x = lib.array([INFINITY, -INFINITY, INFINITY, -INFINITY, INFINITY, -INFINITY], dtype)
        z = lib.array([1, 0, 0, 1, 0.5, 0.25], dtype)
        expected = lib.array([0, 0, INFINITY, INFINITY, INFINITY, INFINITY], dtype)
        assert_equal(K.sigmoid_cross_entropy(z, x), expected)
        assert_equal(K.sigmoid_cross_entropy_gradient(z, x), lib.array([0, 0, 1, -1, 0.5, -0.25], dtype))
        assert_equal(K.sigmoid_cross_entropy_hessian(z, x), lib.array([0] * 6, dtype))

    def test_links_of_infinite_logits(self, lib, dtype):
        x = lib.array([INFINITY, -INFINITY], dtype)
        assert_equal(K.sigmoid(x), lib.array([1, 0], dtype))
        assert_equal(K.log_sigmoid(x), lib.array([0, -INFINITY], dtype))

    def test_poisson_loss_of_infinite_logits(self, lib, dtype):
        x = lib.array([INFINITY, INFINITY, -INFINITY, -INFINITY], dtype)
        z = lib.array([0, 3, 0, 3], dtype)
        expected = lib.array([INFINITY, INFINITY, 0, INFINITY], dtype)
        assert_equal(K.log_poisson_loss(z, x), expected)

    @pytest.mark.filterwarnings("ignore:overflow encountered")
    def test_poisson_loss_of_a_rate_that_overflows_is_infinite(self, lib, dtype):
        x = lib.array([1e3, 3e38], dtype)
        assert_equal(K.log_poisson_loss(lib.array([2, 0], dtype), x), lib.array([INFINITY] * 2, dtype))

    def test_squared_error_of_infinite_logits(self, lib, dtype):
        x = lib.array([INFINITY, -INFINITY], dtype)
        assert_equal(K.squared_error(lib.array([1, 1], dtype), x), lib.array([INFINITY] * 2, dtype))

    def test_the_largest_finite_logits(self, lib, dtype):
        largest = np.finfo(dtype).max
        x = lib.array([largest, -largest, largest, -largest], dtype)
        z = lib.array([1, 0, 0, 1], dtype)
        assert_equal(K.sigmoid_cross_entropy(z, x), lib.array([0, 0, largest, largest], dtype))

    @pytest.mark.parametrize("name", [*UNARY, *BINARY])
    def test_nan_stays_nan(self, lib, dtype, name):
        x = lib.array([NAN, 1.0], dtype)
        labels = () if name in UNARY else (lib.array([1, 1], dtype),)
        got = lib.numpy(getattr(K, name)(*labels, x))
        assert_array_equal(np.isnan(got), [True, False])

    @pytest.mark.parametrize("name", ["sigmoid_cross_entropy", "log_poisson_loss", "squared_error"])
    def test_a_nan_label_makes_the_loss_nan(self, lib, dtype, name):
        x = lib.array([0.5, -0.5, INFINITY, -INFINITY], dtype)
        got = lib.numpy(getattr(K, name)(lib.array([NAN] * 4, dtype), x))
        assert np.isnan(got).all() or (name == "log_poisson_loss" and np.isnan(got[[0, 1, 3]]).all())


logits = st.floats(-30, 30)
probabilities = st.floats(0, 1) | st.sampled_from([0.0, 1.0])
counts = st.floats(0, 50) | st.integers(0, 50).map(float)


def central_difference(function: Callable[[np.ndarray], np.ndarray], x: float, step: float) -> tuple[float, float]:
    """The derivative, and how wrong rounding may make it."""
    points = np.asarray([x - step, x + step])
    low, high = function(points)
    return (high - low) / (points[1] - points[0]), 8 * np.finfo(np.float64).eps * max(abs(low), abs(high)) / step


class TestClosedForms:
    """gradient and hessian are the derivatives of the loss and of the gradient (central differences in float64)."""

    @pytest.mark.parametrize("order", ["gradient", "hessian"])
    @given(z=probabilities, x=logits)
    def test_sigmoid_cross_entropy(self, order, z, x):
        self.check("sigmoid_cross_entropy", order, z, x, curvature=1.0)

    @pytest.mark.parametrize("order", ["gradient", "hessian"])
    @given(z=st.floats(-50, 50), x=logits)
    def test_squared_error(self, order, z, x):
        self.check("squared_error", order, z, x, curvature=0.0)

    @pytest.mark.parametrize("order", ["gradient", "hessian"])
    @given(z=counts, x=st.floats(-20, 8))
    def test_log_poisson_loss(self, order, z, x):
        self.check("log_poisson", order, z, x, curvature=float(np.exp(x + 1)))

    def check(self, name, order, z, x, curvature):
        lower = f"{name}_gradient" if order == "hessian" else ("log_poisson_loss" if name == "log_poisson" else name)
        function = getattr(K, lower)
        step = 1e-4
        derivative, rounding = central_difference(lambda points: function(np.full_like(points, z), points), x, step)
        closed = getattr(K, f"{name}_{order}")(np.asarray(z), np.asarray(x))
        assert abs(closed - derivative) <= curvature * step**2 + rounding + 1e-12


# Where a derivative may break: 0 of both signs, tiny, where exp underflows, huge.
HARD_LOGITS = (
    0.0,
    -0.0,
    1e-38,
    -1e-38,
    1e-30,
    -1e-6,
    0.5,
    -1.0,
    1.0,
    20.0,
    -20.0,
    88.0,
    -88.8,
    90.0,
    -90.0,
    104.0,
    -104.0,
)
HUGE_LOGITS = (1e4, -1e4, 1e30, -1e30, 3.4e38, -3.4e38)


def torch_derivatives(loss: Callable, z: np.ndarray, x: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    import torch

    z, x = torch.as_tensor(z), torch.as_tensor(x)
    leaf = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(loss(z, leaf).sum(), leaf, create_graph=True)
    if first.requires_grad:
        (second,) = torch.autograd.grad(first.sum(), leaf)
    else:  # a derivative that is constant
        second = torch.zeros_like(first)
    gradient = torch.func.grad(lambda x, z: loss(z, x))
    return {
        "autograd": (first.detach().numpy(), second.numpy()),
        "func": tuple(torch.func.vmap(g)(x, z).numpy() for g in (gradient, torch.func.grad(gradient))),
    }


def jax_derivatives(loss: Callable, z: np.ndarray, x: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    import jax

    def both(x, z):
        gradient = jax.grad(loss, argnums=1)
        return gradient(z, x), jax.grad(gradient, argnums=1)(z, x)

    found = jax.jit(jax.vmap(both))(jax.numpy.asarray(x), jax.numpy.asarray(z))
    return {"jit": tuple(map(np.asarray, found))}


# Name of the loss: the first part of the names of its derivatives, and labels.
LOSSES = {
    "sigmoid_cross_entropy": ("sigmoid_cross_entropy", (0.0, 1.0, 0.3)),
    "log_poisson_loss": ("log_poisson", (0.0, 1.0, 7.0)),
    "squared_error": ("squared_error", (0.0, 1.0, -3.0)),
}


class TestAutograd:
    """PyTorch and JAX differentiate the losses rightly at every finite logit, twice."""

    @pytest.fixture(params=["torch", "jax", "jax-x64"])
    def lib(self, request, library):
        found = library(request.param)
        if request.param != "jax-x64":
            yield found
            return
        import jax

        with jax.enable_x64(True):
            yield found

    @pytest.mark.parametrize("loss", LOSSES)
    def test_derivatives_are_finite_and_equal_the_closed_forms(self, lib, dtype, loss):
        stem, labels = LOSSES[loss]
        logits = HARD_LOGITS if stem == "log_poisson" else HARD_LOGITS + HUGE_LOGITS
        z, x = (a.ravel().astype(dtype) for a in np.meshgrid(labels, logits))
        if stem == "log_poisson":  # exp(x) must be finite
            z, x = z[x < 88.5], x[x < 88.5]
        derivatives = torch_derivatives if lib.name == "torch" else jax_derivatives
        with np.errstate(all="ignore"):
            if stem == "sigmoid_cross_entropy":
                rate = special.expit(x.astype(np.float64))
                expected = rate - z, rate * special.expit(-x.astype(np.float64))
            elif stem == "log_poisson":
                rate = np.exp(x.astype(np.float64))
                expected = rate - z, rate
            else:
                expected = 2 * (x.astype(np.float64) - z), np.full(x.shape, 2.0)
        # A soft label's gradient is a difference; a flushed subnormal is off by less than the smallest normal number.
        slack = 4 * np.finfo(dtype).eps * np.abs(z) + 2 * np.finfo(dtype).tiny
        found = derivatives(getattr(K, loss), z, x)
        found["closed"] = tuple(
            lib.numpy(getattr(K, f"{stem}_{order}")(lib.array(z), lib.array(x))) for order in ("gradient", "hessian")
        )
        for way, pair in found.items():
            for order, got, truth in zip(("gradient", "hessian"), pair, expected, strict=True):
                representable = np.abs(truth) <= np.finfo(dtype).max  # twice the largest number is not
                got, truth, at, allowed = (
                    got[representable],
                    truth[representable],
                    x[representable],
                    slack[representable],
                )
                off = np.abs(got.astype(np.float64) - truth)
                right = off <= 8 * np.finfo(dtype).eps * np.abs(truth) + allowed
                assert right.all(), (way, order, at[~right], got[~right], truth[~right])

    def test_gradient_at_zero_is_a_half_minus_the_label_on_both_sides(self, lib):
        x = np.asarray([0.0, -0.0, 0.0, -0.0], dtype=np.float32)
        z = np.asarray([0.0, 0.0, 1.0, 1.0], dtype=np.float32)
        derivatives = torch_derivatives if lib.name == "torch" else jax_derivatives
        for first, second in derivatives(K.sigmoid_cross_entropy, z, x).values():
            assert_array_equal(first, [0.5, 0.5, -0.5, -0.5])
            assert_array_equal(second, [0.25] * 4)

    def test_right_infinite_logit_has_gradient_0(self, lib):
        x = np.asarray([INFINITY, -INFINITY], dtype=np.float32)
        z = np.asarray([1.0, 0.0], dtype=np.float32)
        got = K.sigmoid_cross_entropy_gradient(lib.array(z), lib.array(x))
        assert_array_equal(lib.numpy(got), [0, 0])


class TestAgainstOthers:
    def test_sigmoid_cross_entropy_is_scipys_entropy_of_probabilities(self):
        rng = np.random.default_rng(5)
        x, z = rng.normal(0, 3, 500), rng.choice([0.0, 1.0, 0.2, 0.7], 500)
        p, q = special.expit(x), special.expit(-x)
        assert_allclose(K.sigmoid_cross_entropy(z, x), -special.xlogy(z, p) - special.xlog1py(1 - z, -p), rtol=1e-9)
        assert_allclose(K.sigmoid_cross_entropy(z, x), -special.xlogy(z, p) - special.xlogy(1 - z, q), rtol=1e-13)

    def test_sigmoid_cross_entropy_is_scipys_log_expit(self, lib):
        x = np.linspace(-700, 700, 1001).astype("float64" if lib.has_float64 else "float32")
        z = np.resize([0.0, 1.0, 0.25], x.shape).astype(x.dtype)
        expected = -z * special.log_expit(x) - (1 - z) * special.log_expit(-x)
        tiny = float(np.finfo(x.dtype).tiny)
        eps = float(np.finfo(x.dtype).eps)
        assert_close(K.sigmoid_cross_entropy(lib.array(z), lib.array(x)), lib.array(expected), rtol=8 * eps, atol=tiny)

    def test_poisson_constant_is_stirlings_approximation_of_log_factorial(self, lib):
        if not lib.has_float64:
            pytest.skip("no float64 without x64")
        z = np.concatenate([np.arange(2.0, 200), [1.0 + 2**-52, 1.5, 2.5, 1e6]])
        zeros = lib.xp.zeros_like(lib.array(z))
        full = K.log_poisson_loss(lib.array(z), zeros)
        constant = lib.numpy(full - K.log_poisson_loss(lib.array(z), zeros, compute_full_loss=False))
        # Robbins (A remark on Stirling's formula, 1955): 1 / (12 z + 1) < log z! − Stirling < 1 / (12 z).
        missing = special.gammaln(z + 1) - constant
        rounding = 1e-15 * special.gammaln(z + 1) + 1e-13
        assert (missing >= 1 / (12 * z + 1) - rounding).all()
        assert (missing <= 1 / (12 * z) + rounding).all()

    def test_poisson_constant_is_0_up_to_1(self, lib):
        z, x = lib.array([0.0, 0.3, 1.0]), lib.array([0.5, -2.0, 3.0])
        assert_equal(K.log_poisson_loss(z, x), K.log_poisson_loss(z, x, compute_full_loss=False))

    def test_full_loss_is_the_default(self, lib):
        z, x = lib.array([5.0]), lib.array([0.0])
        assert_equal(K.log_poisson_loss(z, x), K.log_poisson_loss(z, x, compute_full_loss=True))

    def test_means_are_scikit_learns(self):
        rng = np.random.default_rng(6)
        x, weights = rng.normal(0, 2, 300), rng.uniform(0.1, 2, 300)
        z = (rng.random(300) < 0.4).astype(float)
        expected = sklearn_metrics.log_loss(z, special.expit(x), sample_weight=weights)
        assert np.average(K.sigmoid_cross_entropy(z, x), weights=weights) == pytest.approx(expected, rel=1e-12)
        y = rng.normal(0, 3, 300)
        expected = sklearn_metrics.mean_squared_error(y, x, sample_weight=weights)
        assert np.average(K.squared_error(y, x), weights=weights) == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("full", [True, False])
    def test_poisson_deviance_is_twice_the_loss_over_that_of_the_saturated_model(self, full):
        rng = np.random.default_rng(7)
        x, z = rng.normal(0, 1, 300), rng.poisson(3.0, 300).astype(float)
        with np.errstate(divide="ignore"):
            saturated = np.log(z)
        of_model, of_saturated = (K.log_poisson_loss(z, logits, compute_full_loss=full) for logits in (x, saturated))
        deviance = 2 * np.mean(of_model - of_saturated)
        assert deviance == pytest.approx(sklearn_metrics.mean_poisson_deviance(z, np.exp(x)), rel=1e-12)

    @given(z=probabilities, x=st.floats(-110, 110))
    def test_swapping_the_classes_changes_the_sign_of_the_logit(self, z, x):
        z = round(z * 2**20) / 2**20  # 1 − z is exact
        labels, logits = np.asarray([z, 1 - z]), np.asarray([x, -x])
        one, other = K.sigmoid_cross_entropy(labels, logits)
        assert one == pytest.approx(other, rel=1e-15)
        one, other = K.sigmoid_cross_entropy_gradient(labels, logits)
        assert one == pytest.approx(-other, rel=1e-15)


SHAPES = [(), (0, 1), (3, 1), (2, 3, 4)]


def call(name: str, labels: Any, logits: Any) -> Any:
    return getattr(K, name)(logits) if name in UNARY else getattr(K, name)(labels, logits)


class TestArrays:
    @pytest.mark.parametrize("name", [*UNARY, *BINARY])
    def test_result_is_like_the_logits(self, lib, dtype, name):
        for shape in SHAPES:
            x = lib.array(np.full(shape, 0.5), dtype)
            got = call(name, lib.xp.ones_like(x), x)
            assert backends.of(got) is lib.backend
            assert got.shape == x.shape
            assert got.dtype == x.dtype
            assert lib.backend.device(got) == lib.backend.device(x)

    @pytest.mark.parametrize("name", [*UNARY, *BINARY])
    @pytest.mark.parametrize("kind", ["int32", "uint8", "bool"])
    def test_integer_logits_become_the_default_real_dtype(self, lib, name, kind):
        x = lib.array([0, 1, 1], kind)
        got = call(name, x, x)
        default = lib.xp.__array_namespace_info__().default_dtypes()["real floating"]
        assert got.dtype == default
        floats = lib.xp.astype(x, default)
        assert_equal(got, call(name, floats, floats))

    @pytest.mark.parametrize("labels_dtype", ["float32", "int32", "bool", "uint8"])
    def test_labels_take_the_dtype_of_the_logits(self, lib, dtype, labels_dtype):
        x = lib.array([0.5, -1.0], dtype)
        got = K.sigmoid_cross_entropy(lib.array([0, 1], labels_dtype), x)
        assert_equal(got, K.sigmoid_cross_entropy(lib.array([0, 1], dtype), x))

    def test_complex_logits_are_refused(self, lib):
        x = lib.array([0.5], "complex64")
        with pytest.raises(TypeError, match="real numbers"):
            K.sigmoid(x)
        with pytest.raises(TypeError, match="real numbers"):
            K.sigmoid_cross_entropy(x, lib.array([0.5], "float32"))

    @pytest.mark.parametrize("bad", [["a"], [b"a"], [None], [object()]])
    def test_what_is_no_number_is_refused(self, bad):
        with pytest.raises(TypeError, match="real numbers"):
            K.sigmoid(np.asarray(bad))
        with pytest.raises(TypeError, match="real numbers"):
            K.squared_error(np.asarray(bad), np.asarray([1.0]))

    @pytest.mark.parametrize("bad", [[1.0], 1.0, "a", None])
    def test_what_is_no_array_is_refused(self, bad):
        with pytest.raises(TypeError, match="expected an array"):
            K.sigmoid(bad)

    @pytest.mark.parametrize("name", BINARY)
    @pytest.mark.parametrize(
        ("labels", "logits"), [((4,), (4, 1)), ((4, 1), (4,)), ((1,), (4,)), ((), (1,)), ((3,), (4,))]
    )
    def test_shapes_do_not_broadcast(self, lib, name, labels, logits):
        with pytest.raises(ValueError, match="labels must be shaped like the logits"):
            getattr(K, name)(lib.array(np.ones(labels)), lib.array(np.ones(logits)))

    def test_labels_of_another_library_are_refused(self, library):
        torch = library("torch")
        with pytest.raises(TypeError, match="one library"):
            K.sigmoid_cross_entropy(np.ones(2), torch.array(np.ones(2)))

    @pytest.mark.parametrize("name", [*UNARY, *BINARY])
    def test_arguments_are_not_changed(self, lib, dtype, name):
        z, x = np.asarray([0.0, 1.0, 0.5], dtype), np.asarray([0.5, -3.0, 200.0], dtype).clip(-50, 50)
        labels, logits = lib.array(z.copy()), lib.array(x.copy())
        call(name, labels, logits)
        assert_array_equal(lib.numpy(labels), z)
        assert_array_equal(lib.numpy(logits), x)

    @pytest.mark.parametrize("name", [*UNARY, *BINARY])
    def test_memory_layout_does_not_matter(self, name):
        rng = np.random.default_rng(8)
        x, z = rng.normal(size=(6, 4)), (rng.random((6, 4)) < 0.5).astype(float)
        expected = call(name, z, x)
        frozen_z, frozen_x = z.copy(), x.copy()
        frozen_z.flags.writeable = frozen_x.flags.writeable = False
        assert_array_equal(call(name, frozen_z, frozen_x), expected)
        assert_array_equal(call(name, np.asfortranarray(z), np.asfortranarray(x)), expected)
        assert_allclose(call(name, z[::-1, ::-2], x[::-1, ::-2]), expected[::-1, ::-2], rtol=1e-15)
        assert_allclose(call(name, z.T, x.T), expected.T, rtol=1e-15)

    @pytest.mark.parametrize("dtype", [">f8", "longdouble"])
    def test_uncommon_wide_floats_are_not_narrowed(self, dtype):
        x, z = np.linspace(-30, 30, 50), np.resize([0.0, 1.0], 50)
        got = K.sigmoid_cross_entropy(z.astype(dtype), x.astype(dtype))
        assert got.dtype == np.dtype(dtype)
        assert_allclose(got.astype(np.float64), K.sigmoid_cross_entropy(z, x), rtol=1e-15)

    def test_functions_are_traced_as_they_run(self, library):
        jax = pytest.importorskip("jax")
        lib = library("jax")
        x, z = lib.array(np.linspace(-5, 5, 11), "float32"), lib.array(np.resize([0, 1], 11), "float32")
        for name in (*UNARY, *BINARY):
            eager = call(name, z, x)
            jitted = jax.jit(lambda z, x, name=name: call(name, z, x))(z, x)
            assert_close(jitted, eager, rtol=1e-6)

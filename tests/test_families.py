"""Each family is a distribution: its loss, its derivatives and its inverse link belong together."""

from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
from array_api_extra.testing import assert_close
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special, stats

from glmheads import Family, Interval, families

FAMILIES = [getattr(families, name) for name in families.__all__ if name.isupper()]
SCIPY_INVERSE_LINKS = {
    "bernoulli": special.expit,
    "gaussian": lambda x: x,
    "poisson": np.exp,
    "poisson without constant": np.exp,
}


@pytest.fixture(params=FAMILIES, ids=lambda family: family.name.replace(" ", "-"))
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


def label_of(family: Family, share: float) -> float:
    """A label that the family allows, from a number between 0 and 1."""
    valid = family.valid_labels or Interval()
    low, high = (np.clip(bound, -20, 20) for bound in (valid.low, valid.high))
    return float(low + share * (high - low))


shares = st.floats(0, 1) | st.sampled_from([0.0, 1.0])
logits = st.floats(-8, 5)


def slope(function, label: float, x: float) -> float:
    """A central difference of fourth order."""
    step = 1e-3
    points = x + step * np.asarray([-2.0, -1.0, 1.0, 2.0])
    values = function(np.full_like(points, label), points)
    return float(values @ np.asarray([1.0, -8.0, 8.0, -1.0]) / (12 * step))


class TestEveryFamily:
    @given(share=shares, x=logits)
    def test_gradient_is_the_derivative_of_the_loss(self, family, share, x):
        z = label_of(family, share)
        gradient = float(family.gradient(np.asarray([z]), np.asarray([x]))[0])
        assert gradient == pytest.approx(slope(family.loss, z, x), rel=1e-9, abs=1e-9)

    @given(share=shares, x=logits)
    def test_hessian_is_the_derivative_of_the_gradient(self, family, share, x):
        z = label_of(family, share)
        hessian = float(family.hessian(np.asarray([z]), np.asarray([x]))[0])
        assert hessian == pytest.approx(slope(family.gradient, z, x), rel=1e-9, abs=1e-9)

    @given(x=logits, offset=st.floats(1e-3, 20))
    def test_loss_is_least_where_the_mean_is_the_label(self, family, x, offset):
        at, away = (
            np.asarray([x]),
            np.asarray([x + offset]),
        )
        label = family.inverse_link(at)
        assert abs(family.gradient(label, at)[0]) <= 1e-15 * max(1, abs(label[0]))
        least = family.loss(label, at)
        for other in (away, at - offset):
            assert family.loss(label, other) > least - 1e-14 * abs(least)

    @given(share=shares, x=st.floats(-700, 700))
    def test_loss_is_convex(self, family, share, x):
        assert family.hessian(np.asarray([label_of(family, share)]), np.asarray([x]))[0] >= 0

    def test_inverse_link_is_scipys(self, family, lib):
        x = np.linspace(-30, 30, 301).astype("float64" if lib.has_float64 else "float32")
        expected = lib.array(SCIPY_INVERSE_LINKS[family.name](x))
        assert_close(family.inverse_link(lib.array(x)), expected, rtol=4 * float(np.finfo(x.dtype).eps))

    def test_mean_lies_among_the_labels(self, family, lib):
        mean = lib.numpy(family.inverse_link(lib.array([-1e3, -50.0, 0.0, 50.0], "float32")))
        assert (family.valid_labels or Interval()).contains(mean[:-1]).all()

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_functions_keep_library_shape_and_dtype(self, family, lib, dtype):
        if dtype == "float64" and not lib.has_float64:
            pytest.skip("no float64 without x64")
        x = lib.array([[0.5], [-1.0]], dtype)
        for function in (family.loss, family.gradient, family.hessian):
            got = function(lib.xp.ones_like(x), x)
            assert (type(got), got.shape, got.dtype) == (type(x), x.shape, x.dtype)
        mean = family.inverse_link(x)
        assert (type(mean), mean.shape, mean.dtype) == (type(x), x.shape, x.dtype)

    def test_is_frozen(self, family):
        for field in fields(family):
            with pytest.raises(FrozenInstanceError):
                setattr(family, field.name, None)

    def test_can_be_made_anew(self, family):
        assert replace(family) == family
        assert replace(family, name="another") != family

    def test_names_differ(self):
        assert len({family.name for family in FAMILIES}) == len(FAMILIES)


class TestLikelihoods:
    """A loss is a negative log-likelihood of SciPy's distribution, up to what does not depend on the logits."""

    x = np.linspace(-6, 4, 41)

    def test_bernoulli(self):
        for z in (0.0, 1.0):
            got = families.BERNOULLI.loss(np.full_like(self.x, z), self.x)
            assert_allclose(got, -stats.bernoulli.logpmf(z, special.expit(self.x)), rtol=1e-10)

    def test_gaussian_of_variance_a_half(self):
        z = np.resize([-2.0, 0.0, 3.5], self.x.shape)
        likelihood = stats.norm.logpdf(z, self.x, np.sqrt(0.5)) - stats.norm.logpdf(0, 0, np.sqrt(0.5))
        assert_allclose(families.GAUSSIAN.loss(z, self.x), -likelihood, rtol=1e-12, atol=1e-13)

    def test_poisson(self):
        z = np.resize([0.0, 1.0, 2.0, 9.0], self.x.shape)
        without = families.POISSON_WITHOUT_CONSTANT.loss(z, self.x)
        likelihood = stats.poisson.logpmf(z, np.exp(self.x))
        assert_allclose(without + special.gammaln(z + 1), -likelihood, rtol=1e-10, atol=1e-12)
        # Stirling's approximation of the constant lacks less than 1 / (12 z).
        assert (np.abs(families.POISSON.loss(z, self.x) + likelihood) <= 1 / (12 * np.maximum(z, 1))).all()

    def test_poisson_families_differ_by_what_logits_do_not_change(self):
        z = np.full_like(self.x, 5.0)
        difference = families.POISSON.loss(z, self.x) - families.POISSON_WITHOUT_CONSTANT.loss(z, self.x)
        assert_allclose(difference, difference[0], rtol=1e-12)
        for order in ("gradient", "hessian"):
            with_constant, without = (getattr(f, order)(z, self.x) for f in FAMILIES if f.name.startswith("poisson"))
            assert_array_equal(with_constant, without)

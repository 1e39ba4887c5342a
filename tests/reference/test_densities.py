"""Densities against SciPy, and against the integral of one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from bijecta.errors import InputError
from bijecta.reference import densities

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 7, 4)) * 3.0
LOCATION = RNG.normal(size=4)
SCALE = RNG.uniform(0.3, 3.0, size=4)
DF = np.array([0.7, 1.0, 4.0, 300.0])


def test_standard_normal():
    np.testing.assert_allclose(densities.standard_normal_log_prob(X), stats.norm.logpdf(X).sum(-1), rtol=1e-13)


def test_diagonal_normal():
    expected = stats.norm.logpdf(X, LOCATION, SCALE).sum(-1)
    np.testing.assert_allclose(densities.diagonal_normal_log_prob(X, LOCATION, SCALE), expected, rtol=1e-13)


def test_a_scalar_scale_counts_once_per_feature():
    expected = stats.norm.logpdf(X, 1.0, 2.0).sum(-1)
    np.testing.assert_allclose(densities.diagonal_normal_log_prob(X, 1.0, 2.0), expected, rtol=1e-13)
    box = densities.uniform_box_log_prob(np.zeros(3), -1.0, 1.0)
    np.testing.assert_allclose(box, -3 * np.log(2.0), rtol=1e-14)


def test_uniform_box_corners():
    low, high = np.array([0.0, -1.0]), np.array([2.0, 3.0])
    x = np.stack([low, high, [1.0, 3.0], [-1e-9, 0.0], [1.0, 1.0]])
    expected = [-np.log(8.0), -np.inf, -np.inf, -np.inf, -np.log(8.0)]
    np.testing.assert_allclose(densities.uniform_box_log_prob(x, low, high), expected, rtol=1e-14)


def test_student_t():
    expected = stats.t.logpdf(X, DF, LOCATION, SCALE).sum(-1)
    np.testing.assert_allclose(densities.student_t_log_prob(X, LOCATION, SCALE, DF), expected, rtol=1e-12)


def test_student_t_tends_to_the_normal():
    nearly = densities.student_t_log_prob(X, LOCATION, SCALE, 1e9)
    np.testing.assert_allclose(nearly, densities.diagonal_normal_log_prob(X, LOCATION, SCALE), rtol=0, atol=1e-5)


@given(st.lists(st.floats(-1e4, 1e4) | st.just(-np.inf), min_size=1, max_size=6))
def test_log_sum_exp(values):
    expected = special.logsumexp(values)
    np.testing.assert_allclose(densities.log_sum_exp(np.array(values)), expected, rtol=1e-13, atol=1e-13)


def test_gaussian_mixture():
    weights = np.array([0.2, 0.5, 0.3])
    locations, scales = RNG.normal(size=(3, 4)), RNG.uniform(0.5, 2.0, size=(3, 4))
    components = [stats.multivariate_normal(m, np.diag(s**2)).pdf(X) for m, s in zip(locations, scales, strict=True)]
    expected = np.log(np.einsum("k,k...->...", weights, np.array(components)))
    unnormalised = np.log(weights) + 7.0
    mixture = densities.gaussian_mixture_log_prob(X, unnormalised, locations, scales)
    np.testing.assert_allclose(mixture, expected, rtol=1e-12)


def test_gaussian_mixture_stays_finite_far_away():
    far = densities.gaussian_mixture_log_prob(np.array([1e3]), np.zeros(2), np.zeros((2, 1)), np.ones((2, 1)))
    np.testing.assert_allclose(far, stats.norm.logpdf(1e3), rtol=1e-14)


@given(st.floats(0.0, 1e8))
@settings(max_examples=200)
def test_bessel_function_on_both_branches(concentration):
    expected = np.log(special.i0e(concentration))
    np.testing.assert_allclose(densities.log_scaled_bessel_i0(concentration), expected, rtol=0, atol=2e-14)


def test_bessel_function_is_continuous_where_the_branches_meet():
    below, above = densities.log_scaled_bessel_i0(np.array([np.nextafter(50.0, 0.0), 50.0]))
    assert abs(above - below) < 1e-13


@pytest.mark.parametrize("concentration", [0.0, 0.3, 49.999, 50.0, 800.0, 1e6])
def test_von_mises(concentration):
    angle = np.linspace(-np.pi, np.pi, 50)[:, None]
    expected = stats.vonmises.logpdf(angle[:, 0], max(concentration, 1e-300), loc=0.7)
    result = densities.von_mises_log_prob(angle, 0.7, concentration)
    np.testing.assert_allclose(result, expected, rtol=1e-10, atol=1e-10)


def test_von_mises_without_concentration_is_circular_uniform():
    angle = RNG.uniform(-np.pi, np.pi, size=(5, 3))
    uniform = densities.circular_uniform_log_prob(angle)
    np.testing.assert_allclose(densities.von_mises_log_prob(angle, 1.0, 0.0), uniform, rtol=1e-14)
    assert densities.circular_uniform_log_prob(np.array([np.pi])) == -np.inf


@pytest.mark.parametrize(
    ("log_prob", "low", "high"),
    [
        (densities.standard_normal_log_prob, -12.0, 12.0),
        (lambda x: densities.diagonal_normal_log_prob(x, 1.0, 0.5), -12.0, 12.0),
        (lambda x: densities.uniform_box_log_prob(x, -1.0, 2.0), -1.0, 2.0 - 1e-12),
        (lambda x: densities.student_t_log_prob(x, 0.0, 0.1, 5.0), -12.0, 12.0),
        (lambda x: densities.von_mises_log_prob(x, 2.0, 60.0), -np.pi, np.pi),
    ],
)
def test_densities_integrate_to_one(log_prob, low, high):
    x = np.linspace(low, high, 20001)
    np.testing.assert_allclose(np.trapezoid(np.exp(log_prob(x[:, None])), x), 1.0, atol=1e-6)


def test_one_point_has_a_number_for_its_log_density():
    assert np.shape(densities.standard_normal_log_prob(np.zeros(3))) == ()


@pytest.mark.parametrize(
    "call",
    [
        lambda: densities.diagonal_normal_log_prob(X, 0.0, 0.0),
        lambda: densities.uniform_box_log_prob(X, 1.0, 1.0),
        lambda: densities.student_t_log_prob(X, 0.0, 1.0, -1.0),
        lambda: densities.student_t_log_prob(X, 0.0, np.array([1.0, 1.0, np.nan, 1.0]), 1.0),
        lambda: densities.von_mises_log_prob(X, 0.0, -1.0),
    ],
)
def test_parameters_outside_their_domain_are_refused(call):
    with pytest.raises(InputError, match=r"must be .*positive"):
        call()

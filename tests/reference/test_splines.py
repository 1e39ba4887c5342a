"""The reference splines against the calculus that defines them: derivatives, ends and inverses."""

import numpy as np
import pytest

from bijecta.reference import splines

BINS = 5
SPLINES = {
    "rational quadratic": (splines.rational_quadratic, 3 * BINS - 1),
    "linear": (splines.linear_spline, BINS),
    "quadratic": (splines.quadratic_spline, 2 * BINS - 1),
    "cubic": (splines.cubic_spline, 2 * BINS + 2),
}


def draw(size, rows=40):
    random = np.random.default_rng(3)
    return random.uniform(-4.9, 4.9, rows), random.normal(size=(rows, size))


@pytest.mark.parametrize("name", list(SPLINES))
def test_ladj_is_the_central_difference(name):
    spline, size = SPLINES[name]
    x, params = draw(size)
    _, ladj = spline(x, params)
    step = 1e-6
    slope = (spline(x + step, params)[0] - spline(x - step, params)[0]) / (2 * step)
    np.testing.assert_allclose(ladj, np.log(slope), atol=1e-4)


@pytest.mark.parametrize("name", list(SPLINES))
def test_inverse_undoes_the_map(name):
    spline, size = SPLINES[name]
    x, params = draw(size)
    y, ladj = spline(x, params)
    back, back_ladj = spline(y, params, inverse=True)
    np.testing.assert_allclose(back, x, atol=1e-10)
    np.testing.assert_allclose(back_ladj, -ladj, atol=1e-8)


@pytest.mark.parametrize("name", list(SPLINES))
def test_the_domain_is_mapped_onto_itself_and_the_tails_stay(name):
    spline, size = SPLINES[name]
    x = np.array([-7.0, -5.0, 5.0, 7.0])
    y, ladj = spline(x, draw(size, rows=4)[1])
    np.testing.assert_allclose(y, x, atol=1e-12)
    assert ladj[0] == ladj[3] == 0


@pytest.mark.parametrize("name", list(SPLINES))
def test_zero_parameters_are_the_identity(name):
    spline, size = SPLINES[name]
    x = np.linspace(-6, 6, 31)
    y, ladj = spline(x, np.zeros((31, size)))
    np.testing.assert_allclose(y, x, atol=1e-13)
    np.testing.assert_allclose(ladj, 0, atol=1e-13)


def test_circular_spline_is_periodic_with_one_slope_at_its_boundary():
    params = draw(3 * BINS, rows=3)[1][[0, 0, 0]]
    x = np.array([-5.0, 5.0 - 1e-9, 15.0])
    y, ladj = splines.rational_quadratic(x, params, circular=True)
    np.testing.assert_allclose(y, [-5, 5, -5], atol=1e-7)
    np.testing.assert_allclose(ladj, ladj[0], atol=1e-6)
    assert abs(ladj[0]) > 1e-3

"""The reference of monotone functions against the calculus that defines them."""

import numpy as np
import pytest

from bijecta.reference import monotone

FUNCTIONS = {
    "bernstein": (monotone.bernstein, 9),
    "sum of squares": (monotone.sum_of_squares, 11),
    "network": (monotone.integrated_network, 26),
    "sigmoidal": (monotone.sigmoidal, 19),
}

every_function = pytest.mark.parametrize("name", FUNCTIONS)


def draw(size, rows=20):
    random = np.random.default_rng(3)
    return random.uniform(-4.9, 4.9, rows), random.normal(size=(rows, size))


@every_function
def test_ladj_is_the_central_difference(name):
    function, size = FUNCTIONS[name]
    x, params = draw(size)
    step = 1e-5
    slope = (function(x + step, params)[0] - function(x - step, params)[0]) / (2 * step)
    np.testing.assert_allclose(function(x, params)[1], np.log(slope), atol=1e-4)


@every_function
def test_zero_parameters_are_the_identity(name):
    function, size = FUNCTIONS[name]
    x = np.linspace(-6, 6, 13)
    y, ladj = function(x, np.zeros((13, size)))
    np.testing.assert_allclose(y, x, atol=1e-12)
    np.testing.assert_allclose(ladj, 0, atol=1e-12)


@pytest.mark.parametrize("name", ["bernstein", "sum of squares", "network"])
def test_tails_are_tangents(name):
    function, size = FUNCTIONS[name]
    params = draw(size, rows=1)[1].repeat(3, 0)
    y, ladj = function(np.array([5.0, 6.0, 8.0]), params)
    np.testing.assert_allclose(np.diff(y), np.exp(ladj[0]) * np.array([1, 2]))
    np.testing.assert_allclose(ladj, ladj[0])

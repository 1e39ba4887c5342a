"""The monotone functions against NumPy, autograd, quadrature and themselves far outside of where they were fitted."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from bijecta.errors import InputError
from bijecta.functional.monotone import (
    bernstein,
    gauss_legendre,
    integrated_network,
    leaky_tanh,
    sigmoidal,
    sum_of_squares,
)
from bijecta.reference import monotone as reference

FUNCTIONS = {
    "bernstein": (bernstein, reference.bernstein, 9),
    "sum of squares": (partial(sum_of_squares, rule=gauss_legendre(5)), reference.sum_of_squares, 11),
    "network": (partial(integrated_network, rule=gauss_legendre(32)), reference.integrated_network, 26),
    "sigmoidal": (partial(sigmoidal, components=6), reference.sigmoidal, 19),
}
SLOPES = {"bernstein": (-3, 3), "sum of squares": (-3, 5.1), "network": (-3, 3), "sigmoidal": (-7, 3)}

every_function = pytest.mark.parametrize("name", FUNCTIONS)


def draw(name, rows=40, size=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(5)
    x = 3 * torch.randn(rows, generator=generator, dtype=torch.float64)
    return x.to(dtype), (size * torch.randn(rows, FUNCTIONS[name][2], generator=generator, dtype=torch.float64)).to(
        dtype
    )


@every_function
def test_agrees_with_numpy(name):
    function, twin, _ = FUNCTIONS[name]
    x, params = draw(name)
    y, ladj = function(x, params)
    expected, expected_ladj = twin(x.numpy(), params.numpy())
    # The trapezium rule of the reference, and 32 nodes here, are what limits the integral of the network.
    tolerance = 1e-5 if name == "network" else 1e-10
    np.testing.assert_allclose(y.numpy(), expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(ladj.numpy(), expected_ladj, rtol=0, atol=1e-10)


@every_function
@pytest.mark.parametrize("size", [0.3, 1.0, 10.0])
def test_ladj_is_the_derivative(name, size):
    function = FUNCTIONS[name][0]
    x, params = draw(name, 500, size)
    y, ladj = function(x.requires_grad_(), params)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(slope, ladj.exp(), rtol=5e-6 if name == "network" else 1e-10, atol=0)


@every_function
@pytest.mark.parametrize("size", [0.3, 3.0, 100.0])
def test_slopes_stay_between_their_bounds(name, size):
    x, params = draw(name, 2000, size)
    ladj = FUNCTIONS[name][0](x, params)[1]
    low, high = SLOPES[name]
    assert low - 1e-9 <= float(ladj.min())
    assert float(ladj.max()) <= high + 1e-9


@every_function
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("z", [0.0, 1e-30, 12.0, -20.0, 50.0, 1e4, 1e30, -1e30])
def test_the_inverse_is_right_anywhere_on_the_line(name, dtype, z):
    """Where a search on [-10, 10] would clip."""
    function = FUNCTIONS[name][0]
    target, params = torch.full((50,), z, dtype=dtype), draw(name, 50, dtype=dtype)[1]
    x, ladj = function(target, params, inverse=True)
    back, back_ladj = function(x, params)
    eps = torch.finfo(dtype).eps
    assert ((back - target).abs() <= 100 * eps * (1 + target.abs() + back_ladj.exp() * (1 + x.abs()))).all()
    torch.testing.assert_close(ladj, -back_ladj)


@every_function
def test_zero_parameters_are_the_identity_and_nothing_is_stuck_there(name):
    function, _, count = FUNCTIONS[name]
    params = torch.zeros(count, dtype=torch.float64, requires_grad=True)
    x = torch.tensor([-50.0, -4.9, -0.3, 0.0, 2.0, 5.0, 1e3], dtype=torch.float64)
    y, ladj = function(x, params)
    torch.testing.assert_close(y, x)
    torch.testing.assert_close(ladj, torch.zeros(7, dtype=torch.float64), rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad((y**2 / 2 - ladj)[2:5].sum(), params)
    # Weights of equal sigmoids, or scales and places of units of height zero, change nothing until the others moved.
    waiting = {"sigmoidal": 6, "network": 16}.get(name, 0)
    assert (gradient != 0).sum() >= count - waiting


def test_equal_components_separate():
    """A mixture of equal sigmoids is a straight line; steps by the sign of the gradient are how Adam starts."""
    params, x = torch.zeros(19, dtype=torch.float64, requires_grad=True), torch.linspace(-2, 2, 9).double()
    for _ in range(5):
        y, ladj = sigmoidal(x, params, components=6)
        (gradient,) = torch.autograd.grad((y**4 / 4 - ladj + y).sum(), params)
        params = (params - 0.1 * gradient.sign()).detach().requires_grad_()
    assert sigmoidal(x, params, components=6)[1].std() > 1e-3


@every_function
def test_first_and_second_gradients_both_ways(name):
    function, _, count = FUNCTIONS[name]
    x, params = torch.tensor([-6.0, 0.4, 1.3]).double(), 0.5 * torch.randn(3, count, dtype=torch.float64)
    arguments = (x.requires_grad_(), params.requires_grad_())
    for inverse in (False, True):
        both = partial(function, inverse=inverse)
        assert torch.autograd.gradcheck(both, arguments, fast_mode=True)
        assert torch.autograd.gradgradcheck(both, arguments, fast_mode=True)


@every_function
@pytest.mark.parametrize("raw", [1e30, -1e30])
def test_parameters_of_any_size_are_finite(name, raw):
    function, _, count = FUNCTIONS[name]
    params = torch.full((5, count), raw, requires_grad=True)
    for inverse in (False, True):
        y, ladj = function(torch.tensor([0.0, 1.0, -7.0, 1e4, -1e4]), params, inverse=inverse)
        assert torch.isfinite(y).all()
        assert torch.isfinite(ladj).all()
        (gradient,) = torch.autograd.grad((y / 1e30).sum() + ladj.sum(), params)
        assert torch.isfinite(gradient).all()


def test_the_leaky_tanh_is_the_integral_of_its_slope():
    settings = [torch.tensor(value, dtype=torch.float64) for value in (0.7, -0.4, 1.1)]
    for end in (-3.0, 0.2, 5.0):
        area, _ = quad(
            lambda s: float(leaky_tanh(torch.tensor(s, dtype=torch.float64), *settings)[1]), 0, end, epsabs=1e-12
        )
        start, stop = (leaky_tanh(torch.tensor(s, dtype=torch.float64), *settings)[0] for s in (0.0, end))
        assert float(stop - start) == pytest.approx(area, abs=1e-9)


def test_the_integral_of_the_network_against_adaptive_quadrature():
    params = torch.randn(10, 26, dtype=torch.float64)
    function = FUNCTIONS["network"][0]
    for row in params:
        y = function(torch.tensor(4.3, dtype=torch.float64), row)[0] - row[0]
        exact, _ = quad(
            lambda u, row=row: float(function(torch.tensor(u).double(), row)[1].exp()), 0, 4.3, epsabs=1e-10
        )
        assert float(y) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("count", [1, 4, 7])
def test_gauss_legendre_is_exact_for_polynomials(count):
    rule = gauss_legendre(count)
    for power in range(2 * count):
        total = sum(weight * node**power for node, weight in zip(*rule, strict=True))
        assert total == pytest.approx(1 / (power + 1), rel=1e-13)


@every_function
def test_a_bound_must_be_positive(name):
    function, _, count = FUNCTIONS[name]
    with pytest.raises(InputError, match="bound must be positive"):
        function(torch.zeros(1), torch.zeros(1, count), bound=0.0)


def test_a_quadrature_needs_a_node():
    with pytest.raises(InputError, match="at least one node, got 0"):
        gauss_legendre(0)

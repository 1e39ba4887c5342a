"""The numerical inverse: every function, every target, derivatives of first and second order, and clear failures."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bijecta.errors import NotConvergedError
from bijecta.functional.inversion import invert_monotone

FUNCTIONS = {
    "cubic": lambda x: (x**3 + x, (3 * x**2 + 1).log()),
    "hyperbolic sine": lambda x: (x.sinh(), x.cosh().log()),
    "flat far out": lambda x: (x.asinh(), -0.5 * x.square().log1p()),
    "nearly flat in places": lambda x: (x + 0.999 * x.sin(), (1 + 0.999 * x.cos()).log()),
    "step": lambda x: (1e-3 * x + 10 * torch.tanh(30 * (x - 3)), (1e-3 + 300 / torch.cosh(30 * (x - 3)) ** 2).log()),
    "broken line": lambda x: (torch.where(x > 1, 50 * x - 49, x), torch.where(x > 1, 50.0, 1.0).to(x.dtype).log()),
    "far away": lambda x: (x - 1e5, torch.zeros_like(x)),
    "gentle": lambda x: (1e-8 * x, torch.full_like(x, math.log(1e-8))),
}
DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_root_is_where_the_function_passes_the_target(name, dtype):
    """Between f(x - h) and f(x + h), with h a few units of the last place: no residual that a slope could excuse."""
    function = FUNCTIONS[name]
    target = torch.cat([10 * torch.randn(200), torch.tensor([0.0, 1e-30, 12, -20, 50])]).to(dtype)
    x, ladj = invert_monotone(function, target)
    h = 20 * torch.finfo(dtype).eps * (1 + x.abs())
    rounding = 8 * torch.finfo(dtype).eps * (1 + target.abs() + (1e5 if name == "far away" else 0))
    assert (function(x - h)[0] <= target + rounding).all()
    assert (function(x + h)[0] >= target - rounding).all()
    torch.testing.assert_close(ladj, -function(x)[1])
    assert x.dtype == ladj.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_targets_of_any_size(dtype):
    target = torch.tensor([1e30, -1e30, 1e4, 1e-30, -0.0], dtype=dtype)
    x, _ = invert_monotone(FUNCTIONS["cubic"], target)
    torch.testing.assert_close(x, torch.tensor([1e10, -1e10, 21.5289, 0, 0], dtype=dtype), rtol=1e-5, atol=1e-20)


@settings(max_examples=60, deadline=None)
@given(slope=st.floats(-25, 25), shift=st.floats(-1e6, 1e6), target=st.floats(-1e6, 1e6))
def test_straight_lines(slope, shift, target):
    scale = math.exp(slope)

    def line(x):
        return scale * (x - shift), torch.full_like(x, slope)

    x, _ = invert_monotone(line, torch.tensor(target, dtype=torch.float64))
    expected = shift + target / scale
    assert float(x) == pytest.approx(expected, rel=1e-12, abs=1e-12 * (1 + abs(shift)))


def test_infinities_and_nan_stay_and_spoil_nothing():
    target = torch.tensor([1.0, torch.nan, torch.inf, -torch.inf, 2.0])
    x, _ = invert_monotone(FUNCTIONS["cubic"], target)
    assert x[1].isnan()
    assert x[2] == torch.inf
    assert x[3] == -torch.inf
    torch.testing.assert_close(x[[0, 4]], invert_monotone(FUNCTIONS["cubic"], target[[0, 4]])[0], rtol=0, atol=0)


def test_a_function_that_is_nan_gives_nan():
    factor = torch.tensor([1.0, torch.nan])
    x, _ = invert_monotone(lambda x: (factor * x, torch.zeros_like(x)), torch.tensor([3.0, 3.0]))
    assert x[0] == 3
    assert x[1].isnan()


def test_no_elements():
    assert invert_monotone(FUNCTIONS["cubic"], torch.zeros(0, 3))[0].shape == (0, 3)


def test_the_tolerance_is_kept_and_saves_work():
    calls = []

    def counted(x):
        calls.append(1)
        return FUNCTIONS["cubic"](x)

    target = torch.randn(100, dtype=torch.float64)
    exact = invert_monotone(counted, target)[0]
    many = len(calls)
    coarse = invert_monotone(counted, target, tolerance=1e-3)[0]
    assert ((coarse - exact).abs() <= 1e-3 * (1 + exact.abs())).all()
    assert len(calls) - many < many


@pytest.mark.parametrize(
    ("function", "failed"),
    [
        (lambda x: (x.tanh(), -2 * x.cosh().log()), 1),
        (lambda x: (-x, torch.zeros_like(x)), 2),
    ],
)
def test_what_cannot_be_inverted_is_an_error(function, failed):
    with pytest.raises(NotConvergedError, match=rf"{failed} of 2 .* size 3\): the function does not reach it.*float64"):
        invert_monotone(function, torch.tensor([0.5, 3.0], dtype=torch.float64))


def test_a_search_that_does_not_end_is_an_error():
    """A jump over the target, and a tolerance below what floating point numbers can tell apart."""
    with pytest.raises(NotConvergedError, match="bracket did not close"):
        invert_monotone(lambda x: (torch.where(x > 1, x, x - 1), 0 * x), torch.tensor([0.5]), tolerance=1e-30)


def parametrised(target, factor, offset):
    def function(x):
        return factor * x**3 + offset.exp() * x, (3 * factor * x**2 + offset.exp()).log()

    return invert_monotone(function, target)


def test_first_and_second_derivatives():
    target, factor, offset = (torch.randn(4, dtype=torch.float64) for _ in range(3))
    arguments = tuple(a.requires_grad_() for a in (target, factor.square() + 0.1, offset))
    arguments = tuple(a.detach().requires_grad_() for a in arguments)
    assert torch.autograd.gradcheck(parametrised, arguments)
    assert torch.autograd.gradgradcheck(parametrised, arguments)


def test_third_derivative_of_a_closed_form():
    """asinh' = (1 + z^2)^(-1/2), differentiated twice more."""
    z = torch.tensor([0.3, -1.2], dtype=torch.float64, requires_grad=True)
    derivative = invert_monotone(FUNCTIONS["hyperbolic sine"], z)[0]
    for _ in range(3):
        (derivative,) = torch.autograd.grad(derivative.sum(), z, create_graph=True)
    torch.testing.assert_close(derivative, (2 * z**2 - 1) / (1 + z**2) ** 2.5)


def test_without_gradients_the_function_is_not_evaluated_for_them():
    x, ladj = invert_monotone(FUNCTIONS["cubic"], torch.ones(3, requires_grad=True).detach())
    assert not x.requires_grad
    assert not ladj.requires_grad

"""Splines of order one to three: exact inverses, independent values, and the promises all splines share."""

import math

import nflows.transforms.splines as nflows_splines
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bijecta.errors import InputError, ShapeError
from bijecta.functional import (
    cubic_spline,
    cubic_spline_params,
    linear_spline,
    linear_spline_params,
    quadratic_spline,
    quadratic_spline_params,
)
from bijecta.reference import splines as reference

BINS = 6
SPLINES = {
    "linear": (linear_spline, linear_spline_params, reference.linear_spline),
    "quadratic": (quadratic_spline, quadratic_spline_params, reference.quadratic_spline),
    "cubic": (cubic_spline, cubic_spline_params, reference.cubic_spline),
}
ORDERS = pytest.mark.parametrize("order", list(SPLINES))
DIRECTIONS = pytest.mark.parametrize("inverse", [False, True])


def draw(order: str, rows: int, spread: float = 1.0, *, dtype=torch.float64, bins: int = BINS):
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(rows, generator=generator, dtype=torch.float64) * 12 - 6
    params = spread * torch.randn(rows, SPLINES[order][1](bins), generator=generator, dtype=torch.float64)
    return x.to(dtype), params.to(dtype)


@ORDERS
@DIRECTIONS
def test_matches_the_numpy_reference(order, inverse):
    x, params = draw(order, 100, 2.0)
    y, ladj = SPLINES[order][0](x, params, inverse=inverse)
    expected_y, expected_ladj = SPLINES[order][2](x, params, inverse=inverse)
    np.testing.assert_allclose(y, expected_y, atol=1e-11)
    np.testing.assert_allclose(ladj, expected_ladj, atol=1e-8)


@ORDERS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_round_trip_is_at_the_conditioning_limit(order, dtype, spread):
    x, params = draw(order, 50_000, spread, dtype=dtype)
    y, ladj = SPLINES[order][0](x, params)
    back, back_ladj = SPLINES[order][0](y, params, inverse=True)
    condition = torch.exp(torch.maximum(-ladj, back_ladj)).clamp(min=1)
    assert ((back - x).abs() / (torch.finfo(dtype).eps * 5 * condition)).max() < 4


@ORDERS
@DIRECTIONS
def test_ladj_is_autograd_of_the_map(order, inverse):
    x, params = draw(order, 2_000, 2.0)
    x.requires_grad_()
    y, ladj = SPLINES[order][0](x, params, inverse=inverse)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(ladj, slope.log(), rtol=0, atol=1e-8)


@ORDERS
@DIRECTIONS
def test_gradients_of_first_and_second_order(order, inverse):
    x, params = draw(order, 4, 0.7, bins=3)
    x, params = (x / 2).requires_grad_(), params.requires_grad_()

    def call(x, params):
        return SPLINES[order][0](x, params, inverse=inverse)

    assert torch.autograd.gradcheck(call, (x, params))
    assert torch.autograd.gradgradcheck(call, (x, params))


@ORDERS
@DIRECTIONS
@pytest.mark.parametrize("bins", [1, 2, 5, 8])
def test_identity_at_zero_parameters(order, inverse, bins):
    x = torch.linspace(-6, 6, 1001, dtype=torch.float64)
    y, ladj = SPLINES[order][0](x, torch.zeros(SPLINES[order][1](bins)), inverse=inverse)
    torch.testing.assert_close(y, x, rtol=0, atol=1e-14)
    assert ladj.abs().max() < 1e-14


@ORDERS
@DIRECTIONS
@pytest.mark.parametrize("spread", [0.0, 3.0, 1e4, 1e30])
def test_values_and_gradients_are_finite_at_extremes(order, inverse, spread):
    x = torch.tensor([0.0, 5.0, -5.0, 4.9999995, 7.0, 1e4, -1e4, 1e30, math.inf], requires_grad=True)
    params = (draw(order, 1, 1.0, dtype=torch.float32)[1] * spread).expand(len(x), -1).clone().requires_grad_()
    y, ladj = SPLINES[order][0](x, params, inverse=inverse)
    assert y[:3].tolist()[1:] == [5.0, -5.0]
    assert torch.equal(y[4:], x[4:])
    assert torch.isfinite(ladj).all()
    for gradient in torch.autograd.grad(y[:5].sum() + ladj.sum(), (x, params)):
        assert torch.isfinite(gradient).all()


@ORDERS
@DIRECTIONS
def test_nan_stays_nan_and_low_precision_is_lifted(order, inverse):
    x = torch.tensor([math.nan, 0.3])
    params = draw(order, 2)[1].bfloat16()
    y, ladj = SPLINES[order][0](x, params, inverse=inverse)
    assert y.dtype == ladj.dtype == torch.float32
    assert torch.isnan(y).tolist() == [True, False]
    assert torch.isfinite(ladj[1])


@given(logits=st.lists(st.floats(-30, 30), min_size=14, max_size=14), order=st.sampled_from(list(SPLINES)))
@settings(max_examples=60, deadline=None)
def test_any_parameters_give_an_increasing_map_of_the_domain_onto_itself(logits, order):
    params = torch.tensor(logits, dtype=torch.float64)[: SPLINES[order][1](BINS)]
    x = torch.linspace(-5, 5, 4001, dtype=torch.float64)
    y, ladj = SPLINES[order][0](x, params)
    assert (y.diff() > 0).all()
    assert y[0] == -5
    assert y[-1] == 5
    assert torch.isfinite(ladj).all()


@pytest.mark.parametrize("order", ["quadratic", "cubic"])
def test_the_slope_is_continuous_at_interior_knots(order):
    params = draw(order, 1, 1.0)[1]
    knots = torch.tensor(reference.knots(params[0, :BINS].numpy(), 5.0))[1:-1]
    left, right = (SPLINES[order][0](knots + nudge, params)[1] for nudge in (-1e-9, 1e-9))
    torch.testing.assert_close(left, right, rtol=0, atol=1e-6)


def test_the_quadratic_meets_its_tails_with_slope_one():
    params = draw("quadratic", 50, 3.0)[1]
    for edge in (-5.0, 5.0):
        _, ladj = quadratic_spline(torch.full((50,), edge, dtype=torch.float64), params)
        assert ladj.abs().max() < 1e-12


@DIRECTIONS
def test_linear_matches_nflows(inverse):
    x, params = draw("linear", 500)
    y, ladj = linear_spline(x, params, inverse=inverse, min_bin=1e-12)
    expected = nflows_splines.unconstrained_linear_spline(x, params, inverse=inverse, tail_bound=5.0)
    torch.testing.assert_close(y, expected[0], rtol=0, atol=1e-4)  # their inverse is only good to 1e-5
    torch.testing.assert_close(ladj, expected[1], rtol=0, atol=1e-4)


@DIRECTIONS
def test_quadratic_matches_nflows(inverse):
    """Without its tails, whose boundary slope is not one: a factor 1/2 too much in the areas of the end bins."""
    x, params = draw("quadratic", 500)
    x = x.clamp(-5, 5)
    widths = torch.tensor(np.array([np.diff(reference.knots(row, 1.0)) for row in params[:, :BINS].numpy()]))
    tents, weights = widths[:, 1:] + widths[:, :-1], params[:, BINS:].exp()
    interior = weights * tents.sum(1, keepdim=True) / (tents * weights).sum(1, keepdim=True)
    slopes = torch.nn.functional.pad(interior, (1, 1), value=1.0)
    theirs = torch.log(torch.expm1(slopes - 1e-3))  # they use softplus + 1e-3
    expected = nflows_splines.quadratic.quadratic_spline(
        x, params[:, :BINS], theirs, inverse=inverse, left=-5.0, right=5.0, bottom=-5.0, top=5.0
    )
    y, ladj = quadratic_spline(x, params, inverse=inverse)
    torch.testing.assert_close(y, expected[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(ladj, expected[1], rtol=0, atol=1e-6)


def test_cubic_matches_nflows():
    x, params = draw("cubic", 500)
    factor = 1 + (1 - 1e-3) * torch.tanh(params[:, 2 * BINS :] / 2)
    theirs = torch.logit(factor / 3)  # they use 3 sigmoid
    expected = nflows_splines.unconstrained_cubic_spline(
        x, params[:, :BINS], params[:, BINS : 2 * BINS], theirs[:, :1], theirs[:, 1:], tail_bound=5.0
    )
    y, ladj = cubic_spline(x, params)
    torch.testing.assert_close(y, expected[0], rtol=0, atol=1e-9)
    torch.testing.assert_close(ladj, expected[1], rtol=0, atol=1e-8)


@ORDERS
def test_vmap_and_broadcast_parameters(order):
    function = SPLINES[order][0]
    x, params = draw(order, 5)
    for inverse in (False, True):
        expected = function(x, params, inverse=inverse)
        mapped = torch.vmap(lambda x, p, inverse=inverse: function(x, p, inverse=inverse))(x, params)
        torch.testing.assert_close(mapped, expected)
        shared = function(x.view(5, 1), params[0], inverse=inverse)
        torch.testing.assert_close(shared[0][0, 0], expected[0][0])


@ORDERS
@DIRECTIONS
def test_export_with_a_free_batch_size(order, inverse):
    class Map(torch.nn.Module):
        def forward(self, x: torch.Tensor, params: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return SPLINES[order][0](x, params, inverse=inverse)

    free = {0: torch.export.Dim("n")}
    x, params = draw(order, 7, dtype=torch.float32)
    program = torch.export.export(Map(), (x[:4], params[:4]), dynamic_shapes={"x": free, "params": free})
    torch.testing.assert_close(program.module()(x, params), Map()(x, params))


def test_errors_say_what_to_do():
    with pytest.raises(ShapeError, match="got 4"):
        quadratic_spline(torch.zeros(1), torch.zeros(1, 4))
    with pytest.raises(ShapeError, match="got 5"):
        cubic_spline(torch.zeros(1), torch.zeros(1, 5))
    with pytest.raises(InputError, match="min_bin"):
        linear_spline(torch.zeros(1), torch.zeros(1, 2000))

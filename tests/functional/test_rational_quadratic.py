"""The rational-quadratic spline: its numerical promises, and every known failure of its kind."""

import math

import nflows.transforms.splines.rational_quadratic as nflows_spline
import numpy as np
import pytest
import torch
import zuko
from torch import Tensor

from bijecta.errors import InputError, ShapeError
from bijecta.functional import rational_quadratic, rational_quadratic_params
from bijecta.functional.rational_quadratic import _backward_in_bin, _Bin, _forward_in_bin, unit_root
from bijecta.reference import splines as reference

BINS, BOUND = 8, 5.0
EPS32 = float(np.finfo(np.float32).eps)


def draw(rows: int, spread: float = 1.0, *, dtype=torch.float64, size: int = 3 * BINS - 1, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(rows, generator=generator, dtype=torch.float64) * 12 - 6
    params = spread * torch.randn(rows, size, generator=generator, dtype=torch.float64)
    return x.to(dtype), params.to(dtype)


def random_bins(count: int) -> tuple[_Bin, Tensor]:
    """Bins of a domain of width 10 with everything spread over its whole range, and t ~ Beta(0.3, 0.3)."""
    random = np.random.default_rng(0)
    width, height = (10 * 10 ** random.uniform(-3, 0, count) for _ in range(2))
    x0, y0 = (random.uniform(-5, 5, count) for _ in range(2))
    d0, d1 = (10 ** random.uniform(-3, 3, count) for _ in range(2))
    values = (x0, x0 + width, y0, y0 + height, d0, d1)
    return _Bin(*(torch.tensor(v, dtype=torch.float32) for v in values)), torch.tensor(random.beta(0.3, 0.3, count))


def test_400k_bins_in_float32_have_no_bad_root():
    here, t64 = random_bins(400_000)
    t = t64.float()
    tc = (1 - t64).float()
    xi, nu = unit_root(t, tc, here.slope, here.d0, here.d1)
    assert torch.isfinite(xi).all()
    assert ((xi >= 0) & (xi <= 1) & (nu >= 0) & (nu <= 1)).all()
    exact, _ = unit_root(t.double(), tc.double(), here.slope.double(), here.d0.double(), here.d1.double())
    # The equation itself, in the classical form and float64: the oracle does not share the solver's algebra.
    s, d0, d1 = here.slope.double(), here.d0.double(), here.d1.double()
    p = exact * (1 - exact)
    denominator = s + (d0 + d1 - 2 * s) * p
    torch.testing.assert_close((s * exact**2 + d0 * p) / denominator, t.double(), rtol=0, atol=1e-7)
    slope = s * (d1 * exact**2 + 2 * s * p + d0 * (1 - exact) ** 2) / denominator**2
    assert ((xi - exact).abs() / (EPS32 * (1 / slope).clamp(min=1))).max() < 2


def test_400k_bins_in_float32_have_a_finite_and_precise_ladj():
    here, t = random_bins(400_000)
    y = here.y0 + (here.y1 - here.y0) * t.float()
    y = torch.minimum(torch.maximum(y, here.y0), here.y1)
    x, ladj = _backward_in_bin(y, here)
    exact_x, exact_ladj = _backward_in_bin(y.double(), _Bin(*(v.double() for v in here)))
    assert torch.isfinite(x).all()
    assert torch.isfinite(ladj).all()
    assert ((x >= here.x0) & (x <= here.x1)).all()
    assert ((x - exact_x).abs() / (EPS32 * 10 * torch.exp(exact_ladj).clamp(min=1))).max() < 2
    error = (ladj - exact_ladj).abs()
    assert error.max() < 1e-2
    assert error.square().mean().sqrt() < 1e-5


def test_discriminant_is_a_sum_of_non_negative_terms():
    """The classical b^2 - 4ac goes below zero in float32 on the same bins."""
    here, t64 = random_bins(400_000)
    t, s = t64.float(), here.slope
    curvature = here.d0 + here.d1 - 2 * s
    a, b = s - here.d0 + t * curvature, here.d0 - t * curvature
    assert (b * b + 4 * a * t * s).min() < 0, "the sample does not reach the known failure"
    xi, _ = unit_root(t, (1 - t64).float(), s, here.d0, here.d1)
    assert torch.isfinite(xi).all()


@pytest.mark.parametrize("spread", [1.0, 2.0, 5.0])
def test_round_trip_in_float32_is_within_twice_the_condition(spread):
    x, params = draw(100_000, spread, dtype=torch.float32)
    y, _ = rational_quadratic(x, params)
    back, _ = rational_quadratic(y, params, inverse=True)
    # One rounding of y by eps * bound moves x by eps * bound / slope, with the smallest slope between x and back.
    between = [torch.lerp(x, back, weight) for weight in torch.linspace(0, 1, 11)]
    smallest = torch.stack([rational_quadratic(point, params)[1] for point in between]).amin(0)
    condition = torch.exp(-smallest).clamp(min=1)
    assert ((back - x).abs() / (EPS32 * BOUND * condition)).max() <= 2


def test_matches_the_numpy_reference_both_ways():
    x, params = draw(150, 2.0)
    for inverse in (False, True):
        y, ladj = rational_quadratic(x, params, inverse=inverse)
        expected_y, expected_ladj = reference.rational_quadratic(x, params, inverse=inverse)
        np.testing.assert_allclose(y, expected_y, atol=1e-11)
        np.testing.assert_allclose(ladj, expected_ladj, atol=1e-8)


def test_circular_matches_the_numpy_reference_both_ways():
    x, params = draw(150, 1.0, size=3 * BINS)
    for inverse in (False, True):
        y, ladj = rational_quadratic(x, params, bound=math.pi, circular=True, inverse=inverse)
        expected_y, expected_ladj = reference.rational_quadratic(
            x, params, bound=math.pi, circular=True, inverse=inverse
        )
        np.testing.assert_allclose(y, expected_y, atol=1e-11)
        np.testing.assert_allclose(ladj, expected_ladj, atol=1e-8)


def test_ladj_is_autograd_of_the_map_both_ways():
    x, params = draw(2_000, 2.0)
    x.requires_grad_()
    for inverse in (False, True):
        y, ladj = rational_quadratic(x, params, inverse=inverse)
        (slope,) = torch.autograd.grad(y.sum(), x)
        torch.testing.assert_close(ladj, slope.log(), rtol=0, atol=1e-9)


def test_matches_nflows_with_its_own_parametrisation():
    x, params = draw(1_000, 1.0)
    slopes = torch.exp(6.907755278982137 * torch.tanh(params[:, 2 * BINS :] / 6.907755278982137))
    theirs = torch.log(torch.expm1(slopes - 1e-3))
    for inverse in (False, True):
        expected = nflows_spline.unconstrained_rational_quadratic_spline(
            x, params[:, :BINS], params[:, BINS : 2 * BINS], theirs, inverse=inverse, tails="linear", tail_bound=BOUND
        )
        y, ladj = rational_quadratic(x, params, inverse=inverse)
        torch.testing.assert_close(y, expected[0], rtol=0, atol=1e-8)
        torch.testing.assert_close(ladj, expected[1], rtol=0, atol=1e-7)


def test_matches_zuko_on_the_same_knots():
    x, params = draw(500, 1.0)
    x = x.clamp(-4.9, 4.9)
    horizontal, vertical = (
        torch.tensor(np.array([reference.knots(np.asarray(row), BOUND) for row in block]))
        for block in (params[:, :BINS], params[:, BINS : 2 * BINS])
    )
    transform = zuko.transforms.MonotonicRQSTransform(
        torch.zeros(500, BINS, dtype=torch.float64), torch.zeros(500, BINS, dtype=torch.float64), params[:, 2 * BINS :]
    )
    slopes = torch.exp(6.907755278982137 * torch.tanh(params[:, 2 * BINS :] / 6.907755278982137))
    transform.horizontal, transform.vertical = horizontal, vertical
    transform.derivatives = torch.nn.functional.pad(slopes, (1, 1), value=1.0)
    y, ladj = rational_quadratic(x, params)
    expected_y, expected_ladj = transform.call_and_ladj(x)
    torch.testing.assert_close(y, expected_y, rtol=0, atol=1e-10)
    torch.testing.assert_close(ladj, expected_ladj, rtol=0, atol=1e-9)


@pytest.mark.parametrize("circular", [False, True])
def test_gradients_of_first_and_second_order(circular):
    x, params = draw(4, 1.0, size=rational_quadratic_params(3, circular=circular))
    x, params = (x / 2).requires_grad_(), params.requires_grad_()
    for inverse in (False, True):

        def call(x, params, inverse=inverse):
            return rational_quadratic(x, params, circular=circular, inverse=inverse)

        assert torch.autograd.gradcheck(call, (x, params))
        assert torch.autograd.gradgradcheck(call, (x, params))


def test_gradient_at_the_centre_of_a_single_bin():
    """There e = 0 exactly, where the derivative of |e| would be 0 instead of +-1."""
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    y, _ = rational_quadratic(x, torch.zeros(1, 2, dtype=torch.float64), inverse=True)
    assert torch.autograd.grad(y, x)[0].item() == pytest.approx(1)


# --- the rows of failures known from other libraries -------------------------------------------------------------


def knots_of(params: Tensor, bound: float, *, inverse: bool) -> Tensor:
    logits = params[BINS : 2 * BINS] if inverse else params[:BINS]
    return torch.tensor(reference.knots(logits.double().numpy(), bound)).to(params.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bound", [1.0, 5.0, 32.0])
@pytest.mark.parametrize("inverse", [False, True])
def test_exact_knots_and_edges_with_any_bound(dtype, bound, inverse):
    """A knot nudged by 1e-6 vanishes at bound 32 in float32; nothing is nudged here."""
    _, params = draw(1, 2.0, dtype=dtype)
    knots, images = (knots_of(params[0], bound, inverse=i) for i in (inverse, not inverse))
    y, ladj = rational_quadratic(knots, params.expand(BINS + 1, -1), bound=bound, inverse=inverse)
    torch.testing.assert_close(y, images, rtol=0, atol=1e3 * bound * torch.finfo(dtype).eps)
    assert torch.isfinite(ladj).all()
    assert y[0] == -bound
    assert y[-1] == bound
    assert abs(ladj[0]) < 1e-6
    assert abs(ladj[-1]) < 1e-6


@pytest.mark.parametrize("inverse", [False, True])
def test_a_hair_inside_and_outside_of_the_edges(inverse):
    edge = torch.tensor([BOUND, -BOUND], dtype=torch.float32)
    inside, outside = torch.nextafter(edge, edge * 0), torch.nextafter(edge, edge * 2)
    _, params = draw(2, 3.0, dtype=torch.float32)
    y, ladj = rational_quadratic(outside, params, inverse=inverse)
    assert torch.equal(y, outside)
    assert torch.equal(ladj, torch.zeros(2))
    y, ladj = rational_quadratic(inside, params, inverse=inverse)
    assert (y.abs() <= BOUND).all()
    assert ladj.abs().max() < 1e-2


def test_a_batch_that_lies_entirely_in_the_tails():
    x = torch.tensor([-7.0, 6.0, 1e4, -1e30])
    for inverse in (False, True):
        y, ladj = rational_quadratic(x, torch.randn(4, 23), inverse=inverse)
        assert torch.equal(y, x)
        assert torch.equal(ladj, torch.zeros(4))


def test_an_empty_batch():
    y, ladj = rational_quadratic(torch.zeros(0, 3), torch.zeros(0, 3, 23))
    assert y.shape == ladj.shape == (0, 3)


@pytest.mark.parametrize("inverse", [False, True])
def test_nan_stays_nan_and_infinity_passes(inverse):
    x = torch.tensor([math.nan, math.inf, -math.inf, 0.3])
    y, ladj = rational_quadratic(x, torch.randn(4, 23), inverse=inverse)
    assert torch.isnan(y).tolist() == [True, False, False, False]
    assert torch.isnan(ladj[0])
    assert y[1:3].tolist() == [math.inf, -math.inf]
    assert ladj[1:3].tolist() == [0, 0]


def test_low_precision_parameters_are_computed_in_the_precision_of_x():
    x, params = draw(5_000, 3.0, dtype=torch.float32)
    low = params.bfloat16()
    y, ladj = rational_quadratic(x, low)
    expected_y, expected_ladj = rational_quadratic(x, low.float())
    assert y.dtype == ladj.dtype == torch.float32
    assert torch.equal(y, expected_y)
    assert torch.equal(ladj, expected_ladj)


@pytest.mark.parametrize("bins", [1, 2, 5, 8, 32])
def test_identity_at_zero_parameters(bins):
    x = torch.linspace(-6, 6, 1001, dtype=torch.float64)
    for inverse in (False, True):
        y, ladj = rational_quadratic(x, torch.zeros(3 * bins - 1), inverse=inverse)
        torch.testing.assert_close(y, x, rtol=0, atol=4e-15)
        assert ladj.abs().max() < 1e-14


EXTREMES = [0.0, BOUND, -BOUND, 7.0, -7.0, 1e4, -1e4, 1e30, -1e30, math.inf]


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("spread", [0.0, 3.0, 1e4, 1e30])
def test_gradients_are_finite_at_extremes(inverse, spread, circular):
    values = EXTREMES[: -1 if circular else None]
    knots = [] if spread == 0 else knots_of(draw(1, 3.0, dtype=torch.float32)[1][0], BOUND, inverse=inverse).tolist()
    x = torch.tensor(values + knots, requires_grad=True)
    one = draw(1, spread or 1.0, dtype=torch.float32, size=24 if circular else 23)[1] * (spread > 0)
    params = one.expand(len(x), -1).clone().requires_grad_()
    y, ladj = rational_quadratic(x, params, circular=circular, inverse=inverse)
    assert torch.isfinite(ladj).all()
    for gradient in torch.autograd.grad((y * (y.abs() < 1e9)).nan_to_num().sum() + ladj.sum(), (x, params)):
        assert torch.isfinite(gradient).all()


# --- circular columns --------------------------------------------------------------------------------------------


def test_circular_is_periodic_smooth_and_stays_in_its_interval():
    params = draw(1, 1.0, size=24)[1]
    x = torch.linspace(-math.pi, math.pi, 501, dtype=torch.float64)[:-1]
    y, ladj = rational_quadratic(x, params, bound=math.pi, circular=True)
    assert ((y >= -math.pi) & (y < math.pi)).all()
    shifted = rational_quadratic(x + 6 * math.pi, params, bound=math.pi, circular=True)
    torch.testing.assert_close(shifted[0][1:], y[1:], rtol=0, atol=1e-12)
    ends = torch.tensor([-math.pi, math.pi - 1e-9], dtype=torch.float64)
    _, slopes = rational_quadratic(ends, params, bound=math.pi, circular=True)
    assert abs(slopes[0]) > 1e-2, "a boundary slope of one would hide a jump"
    torch.testing.assert_close(slopes[0], slopes[1], rtol=0, atol=1e-6)
    back, back_ladj = rational_quadratic(y, params, bound=math.pi, circular=True, inverse=True)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-12)
    torch.testing.assert_close(back_ladj, -ladj, rtol=0, atol=1e-12)


def test_mixed_columns_equal_one_call_per_kind():
    x, params = draw(40, 1.0, size=24)
    x, params = x.view(20, 2), params.view(20, 2, 24)
    bound = torch.tensor([math.pi, 3.0], dtype=torch.float64)
    for inverse in (False, True):
        y, ladj = rational_quadratic(x, params, bound=bound, circular=torch.tensor([True, False]), inverse=inverse)
        first = rational_quadratic(x[:, 0], params[:, 0], bound=math.pi, circular=True, inverse=inverse)
        tails = torch.cat([params[:, 1, :16], params[:, 1, 17:]], -1)
        second = rational_quadratic(x[:, 1], tails, bound=3.0, inverse=inverse)
        torch.testing.assert_close(torch.stack([y, ladj], -1)[:, 0], torch.stack(first, -1))
        torch.testing.assert_close(torch.stack([y, ladj], -1)[:, 1], torch.stack(second, -1))


# --- shapes, errors, transforms ----------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (2, 3, 4)])
def test_any_batch_shape_and_broadcast_parameters(batch):
    x, params = torch.randn(batch), torch.randn(23)
    y, ladj = rational_quadratic(x, params)
    assert y.shape == ladj.shape == batch
    expected = rational_quadratic(x, params.expand(*batch, 23))
    assert torch.equal(y, expected[0])
    assert torch.equal(ladj, expected[1])


def test_errors_say_what_to_do():
    with pytest.raises(ShapeError, match=r"3\*bins-1 entries, got 24"):
        rational_quadratic(torch.zeros(2), torch.zeros(2, 24))
    with pytest.raises(InputError, match="min_bin"):
        rational_quadratic(torch.zeros(2), torch.zeros(2, 23), min_bin=0.2)
    with pytest.raises(InputError, match="bound must be positive"):
        rational_quadratic(torch.zeros(2), torch.zeros(2, 23), bound=-1.0)
    with pytest.raises(InputError, match="min_slope"):
        rational_quadratic(torch.zeros(2), torch.zeros(2, 23), min_slope=0.0)


def test_vmap_equals_a_loop():
    x, params = draw(6, 1.0)
    y, ladj = torch.vmap(rational_quadratic)(x, params)
    expected = rational_quadratic(x, params)
    torch.testing.assert_close(y, expected[0])
    torch.testing.assert_close(ladj, expected[1])


@pytest.mark.parametrize("inverse", [False, True])
def test_export_with_a_free_batch_size(inverse):
    class Map(torch.nn.Module):
        def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
            return rational_quadratic(x, params, circular=torch.tensor([True, False, False]), inverse=inverse)

    free = {0: torch.export.Dim("n")}
    program = torch.export.export(
        Map(), (torch.randn(4, 3), torch.randn(4, 3, 24)), dynamic_shapes={"x": free, "params": free}
    )
    x, params = 4 * torch.randn(7, 3), torch.randn(7, 3, 24)
    # The program has the plain formula, the call may have the native one: they round differently.
    torch.testing.assert_close(program.module()(x, params), Map()(x, params), rtol=1e-4, atol=1e-4)


def test_forward_in_bin_is_exact_at_both_knots():
    here, _ = random_bins(10_000)
    assert torch.equal(_forward_in_bin(here.x0, here)[0], here.y0)
    assert torch.equal(_forward_in_bin(here.x1, here)[0], here.y1)
    assert torch.equal(_backward_in_bin(here.y0, here)[0], here.x0)
    assert torch.equal(_backward_in_bin(here.y1, here)[0], here.x1)

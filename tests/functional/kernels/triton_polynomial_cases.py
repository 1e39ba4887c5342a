"""The Triton splines of order one to three equal the plain ones in values and gradients of every order.

`test_triton.py` runs these in a process of their own: on a CPU by Triton's interpreter, on a GPU where there is one.
"""

import math

import pytest
import torch
from torch import Tensor

from bijecta import functional
from bijecta.functional.kernels import triton_spline
from functional.kernels.test_polynomial_spline import DIRECTIONS, ORDERS, draw, errors_of, knots, native, plain
from functional.kernels.test_spline import SPECIAL, outcome, settings, sizes
from functional.kernels.triton_cases import DEVICE, _kernels_are_chosen, on_device  # noqa: F401 - a fixture

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def drawn(*given: object, **settings: object) -> list[Tensor]:
    return on_device(*draw(*given, **settings))


def errors(order: str, drawn: list[Tensor], *, inverse: bool, bins: int = 8) -> Tensor:
    x, params, upstream = drawn
    return errors_of(order, x, params, settings(bins, inverse=inverse), upstream).flatten(0, 1)


@ORDERS
@DIRECTIONS
@pytest.mark.parametrize("bins", [1, 2, 3, 8, 40])
def test_every_number_of_bins(order, bins, inverse):
    in_double = errors(order, drawn(order, 201, torch.float64, bins=bins), inverse=inverse, bins=bins)
    assert in_double.max() < 1e-10
    in_single = errors(order, drawn(order, 401, torch.float32, bins=bins, spread=0.2), inverse=inverse, bins=bins)
    assert in_single.quantile(0.99, 0).max() < 2e-4


@ORDERS
@DIRECTIONS
@pytest.mark.parametrize("tile", [64, 1024])
def test_many_tiles_the_last_of_which_is_not_full(order, inverse, tile, monkeypatch):
    monkeypatch.setattr(triton_spline, "TILE", tile)
    assert errors(order, drawn(order, 43, torch.float64, columns=1), inverse=inverse).max() < 1e-10


@ORDERS
@DIRECTIONS
def test_float32_loses_no_more_than_the_plain_version_does(order, inverse):
    x, params, upstream = drawn(order, 8_000, torch.float32, columns=1)
    given = settings(inverse=inverse)
    kernel, definition = (
        errors_of(order, x, params, given, upstream, kernel=spline).flatten(0, 1) for spline in (None, plain(order))
    )
    for quantile in (0.5, 0.99, 0.999):
        assert (kernel.quantile(quantile, 0) <= 1.5 * definition.quantile(quantile, 0) + 1e-7).all()


@pytest.mark.slow
@ORDERS
@DIRECTIONS
def test_a_hundred_thousand_elements(order, inverse):
    """One element in fifty is an edge or far away in a tail."""
    x, params, upstream = drawn(order, 34_000, torch.float64)
    x.view(-1)[::50] = torch.tensor([0.0, 5.0, -5.0, 7.0, 1e30, -1e30], dtype=torch.float64, device=DEVICE).repeat(340)
    assert errors(order, [x, params, upstream], inverse=inverse).max() < 1e-10
    wild = errors(order, drawn(order, 10_000, torch.float64, spread=3.0), inverse=inverse)
    assert wild.quantile(0.999, 0).max() < 1e-10


@ORDERS
@DIRECTIONS
@DTYPES
def test_special_numbers(order, dtype, inverse):
    edge = torch.tensor([5.0, -5.0], dtype=dtype)
    near = [torch.nextafter(edge, 2 * edge), torch.nextafter(edge, 0 * edge)]
    x = torch.cat([torch.tensor(SPECIAL, dtype=dtype), *near])[None]
    _, params, _ = draw(order, 1, dtype, columns=x.shape[1])
    x, params, upstream = on_device(x, params, torch.ones(2, *x.shape, dtype=dtype))
    given = settings(inverse=inverse)
    found, expected = (outcome(spline(order), x, params, given, upstream) for spline in (native, plain))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-5, equal_nan=True)


@ORDERS
@DIRECTIONS
def test_on_every_knot_it_is_one_of_the_two_neighbours(order, inverse):
    _, params, upstream = draw(order, 30, torch.float64, columns=9)
    params = params[:, :1].expand(-1, 9, -1)
    x, params, upstream = on_device(knots(order, params, inverse=inverse).clamp(-5, 5), params, upstream)
    given = settings(inverse=inverse)
    y, ladj, found = outcome(native(order), x, params, given, upstream)
    torch.testing.assert_close(y, plain(order)(x, params, given)[0], rtol=0, atol=1e-9)
    distances = []
    for shift in (-1e-13, 1e-13):
        beside = (x + shift).clamp(-5, 5)
        _, side_ladj, side = outcome(plain(order), beside, params, given, upstream)
        scale = sizes(beside, params, given, upstream, plain(order))
        distances.append((found - side).abs().amax(-1) / scale + (ladj - side_ladj).abs())
    assert torch.stack(distances).amin(0).max() < 1e-5  # the shift of x, magnified by the narrowest bin


@ORDERS
@DIRECTIONS
@pytest.mark.parametrize("place", [0, 7, -1])
def test_bad_parameters_are_as_bad_as_in_the_plain_version(order, place, inverse):
    x, params, _ = draw(order, 60, torch.float32, columns=1)
    for start, bad in enumerate((math.nan, math.inf, -math.inf)):
        params[start::4, 0, place] = bad
    x, params = on_device(x, params)
    found, expected = (spline(order)(x, params, settings(inverse=inverse)) for spline in (native, plain))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4, equal_nan=True)


@ORDERS
@DIRECTIONS
def test_derivatives_of_first_and_second_order(order, inverse):
    x, params, _ = drawn(order, 1, torch.float64, bins=2, columns=1)
    x, params = (x / 3).requires_grad_(), params.requires_grad_()

    def call(x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return getattr(functional, f"{order}_spline")(x, params, inverse=inverse)

    y, _ = call(x, params)
    assert type(y.grad_fn).__name__ == "_FusedBackward"
    assert [saved.data_ptr() for saved in y.grad_fn.saved_tensors] == [x.data_ptr(), params.data_ptr()]
    assert torch.autograd.gradcheck(call, (x, params), fast_mode=True)
    assert torch.autograd.gradgradcheck(call, (x, params), fast_mode=True)


@ORDERS
def test_any_layout_and_shape(order):
    x, params, _ = drawn(order, 35, torch.float32)
    kernel, size = native(order), params.shape[-1]
    expected = torch.stack(kernel(x, params, settings()))
    strided = x.t().contiguous().t(), torch.cat([params, params], -1)[..., :size]
    assert torch.equal(torch.stack(kernel(*strided, settings())), expected)
    shaped = kernel(x.view(5, 7, 3), params.view(5, 7, 3, size), settings())
    assert torch.equal(torch.stack(shaped).view(2, 35, 3), expected)
    for shape in [(), (0,), (2, 0, 3)]:
        empty = torch.zeros(shape, device=DEVICE), torch.zeros(*shape, size, device=DEVICE)
        assert kernel(*empty, settings())[0].shape == shape


@ORDERS
def test_broadcast_parameters_and_a_bound_for_every_column(order):
    x, params, upstream = drawn(order, 9, torch.float64)
    given = settings(bound=torch.tensor([3.0, 4.0, 5.0], dtype=torch.float64, device=DEVICE))
    shared = params[0].clone().requires_grad_()
    y, ladj = native(order)(x, shared, given)
    (found,) = torch.autograd.grad((y, ladj), shared, tuple(upstream))
    expected = outcome(plain(order), x, shared.expand_as(params), given, upstream)
    torch.testing.assert_close((y, ladj, found), (*expected[:2], expected[2][..., 1:].sum(0)))


@ORDERS
@pytest.mark.parametrize("output", [0, 1])
def test_one_output_alone(order, output):
    x, params, upstream = drawn(order, 40, torch.float64)
    found = []
    for spline in (native(order), plain(order)):
        leaves = x.clone().requires_grad_(), params.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(spline(*leaves, settings())[output], leaves[1], upstream[0])
        found.append(gradient)
    torch.testing.assert_close(*found)

"""The native splines of order one to three equal the plain ones in values and gradients of every order."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bijecta import functional
from bijecta.functional import polynomial
from bijecta.functional.kernels import map_by_spline
from functional.kernels.test_spline import SPECIAL, errors, outcome, settings, sizes

pytestmark = pytest.mark.usefixtures("native")
ORDERS = pytest.mark.parametrize("order", ["linear", "quadratic", "cubic"])
DIRECTIONS = pytest.mark.parametrize("inverse", [False, True])


def plain(order: str) -> Callable:
    return getattr(polynomial, f"_plain_{order}")


def native(order: str) -> Callable:
    def forbidden(*_: object):
        raise AssertionError("the kernel was not used")

    return lambda x, params, given: map_by_spline(f"{order}_spline", forbidden, x, params, given)


def draw(order: str, rows: int, dtype: torch.dtype, *, bins=8, spread=1.0, columns=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = getattr(functional, f"{order}_spline_params")(bins)
    x = torch.rand(rows, columns, generator=generator, dtype=dtype) * 12 - 6
    params = spread * torch.randn(rows, columns, size, generator=generator, dtype=dtype)
    return x, params, torch.randn(2, rows, columns, generator=generator, dtype=dtype)


def errors_of(order: str, *arguments: object, kernel: Callable | None = None) -> Tensor:
    return errors(*arguments, kernel or native(order), plain(order))


@ORDERS
@DIRECTIONS
def test_a_million_elements_in_float64(order, inverse):
    """One element in fifty is an edge or far away in a tail."""
    special = torch.tensor([0.0, 5.0, -5.0, 7.0, 1e30, -1e30], dtype=torch.float64)
    for part in range(5):
        x, params, upstream = draw(order, 34_000, torch.float64, seed=part)
        x.view(-1)[::50] = special.repeat(340)
        found = errors_of(order, x, params, settings(inverse=inverse), upstream)
        assert found.max() < 1e-10


@ORDERS
@DIRECTIONS
def test_wild_parameters_in_float64(order, inverse):
    """Where the map is nearly flat, the rounding of x itself moves the derivatives by more than 1e-10."""
    x, params, upstream = draw(order, 20_000, torch.float64, spread=3.0)
    found = errors_of(order, x, params, settings(inverse=inverse), upstream).flatten(0, 1)
    assert found.quantile(0.999, 0).max() < 1e-10
    assert found.max() < 1e-5


@ORDERS
@DIRECTIONS
def test_float32_loses_no_more_than_the_plain_version_does(order, inverse):
    x, params, upstream = draw(order, 50_000, torch.float32, columns=1)
    given = settings(inverse=inverse)
    kernel, definition = (
        errors_of(order, x, params, given, upstream, kernel=spline).flatten(0, 1) for spline in (None, plain(order))
    )
    for quantile in (0.5, 0.99, 0.9999):
        assert (kernel.quantile(quantile, 0) <= 1.5 * definition.quantile(quantile, 0) + 1e-7).all()


@ORDERS
@DIRECTIONS
@pytest.mark.parametrize("bins", [1, 2, 3, 8, 16, 40])
@pytest.mark.usefixtures("each_instruction_set")
def test_every_number_of_bins(order, bins, inverse):
    x, params, upstream = draw(order, 401, torch.float64, bins=bins)
    assert errors_of(order, x, params, settings(bins, inverse=inverse), upstream).max() < 1e-9
    x, params, upstream = draw(order, 401, torch.float32, bins=bins, spread=0.2)
    found = errors_of(order, x, params, settings(bins, inverse=inverse), upstream)
    assert found.flatten(0, 1).quantile(0.99, 0).max() < 2e-4


@ORDERS
@DIRECTIONS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_special_numbers(order, dtype, inverse):
    edge = torch.tensor([5.0, -5.0], dtype=dtype)
    neighbours = torch.nextafter(edge, 2 * edge), torch.nextafter(edge, 0 * edge)
    x = torch.cat([torch.tensor(SPECIAL, dtype=dtype), *neighbours])[None]
    _, params, _ = draw(order, 1, dtype, columns=x.shape[1])
    upstream = torch.ones(2, *x.shape, dtype=dtype)
    found, expected = (
        outcome(spline(order), x, params, settings(inverse=inverse), upstream) for spline in (native, plain)
    )
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-5, equal_nan=True)


def knots(order: str, params: Tensor, *, inverse: bool) -> Tensor:
    """The nine knots of x, or their images by the definition."""
    if order == "linear":
        across = torch.linspace(-5, 5, 9, dtype=params.dtype).expand(len(params), 9)
    else:
        across = 5 * polynomial.unit_knots(params[:, 0, :8], 1e-3)
    shared = params[:, :1].expand(-1, 9, -1)
    return plain(order)(across, shared, settings())[0] if inverse else across


@ORDERS
@DIRECTIONS
def test_on_every_knot_it_is_one_of_the_two_neighbours(order, inverse):
    """The slope or its derivative jumps at a knot; which side a knot itself belongs to is a matter of its last bit."""
    _, params, upstream = draw(order, 200, torch.float64, columns=9)
    params = params[:, :1].expand(-1, 9, -1)
    x, given = knots(order, params, inverse=inverse).clamp(-5, 5), settings(inverse=inverse)
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
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 7, -1])
def test_bad_parameters_are_as_bad_as_in_the_plain_version(order, bad, place, inverse):
    x, params, _ = draw(order, 50, torch.float32, columns=1)
    params[::2, 0, place] = bad
    given = settings(inverse=inverse)
    for a, b in zip(native(order)(x, params, given), plain(order)(x, params, given), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4, equal_nan=True)


@ORDERS
@DIRECTIONS
def test_derivatives_of_first_and_second_order(order, inverse):
    x, params, _ = draw(order, 3, torch.float64, bins=3, columns=1)
    x, params = (x / 3).requires_grad_(), params.requires_grad_()

    def call(x: Tensor, params: Tensor):
        return getattr(functional, f"{order}_spline")(x, params, inverse=inverse)

    assert type(call(x, params)[0].grad_fn).__name__ == "_FusedBackward"
    assert torch.autograd.gradcheck(call, (x, params))
    assert torch.autograd.gradgradcheck(call, (x, params))


@ORDERS
def test_any_layout_and_shape(order):
    x, params, _ = draw(order, 35, torch.float32)
    kernel, size = native(order), params.shape[-1]
    expected = torch.stack(kernel(x, params, settings()))
    strided = x.t().contiguous().t(), torch.cat([params, params], -1)[..., :size]
    assert torch.equal(torch.stack(kernel(*strided, settings())), expected)
    shaped = kernel(x.view(5, 7, 3), params.view(5, 7, 3, size), settings())
    assert torch.equal(torch.stack(shaped).view(2, 35, 3), expected)
    for shape in [(), (0,), (2, 0, 3)]:
        assert kernel(torch.zeros(shape), torch.zeros(*shape, size), settings())[0].shape == shape


@ORDERS
def test_broadcast_parameters_and_a_bound_for_every_column(order):
    x, params, upstream = draw(order, 9, torch.float64)
    given = settings(bound=torch.tensor([3.0, 4.0, 5.0], dtype=torch.float64))
    shared = params[0].clone().requires_grad_()
    y, ladj = native(order)(x, shared, given)
    (found,) = torch.autograd.grad((y, ladj), shared, tuple(upstream))
    expected = outcome(plain(order), x, shared.expand_as(params), given, upstream)
    torch.testing.assert_close((y, ladj, found), (*expected[:2], expected[2][..., 1:].sum(0)))


@ORDERS
def test_one_output_alone(order):
    x, params, upstream = draw(order, 40, torch.float64)
    for output in range(2):
        found = []
        for spline in (native(order), plain(order)):
            leaves = x.clone().requires_grad_(), params.clone().requires_grad_()
            found.append(
                torch.autograd.grad(spline(*leaves, settings())[output], leaves, upstream[0], allow_unused=True)
            )
        torch.testing.assert_close(found[0][1], found[1][1])

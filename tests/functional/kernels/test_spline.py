"""The native spline equals the plain one, which is its definition, in values and gradients of every order."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from bijecta.functional import rational_quadratic, rational_quadratic_params
from bijecta.functional.kernels import SplineSettings, map_by_spline
from bijecta.functional.rational_quadratic import _plain
from bijecta.reference import splines as reference

pytestmark = pytest.mark.usefixtures("native")
MIXED = (torch.tensor([math.pi, 3.0, 5.0], dtype=torch.float64), torch.tensor([True, False, True]))


def settings(bins=8, bound: float | Tensor = 5.0, circular: bool | Tensor = False, *, inverse=False) -> SplineSettings:
    return SplineSettings(bins, bound, circular, inverse, 1e-3, 1e-3)


def native(x: Tensor, params: Tensor, given: SplineSettings) -> tuple[Tensor, Tensor]:
    def forbidden(*_: object):
        raise AssertionError("the kernel was not used")

    return map_by_spline("rational_quadratic", forbidden, x, params, given)


Outcome = tuple[Tensor, Tensor, Tensor]  # y, ladj, and the gradients to (x, params) side by side


def outcome(spline: Callable, x: Tensor, params: Tensor, given: SplineSettings, upstream: Tensor) -> Outcome:
    x, params = x.detach().clone().requires_grad_(), params.detach().clone().requires_grad_()
    y, ladj = spline(x, params, given)
    gradients = torch.autograd.grad((y, ladj), (x, params), tuple(upstream))
    return y.detach(), ladj.detach(), torch.cat([gradients[0][..., None], gradients[1]], -1)


def sizes(x: Tensor, params: Tensor, given: SplineSettings, upstream: Tensor, plain: Callable = _plain) -> Tensor:
    """How large the gradients of y and ladj are before they cancel each other: the scale of their errors."""
    alone = [outcome(plain, x, params, given, upstream * mask) for mask in torch.eye(2).to(x)[..., None, None]]
    return sum(gradients.abs().amax(-1) for *_, gradients in alone)


def errors(
    x: Tensor,
    params: Tensor,
    given: SplineSettings,
    upstream: Tensor,
    kernel: Callable = native,
    plain: Callable = _plain,
) -> Tensor:
    """The largest error of each element, in units of what the plain version returns, of shape (..., 3)."""
    found = outcome(kernel, x, params, given, upstream)
    exact = [tensor.double() for tensor in (x, params, upstream)]
    bound = given.bound.double() if isinstance(given.bound, Tensor) else given.bound
    expected = outcome(plain, *exact[:2], given._replace(bound=bound), exact[2])
    scale = sizes(*exact[:2], given._replace(bound=bound), exact[2], plain).clamp(min=1e-30)
    differences = [(a.double() - b).abs() for a, b in zip(found, expected, strict=True)]
    return torch.stack([*differences[:2], differences[2].amax(-1) / scale], -1)


def draw(rows: int, dtype: torch.dtype, *, bins=8, spread=1.0, circular=False, columns=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = rational_quadratic_params(bins, circular=circular is not False)
    x = torch.rand(rows, columns, generator=generator, dtype=dtype) * 12 - 6
    params = spread * torch.randn(rows, columns, size, generator=generator, dtype=dtype)
    return x, params, torch.randn(2, rows, columns, generator=generator, dtype=dtype)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_a_million_elements_in_float64(inverse, seed):
    for part in range(5):
        x, params, upstream = draw(17_000, torch.float64, spread=1 + seed, seed=10 * seed + part)
        found = errors(x, params, settings(inverse=inverse), upstream)
        assert found[..., :2].max() < 1e-10
        assert found[..., 2].max() < 1e-10


@pytest.mark.parametrize("inverse", [False, True])
def test_a_million_elements_in_float32(inverse):
    """Bins as wide as those of a spline in use: a narrow one costs float32 digits in every formula."""
    for part in range(10):
        x, params, upstream = draw(17_000, torch.float32, spread=0.3, seed=part)
        found = errors(x, params, settings(inverse=inverse), upstream).flatten(0, 1)
        assert found.quantile(0.999, 0).max() < 1e-5
        assert found.max() < 1e-4


@pytest.mark.parametrize("inverse", [False, True])
def test_float32_loses_no_more_than_the_plain_version_does(inverse):
    x, params, upstream = draw(100_000, torch.float32, spread=2.0, columns=1)
    kernel = errors(x, params, settings(inverse=inverse), upstream).flatten(0, 1)
    plain = errors(x, params, settings(inverse=inverse), upstream, _plain).flatten(0, 1)
    for quantile in (0.5, 0.99, 0.9999):
        assert (kernel.quantile(quantile, 0) <= 1.5 * plain.quantile(quantile, 0)).all()


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("circular", [False, True, "mixed"])
@pytest.mark.parametrize("bins", [1, 2, 3, 4, 5, 8, 16, 40])
@pytest.mark.usefixtures("each_instruction_set")
def test_every_number_of_bins_and_kind_of_column(bins, circular, inverse):
    bound, mask = MIXED if circular == "mixed" else (5.0, circular)
    x, params, upstream = draw(401, torch.float64, bins=bins, circular=circular)
    found = errors(x, params, settings(bins, bound, mask, inverse=inverse), upstream)
    assert found.max() < 1e-9
    x, params, upstream = draw(401, torch.float32, bins=bins, circular=circular, spread=0.2)
    bound = bound.float() if isinstance(bound, Tensor) else bound
    # A bin of 40 is twenty times narrower than the domain, and x wrapped around an edge in float32 is another x.
    found = errors(x, params, settings(bins, bound, mask, inverse=inverse), upstream)
    assert found.flatten(0, 1).quantile(0.99, 0).max() < 2e-4


SPECIAL = [0.0, -0.0, 5.0, -5.0, 7.0, -7.0, 1e4, -1e4, 1e30, -1e30, math.inf, -math.inf, math.nan, 1e-45, 1e-300]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("circular", [False, True])
def test_special_numbers(dtype, inverse, circular):
    edge = torch.tensor([5.0, -5.0], dtype=dtype)
    x = torch.cat(
        [torch.tensor(SPECIAL, dtype=dtype), torch.nextafter(edge, 2 * edge), torch.nextafter(edge, 0 * edge)]
    )
    _, params, _ = draw(1, dtype, circular=circular, columns=len(x))
    given, upstream = settings(circular=circular, inverse=inverse), torch.ones(2, 1, len(x), dtype=dtype)
    found = outcome(native, x[None], params, given, upstream)
    expected = outcome(_plain, x[None], params, given, upstream)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-5, equal_nan=True)


@pytest.mark.parametrize("inverse", [False, True])
def test_on_every_knot_it_is_one_of_the_two_neighbours(inverse):
    """The gradient of ladj jumps at a knot; which side a knot itself belongs to is a matter of its last bit."""
    _, params, upstream = draw(200, torch.float64, columns=9)
    params = params[:, :1].expand(-1, 9, -1)
    start = 8 if inverse else 0
    knots = np.array([reference.knots(row[start : start + 8].numpy(), 5.0) for row in params[:, 0]])
    x, given = torch.tensor(knots).clamp(-5, 5), settings(inverse=inverse)
    y, ladj, found = outcome(native, x, params, given, upstream)
    torch.testing.assert_close((y, ladj), _plain(x, params, given), rtol=0, atol=1e-9)
    sides = [outcome(_plain, (x + shift).clamp(-5, 5), params, given, upstream)[2] for shift in (-1e-13, 1e-13)]
    scale = sizes(x, params, given, upstream)[..., None]
    distance = torch.stack([((found - gradients) / scale).abs().amax(-1) for gradients in sides]).amin(0)
    assert distance.max() < 1e-5  # the shift of x, magnified by the narrowest bin; the wrong side is off by about 1


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 9, 17])
def test_bad_parameters_are_as_bad_as_in_the_plain_version(bad, place, inverse):
    x, params, _ = draw(50, torch.float32, columns=1)
    params[::2, 0, place] = bad
    found, expected = native(x, params, settings(inverse=inverse)), _plain(x, params, settings(inverse=inverse))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("inverse", [False, True])
def test_derivatives_of_first_and_second_order(circular, inverse):
    x, params, _ = draw(3, torch.float64, bins=3, circular=circular, columns=1)
    x, params = (x / 3).requires_grad_(), params.requires_grad_()

    def call(x: Tensor, params: Tensor):
        return rational_quadratic(x, params, circular=circular, inverse=inverse)

    assert type(call(x, params)[0].grad_fn).__name__ == "_FusedBackward"
    assert torch.autograd.gradcheck(call, (x, params))
    assert torch.autograd.gradgradcheck(call, (x, params))


def test_second_order_where_the_parameters_come_from_the_elements():
    """The plain spline inside the backward pass must not follow params back to x a second time."""
    x = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(23, dtype=torch.float64)

    def penalty(spline: Callable) -> Tensor:
        y, ladj = spline(x, (x.flip(-1)[..., None] * weight).sin(), settings())
        (first,) = torch.autograd.grad(y.sum() + ladj.sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), x)[0]

    plain_too = penalty(lambda x, params, given: map_by_spline("rational_quadratic", _plain, x, params, given))
    torch.testing.assert_close(plain_too, penalty(_plain))


@pytest.mark.parametrize("output", [0, 1])
def test_one_output_alone(output):
    x, params, upstream = draw(40, torch.float64)
    found = []
    for spline in (native, _plain):
        leaves = x.clone().requires_grad_(), params.clone().requires_grad_()
        found.append(torch.autograd.grad(spline(*leaves, settings())[output], leaves, upstream[0]))
    torch.testing.assert_close(*found)


def test_any_layout_and_shape():
    x, params, _ = draw(35, torch.float32)
    expected = native(x, params, settings())
    layouts = [
        (x.t().contiguous().t(), params),
        (x, params.permute(2, 0, 1).contiguous().permute(1, 2, 0)),
        (torch.stack([x, x], -1)[..., 0], torch.cat([params, params], -1)[..., :23]),
    ]
    for variant in layouts:
        assert torch.equal(torch.stack(native(*variant, settings())), torch.stack(expected))
    shaped = native(x.view(5, 7, 3), params.view(5, 7, 3, 23), settings())
    assert torch.equal(torch.stack(shaped).view(2, 35, 3), torch.stack(expected))
    for shape in [(), (0,), (2, 0, 3)]:
        assert native(torch.zeros(shape), torch.zeros(*shape, 23), settings())[0].shape == shape


def test_broadcast_parameters_collect_their_gradients():
    x, params, upstream = draw(9, torch.float64)
    shared = params[0]
    found, expected = (outcome(s, x, shared.expand_as(params), settings(), upstream)[2] for s in (native, _plain))
    torch.testing.assert_close(found, expected)
    leaf = shared.clone().requires_grad_()
    y, ladj = native(x, leaf, settings())
    (gradient,) = torch.autograd.grad((y, ladj), leaf, tuple(upstream))
    torch.testing.assert_close(gradient, expected[..., 1:].sum(0))


def test_settings_that_vary_along_every_axis():
    x, params, upstream = draw(8, torch.float64, circular=True)
    bound = 3 + torch.rand(8, 3, dtype=torch.float64)
    given = settings(bound=bound, circular=torch.rand(8, 1) < 0.5)
    for a, b in zip(*(outcome(s, x, params, given, upstream) for s in (native, _plain)), strict=True):
        torch.testing.assert_close(a, b)


def test_threads_change_no_bit():
    x, params, upstream = draw(20_001, torch.float32, columns=1)
    single = outcome(native, x, params, settings(), upstream)
    torch.set_num_threads(2)
    try:
        double = outcome(native, x, params, settings(), upstream)
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(single, double, strict=True))


def test_low_precision_parameters_keep_their_dtype_of_gradient():
    x, params, _ = draw(10, torch.float32)
    low = params.bfloat16().requires_grad_()
    y, _ = rational_quadratic(x, low)
    y.sum().backward()
    assert low.grad is not None
    assert low.grad.dtype == torch.bfloat16

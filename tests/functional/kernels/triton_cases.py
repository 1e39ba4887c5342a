"""The Triton spline equals the plain one, which is its definition, in values and gradients of every order.

`test_triton.py` runs these in a process of their own: on a CPU by Triton's interpreter, on a GPU where there is one.
"""

import math
import os
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from bijecta.flows import nsf
from bijecta.functional import rational_quadratic
from bijecta.functional.kernels import spline as choice
from bijecta.functional.kernels import triton_spline
from bijecta.functional.rational_quadratic import _plain
from bijecta.reference import splines as reference
from functional.kernels.test_spline import MIXED, SPECIAL, draw, outcome, settings, sizes

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
# NumPy, which the interpreter computes with, warns of overflow in branches that are not selected.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.fixture(autouse=True)
def _kernels_are_chosen(monkeypatch):
    monkeypatch.setattr(choice, "can_run_natively", lambda *_: False)
    monkeypatch.setattr(choice, "can_run_on_gpu", lambda *_: True)
    if INTERPRETED:  # it computes a whole tile at once, and is slow between them
        monkeypatch.setattr(triton_spline, "TILE", 2**15)
        monkeypatch.setattr(triton_spline, "ROWS", 2**12)


def kernel(x: Tensor, params: Tensor, given) -> tuple[Tensor, Tensor]:
    def forbidden(*_: object):
        raise AssertionError("the kernel was not used")

    return choice.map_by_spline("rational_quadratic", forbidden, x, params, given)


def on_device(*tensors: object) -> list:
    return [each.to(DEVICE) if isinstance(each, Tensor) else each for each in tensors]


def moved(given):
    return type(given)(*on_device(*given))


def both(x, params, given, upstream):
    """The outcomes of kernel and definition, the latter in float64, and the scale of the gradients' errors."""
    x, params, upstream = on_device(x, params, upstream)
    given = moved(given)
    found = outcome(kernel, x, params, given, upstream)
    bound = given.bound.double() if isinstance(given.bound, Tensor) else given.bound
    exact = x.double(), params.double(), given._replace(bound=bound), upstream.double()
    return found, outcome(_plain, *exact), sizes(*exact).clamp(min=1e-30)


def errors(x, params, given, upstream) -> Tensor:
    found, expected, scale = both(x, params, given, upstream)
    differences = [(a.double() - b).abs() for a, b in zip(found, expected, strict=True)]
    return torch.stack([*differences[:2], differences[2].amax(-1) / scale], -1)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("circular", [False, True, "mixed"])
@pytest.mark.parametrize("bins", [1, 3, 8, 40])
def test_every_number_of_bins_and_kind_of_column(bins, circular, inverse):
    bound, mask = MIXED if circular == "mixed" else (5.0, circular)
    x, params, upstream = draw(101, torch.float64, bins=bins, circular=circular)
    assert errors(x, params, settings(bins, bound, mask, inverse=inverse), upstream).max() < 1e-10
    x, params, upstream = draw(101, torch.float32, bins=bins, circular=circular, spread=0.2)
    bound = bound.float() if isinstance(bound, Tensor) else bound
    # A bin of 40 is twenty times narrower than the domain, and x wrapped around an edge in float32 is another x.
    found = errors(x, params, settings(bins, bound, mask, inverse=inverse), upstream)
    assert found.flatten(0, 1).quantile(0.99, 0).max() < 2e-4


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("tile", [64, 1024])
def test_many_tiles_the_last_of_which_is_not_full(inverse, tile, monkeypatch):
    monkeypatch.setattr(triton_spline, "TILE", tile)
    x, params, upstream = draw(43, torch.float64, columns=1)
    assert errors(x, params, settings(inverse=inverse), upstream).max() < 1e-10


@pytest.mark.parametrize("inverse", [False, True])
def test_float32_is_as_exact_as_the_native_kernel_has_to_be(inverse):
    x, params, upstream = draw(7000, torch.float32, spread=0.3)
    found = errors(x, params, settings(inverse=inverse), upstream).flatten(0, 1)
    assert found.quantile(0.999, 0).max() < 1e-5
    assert found.max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize(("dtype", "spread"), [(torch.float64, 2.0), (torch.float32, 0.3)])
def test_a_million_elements(dtype, spread, inverse):
    for part in range(10):
        x, params, upstream = draw(17_000, dtype, spread=spread, seed=part)
        found = errors(x, params, settings(inverse=inverse), upstream).flatten(0, 1)
        assert found.max() < (1e-10 if dtype == torch.float64 else 1e-4)
        assert found.quantile(0.999, 0).max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("circular", [False, True])
def test_special_numbers(dtype, inverse, circular):
    edge = torch.tensor([5.0, -5.0], dtype=dtype)
    near = [torch.nextafter(edge, 2 * edge), torch.nextafter(edge, 0 * edge)]
    x = torch.cat([torch.tensor(SPECIAL, dtype=dtype), *near])
    _, params, _ = draw(1, dtype, circular=circular, columns=len(x))
    given, upstream = settings(circular=circular, inverse=inverse), torch.ones(2, 1, len(x), dtype=dtype)
    x, params, upstream = on_device(x[None], params, upstream)
    found, expected = (outcome(each, x, params, given, upstream) for each in (kernel, _plain))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-5, equal_nan=True)


def test_the_two_ends_of_a_circle_are_one_point():
    """Where the spline is flat at the boundary, what lies just below it lands on it, and so at the other end."""
    params = torch.zeros(1, 24, device=DEVICE)
    params[:, 16] = -5
    x = torch.nextafter(torch.tensor([5.0], device=DEVICE), torch.zeros(1, device=DEVICE))
    found, expected = (each(x, params, settings(circular=True))[0].item() for each in (kernel, _plain))
    assert found == expected == -5


@pytest.mark.parametrize("inverse", [False, True])
def test_on_every_knot_it_is_one_of_the_two_neighbours(inverse):
    _, params, upstream = draw(50, torch.float64, columns=9)
    params = params[:, :1].expand(-1, 9, -1)
    start = 8 if inverse else 0
    knots = np.array([reference.knots(row[start : start + 8].numpy(), 5.0) for row in params[:, 0]])
    x, params, upstream = on_device(torch.tensor(knots).clamp(-5, 5), params, upstream)
    given = settings(inverse=inverse)
    y, ladj, found = outcome(kernel, x, params, given, upstream)
    torch.testing.assert_close((y, ladj), _plain(x, params, given), rtol=0, atol=1e-9)
    sides = [outcome(_plain, (x + shift).clamp(-5, 5), params, given, upstream)[2] for shift in (-1e-13, 1e-13)]
    scale = sizes(x, params, given, upstream)[..., None]
    distance = torch.stack([((found - gradients) / scale).abs().amax(-1) for gradients in sides]).amin(0)
    assert distance.max() < 1e-5  # the shift of x, magnified by the narrowest bin; the wrong side is off by about 1


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 9, 17])
def test_bad_parameters_are_as_bad_as_in_the_plain_version(bad, place, inverse):
    x, params, _ = draw(20, torch.float32, columns=1)
    params[::2, 0, place] = bad
    x, params = on_device(x, params)
    found, expected = (each(x, params, settings(inverse=inverse)) for each in (kernel, _plain))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_all_zero_parameters_are_the_identity():
    x = torch.linspace(-6, 6, 101, device=DEVICE)
    y, ladj = rational_quadratic(x, torch.zeros(101, 23, device=DEVICE))
    torch.testing.assert_close(y, x, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ladj, torch.zeros_like(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("inverse", [False, True])
def test_derivatives_of_first_and_second_order(inverse):
    x, params, _ = draw(1, torch.float64, bins=2, circular=True, columns=1)
    x, params = (each.requires_grad_() for each in on_device(x / 3, params))
    call = partial(rational_quadratic, circular=True, inverse=inverse)
    y, _ = call(x, params)
    assert type(y.grad_fn).__name__ == "_FusedBackward"
    assert [saved.data_ptr() for saved in y.grad_fn.saved_tensors] == [x.data_ptr(), params.data_ptr()]
    assert torch.autograd.gradcheck(call, (x, params))
    assert torch.autograd.gradgradcheck(call, (x, params))


@pytest.mark.parametrize("output", [0, 1])
def test_one_output_alone(output):
    x, params, upstream = on_device(*draw(20, torch.float64))
    found = []
    for each in (kernel, _plain):
        leaves = x.clone().requires_grad_(), params.clone().requires_grad_()
        found.append(torch.autograd.grad(each(*leaves, settings())[output], leaves, upstream[0]))
    torch.testing.assert_close(*found)


def test_any_layout_and_shape():
    x, params = on_device(*draw(35, torch.float32)[:2])
    expected = kernel(x, params, settings())
    layouts = [
        (x.t().contiguous().t(), params),
        (x, params.permute(2, 0, 1).contiguous().permute(1, 2, 0)),
        (torch.stack([x, x], -1)[..., 0], torch.cat([params, params], -1)[..., :23]),
    ]
    for variant in layouts:
        assert torch.equal(torch.stack(kernel(*variant, settings())), torch.stack(expected))
    shaped = kernel(x.view(5, 7, 3), params.view(5, 7, 3, 23), settings())
    assert torch.equal(torch.stack(shaped).view(2, 35, 3), torch.stack(expected))
    for shape in [(), (1,), (0,), (2, 0, 3)]:
        found = kernel(torch.zeros(shape, device=DEVICE), torch.zeros(*shape, 23, device=DEVICE), settings())
        assert found[0].shape == shape
        assert not found[0].any()


def test_broadcast_parameters_collect_their_gradients():
    x, params, upstream = on_device(*draw(9, torch.float64))
    leaf = params[0].clone().requires_grad_()
    (found,) = torch.autograd.grad(kernel(x, leaf, settings()), leaf, tuple(upstream))
    torch.testing.assert_close(
        found, outcome(_plain, x, leaf.expand_as(params), settings(), upstream)[2][..., 1:].sum(0)
    )


def test_settings_that_vary_along_every_axis():
    x, params, upstream = draw(8, torch.float64, circular=True)
    bound = 3 + torch.rand(8, 3, dtype=torch.float64)
    given = settings(bound=bound, circular=torch.rand(8, 1) < 0.5)
    found, expected, _ = both(x, params, given, upstream)
    torch.testing.assert_close(found, expected)


def test_a_flow_and_its_gradients(monkeypatch):
    flow = nsf(3, layers=2, hidden=(8,)).to(DEVICE, torch.float64)
    for weight in flow.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    x, calls = torch.randn(30, 3, dtype=torch.float64).to(DEVICE), []
    launch = triton_spline._launch
    monkeypatch.setattr(triton_spline, "_launch", lambda *given: (calls.append(given[0]), launch(*given)))

    def density_and_gradients():
        log_prob = flow.log_prob(x)
        return [log_prob, *torch.autograd.grad(log_prob.sum(), list(flow.parameters()))]

    found = density_and_gradients()
    assert len(calls) == 4  # two layers, forward and backward
    monkeypatch.setattr(choice, "can_run_on_gpu", lambda *_: False)
    torch.testing.assert_close(found, density_and_gradients())
    assert len(calls) == 4

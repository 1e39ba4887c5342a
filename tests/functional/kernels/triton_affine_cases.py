"""The Triton affine map equals the plain one, which is its definition, in values and gradients of every order.

`test_triton.py` runs these in a process of their own: on a CPU by Triton's interpreter, on a GPU where there is one.
"""

import math
import os

import pytest
import torch

from bijecta.flows import maf
from bijecta.functional import bounded_affine
from bijecta.functional.kernels import affine as choice
from bijecta.functional.kernels import triton_affine
from bijecta.functional.scalar import _bounded_plain

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy, for branches that are not selected


@pytest.fixture(autouse=True)
def _kernels_are_chosen(monkeypatch):
    monkeypatch.setattr(choice, "can_run_on_gpu", lambda *_: True)


def draw(count, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    numbers = 3 * torch.randn(count, 5, generator=generator, dtype=dtype)
    x, params, upstream = numbers[:, 0], numbers[:, 1:3], numbers[:, 3:].T
    return [each.to(DEVICE) for each in (x, params, upstream)]


def outcome(call, x, params, upstream):
    x, params = x.detach().clone().requires_grad_(), params.detach().clone().requires_grad_()
    y, ladj = call(x, params)
    return y.detach(), ladj.detach(), *torch.autograd.grad((y, ladj), (x, params), tuple(upstream))


def kernel(inverse, limit=3.0):
    return lambda x, params: bounded_affine(x, params, limit=limit, inverse=inverse)


def plain(inverse, limit=3.0):
    return lambda x, params: _bounded_plain(x, params, choice.AffineSettings(limit, inverse))


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("limit", [0.5, 3.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_values_and_gradients(dtype, tolerance, limit, inverse):
    x, params, upstream = draw(2000, dtype)  # the last tile is not full
    found = outcome(kernel(inverse, limit), x, params, upstream)
    exact = outcome(plain(inverse, limit), *(each.double() for each in (x, params, upstream)))
    for a, b in zip(found, exact, strict=True):
        # Shift and number may cancel each other, and so may the parts of a gradient: those sizes count.
        scale = 1 + b.abs() + (math.exp(limit) * (x.abs() + params[:, 0].abs()).double()).view(-1, *[1] * (b.dim() - 1))
        assert ((a.double() - b).abs() / scale).max() < tolerance


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_special_numbers(dtype, inverse):
    numbers = torch.tensor([0.0, -0.0, 1e-30, 1e30, math.inf, -math.inf, math.nan], dtype=dtype, device=DEVICE)
    x, shift, log_scale = (each.flatten() for each in torch.meshgrid(numbers, numbers, numbers, indexing="ij"))
    params = torch.stack([shift, log_scale], -1)
    found, expected = (call(inverse)(x, params) for call in (kernel, plain))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("inverse", [False, True])
def test_derivatives_of_first_and_second_order(inverse):
    x, params, _ = (each.requires_grad_() for each in draw(3, torch.float64))
    assert type(kernel(inverse)(x, params)[0].grad_fn).__name__ == "_FusedBackward"
    assert torch.autograd.gradcheck(kernel(inverse), (x, params))
    assert torch.autograd.gradgradcheck(kernel(inverse), (x, params))


def test_any_layout_and_shape():
    x, params, _ = draw(24, torch.float32)
    expected = kernel(inverse=False)(x, params)
    across = params.T.contiguous().T
    assert torch.equal(torch.stack(kernel(inverse=False)(x, across)), torch.stack(expected))
    shaped = kernel(inverse=False)(x.view(2, 3, 4), params.view(2, 3, 4, 2))
    assert torch.equal(torch.stack(shaped).flatten(1), torch.stack(expected))
    shared = kernel(inverse=False)(x, params[0])
    torch.testing.assert_close(shared, plain(inverse=False)(x, params[0]))
    assert kernel(inverse=True)(x[:0], params[:0])[0].shape == (0,)


@pytest.mark.parametrize("output", [0, 1])
def test_one_output_alone(output):
    x, params, upstream = draw(20, torch.float64)
    found = []
    for call in (kernel(inverse=True), plain(inverse=True)):
        leaves = x.clone().requires_grad_(), params.clone().requires_grad_()
        found.append(torch.autograd.grad(call(*leaves)[output], leaves, upstream[0], allow_unused=True)[1])
    torch.testing.assert_close(*found)


def test_a_flow_and_its_gradients(monkeypatch):
    flow = maf(3, layers=2, hidden=(8,)).to(DEVICE, torch.float64)
    for weight in flow.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    x, calls = torch.randn(30, 3, dtype=torch.float64).to(DEVICE), []
    launch = triton_affine._launch
    monkeypatch.setattr(triton_affine, "_launch", lambda *given: (calls.append(given[0]), launch(*given)))

    def density_and_gradients():
        log_prob = flow.log_prob(x)
        return [log_prob, *torch.autograd.grad(log_prob.sum(), list(flow.parameters()))]

    found = density_and_gradients()
    assert len(calls) == 4  # two layers, forward and backward
    monkeypatch.setattr(choice, "can_run_on_gpu", lambda *_: False)
    torch.testing.assert_close(found, density_and_gradients())

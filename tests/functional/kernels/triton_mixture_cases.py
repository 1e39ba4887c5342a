"""The Triton maps by mixtures equal the plain ones, which are their definition, in values and gradients of every order.

`test_triton.py` runs these in a process of their own: on a CPU by Triton's interpreter, on a GPU where there is one.
"""

import math
import os
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import Tensor

from bijecta.errors import NotConvergedError
from bijecta.flows import gaussianization
from bijecta.functional.kernels import mixture as choice
from bijecta.functional.kernels import triton_mixture
from functional.kernels import test_mixture as native
from functional.kernels.test_mixture import PUBLIC, SPECIAL, directions, errors, kinds, outcome, plain, settings

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
# NumPy, which the interpreter computes with, warns of overflow in branches that are not selected.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


@pytest.fixture(autouse=True)
def _kernels_are_chosen(monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(choice, "can_run_natively", lambda *_: False)
    monkeypatch.setattr(choice, "can_run_on_gpu", lambda *_: True)
    if INTERPRETED:  # it computes a whole tile at once, and is slow between them
        monkeypatch.setattr(triton_mixture, "TILE", 2**18)
        monkeypatch.setattr(triton_mixture, "ROWS", 2**12)
    with torch.device(DEVICE):
        yield


kernel = native.native  # the plain version is forbidden


def draw(*given: object, **settings: object) -> list[Tensor]:
    with torch.device("cpu"):  # the same numbers on every device
        return [each.to(DEVICE) for each in native.draw(*given, **settings)]


@kinds
@directions
@pytest.mark.parametrize("components", [1, 3, 8, 17])
def test_every_number_of_components(kind, components, inverse):
    given = settings(kind, components, inverse=inverse)
    drawn = draw(203, torch.float64, kind, components=components)
    assert errors(kernel, *drawn[:2], given, drawn[2]).max() < 1e-9
    drawn = draw(203, torch.float32, kind, components=components, far=1.0)
    assert errors(kernel, *drawn[:2], given, drawn[2]).quantile(0.98, 0).max() < 1e-5


@kinds
def test_many_elements_in_float64(kind):
    for part in range(2):
        x, params, upstream = draw(4_000, torch.float64, kind, spread=1 + part % 2, seed=part)
        found = errors(kernel, x, params, settings(kind), upstream)
        assert found[..., :2].max() < 1e-10
        assert found[..., 2].quantile(0.999) < 1e-10
        assert found[..., 2].max() < 1e-6  # far away the plain gradient cancels


@kinds
def test_the_inverse_in_float64(kind):
    x, params, upstream = draw(4_000, torch.float64, kind, spread=1.5)
    found = errors(kernel, x, params, settings(kind, inverse=True), upstream)
    assert found.max() < 1e-8  # the search ends within rounding errors of y, which flat places magnify
    assert found.quantile(0.99, 0).max() < 1e-11


@kinds
@dtypes
def test_forward_undoes_the_inverse(kind, dtype):
    z, params, _ = draw(8_000, dtype, kind, far=6.0, spread=1.5)
    x, ladj = kernel(z, params, settings(kind, inverse=True))
    again, forward_ladj = kernel(x, params, settings(kind))
    # A rounding error of x, times the slope, is the least that can be asked for.
    possible = torch.finfo(dtype).eps * (1 + z.abs() + forward_ladj.exp() * (1 + x.abs()))
    assert ((again - z).abs() / possible).max() < 16
    torch.testing.assert_close(ladj, -forward_ladj, rtol=0, atol=0)


@kinds
@directions
def test_float32_loses_no_more_than_the_plain_version_does(kind, inverse):
    given = settings(kind, inverse=inverse)
    x, params, upstream = draw(20_000, torch.float32, kind, far=2.0)
    found, plainly = (errors(curve, x, params, given, upstream) for curve in (kernel, plain))
    for quantile in (0.5, 0.99, 0.999):
        assert (found.quantile(quantile, 0) <= 1.8 * plainly.quantile(quantile, 0)).all()


@kinds
@directions
@dtypes
def test_special_numbers(kind, dtype, inverse):
    x, given = torch.tensor(SPECIAL, dtype=dtype), settings(kind, inverse=inverse)
    _, params, _ = draw(len(x), dtype, kind)
    pairs = [curve(x, params, given) for curve in (kernel, plain)]
    torch.testing.assert_close(*pairs, rtol=3e-5, atol=3e-5, equal_nan=True)
    upstream = torch.ones(2, len(x), dtype=dtype)
    found, expected = (outcome(curve, x, params, given, upstream)[2] for curve in (kernel, plain))
    usual, scale = x.isfinite(), expected.abs().amax(-1, keepdim=True)
    tolerance = 5e-3 if dtype == torch.float32 else 1e-8  # far out the plain gradient has lost digits
    torch.testing.assert_close((found / scale)[usual], (expected / scale)[usual], rtol=0, atol=tolerance)
    assert found[x.isnan(), 0].isnan().all()


@kinds
@directions
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 11])
def test_bad_parameters_are_as_bad_as_in_the_plain_version(kind, bad, place, inverse):
    """A weight of zero is none; NaN is NaN. (A centre at infinity is not asked for.)"""
    x, params, _ = draw(50, torch.float64, kind, far=1.0)
    params[::2, place + (kind == "logistic")] = bad
    given = settings(kind, inverse=inverse)
    found, expected = choice.map_by_mixture(plain, x, params, given), plain(x, params, given)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9, equal_nan=True)


@kinds
def test_where_probabilities_are_out_of_the_range_of_numbers(kind):
    """The tail of narrow components, the gap between two, and a component whose weight is 1e-600."""
    params = torch.tensor([[9.0, 9.0, 3.0, -3.0], [9.0, 9.0, 0.0, 0.0]], dtype=torch.float64)
    logits = torch.tensor([[0.0, 0.0], [0.0, -1400.0]], dtype=torch.float64)
    params = torch.cat([torch.zeros(2, int(kind == "logistic")), logits, params], -1).expand(81, 2, -1)
    x = torch.linspace(-40, 40, 81, dtype=torch.float64)[:, None].expand(-1, 2)
    upstream = torch.ones(2, 81, 2, dtype=torch.float64)
    for a, b in zip(*(outcome(f, x, params, settings(kind, 2), upstream) for f in (kernel, plain)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@kinds
def test_an_inverse_out_of_range_is_the_error_of_the_plain_version(kind):
    params = torch.zeros(24 + (kind == "logistic"))
    params[-16:-8] = -100.0  # the widest components
    with pytest.raises(NotConvergedError, match="range of floating point numbers"):
        PUBLIC[kind](torch.tensor([1.0, 3e38]), params, inverse=True)


@kinds
@directions
def test_derivatives_of_first_and_second_order(kind, inverse):
    x, params, upstream = draw(3, torch.float64, kind, components=2, far=0.0)
    given, definition, found = settings(kind, 2, inverse=inverse), native.PLAIN[kind], []
    for curve in (partial(choice.map_by_mixture, definition), definition):
        leaves = x.clone().requires_grad_(), params.clone().requires_grad_()
        outputs = curve(*leaves, settings=given)
        first = torch.autograd.grad(outputs, leaves, tuple(upstream), create_graph=True)
        second = torch.autograd.grad([each.sin().sum() for each in first], leaves)
        alone = torch.autograd.grad(curve(*leaves, settings=given), leaves, tuple(upstream))
        found.append((*first, *second, *alone))
        assert (type(outputs[0].grad_fn).__name__ == "_FusedMixtureBackward") == (curve is not definition)
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


@kinds
@directions
@pytest.mark.parametrize("output", [0, 1])
def test_one_output_alone(kind, inverse, output):
    x, params, upstream = draw(40, torch.float64, kind, far=1.0)
    found = []
    for curve in (kernel, plain):
        leaves = x.clone().requires_grad_(), params.clone().requires_grad_()
        found.append(torch.autograd.grad(curve(*leaves, settings(kind, inverse=inverse))[output], leaves, upstream[0]))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


@kinds
@directions
@pytest.mark.parametrize("batch", [3, 40])
def test_shared_parameters_collect_their_gradients(kind, inverse, batch):
    _, shared, _ = draw(3, torch.float64, kind)
    x, _, upstream = draw(3 * batch, torch.float64, kind, far=1.0)
    x, upstream = x.view(batch, 3), upstream.view(2, batch, 3)
    for rows in (shared, shared[:1], shared[0]):
        pairs = []
        for curve in (kernel, plain):
            leaves = [each.clone().requires_grad_() for each in (x, rows)]
            found = curve(*leaves, settings(kind, inverse=inverse))
            pairs.append((found, torch.autograd.grad(found, leaves, upstream.unbind(0))))
        torch.testing.assert_close(*pairs, rtol=1e-9, atol=1e-9)


@kinds
@directions
@pytest.mark.parametrize("tile", [512, 4096])
def test_many_tiles_the_last_of_which_is_not_full(kind, inverse, tile, monkeypatch):
    drawn = draw(43, torch.float64, kind)
    expected = outcome(kernel, *drawn[:2], settings(kind, inverse=inverse), drawn[2])
    monkeypatch.setattr(triton_mixture, "TILE", tile)
    found = outcome(kernel, *drawn[:2], settings(kind, inverse=inverse), drawn[2])
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)


@kinds
def test_any_layout_and_shape(kind):
    x, params, _ = draw(35 * 3, torch.float32, kind, far=1.0)
    x, params, given = x.view(35, 3), params.view(35, 3, -1), settings(kind)
    expected = torch.stack(kernel(x, params, given))
    for variant in [
        (x.t().contiguous().t(), params),
        (x, params.permute(2, 0, 1).contiguous().permute(1, 2, 0)),
        (torch.stack([x, x], -1)[..., 0], torch.cat([params, params], -1)[..., : params.shape[-1]]),
    ]:
        assert torch.equal(torch.stack(kernel(*variant, given)), expected)
    for shape in [(), (1,), (0,), (2, 0, 3)]:
        zeros = torch.zeros(shape, requires_grad=True), torch.zeros(*shape, params.shape[-1], requires_grad=True)
        y, ladj = kernel(*zeros, given)
        assert y.shape == ladj.shape == shape
        (y + ladj).sum().backward()


def test_a_flow_and_its_gradients(monkeypatch):
    flow = gaussianization(3, layers=2).to(DEVICE, torch.float64)
    x, calls, launch = torch.randn(30, 3, dtype=torch.float64), [], triton_mixture._launch
    monkeypatch.setattr(triton_mixture, "_launch", lambda *given: (calls.append(given[0]), launch(*given)))

    def density_and_gradients() -> list[Tensor]:
        log_prob = flow.log_prob(x)
        return [log_prob, *torch.autograd.grad(log_prob.sum(), list(flow.parameters()))]

    found = density_and_gradients()
    assert len(calls) == 4  # two layers, forward and backward
    monkeypatch.setattr(choice, "can_run_on_gpu", lambda *_: False)
    torch.testing.assert_close(found, density_and_gradients())
    assert len(calls) == 4

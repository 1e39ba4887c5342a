"""The native maps by mixtures equal the plain ones, which are their definition: values and gradients of every order."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bijecta.errors import NotConvergedError
from bijecta.functional import sigmoidal
from bijecta.functional.gaussianization import _plain as _normal_plain
from bijecta.functional.gaussianization import gaussianise
from bijecta.functional.kernels import MixtureSettings
from bijecta.functional.kernels import map_by_mixture as fused
from bijecta.functional.monotone import _sigmoidal_plain

pytestmark = pytest.mark.usefixtures("native")
PLAIN = {"normal": _normal_plain, "logistic": _sigmoidal_plain}
PUBLIC = {"normal": gaussianise, "logistic": lambda *a, **k: sigmoidal(*a, components=8, **k)}
kinds = pytest.mark.parametrize("kind", PLAIN)
directions = pytest.mark.parametrize("inverse", [False, True])
Outcome = tuple[Tensor, Tensor, Tensor]  # y, ladj, and the gradients to (x, params) side by side


def settings(kind: str, components=8, *, inverse=False) -> MixtureSettings:
    return MixtureSettings(kind, components, *((50.0, 4.0) if kind == "normal" else (5.0, 3.0)), 1e-3, inverse)


def native(x: Tensor, params: Tensor, given: MixtureSettings) -> tuple[Tensor, Tensor]:
    def forbidden(*_: object):
        raise AssertionError("the kernel was not used")

    return fused(forbidden, x, params, given)


def plain(x: Tensor, params: Tensor, given: MixtureSettings) -> tuple[Tensor, Tensor]:
    return PLAIN[given.kind](x, params, given)


def outcome(curve: Callable, x: Tensor, params: Tensor, given: MixtureSettings, upstream: Tensor) -> Outcome:
    x, params = x.detach().clone().requires_grad_(), params.detach().clone().requires_grad_()
    y, ladj = curve(x, params, given)
    gradients = torch.autograd.grad((y, ladj), (x, params), tuple(upstream))
    return y.detach(), ladj.detach(), torch.cat([gradients[0][..., None], gradients[1]], -1)


def draw(count: int, dtype: torch.dtype, kind: str, *, components=8, far=4.0, spread=1.0, seed=0):
    """Elements of sizes from 0.01 to ten to the power of ``far``."""
    generator = torch.Generator().manual_seed(seed)
    size = 3 * components + (kind == "logistic")
    x = torch.randn(count, generator=generator, dtype=dtype)
    x = x * 10 ** ((far + 2) * torch.rand(count, generator=generator, dtype=dtype) - 2)
    params = spread * torch.randn(count, size, generator=generator, dtype=dtype)
    return x, params, torch.randn(2, count, generator=generator, dtype=dtype)


def errors(curve: Callable, x: Tensor, params: Tensor, given: MixtureSettings, upstream: Tensor) -> Tensor:
    """The error of each element against the plain version in float64, relative to sizes of at least one, (count, 3).

    That of the gradient is relative to the largest number that a gradient of y or of ladj alone has: they may cancel.
    """
    found = outcome(curve, x, params, given, upstream)
    exact = [tensor.double() for tensor in (x, params)]
    alone = [outcome(plain, *exact, given, upstream.double() * mask[:, None]) for mask in torch.eye(2)]
    y, ladj = alone[0][:2]
    scale = sum(gradients.abs().amax(-1) for *_, gradients in alone).clamp(min=1)
    differences = (found[2].double() - alone[0][2] - alone[1][2]).abs().amax(-1) / scale
    sides = [(a.double() - b).abs() / b.abs().clamp(min=1) for a, b in zip(found, (y, ladj), strict=False)]
    return torch.stack([*sides, differences], -1)


@kinds
@pytest.mark.parametrize("count", [60_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_many_elements_in_float64(kind, count):
    for part in range(count // 20_000):
        drawn = draw(20_000, torch.float64, kind, spread=1 + part % 2, seed=part)
        found = errors(native, *drawn[:2], settings(kind), drawn[2])
        assert found[..., :2].max() < 1e-10
        assert found[..., 2].quantile(0.999) < 1e-10
        # Thousands of widths away the plain gradient cancels; with 60 digits the kernel is the nearer one.
        assert found[..., 2].max() < 1e-6


@kinds
def test_the_inverse_in_float64(kind):
    for part in range(2):
        x, params, upstream = draw(4_000, torch.float64, kind, spread=1 + part, seed=part)
        found = errors(native, x, params, settings(kind, inverse=True), upstream)
        assert found.max() < 1e-8  # the search ends within rounding errors of y, which flat places magnify
        assert found.quantile(0.99, 0).max() < 1e-11


@kinds
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("count", [60_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_forward_undoes_the_inverse(kind, dtype, count):
    z, params, _ = draw(count, dtype, kind, far=6.0, spread=1.5)
    x, ladj = native(z, params, settings(kind, inverse=True))
    again, forward_ladj = native(x, params, settings(kind))
    eps = torch.finfo(dtype).eps
    # A rounding error of x, times the slope, is the least that can be asked for.
    possible = eps * (1 + z.abs() + forward_ladj.exp() * (1 + x.abs()))
    assert ((again - z).abs() / possible).max() < 16
    torch.testing.assert_close(ladj, -forward_ladj, rtol=0, atol=0)


@kinds
@directions
def test_float32_loses_no_more_than_the_plain_version_does(kind, inverse):
    """Normals: less. Logistic functions: the median error of ladj is 7.2e-8, and 6.4e-8 in the plain version."""
    given = settings(kind, inverse=inverse)
    x, params, upstream = draw(4_000 if inverse else 40_000, torch.float32, kind, far=2.0)
    kernel, plainly = (errors(curve, x, params, given, upstream) for curve in (native, plain))
    for quantile in (0.5, 0.99, 0.999):
        assert (kernel.quantile(quantile, 0) <= 1.8 * plainly.quantile(quantile, 0)).all()


@kinds
@directions
@pytest.mark.parametrize("components", [1, 2, 3, 8, 17])
@pytest.mark.usefixtures("each_instruction_set")
def test_every_number_of_components(kind, components, inverse):
    given = settings(kind, components, inverse=inverse)
    x, params, upstream = draw(203, torch.float64, kind, components=components)
    assert errors(native, x, params, given, upstream).max() < 1e-9
    x, params, upstream = draw(203, torch.float32, kind, components=components, far=1.0)
    assert errors(native, x, params, given, upstream).quantile(0.98, 0).max() < 1e-5


SPECIAL = [0.0, -0.0, 5.0, 50.0, -50.0, 51.0, -51.0, 1e4, -1e4, 1e30, -1e30, math.inf, -math.inf, math.nan, 1e-45]


@kinds
@directions
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_special_numbers(kind, dtype, inverse):
    x, given = torch.tensor(SPECIAL, dtype=dtype), settings(kind, inverse=inverse)
    _, params, _ = draw(len(x), dtype, kind)
    found, expected = (curve(x, params, given) for curve in (native, plain))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=3e-5, atol=3e-5, equal_nan=True)
    upstream = torch.ones(2, len(x), dtype=dtype)
    found, expected = (outcome(curve, x, params, given, upstream)[2] for curve in (native, plain))
    usual = x.isfinite()
    scale = expected[usual].abs().amax(-1, keepdim=True)
    tolerance = 5e-3 if dtype == torch.float32 else 1e-8  # far out the plain gradient has lost digits
    torch.testing.assert_close(found[usual] / scale, expected[usual] / scale, rtol=0, atol=tolerance)
    assert found[x.isnan(), 0].isnan().all()


@kinds
@directions
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 5, 11])
def test_bad_parameters_are_as_bad_as_in_the_plain_version(kind, bad, place, inverse):
    """A weight of zero is none; NaN is NaN. (A centre at infinity is not asked for.)"""
    x, params, _ = draw(50, torch.float64, kind, far=1.0)
    params[::2, place + (kind == "logistic")] = bad
    given = settings(kind, inverse=inverse)
    for a, b in zip(native(x, params, given), plain(x, params, given), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9, equal_nan=True)


@kinds
def test_where_probabilities_are_out_of_the_range_of_numbers(kind):
    """The tail of narrow components, the gap between two, and a component whose weight is 1e-600."""
    params = torch.tensor([[9.0, 9.0, 3.0, -3.0], [9.0, 9.0, 0.0, 0.0]], dtype=torch.float64)
    logits = torch.tensor([[0.0, 0.0], [0.0, -1400.0]], dtype=torch.float64)
    params = torch.cat([torch.zeros(2, int(kind == "logistic")), logits, params], -1)
    x = torch.linspace(-40, 40, 81, dtype=torch.float64)[:, None].expand(-1, 2)
    drawn = x, params.expand(81, 2, -1), torch.ones(2, 81, 2, dtype=torch.float64)
    for a, b in zip(*(outcome(f, *drawn[:2], settings(kind, 2), drawn[2]) for f in (native, plain)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@kinds
def test_an_inverse_out_of_range_is_the_error_of_the_plain_version(kind):
    params = torch.zeros(24 + (kind == "logistic"))
    params[-16:-8] = -100.0  # the widest components
    z = torch.tensor([1.0, 3e38])
    with pytest.raises(NotConvergedError, match="range of floating point numbers"):
        PUBLIC[kind](z, params, inverse=True)


@kinds
@directions
def test_derivatives_of_first_and_second_order(kind, inverse):
    x, params, _ = draw(3, torch.float64, kind, far=0.0)
    x, params = x.requires_grad_(), params.requires_grad_()

    def call(x: Tensor, params: Tensor):
        return PUBLIC[kind](x, params, inverse=inverse)

    assert type(call(x, params)[0].grad_fn).__name__ == "_FusedMixtureBackward"
    assert torch.autograd.gradcheck(call, (x, params))
    assert torch.autograd.gradgradcheck(call, (x, params))
    (first,) = torch.autograd.grad(call(x, params)[1].sum(), params, create_graph=True)
    torch.testing.assert_close(first, torch.autograd.grad(call(x, params)[1].sum(), params)[0])


@kinds
@directions
@pytest.mark.parametrize("output", [0, 1])
def test_one_output_alone(kind, inverse, output):
    x, params, upstream = draw(40, torch.float64, kind, far=1.0)
    found = []
    for curve in (native, plain):
        leaves = x.clone().requires_grad_(), params.clone().requires_grad_()
        found.append(torch.autograd.grad(curve(*leaves, settings(kind, inverse=inverse))[output], leaves, upstream[0]))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


@kinds
@directions
@pytest.mark.parametrize("batch", [3, 40, 1300])
def test_shared_parameters_collect_their_gradients(kind, inverse, batch):
    _, shared, _ = draw(3, torch.float64, kind)
    x, _, upstream = draw(3 * batch, torch.float64, kind, far=1.0)
    x, given = x.view(batch, 3), settings(kind, inverse=inverse)
    for rows in (shared, shared[:1], shared[0]):
        leaves, again = ([t.clone().requires_grad_() for t in (x, rows)] for _ in range(2))
        found = native(*leaves, given)
        expected = native(again[0], again[1].expand(batch, 3, -1).contiguous(), given)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        g = upstream.view(2, batch, 3).unbind(0)
        torch.testing.assert_close(torch.autograd.grad(found, leaves, g), torch.autograd.grad(expected, again, g))


@kinds
@directions
def test_neighbours_and_threads_change_no_bit(kind, inverse):
    x, params, upstream = draw(5_001, torch.float32, kind)
    given = settings(kind, inverse=inverse)
    together = outcome(native, x, params, given, upstream)
    alone = [outcome(native, x[i : i + 1], params[i : i + 1], given, upstream[:, i : i + 1]) for i in range(50)]
    torch.set_num_threads(2)
    try:
        threaded = outcome(native, x, params, given, upstream)
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(together, threaded, strict=True))
    assert all(torch.equal(a[:50], torch.cat(b)) for a, b in zip(together, zip(*alone, strict=True), strict=True))


@kinds
def test_any_layout_and_shape(kind):
    x, params, _ = draw(35 * 3, torch.float32, kind, far=1.0)
    x, params, given = x.view(35, 3), params.view(35, 3, -1), settings(kind)
    expected = torch.stack(native(x, params, given))
    for variant in [
        (x.t().contiguous().t(), params),
        (x, params.permute(2, 0, 1).contiguous().permute(1, 2, 0)),
        (torch.stack([x, x], -1)[..., 0], torch.cat([params, params], -1)[..., : params.shape[-1]]),
        (-x._neg_view(), params),
    ]:
        assert torch.equal(torch.stack(native(*variant, given)), expected)
    for shape in [(), (0,), (2, 0, 3)]:
        zeros = torch.zeros(shape, requires_grad=True), torch.zeros(*shape, params.shape[-1], requires_grad=True)
        y, ladj = native(*zeros, given)
        assert y.shape == ladj.shape == shape
        (y + ladj).sum().backward()
    broad = native(torch.zeros(4, 1), params[:3, 0], given)
    assert broad[0].shape == (4, 3)


@kinds
def test_transforms_give_the_numbers_of_the_kernel(kind):
    x, params, _ = draw(6, torch.float64, kind, far=0.0)
    y, ladj = PUBLIC[kind](x, params)
    torch.testing.assert_close(torch.vmap(PUBLIC[kind])(x, params), (y, ladj))
    slope = torch.func.jvp(lambda x: PUBLIC[kind](x, params)[0], (x,), (torch.ones_like(x),))[1]
    torch.testing.assert_close(slope, ladj.exp())


@kinds
@pytest.mark.slow
def test_a_compiled_graph_has_no_break(kind):
    compiled = torch.compile(PUBLIC[kind], fullgraph=True, backend="eager")
    x, params, _ = draw(6, torch.float64, kind, far=0.0)
    torch.testing.assert_close(compiled(x, params), PUBLIC[kind](x, params))

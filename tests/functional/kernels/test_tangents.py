"""Native perceptrons with tangents equal the plain ones, which are their definition, in values and all gradients."""

from itertools import pairwise

import pytest
import torch

from bijecta.functional.kernels.tangents import KINDS, tangents
from bijecta.functional.tangents import _plainly

pytestmark = pytest.mark.usefixtures("native")


def forbidden(*_):
    raise AssertionError("the kernel was not used")


def draw(rows, *, hidden=(7, 64), count=2, shared=False, dtype=torch.float64, spread=1.0):
    """Inputs of five numbers of which probes move two, and parameters."""
    generator = torch.Generator().manual_seed(rows + count)
    widths = (5, *hidden, 3)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    parameters = [t for a, b in pairwise(widths) for t in (normal(b, a) / a**0.5, normal(b))]
    return spread * normal(rows, 5), normal(count, 1 if shared else rows, 2), parameters


def outcome(function, activation, inputs, probes, parameters):
    """Values, tangents, and the gradients of a sum that depends on both."""
    inputs, *parameters = (tensor.detach().clone().requires_grad_() for tensor in (inputs, *parameters))
    values, products = function(activation, inputs, probes, parameters)
    total = (values.square().sum() + (products * torch.arange(1, 4).to(products)).square().sum()) / len(inputs)
    return [values.detach(), products.detach(), *torch.autograd.grad(total, [inputs, *parameters])]


def native(*arguments):
    return tangents(forbidden, *arguments)


@pytest.mark.usefixtures("each_instruction_set")
@pytest.mark.parametrize("activation", KINDS)
@pytest.mark.parametrize("rows", [1, 17, 64, 200])
@pytest.mark.parametrize(("count", "shared"), [(0, False), (1, False), (2, True), (5, False)])
def test_values_and_gradients_are_the_plain_ones(activation, rows, count, shared):
    given = draw(rows, count=count, shared=shared)
    for ours, expected in zip(outcome(native, activation, *given), outcome(_plainly, activation, *given), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-12)
    with torch.no_grad():
        for ours, expected in zip(native(activation, *given), _plainly(activation, *given), strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.usefixtures("each_instruction_set")
@pytest.mark.parametrize("activation", KINDS)
@pytest.mark.parametrize("hidden", [(), (1,), (64, 64, 64), (3, 130)])
def test_float32_is_as_close_as_rounding_allows(activation, hidden):
    inputs, probes, parameters = draw(100, hidden=hidden, dtype=torch.float32)
    exact = outcome(_plainly, activation, inputs.double(), probes.double(), [p.double() for p in parameters])
    for ours, expected in zip(outcome(native, activation, inputs, probes, parameters), exact, strict=True):
        assert (ours - expected).abs().max() < 2e-5 * max(1, float(expected.abs().max()))


@pytest.mark.usefixtures("each_instruction_set")
@pytest.mark.parametrize("activation", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_activations_are_accurate_in_their_tails(activation, dtype):
    """One unit of weight 1 is the activation itself. Above 20 torch takes softplus for straight."""
    a, one = torch.linspace(-60, 19.9, 2001, dtype=dtype)[:, None], torch.ones(1, 1, dtype=dtype)
    given = (a, one[None], [one, 0 * one[0], one, 0 * one[0]])
    for ours, expected in zip(native(activation, *given), _plainly(activation, *given), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e4 * torch.finfo(dtype).eps, atol=torch.finfo(dtype).eps)


def test_a_bad_row_stays_alone():
    given = draw(70)
    fine = native("silu", *given)
    for bad in (torch.nan, torch.inf, -torch.inf):
        given[0][3, 1] = bad
        spoiled = native("silu", *given)
        others = torch.arange(70) != 3
        assert torch.equal(spoiled[0][others], fine[0][others])
        assert torch.equal(spoiled[1][:, others], fine[1][:, others])
        assert not spoiled[0][3].isfinite().all()


def test_it_can_be_differentiated_twice():
    inputs, probes, parameters = draw(3, hidden=(4,))
    inputs, *parameters = (tensor.requires_grad_() for tensor in (inputs, *parameters))

    def both(inputs, *parameters):
        return tangents(_plainly, "silu", inputs, probes, parameters)

    assert torch.autograd.gradcheck(both, (inputs, *parameters))
    assert torch.autograd.gradgradcheck(both, (inputs, *parameters), fast_mode=True)


def test_only_what_is_wanted_has_a_gradient_and_memory_may_lie_anyhow():
    inputs, probes, parameters = draw(40)
    expected = outcome(native, "tanh", inputs, probes, parameters)
    inputs, probes = inputs.T.contiguous().T, probes.movedim(0, -1).contiguous().movedim(-1, 0)
    weight = parameters[2].requires_grad_()
    values, products = native("tanh", inputs, probes, parameters)
    total = (values.square().sum() + (products * torch.arange(1, 4)).square().sum()) / 40
    (gradient,) = torch.autograd.grad(total, weight)
    torch.testing.assert_close(gradient, expected[2 + 1 + 2])
    assert not inputs.requires_grad


def test_two_threads_compute_the_same():
    given, before = draw(1000), torch.get_num_threads()
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(outcome(native, "softplus", *given))
    torch.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two)

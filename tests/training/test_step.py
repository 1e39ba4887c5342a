"""A training step gives the gradients of autograd, and leaves the flow as it found it but for its weights."""

import copy

import pytest
import torch
from torch import nn

from bijecta.flows import maf, nsf, planar, realnvp
from bijecta.training import Batch, TrainingStep, nll
from bijecta.training.flat import FlatWeights

FLOWS = {
    "coupling": lambda: realnvp(3, layers=3, hidden=(8, 8)),
    "splines": lambda: nsf(3, layers=2, hidden=(8,)),
    "autoregressive with a context": lambda: maf(3, layers=2, hidden=(8,), context=2),
    "a learned base": lambda: realnvp(3, layers=2, hidden=(8,), base="mixture"),
    "not native": lambda: planar(3, layers=2),
}


def batch(flow, size=70):
    context = torch.randn(size, flow.context) if flow.context else None
    return Batch(size, torch.randn(size, 3), context, torch.rand(size))


def ready(name):
    torch.manual_seed(0)
    flow = FLOWS[name]()
    given = batch(flow)
    flow.initialise(given.x, given.context)
    for weight in flow.parameters():
        nn.init.normal_(weight, std=0.2)
    return flow, given


@pytest.mark.parametrize("name", FLOWS)
def test_gradients_are_those_of_autograd(name):
    flow, given = ready(name)
    expected = torch.autograd.grad(nll(flow, given), list(flow.parameters()))
    step = TrainingStep(flow)
    for _ in range(2):  # the second one does not begin with the first one's sums
        loss = step.differentiate(given)
    torch.testing.assert_close([p.grad for p in flow.parameters()], list(expected))
    torch.testing.assert_close(loss, nll(flow, given).detach())


@pytest.mark.parametrize("name", FLOWS)
def test_steps_are_those_of_an_optimiser_of_single_parameters(name):
    flow, given = ready(name)
    plain = copy.deepcopy(flow)
    optimiser = torch.optim.AdamW(plain.parameters(), lr=1e-2, weight_decay=0.1)
    step = TrainingStep(flow, learning_rate=1e-2, weight_decay=0.1, gradient_clip=0.5)
    for _ in range(3):
        optimiser.zero_grad()
        nll(plain, given).backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        optimiser.step()
        step(given)
    step.release()
    torch.testing.assert_close(list(flow.parameters()), list(plain.parameters()), atol=1e-5, rtol=1e-4)


def test_a_chain_that_is_used_twice_adds_its_gradients():
    flow, given = ready("coupling")

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.flow = flow

        def log_prob(self, x, context):
            return self.flow.log_prob(x, context) + self.flow.log_prob(2 * x, context)

    twice = Twice()
    expected = torch.autograd.grad(nll(twice, given), list(flow.parameters()))
    TrainingStep(twice).differentiate(given)
    torch.testing.assert_close([p.grad for p in flow.parameters()], list(expected))


def test_gradients_reach_what_comes_before_the_chain():
    flow, given = ready("autoregressive with a context")
    flow.embedding = nn.Linear(2, 2)
    expected = torch.autograd.grad(nll(flow, given), list(flow.parameters()))
    TrainingStep(flow).differentiate(given)
    torch.testing.assert_close([p.grad for p in flow.parameters()], list(expected))


def test_frozen_weights_stay_and_the_others_move():
    flow, given = ready("coupling")
    frozen, *others = list(flow.parameters())
    frozen.requires_grad_(False)
    before = [p.detach().clone() for p in (frozen, *others)]
    step = TrainingStep(flow)
    step(given)
    assert torch.equal(frozen, before[0])
    assert not any(torch.equal(a, b) for a, b in zip(others, before[1:], strict=True))


def test_hooks_on_parameters_are_called():
    flow, given = ready("coupling")
    weight = next(flow.parameters())
    seen = []
    weight.register_hook(lambda gradient: seen.append(gradient.clone()))
    TrainingStep(flow).differentiate(given)
    torch.testing.assert_close(seen, [weight.grad])


def test_between_steps_gradients_are_as_always():
    """Whoever looks at a flow in training, by its derivatives too, meets nothing unusual."""
    flow, given = ready("splines")
    step = TrainingStep(flow)
    step(given)
    x = given.x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(flow.log_prob(x).sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert x.grad is not None


def test_released_weights_are_the_same_objects_with_memory_of_their_own():
    flow, given = ready("coupling")
    parameters = list(flow.parameters())
    step = TrainingStep(flow)
    addresses = {p.untyped_storage().data_ptr() for p in flow.parameters()}
    assert len(addresses) == 1
    step(given)
    values = [p.detach().clone() for p in parameters]
    step.release()
    assert all(a is b for a, b in zip(parameters, flow.parameters(), strict=True))
    assert len({p.untyped_storage().data_ptr() for p in parameters}) == len(parameters)
    assert all(p.grad is None for p in parameters)
    torch.testing.assert_close([p.detach() for p in parameters], values)


def test_weights_of_several_types_are_kept_apart():
    module = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2).double()])
    assert [values.dtype for values in FlatWeights(module).values] == [torch.float32, torch.float64]


def steps_of_two(compiled, plain, given):
    """Take steps of two sizes with both."""
    for size in (70, 70, 33):
        part = given._replace(size=size, x=given.x[:size], weight=given.weight[:size])
        torch.testing.assert_close(compiled(part), plain(part), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(compiled.weights.values[0], plain.weights.values[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_steps_are_the_plain_ones(backend, monkeypatch):
    compiling, modes = torch.compile, []

    def watched(function, *, mode):
        modes.append(mode)
        return compiling(function, backend=backend) if backend != "inductor" else compiling(function, mode=mode)

    monkeypatch.setattr(torch, "compile", watched)
    flow, given = ready("splines")
    plain = TrainingStep(copy.deepcopy(flow), learning_rate=1e-3, gradient_clip=1.0)
    steps_of_two(TrainingStep(flow, learning_rate=1e-3, gradient_clip=1.0, compile=True), plain, given)
    assert modes == ["reduce-overhead"]

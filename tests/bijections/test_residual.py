"""Residual maps as bijections: starts, estimates for many features, and fits in both directions."""

import pytest
import torch

from bijecta.bijections import Planar, Radial, ResidualBlock, Sylvester
from bijecta.data import toy
from bijecta.errors import InputError, ShapeError
from bijecta.flows import build
from bijecta.nets import LipschitzMLP
from bijecta.training import FitConfig, fit, reverse_kl

MAKERS = {
    "planar": Planar,
    "radial": Radial,
    "sylvester": Sylvester,
    "block": lambda features: ResidualBlock(LipschitzMLP(features, hidden=(8,))),
}
RECIPES = ("planar", "radial", "sylvester", "residual_flow")


def perturbed(module, size=0.5):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return module


@pytest.mark.parametrize("name", MAKERS)
def test_it_starts_as_the_identity(name):
    x = torch.randn(6, 3)
    z, ladj = MAKERS[name](3).forward_and_ladj(x)
    torch.testing.assert_close(z, x)
    torch.testing.assert_close(ladj, torch.zeros(6), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", MAKERS)
def test_another_number_of_features_is_an_error(name):
    layer = MAKERS[name](3)
    for method in (layer.forward_and_ladj, layer.inverse_and_ladj):
        with pytest.raises(ShapeError, match=r"\(\*batch, 3\), got \(5, 1\)"):
            method(torch.zeros(5, 1))


def test_impossible_settings():
    with pytest.raises(InputError, match="rank between 1 and the number of features 3, got 4"):
        Sylvester(3, 4)
    for settings in ({"exact_terms": 0}, {"keep": 1.0}):
        with pytest.raises(InputError, match="exact_terms of at least 1 and keep between 0 and 1"):
            ResidualBlock(LipschitzMLP(3), **settings)


@pytest.mark.parametrize("direction", ["forward_and_ladj", "inverse_and_ladj"])
def test_estimates_for_many_features(direction):
    """The mean of many estimates is the exact value, and a seed repeats every one of them."""
    net = LipschitzMLP(20, hidden=(16,)).double()
    block = perturbed(ResidualBlock(net))
    exact = ResidualBlock(net, estimate=False)
    x = torch.randn(20).double()
    rows = x.expand(4000, 20)
    with torch.no_grad():
        expected = getattr(exact, direction)(x)
        value, ladj = getattr(block, direction)(rows)
    torch.testing.assert_close(value[0], expected[0], atol=1e-10, rtol=0)
    error = ladj.std() / len(ladj) ** 0.5
    assert 0 < error < 0.05
    assert (ladj.mean() - expected[1]).abs() < 3.5 * error
    torch.manual_seed(7)
    first = getattr(block, direction)(rows[:3])[1]
    torch.manual_seed(7)
    assert torch.equal(getattr(block, direction)(rows[:3])[1], first)


def test_up_to_sixteen_features_nothing_is_drawn():
    state = torch.get_rng_state()
    small = ResidualBlock(LipschitzMLP(16, hidden=(8,)))
    state = torch.get_rng_state()
    small.forward_and_ladj(torch.zeros(3, 16))
    assert torch.equal(torch.get_rng_state(), state)
    assert not small.estimate
    assert ResidualBlock(LipschitzMLP(17, hidden=(8,))).estimate


def test_gradients_through_the_inverse_of_many_features():
    """The values of an inverse with a graph, and the gradient that implicit differentiation promises."""
    block = perturbed(ResidualBlock(LipschitzMLP(20, hidden=(16,)).double()))
    z = torch.randn(3, 20).double().requires_grad_()
    x = block.inverse_and_ladj(z)[0]
    (gradient,) = torch.autograd.grad(x[:, 0].sum(), z)
    matrix = torch.eye(20).double() + block.net.linearise(x)[1].dense()
    torch.testing.assert_close(gradient, torch.linalg.inv(matrix)[:, 0])


def test_a_change_of_the_weights_needs_no_second_call():
    """The bound belongs to the weights of the moment: no state to bring up to date, in any mode."""
    block, z = perturbed(ResidualBlock(LipschitzMLP(3))), torch.randn(50, 3)
    for mode in (True, False):
        perturbed(block.train(mode), 5.0)
        x = block.inverse(z)
        torch.testing.assert_close(block.forward(x), z, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_maximum_likelihood_learns(name):
    """Toward moons: better than the Gaussian with which a flow begins."""
    x = torch.as_tensor(toy("moons").sample(1000, seed=0)).float()
    flow = build(name, {"features": 2, "layers": 4, "hidden": [16]})
    flow.initialise(x)
    before = -flow.log_prob(x).mean().item()
    fit(flow, x, config=FitConfig(epochs=15, batch_size=200, learning_rate=1e-2))
    assert -flow.log_prob(x).mean().item() < before - 0.1


@pytest.mark.parametrize("name", RECIPES)
def test_reverse_kl_learns(name):
    """The other direction: gradients through the inverse, toward a shifted and squeezed normal."""
    target = torch.distributions.Normal(torch.tensor([0.8, -0.5]), torch.tensor([0.7, 1.2]))
    loss = reverse_kl(lambda x: target.log_prob(x).sum(-1))
    flow = build(name, {"features": 2, "layers": 3, "hidden": [16]})
    config = FitConfig(epochs=4, batch_size=100, steps_per_epoch=20, learning_rate=1e-2)
    history = fit(flow, loss=loss, config=config).history
    assert history[-1].train_loss < 0.8 * history[0].train_loss

"""Layers of Gaussianization: mixtures on columns, with rotations between them."""

import math

import pytest
import torch

from bijecta.bijections import Chain, Gaussianise, Householder
from bijecta.errors import InputError
from bijecta.flows import gaussianization


def test_one_layer_learns_a_mixture_exactly():
    """Its density is that of a mixture of normals: on two peaks nothing is left of the gap to their entropy."""
    x = torch.randn(4000, 1) / 4 + 2.0 * torch.randint(2, (4000, 1)) - 1
    layer = Gaussianise(1, 4)
    optimiser = torch.optim.Adam(layer.parameters(), lr=2e-2)
    for _ in range(150):
        optimiser.zero_grad()
        z, ladj = layer.forward_and_ladj(x)
        loss = (z.square().sum(-1) / 2 - ladj).mean() + math.log(2 * math.pi) / 2
        loss.backward()
        optimiser.step()
    entropy = 0.5 + 0.5 * math.log(2 * math.pi) + math.log(0.25) + math.log(2)
    assert float(loss.detach()) == pytest.approx(entropy, abs=0.05)


def test_a_chain_starts_as_iterative_gaussianization():
    """Every layer starts from what those before it leave of the data, without a single step."""
    torch.manual_seed(0)
    x = torch.randn(4000, 2) / 5 + 2.0 * torch.randint(2, (4000, 2)) - 1
    flow = gaussianization(2)
    flow.initialise(x)
    with torch.no_grad():
        start = float(-flow.log_prob(x).mean())
    gaussian = -torch.distributions.MultivariateNormal(x.mean(0), x.T.cov()).log_prob(x).mean()
    assert start < float(gaussian) - 0.3


def test_ties_and_outliers_are_a_start_too():
    x = torch.cat([torch.zeros(500, 1), torch.ones(500, 1), torch.full((1, 1), 1e6)])
    layer = Gaussianise(1)
    z = layer.initialise(x)
    assert z.isfinite().all()
    torch.testing.assert_close(layer.inverse(z), x, atol=1e-4, rtol=1e-4)


def test_rotations_and_marginals_invert_together():
    chain = Chain([Householder(3), Gaussianise(3, 4), Householder(3), Gaussianise(3, 4)]).double()
    for parameter in chain.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = 3 * torch.randn(200, 3).double() ** 3
    torch.testing.assert_close(chain.inverse(chain.forward(x)), x, atol=1e-9, rtol=1e-9)


def test_no_component_is_an_error():
    with pytest.raises(InputError, match="at least one component, got 0"):
        Gaussianise(2, 0)

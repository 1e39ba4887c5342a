"""Mixtures of flows: against a mixture of torch, by frequencies, and on eight Gaussians."""

import math

import pytest
import torch

from bijecta.data import toy
from bijecta.distributions import DiagonalNormal
from bijecta.errors import InputError
from bijecta.flows import FlowMixture, mixture_of_flows
from bijecta.training import FitConfig, fit


def three_normals() -> FlowMixture:
    torch.manual_seed(0)
    mixture = FlowMixture([DiagonalNormal(2) for _ in range(3)], 2).double()
    for parameter in mixture.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return mixture


def oracle(mixture: FlowMixture) -> torch.distributions.MixtureSameFamily:
    means = torch.stack([component.mean for component in mixture.components])
    scales = torch.stack([component.log_scale.exp() for component in mixture.components])
    normals = torch.distributions.Independent(torch.distributions.Normal(means, scales), 1)
    logits = mixture.logits(torch.zeros(0).double())
    return torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=logits), normals)


def test_density_and_responsibilities_are_those_of_a_mixture():
    mixture, x = three_normals(), 2 * torch.randn(50, 2).double()
    expected = oracle(mixture)
    torch.testing.assert_close(mixture.log_prob(x), expected.log_prob(x))
    each = expected.component_distribution.log_prob(x[:, None]) + expected.mixture_distribution.logits
    torch.testing.assert_close(mixture.responsibilities(x), (each - expected.log_prob(x)[:, None]).exp())


def test_samples_follow_the_weights_in_random_order():
    mixture = FlowMixture([DiagonalNormal(1), DiagonalNormal(1)], 1)
    with torch.no_grad():
        mixture.logits.start.copy_(torch.tensor([0.0, math.log(3.0)]) / 5)
        mixture.components[1].mean.fill_(100.0)
        right = mixture.sample(20_000, generator=torch.Generator().manual_seed(1))[:, 0] > 50
    assert float(right.float().mean()) == pytest.approx(0.75, abs=0.012)
    assert float(right[:10_000].float().mean()) == pytest.approx(0.75, abs=0.02)


def test_weights_follow_the_context():
    flow = mixture_of_flows(1, context=1, components=2, layers=1, hidden=[8])
    context = torch.linspace(-1, 1, 2000)[:, None]
    side = torch.where(torch.rand(2000, 1) < (1 + context) / 2, 1.0, -1.0)
    fit(flow, side + 0.1 * torch.randn(2000, 1), context=context, config=FitConfig(epochs=30, learning_rate=1e-2))
    given = torch.tensor([[-0.9], [0.0], [0.9]])
    with torch.no_grad():
        right = (flow.sample(4000, given, generator=torch.Generator().manual_seed(0)) > 0).float().mean(0)[:, 0]
    torch.testing.assert_close(right, (1 + given[:, 0]) / 2, atol=0.12, rtol=0)


def test_eight_components_find_eight_gaussians():
    """The start alone, by clusters, comes close to the entropy; every sample belongs to one component."""
    target = toy("8gaussians")
    torch.manual_seed(0)
    flow = mixture_of_flows(2, components=8, layers=2, hidden=[8])
    flow.initialise(torch.as_tensor(target.sample(4000, 1)).float())
    test = target.sample(4000, 2)
    with torch.no_grad():
        x = torch.as_tensor(test).float()
        gap = float(target.log_prob(test).mean()) - float(flow.log_prob(x).mean())
        shares = flow.base.responsibilities(flow.to_latent(x))
    assert -0.02 < gap < 0.03
    torch.testing.assert_close(shares.mean(0), torch.full((8,), 1 / 8), atol=0.03, rtol=0)
    assert float(shares.amax(-1).mean()) > 0.99


def test_few_rows_and_copies_of_one_row_are_a_start_too():
    x = torch.cat([torch.randn(40, 2), torch.full((40, 2), 9.0)])
    flow = mixture_of_flows(2, components=4, layers=1, hidden=[8])
    flow.initialise(x)
    assert flow.log_prob(x).isfinite().all()


def test_what_cannot_be_mixed_is_named():
    with pytest.raises(InputError, match="at least one component, got none"):
        FlowMixture([], 2)
    with pytest.raises(InputError, match=r"component to be one of realnvp, .*; got 'glow'"):
        mixture_of_flows(2, component="glow")

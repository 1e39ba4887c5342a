"""The recipes of monotone maps learn what no Gaussian can describe, and their samples come back."""

import math

import pytest
import torch

from bijecta.flows import build

RECIPES = ("bernstein", "bnaf", "naf", "sos", "unaf")
every_recipe = pytest.mark.parametrize("name", RECIPES)


def two_clusters(rows: int) -> torch.Tensor:
    """Normals with deviation 1/4 at -1 and 1 beside a second column that follows the first."""
    first = torch.randn(rows, 1) / 4 + torch.randint(2, (rows, 1)) * 2.0 - 1
    return torch.cat([first, first.square() + torch.randn(rows, 1) / 4], -1)


@every_recipe
def test_learns_two_clusters_and_a_parabola(name):
    """Adam for a few seconds; the Gaussian with the true covariance is where every flow starts."""
    x = two_clusters(2000)
    flow = build(name, {"features": 2, "layers": 2, "hidden": [16]})
    flow.initialise(x)
    gaussian = -torch.distributions.MultivariateNormal(x.mean(0), x.T.cov()).log_prob(x).mean()
    optimiser = torch.optim.Adam(flow.parameters(), lr=2e-2)
    for _ in range(120):
        optimiser.zero_grad()
        loss = -flow.log_prob(x[torch.randint(2000, (400,))]).mean()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        learned = -flow.log_prob(two_clusters(2000)).mean()
    entropy = 2 * (0.5 + 0.5 * math.log(2 * math.pi) + math.log(0.25)) + math.log(2)
    assert entropy - 0.1 < float(learned) < 0.5 * (entropy + float(gaussian))


@every_recipe
def test_latents_far_out_give_the_samples_that_belong_to_them(name):
    flow = build(name, {"features": 3, "layers": 2, "hidden": [8]}).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        z = torch.tensor([12.0, -20.0, 50.0, -1e4])[:, None] * torch.ones(3)
        torch.testing.assert_close(flow.to_latent(flow.to_data(z.double())), z.double(), rtol=1e-9, atol=1e-9)


@every_recipe
def test_far_points_have_a_density_that_is_not_zero(name):
    """At 50 standard deviations a Gaussian still has a logarithm of -1250."""
    flow = build(name, {"features": 2, "layers": 2, "hidden": [8]})
    log_prob = flow.log_prob(torch.full((1, 2), 50.0))
    torch.testing.assert_close(log_prob, torch.tensor([-2500 - math.log(2 * math.pi)]), rtol=1e-4, atol=0)


@every_recipe
def test_samples_can_be_trained_through(name):
    """Reverse KL: the gradient of log q at samples, through the numerical inverse."""
    flow = build(name, {"features": 2, "layers": 1, "hidden": [8]})
    x, log_prob = flow.sample_and_log_prob((64,))
    (log_prob + 2 * (x - 1).square().sum(-1)).mean().backward()
    gradients = [parameter.grad for parameter in flow.parameters() if parameter.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert sum(gradient.abs().sum() for gradient in gradients) > 0

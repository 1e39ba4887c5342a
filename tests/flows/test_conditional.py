"""Columns given others: against the formula of the Gaussian, against a grid, and against the exact path."""

import math

import pytest
import torch

from bijecta.bijections import Affine, Chain, Permute, Whiten
from bijecta.data import Column, Schema, toy
from bijecta.distributions import Normal
from bijecta.errors import InputError, NotConvergedError
from bijecta.flows import Flow, conditional_sample, made, nsf, table
from bijecta.training import FitConfig, fit


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def gaussian(features):
    """A flow that is a Gaussian with full covariance, with its mean and covariance."""
    root = torch.randn(features, features, generator=seeded())
    covariance = root @ root.T / features + 0.3 * torch.eye(features)
    mean = torch.arange(features, dtype=torch.float32)
    whiten = Whiten(features)
    whiten.matrix.copy_(torch.linalg.inv(torch.linalg.cholesky(covariance)))
    chain = Chain([Affine(mean, torch.ones(features)), whiten])
    return Flow(chain, Normal(features), event_shape=(features,)), mean, covariance


def shaken(flow, size=0.2):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return flow


@pytest.mark.parametrize(
    ("features", "known", "exact"), [(2, [0], True), (5, [0, 1], True), (2, [1], False), (4, [1, 3], False)]
)
def test_gaussian_conditionals(features, known, exact):
    flow, mean, covariance = gaussian(features)
    free = [column for column in range(features) if column not in known]
    values = mean[known] + 1.5 * covariance.diagonal()[known].sqrt()
    found = conditional_sample(flow, dict(zip(known, values.tolist(), strict=True)), 8000, generator=seeded())
    gain = torch.linalg.solve(covariance[known][:, known], covariance[known][:, free]).T
    exact_mean = mean[free] + gain @ (values - mean[known])
    exact_covariance = covariance[free][:, free] - gain @ covariance[known][:, free]
    weight, x = found.log_weight.exp()[:, None], found.x[:, free]
    measured = (weight * x).sum(0)
    torch.testing.assert_close(measured, exact_mean, atol=0.06, rtol=0)
    torch.testing.assert_close((weight * (x - measured)).T @ (x - measured), exact_covariance, atol=0.08, rtol=0)
    assert (found.x[:, known] == values).all()
    assert (round(found.effective_sample_size) == 8000) == exact


@pytest.fixture(scope="module")
def moons():
    torch.manual_seed(0)
    flow = nsf(2, layers=4, bins=8)
    fit(flow, toy("moons").sample(5000, 0), config=FitConfig(epochs=5))
    return flow.requires_grad_(False)


@pytest.mark.parametrize(("column", "value"), [(0, 0.5), (0, -0.8), (1, 0.2)])
def test_several_modes_against_a_grid(moons, column, value):
    found = conditional_sample(moons, {column: value}, 8000, generator=seeded())
    points = torch.full((60_001, 2), value)
    points[:, 1 - column] = torch.linspace(-15, 15, 60_001)
    density = moons.log_prob(points).exp()
    exact = density.cumsum(0) / density.sum()
    places = slice(None, None, 500)
    below = found.x[:, 1 - column] <= points[places, 1 - column, None]
    measured = (found.log_weight.exp() * below).sum(1)
    assert found.effective_sample_size > 2000
    assert (measured - exact[places]).abs().max() < 2.2 / math.sqrt(found.effective_sample_size)
    # Equal weights again: the same distribution within the noise of resampling.
    drawn = (found.resample(8000, generator=seeded())[:, 1 - column] <= points[places, 1 - column, None]).float()
    assert (drawn.mean(1) - exact[places]).abs().max() < 0.06


def test_the_exact_and_the_weighted_path_agree():
    """The same density twice, once with its columns turned around by a map that the exact path does not know."""
    first = shaken(made(3, context=1))
    turned = Flow(
        Chain([Permute([0, 1, 2]), first.bijection]), first.base, event_shape=(3,), context=1, embedding=first.embedding
    )
    given, context = {0: 0.7, 1: -0.4}, torch.tensor([0.5])
    exact = conditional_sample(first, given, 8000, context=context, generator=seeded())
    weighted = conditional_sample(turned, given, 8000, context=context, generator=seeded())
    assert round(exact.effective_sample_size) == 8000 > round(weighted.effective_sample_size)
    means = [(found.log_weight.exp() * found.x[:, 2]).sum() for found in (exact, weighted)]
    torch.testing.assert_close(means[0], means[1], atol=5 * exact.x[:, 2].std().item() / math.sqrt(8000), rtol=0)


def test_columns_of_a_table_have_names_and_keep_their_support():
    columns = (Column("mass", "positive"), Column("phi", "periodic", low=0.0, high=360.0), Column("x", "real"))
    flow = table(Schema(columns).to_json())
    found = conditional_sample(flow, {"x": 0.3, "phi": 350.0}, 500, generator=seeded())
    assert (found.x[:, 0] > 0).all()
    assert (found.x[:, 1:] == torch.tensor([350.0, 0.3])).all()
    again = conditional_sample(flow, {1: 350.0, 2: 0.3}, 500, generator=seeded())
    assert torch.equal(again.x, found.x)
    angles = conditional_sample(flow, {"mass": 1.0}, 500, generator=seeded()).x[:, 1]
    assert angles.min() >= 0
    assert angles.max() <= 360
    with pytest.raises(InputError, match="inside the support"):
        conditional_sample(flow, {"mass": -1.0}, 5)
    with pytest.raises(InputError, match=r"mass, phi, x.*\['y'\]"):
        conditional_sample(flow, {"y": 0.0}, 5)


def test_a_collapse_is_reported():
    with pytest.raises(NotConvergedError, match=r"worth only .* as context"):
        conditional_sample(gaussian(40)[0], {39: 0.0}, 1000, generator=seeded())
    rising = conditional_sample(gaussian(12)[0], {11: 11.0}, 1000, generator=seeded(), smallest_share=0.0)
    assert rising.effective_sample_size >= 1


@pytest.mark.parametrize("given", [{}, {0: 0.0, 1: 0.0}, {2: 0.0}, {-1: 0.0}])
def test_impossible_requests_are_refused(given):
    with pytest.raises(InputError, match="1 to 1 of the columns 0 to 1"):
        conditional_sample(nsf(2), given, 5)


def test_the_method_is_the_function():
    flow = made(3)
    method = flow.conditional({0: 1.5}, 10, generator=torch.Generator().manual_seed(0))
    function = conditional_sample(flow, {0: 1.5}, 10, generator=torch.Generator().manual_seed(0))
    assert torch.equal(method.x, function.x)

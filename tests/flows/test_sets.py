"""Flows of sets: no order, in densities and samples; a start that is the Gaussian of the data; particles that repel."""

import itertools
import math

import pytest
import torch

from bijecta.bijections import ScaleMean
from bijecta.errors import InputError
from bijecta.flows import nsf, set_flow
from bijecta.training import FitConfig, fit
from contract.table import perturb

SMALL = {"layers": 3, "hidden": (8,), "bins": 4}


def orders(x, coordinates):
    """Every row in every order of its particles, (n!, rows, n * coordinates)."""
    objects = x.unflatten(-1, (-1, coordinates))
    return torch.stack(
        [objects[:, list(order)].flatten(1) for order in itertools.permutations(range(objects.shape[1]))]
    )


def moved(flow, x, context=None):
    """A flow that has seen data and whose layers all do something."""
    flow.double().initialise(x, context)
    return perturb(flow)


@pytest.mark.parametrize("coordinates", [2, 3])
@pytest.mark.parametrize("context", [0, 2])
def test_no_order_changes_the_density(coordinates, context):
    x, c = torch.randn(50, 4 * coordinates).double(), torch.randn(50, context).double() if context else None
    flow = moved(set_flow(4 * coordinates, coordinates=coordinates, context=context, **SMALL), x, c)
    c = c if c is None else c.expand(24, 50, context)
    values = flow.log_prob(orders(x, coordinates), c)
    torch.testing.assert_close(values, values[:1].expand_as(values), atol=1e-6, rtol=0)
    # A trading of coordinates, or another recipe, does change it.
    assert not torch.allclose(flow.log_prob(x.roll(1, 1), c if c is None else c[0]), values[0], atol=0.1)
    other = moved(nsf(4 * coordinates, context=context, layers=2, hidden=(8,)), x, None if c is None else c[0])
    assert float(other.log_prob(orders(x, coordinates), c).std(0).detach().min()) > 1e-3


def test_in_float32_too():
    x = torch.randn(50, 8)
    flow = moved(set_flow(8, coordinates=2, **SMALL), x.double()).float()
    values = flow.log_prob(orders(x, 2))
    torch.testing.assert_close(values, values[:1].expand_as(values), atol=1e-3, rtol=1e-4)


def test_latents_trade_places_as_particles_do():
    x = torch.randn(20, 6).double()
    flow = moved(set_flow(6, coordinates=2, **SMALL), x)
    z, exchanged = (flow.to_latent(rows).unflatten(-1, (2, 3)) for rows in (x, x.roll(2, -1)))
    torch.testing.assert_close(exchanged, z.roll(1, -1))


def test_it_starts_as_the_gaussian_of_particles_that_move_together():
    """Independent parts and a common one, whose spreads differ by coordinate: no neural network is needed for it."""
    generator = torch.Generator().manual_seed(0)
    alone, common = (torch.randn(50_000, n, 2, generator=generator).double() for n in (3, 1))
    x = (torch.tensor([1.0, 5.0]) + alone * torch.tensor([0.5, 2.0]) + common * torch.tensor([2.0, 0.5])).flatten(1)
    flow = set_flow(6, coordinates=2, **SMALL).double()
    flow.initialise(x)
    covariance = torch.zeros(6, 6).double()
    for coordinate, (own, shared) in enumerate([(0.5, 2.0), (2.0, 0.5)]):
        covariance[coordinate::2, coordinate::2] = own**2 * torch.eye(3) + shared**2
    exact = torch.distributions.MultivariateNormal(torch.tensor([1.0, 5.0]).repeat(3).double(), covariance)
    assert float((exact.log_prob(x) - flow.log_prob(x)).mean().detach()) == pytest.approx(0, abs=2e-3)


def test_what_does_not_vary_leaves_the_mean_finite():
    centred = torch.randn(100, 2, 3, 1)
    for x in (centred - centred.mean(2, keepdim=True), centred.mean(2, keepdim=True).expand_as(centred), 0 * centred):
        layer = ScaleMean(2)
        assert layer.initialise(x).isfinite().all()
        assert layer.log_scale.abs().max() <= 5


def test_particles_that_avoid_each_other():
    """Two particles on two sides of the origin, in any order: the exact density is a mixture of both."""
    torch.manual_seed(0)
    places = torch.tensor([[-1.0, -1.0, 1.0, 1.0], [1.0, 1.0, -1.0, -1.0]])
    draw = lambda rows: places[torch.randint(0, 2, (rows,))] + 0.4 * torch.randn(rows, 4)  # noqa: E731
    test = draw(4000)
    spread = torch.distributions.Normal(places, 0.4).log_prob(test[:, None]).sum(-1)
    exact = float((spread.logsumexp(1) - math.log(2)).mean())
    gap = lambda flow: exact - float(flow.log_prob(test).mean().detach())  # noqa: E731
    flow = set_flow(4, coordinates=2, layers=4, hidden=(32, 32), bins=8)
    flow.initialise(draw(4000))
    before = gap(flow)
    fit(flow, draw(4000), config=FitConfig(epochs=12, batch_size=200, learning_rate=5e-3, patience=0))
    assert before > 0.5
    assert 0 < gap(flow) < 0.15


@pytest.mark.parametrize(("features", "coordinates"), [(3, 1), (5, 2)])
def test_impossible_particles(features, coordinates):
    with pytest.raises(InputError, match=rf"got {features} columns for {coordinates}.*Shuffled"):
        set_flow(features, coordinates=coordinates)

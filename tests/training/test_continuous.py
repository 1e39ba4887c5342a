"""Losses of continuous flows: their minima, their parts, optimal pairs, and what a short training reaches."""

from functools import partial

import pytest
import torch

from bijecta.bijections import ActNorm, Chain, Continuous, LULinear, Standardise
from bijecta.data import toy
from bijecta.distributions import Normal
from bijecta.errors import InputError
from bijecta.flows import Flow, cnf, realnvp, solver_error
from bijecta.functional import Solver
from bijecta.nets import VelocityMLP
from bijecta.training import Batch, FitConfig, fit, flow_matching, nll, regularised_nll
from bijecta.training.continuous import pair


def moved(features=2, size=0.4, **options):
    flow = cnf(features, hidden=(16,), tolerance=1e-9, **options).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return flow


def path_of(flow, x):
    """Follow the continuous layer, which is the last one of the recipe."""
    *before, layer = flow.bijection.layers
    return layer.transport(Chain(before).forward(x))


class BestField(torch.nn.Module):
    """The field that flow matching has to find between N(mean, spread^2) and N(0, 1): known in closed form."""

    def __init__(self, mean, spread):
        super().__init__()
        self.mean, self.spread, self.features, self.context = mean, spread, 1, 0

    def forward(self, x_t, time, context=None):  # noqa: ARG002
        variance = (1 - time) ** 2 * self.spread**2 + time**2
        slope = (time - (1 - time) * self.spread**2) / variance
        return slope * (x_t - (1 - time) * self.mean) - self.mean


def test_the_best_field_is_a_minimum_and_its_flow_the_exact_density():
    """For normal data the best field is linear. Its loss is the smallest, and it carries the data to the base."""
    mean, spread = 3.0, 0.5
    field = BestField(mean, spread)
    flow = Flow(Continuous(VelocityMLP(1), Solver(tolerance=1e-10)), Normal(1)).double()
    flow.bijection.velocity.forward = field.forward
    flow.bijection.velocity.with_products = partial(type(flow.bijection.velocity).__mro__[1].with_products,
                                                    flow.bijection.velocity)  # fmt: skip
    x = mean + spread * torch.randn(20_000, 1, dtype=torch.float64)
    expected = torch.distributions.Normal(mean, spread).log_prob(x[:100]).squeeze(-1)
    torch.testing.assert_close(flow.log_prob(x[:100]), expected)
    losses = []
    for shift in (0.0, 0.1, -0.1):
        flow.bijection.velocity.forward = lambda x, t, c, shift=shift: field(x, t, c) + shift
        torch.manual_seed(0)
        losses.append(float(flow_matching(flow, Batch(len(x), x))))
    assert losses[0] < min(losses[1:])
    # A shift s of the best field adds s^2: the loss is a mean of squares.
    assert losses[1] + losses[2] - 2 * losses[0] == pytest.approx(0.02, rel=1e-6)


def test_a_matched_flow_has_a_density_that_integrates_to_one_and_fits():
    """Trained without solving anything, the same flow object has an exact log_prob and samples."""
    moons = toy("moons")
    x = torch.tensor(moons.sample(2000, seed=0)).float()
    torch.manual_seed(0)
    flow = cnf(2, hidden=(32, 32))
    before = -float(nll(flow, Batch(500, x[:500])).detach()), float(flow_matching(flow, Batch(2000, x)).detach())
    settings = FitConfig(epochs=20, batch_size=128, learning_rate=1e-2, ema=0.98)
    result = fit(flow, x, loss=flow_matching, config=settings)
    test = torch.tensor(moons.sample(1000, seed=1)).float()
    with torch.no_grad():
        gap = -float(flow.log_prob(test).mean()) - moons.entropy
        axis = torch.linspace(-5, 6, 250)
        grid = flow.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * float(axis[1] - axis[0]) ** 2
        samples = flow.sample(1000, generator=torch.Generator().manual_seed(0))
    assert result.best_loss < 0.9 * before[1]
    assert gap < 0.75  # the best normal distribution: 1.0
    assert float(grid) == pytest.approx(1, abs=1e-3)
    assert -moons.log_prob(samples.double().numpy()).clip(-50).mean() < 10
    assert float(solver_error(flow, test[:100]).max()) < 1e-2
    assert path_of(flow, test).evaluations < 300


def test_flow_matching_works_in_standardised_units():
    """Other units of the data, the same loss."""
    x = torch.randn(500, 2) * torch.tensor([2.0, 0.1]) + 5
    losses = []
    for factor in (1.0, 1000.0):
        torch.manual_seed(0)
        flow = cnf(2)
        flow.initialise(factor * x)
        torch.manual_seed(1)
        losses.append(float(flow_matching(flow, Batch(500, factor * x)).detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    # At rest the loss is E|z - x|^2: variance 1 of x and of z, for each of two features.
    assert losses[0] == pytest.approx(4, rel=0.1)


def test_only_the_field_learns_and_layers_around_it_count():
    layers = [Standardise(2), ActNorm(2), Continuous(VelocityMLP(2)), LULinear(2)]
    flow = Flow(Chain(layers), Normal(2), event_shape=(2,))
    flow_matching(flow, Batch(50, torch.randn(50, 2))).backward()
    assert {name.split(".")[2] for name, p in flow.named_parameters() if p.grad is not None} == {"2"}
    x = torch.randn(50, 2)
    torch.testing.assert_close(regularised_nll(0.0, 0.0)(flow, Batch(50, x)), nll(flow, Batch(50, x)))


def test_weights_and_contexts():
    flow, x = cnf(2, context=1), torch.randn(400, 2)
    context = torch.randn(400, 1)
    losses = []
    for weight in (None, torch.ones(400), 3 * torch.ones(400)):
        torch.manual_seed(0)
        losses.append(float(flow_matching(flow, Batch(400, x, context, weight)).detach()))
    assert losses[1] == pytest.approx(losses[0])
    assert losses[2] == pytest.approx(3 * losses[0])
    weighted = Batch(400, x, context, torch.rand(400))
    torch.testing.assert_close(regularised_nll(0.0, 0.0)(flow, weighted), nll(flow, weighted))


def test_regularised_likelihood_is_the_sum_of_its_parts():
    flow, x = moved(), torch.randn(30, 2, dtype=torch.float64)
    path = path_of(flow, x)
    expected = nll(flow, Batch(30, x)) + 0.1 * path.kinetic.mean() + 0.2 * path.jacobian.mean()
    loss = regularised_nll(0.1, 0.2)(flow, Batch(30, x))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in flow.parameters())


@pytest.mark.parametrize("count", [1, 2, 3, 7, 60, 200])
@pytest.mark.parametrize("seed", [0, 1])
def test_pairs_are_as_short_as_scipy_finds_them(count, seed):
    optimize = pytest.importorskip("scipy.optimize")
    generator = torch.Generator().manual_seed(seed)
    x, z = (torch.randn(count, 2, generator=generator) for _ in range(2))
    x[::2] = 0.1 * x[::2] + 3
    order = pair(x, z)
    cost = torch.cdist(x, z).square()
    rows, columns = optimize.linear_sum_assignment(cost.numpy())
    assert sorted(order.tolist()) == list(range(count))
    assert float(cost[torch.arange(count), order].mean()) <= float(cost[rows, columns].mean() + 1e-3 * cost.mean())


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e30])
def test_pairs_of_bad_rows_end(bad):
    x = torch.randn(20, 2)
    x[3, 0] = bad
    assert sorted(pair(x, torch.randn(20, 2)).tolist()) == list(range(20))


def test_equal_points_are_paired():
    assert sorted(pair(torch.zeros(50, 2), torch.zeros(50, 2)).tolist()) == list(range(50))


def test_optimal_pairs_make_straighter_targets_and_any_number_of_rows_works():
    flow, x = cnf(2), torch.randn(700, 2)
    losses = []
    for optimal in (False, True):
        torch.manual_seed(0)
        losses.append(float(flow_matching(flow, Batch(700, x), optimal_pairs=optimal).detach()))
    # At rest the loss is the mean squared distance of the pairs.
    assert losses[1] < 0.2 * losses[0]


@pytest.mark.parametrize("batch", [Batch(4, torch.zeros(4, 2), weight=torch.ones(4)), Batch(4)])
def test_what_cannot_be_matched_is_explained(batch):
    with pytest.raises(InputError, match=r"without contexts and weights|reverse_kl"):
        flow_matching(cnf(2), batch, optimal_pairs=True)
    with pytest.raises(InputError, match="one Continuous layer, such as cnf"):
        flow_matching(realnvp(2), Batch(4, torch.zeros(4, 2)))
    with pytest.raises(InputError, match="reverse_kl"):
        regularised_nll()(cnf(2), Batch(4))

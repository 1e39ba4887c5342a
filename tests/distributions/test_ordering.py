"""Sorted and shuffled objects: order statistics of SciPy, and sums over all orders."""

import itertools
import math

import pytest
import torch
from scipy import stats

from bijecta.distributions import DiagonalNormal, Normal, Shuffled, Sorted, UniformBox
from bijecta.errors import InputError, ShapeError
from bijecta.flows import nsf
from bijecta.training import FitConfig, fit


def orders(x, coordinates):
    """Every row in every order of its objects, (n!, rows, n * coordinates)."""
    objects = x.unflatten(-1, (-1, coordinates))
    return torch.stack(
        [objects[:, list(order)].flatten(1) for order in itertools.permutations(range(objects.shape[1]))]
    )


def test_order_statistics_of_uniform_numbers():
    """The j-th of n is a beta variable; here by Kolmogorov and Smirnov at the 0.1 % level."""
    draws = Sorted(UniformBox(torch.zeros(4), torch.ones(4))).sample(20_000, generator=torch.Generator().manual_seed(0))
    for j, column in enumerate(draws.double().unbind(-1), start=1):
        assert stats.kstest(column.numpy(), stats.beta(j, 5 - j).cdf).statistic < 1.95 / len(draws) ** 0.5


def test_densities_of_sorted_objects():
    x = torch.tensor([[0.1, 9.0, 0.2, -9.0], [0.2, 9.0, 0.1, -9.0]])
    expected = Normal(4).log_prob(x[0]) + math.log(2)
    value = Sorted(Normal(4), coordinates=2).log_prob(x)
    torch.testing.assert_close(value[0], expected)
    assert value[1] == -torch.inf


@pytest.mark.parametrize("coordinates", [1, 2])
def test_a_shuffled_density_does_not_see_the_order(coordinates):
    flow = Shuffled(nsf(3 * coordinates, layers=2, hidden=(8,)), coordinates)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    values = flow.log_prob(orders(torch.randn(20, 3 * coordinates), coordinates))
    assert torch.equal(values, values[:1].expand_as(values))


@pytest.mark.parametrize("coordinates", [1, 2])
def test_the_density_is_that_of_the_gaps_by_autograd(coordinates):
    def gaps(row):
        keys = row.view(3, coordinates)[:, 0]
        logs = torch.cat([keys[:1], (keys[1:] - keys[:-1]).log()])
        return torch.cat([logs[:, None], row.view(3, coordinates)[:, 1:]], 1).flatten()

    base = DiagonalNormal(3 * coordinates).double()
    torch.nn.init.normal_(base.mean)
    row = torch.tensor([[-1.0, 5.0], [-0.3, -2.0], [1.5, 0.5]])[:, :coordinates].flatten().double()
    ladj = torch.linalg.slogdet(torch.autograd.functional.jacobian(gaps, row)).logabsdet
    expected = base.log_prob(gaps(row)) + ladj - math.log(6)
    torch.testing.assert_close(Shuffled(base, coordinates).log_prob(row), expected)


def test_draws_come_in_every_order_equally_often():
    draws = Shuffled(Normal(3)).sample(60_000, generator=torch.Generator().manual_seed(0))
    place = draws.argsort(-1) @ torch.tensor([9, 3, 1])
    count = place.unique(return_counts=True)[1]
    assert stats.chisquare(count.numpy()).pvalue > 1e-3
    assert len(count) == 6


def test_equal_objects_have_finite_densities_and_gradients():
    x = torch.tensor([[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [1e30, 1e30, -1e30]], requires_grad=True)
    log_prob = Shuffled(Normal(3)).log_prob(x)
    log_prob[:2].sum().backward()
    assert log_prob[:2].isfinite().all()
    assert not log_prob.isnan().any()
    assert x.grad.isfinite().all()


def test_a_fitted_flow_comes_close_to_the_entropy_of_three_normal_numbers():
    torch.manual_seed(0)
    x, test = torch.randn(2000, 3), torch.randn(2000, 3)
    flow = Shuffled(nsf(3, layers=3, hidden=(32,)))
    fit(flow, x, config=FitConfig(epochs=8, batch_size=200, learning_rate=5e-3))
    with torch.no_grad():
        gap = float((Normal(3).log_prob(test) - flow.log_prob(test)).mean())
    assert 0 < gap < 0.25
    assert not flow.is_bound
    assert stats.kstest(flow.sample(5000)[:, 0].detach().numpy(), stats.norm.cdf).statistic < 0.05


def test_contexts_reach_the_distribution():
    flow = Shuffled(nsf(4, context=2, layers=1, hidden=(8,)), 2)
    assert (flow.context, flow.event_shape) == (2, (4,))
    assert flow.sample(5, torch.randn(3, 2)).shape == (5, 3, 4)
    with pytest.raises(ShapeError, match="conditional"):
        flow.log_prob(torch.randn(3, 4))


def test_impossible_arguments():
    with pytest.raises(InputError, match="at least 1 coordinate per object, got 0"):
        Sorted(Normal(3), 0)
    for make in (Sorted, Shuffled):
        with pytest.raises(ShapeError, match=r"\(\*batch, objects \* 2\), got \(5, 3\)"):
            make(Normal(3), 2).log_prob(torch.zeros(5, 3))

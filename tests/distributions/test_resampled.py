"""The resampled base: against integrals, against its own procedure, and on data with gaps."""

import math

import pytest
import torch
from torch import Tensor, nn

from bijecta.data import toy
from bijecta.distributions import Resampled
from bijecta.errors import InputError
from bijecta.flows import realnvp
from bijecta.persistence import load, save
from bijecta.training import FitConfig, fit


class Hole(nn.Module):
    """Accept outside of the circle of radius 1, hardly ever inside."""

    def forward(self, z: Tensor) -> Tensor:
        return 8 * (z.square().sum(-1, keepdim=True) - 1).clamp(-1, 1)


def with_hole(features: int, proposals: int) -> Resampled:
    base = Resampled(features, proposals=proposals).double().eval()
    base.net = Hole()
    return base


def plane(points: int = 600, side: float = 7.0) -> tuple[Tensor, float]:
    axis = (torch.arange(points, dtype=torch.float64) + 0.5) * (2 * side / points) - side
    return torch.cartesian_prod(axis, axis), (2 * side / points) ** 2


@pytest.mark.parametrize("proposals", [2, 3, 100])
def test_density_of_a_base_with_a_hole_integrates_to_one(proposals):
    base = with_hole(2, proposals)
    grid, cell = plane()
    density = base.log_prob(grid).exp()
    assert float(density.sum() * cell) == pytest.approx(1, abs=3e-3)


def test_normaliser_is_the_integral_of_the_acceptance():
    base = with_hole(2, 10)
    grid, cell = plane()
    exact = float((base.log_acceptance(grid).exp() * base.proposal.log_prob(grid).exp()).sum() * cell)
    measured, error = base.normaliser(200_000, generator=torch.Generator().manual_seed(0))
    assert 0 < error < 2e-3
    assert measured == pytest.approx(exact, abs=4 * error)
    from_probes = float(base.log_acceptance(base.probes).exp().mean())
    assert from_probes == pytest.approx(exact, abs=3e-3)


def test_error_of_the_normaliser_is_what_repetitions_scatter():
    base = with_hole(2, 10)
    runs = [base.normaliser(1000, generator=torch.Generator().manual_seed(seed)) for seed in range(200)]
    values, errors = torch.tensor(runs).T
    assert float(errors.mean()) == pytest.approx(float(values.std()), rel=0.15)


@pytest.mark.parametrize("proposals", [2, 4, 100])
def test_samples_fall_into_the_hole_as_often_as_the_density_says(proposals):
    """The last proposal is taken unseen: with few proposals many samples are in the hole."""
    base = with_hole(2, proposals)
    grid, cell = plane()
    inside = grid.square().sum(-1) < 0.9
    expected = float(base.log_prob(grid)[inside].exp().sum() * cell)
    samples = base.sample(40_000, generator=torch.Generator().manual_seed(1))
    found = float((samples.square().sum(-1) < 0.9).double().mean())
    assert found == pytest.approx(expected, abs=4 * math.sqrt(expected / 40_000) + 2e-3)


def test_log_density_stays_finite_where_nothing_is_accepted():
    base = with_hole(1, 100).float()
    base.net = nn.Sequential(nn.Linear(1, 1))
    nn.init.constant_(base.net[0].weight, -40.0)
    nn.init.constant_(base.net[0].bias, 0.0)
    x = torch.tensor([[10.0]], requires_grad=True)
    log_prob = base.log_prob(x)
    log_prob.backward()
    assert bool(log_prob.isfinite().all())
    assert bool(x.grad.isfinite().all())


def test_training_estimates_what_evaluation_says():
    """Values fluctuate around the density, by the running average less than one batch would, and the gradient too."""
    base = Resampled(2, hidden=(8,))
    nn.init.normal_(base.net.last.weight)
    x = torch.randn(200, 2)

    def run() -> tuple[float, Tensor]:
        base.zero_grad()
        value = base.log_prob(x).mean()
        value.backward()
        return float(value.detach()), base.net.last.weight.grad.flatten().clone()

    base.eval()
    exact, gradient = run()
    base.train()
    for _ in range(100):
        run()
    values, gradients = zip(*[run() for _ in range(200)], strict=True)
    assert sum(values) / 200 == pytest.approx(exact, abs=5e-3)
    spread = torch.stack(gradients).std(0) / 200**0.5
    assert ((torch.stack(gradients).mean(0) - gradient).abs() < 5 * spread + 2e-3).all()
    assert base.eval().log_prob(x).mean().item() == pytest.approx(exact)


@pytest.mark.parametrize(
    ("name", "epochs", "gain"), [("8gaussians", 8, 0.05), pytest.param("rings", 40, 0.15, marks=pytest.mark.slow)]
)
def test_gaps_of_the_data_are_met_better_than_from_a_normal_base(name, epochs, gain):
    target = toy(name)
    train, test = (torch.as_tensor(target.sample(10_000, seed)).float() for seed in (1, 2))
    settings = FitConfig(epochs=epochs, batch_size=256, patience=0, learning_rate=5e-3)
    loss = {}
    for base in ("normal", "resampled"):
        torch.manual_seed(0)
        flow = realnvp(2, layers=4, hidden=(32, 32), base=base)
        fit(flow, train, config=settings)
        loss[base] = -float(flow.log_prob(test).detach().mean())
    assert loss["resampled"] < loss["normal"] - gain
    assert loss["resampled"] > -float(target.log_prob(test.numpy()).mean()) - 0.02  # no density beats the exact one


def test_one_proposal_is_no_choice():
    with pytest.raises(InputError, match="at least 2 proposals"):
        Resampled(2, proposals=1)


def test_a_saved_flow_has_the_same_density(tmp_path):
    torch.manual_seed(0)
    flow = realnvp(2, layers=1, hidden=(8,), base="resampled")
    nn.init.normal_(flow.base.net.last.weight)
    flow.eval()
    save(flow, tmp_path / "model.safetensors")
    x = torch.randn(5, 2)
    assert torch.equal(load(tmp_path / "model.safetensors").log_prob(x), flow.log_prob(x))

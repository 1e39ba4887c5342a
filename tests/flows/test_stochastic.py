"""Stochastic flows: weights of paths against integrals, and steps against their densities written out."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal as TorchNormal

from bijecta.bijections import Affine, AffineUnivariate, Elementwise, LULinear
from bijecta.distributions import DiagonalNormal, Normal, double_well
from bijecta.errors import InputError
from bijecta.flows import Langevin, Metropolis, StochasticFlow, StochasticStep, interpolate, realnvp
from bijecta.training import Batch, FitConfig, fit_variational, nll, reverse_kl, sample_importance
from contract.table import perturb

SHARES = (0.25, 0.5, 0.75, 1.0)
STEPS = {
    "metropolis": lambda density: Metropolis(density, scale=0.7, steps=5),
    "langevin": lambda density: Langevin(density, scale=0.3, steps=5),
    "langevin/coarse": lambda density: Langevin(density, scale=0.5, steps=2),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def wells(depth: float = 4.0) -> tuple[float, float]:
    """The integral over the double well in two dimensions, and the share of the left well, by quadrature."""
    axis = torch.linspace(-7, 7, 4001, dtype=torch.float64)
    first = double_well(torch.stack([axis, torch.zeros_like(axis)], -1), depth=depth).exp()
    total = torch.trapezoid(first, axis)
    return float(total.log()) + 0.5 * math.log(2 * math.pi), float(torch.trapezoid(first * (axis < 0), axis) / total)


def annealed(make, base) -> StochasticFlow:
    return StochasticFlow(base, [make(interpolate(base, double_well, share)) for share in SHARES])


def wide() -> DiagonalNormal:
    base = DiagonalNormal(2).double()
    torch.nn.init.constant_(base.log_scale, math.log(1.5))
    return base


@pytest.mark.parametrize("name", STEPS)
def test_weights_of_paths_estimate_the_integral_without_bias(name):
    log_z, left = wells()
    flow = annealed(STEPS[name], wide())
    found = sample_importance(flow, double_well, 1, draws=40_000, generator=seeded())
    assert found.log_evidence == pytest.approx(log_z, abs=4 * found.log_evidence_error)
    assert found.log_evidence_error < 0.05
    share = float(found.weight @ (found.draws[:, 0] < 0).double())
    assert share == pytest.approx(left, abs=4 * math.sqrt(left * (1 - left) / found.effective_sample_size))


def test_bijections_between_the_steps_are_weighed_too():
    log_z, _ = wells()
    torch.manual_seed(2)
    base = wide()
    bijection = perturb(LULinear(2).double(), 0.15)
    shift = Affine(torch.tensor([0.2, -0.1]).double(), torch.tensor([1.2, 0.9]).double())
    move = STEPS["metropolis"]
    layers = [
        move(interpolate(base, double_well, 0.5)),
        bijection,
        move(double_well),
        shift,
    ]
    with torch.no_grad():
        flow = StochasticFlow(base, layers)
        x, log_weight = flow.sample_and_log_weight(double_well, 200_000, generator=seeded())
    weight = (log_weight - log_z).exp()
    assert float(weight.mean()) == pytest.approx(1, abs=4 * float(weight.std()) / 200_000**0.5)
    assert x.shape == (200_000, 2)


def test_annealing_makes_weights_more_even():
    plain = sample_importance(wide(), double_well, 1, draws=20_000, generator=seeded())
    walked = sample_importance(annealed(STEPS["metropolis"], wide()), double_well, 1, draws=20_000, generator=seeded())
    assert walked.effective_sample_size > 1.2 * plain.effective_sample_size


def test_ratio_of_langevin_paths_is_that_of_their_densities():
    """One step, with both transition densities as normals of torch.distributions."""
    scale, x = 0.6, torch.randn(50, 2).double()

    def mean(x: Tensor) -> Tensor:
        slope = -x[:, 0] * (x[:, 0].square() / 4 - 1) * 4.0 - 0.5
        return x + 0.5 * scale**2 * torch.stack([slope, -x[:, 1]], -1)

    y, ratio = Langevin(double_well, scale, 1).move(x, seeded())
    forth = TorchNormal(mean(x), scale).log_prob(y).sum(-1)
    back = TorchNormal(mean(y), scale).log_prob(x).sum(-1)
    torch.testing.assert_close(ratio, back - forth)


def test_metropolis_leaves_its_density_as_it_is():
    x = 2 * torch.randn(20_000, 1).double()
    y, ratio = Metropolis(lambda x: -x.square().sum(-1) / 8, scale=3.0, steps=20).move(x, seeded())
    assert float(y.std()) == pytest.approx(2, abs=0.05)
    assert float((y * x).mean()) < 0.6  # it has moved
    torch.testing.assert_close(ratio, (y.square() - x.square()).squeeze(-1) / 8)


@pytest.mark.parametrize("step", [Metropolis, Langevin])
def test_paths_that_begin_where_they_belong_have_the_density_of_the_base(step):
    """Moves within the base change nothing: exactly for Metropolis, in the mean a bound for Langevin."""
    base = Normal(2)
    flow = StochasticFlow(base, [step(base.log_prob, 0.4, 5)]).double()
    x = torch.randn(4000, 2).double()
    found, exact = flow.log_prob(x), base.log_prob(x)
    if step is Metropolis:
        torch.testing.assert_close(found, exact)
        ends, path = flow.sample_and_log_prob((3, 4))
        torch.testing.assert_close(path, base.log_prob(ends))
    assert -0.1 < float((found - exact).mean()) < 1e-6 + 4 * float((found - exact).std()) / 4000**0.5


def test_log_prob_is_a_bound_of_a_convolution():
    """One Langevin step in no density is a convolution with a normal, whose log-density is known."""
    flow = StochasticFlow(Normal(1), [Langevin(lambda x: 0 * x.sum(-1), scale=0.5, steps=1)]).double()
    x = torch.full((100_000, 1), 1.5).double()
    exact = float(TorchNormal(0.0, 1.25**0.5).log_prob(torch.tensor(1.5)))
    paths = flow.log_prob(x)
    assert float(paths.mean()) < exact
    # The mean of the exponentials has no such loss: it is the density.
    density = paths.exp()
    assert float(density.mean()) == pytest.approx(math.exp(exact), abs=4 * float(density.std()) / 100_000**0.5)


def test_bijections_are_trained_between_the_steps():
    torch.manual_seed(0)
    base = Normal(2)
    stretch = Elementwise(AffineUnivariate(), 2)
    flow = StochasticFlow(base, [stretch, Langevin(double_well, scale=0.2, steps=3)])
    settings = FitConfig(epochs=3, steps_per_epoch=30, batch_size=128, learning_rate=2e-2, patience=0)
    found = fit_variational(flow, double_well, config=settings)
    assert found.fit.best_loss < found.history[0].train_loss - 0.1
    log_z, _ = wells()
    assert found.log_evidence == pytest.approx(log_z, abs=5 * found.log_evidence_error)
    for loss in (reverse_kl(double_well), nll):
        flow.zero_grad()
        loss(flow, Batch(16, torch.randn(16, 2))).backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in flow.parameters())


def test_shapes_and_repeatable_samples():
    flow = annealed(STEPS["langevin"], Normal(2))
    for shape in [(), 5, (2, 3), (0,)]:
        x, log_prob = flow.sample_and_log_prob(shape, generator=seeded())
        leading = (shape,) if isinstance(shape, int) else shape
        assert x.shape == (*leading, 2)
        assert log_prob.shape == leading
        assert flow.log_prob(x).shape == leading
    state = torch.random.get_rng_state()
    assert torch.equal(flow.sample(9, generator=seeded(1)), flow.sample(9, generator=seeded(1)))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.equal(flow.sample(9, generator=seeded(1)), flow.sample(9, generator=seeded(2)))


def test_interpolation_ends_at_both_densities():
    base, x = Normal(2), torch.randn(5, 2)
    torch.testing.assert_close(interpolate(base, double_well, 0.0)(x), base.log_prob(x))
    torch.testing.assert_close(interpolate(base, double_well, 1.0)(x), double_well(x))
    halfway = (base.log_prob(x) + double_well(x)) / 2
    torch.testing.assert_close(interpolate(base, double_well, 0.5)(x), halfway)
    with pytest.raises(InputError, match="between 0 and 1"):
        interpolate(base, double_well, 1.5)


def test_what_cannot_be_built():
    with pytest.raises(InputError, match="0 layers"):
        StochasticFlow(Normal(2), [])
    with pytest.raises(InputError, match="1 context"):
        StochasticFlow(realnvp(2, context=1), [Metropolis(double_well)])
    for step in (Metropolis, Langevin):
        with pytest.raises(InputError, match="positive scale"):
            step(double_well, scale=0.0)
    with pytest.raises(TypeError):
        StochasticStep()

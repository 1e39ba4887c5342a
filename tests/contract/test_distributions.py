"""Every distribution against every law of a distribution, with torch.distributions and NumPy as oracles."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from bijecta import reference
from bijecta.distributions import (
    CircularUniform,
    DiagonalNormal,
    Distribution,
    GaussianMixture,
    Normal,
    Product,
    Resampled,
    Shuffled,
    Sorted,
    StudentT,
    UniformBox,
    VonMises,
)
from contract.table import perturb

NO_PARAMETERS = "nothing is learned"
CHOICE = "which component a sample comes from is a choice: it has no derivative"
REJECTION = "rejection sampling has no derivative with respect to the concentration"
ACCEPTED = "whether a proposal is accepted is a choice: it has no derivative"
RESAMPLED = {f"net.{layer}.{kind}": ACCEPTED for layer in ("layers.0", "last") for kind in ("weight", "bias")}


@dataclass(frozen=True)
class Case:
    """A distribution of any number of features, and where its mass lies."""

    make: Callable[[int], Distribution]
    low: float = -12.0
    high: float = 12.0
    heavy: bool = False
    not_reparametrised: dict[str, str] | None = None


CASES = {
    "normal": Case(Normal),
    "diagonal": Case(DiagonalNormal),
    "uniform": Case(lambda d: UniformBox(torch.linspace(-2, 0, d), torch.linspace(1, 3, d)), -2.0, 3.0),
    "student": Case(StudentT, heavy=True),
    "cauchy": Case(lambda d: StudentT(d, degrees=1.0, learn=False), heavy=True),
    "mixture": Case(lambda d: GaussianMixture(d, components=3), not_reparametrised={"logits": CHOICE}),
    "circular uniform": Case(CircularUniform, -math.pi, math.pi),
    "von Mises": Case(
        lambda d: VonMises(d, concentration=2.0),
        -math.pi,
        math.pi,
        not_reparametrised={"mean": REJECTION, "log_concentration": REJECTION},
    ),
    "resampled": Case(lambda d: Resampled(d, hidden=(8,)).eval(), not_reparametrised=RESAMPLED),
    "sorted": Case(lambda d: Sorted(Normal(d)), -6.0, 6.0),  # half of a cell of the grid lies beyond its edge
    "shuffled": Case(lambda d: Shuffled(Normal(d))),
    "product": Case(lambda d: Product([DiagonalNormal(1), Normal(d - 1)] if d > 1 else [Normal(1)], _groups(d))),
}

every_case = pytest.mark.parametrize("name", CASES)
SHAPES = [(), 5, (2,), (2, 3), (0,), (2, 0)]
CONTEXTS = [None, (), (4,), (2, 3), (0,)]


def _groups(features: int) -> list[list[int]]:
    return [[features - 1], list(range(features - 1))] if features > 1 else [[0]]


def built(name: str, features: int) -> Distribution:
    torch.manual_seed(3)
    return perturb(CASES[name].make(features).double())


def grid(case: Case, points: int) -> tuple[Tensor, Tensor]:
    """Midpoints and their weights; heavy tails are integrated over the angle whose tangent is x."""
    if not case.heavy:
        step = (case.high - case.low) / points
        return case.low + step * (torch.arange(points).double() + 0.5), torch.full((points,), step).double()
    step = math.pi / points
    angle = -math.pi / 2 + step * (torch.arange(points).double() + 0.5)
    return angle.tan(), step / angle.cos().square()


@every_case
def test_integrates_to_one_in_one_dimension(name):
    x, weight = grid(CASES[name], 20_001)
    total = (built(name, 1).log_prob(x[:, None]).exp() * weight).sum().detach()
    assert float(total) == pytest.approx(1, abs=1e-3)


@every_case
def test_integrates_to_one_in_two_dimensions(name):
    x, weight = grid(CASES[name], 600)
    density = built(name, 2).log_prob(torch.cartesian_prod(x, x)).exp()
    total = (density * torch.cartesian_prod(weight, weight).prod(-1)).sum().detach()
    # The edges of a box lie within cells of the grid.
    assert float(total) == pytest.approx(1, abs=1e-2)


@every_case
def test_samples_follow_the_density(name):
    """Kolmogorov and Smirnov: the largest gap between the two distribution functions, at the 0.1 % level."""
    distribution = built(name, 1)
    x, weight = grid(CASES[name], 20_001)
    cumulative = (distribution.log_prob(x[:, None]).exp() * weight).cumsum(0).detach()
    samples = distribution.sample(20_000, generator=torch.Generator().manual_seed(1)).flatten().sort().values.detach()
    empirical = torch.searchsorted(samples, x).double() / len(samples)
    assert float((empirical - cumulative).abs().max()) < 1.95 / len(samples) ** 0.5 + 1e-3


@every_case
def test_features_of_a_sample_belong_together(name):
    """The mean log-density of samples is minus the entropy, also in two dimensions."""
    distribution = built(name, 2)
    x, weight = grid(CASES[name], 600)
    log_density = distribution.log_prob(torch.cartesian_prod(x, x)).detach()
    terms = torch.where(log_density.isfinite(), log_density.exp() * log_density, 0)
    expected = (terms * torch.cartesian_prod(weight, weight).prod(-1)).sum()
    measured = distribution.log_prob(distribution.sample(20_000)).detach()
    noise = float(measured.std()) / len(measured) ** 0.5
    assert float(measured.mean()) == pytest.approx(float(expected), abs=5 * noise + 2e-2)


@every_case
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("batch", CONTEXTS, ids=str)
def test_sample_shapes(name, shape, batch):
    context = None if batch is None else torch.zeros(*batch, 7).double()
    leading = (shape,) if isinstance(shape, int) else shape
    expected = (*leading, *(batch or ()))
    samples, log_prob = built(name, 3).sample_and_log_prob(shape, context)
    assert samples.shape == (*expected, 3)
    assert log_prob.shape == expected
    assert samples.dtype == log_prob.dtype == torch.float64


@every_case
def test_a_generator_makes_samples_repeatable_and_leaves_the_global_one_alone(name):
    distribution = built(name, 2)
    before = torch.random.get_rng_state()
    first, second, other = (distribution.sample(9, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


@every_case
@pytest.mark.parametrize("batch", [(), (3,), (3, 7), (0,)], ids=str)
def test_log_prob_shapes(name, batch):
    distribution = built(name, 3)
    x = distribution.sample(batch)
    value = distribution.log_prob(x)
    assert value.shape == batch
    torch.testing.assert_close(distribution.log_prob(x.expand(2, *x.shape)), value.expand(2, *batch))


@every_case
def test_a_nan_row_spoils_no_other(name):
    distribution = built(name, 2)
    x = distribution.sample(4).detach()
    expected = distribution.log_prob(x)
    x[2, 0] = torch.nan
    spoiled = distribution.log_prob(x)
    assert spoiled[2].isnan()
    assert torch.equal(spoiled[[0, 1, 3]], expected[[0, 1, 3]])


@every_case
def test_gradients_of_the_density(name):
    distribution = built(name, 2)
    x = distribution.sample(3).detach().requires_grad_()
    keys = [key for key, parameter in distribution.named_parameters() if parameter.requires_grad]
    values = [dict(distribution.named_parameters())[key].detach().clone().requires_grad_() for key in keys]

    class LogProb(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.distribution = distribution

        def forward(self, x):
            return distribution.log_prob(x) + 0 * x.sum()

    def log_prob(x, *values):
        state = {f"distribution.{key}": value for key, value in zip(keys, values, strict=True)}
        return torch.func.functional_call(LogProb(), state, (x,))

    assert torch.autograd.gradcheck(log_prob, (x, *values))


@every_case
def test_samples_carry_gradients_to_the_parameters(name):
    distribution, exempt = built(name, 2), CASES[name].not_reparametrised or {}
    samples = distribution.sample(50)
    learned = {key: p for key, p in distribution.named_parameters() if p.requires_grad and key not in exempt}
    if learned:
        samples.square().clamp(max=10).sum().backward()
    for key, parameter in learned.items():
        assert parameter.grad is not None, key
        assert (parameter.grad != 0).all(), key


@every_case
def test_state_and_copies(name):
    distribution = built(name, 2)
    x = distribution.sample(4).detach()
    expected = distribution.log_prob(x)
    torch.manual_seed(4)
    fresh = CASES[name].make(2).double()
    fresh.load_state_dict(distribution.state_dict())
    assert torch.equal(fresh.log_prob(x), expected)
    assert torch.equal(copy.deepcopy(distribution).log_prob(x), expected)


@every_case
def test_float32_stays_float32(name):
    distribution = built(name, 2).float()
    x, log_prob = distribution.sample_and_log_prob(3)
    assert x.dtype == log_prob.dtype == torch.float32


def array(x: Tensor) -> np.ndarray:
    return x.detach().numpy()


NUMPY = {
    "normal": lambda _, x: reference.standard_normal_log_prob(x),
    "diagonal": lambda d, x: reference.diagonal_normal_log_prob(x, array(d.mean), array(d.log_scale.exp())),
    "uniform": lambda d, x: reference.uniform_box_log_prob(x, array(d.low), array(d.high)),
    "student": lambda d, x: reference.student_t_log_prob(x, 0.0, 1.0, array(d.degrees)),
    "cauchy": lambda d, x: reference.student_t_log_prob(x, 0.0, 1.0, array(d.degrees)),
    "mixture": lambda d, x: reference.gaussian_mixture_log_prob(
        x, array(d.logits), array(d.mean), array(d.log_scale.exp())
    ),
    "circular uniform": lambda _, x: reference.circular_uniform_log_prob(x),
    "von Mises": lambda d, x: reference.von_mises_log_prob(x, array(d.mean), array(d.log_concentration.exp())),
}


@pytest.mark.parametrize("name", NUMPY)
def test_agrees_with_the_numpy_reference(name):
    distribution = built(name, 3)
    x = torch.cat([distribution.sample(20).detach(), torch.full((1, 3), 0.5).double()])
    np.testing.assert_allclose(array(distribution.log_prob(x)), NUMPY[name](distribution, array(x)), rtol=1e-10)


def mixture_oracle(d: GaussianMixture) -> torch.distributions.Distribution:
    components = torch.distributions.Independent(torch.distributions.Normal(d.mean, d.log_scale.exp()), 1)
    return torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=d.logits), components)


TORCH = {
    "normal": lambda _: torch.distributions.Normal(torch.zeros(3).double(), 1.0),
    "diagonal": lambda d: torch.distributions.Normal(d.mean, d.log_scale.exp()),
    "uniform": lambda d: torch.distributions.Uniform(d.low, d.high),
    "student": lambda d: torch.distributions.StudentT(d.degrees),
    "mixture": mixture_oracle,
    "von Mises": lambda d: torch.distributions.VonMises(d.mean, d.log_concentration.exp()),
}


@pytest.mark.parametrize("name", TORCH)
def test_agrees_with_torch_distributions(name):
    distribution = built(name, 3)
    oracle, x = TORCH[name](distribution), distribution.sample(20).detach()
    expected = oracle.log_prob(x) if name == "mixture" else oracle.log_prob(x).sum(-1)
    # torch computes the Bessel function of von Mises by a polynomial with seven digits.
    torch.testing.assert_close(distribution.log_prob(x), expected, atol=1e-6 if name == "von Mises" else 1e-11, rtol=0)


@pytest.mark.parametrize("name", ["normal", "diagonal", "student", "mixture"])
@pytest.mark.parametrize("size", [1e4, 1e15])
def test_far_points_have_finite_densities_and_gradients(name, size):
    distribution = built(name, 2).float()
    x = torch.tensor([[size, -size], [0.0, size]], requires_grad=True)
    log_prob = distribution.log_prob(x)
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    assert x.grad.isfinite().all()

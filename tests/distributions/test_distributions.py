"""What single distributions promise beyond the laws: starting values, bounds, gradients of samples, errors."""

import math

import pytest
import torch

from bijecta.distributions import (
    CircularUniform,
    Dequantised,
    DiagonalNormal,
    GaussianMixture,
    Normal,
    Product,
    StudentT,
    UniformBox,
    VonMises,
)
from bijecta.errors import InputError


def test_diagonal_normal_starts_at_the_maximum_of_the_likelihood():
    x = 3 + 2 * torch.randn(500, 2, dtype=torch.float64)
    base = DiagonalNormal(2).double()
    base.initialise(x)
    base.log_prob(x).mean().backward()
    for parameter in base.parameters():
        torch.testing.assert_close(parameter.grad, torch.zeros_like(parameter), atol=1e-10, rtol=0)


def test_von_mises_starts_near_the_maximum_of_the_likelihood():
    oracle = torch.distributions.VonMises(torch.tensor([2.5, -3.0]), torch.tensor([4.0, 0.7]))
    base = VonMises(2).double()
    base.initialise(oracle.sample((20_000,)).double())
    torch.testing.assert_close(base.mean.detach().float(), oracle.loc, atol=0.05, rtol=0)
    torch.testing.assert_close(base.log_concentration.detach().float().exp(), oracle.concentration, atol=0, rtol=0.1)


@pytest.mark.parametrize("concentration", [1e-4, 1e-2, 1.0, 100.0, 1e5])
def test_von_mises_samples_have_the_right_spread(concentration):
    base = VonMises(1, concentration).double()
    cosine = base.sample(20_000, generator=torch.Generator().manual_seed(0)).cos().mean()
    kappa = torch.tensor(concentration, dtype=torch.float64)
    expected = float(torch.special.i1e(kappa) / torch.special.i0e(kappa))
    assert float(cosine) == pytest.approx(expected, abs=0.03 * min(1, 1 / concentration))


def test_mixture_starts_on_the_clusters():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    x = centres.repeat(100, 1) + 0.1 * torch.randn(300, 2)
    base = GaussianMixture(2, components=3)
    base.initialise(x)
    assert torch.cdist(centres, base.mean).min(1).values.max() < 0.05
    torch.testing.assert_close(base.logits.detach().softmax(0), torch.full((3,), 1 / 3))


def test_mixture_starts_on_fewer_distinct_rows_than_components():
    base = GaussianMixture(1, components=3)
    base.initialise(torch.tensor([[1.0], [1.0], [2.0], [2.0]]))
    assert base.log_prob(torch.tensor([[1.5]])).isfinite().all()


def test_student_t_samples_have_the_derivative_of_the_expectation():
    """d/dnu E[f(x)] from reparametrised samples against the same derivative of an integral."""
    base = StudentT(1, degrees=4.0).double()
    angle = torch.linspace(-math.pi / 2, math.pi / 2, 40_003, dtype=torch.float64)[1:-1]
    x, weight = angle.tan(), math.pi / 40_002 / angle.cos().square()
    integral = (base.log_prob(x[:, None]).exp() * weight * (1 + x.square()).log()).sum()
    (expected,) = torch.autograd.grad(integral, base.raw_degrees)
    samples = base.sample(200_000, generator=torch.Generator().manual_seed(0))
    (measured,) = torch.autograd.grad((1 + samples.square()).log().mean(), base.raw_degrees)
    assert float(measured) == pytest.approx(float(expected), rel=0.05)


@pytest.mark.parametrize("degrees", [1.0, 1.5, 5.0, 100.0])
def test_student_t_starts_with_its_degrees(degrees):
    assert StudentT(2, degrees).double().degrees.tolist() == pytest.approx(
        [degrees] * 2, rel=2e-4
    )  # the limit 1 itself is open


def test_dequantised_is_the_bound_it_claims_to_be():
    """E_u log p(n + u) by quadrature, and below log of the cell's probability."""
    normal = Normal(1).double()
    counts = Dequantised(normal, [0])
    cells = torch.tensor([[-1.0], [0.0], [2.0]], dtype=torch.float64)
    u = (torch.arange(1000).double() + 0.5) / 1000
    inside = normal.log_prob((cells + u)[..., None])
    generator = torch.Generator().manual_seed(0)
    measured = counts.log_prob(cells.expand(20_000, 3, 1), generator=generator).mean(0)
    torch.testing.assert_close(measured, inside.mean(-1), atol=0.02, rtol=0)
    assert (measured < inside.logsumexp(-1) - math.log(1000)).all()
    assert counts.is_bound
    assert not normal.is_bound


def test_dequantised_noise_is_repeatable_and_only_on_its_columns():
    counts = Dequantised(Normal(3), [0, 2])
    x = torch.arange(12.0).reshape(4, 3)
    first, second = (counts.noisy(x, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(first[:, 1], x[:, 1])
    assert torch.equal(first.floor(), x)
    assert not torch.equal(counts.log_prob(x), counts.log_prob(x))


def test_dequantised_samples_are_integers_and_it_starts_from_the_middle_of_cells():
    counts = Dequantised(DiagonalNormal(2), [1])
    counts.initialise(torch.tensor([[0.0, 3.0], [2.0, 5.0]]))
    assert counts.distribution.mean.tolist() == [1.0, 4.5]
    samples = counts.sample((2, 3))
    assert torch.equal(samples[..., 1], samples[..., 1].round())
    assert not torch.equal(samples[..., 0], samples[..., 0].round())


def test_product_starts_each_group_from_its_own_columns():
    base = Product([DiagonalNormal(1), DiagonalNormal(2)], [[1], [2, 0]])
    base.initialise(torch.tensor([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]))
    assert base.parts[0].mean.tolist() == [3.0]
    assert base.parts[1].mean.tolist() == [4.0, 2.0]


def test_uniform_box_is_closed_and_zero_outside():
    box = UniformBox(torch.zeros(2), torch.tensor([2.0, 4.0]))
    points = torch.tensor([[0.0, 0.0], [2.0, 4.0], [2.1, 1.0], [-0.1, 1.0]])
    assert box.log_prob(points).exp().tolist() == pytest.approx([0.125, 0.125, 0.0, 0.0])


def test_circular_uniform_treats_equivalent_angles_alike():
    base = CircularUniform(1)
    angles = torch.tensor([[0.3], [0.3 + 2 * math.pi]])
    assert base.log_prob(angles)[0] == base.log_prob(angles)[1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UniformBox(torch.ones(2), torch.ones(2)), r"low < high.*\[1\.0, 1\.0\]"),
        (lambda: UniformBox(torch.zeros(2), torch.ones(3)), "two vectors"),
        (lambda: StudentT(1, degrees=0.5), r"at least 1 degree.*0\.5"),
        (lambda: GaussianMixture(1, components=0), "at least one component, got 0"),
        (lambda: GaussianMixture(1, components=5).initialise(torch.zeros(4, 1)), "at least 5 rows.*got 4"),
        (lambda: Dequantised(Normal(1), []), "at least one integer column"),
        (lambda: Product([Normal(1)], [[0], [1]]), "one group of columns per distribution"),
        (lambda: Product([Normal(1), Normal(1)], [[0], [0]]), "every column once"),
        (lambda: VonMises(1, concentration=-1.0), "positive"),
    ],
)
def test_errors_say_what_was_expected(make, message):
    with pytest.raises(InputError, match=message):
        make()

"""Traces and norms against autograd's full Jacobian; random probes against the mean and variance they should have."""

import pytest
import torch

from bijecta.functional import jacobian_products, probed_norm, probed_trace, random_probes, unit_probes

MATRIX = torch.randn(4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def field(z):
    return torch.sin(z @ MATRIX.T) * z.square().sum(-1, keepdim=True)


@pytest.fixture
def z():
    return torch.randn(5, 4, dtype=torch.float64)


def full_jacobians(z):
    return torch.stack([torch.autograd.functional.jacobian(field, row) for row in z])


def test_unit_probes_are_exact(z):
    value, products = jacobian_products(field, z, unit_probes(z))
    matrices = full_jacobians(z)
    torch.testing.assert_close(value, field(z))
    torch.testing.assert_close(products.movedim(0, -1), matrices)
    torch.testing.assert_close(probed_trace(unit_probes(z), products), matrices.diagonal(dim1=-2, dim2=-1).sum(-1))
    torch.testing.assert_close(probed_norm(products), matrices.square().sum((-2, -1)))


@pytest.mark.parametrize("shape", [(4,), (0, 4), (2, 3, 4)])
def test_any_batch_shape(shape):
    z = torch.randn(shape, dtype=torch.float64)
    for probes in (unit_probes(z), random_probes(z, 2)):
        value, products = jacobian_products(field, z, probes)
        assert value.shape == shape
        assert probed_trace(probes, products).shape == probed_norm(products).shape == shape[:-1]


def test_trace_can_be_differentiated_twice(z):
    def trace(z):
        return probed_trace(unit_probes(z), jacobian_products(field, z, unit_probes(z))[1])

    assert torch.autograd.gradcheck(trace, z[:2].requires_grad_())
    assert torch.autograd.gradgradcheck(trace, z[:1].requires_grad_())


def test_random_probes_are_unbiased_with_the_variance_of_hutchinson(z):
    """For a fixed matrix A, Rademacher probes have variance sum over i != j of (S_ij)^2 * 2 with S = (A + A^T) / 2."""
    count = 100_000
    generator = torch.Generator().manual_seed(0)
    many = torch.zeros(count, 4, dtype=torch.float64)
    probes = random_probes(many, generator=generator)
    products = probes @ MATRIX.T
    traces, norms = probed_trace(probes, products), probed_norm(products)
    symmetric = (MATRIX + MATRIX.T) / 2
    variance = 2 * (symmetric.square().sum() - symmetric.diagonal().square().sum())
    assert float(traces.mean()) == pytest.approx(float(MATRIX.trace()), abs=4 * float(variance / count) ** 0.5)
    assert float(traces.var()) == pytest.approx(float(variance), rel=0.03)
    assert float(norms.mean()) == pytest.approx(float(MATRIX.square().sum()), rel=0.01)


def test_more_probes_have_less_variance():
    many = torch.zeros(20_000, 4, dtype=torch.float64)
    variances = []
    for count in (1, 4):
        probes = random_probes(many, count, generator=torch.Generator().manual_seed(1))
        variances.append(float(probed_trace(probes, probes @ MATRIX.T).var()))
    assert variances[0] / variances[1] == pytest.approx(4, rel=0.1)


def test_every_row_has_probes_of_its_own():
    probes = random_probes(torch.zeros(100, 20))
    assert len(probes[0].unique(dim=0)) == 100


def test_random_probes_follow_the_global_generator_and_the_given_one():
    z = torch.zeros(3, 4)
    torch.manual_seed(1)
    first = random_probes(z)
    torch.manual_seed(1)
    assert torch.equal(random_probes(z), first)
    state = torch.random.get_rng_state()
    random_probes(z, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.random.get_rng_state(), state)

"""Flows on the sphere and the torus: normalisation, poles, and densities that are known."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from bijecta.bijections import Bijection
from bijecta.errors import InputError
from bijecta.flows import circular_nsf, sphere
from bijecta.training import FitConfig, fit
from contract.table import perturb

QUICK = FitConfig(epochs=8, batch_size=256, patience=0, learning_rate=5e-3)


def quadrature(heights: int = 200, angles: int = 400) -> tuple[Tensor, Tensor]:
    """Points on the sphere and their areas: Gauss-Legendre in the height, equal steps in the angle."""
    nodes, weights = (torch.as_tensor(a) for a in np.polynomial.legendre.leggauss(heights))
    angle = 2 * math.pi * (torch.arange(angles).double() + 0.5) / angles
    h, phi = torch.cartesian_prod(nodes, angle).unbind(-1)
    radius = (1 - h.square()).sqrt()
    points = torch.stack([radius * phi.cos(), radius * phi.sin(), h], -1)
    return points, weights.repeat_interleave(angles) * 2 * math.pi / angles


def von_mises_fisher(size: int, concentration: float, seed: int) -> tuple[Tensor, Tensor]:
    """Draw directions around (1, 1, 1), with their exact log-density per unit area."""
    generator = torch.Generator().manual_seed(seed)
    u, phi = torch.rand(2, size, generator=generator, dtype=torch.float64)
    cosine = 1 + torch.log(u + (1 - u) * math.exp(-2 * concentration)) / concentration
    sine, phi = (1 - cosine.square()).sqrt(), 2 * math.pi * phi
    axes = torch.linalg.qr(torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]).double()).Q
    axes = axes * torch.sign(axes[0, 0])  # the first column is (1, 1, 1) and not its opposite
    x = torch.stack([cosine, sine * phi.cos(), sine * phi.sin()], -1) @ axes.mT
    log_normaliser = math.log(concentration / (4 * math.pi * math.sinh(concentration)))
    return x, log_normaliser + concentration * cosine


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("context", [0, 2])
def test_density_integrates_to_one_over_the_sphere(seed, context):
    torch.manual_seed(seed)
    flow = perturb(sphere(layers=2, hidden=(8,), context=context).double(), 0.2)
    points, area = quadrature()
    given = torch.randn(context).double() if context else None
    with torch.no_grad():
        total = (flow.log_prob(points, given).exp() * area).sum()
    assert float(total) == pytest.approx(1, abs=2e-3)


def test_a_fresh_flow_is_uniform_and_so_are_its_samples():
    flow = sphere()
    samples = flow.sample(20_000, generator=torch.Generator().manual_seed(0)).detach()
    torch.testing.assert_close(flow.log_prob(samples), torch.full((20_000,), -math.log(4 * math.pi)))
    assert samples.mean(0).abs().max() < 4 * (1 / 3 / 20_000) ** 0.5
    assert (samples.mT @ samples / 20_000 - torch.eye(3) / 3).abs().max() < 0.01


def test_density_is_the_same_from_every_side_of_every_pole():
    """Also with its gradient: no layer's pole is a singular point."""
    torch.manual_seed(0)
    flow = perturb(sphere(layers=3, hidden=(8,)).double(), 0.2)
    phi = 2 * math.pi * torch.arange(8).double() / 8
    around = 1e-7 * torch.stack([phi.cos(), phi.sin(), torch.zeros(8).double()], -1)
    for layer in range(3):
        before = list(flow.bijection)[: 5 * layer + 1]  # up to the rotation of this layer
        for sign in (1.0, -1.0):
            pole = back(before, torch.tensor([[0.0, 0.0, sign]]).double()).requires_grad_()
            value = flow.log_prob(pole)
            value.sum().backward()
            assert bool((value.isfinite() & pole.grad.isfinite().all()).all())
            near = flow.log_prob(back(before, torch.tensor([0.0, 0.0, sign]) + around))
            torch.testing.assert_close(near, value.expand(8), atol=1e-4, rtol=1e-4)


def back(steps: list[Bijection], z: Tensor) -> Tensor:
    """Find the data that some steps map to z."""
    for step in reversed(steps):
        z = step.inverse(z)
    return z.detach()


def test_fits_a_von_mises_fisher_distribution():
    train, _ = von_mises_fisher(10_000, 8.0, 1)
    test, exact = von_mises_fisher(10_000, 8.0, 2)
    flow = sphere(layers=3, hidden=(32,))
    fit(flow, train.float(), config=QUICK)
    with torch.no_grad():
        gap = float((exact - flow.log_prob(test.float())).mean())
    assert -0.01 < gap < 0.03
    mean = flow.sample(20_000).mean(0).detach()
    expected = 1 / math.tanh(8.0) - 1 / 8.0  # the length of the mean direction
    assert float(mean.norm()) == pytest.approx(expected, abs=0.02)
    torch.testing.assert_close(mean / mean.norm(), torch.full((3,), 3**-0.5), atol=0.02, rtol=0)


def test_torus_flow_fits_angles_that_belong_together():
    """The sine model of two angles, with its integral by quadrature and samples by rejection."""

    def log_density(x: Tensor) -> Tensor:
        return 2 * x[..., 0].cos() + x[..., 1].cos() + 3 * x[..., 0].sin() * x[..., 1].sin()

    axis = 2 * math.pi * (torch.arange(400).double() + 0.5) / 400 - math.pi
    log_z = float(log_density(torch.cartesian_prod(axis, axis)).logsumexp(0)) + 2 * math.log(2 * math.pi / 400)
    proposals = (torch.rand(200_000, 2).double() * 2 - 1) * math.pi
    chance = (log_density(proposals) - log_density(torch.cartesian_prod(axis, axis)).max() - 0.01).exp()
    kept = proposals[torch.rand(200_000).double() < chance]
    assert len(kept) > 5000
    train, test = kept[: len(kept) // 2], kept[len(kept) // 2 :]
    flow = circular_nsf(2, layers=3, hidden=(32,))
    fit(flow, train.float(), config=QUICK)
    with torch.no_grad():
        gap = float((log_density(test) - log_z - flow.log_prob(test.float())).mean())
    assert -0.01 < gap < 0.05


def test_other_dimensions_are_refused():
    with pytest.raises(InputError, match=r"3 columns.*got 2.*Latitude"):
        sphere(2)

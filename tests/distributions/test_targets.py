"""Densities of physics: their wells, symmetries, and reference samples."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bijecta.distributions import double_well, double_well_particles
from bijecta.errors import ShapeError

DW4 = Path(__file__).parents[3] / "shared" / "data" / "boltzmann" / "train_split_DW4.npz"


def test_double_well_has_its_barrier_and_its_tilt():
    at = torch.tensor([[-2.0, 0.0], [0.0, 0.0], [2.0, 0.0], [2.0, 3.0]])
    left, middle, right, aside = double_well(at, depth=5.0, tilt=0.25)
    assert float(left - right) == pytest.approx(1.0)
    assert float((left + right) / 2 - middle) == pytest.approx(5.0)
    assert float(right - aside) == pytest.approx(4.5)


def test_particles_may_be_turned_moved_and_exchanged():
    x = torch.randn(5, 4, 2).double()
    x = x - x.mean(1, keepdim=True)
    expected = double_well_particles(x.flatten(1))
    turn = torch.linalg.qr(torch.randn(2, 2).double()).Q
    torch.testing.assert_close(double_well_particles((x @ turn)[:, [2, 0, 3, 1]].flatten(1)), expected)
    moved = double_well_particles((x + torch.tensor([3.0, 0.0])).flatten(1))
    torch.testing.assert_close(moved, expected - 0.5 * 4 * 9)  # the mean is normal with variance 1/4


def test_three_particles_by_hand():
    x = torch.tensor([[0.0, 0.0, 5.0, 0.0, 0.0, 5.0]]).double()
    x = (x.reshape(3, 2) - x.reshape(3, 2).mean(0)).reshape(1, 6)
    beyond = np.array([1.0, 1.0, np.hypot(5, 5) - 4])
    expected = -np.sum(0.9 * beyond**4 - 4 * beyond**2)
    assert float(double_well_particles(x)) == pytest.approx(expected)


@pytest.mark.skipif(not DW4.exists(), reason="the reference samples of DW4 are not beside the project")
def test_reference_samples_have_the_temperature_of_the_density():
    """The virial theorem: E[x grad(-log p)] is the number of dimensions, 6 without the mean.

    The samples come from a Markov chain and give 5.5, a little cold. Pairs counted twice would give 11.
    """
    x = torch.as_tensor(np.load(DW4)["x"]).double().reshape(-1, 4, 2)
    x = (x - x.mean(1, keepdim=True)).flatten(1).requires_grad_()
    (gradient,) = torch.autograd.grad(double_well_particles(x).sum(), x)
    virial = -(x * gradient).sum(1).detach()
    assert float(virial.mean()) == pytest.approx(6, abs=0.8)


def test_columns_that_are_no_particles():
    with pytest.raises(ShapeError, match=r"particles \* 2.*\(4, 7\)"):
        double_well_particles(torch.zeros(4, 7))

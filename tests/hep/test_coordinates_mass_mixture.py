"""The map of a peak on a continuum: its density, edges, and an inverse with derivatives."""

import numpy as np
import pytest
import torch

from bijecta.errors import InputError
from bijecta.hep import PeakAndContinuum, measure_coordinates
from bijecta.hep.generators import DrellYan

Z = (91.1876, 2.4952, 3.0, 40.0, 200.0)


def test_the_density_is_the_mixture_of_two_line_shapes():
    """Both shapes are normalised here by a sum over a fine grid."""
    m = np.linspace(40.0, 200.0, 1_600_001)
    peak = m / ((m**2 - 91.1876**2) ** 2 + (91.1876 * 2.4952) ** 2)
    fall = m**-3.0
    expected = 0.3 * peak / np.trapezoid(peak, m) + 0.7 * fall / np.trapezoid(fall, m)
    chosen = slice(None, None, 10_000)
    ladj = PeakAndContinuum(*Z, peak=0.3).forward_and_ladj(torch.tensor(m[chosen])[:, None])[1]
    np.testing.assert_allclose(ladj.exp() / 2.0, expected[chosen], rtol=1e-6)


@pytest.mark.parametrize(("width", "peak"), [(2.4952, 0.5), (1e-3, 0.5), (2.4952, 1e-6)])
def test_inverse_and_its_derivatives(width, peak):
    layer = PeakAndContinuum(91.1876, width, 3.0, 40.0, 200.0, peak)
    z = torch.linspace(-1.0, 1.0, 1001, dtype=torch.float64)[:, None].requires_grad_()
    m, ladj = layer.inverse_and_ladj(z)
    torch.testing.assert_close(layer.forward(m), z, atol=1e-10, rtol=0)
    slopes = torch.autograd.grad(m.sum(), z, create_graph=True)[0]
    torch.testing.assert_close(slopes.log().sum(-1), ladj)
    torch.testing.assert_close(layer.forward_and_ladj(m)[1], -ladj)
    assert torch.autograd.grad(slopes.sum(), z)[0].isfinite().all()


def test_ends_in_float32():
    layer = PeakAndContinuum(*Z)
    m, ladj = layer.inverse_and_ladj(torch.tensor([[-1.0], [1.0]]))
    assert m.flatten().tolist() == pytest.approx([40.0, 200.0], rel=1e-5)
    assert ladj.isfinite().all()
    outside = layer.forward(torch.tensor([[39.0], [201.0]])).flatten()
    assert outside[0] < -1.0
    assert outside[1] > 1.0


def test_it_is_a_shape_of_event_coordinates():
    shape = {"kind": "peak_and_continuum", "mass": 91.1876, "width": 2.4952, "power": 3.0, "low": 40.0, "high": 200.0}
    events = DrellYan().sample(100, energy=2000.0, seed=0)
    coordinates = measure_coordinates(events, masses={"mass": shape})
    assert coordinates.kinds == ("box", "box", "box", "turn")
    assert any(isinstance(change, PeakAndContinuum) for change, _ in coordinates.steps())


@pytest.mark.parametrize(
    "make",
    [
        lambda: PeakAndContinuum(*Z, peak=0.0),
        lambda: PeakAndContinuum(*Z, peak=1.0),
        lambda: PeakAndContinuum(91.0, 2.0, 3.0, 0.0, 200.0),
        lambda: PeakAndContinuum(91.0, -2.0, 3.0, 40.0, 200.0),
    ],
)
def test_impossible_shapes_are_refused(make):
    with pytest.raises(InputError):
        make()

"""Maps of the sphere: areas against tangent vectors, and what happens at the poles."""

import math

import pytest
import torch
from torch import Tensor

from bijecta.bijections import Bijection, Chain, Cylinder, Inverse, Rotate
from bijecta.flows import sphere
from contract.table import perturb


def directions(count: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(count, 3, dtype=torch.float64), dim=-1)


def tangents(x: Tensor) -> Tensor:
    """Two unit vectors that are perpendicular to every direction and to each other, of shape (N, 2, 3)."""
    normal = torch.nn.functional.normalize(x, dim=-1)
    full = torch.linalg.qr(torch.cat([normal[:, :, None], torch.randn(len(x), 3, 2).to(x)], -1)).Q
    return full[:, :, 1:].mT


def log_area_ratio(function: Bijection, x: Tensor) -> Tensor:
    """How a map of the sphere changes areas: the determinant of its Jacobian between tangent planes."""
    jacobian = torch.stack([torch.autograd.functional.jacobian(function.forward, one) for one in x])
    there = tangents(function.forward(x))
    return torch.linalg.slogdet(there @ jacobian @ tangents(x).mT).logabsdet


@pytest.mark.parametrize("context", [0, 2])
def test_ladj_is_that_of_areas(context):
    torch.manual_seed(1)
    flow = perturb(sphere(layers=2, hidden=(8,), context=context).double())
    x = directions(20)
    given = torch.ones(context).double() if context else None
    bijection = Given(Chain(list(flow.bijection)[:-1]), given)  # what follows unrolls the sphere
    torch.testing.assert_close(bijection.forward_and_ladj(x)[1].detach(), log_area_ratio(bijection, x).detach())


class Given(Bijection):
    """A bijection with one context for all points."""

    def __init__(self, bijection: Bijection, given: Tensor | None) -> None:
        super().__init__()
        self.bijection, self.given = bijection, given

    def forward_and_ladj(self, x, context=None):  # noqa: ARG002
        return self.bijection.forward_and_ladj(x, self.given)

    def inverse_and_ladj(self, z, context=None):  # noqa: ARG002
        return self.bijection.inverse_and_ladj(z, self.given)


def test_cylinder_keeps_areas():
    """Uniform directions have uniform heights and angles."""
    z = Cylinder().forward(directions(40_000))
    for column, low, high in ((0, -1.0, 1.0), (1, -math.pi, math.pi)):
        ordered = z[:, column].sort().values
        expected = low + (high - low) * (torch.arange(40_000) + 0.5) / 40_000
        assert (ordered - expected).abs().max() < 1.95 * (high - low) / 200


def test_cylinder_returns_where_it_came_from():
    x = directions(1000)
    torch.testing.assert_close(Inverse(Cylinder()).forward(Cylinder().forward(x)), x, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(Cylinder().forward(5 * x), Cylinder().forward(x))


def test_poles_have_finite_values_and_gradients():
    poles = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]], requires_grad=True)
    z = Cylinder().forward(poles)
    z.sum().backward()
    assert torch.equal(z.detach(), torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert bool(poles.grad.isfinite().all())
    rim = z.detach().clone().requires_grad_()
    x = Cylinder().inverse(rim)
    torch.testing.assert_close(x.detach(), poles.detach())
    x.square().sum().backward()
    assert bool(rim.grad.isfinite().all())


def test_a_rotation_keeps_angles_and_handedness():
    rotation = Rotate().double()
    matrix = rotation.forward(torch.eye(3).double()).mT.detach()
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(3).double())
    assert float(torch.linalg.det(matrix)) == pytest.approx(1)


def test_rotations_begin_in_all_directions():
    """The image of a direction under random rotations is uniform: mean 0, variance 1/3."""
    images = torch.stack([Rotate().forward(torch.tensor([0.0, 0.0, 1.0])).detach() for _ in range(2000)])
    assert images.mean(0).abs().max() < 4 * (1 / 3 / 2000) ** 0.5
    assert images.square().mean(0).sub(1 / 3).abs().max() < 0.03

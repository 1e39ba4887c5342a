"""Velocity fields: the fast products against differentiation, the start, and errors."""

import pytest
import torch

from bijecta.errors import InputError, ShapeError
from bijecta.functional import random_probes, unit_probes
from bijecta.nets import Velocity, VelocityMLP


def field(features=3, **options):
    net = VelocityMLP(features, **options).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return net


@pytest.mark.parametrize("activation", ["tanh", "silu", "softplus"])
@pytest.mark.parametrize("hidden", [(), (8,), (8, 6, 8)])
@pytest.mark.parametrize("batch", [(), (5,), (2, 3), (0,)])
def test_products_agree_with_forward_differentiation(activation, hidden, batch):
    net = field(context=2, hidden=hidden, activation=activation)
    z, time, context = (torch.randn(*batch, n, dtype=torch.float64) for n in (3, 1, 2))
    for probes in (unit_probes(z), random_probes(z, 2)):
        fast, slow = net.with_products(z, time, context, probes), Velocity.with_products(net, z, time, context, probes)
        for ours, expected in zip(fast, slow, strict=True):
            torch.testing.assert_close(ours, expected)
        torch.testing.assert_close(fast[0], net(z, time, context))


@pytest.mark.parametrize("activation", ["tanh", "silu", "softplus"])
def test_extreme_inputs_stay_finite(activation):
    net = field(activation=activation).float()
    z = torch.tensor([[0.0, 0.0, 0.0], [1e30, -1e30, 1e30], [-1e30, 1.0, 0.0]], requires_grad=True)
    velocity, products = net.with_products(z, torch.zeros(3, 1), None, unit_probes(z))
    (velocity.mean() + products.mean()).backward()
    assert all(value.isfinite().all() for value in (velocity, products, z.grad))


def test_it_starts_at_rest_and_depends_on_everything():
    z, time, context = torch.randn(4, 3).double(), torch.rand(4, 1).double(), torch.randn(4, 2).double()
    assert (VelocityMLP(3, context=2).double()(z, time, context) == 0).all()
    net = field(context=2)
    velocity = net(z, time, context)
    for other in ((z + 1, time, context), (z, time + 0.1, context), (z, time, context + 1)):
        assert not torch.allclose(net(*other), velocity)


def test_errors_are_explained():
    with pytest.raises(InputError, match="among tanh, silu, softplus; got 'relu'"):
        VelocityMLP(2, activation="relu")
    with pytest.raises(ShapeError, match=r"\(\*batch, 2\), got \(4, 3\)"):
        VelocityMLP(2)(torch.zeros(4, 3), torch.zeros(4, 1))
    with pytest.raises(ShapeError, match=r"\(4, 2\).*none"):
        VelocityMLP(3, context=2)(torch.zeros(4, 3), torch.zeros(4, 1))

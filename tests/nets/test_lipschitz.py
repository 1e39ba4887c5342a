"""Contracting perceptrons: the bound holds, the derivative is right, the context is free."""

import pytest
import torch

from bijecta.errors import InputError, ShapeError
from bijecta.nets import LipschitzMLP, ParameterVector


def network(features=3, context=0, hidden=(8, 16), size=1.0, **settings):
    net = LipschitzMLP(features, context=context, hidden=hidden, **settings).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return net


@pytest.mark.parametrize("coefficient", [0.5, 0.97])
@pytest.mark.parametrize("size", [0.1, 1.0, 30.0])
def test_no_two_points_are_moved_apart_faster_than_the_bound(size, coefficient):
    net = network(size=size, coefficient=coefficient)
    x, y = torch.randn(2, 1000, 3).double() * 3
    assert ((net(x) - net(y)).norm(dim=-1) <= coefficient * (x - y).norm(dim=-1)).all()
    norms = torch.linalg.matrix_norm(net.linearise(x)[1].dense(), 2)
    assert norms.max() <= coefficient


def test_the_bound_is_nearly_used_up():
    """Far to the right only the first of a pair of activations moves, by 1 / (1.1 * 1.004): nothing else is lost."""
    net = network(1, hidden=(1,), size=0.0)
    with torch.no_grad():
        net.layers[0].weight.fill_(100.0)
        net.last.weight.copy_(torch.tensor([[100.0, 0.0]]))
    slope = net.linearise(torch.tensor([50.0]).double())[1].dense()
    assert 0.999 * 0.97 / (1.1 * 1.004) < float(slope.detach()) < 0.97 / (1.1 * 1.004)


def test_the_derivative_is_that_of_autograd():
    net, x = network(), torch.randn(5, 3).double()
    value, derivative = net.linearise(x)
    torch.testing.assert_close(value, net(x))
    expected = torch.stack([torch.autograd.functional.jacobian(net, row) for row in x])
    torch.testing.assert_close(derivative.dense(), expected)
    v = torch.randn(5, 3).double()
    torch.testing.assert_close(derivative.apply(v), (expected @ v[..., None])[..., 0])
    torch.testing.assert_close(derivative.apply_transposed(v), (expected.mT @ v[..., None])[..., 0])
    assert not any(slope.requires_grad for slope in derivative.detach().slopes)


def test_it_starts_at_zero_and_learns_from_there_in_float32():
    net, x = LipschitzMLP(3), torch.randn(5, 3)
    assert torch.equal(net(x), torch.zeros(5, 3))
    net(x).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters() if parameter.grad is not None)
    assert net.last.weight.grad.abs().sum() > 0


def test_the_context_moves_it():
    net, x = network(context=2), torch.randn(5, 3).double()
    first, second = (net(x, torch.randn(5, 2).double()) for _ in range(2))
    assert not torch.allclose(first, second)
    with pytest.raises(ShapeError, match=r"\(5, 2\).*none"):
        net(x)
    with pytest.raises(ShapeError, match=r"\(\*batch, 3\), got \(5, 4\)"):
        net(torch.zeros(5, 4).double())


@pytest.mark.parametrize("settings", [{"hidden": ()}, {"coefficient": 1.0}, {"coefficient": 0.0}])
def test_impossible_settings(settings):
    with pytest.raises(InputError, match="at least one hidden layer and a coefficient between 0 and 1"):
        LipschitzMLP(3, **settings)


def test_a_parameter_vector_starts_where_it_was_told_to():
    start = torch.tensor([1.0, -2.0])
    assert torch.equal(ParameterVector(start)(torch.zeros(4, 3)), start)
    vector = ParameterVector(start, context=2, hidden=(8,))
    assert torch.equal(vector(torch.zeros(4, 3), torch.randn(4, 2)), start.expand(4, 2))
    with pytest.raises(ShapeError, match=r"\(4, 2\).*none"):
        vector(torch.zeros(4, 3))

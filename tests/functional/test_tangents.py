"""Perceptrons with tangents against the full Jacobian of the same layers built from torch.nn."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from bijecta.functional.tangents import SMOOTH_ACTIVATIONS, perceptron_tangents

MODULES = {"tanh": nn.Tanh, "silu": nn.SiLU, "softplus": nn.Softplus}


def network(activation, widths):
    linears = [nn.Linear(a, b) for a, b in pairwise(widths)]
    layers = [layer for linear in linears for layer in (linear, MODULES[activation]())][:-1]
    return nn.Sequential(*layers).double()


@pytest.mark.parametrize("activation", MODULES)
@pytest.mark.parametrize("hidden", [(), (5,), (8, 3, 70)])
@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (0,)])
def test_values_and_tangents_are_those_of_the_jacobian(activation, hidden, batch):
    """Probes move the first two of four inputs; a probe is the same in all rows, or every row has its own."""
    net = network(activation, (4, *hidden, 3))
    inputs = torch.randn(*batch, 4, dtype=torch.float64)
    rows = inputs.reshape(-1, 4)
    jacobian = torch.func.vmap(torch.func.jacrev(net))(rows) if len(rows) else rows.new_empty(0, 3, 4)
    for shared in (False, True):
        probes = torch.randn(5, *((1,) * len(batch) if shared else batch), 2, dtype=torch.float64)
        values, tangents = perceptron_tangents(activation, inputs, probes, list(net.parameters()))
        expected = torch.einsum("nod,knd->kno", jacobian[..., :2], probes.expand(5, *batch, 2).reshape(5, -1, 2))
        torch.testing.assert_close(values, net(inputs))
        torch.testing.assert_close(tangents, expected.reshape(5, *batch, 3))


@pytest.mark.parametrize("shape", [(4,), (6, 4)])
def test_without_probes_there_are_values_only(shape):
    net, inputs = network("silu", (4, 8, 3)), torch.randn(shape, dtype=torch.float64)
    probes = inputs.new_empty(0, *shape[:-1], 2)
    values, tangents = perceptron_tangents("silu", inputs, probes, list(net.parameters()))
    torch.testing.assert_close(values, net(inputs))
    assert tangents.shape == (0, *shape[:-1], 3)


@pytest.mark.parametrize("name", SMOOTH_ACTIVATIONS)
def test_slopes_are_derivatives(name):
    a = torch.linspace(-30, 30, 101, dtype=torch.float64, requires_grad=True)
    value, slope = SMOOTH_ACTIVATIONS[name](a)
    torch.testing.assert_close(slope, torch.autograd.grad(value.sum(), a)[0])

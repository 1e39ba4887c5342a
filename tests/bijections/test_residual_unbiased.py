"""A hundred thousand estimates of a log-determinant, and of its gradient, against NumPy and autograd."""

import numpy as np
import pytest
import torch

from bijecta.bijections import ResidualBlock
from bijecta.nets import LipschitzMLP

ESTIMATES, PART = 100_000, 1000


def strong_block(features, terms):
    """A contraction whose last layer takes back what the first one does: no eigenvalue is close to zero by chance."""
    torch.manual_seed(1)
    net = LipschitzMLP(features, hidden=(2 * features,), coefficient=0.7).double()
    with torch.no_grad():
        weight = net.layers[0].weight
        net.last.weight.copy_(-torch.cat([weight.T, torch.zeros_like(weight.T)], 1))
    return ResidualBlock(net, estimate=True, exact_terms=terms)


def gradient(value, leaves):
    return torch.cat([part.flatten() for part in torch.autograd.grad(value, leaves, materialize_grads=True)])


@pytest.mark.slow
@pytest.mark.parametrize("terms", [2, 10])
@pytest.mark.parametrize("features", [2, 8, 32])
def test_estimates_and_their_gradients_are_within_three_standard_errors(features, terms):
    """With two terms for sure, the further ones matter: without them the estimate would be far off."""
    block = strong_block(features, terms)
    x = torch.randn(features).double().requires_grad_()
    leaves = [x, *block.parameters()]
    jacobian = torch.autograd.functional.jacobian(block.net, x, create_graph=True)
    matrix = jacobian.detach().numpy()
    exact = np.linalg.slogdet(np.eye(features) + matrix)[1]
    slope = gradient(torch.logdet(torch.eye(features) + jacobian), leaves)
    direction, values, slopes = slope / slope.norm(), [], []
    for _ in range(ESTIMATES // PART):
        ladj = block.forward_and_ladj(x.expand(PART, features))[1]
        values.append(ladj.detach())
        slopes.append(gradient(ladj.mean(), leaves) @ direction)
    values, slopes = torch.cat(values), torch.stack(slopes)
    error = float(values.std()) / ESTIMATES**0.5
    assert abs(float(values.mean()) - exact) < 3 * error
    assert abs(float(slopes.mean() - slope.norm())) < 3 * float(slopes.std()) / len(slopes) ** 0.5
    if terms == 2:
        assert abs(np.trace(matrix) - np.trace(matrix @ matrix) / 2 - exact) > 10 * error

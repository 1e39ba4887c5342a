"""A hundred thousand estimates of a log-determinant, and of its gradient, against NumPy and autograd."""

import numpy as np
import pytest
import torch

from residual_unbiased import ESTIMATES, PART, along, block


@pytest.mark.slow
@pytest.mark.parametrize("terms", [2, 10])
@pytest.mark.parametrize("features", [2, 8, 32])
def test_estimates_and_their_gradients_are_within_three_standard_errors(features, terms):
    """With two terms for sure, the further ones matter: without them the estimate would be far off."""
    made = block(features, terms)
    x = torch.randn(features).double().requires_grad_()
    leaves = [x, *made.parameters()]
    jacobian = torch.autograd.functional.jacobian(made.net, x, create_graph=True)
    matrix = jacobian.detach().numpy()
    exact = np.linalg.slogdet(np.eye(features) + matrix)[1]
    slope = along(torch.logdet(torch.eye(features) + jacobian), leaves)
    direction, values, slopes = slope / slope.norm(), [], []
    for _ in range(ESTIMATES // PART):
        ladj = made.forward_and_ladj(x.expand(PART, features))[1]
        values.append(ladj.detach())
        slopes.append(along(ladj.mean(), leaves, direction))
    values, slopes = torch.cat(values), torch.stack(slopes)
    error = float(values.std()) / ESTIMATES**0.5
    assert abs(float(values.mean()) - exact) < 3 * error
    assert abs(float(slopes.mean() - slope.norm())) < 3 * float(slopes.std()) / len(slopes) ** 0.5
    if terms == 2:
        assert abs(np.trace(matrix) - np.trace(matrix @ matrix) / 2 - exact) > 10 * error

"""Hand-written gradients against central differences and against automatic differentiation."""

import numpy as np
import pytest
import torch

from bijecta.reference.realnvp import Conditioner, start_realnvp
from bijecta.reference.realnvp_gradients import nll_and_gradients
from bijecta.reference.realnvp_training import flatten

FEATURES = [1, 2, 3, 5]


def random_flow(n_features, n_layers=3, n_hidden=5):
    generator = np.random.default_rng(n_features)
    x = generator.normal(size=(20, n_features)) * 2.0 + 1.0
    flow = start_realnvp(x, n_layers=n_layers, n_hidden=n_hidden, limit=1.5, generator=generator)
    for array in flatten(flow.layers):
        array += 0.5 * generator.normal(size=array.shape)
    return flow, x


def central_difference(flow, x, array, index, step=1e-4):
    """Fourth order: (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h."""
    start, values = array[index], []
    for multiple in (1, -1, 2, -2):
        array[index] = start + multiple * step
        values.append(-flow.log_prob(x).mean())
    array[index] = start
    return (8 * (values[0] - values[1]) - (values[2] - values[3])) / (12 * step)


@pytest.mark.parametrize("n_features", FEATURES)
def test_against_central_differences(n_features):
    flow, x = random_flow(n_features)
    _, gradients = nll_and_gradients(flow, x)
    for layer, layer_gradients in zip(flow.layers, gradients, strict=True):
        for name, array, gradient in zip(Conditioner._fields, layer, layer_gradients, strict=True):
            assert gradient.shape == array.shape
            numeric = np.zeros_like(array)
            for index in np.ndindex(array.shape):
                numeric[index] = central_difference(flow, x, array, index)
            error, size = np.linalg.norm(gradient - numeric), np.linalg.norm(numeric)
            assert error <= 1e-6 * size + 1e-11, (name, error, size)


def torch_nll(layers, flow, x):
    """The same loss in torch; a different spelling: masks multiply, nothing is cut out of x."""
    z = torch.as_tensor(x) * torch.as_tensor(flow.log_scale).exp() + torch.as_tensor(flow.shift)
    ladj = torch.as_tensor(flow.log_scale).sum() * torch.ones(len(x), dtype=torch.float64)
    for (W1, b1, W2, b2, W3, b3), keep in zip(layers, flow.masks, strict=True):
        hidden = torch.tanh(torch.tanh(z[:, keep] @ W1 + b1) @ W2 + b2)
        a, shift = (hidden @ W3 + b3).chunk(2, dim=1)
        place = torch.eye(z.shape[1], dtype=torch.float64)[~keep]  # (n_moved, D): puts features where they belong
        log_scale = (flow.limit * torch.tanh(a / flow.limit)) @ place
        z = z * log_scale.exp() + shift @ place
        ladj = ladj + log_scale.sum(1)
    normal = torch.distributions.Normal(torch.tensor(0.0, dtype=torch.float64), 1.0)
    return -(normal.log_prob(z).sum(1) + ladj).mean()


@pytest.mark.parametrize("n_features", FEATURES)
def test_against_autograd(n_features):
    flow, x = random_flow(n_features, n_layers=5, n_hidden=16)
    nll, gradients = nll_and_gradients(flow, x)
    layers = [[torch.tensor(array, requires_grad=True) for array in layer] for layer in flow.layers]
    expected_nll = torch_nll(layers, flow, x)
    expected = torch.autograd.grad(expected_nll, [tensor for layer in layers for tensor in layer])
    np.testing.assert_allclose(nll, expected_nll.item(), rtol=1e-13)
    np.testing.assert_allclose(nll, -flow.log_prob(x).mean(), rtol=1e-13)
    for gradient, tensor in zip(flatten(gradients), expected, strict=True):
        np.testing.assert_allclose(gradient, tensor.numpy(), rtol=1e-10, atol=1e-13)


def test_the_batch_gradient_is_the_mean_over_points():
    flow, x = random_flow(3)
    whole = flatten(nll_and_gradients(flow, x)[1])
    singles = [flatten(nll_and_gradients(flow, point[None])[1]) for point in x]
    for gradient, parts in zip(whole, zip(*singles, strict=True), strict=True):
        np.testing.assert_allclose(gradient, np.mean(parts, axis=0), rtol=1e-10, atol=1e-14)

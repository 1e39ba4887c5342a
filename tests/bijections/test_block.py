"""Block neural autoregressive maps against dense NumPy matrices, and far outside of where tanh is saturated."""

import numpy as np
import pytest
import torch

from bijecta.bijections import BlockAutoregressive
from bijecta.errors import InputError, ShapeError
from bijecta.reference.block import BlockLayer, block_autoregressive


def perturbed(features: int, hidden: tuple[int, ...], context: int = 0) -> BlockAutoregressive:
    bijection = BlockAutoregressive(features, context=context, hidden=hidden).double()
    with torch.no_grad():
        for parameter in bijection.parameters():
            parameter.add_(torch.randn_like(parameter))
    return bijection


def as_arrays(bijection: BlockAutoregressive) -> list[BlockLayer]:
    """Read the weights of the map for the reference: whole matrices where the layers hold the part that may differ."""
    layers = []
    for number, layer in enumerate(bijection.layers):
        out, seen = layer.out_units, layer.in_units
        weight = np.zeros((bijection.features * out, bijection.features * seen))
        weight[out:, : weight.shape[1] - seen] = (layer.mask * layer.weight).detach().numpy()
        units = bijection.units[number] if number < len(bijection.units) else None
        settings = [p.detach().numpy() for p in units.parameters()] if units else [np.zeros(0)] * 3
        layers.append(BlockLayer(layer.averages().detach().numpy(), weight, *settings))
    return layers


@pytest.mark.parametrize(("features", "hidden"), [(1, (3,)), (2, (4,)), (3, (3, 5)), (5, (2, 3, 2))])
def test_agrees_with_dense_matrices(features, hidden):
    bijection = perturbed(features, hidden)
    x = 2 * torch.randn(6, features, dtype=torch.float64)
    z, ladj = bijection.forward_and_ladj(x)
    scale, shift = bijection.log_scale.detach().numpy(), bijection.shift.detach().numpy()
    for row in range(6):
        expected, expected_ladj = block_autoregressive(x[row].numpy(), as_arrays(bijection), scale, shift)
        np.testing.assert_allclose(z[row].detach().numpy(), expected, rtol=1e-10, atol=1e-10)
        assert ladj[row].item() == pytest.approx(expected_ladj, abs=1e-9)


def test_a_feature_sees_itself_and_those_before():
    bijection = perturbed(4, (3, 3))
    jacobian = torch.autograd.functional.jacobian(bijection.forward, torch.randn(4, dtype=torch.float64))
    assert torch.equal(jacobian.triu(1), torch.zeros(4, 4).double())
    assert (jacobian.diagonal() > 0).all()
    assert (jacobian[torch.ones(4, 4).tril(-1).bool()] != 0).all()


@pytest.mark.parametrize("size", [12.0, -20.0, 50.0, 1e6])
def test_the_image_is_the_whole_line(size):
    """Networks of plain tanh are bounded: most of the line would have no preimage."""
    bijection = perturbed(2, (4, 4))
    z = torch.full((5, 2), size, dtype=torch.float64)
    x = bijection.inverse(z)
    torch.testing.assert_close(bijection.forward(x), z, rtol=1e-10, atol=1e-10)


def test_starts_as_the_identity_with_a_gradient_for_every_parameter():
    bijection = BlockAutoregressive(3, context=2, hidden=(4, 4)).double()
    x, context = torch.randn(64, 3).double(), torch.randn(64, 2).double()
    z, ladj = bijection.forward_and_ladj(x, context)
    torch.testing.assert_close(z, x)
    torch.testing.assert_close(ladj, torch.zeros(64).double(), rtol=0, atol=1e-12)
    (z**3 / 3 + z * context[:, :1] - ladj[:, None]).sum().backward()
    # Weighted means of units that are all the same numbers so far, and layers behind an output layer of zeros.
    waiting = [name for name, p in bijection.named_parameters() if not p.grad.abs().sum() > 0]
    assert all(".logits" in name or ".layers." in name or "log_scale" in name or "centre" in name for name in waiting)


def test_without_a_hidden_layer_there_is_a_simpler_map():
    with pytest.raises(InputError, match=r"at least one hidden layer.*LULinear"):
        BlockAutoregressive(2, hidden=())


def test_events_of_another_size_are_an_error():
    for direction in ("forward", "inverse"):
        with pytest.raises(ShapeError, match=r"shape \(3\).*\(5, 2\)"):
            getattr(BlockAutoregressive(3), direction)(torch.zeros(5, 2))

"""The unmasked networks: outputs, contexts, angles, and errors that show both shapes."""

import math

import numpy as np
import pytest
import torch

from bijecta.errors import InputError, ShapeError
from bijecta.nets import MLP, ContextScaler, ConvNet, SeparateMLPs
from bijecta.nets.inputs import CircularEmbedding, check_context


def randomised(net: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return net.double()


ACTIVATIONS = {
    "relu": lambda a: np.maximum(a, 0),
    "tanh": np.tanh,
    "silu": lambda a: a / (1 + np.exp(-a)),
    "gelu": lambda a: 0.5 * a * (1 + np.vectorize(math.erf)(a / math.sqrt(2))),
    "elu": lambda a: np.where(a > 0, a, np.expm1(a)),
}


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp_is_its_formula(activation, residual):
    net = randomised(MLP(3, 4, context=2, hidden=(6, 6, 5), activation=activation, residual=residual))
    x, context = torch.randn(7, 3).double(), torch.randn(7, 2).double()
    h = np.concatenate([x.numpy(), context.numpy()], -1)
    for number, layer in enumerate(net.layers):
        update = ACTIVATIONS[activation](h @ layer.weight.detach().numpy().T + layer.bias.detach().numpy())
        h = h + update if residual and number == 1 else update
    expected = h @ net.last.weight.detach().numpy().T + net.last.bias.detach().numpy()
    np.testing.assert_allclose(net(x, context).detach().numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("net", [MLP(2, 3), SeparateMLPs(2, 3, 1), ConvNet(2, 3)], ids=lambda net: type(net).__name__)
def test_outputs_are_zero_at_the_start(net):
    x = torch.randn(5, 2, 4, 4) if isinstance(net, ConvNet) else torch.randn(5, 2)
    assert net(x).abs().max() == 0


def test_mlp_without_features_sees_only_its_context():
    net = randomised(MLP(0, 3, context=2))
    assert net(torch.zeros(4, 0).double(), torch.randn(4, 2).double()).shape == (4, 3)
    assert randomised(MLP(0, 3))(torch.zeros(4, 0).double()).shape == (4, 3)


def test_separate_networks_do_not_share_what_they_compute():
    net = randomised(SeparateMLPs(3, transformed=4, n_params=2))
    x = torch.randn(5, 3).double()
    out = net(x).unflatten(-1, (4, 2))
    for kind in range(2):
        torch.testing.assert_close(out[..., kind], net.nets[kind](x))


def test_conv_net_is_local_and_takes_any_batch():
    net = randomised(ConvNet(1, 2, hidden=3))
    x = torch.zeros(1, 9, 9).double()
    spot = x.clone()
    spot[0, 4, 4] = 1.0
    changed = (net(spot) != net(x)).any(0)
    assert changed.nonzero().amin() >= 2
    assert changed.nonzero().amax() <= 6
    assert net(torch.zeros(2, 3, 1, 9, 9).double()).shape == (2, 3, 2, 9, 9)
    assert net(torch.zeros(0, 1, 9, 9).double()).shape == (0, 2, 9, 9)


def test_conv_net_adds_its_context_at_every_pixel():
    net = randomised(ConvNet(1, 2, context=3, hidden=4))
    image = torch.zeros(5, 1, 6, 6).double()
    out = net(image, torch.randn(5, 3).double())
    interior = out[..., 2:-2, 2:-2].flatten(-2)
    torch.testing.assert_close(interior, interior[..., :1].expand_as(interior))
    assert not torch.allclose(out[0], out[1])


def test_angles_mean_the_same_modulo_a_full_turn():
    net = randomised(MLP(2, 3, circular=[True, False]))
    x = torch.tensor([[math.pi, 0.4], [-math.pi, 0.4], [3 * math.pi, 0.4]]).double()
    torch.testing.assert_close(net(x), net(x[:1]).expand(3, 3), atol=1e-6, rtol=1e-6)
    assert not torch.allclose(net(x), net(x + torch.tensor([0.0, 2 * math.pi]).double()))


def test_circular_embedding_keeps_other_numbers():
    embedding = CircularEmbedding([False, True])
    out = embedding(torch.tensor([7.0, math.pi / 2]))
    torch.testing.assert_close(out, torch.tensor([7.0, 0.0, 0.0, 1.0]), atol=1e-6, rtol=0)
    assert embedding.width == 2
    assert CircularEmbedding([False, False]).width == 1


def test_context_scaler_standardises_and_centres_what_does_not_vary():
    scaler = ContextScaler(2).double()
    context = torch.stack([torch.randn(50) * 1e4 + 3e5, torch.full((50,), 0.1)], -1).double()
    scaler.initialise(context)
    scaled = scaler(context)
    torch.testing.assert_close(scaled[:, 0].mean().abs() < 1e-9, torch.tensor(True))
    torch.testing.assert_close(scaled[:, 0].std(correction=0), torch.tensor(1.0).double())
    torch.testing.assert_close(scaled[:, 1], torch.zeros(50).double(), atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("shape", "batch"),
    [((4, 2), (4,)), ((2,), (4,)), ((1, 2), (4,)), ((3, 2), (5, 3)), ((5, 1, 2), (5, 3)), ((2,), ()), ((0, 2), (0,))],
    ids=str,
)
def test_contexts_are_broadcast_to_the_batch(shape, batch):
    assert check_context(torch.zeros(shape), 2, torch.Size(batch)).shape == (*batch, 2)


@pytest.mark.parametrize(
    ("shape", "batch"), [((4, 3), (4,)), ((5, 2), (4,)), ((4, 2), ()), ((2, 4, 2), (4,)), ((), ())], ids=str
)
def test_contexts_that_do_not_fit_are_refused_with_both_shapes(shape, batch):
    with pytest.raises(ShapeError) as error:
        check_context(torch.zeros(shape), 2, torch.Size(batch))
    assert str((*batch, 2)) in str(error.value)
    assert str(shape) in str(error.value)


def test_wrong_features_and_unknown_activations():
    with pytest.raises(ShapeError, match=r"\(\*batch, 3\), got \(5, 4\)"):
        MLP(3, 1)(torch.zeros(5, 4))
    with pytest.raises(ShapeError, match=r"\(\*batch, 3\), got \(\)"):
        MLP(3, 1)(torch.tensor(1.0))
    for make in (lambda: MLP(1, 1, activation="swish"), lambda: ConvNet(1, 1, activation="swish")):
        with pytest.raises(InputError, match=r"relu, tanh, silu, gelu, elu, got 'swish'"):
            make()


@pytest.mark.parametrize("features", [1, 16, 400])
def test_weights_start_with_the_variance_that_keeps_a_sum_of_order_one(features):
    layer = MLP(features, 1, hidden=(4000 // features + 500,)).layers[0]
    assert float(layer.weight.detach().var(correction=0)) == pytest.approx(1 / features, rel=0.1)

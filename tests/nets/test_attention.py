"""The causal transformer against torch's own attention, and its cache against passes without one."""

import pytest
import torch

from bijecta.errors import InputError, ShapeError
from bijecta.nets import CausalTransformer
from bijecta.nets.attention import AttentionLayer


def moved(net: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    for parameter in net.double().parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return net


def test_the_layer_is_that_of_torch():
    layer = moved(AttentionLayer(8, 2, 16))
    oracle = torch.nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True, norm_first=True).double()
    key_value = layer.key_value.weight
    with torch.no_grad():
        oracle.self_attn.in_proj_weight.copy_(torch.cat([layer.query.weight, key_value]))
        oracle.self_attn.in_proj_bias.zero_()
        for theirs, ours in (
            (oracle.self_attn.out_proj, layer.mix),
            (oracle.linear1, layer.rise),
            (oracle.linear2, layer.fall),
        ):
            theirs.load_state_dict(ours.state_dict())
    h = torch.randn(3, 5, 8).double()
    mask = torch.nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    torch.testing.assert_close(layer(h), oracle(h, src_mask=mask))


@pytest.mark.parametrize("context", [0, 2])
def test_a_token_answers_to_those_before_it_and_the_context(context):
    net = moved(CausalTransformer(4, 2, 3, context=context, width=8, heads=2, hidden=(8, 8)))
    x, c = torch.randn(4, 2).double(), torch.randn(context).double() if context else None
    matrix = torch.autograd.functional.jacobian(lambda x: net(x, c), x).abs().sum((1, 3))
    assert torch.equal(matrix > 0, torch.ones(4, 4).tril(-1).bool())
    if context:
        assert (torch.autograd.functional.jacobian(lambda c: net(x, c), c).abs().sum((1, 2)) > 0).all()


@pytest.mark.parametrize("gradients", [True, False])
def test_the_cache_gives_what_whole_passes_give(gradients):
    """Token by token, each time through the whole network: the slow way, which needs no cache."""
    net = moved(CausalTransformer(5, 2, 2, context=1, width=8, heads=2, hidden=(8, 8)))
    noise, context = torch.randn(3, 5, 2).double(), torch.randn(3, 1).double()
    with torch.set_grad_enabled(gradients):
        quick = net.solve(lambda t, outputs: outputs + noise[:, t], torch.Size([3]), context)
        slow = torch.zeros(3, 5, 2).double()
        for t in range(5):
            slow = slow.index_copy(-2, torch.tensor([t]), (net(slow, context)[:, t] + noise[:, t])[:, None])
    torch.testing.assert_close(quick, slow)
    assert quick.requires_grad == gradients


def test_the_work_of_sampling_grows_as_that_of_one_pass():
    """Rows that go through a perceptron: one per token with a cache, and T per token without."""
    net, seen = CausalTransformer(7, 1, 1, width=8, heads=2, hidden=(8, 8)), []
    for layer in net.layers:
        layer.rise.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].numel() // 8))
    net.solve(lambda _, outputs: outputs, torch.Size([]))
    assert sum(seen) == 7 * 2


def test_what_does_not_fit_is_said():
    with pytest.raises(InputError, match="divide the width 8, got 3"):
        CausalTransformer(2, 1, 1, width=8, heads=3)
    with pytest.raises(ShapeError, match=r"\(\*batch, 2, 1\), got \(4, 3, 1\)"):
        CausalTransformer(2, 1, 1)(torch.zeros(4, 3, 1))

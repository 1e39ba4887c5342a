"""Networks of sets: outputs that follow their objects, and an average written out in NumPy."""

import numpy as np
import pytest
import torch

from bijecta.errors import ShapeError
from bijecta.nets import DeepSets


def moved(context=0, hidden=(8, 8)):
    torch.manual_seed(0)
    net = DeepSets(2, 3, context=context, hidden=hidden, activation="tanh").double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    return net


@pytest.mark.parametrize("context", [0, 2])
def test_outputs_follow_their_objects(context):
    net, order = moved(context), torch.randperm(5)
    x, c = torch.randn(4, 2, 5, 1).double(), torch.randn(4, context).double() if context else None
    out = net(x, c)
    torch.testing.assert_close(net(x[:, :, order], c), out[:, :, order])
    assert not torch.allclose(out[:, :, order], out)


def test_every_output_depends_on_every_object_and_on_the_context():
    net, x, c = moved(2), torch.randn(2, 4, 1).double(), torch.randn(2).double()
    of_objects, of_context = torch.autograd.functional.jacobian(net, (x, c))
    assert (of_objects.abs() > 0).all()
    assert (of_context.abs() > 0).all()


def test_one_hidden_layer_in_numpy():
    net, x = moved(hidden=(8,)), np.random.default_rng(0).normal(size=(4, 2))
    value = {name: parameter.detach().numpy() for name, parameter in net.named_parameters()}
    h = np.tanh(x @ value["alone.0.weight"].T + x.mean(0) @ value["together.0.weight"].T + value["alone.0.bias"])
    expected = h @ value["last.weight"].T + h.mean(0) @ value["last_together.weight"].T
    expected += value["last.bias"] + value["last_together.bias"]
    found = net(torch.from_numpy(x.T).unsqueeze(-1)).squeeze(-1).mT
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-12)


def test_it_starts_at_zero_for_any_batch():
    net = DeepSets(2, 3)
    for batch in ((), (3,), (3, 7), (0,)):
        assert torch.equal(net(torch.randn(*batch, 2, 4, 1)), torch.zeros(*batch, 3, 4, 1))


def test_a_missing_context_is_an_error():
    with pytest.raises(ShapeError, match=r"\(3, 2\), got none"):
        DeepSets(2, 3, context=2)(torch.zeros(3, 2, 4, 1))

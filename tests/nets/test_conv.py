"""Where a convolutional conditioner is, and images that it sees beside its own."""

import pytest
import torch
from torch import nn

from bijecta.errors import ShapeError
from bijecta.nets import ConvNet, ConvNetBeside


def randomised(net: nn.Module) -> nn.Module:
    for parameter in net.double().parameters():
        nn.init.normal_(parameter, std=0.5)
    return net


def test_a_net_with_a_size_knows_where_it_is():
    """Behind convolutions alone, a constant image gives the same numbers at every pixel whose patch is inside."""
    constant = torch.ones(2, 9, 9).double()
    without, within = (randomised(ConvNet(2, 3, hidden=4, size=size)) for size in (None, (9, 9)))
    inside = without(constant)[:, 2:-2, 2:-2].flatten(-2)
    torch.testing.assert_close(inside, inside[:, :1].expand_as(inside))
    assert (within(constant)[:, 2:-2, 2:-2].flatten(-2).std(-1) > 0.1).all()


def test_the_second_image_is_seen_where_it_is():
    net = randomised(ConvNetBeside(1, 2, beside=(1, 9, 9), hidden=3))
    x, spot = torch.randn(1, 9, 9).double(), torch.zeros(1, 9, 9).double()
    spot[0, 4, 4] = 1.0
    changed = (net(x, spot.flatten()) != net(x, torch.zeros(81).double())).any(0)
    assert changed[4, 4]
    assert changed.nonzero().amin() >= 2
    assert changed.nonzero().amax() <= 6


def test_a_net_beside_an_image_takes_any_batch_and_checks_its_context():
    net = randomised(ConvNetBeside(1, 2, beside=(3, 2, 2), hidden=3))
    assert net(torch.zeros(4, 5, 1, 2, 2).double(), torch.zeros(5, 12).double()).shape == (4, 5, 2, 2, 2)
    assert net(torch.zeros(0, 1, 2, 2).double(), torch.zeros(0, 12).double()).shape == (0, 2, 2, 2)
    for context, message in ((None, "conditional"), (torch.zeros(5, 8), r"\(5, 12\).*\(5, 8\)")):
        with pytest.raises(ShapeError, match=message):
            net(torch.zeros(5, 1, 2, 2).double(), context)

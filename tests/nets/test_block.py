"""The layers of block neural autoregressive flows."""

import torch

from bijecta.nets import BlockLinear, LeakyTanh


def test_one_feature_at_a_time_equals_all_at_once():
    layer = BlockLinear(4, in_units=3, out_units=2, context=2).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    g, context = torch.randn(5, 4, 3).double(), torch.randn(5, 2).double()
    together = layer.offsets(g, context)
    for feature in range(4):
        alone = layer.offset(feature, g[:, :feature], context)
        torch.testing.assert_close(alone, together[:, feature : feature + 1])


def test_averages_are_weights_of_a_mean():
    averages = BlockLinear(3, in_units=4, out_units=2).averages()
    assert (averages > 0).all()
    torch.testing.assert_close(averages.sum(-1), torch.ones(3, 2))


def test_a_unit_is_increasing_with_the_slope_it_says_and_starts_as_the_identity():
    units = LeakyTanh(2, 5).double()
    s = (3 * torch.randn(7, 2, 5, dtype=torch.float64)).requires_grad_()
    torch.testing.assert_close(units(s)[0], s)
    torch.nn.init.normal_(units.mixing, std=3.0)
    y, slope, bent = units(s)
    torch.testing.assert_close(slope, torch.autograd.grad(y.sum(), s)[0])
    assert slope.min() >= 0.05
    assert slope.max() <= 1.95
    assert bent.abs().max() <= 1

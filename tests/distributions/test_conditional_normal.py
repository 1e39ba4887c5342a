"""The normal base of classes against torch.distributions."""

import pytest
import torch
from torch import nn

from bijecta.distributions import ConditionalNormal, DiagonalNormal
from bijecta.errors import ShapeError


def of_classes() -> ConditionalNormal:
    torch.manual_seed(0)
    base = ConditionalNormal(2, context=3).double()
    for parameter in base.parameters():
        nn.init.normal_(parameter, std=0.5)
    return base


def test_every_class_has_a_normal_of_its_own():
    base, x = of_classes(), torch.randn(50, 2).double()
    for number in range(3):
        moments = base.start + base.slope[:, number]
        oracle = torch.distributions.Normal(moments[:2], moments[2:].exp())
        expected = oracle.log_prob(x).sum(-1)
        torch.testing.assert_close(base.log_prob(x, torch.eye(3).double()[number]), expected)


def test_samples_have_the_mean_and_spread_of_their_class():
    base, classes = of_classes(), torch.eye(3).double()
    x = base.sample(40_000, classes, generator=torch.Generator().manual_seed(1))
    mean, log_scale = base.mean_and_log_scale(classes)
    torch.testing.assert_close(x.mean(0), mean, atol=0.04, rtol=0)
    torch.testing.assert_close(x.std(0), log_scale.exp(), atol=0, rtol=0.02)


def test_it_starts_as_the_diagonal_normal():
    x = 3 + 2 * torch.randn(500, 2).double()
    base, diagonal = ConditionalNormal(2, context=3).double(), DiagonalNormal(2).double()
    base.initialise(x)
    diagonal.initialise(x)
    torch.testing.assert_close(base.log_prob(x, torch.randn(500, 3).double()), diagonal.log_prob(x))


def test_a_missing_or_misshapen_context_is_an_error():
    with pytest.raises(ShapeError, match="conditional"):
        of_classes().sample(5)
    with pytest.raises(ShapeError, match=r"\(4, 3\).*\(4, 2\)"):
        of_classes().log_prob(torch.zeros(4, 2).double(), torch.zeros(4, 2).double())

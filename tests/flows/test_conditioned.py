"""A flow as a torch distribution: laws of torch.distributions, against densities that torch computes itself."""

import pytest
import torch
from torch import distributions as td
from torch.distributions import constraints

from bijecta.bijections import Affine
from bijecta.data import Column, Schema
from bijecta.distributions import Normal
from bijecta.errors import InputError, ShapeError
from bijecta.flows import Flow, circular_nsf, glow_image, nsf, realnvp, table


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def shaken(flow):
    """Give a fresh flow, which is the identity, weights that do something."""
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return flow


@pytest.fixture
def conditional():
    return shaken(realnvp(2, context=3, layers=2))


@pytest.mark.parametrize("batch", [(), (5,), (3, 7)])
def test_shapes_follow_the_context(conditional, batch):
    context = torch.randn(*batch, 3)
    distribution = conditional.condition(context)
    assert distribution.batch_shape == batch
    assert distribution.event_shape == (2,)
    x = distribution.sample((4, 2))
    assert x.shape == (4, 2, *batch, 2)
    assert not x.requires_grad
    assert distribution.log_prob(x).shape == (4, 2, *batch)
    torch.testing.assert_close(distribution.log_prob(x)[1, 0], conditional.log_prob(x[1, 0], context))


def test_one_point_meets_all_contexts(conditional):
    context = torch.randn(5, 3)
    together = conditional.condition(context).log_prob(torch.zeros(2))
    torch.testing.assert_close(together, torch.stack([conditional.log_prob(torch.zeros(2), c) for c in context]))


def test_a_known_density():
    mean, spread = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    ours = Flow(Affine(mean, spread), Normal(2), event_shape=(2,)).condition()
    exact = td.Independent(td.Normal(mean, spread), 1)
    x = exact.sample((100,))
    torch.testing.assert_close(ours.log_prob(x), exact.log_prob(x))
    # The Monte-Carlo divergence of one from the other, in both directions, vanishes.
    for p, q in ((ours, exact), (exact, ours)):
        points = p.sample((1000,))
        assert (p.log_prob(points) - q.log_prob(points)).mean().abs() < 1e-5
    torch.testing.assert_close(ours.sample((50_000,)).mean(0), mean, atol=0.05, rtol=0)


@pytest.mark.parametrize("context", [None, torch.zeros(1, 3)])
def test_expand_gives_independent_entries(context, conditional):
    flow = shaken(realnvp(2, layers=2)) if context is None else conditional
    wide = flow.condition(context).expand((6, 4))
    x = wide.rsample((3,))
    assert x.shape == (3, 6, 4, 2)
    assert len(x.reshape(-1, 2).unique(dim=0)) == 72
    assert wide.log_prob(x).shape == (3, 6, 4)
    torch.testing.assert_close(wide.log_prob(x[0, 0, 0])[5, 3], flow.condition(context).log_prob(x[0, 0, 0]).squeeze())


def test_gradients_reach_weights_and_context(conditional):
    context = torch.randn(5, 3, requires_grad=True)
    conditional.condition(context).rsample((10,)).square().sum().backward()
    assert context.grad.abs().sum() > 0
    assert sum(p.grad.abs().sum() for p in conditional.parameters() if p.grad is not None) > 0


def test_bases_that_choose_have_no_rsample():
    distribution = nsf(2, base="mixture").condition()
    assert not distribution.has_rsample
    with pytest.raises(NotImplementedError, match=r"GaussianMixture.*sample\(\)"):
        distribution.rsample()
    assert distribution.sample((3,)).shape == (3, 2)
    assert all(nsf(2, base=base).condition().has_rsample for base in ("normal", "diagonal", "student"))
    assert circular_nsf(2, circular=[True, False]).condition().has_rsample


def test_transformed_and_independent(conditional):
    base = conditional.condition(torch.randn(5, 3))
    positive = td.TransformedDistribution(base, [td.ExpTransform()])
    x = positive.sample((3,))
    assert (x > 0).all()
    torch.testing.assert_close(positive.log_prob(x), base.log_prob(x.log()) - x.log().sum(-1))
    joint = td.Independent(base, 1)
    assert joint.event_shape == (5, 2)
    torch.testing.assert_close(joint.log_prob(x), base.log_prob(x).sum(-1))


def test_the_support_is_that_of_the_columns():
    columns = (Column("m", "positive", low=1.0), Column("phi", "periodic", low=0.0, high=360.0), Column("x", "real"))
    distribution = table(Schema(columns).to_json()).condition(validate_args=True)
    inside = torch.tensor([[1.5, 180.0, -7.0]])
    outside = torch.tensor([[0.5, 180.0, -7.0], [1.5, 400.0, -7.0]])
    assert distribution.support.check(inside).tolist() == [True]
    assert distribution.support.check(outside).tolist() == [False, False]
    assert distribution.support.check(td.biject_to(distribution.support)(5 * torch.randn(100, 3))).all()
    assert distribution.log_prob(distribution.sample((1000,))).isfinite().all()
    with pytest.raises(ValueError, match="support"):
        distribution.log_prob(outside)
    unbounded = realnvp(2).condition().support
    assert unbounded.event_dim == 1
    assert unbounded.base_constraint is constraints.real


def test_validation_can_be_switched_off():
    broken = torch.tensor([torch.nan, 0.0])
    # Said explicitly: the default is torch's, which other libraries switch off for the whole process.
    with pytest.raises(ValueError, match="support"):
        realnvp(2).condition(validate_args=True).log_prob(broken)
    assert realnvp(2).condition(validate_args=False).expand((3,)).log_prob(broken).isnan().all()


def test_images():
    distribution = glow_image([1, 4, 4], levels=1, steps=1, hidden=4).condition().expand((2,))
    assert distribution.log_prob(distribution.sample((3,))).shape == (3, 2)


def test_what_does_not_fit_is_refused(conditional):
    with pytest.raises(ShapeError, match="expects a context"):
        conditional.condition()
    with pytest.raises(ShapeError, match=r"\(5, 3\)"):
        conditional.condition(torch.zeros(5, 2))
    with pytest.raises(InputError, match="unconditional"):
        realnvp(2).condition(torch.zeros(5, 3))
    with pytest.raises(InputError, match="event_shape"):
        Flow(Affine(torch.zeros(2), torch.ones(2)), Normal(2)).condition()

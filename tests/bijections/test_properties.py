"""Random inputs and parameters, found by hypothesis: round trips and ladj of every univariate and every host."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bijecta.bijections import Autoregressive, Coupling, Elementwise
from bijecta.nets import MLP, MaskedMLP
from contract.table import UNIVARIATES

number = st.floats(-1e3, 1e3, width=32)
parameter = st.floats(-8, 8, width=32)
every_univariate = pytest.mark.parametrize("name", UNIVARIATES)
quick = settings(max_examples=40, deadline=None)


def close(back: torch.Tensor, x: torch.Tensor, slope: torch.Tensor) -> None:
    """An inverse cannot be better than rounding divided by the slope."""
    allowed = 1e-9 + 1e3 * torch.finfo(torch.float64).eps * (1 + x.abs()) * (1 + slope.reciprocal() + slope)
    assert ((back - x).abs() <= allowed).all()


@every_univariate
@quick
@given(data=st.data())
def test_univariate(name, data):
    univariate = UNIVARIATES[name]()
    x = torch.tensor([data.draw(number), data.draw(st.floats(-2, 2))], dtype=torch.float64, requires_grad=True)
    drawn = data.draw(st.lists(parameter, min_size=univariate.n_params, max_size=univariate.n_params))
    params = torch.tensor(drawn, dtype=torch.float64)
    z, ladj = univariate.forward_and_ladj(x, params.expand(2, -1))
    back, ladj_back = univariate.inverse_and_ladj(z, params.expand(2, -1))
    slope = ladj.exp()
    close(back, x, slope)
    # At a knot of a linear spline the slope jumps: rounding decides on which side the inverse arrives.
    if name != "linear_spline":
        assert ((ladj + ladj_back).abs() <= 1e-6 * (1 + slope + slope.reciprocal())).all()
    (gradient,) = torch.autograd.grad(z.sum(), x)
    torch.testing.assert_close(gradient.log(), ladj, atol=1e-7, rtol=1e-7)


@every_univariate
@quick
@given(data=st.data())
def test_univariate_is_strictly_increasing(name, data):
    univariate = UNIVARIATES[name]()
    drawn = data.draw(st.lists(parameter, min_size=univariate.n_params, max_size=univariate.n_params))
    x = torch.linspace(-2.5, 2.5, 201, dtype=torch.float64)[:, None]
    z, _ = univariate.forward_and_ladj(x, torch.tensor(drawn, dtype=torch.float64).expand(201, 1, -1))
    assert (z[1:] > z[:-1]).all()


@every_univariate
@quick
@given(data=st.data())
def test_ladj_integrates_to_the_length_of_the_image(name, data):
    """Change of measure without autograd: the integral of |dz/dx| is the length of what it maps to."""
    univariate = UNIVARIATES[name]()
    gentle = st.floats(-2, 2, width=32)
    drawn = data.draw(st.lists(gentle, min_size=univariate.n_params, max_size=univariate.n_params))
    params = torch.tensor(drawn, dtype=torch.float64)
    edges = torch.linspace(-3, 3, 20_001, dtype=torch.float64)
    middle = ((edges[1:] + edges[:-1]) / 2)[:, None]
    _, ladj = univariate.forward_and_ladj(middle, params.expand(20_000, 1, -1))
    ends, _ = univariate.forward_and_ladj(edges[[0, -1], None], params.expand(2, 1, -1))
    total = ladj.exp().sum() * (edges[1] - edges[0])
    torch.testing.assert_close(total, ends[1, 0] - ends[0, 0], atol=2e-3, rtol=2e-3)


@every_univariate
@pytest.mark.parametrize("host", ["elementwise", "coupling", "autoregressive"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), features=st.integers(1, 6), context=st.integers(0, 2))
def test_hosts(host, name, seed, features, context):
    torch.manual_seed(seed)
    univariate = UNIVARIATES[name]()
    mask = (torch.rand(features) < 0.5).tolist()
    mask[seed % features] = True
    if host == "elementwise":
        net = MLP(0, features * univariate.n_params, context=context, hidden=(6,))
        layer = Elementwise(univariate, features, net)
    elif host == "coupling":
        net = MLP(features - sum(mask), sum(mask) * univariate.n_params, context=context, hidden=(6,))
        layer = Coupling(univariate, mask, net)
    else:
        order = torch.randperm(features).tolist()
        layer = Autoregressive(univariate, MaskedMLP(features, univariate.n_params, context=context, order=order))
    layer = layer.double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(5, features).double()
    c = torch.randn(5, context).double() if context else None
    z, ladj = layer.forward_and_ladj(x, c)
    back, ladj_back = layer.inverse_and_ladj(z, c)
    torch.testing.assert_close(back, x, atol=1e-7, rtol=1e-7)
    torch.testing.assert_close(ladj_back, -ladj, atol=1e-6, rtol=1e-6)
    matrix = torch.autograd.functional.jacobian(lambda x: layer.forward(x, None if c is None else c[0]), x[0])
    torch.testing.assert_close(torch.linalg.slogdet(matrix).logabsdet, ladj[0], atol=1e-8, rtol=1e-8)
    if host == "elementwise":
        assert torch.equal(matrix, matrix.diagonal().diag())
    if host == "coupling":
        kept = ~torch.tensor(mask)
        assert torch.equal(z[:, kept], x[:, kept])

"""Bernstein, SumOfSquares, NeuralMonotone, UnconstrainedMonotone: settings, hosts, and what the peers get wrong."""

import pytest
import torch

from bijecta.bijections import (
    Autoregressive,
    Bernstein,
    Coupling,
    Elementwise,
    NeuralMonotone,
    SumOfSquares,
    UnconstrainedMonotone,
)
from bijecta.errors import InputError
from bijecta.nets import MLP, MaskedMLP

MAKERS = {
    "bernstein": lambda: Bernstein(8, 4.0, 2.0),
    "sum of squares": lambda: SumOfSquares(3, 2, 4.0),
    "neural": lambda: NeuralMonotone(5, 4.0, 2.0),
    "unconstrained": lambda: UnconstrainedMonotone(5, 32, 4.0),
}

every_map = pytest.mark.parametrize("name", MAKERS)


@every_map
@pytest.mark.parametrize("batch", [(), (4,), (3, 4)], ids=str)
def test_round_trip_and_autograd(name, batch):
    univariate = MAKERS[name]()
    x = (3 * torch.randn(*batch, 2, dtype=torch.float64)).requires_grad_()
    params = torch.randn(*batch, 2, univariate.n_params, dtype=torch.float64)
    z, ladj = univariate.forward_and_ladj(x, params)
    (slope,) = torch.autograd.grad(z.sum(), x)
    torch.testing.assert_close(ladj, slope.log(), rtol=0, atol=1e-5)
    back, back_ladj = univariate.inverse_and_ladj(z, params)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-11)
    torch.testing.assert_close(back_ladj, -ladj, rtol=0, atol=1e-9)


@every_map
@pytest.mark.parametrize("size", [12.0, 20.0, 50.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_samples_far_out_are_not_clipped(name, size, dtype):
    """A search on [-10, 10] returns its edge here."""
    univariate = MAKERS[name]()
    layer = Autoregressive(univariate, MaskedMLP(3, univariate.n_params, hidden=(8,), activation="tanh")).to(dtype)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    z = torch.cat([torch.full((4, 3), size), torch.full((4, 3), -size)]).to(dtype)
    with torch.no_grad():
        x = layer.inverse(z)
        torch.testing.assert_close(layer.forward(x), z, rtol=1e4 * torch.finfo(dtype).eps, atol=0)
    assert size < 50 or x.abs().max() > 10


@every_map
def test_the_determinant_of_a_coupling_is_that_of_its_jacobian(name):
    """Where a published mixture of sigmoids is wrong by thousands of nats."""
    univariate = MAKERS[name]()
    layer = Coupling(univariate, [True, False, True], MLP(1, 2 * univariate.n_params, hidden=(8,))).double()
    torch.nn.init.normal_(layer.conditioner.last.weight)
    for x in 2 * torch.randn(5, 3).double():
        jacobian = torch.autograd.functional.jacobian(layer.forward, x)
        expected = torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(layer.forward_and_ladj(x)[1], expected, rtol=0, atol=2e-6)


@every_map
@pytest.mark.parametrize("direction", ["forward_and_ladj", "inverse_and_ladj"])
def test_scores_can_be_differentiated_again(name, direction):
    """Score matching: the gradient of a squared gradient, which needs a second derivative through the search."""
    univariate = MAKERS[name]()
    layer = Elementwise(univariate, 2).double()
    torch.nn.init.normal_(layer.params, std=0.5)

    def penalty(params):
        x = torch.tensor([[0.3, -1.1], [5.0, -7.0]], dtype=torch.float64, requires_grad=True)
        z, ladj = torch.func.functional_call(_Way(layer, direction), {"layer.params": params}, (x,))
        log_prob = ladj.sum() - z.square().sum() / 2
        (score,) = torch.autograd.grad(log_prob, x, create_graph=True)
        return score.square().sum()

    assert torch.autograd.gradcheck(penalty, layer.params.detach().clone().requires_grad_(), fast_mode=True, atol=1e-4)


class _Way(torch.nn.Module):
    def __init__(self, layer, direction):
        super().__init__()
        self.layer, self.direction = layer, direction

    def forward(self, x):
        return getattr(self.layer, self.direction)(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Bernstein(0), "degree=0"),
        (lambda: Bernstein(bound=-1.0), "bound=-1.0"),
        (lambda: Bernstein(limit=0.0), "limit=0.0"),
        (lambda: SumOfSquares(squares=0), "squares=0"),
        (lambda: SumOfSquares(degree=0), "degree=0"),
        (lambda: NeuralMonotone(0), "components=0"),
        (lambda: NeuralMonotone(bound=float("nan")), "bound=nan"),
        (lambda: UnconstrainedMonotone(units=0), "units=0"),
        (lambda: UnconstrainedMonotone(nodes=0), "nodes=0"),
    ],
)
def test_impossible_settings_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_settings_are_shown_and_are_no_weights():
    expected = {
        "bernstein": "Bernstein(degree=8, bound=4.0, limit=2.0)",
        "sum of squares": "SumOfSquares(squares=3, degree=2, bound=4.0)",
        "neural": "NeuralMonotone(components=5, bound=4.0, limit=2.0)",
        "unconstrained": "UnconstrainedMonotone(units=5, nodes=32, bound=4.0)",
    }
    for name, make in MAKERS.items():
        assert repr(make()) == expected[name]
        assert not make().state_dict()

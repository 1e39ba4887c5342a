"""MaskedMLP: who may see whom, and one evaluation of every unit during the inversion."""

import itertools

import pytest
import torch
from torch import Tensor

from bijecta.bijections import AffineUnivariate, Autoregressive
from bijecta.errors import InputError
from bijecta.nets import MaskedMLP
from bijecta.nets import masked as masked_module

SETTINGS = {
    "plain": {},
    "one hidden layer": {"hidden": (13,)},
    "no hidden layer": {"hidden": ()},
    "fewer units than features": {"hidden": (3, 2)},
    "residual": {"hidden": (12, 12, 12), "residual": True},
    "context": {"context": 2},
    "order": {"order": [3, 0, 4, 1, 2], "context": 1},
    "angles": {"circular": [True, False, True, False, False], "context": 2, "order": [4, 3, 2, 1, 0]},
}
every_setting = pytest.mark.parametrize("name", SETTINGS)


def make(name: str, features: int = 5) -> MaskedMLP:
    settings = {"hidden": (16, 16), "activation": "tanh", **SETTINGS[name]}
    net = MaskedMLP(features, 2, **settings).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return net


def sensitivity(net: MaskedMLP) -> Tensor:
    """Which input features the parameters of which feature depend on, by autograd at a few points."""
    x = torch.randn(16, net.features, dtype=torch.float64, requires_grad=True)
    context = torch.randn(16, net.context, dtype=torch.float64) if net.context else None
    params = net(x, context)
    rows = [torch.autograd.grad(params[:, i].sum(), x, retain_graph=True)[0].abs().amax(0) for i in range(net.features)]
    return torch.stack(rows)


@every_setting
def test_each_feature_sees_those_before_it_and_no_other(name):
    net = make(name)
    rank = net.order.argsort()
    seen = sensitivity(net) != 0
    allowed = rank[None, :] < rank[:, None]
    assert not (seen & ~allowed).any()
    if name != "fewer units than features":
        assert torch.equal(seen, allowed), "a feature that may be seen is not"


@pytest.mark.parametrize("name", [name for name, options in SETTINGS.items() if "context" in options])
def test_the_context_is_seen_by_every_feature(name):
    net = make(name)
    x = torch.randn(4, 5, dtype=torch.float64)
    context = torch.randn(4, net.context, dtype=torch.float64, requires_grad=True)
    for feature in range(5):
        (gradient,) = torch.autograd.grad(net(x, context)[:, feature].sum(), context)
        assert (gradient != 0).any(0).all()


@every_setting
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)], ids=str)
def test_solve_equals_one_pass_per_feature(name, batch):
    """Fix features one after the other with D full passes: the usual way, and the definition."""
    net = make(name)
    context = torch.randn(*batch, net.context).double() if net.context else None
    z = torch.randn(*batch, 5).double()

    def invert(params: Tensor, z: Tensor) -> Tensor:
        return z * torch.exp(-params[..., 1].tanh()) + params[..., 0].tanh()

    x = torch.zeros_like(z)
    for feature in net.order.tolist():
        params = net(x, context)
        x[..., feature] = invert(params, z)[..., feature]
    solved = net.solve(lambda i, params: invert(params, z[..., i : i + 1]), torch.Size(batch), context)
    torch.testing.assert_close(solved, x, atol=1e-12, rtol=1e-12)


@every_setting
def test_solve_evaluates_every_unit_once_and_costs_less_than_a_dense_pass(name, monkeypatch):
    """Count rows and multiplications of every linear map that is applied during one inversion."""
    net = make(name)
    calls: list[tuple[int, int]] = []
    apply = masked_module.apply_linear

    def counting(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        calls.append(tuple(weight.shape))
        return apply(x, weight, bias)

    monkeypatch.setattr(masked_module, "apply_linear", counting)
    context = torch.zeros(1, net.context).double() if net.context else None
    net(torch.zeros(1, 5).double(), context)
    dense = calls.copy()
    calls.clear()
    net.solve(lambda _, params: params[..., 0], torch.Size([1]), context)
    units = sum(layer.out_features for layer in net.layers)
    assert sum(rows for rows, _ in calls) == units + 5 * net.n_params
    assert sum(rows for rows, _ in dense) == units + 5 * net.n_params
    assert sum(a * b for a, b in calls) < sum(a * b for a, b in dense)


def test_solve_of_many_features_costs_about_half_a_dense_pass(monkeypatch):
    net = MaskedMLP(20, 2, hidden=(200, 200))
    multiplications: list[int] = []
    apply = masked_module.apply_linear

    def counting(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        multiplications.append(weight.numel())
        return apply(x, weight, bias)

    monkeypatch.setattr(masked_module, "apply_linear", counting)
    net.solve(lambda _, params: params[..., 0], torch.Size([1]))
    dense = sum(layer.weight.numel() for layer in net.layers) + net.last.weight.numel()
    assert sum(multiplications) <= 0.6 * dense


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_the_jacobian_is_triangular_in_the_declared_order(order):
    net = MaskedMLP(3, 2, hidden=(9,), order=order).double()
    layer = Autoregressive(AffineUnivariate(), net).double()
    torch.nn.init.normal_(net.last.weight)
    matrix = torch.autograd.functional.jacobian(layer.forward, torch.randn(3).double())
    sorted_matrix = matrix[list(order)][:, list(order)]
    assert torch.equal(sorted_matrix.triu(1), torch.zeros(3, 3).double())
    assert (sorted_matrix.diagonal() > 0).all()
    assert (sorted_matrix.tril(-1) != 0).sum() == 3


def test_a_loaded_order_brings_its_masks():
    """The order is saved, the masks are not: they have to follow it, in the pass and in the inversion."""
    saved, other = make("order"), MaskedMLP(5, 2, context=1, hidden=(16, 16), activation="tanh").double()
    x, context = torch.randn(4, 5).double(), torch.randn(4, 1).double()
    assert other.order.tolist() == [0, 1, 2, 3, 4]
    other.load_state_dict(saved.state_dict())
    assert torch.equal(other(x, context), saved(x, context))
    for net in (saved, other):
        assert not any("mask" in key for key in net.state_dict())
    results = [net.solve(lambda _, params: params[..., 0], torch.Size([4]), context) for net in (saved, other)]
    assert torch.equal(*results)


def test_an_infinite_gradient_stays_out_of_masked_weights():
    net = make("plain").float()
    (net(torch.full((1, 5), 1e30)) * 1e30).sum().backward()
    hidden = net.layers[0]
    assert (hidden.weight.grad[~net.mask0] == 0).all()
    assert (net.last.weight.grad[~net.mask_last] == 0).all()


@pytest.mark.parametrize("order", [[0, 0, 1], [0, 1], [1, 2, 3]], ids=str)
def test_an_order_that_is_no_permutation_is_refused(order):
    with pytest.raises(InputError, match=r"features 0 to 2, each once, got"):
        MaskedMLP(3, 1, order=order)


def test_units_of_the_same_net_agree_after_moving_to_float64():
    net = make("context").float()
    x, context = torch.randn(4, 5), torch.randn(4, 2)
    single = net(x, context)
    torch.testing.assert_close(net.double()(x.double(), context.double()).float(), single, atol=1e-4, rtol=1e-4)

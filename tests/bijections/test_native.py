"""Native chains against the plain layers, which define them: values, gradients, and when they must step aside."""

import copy
import pickle

import pytest
import torch

from bijecta.bijections import Chain, Coupling, Permute, native
from bijecta.bijections.univariate import AffineUnivariate
from bijecta.flows import build
from bijecta.functional.kernels import status
from bijecta.nets import MLP

pytestmark = pytest.mark.skipif(not status().startswith("native"), reason=f"native kernels are {status()}")

CASES = {
    "realnvp": {"features": 2},
    "realnvp conditional": {"features": 5, "context": 3, "hidden": [20, 33]},
    "realnvp without hidden layers": {"features": 3, "hidden": []},
    "realnvp random masks": {"features": 5, "masks": "random"},
    "glow": {"features": 4, "layers": 2},
    "nice": {"features": 3, "layers": 2},
    "nsf": {"features": 3, "bins": 5, "layers": 2},
    "nsf conditional": {"features": 6, "bins": 16, "context": 2, "layers": 2},
    "nsf one feature": {"features": 1, "bins": 8, "layers": 2},
    "made": {"features": 1, "context": 1},
    "maf": {"features": 5, "hidden": [40, 30]},
    "maf conditional": {"features": 7, "context": 2, "layers": 3},
    "maf narrower than its features": {"features": 20, "hidden": [6]},
    # Weights of two megabytes: several tiles go through a layer before the next one.
    "maf wide": {"features": 6, "hidden": [300, 300], "layers": 3, "context": 1},
    "nsf wide": {"features": 3, "hidden": [300, 300], "layers": 2, "bins": 4},
    "nsf_autoregressive": {"features": 6, "bins": 8, "hidden": [31, 32], "layers": 2},
}


def make(name, dtype=torch.float64, rows=150):
    """Make a flow with weights that matter, with data and contexts."""
    arguments = CASES[name]
    torch.manual_seed(0)
    flow = build(name.split(maxsplit=1)[0], arguments)
    x = 2 * torch.randn(max(rows, 100), arguments["features"]) + torch.randn(arguments["features"])
    context = torch.randn(len(x), flow.context) if flow.context else None
    flow.initialise(x, context)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.3 * torch.randn_like(parameter) / max(1, parameter.shape[-1]) ** 0.5
    return flow.to(dtype), x[:rows].to(dtype), None if context is None else context[:rows].to(dtype)


@pytest.fixture
def plainly(monkeypatch):
    """Run something without native chains."""

    def run(function, *arguments):
        with monkeypatch.context() as patch:
            patch.setattr(native, "can_run_natively", lambda *_: False)
            return function(*arguments)

    return run


def is_native(flow):
    x = next(flow.parameters()).new_zeros(1)
    flow.bijection.native._find(flow.bijection, x, None)
    return flow.bijection.native.description.program is not None


def close(found, expected, tolerance):
    assert found.shape == expected.shape
    if found.numel():
        assert (found - expected).abs().max() <= tolerance * (1e-30 + expected.abs().max())


def gradients(flow, x, context):
    """Differentiate a sum in which every element of z and ladj has a weight of its own."""
    given = [t.clone().requires_grad_() for t in (x, context) if t is not None]
    embedded = flow._embed(given[1] if flow.context else None, x.shape[:-1])
    z, ladj = flow.bijection.forward_and_ladj(given[0], embedded)
    total = (z * torch.arange(z.numel()).to(z).sin().view_as(z)).sum() + (
        ladj * torch.arange(len(ladj)).to(z).cos()
    ).sum()
    wanted = [*given, *flow.bijection.parameters()]
    return z.detach(), ladj.detach(), *torch.autograd.grad(total, wanted)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-4)])
def test_forward_and_gradients_equal_the_plain_ones(name, dtype, tolerance, plainly):
    flow, x, context = make(name, dtype)
    assert is_native(flow)
    for found, expected in zip(gradients(flow, x, context), plainly(gradients, flow, x, context), strict=True):
        close(found, expected, tolerance)


@pytest.mark.parametrize("name", CASES)
def test_the_inverse_equals_the_plain_one(name, plainly):
    flow, z, context = make(name)
    with torch.no_grad():
        context = flow._embed(context, z.shape[:-1])
        found = flow.bijection.inverse_and_ladj(z, context)
        expected = plainly(flow.bijection.inverse_and_ladj, z, context)
    for one, other in zip(found, expected, strict=True):
        close(one, other, 1e-10)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-4)])
def test_a_single_row_whose_products_are_its_own(name, dtype, tolerance, plainly):
    flow, x, context = make(name, dtype, rows=1)
    with torch.no_grad():
        context = flow._embed(context, x.shape[:-1])
        for way in (flow.bijection.forward_and_ladj, flow.bijection.inverse_and_ladj):
            for found, expected in zip(way(x, context), plainly(way, x, context), strict=True):
                close(found, expected, tolerance)


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 129])
def test_any_number_of_rows(rows, plainly):
    flow, x, context = make("nsf conditional", rows=rows)
    results = zip(gradients(flow, x, context), plainly(gradients, flow, x, context), strict=True)
    for found, expected in results:
        close(found, expected, 1e-10)


def test_any_batch_shape_and_memory_order(plainly):
    flow, x, context = make("maf conditional", rows=42)
    for shape in [(42,), (6, 7), (2, 3, 7)]:
        given = x.view(*shape, -1), flow._embed(context, x.shape[:-1]).view(*shape, -1)
        close(flow.bijection(*given), plainly(flow.bijection, *given), 1e-12)
    across = x.T.contiguous().T
    close(flow.log_prob(across, context), flow.log_prob(x, context), 1e-15)
    close(flow.log_prob(x[0], context[0]), flow.log_prob(x, context)[0], 1e-15)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_gradients_are_the_same_in_every_run(threads):
    flow, x, context = make("realnvp conditional", torch.float32, rows=1000)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        first, second = gradients(flow, x, context), gradients(flow, x, context)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


FEW_AND_MANY = [("maf", 1), ("nsf", 63), ("nsf", 65), ("maf wide", 64 * 9 + 7), ("maf wide", 64 * 3), ("nsf wide", 300)]


@pytest.mark.parametrize(("name", "rows"), [*((name, 150) for name in CASES), *FEW_AND_MANY])
def test_the_loss_of_training_has_the_gradient_of_autograd(name, rows, plainly):
    flow, x, context = make(name, rows=rows)
    weight = torch.randn(rows, dtype=x.dtype)  # negative ones too
    parameters = list(flow.parameters())
    loss = plainly(lambda: -(weight * flow.log_prob(x, context)).mean())
    expected = torch.autograd.grad(loss, parameters)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)  # what is there stays
    found = flow.differentiate_nll(x, context, weight)
    close(found, loss.detach(), 1e-12)
    for parameter, gradient in zip(parameters, expected, strict=True):
        close(parameter.grad - 1, gradient, 1e-9)
    close(flow.differentiate_nll(x, context), -flow.log_prob(x, context).mean().detach(), 1e-12)


def test_frozen_parameters_take_no_part_in_the_loss_of_training():
    flow, x, _ = make("glow")
    frozen = list(flow.bijection.layers[:4].parameters())
    for parameter in frozen:
        parameter.requires_grad_(False)
    trained = [parameter for parameter in flow.parameters() if parameter.requires_grad]
    expected = torch.autograd.grad(-flow.log_prob(x).mean(), trained)
    for parameter in flow.parameters():
        parameter.grad = torch.zeros_like(parameter)
    flow.differentiate_nll(x)
    for parameter, gradient in zip(trained, expected, strict=True):
        close(parameter.grad, gradient, 1e-9)
    assert not any(parameter.grad.any() for parameter in frozen)


def test_what_only_autograd_can_do_is_left_to_it():
    flow, x, context = make("nsf conditional")
    for parameter in flow.parameters():
        parameter.grad = torch.zeros_like(parameter)
    assert flow.differentiate_nll(x[:0], context[:0]) is None
    assert flow.differentiate_nll(x.view(3, 50, -1), context.view(3, 50, -1)) is None
    assert flow.differentiate_nll(x.requires_grad_(), context) is None
    mixture = build("realnvp", {"features": 2, "base": "mixture"})
    assert mixture.differentiate_nll(torch.zeros(3, 2)) is None
    assert not any(parameter.grad.any() for parameter in flow.parameters())


def test_only_what_is_wanted_gets_a_gradient(plainly):
    flow, x, _ = make("nsf")
    for parameter in flow.bijection.layers[2].parameters():
        parameter.requires_grad_(False)
    trained = [p for p in flow.parameters() if p.requires_grad]

    def differentiate():
        return torch.autograd.grad(flow.log_prob(x).sum(), trained)

    for found, expected in zip(differentiate(), plainly(differentiate), strict=True):
        close(found, expected, 1e-10)


def test_second_derivatives(plainly):
    flow, x, _ = make("nsf", rows=5)

    def hessian():
        return torch.autograd.functional.hessian(lambda x: flow.log_prob(x).sum(), x)

    close(hessian(), plainly(hessian), 1e-9)


def test_second_derivatives_of_a_chain_that_feeds_itself(plainly):
    flow, x, _ = make("nsf", rows=5)
    weights = list(flow.bijection.layers[2].parameters())

    def differentiate():
        z, ladj = flow.bijection(flow.bijection(x)), flow.log_prob(x)
        first = torch.autograd.grad((z.sin().sum() + ladj.sum()), weights, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), weights)

    for found, expected in zip(differentiate(), plainly(differentiate), strict=True):
        close(found, expected, 1e-9)


def test_the_graph_can_be_kept():
    flow, x, _ = make("maf")
    loss = flow.log_prob(x).sum()
    first = torch.autograd.grad(loss, list(flow.parameters()), retain_graph=True)
    second = torch.autograd.grad(loss, list(flow.parameters()))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_a_row_that_is_nan_stays_alone():
    flow, x, _ = make("nsf")
    spoilt = x.clone()
    spoilt[7] = torch.nan
    assert flow.log_prob(spoilt)[7].isnan()
    keep = torch.arange(len(x)) != 7
    assert torch.equal(flow.log_prob(spoilt)[keep], flow.log_prob(x)[keep])


@pytest.mark.parametrize("name", ["realnvp random masks", "glow", "maf"])
def test_what_a_file_brings_is_noticed(name, plainly):
    """Masks, permutations and orders are buffers: another model's replace them in place."""
    flow, x, _ = make(name)
    flow.log_prob(x)
    torch.manual_seed(5)
    other = build(name.split()[0], CASES[name]).to(x.dtype)
    state = {
        key: torch.randn_like(t) if t.is_floating_point() and "log" in key else t
        for key, t in other.state_dict().items()
    }
    if name == "maf":
        state["bijection.layers.2.conditioner.order"] = torch.tensor([4, 2, 0, 1, 3])
    flow.load_state_dict(state)
    close(flow.log_prob(x), plainly(flow.log_prob, x), 1e-12)


def test_replaced_layers_and_hooks_are_noticed(plainly):
    flow, x, _ = make("realnvp")
    flow.log_prob(x)
    coupling = flow.bijection.layers[2]
    coupling.conditioner = MLP(1, 2, hidden=[3]).double()
    close(flow.log_prob(x), plainly(flow.log_prob, x), 1e-12)
    calls = []
    handle = coupling.conditioner.last.register_forward_hook(lambda *_: calls.append(1))
    flow.log_prob(x)
    assert calls
    handle.remove()
    flow.log_prob(x)
    assert len(calls) == 1
    assert is_native(flow)


def test_a_replaced_call_and_autocast_are_noticed():
    flow, x, _ = make("realnvp", torch.float32)
    expected = flow.log_prob(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert not torch.equal(flow.log_prob(x), expected)
    coupling = flow.bijection.layers[2]
    coupling.conditioner.forward = lambda kept, _: torch.zeros(*kept.shape[:-1], 2)
    z, ladj = flow.bijection.forward_and_ladj(x)
    coupling.conditioner = MLP(1, 2)  # begins as zero too
    close(z, flow.bijection.forward_and_ladj(x)[0], 1e-5)
    assert not torch.equal(ladj + flow.base.log_prob(z), expected)


def test_copies_and_pickles_leave_the_program_behind():
    flow, x, _ = make("nsf")
    expected = flow.log_prob(x)
    for twin in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):  # noqa: S301
        assert twin.bijection.native.description is None
        assert torch.equal(twin.log_prob(x), expected)


def test_other_layers_are_left_to_the_plain_version():
    own = torch.nn.Sequential(torch.nn.Linear(1, 2))

    class Net(torch.nn.Module):
        def forward(self, x, _):
            return own(x)

    for layers in ([Permute([1, 0])], [Coupling(AffineUnivariate(), [True, False], Net())]):
        chain = Chain(layers)
        chain(torch.ones(3, 2))
        assert chain.native.description.program is None
    elu = Chain([Coupling(AffineUnivariate(), [True, False], MLP(1, 2, activation="elu"))])
    elu(torch.ones(3, 2))
    assert elu.native.description.program is None

"""Memory modes against the chain that keeps everything: values, gradients, what is kept, what is refused."""

import copy
import pickle

import pytest
import torch
from torch import nn

from bijecta.bijections import (
    ActNorm,
    Affine,
    AffineUnivariate,
    Bijection,
    Chain,
    Coupling,
    LULinear,
    Permute,
    Rebuilt,
    Recomputed,
    Squeeze,
    memory,
    memory_mode,
    native,
)
from bijecta.errors import InputError, NotConvergedError
from bijecta.flows import build
from bijecta.flows.images import pixel_glow
from bijecta.nets import MLP, ConvNet
from bijecta.persistence import load, save
from bijecta.training import Batch, FitConfig, TrainingStep, fit

WRAPPERS = {"recompute": Recomputed, "rebuild": Rebuilt}
FLOWS = {
    "realnvp": {"features": 3, "layers": 3, "hidden": [8]},
    "glow": {"features": 4, "layers": 2, "context": 2, "hidden": [8]},
    "nsf": {"features": 3, "layers": 2, "bins": 4, "hidden": [8]},
    "maf": {"features": 3, "layers": 2, "context": 1, "hidden": [8]},
    "iaf": {"features": 3, "layers": 2, "hidden": [8]},
    "circular_nsf": {"features": 3, "circular": [True, False, False], "layers": 2, "hidden": [8]},
    "residual_flow": {"features": 2, "layers": 2, "hidden": [8]},
    "glow_image": {"shape": [1, 4, 4], "steps": 2, "hidden": 4, "context": 2},
}
every_mode = pytest.mark.parametrize("mode", WRAPPERS)
every_flow = pytest.mark.parametrize("name", FLOWS)


def make(name, dtype=torch.float64, rows=20, size=0.2):
    """Make a flow away from its start, with data and contexts."""
    torch.manual_seed(0)
    flow = build(name, FLOWS[name])
    x = torch.randn(rows, *flow.event_shape)
    context = torch.randn(rows, flow.context) if flow.context else None
    flow.initialise(x, context)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += size * torch.randn_like(parameter) / max(1, parameter.shape[-1]) ** 0.5
    return flow.to(dtype), x.to(dtype), None if context is None else context.to(dtype)


def gradients(function, given):
    """Differentiate a sum in which every element of both outputs has a weight of its own, by inputs and the rest."""
    y, ladj = function()
    total = (y * torch.arange(y.numel()).to(y).sin().view_as(y)).sum() + (
        ladj * torch.arange(ladj.numel()).to(y).cos().view_as(ladj)
    ).sum()
    return y.detach(), ladj.detach(), *torch.autograd.grad(total, given)


def differentiate(flow, x, context, direction, mode):
    x = x.clone().requires_grad_()
    context = None if context is None else context.clone().requires_grad_()
    given = [x, *([] if context is None else [context]), *flow.bijection.parameters()]
    with memory_mode(flow, mode):
        return gradients(lambda: getattr(flow.bijection, f"{direction}_and_ladj")(x, context), given)


def relative_error(found, expected):
    """Compare all gradients together: a kink that a rounding error crosses changes single ones."""
    found, expected = (torch.cat([part.flatten() for part in parts]) for parts in (found, expected))
    return float((found - expected).norm() / expected.norm())


def steps(depth, channels=4, size=0.3):
    """Make steps of an image flow whose couplings stretch by about exp(size)."""
    layers = []
    for _ in range(depth):
        mask = [channel >= channels // 2 for channel in range(channels)]
        net = ConvNet(channels // 2, channels, hidden=16)
        nn.init.normal_(net.last.weight, std=size / 12)
        mix = LULinear(channels, torch.randperm(channels).tolist(), event_ndim=3)
        layers += [ActNorm(channels, event_ndim=3), mix, Coupling(AffineUnivariate(), mask, net, event_ndim=3)]
    return Chain([Squeeze(), *layers])


def kept(function):
    """Count the bytes that autograd holds on to after a forward pass, every piece of memory once."""
    pieces = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        pieces[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function()
    return sum(pieces.values())


@every_flow
@every_mode
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_values_and_gradients_are_those_of_the_chain(name, mode, direction):
    flow, x, context = make(name)
    context = None if context is None else flow._embed(context, x.shape[: -len(flow.event_shape)])
    if direction == "inverse":
        x = flow.bijection.forward(x, context).detach()
    expected = differentiate(flow, x, context, direction, "keep")
    found = differentiate(flow, x, context, direction, mode)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-8, rtol=1e-6)


@every_mode
def test_second_derivatives(mode):
    flow, x, _ = make("nsf", rows=4)

    def hessian():
        return torch.autograd.functional.hessian(lambda x: flow.log_prob(x).sum(), x)

    expected = hessian()
    with memory_mode(flow, mode):
        torch.testing.assert_close(hessian(), expected, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("native_code", [True, False])
def test_recomputing_in_float32_is_exact(native_code, monkeypatch):
    if not native_code:
        monkeypatch.setattr(native, "can_run_natively", lambda *_: False)
    flow, x, _ = make("nsf", torch.float32, rows=500)
    expected = differentiate(flow, x, None, "forward", "keep")
    found = differentiate(flow, x, None, "forward", "recompute")
    # Native code sums over rows in pieces, which are other ones in a shorter chain.
    assert relative_error(found, expected) < (1e-5 if native_code else 1e-7)


@pytest.mark.parametrize(("depth", "tolerance"), [(8, 1e-4), (64, 1e-3)])
def test_rebuilding_in_float32_stays_close_over_depth(depth, tolerance):
    torch.manual_seed(1)
    chain, x = steps(depth), torch.randn(4, 1, 8, 8)
    parameters = list(chain.parameters())
    expected = gradients(lambda: chain.forward_and_ladj(x), parameters)[2:]
    found = gradients(lambda: Rebuilt(chain).forward_and_ladj(x), parameters)[2:]
    assert 0 < relative_error(found, expected) < tolerance


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"), [("nsf", {"features": 5, "layers": 16}), ("glow_image", {"shape": [1, 8, 8], "steps": 16})]
)
def test_trained_flows_drift_little(name, arguments):
    torch.manual_seed(0)
    flow = build(name, arguments)
    x = torch.randn(2000, *flow.event_shape)
    x = x + 0.5 * x.roll(1, -1).square() - 0.3 * (2 * x.roll(2, -1)).sin()
    flow.initialise(x)
    step = TrainingStep(flow, gradient_clip=10.0)
    for k in range(100):
        step(Batch(100, x[100 * (k % 20) : 100 * (k % 20 + 1)]))
    step.release()
    parameters = list(flow.parameters())
    expected = torch.autograd.grad(flow.log_prob(x[:200]).mean(), parameters)
    with memory_mode(flow, "rebuild"):
        found = torch.autograd.grad(flow.log_prob(x[:200]).mean(), parameters)
    assert 0 < relative_error(found, expected) < 1e-4


def test_drift_is_an_error_that_says_what_to_do():
    torch.manual_seed(1)
    chain, x = steps(24, size=20), torch.randn(4, 1, 8, 8)
    z, ladj = Rebuilt(chain).forward_and_ladj(x)
    with pytest.raises(NotConvergedError, match=r"0.001 is allowed.*Use Recomputed"):
        (z.sum() + ladj.sum()).backward()
    z, ladj = Recomputed(chain).forward_and_ladj(x)
    (z.sum() + ladj.sum()).backward()


class Wrong(Bijection):
    """A map whose inverse is not quite one."""

    def __init__(self, error):
        super().__init__()
        self.error, self.shift = error, nn.Parameter(torch.zeros(()))

    def forward_and_ladj(self, x, context=None):  # noqa: ARG002
        return x + self.shift, x.new_zeros(x.shape[:-1])

    def inverse_and_ladj(self, z, context=None):  # noqa: ARG002
        return z - self.shift + self.error, z.new_zeros(z.shape[:-1])


@pytest.mark.parametrize(("error", "raises"), [(5e-4, False), (5e-3, True), (torch.nan, True), (torch.inf, True)])
def test_the_tolerance_decides(error, raises):
    coupling = Coupling(AffineUnivariate(), [True, False], MLP(1, 2))
    chain = Chain([coupling, coupling, Wrong(error)])
    total = Rebuilt(chain).forward(torch.zeros(3, 2)).sum()
    if raises:
        with pytest.raises(NotConvergedError):
            total.backward()
    else:
        total.backward()
        Rebuilt(chain, tolerance=1e-2).forward(torch.zeros(3, 2)).sum().backward()


def test_rows_that_are_no_numbers_are_left_to_training():
    chain = Chain([Coupling(AffineUnivariate(), [True, False], MLP(1, 2)) for _ in range(3)])
    Rebuilt(chain).forward(torch.full((3, 2), torch.nan)).sum().backward()


def test_rebuilding_keeps_as_much_of_a_deep_chain_as_of_a_flat_one():
    x = torch.randn(4, 1, 8, 8)
    sizes = {}
    for depth in (8, 32):
        chain = steps(depth)
        weights = sum(p.nbytes for p in chain.parameters())
        for name, wrap in {"keep": Chain, "recompute": Recomputed, "rebuild": Rebuilt}.items():
            bijection = wrap([chain]) if wrap is Chain else wrap(chain)
            sizes[name, depth] = kept(lambda bijection=bijection: bijection.forward_and_ladj(x)) - weights
    assert sizes["rebuild", 8] == sizes["rebuild", 32] == 2 * x.nbytes
    assert sizes["recompute", 32] == 4 * sizes["recompute", 8] == 32 * x.nbytes
    assert sizes["keep", 32] > 4 * sizes["recompute", 32]


def test_a_stretch_ends_with_its_network():
    mix, coupling = LULinear(2), Coupling(AffineUnivariate(), [True, False], MLP(1, 2))
    assert memory._cut([mix, coupling, coupling, mix, mix]) == [[mix, coupling], [coupling, mix, mix]]
    assert memory._cut([coupling]) == [[coupling]]
    assert memory._cut([mix, mix]) == [[mix, mix]]


class Dropping(nn.Module):
    """A conditioner with dropout, which has to drop the same units again."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 2))

    def forward(self, x, context=None):  # noqa: ARG002
        return self.net(x)


@every_mode
def test_random_numbers_are_drawn_again(mode):
    torch.manual_seed(0)
    chain = Chain([Coupling(AffineUnivariate(), [bool(k % 2), not k % 2], Dropping()) for k in range(4)]).double()
    x, parameters = torch.randn(6, 2).double(), list(chain.parameters())
    results = []
    for bijection in (chain, WRAPPERS[mode](chain)):
        torch.manual_seed(5)
        results.append([*gradients(lambda b=bijection: b.forward_and_ladj(x), parameters), torch.rand(3)])
    torch.testing.assert_close(results[1], results[0])


@every_mode
def test_frozen_layers(mode):
    flow, x, _ = make("nsf")
    layers = list(flow.bijection)
    for layer in (*layers[:3], layers[4]):
        layer.requires_grad_(False)
    trained = [p for p in flow.parameters() if p.requires_grad]
    expected = torch.autograd.grad(flow.log_prob(x).sum(), trained)
    with memory_mode(flow, mode):
        torch.testing.assert_close(torch.autograd.grad(flow.log_prob(x).sum(), trained), expected)
        flow.requires_grad_(False)
        assert not flow.log_prob(x).requires_grad


@every_mode
def test_a_layer_that_occurs_twice_adds_its_gradients(mode):
    coupling, turn = Coupling(AffineUnivariate(), [True, False], MLP(1, 2)).double(), Permute([1, 0])
    nn.init.normal_(coupling.conditioner.last.weight)
    chain, x = Chain([coupling, turn, coupling, turn, coupling]), torch.randn(5, 2).double()
    parameters = list(chain.parameters())
    expected = gradients(lambda: chain.forward_and_ladj(x), parameters)
    wrapped = WRAPPERS[mode](chain)
    torch.testing.assert_close(gradients(lambda: wrapped.forward_and_ladj(x), parameters), expected)


@every_mode
def test_the_graph_can_be_kept_and_only_one_output_used(mode):
    flow, x, _ = make("glow_image")
    parameters = list(flow.bijection.parameters())
    context = torch.zeros(len(x), 2).double()
    expected = torch.autograd.grad(flow.bijection.forward_and_ladj(x, context)[1].sum(), parameters, allow_unused=True)
    with memory_mode(flow, mode):
        total = flow.bijection.forward_and_ladj(x, context)[1].sum()
        for keep in (True, False):
            found = torch.autograd.grad(total, parameters, retain_graph=keep, allow_unused=True)
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(torch.zeros_like(other) if one is None else one, other)


@every_mode
def test_weights_written_between_the_passes_are_noticed(mode):
    flow, x, _ = make("realnvp")
    with memory_mode(flow, mode):
        total = flow.log_prob(x).sum()
        with torch.no_grad():
            next(flow.parameters()).add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            total.backward()


@every_mode
def test_replaced_layers_are_noticed(mode):
    flow, x, _ = make("realnvp")
    with memory_mode(flow, mode):
        flow.log_prob(x)
        flow.bijection.bijection.layers[0] = Affine(torch.zeros(3).double(), 2 * torch.ones(3).double())
        with torch.no_grad():
            expected = flow.log_prob(x)
        torch.testing.assert_close(flow.log_prob(x), expected)


@every_mode
def test_transforms_and_autocast_see_the_chain(mode):
    flow, x, _ = make("realnvp")
    with memory_mode(flow, mode):
        expected = torch.autograd.functional.jacobian(lambda x: flow.log_prob(x).sum(), x)
        slopes = torch.func.vmap(torch.func.grad(flow.log_prob))(x)
        torch.testing.assert_close(slopes, expected)
        _, along = torch.func.jvp(flow.log_prob, (x,), (torch.ones_like(x),))
        torch.testing.assert_close(along, expected.sum(-1))
        single = copy.deepcopy(flow).float()
        with torch.autocast("cpu", torch.bfloat16):
            single.log_prob(x.float()).sum().backward()


class TestMemoryMode:
    @pytest.mark.parametrize("mode", ["keep", *WRAPPERS])
    def test_the_model_is_as_before_afterwards(self, mode):
        model = pixel_glow([1, 4, 4], grey_levels=5, steps=1, hidden=4)
        before = list(model.named_modules())
        names = list(model.state_dict())
        with memory_mode(model, mode):
            assert sum(isinstance(module, tuple(WRAPPERS.values())) for module in model.modules()) == (
                0 if mode == "keep" else 3  # two scales, and the noise
            )
            assert list(model.state_dict()) == names
        assert all(a[1] is b[1] for a, b in zip(before, model.named_modules(), strict=True))

    def test_it_is_so_after_an_error_too(self):
        flow, *_ = make("nsf")
        chain = flow.bijection
        with pytest.raises(KeyboardInterrupt), memory_mode(flow, "rebuild"):
            raise KeyboardInterrupt
        assert flow.bijection is chain

    def test_files_do_not_know_of_modes(self, tmp_path):
        flow, x, _ = make("glow_image", torch.float32)
        context = torch.zeros(len(x), 2)
        expected = flow.log_prob(x, context)
        with memory_mode(flow, "rebuild"):
            save(flow, tmp_path / "inside.safetensors")
            state = flow.state_dict()
            flow.load_state_dict(state)
            assert "bijection.levels.0.layers.1.bias" in state
        assert torch.equal(load(tmp_path / "inside.safetensors").log_prob(x, context), expected)
        other = build("glow_image", FLOWS["glow_image"])
        with memory_mode(other, "recompute"):
            other.load_state_dict(state)
        assert torch.equal(other.log_prob(x, context), expected)

    def test_missing_and_unexpected_weights_are_named(self):
        chain, _, _ = make("nsf")
        wrapped = Recomputed(chain.bijection)
        with pytest.raises(RuntimeError, match=r"layers\.9\.weight"):
            wrapped.load_state_dict({**wrapped.state_dict(), "layers.9.weight": torch.zeros(1)})

    def test_errors(self):
        flow, *_ = make("nsf")
        with pytest.raises(InputError, match="keep, recompute, rebuild; got 'fast'"), memory_mode(flow, "fast"):
            pass
        with pytest.raises(InputError, match="holds a Chain with parameters; LULinear"):  # noqa: SIM117
            with memory_mode(LULinear(2), "rebuild"):
                pass
        with pytest.raises(InputError), memory_mode(flow, "rebuild"), memory_mode(flow, "recompute"):
            pass


@every_mode
def test_copies_and_pickles(mode):
    chain, x = steps(2).double(), torch.randn(2, 1, 4, 4).double()
    wrapped = WRAPPERS[mode](chain)
    expected = wrapped.forward_and_ladj(x)
    for twin in (copy.deepcopy(wrapped), pickle.loads(pickle.dumps(wrapped))):  # noqa: S301
        assert twin.stretches.parts == []
        assert twin.stretches.tolerance == wrapped.stretches.tolerance
        torch.testing.assert_close(twin.forward_and_ladj(x), expected)
        assert list(twin.state_dict()) == list(chain.state_dict())


@every_mode
@pytest.mark.parametrize("name", ["nsf", "maf", "glow_image"])
def test_a_training_step_gives_the_same_weights(mode, name):
    flow, x, context = make(name)
    twin = copy.deepcopy(flow)
    with memory_mode(flow, mode):
        for model in (flow, twin):
            step = TrainingStep(model, learning_rate=1e-3, gradient_clip=10.0)
            for _ in range(3):
                step(Batch(len(x), x, context))
            step.release()
    torch.testing.assert_close(list(flow.parameters()), list(twin.parameters()), atol=1e-7, rtol=1e-5)


@every_mode
def test_fit_learns_and_resumes(mode, tmp_path):
    flow, x, _ = make("nsf", torch.float32, rows=300)
    config = FitConfig(epochs=2, batch_size=100)
    with memory_mode(flow, mode):
        result = fit(flow, x, config=config, checkpoint=tmp_path / "run")
    assert result.history[-1].train_loss < result.history[0].train_loss
    again, *_ = make("nsf", torch.float32, rows=300)
    with memory_mode(again, mode):
        assert fit(again, x, config=config, checkpoint=tmp_path / "run").best_loss == result.best_loss

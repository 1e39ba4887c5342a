"""The check passes sound flows of every recipe, and catches planted faults by the measurement that should."""

# ruff: noqa: ARG002 (the faulty maps ignore their context)

import json
import math

import pytest
import torch
from torch import Tensor, nn

from bijecta import flows
from bijecta.bijections import Affine, Bijection, Chain, Permute, Standardise
from bijecta.data.schema import Column, Schema
from bijecta.diagnostics import CheckReport, check
from bijecta.diagnostics.loading import unregistered_tensors
from bijecta.distributions import Distribution, Normal
from bijecta.errors import InputError, ShapeError
from bijecta.flows import Flow
from bijecta.flows.registry import _RECIPES, recipe

SMALL = {"hidden": (16,)}
TABLE = Schema(
    (
        Column("mass", "positive"),
        Column("angle", "periodic", low=0.0, high=360.0),
        Column("share", "interval", low=0.0, high=1.0),
        Column("count", "integer"),
    )
)
SOUND = {
    "nice": lambda: flows.nice(2, **SMALL),
    "realnvp": lambda: flows.realnvp(3, layers=4, **SMALL),
    "realnvp, conditional": lambda: flows.realnvp(2, layers=4, context=2, **SMALL),
    "realnvp, one column": lambda: flows.realnvp(1, layers=2, **SMALL),
    "realnvp, heavy tails": lambda: flows.realnvp(2, layers=4, base="student", **SMALL),
    "realnvp, mixture": lambda: flows.realnvp(2, layers=2, base="mixture", **SMALL),
    "glow": lambda: flows.glow(3, layers=3, **SMALL),
    "nsf": lambda: flows.nsf(2, layers=3, **SMALL),
    "nsf, linear": lambda: flows.nsf(2, layers=2, spline="linear", **SMALL),
    "nsf, quadratic": lambda: flows.nsf(2, layers=2, spline="quadratic", **SMALL),
    "nsf, cubic": lambda: flows.nsf(2, layers=2, spline="cubic", **SMALL),
    "nsf_autoregressive": lambda: flows.nsf_autoregressive(2, layers=2, **SMALL),
    "made": lambda: flows.made(3, **SMALL),
    "maf": lambda: flows.maf(4, layers=3, **SMALL),
    "iaf": lambda: flows.iaf(2, layers=3, **SMALL),
    "circular_nsf": lambda: flows.circular_nsf(2, circular=[True, False], layers=2, **SMALL),
    "glow_image": lambda: flows.glow_image([1, 4, 4], levels=1, steps=2, hidden=8),
    "table": lambda: flows.table(TABLE.to_json(), arguments={"layers": 2, **SMALL}),
    "table, dequantised": lambda: flows.table(
        TABLE.to_json(), arguments={"layers": 2, **SMALL}, integers="dequantised"
    ),
}


def data_for(flow: Distribution, rows: int = 400) -> tuple[Tensor, Tensor | None]:
    if not isinstance(flow, flows.Flow):
        columns = [torch.rand(rows) + 0.5, 360 * torch.rand(rows), torch.rand(rows), torch.arange(rows) % 7]
        return torch.stack(columns, 1), None
    noise = torch.randn(rows, *flow.event_shape)
    context = 3 * torch.randn(rows, flow.context) + 10 if flow.context else None
    return 20 * noise + 100 * (math.prod(flow.event_shape) < 3 and "Wrap" not in str(flow)), context


def perturbed(flow: Distribution, scale: float = 0.04) -> Distribution:
    """Stand in for a trained flow: no layer is the identity any more."""
    with torch.no_grad():
        for weight in flow.parameters():
            weight.add_(scale * torch.randn_like(weight))
    return flow


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_flow_passes(name: str) -> None:
    torch.manual_seed(1)
    flow = SOUND[name]()
    x, context = data_for(flow)
    flow.initialise(x, context)
    report = check(perturbed(flow), x, context)
    assert report.passed, str(report)


def test_a_sound_flow_passes_under_many_seeds() -> None:
    torch.manual_seed(2)
    flow = perturbed(flows.realnvp(2, layers=3, hidden=(8,)))
    for seed in range(20):
        report = check(flow, samples=300, seed=seed)
        assert report.passed, str(report)


def test_the_flow_is_not_changed_and_the_result_repeats() -> None:
    flow = perturbed(flows.realnvp(2, layers=2, hidden=(8,)))
    before = {name: value.clone() for name, value in flow.state_dict().items()}
    state = torch.get_rng_state()
    first, second = check(flow, samples=100), check(flow, samples=100)
    assert torch.equal(state, torch.get_rng_state())
    assert flow.training
    assert all(torch.equal(value, before[name]) for name, value in flow.state_dict().items())
    assert first == second


def test_a_float64_flow_passes() -> None:
    torch.manual_seed(3)
    assert check(perturbed(flows.nsf(2, layers=2, **SMALL).double()), samples=200).passed


class Faulty(Bijection):
    """A healthy affine map with tanh bend; faults are planted into the subclasses."""

    def __init__(self, features: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-0.5, 0.8, features))

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x * self.weight.exp(), self.ladj(x)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z * (-self.weight).exp(), -self.ladj(z)

    def ladj(self, x: Tensor) -> Tensor:
        return self.weight.sum().expand(x.shape[:-1])


class WrongSign(Faulty):
    def ladj(self, x: Tensor) -> Tensor:
        return -super().ladj(x)


class DroppedTerm(Faulty):
    def ladj(self, x: Tensor) -> Tensor:
        return self.weight[1:].sum().expand(x.shape[:-1])


class WrongSignOfInverse(Faulty):
    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, ladj = super().inverse_and_ladj(z)
        return x, -ladj


class NotInvertible(Faulty):
    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (x * self.weight.exp()).abs(), self.ladj(x)


class Clamped(Faulty):
    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, ladj = super().forward_and_ladj(x)
        return z.clamp(-2.5, 2.5), ladj


class LeaksFloat32(Faulty):
    """The dtype of the outputs is right: only their digits are gone."""

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (x.float() * self.weight.exp().float()).to(x.dtype), self.ladj(x)


class LeaksFloat32InOneTerm(Faulty):
    def ladj(self, x: Tensor) -> Tensor:
        return self.weight.float().sum().to(x.dtype).expand(x.shape[:-1]) * (1 + 1e-7)


class ReturnsFloat32(Faulty):
    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, ladj = super().inverse_and_ladj(z)
        return x.float(), ladj


class OverflowsFarOut(Faulty):
    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, ladj = super().forward_and_ladj(x)
        zero = torch.where(x.abs() > 500, x.exp() * 0, 0 * x).sum(-1)
        return z, ladj + zero


class StandardiseWithoutLadj(Standardise):
    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, ladj = super().forward_and_ladj(x)
        return z, torch.zeros_like(ladj)


class PlainPermute(Bijection):
    """Its permutation is a Python list, so that no state_dict has it."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.order = torch.randperm(features).tolist()

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return Permute(self.order).forward_and_ladj(x)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return Permute(self.order).inverse_and_ladj(z)


class CoolSampler(Flow):
    def sample(self, shape=(), context=None, *, generator=None) -> Tensor:
        return self.to_data(0.8 * self.base.sample(shape, context, generator=generator))


class LyingBase(Normal):
    """Density and sampler are both plausible, but of different distributions."""

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return super().log_prob(x / 1.2) - x.shape[-1] * math.log(1.2)


class UnnormalisedBase(Normal):
    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return super().log_prob(x) + 0.1


def flow_of(bijection: Bijection, features: int = 3, base: Distribution | None = None, kind: type[Flow] = Flow) -> Flow:
    return kind(bijection, Normal(features) if base is None else base, event_shape=(features,))


def standardiser_without_ladj() -> Flow:
    scale = StandardiseWithoutLadj(2)
    scale.initialise(torch.randn(100, 2) * torch.tensor([3.0, 0.2]))
    return flow_of(scale, 2)


FAULTS = {
    "sign of a ladj": (lambda: flow_of(WrongSign()), {"ladj against autograd", "inverse ladj against autograd"}),
    "sign of the inverse ladj": (lambda: flow_of(WrongSignOfInverse()), {"inverse ladj against autograd"}),
    "dropped term": (lambda: flow_of(DroppedTerm()), {"ladj against autograd", "integral of the density"}),
    "not invertible": (lambda: flow_of(NotInvertible()), {"round trip of data, float64"}),
    "clamped": (lambda: flow_of(Clamped()), {"round trip of data, float64", "round trip of latent, float64"}),
    "float32 leak": (lambda: flow_of(LeaksFloat32()), {"float64 is kept"}),
    "float32 leak of one term": (lambda: flow_of(LeaksFloat32InOneTerm()), {"ladj against autograd"}),
    "float32 output": (lambda: flow_of(ReturnsFloat32()), {"float64 is kept"}),
    "standardiser without ladj": (standardiser_without_ladj, {"ladj against autograd", "integral of the density"}),
    "cool sampler": (
        lambda: flow_of(Affine(torch.zeros(2), torch.ones(2)), 2, kind=CoolSampler),
        {"samples against density", "samples against latent"},
    ),
    "lying base": (
        lambda: flow_of(Affine(torch.zeros(2), torch.ones(2)), 2, LyingBase(2)),
        {"samples against density"},
    ),
    "lying base, 4 columns": (lambda: flow_of(Faulty(4), 4, LyingBase(4)), {"samples against density"}),
    "unnormalised, 2 columns": (lambda: flow_of(Faulty(2), 2, UnnormalisedBase(2)), {"integral of the density"}),
    "unnormalised, 5 columns": (lambda: flow_of(Faulty(5), 5, UnnormalisedBase(5)), {"integral of the density"}),
    "overflow far out": (lambda: flow_of(OverflowsFarOut()), {"finite gradients"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault: str) -> None:
    make, expected = FAULTS[fault]
    report = check(make())
    assert expected <= set(report.failed), str(report)


def test_the_healthy_relative_of_the_faulty_maps_passes() -> None:
    assert check(flow_of(Faulty())).passed


@pytest.fixture
def recipe_that_loses_its_permutation():
    def shuffled(features: int) -> Flow:
        return flow_of(Chain([Faulty(features), PlainPermute(features), Faulty(features)]), features)

    yield recipe(shuffled)
    del _RECIPES["shuffled"]


def test_a_permutation_lost_on_loading_is_caught(recipe_that_loses_its_permutation) -> None:
    torch.manual_seed(0)
    flow = perturbed(recipe_that_loses_its_permutation(6))
    report = check(flow)
    assert report.failed == ["saved and loaded"], str(report)


def test_without_a_recipe_a_plain_tensor_counts_as_lost() -> None:
    layer = Faulty()
    layer.order = torch.randperm(3)
    report = check(flow_of(layer))
    assert unregistered_tensors(flow_of(layer)) == ["bijection.order"]
    assert report.failed == ["saved and loaded"]


def test_a_flow_that_cannot_be_evaluated_fails_with_its_message() -> None:
    class Broken(Faulty):
        def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
            raise RuntimeError("no inverse yet")

    report = check(flow_of(Broken()), torch.randn(50, 3))
    assert "no inverse yet" in str(report)
    assert not report.passed


def test_many_dimensions_get_no_verdict_on_the_integral() -> None:
    torch.manual_seed(0)
    report = check(perturbed(flows.glow_image([1, 8, 8], levels=1, steps=1, hidden=4)), samples=100)
    assert report["integral of the density"].passed is None
    assert report.passed


def test_the_report_is_a_table_and_json() -> None:
    report = check(flow_of(WrongSign()), samples=100)
    again = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert again["passed"] is False
    assert again["settings"]["rows"] == 100
    assert {m["name"] for m in again["measurements"] if m["passed"] is False} == set(report.failed)
    lines = str(report).splitlines()
    assert {line.split("  ")[0] for line in lines[1:-1]} == {m.name for m in report.measurements}
    assert lines[-1].startswith("the check FAILED: ")
    assert isinstance(report, CheckReport)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="expects a Flow"):
        check(Normal(2))
    with pytest.raises(ShapeError, match="rows of shape"):
        check(flows.maf(2), torch.zeros(5, 3))
    with pytest.raises(ShapeError, match="one context per row"):
        check(flows.maf(2, context=1), torch.zeros(5, 2), torch.zeros(4, 1))
    with pytest.raises(InputError, match="at least 2 rows"):
        check(flows.maf(2), torch.zeros(1, 2))
    with pytest.raises(InputError, match="at least 2"):
        check(flows.maf(2), samples=1)

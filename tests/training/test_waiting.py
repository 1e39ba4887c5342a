"""A step of training reads nothing back from the device: on a GPU nobody waits for numbers but where it is said."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bijecta.distributions import Distribution
from bijecta.errors import TrainingDivergedError
from bijecta.flows import RECIPES, maf, nsf, realnvp
from bijecta.training import Batch, FitConfig, TrainingStep, fit, loop
from bijecta.training.config import OPTIMISERS

CONSTRUCTED_OTHERWISE = ("glow_image", "table")
ADAPTIVE = ("cnf",)  # the size of a solver's next step depends on the error of the last one


class NoReads(TorchDispatchMode):
    """Fail where a number of a tensor becomes a number of Python, or tensors of two devices meet."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert "_local_scalar_dense" not in str(function)
        result = function(*args, **(kwargs or {}))
        tensors = [each for each in tree_leaves((args, kwargs, result)) if isinstance(each, torch.Tensor)]
        assert len({tensor.device.type for tensor in tensors}) <= 1, f"{function} brings numbers to another device"
        return result


@contextmanager
def no_reads() -> Iterator[None]:
    def refuse(*_: object) -> None:
        raise AssertionError("a tensor was read")

    with pytest.MonkeyPatch.context() as patch, NoReads():
        for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__"):
            patch.setattr(torch.Tensor, name, refuse)
        yield


@pytest.mark.parametrize("read", [float, bool, lambda x: x.tolist(), lambda x: x.to("meta"), lambda x: x.item()])
def test_a_read_is_noticed(read):
    with no_reads(), pytest.raises(AssertionError):
        read(torch.zeros(1))


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in CONSTRUCTED_OTHERWISE + ADAPTIVE])
def test_no_recipe_needs_a_number_to_compute_its_gradient(name):
    """On the device meta there are no numbers at all."""
    flow = RECIPES[name](3)
    flow.initialise(torch.randn(64, 3))
    flow.train().to("meta")
    step = TrainingStep(flow)
    with no_reads():
        loss = step.differentiate(Batch(50, torch.empty(50, 3, device="meta")))
        norm = step.weights.clip(1.0)
    assert loss.shape == norm.shape == ()


@pytest.fixture
def seldom(monkeypatch):
    monkeypatch.setattr(loop, "STEPS_BETWEEN_LOOKS", {"cpu": 7})


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_step_of_fit_reads_nothing(optimiser, seldom, monkeypatch):
    take_step, taken = loop._Run._take_step, []

    def watched(run, rows):
        with no_reads():
            loss = take_step(run, rows)
        taken.append(rows)
        return loss

    monkeypatch.setattr(loop._Run, "_take_step", watched)
    config = FitConfig(epochs=1, batch_size=50, optimiser=optimiser)
    fit(realnvp(2, layers=2), torch.randn(330, 2), weight=torch.rand(330), config=config)
    assert len(taken) == 6  # one more would be the seventh, where the losses are looked at


@pytest.mark.parametrize("make", [maf, nsf])
def test_looking_seldom_changes_no_bit(make, monkeypatch):
    weights = []
    for steps in (1, 7):
        monkeypatch.setattr(loop, "STEPS_BETWEEN_LOOKS", {"cpu": steps})
        torch.manual_seed(0)
        flow = make(2, layers=2, hidden=(8,))
        fit(flow, torch.randn(500, 2), config=FitConfig(epochs=2, batch_size=50))
        weights.append([weight.detach() for weight in flow.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


class Sick(Distribution):
    """A normal distribution that has no density above ``limit``."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.flow, self.limit = realnvp(2, layers=1, hidden=(4,)), limit

    @property
    def event_shape(self):
        return self.flow.event_shape

    def log_prob(self, x, context=None):
        return torch.where(x[..., 0] > self.limit, torch.nan, self.flow.log_prob(x, context))

    def sample(self, *arguments, **keywords):
        return self.flow.sample(*arguments, **keywords)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_divergence_that_is_seen_later_is_told_in_the_same_words(optimiser, monkeypatch):
    x = torch.randn(1000, 2)
    x[123, 0] = 1e4
    told, weights = [], []
    for steps in (1, 7):
        monkeypatch.setattr(loop, "STEPS_BETWEEN_LOOKS", {"cpu": steps})
        torch.manual_seed(0)
        flow = Sick(limit=1e3)
        config = FitConfig(epochs=1, batch_size=50, validation_fraction=0, optimiser=optimiser)
        with pytest.raises(TrainingDivergedError, match="The loss became nan at step") as error:
            fit(flow, x, config=config)
        told.append(str(error.value))
        weights.append([weight.detach() for weight in flow.parameters()])
    assert told[0] == told[1]
    assert "123" in told[0]
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_bad_step_changes_nothing(optimiser, native, monkeypatch):
    if not native:
        monkeypatch.setattr(TrainingStep, "_update_natively", lambda _: None)
    flow = realnvp(2, layers=2, hidden=(8,))
    step = TrainingStep(flow, optimiser=optimiser, learning_rate=0.1)
    good, bad = Batch(20, torch.randn(20, 2)), Batch(20, torch.full((20, 2), torch.nan))

    def moved(batch):
        before = [weight.detach().clone() for weight in flow.parameters()]
        loss = step(batch)
        return bool(loss.isfinite()), not all(map(torch.equal, before, flow.parameters()))

    assert moved(good) == (True, True)
    assert moved(bad) == (False, False)
    if not native:  # nobody may have looked yet: the weights that gave the bad loss have to be there when somebody does
        assert moved(good) == (False, False)

"""The training loop: it learns, it restores, it resumes bit for bit, and it says what went wrong."""

import dataclasses
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from bijecta.bijections import Chain, Standardise
from bijecta.distributions import Dequantised
from bijecta.errors import FileFormatError, InputError, ShapeError, TrainingDivergedError
from bijecta.flows import Flow, circular_nsf, nsf, realnvp
from bijecta.training import Batch, FitConfig, Progress, fit, nll, reverse_kl
from bijecta.training.averages import WeightAverage
from bijecta.training.rows import read_rows

QUICK = FitConfig(epochs=3, batch_size=64, patience=0)


def small(features: int = 2, **arguments: object) -> Flow:
    torch.manual_seed(0)
    return realnvp(features, layers=2, hidden=(8,), **arguments)


def small_circular() -> Flow:
    torch.manual_seed(0)
    return circular_nsf(2, circular=[True, False], layers=2, hidden=(8,))


def normal_rows(n: int = 300, features: int = 2, seed: int = 0) -> torch.Tensor:
    return 5 + 3 * torch.randn(n, features, generator=torch.Generator().manual_seed(seed))


def weights_of(flow: Flow) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in flow.state_dict().values()]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_recovers_the_spread_of_a_normal_in_its_own_units(scale: float) -> None:
    x = scale * normal_rows(2000)
    flow = small()
    fit(flow, x, config=FitConfig(epochs=15, batch_size=100))
    samples = flow.sample(20_000, generator=torch.Generator().manual_seed(1))
    assert samples.std(0).div(3 * scale).sub(1).abs().max() < 0.1
    # The entropy of the data is that of a normal: log_prob is per unit volume of the data, not of standardised data.
    entropy = 2 * (0.5 * np.log(2 * np.pi * np.e) + np.log(3 * scale))
    assert -flow.log_prob(x).mean().item() == pytest.approx(entropy, abs=0.1)


def test_validation_rows_decide_which_weights_stay() -> None:
    flow, x = small(), normal_rows()
    result = fit(flow, x, config=dataclasses.replace(QUICK, epochs=12, learning_rate=0.05))
    losses = [line.validation_loss for line in result.history]
    assert result.best_loss == min(losses)
    assert result.best_epoch == 1 + losses.index(min(losses))
    rows = read_rows(flow, x, None, None, 1)
    _, validation = rows.split(QUICK.validation_fraction, QUICK.seed)
    assert nll(flow, validation.as_batch()).item() == pytest.approx(result.best_loss, abs=1e-5)


def test_stops_when_patience_ends() -> None:
    result = fit(small(), normal_rows(), config=FitConfig(epochs=500, patience=3, learning_rate=0.02))
    assert result.stopped == "patience"
    assert len(result.history) == result.best_epoch + 3


def test_stops_when_the_time_is_up_with_the_learning_rate_at_its_end() -> None:
    result = fit(
        small(), normal_rows(), config=FitConfig(epochs=100_000, patience=0, max_seconds=1.0, learning_rate=2e-3)
    )
    assert result.stopped == "time"
    assert 0.9 < result.seconds < 60  # a loaded machine may stand still in between
    rates = [line.learning_rate for line in result.history]
    # The warm-up follows the clock as well: it does not last for 3 % of a hundred thousand epochs.
    assert max(rates) > 0.05 * 2e-3
    assert rates[-1] < 0.5 * max(rates)


def test_the_hook_sees_every_epoch_and_may_stop() -> None:
    seen: list[Progress] = []

    def hook(progress: Progress) -> bool:
        seen.append(progress)
        return progress.epoch == 2

    result = fit(small(), normal_rows(), config=dataclasses.replace(QUICK, epochs=50), on_epoch=hook)
    assert result.stopped == "hook"
    assert tuple(seen) == result.history
    assert [p.epoch for p in seen] == [1, 2]
    assert all(p.steps_per_second > 0 and p.eta_seconds >= 0 for p in seen)


def test_same_seed_same_weights_and_the_global_generator_is_left_alone() -> None:
    flows = [small(), small()]
    for flow in flows:
        torch.manual_seed(7)
        before = torch.get_rng_state()
        fit(flow, normal_rows(), config=QUICK)
        assert torch.equal(before, torch.get_rng_state())
    assert same(weights_of(flows[0]), weights_of(flows[1]))
    other = small()
    fit(other, normal_rows(), config=dataclasses.replace(QUICK, seed=1))
    assert not same(weights_of(flows[0]), weights_of(other))


def test_few_rows_get_small_steps() -> None:
    rates = []
    for n in (100, 400, 8000):
        config = FitConfig(epochs=1, batch_size=n, validation_fraction=0.0, warmup=0.0)
        rates.append(fit(small(), normal_rows(n), config=config).history[0].learning_rate)
    assert rates == pytest.approx([2e-3 / 40**0.5, 2e-3 / 10**0.5, 2e-3])


@pytest.mark.parametrize("n", [1, 2, 3, 10, 65, 2200])
def test_any_number_of_rows(n: int) -> None:
    x = normal_rows(max(n, 2))[:n]
    if n <= 2:  # one row is left to train on
        with pytest.raises(InputError, match="does not"):
            fit(small(), x, config=QUICK)
        return
    result = fit(small(), x, config=QUICK)
    assert len(result.history) == 3
    assert result.rows in (n, n - max(1, round(0.1 * n)), n - max(1, int(0.1 * n)))


def test_without_validation_the_last_weights_count() -> None:
    result = fit(small(), normal_rows(), config=dataclasses.replace(QUICK, validation_fraction=0.0))
    assert result.best_epoch == 3
    assert all(line.validation_loss is None for line in result.history)


def test_numpy_input_contexts_and_float64() -> None:
    generator = np.random.default_rng(0)
    context = generator.uniform(100, 900, size=(800, 1))
    x = generator.normal(size=(800, 1)) + context / 100
    torch.manual_seed(0)
    flow = nsf(1, context=1, layers=1, hidden=(16,)).double()
    fit(flow, x, context=context, config=FitConfig(epochs=30, batch_size=50, learning_rate=1e-2))
    means = flow.sample(4000, torch.tensor([[200.0], [800.0]], dtype=torch.float64)).mean(0).flatten()
    assert means.dtype == torch.float64
    assert means.tolist() == pytest.approx([2, 8], abs=0.5)


class TestWeights:
    def test_a_weight_of_two_counts_like_two_rows(self) -> None:
        x = normal_rows(40)
        weight = torch.tensor([1.0, 2.0]).repeat(20)
        flow = small()
        rows = read_rows(flow, x, None, weight, 1)
        doubled = torch.cat([x, x[1::2]])
        weighted = nll(flow, rows.as_batch()).item() * weight.mean().item()
        assert weighted * 40 == pytest.approx(nll(flow, Batch(60, doubled)).item() * 60, rel=1e-5)

    def test_scale_of_the_weights_does_not_matter(self) -> None:
        flows = [small(), small()]
        weight = torch.rand(300) + 0.5
        for flow, scale in zip(flows, (1.0, 1024.0), strict=True):
            fit(flow, normal_rows(), weight=scale * weight, config=QUICK)
        for a, b in zip(weights_of(flows[0]), weights_of(flows[1]), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)

    def test_effective_sample_size(self) -> None:
        weight = np.array([1.0, 1.0, -1.0, 3.0])
        result = fit(small(), normal_rows(4), weight=weight, config=dataclasses.replace(QUICK, validation_fraction=0))
        assert result.effective_sample_size == pytest.approx(weight.sum() ** 2 / (weight**2).sum(), rel=1e-5)

    def test_negative_weights_take_density_away(self) -> None:
        # 20 N(0, 1) - N(1.2, 0.2^2), a density with a dent at 1.2.
        generator = torch.Generator().manual_seed(0)
        positive = torch.randn(20_000, 1, generator=generator)
        negative = 1.2 + 0.2 * torch.randn(1000, 1, generator=generator)
        x, weight = torch.cat([positive, negative]), torch.cat([torch.ones(20_000), -torch.ones(1000)])
        torch.manual_seed(0)
        flow = nsf(1, layers=2, hidden=(8,))
        fit(flow, x, weight=weight, config=FitConfig(epochs=15, batch_size=1000, learning_rate=1e-2))
        grid = torch.tensor([[1.2], [-1.2]])
        truth = 20_000 * torch.exp(-(grid**2) / 2) / (2 * np.pi) ** 0.5
        truth = truth - 1000 * torch.exp(-((grid - 1.2) ** 2) / 0.08) / (0.2 * (2 * np.pi) ** 0.5)
        found = flow.log_prob(grid).exp() * 19_000
        assert (found / truth.flatten()).tolist() == pytest.approx([1, 1], abs=0.2)

    @pytest.mark.parametrize("weight", [torch.zeros(300), -torch.ones(300), torch.full((300,), torch.nan)])
    def test_weights_that_make_no_density(self, weight: torch.Tensor) -> None:
        with pytest.raises(InputError, match=r"positive sum|finite"):
            fit(small(), normal_rows(), weight=weight, config=QUICK)


class TestReverseKL:
    def test_finds_a_normal_from_its_unnormalised_density(self) -> None:
        torch.manual_seed(0)
        flow = small()
        target = torch.tensor([[2.0, 0.6], [0.6, 0.5]])
        precision = torch.linalg.inv(target)

        def log_density(x: torch.Tensor) -> torch.Tensor:
            return -0.5 * ((x - 1) @ precision * (x - 1)).sum(-1) + 17.0

        config = FitConfig(epochs=15, steps_per_epoch=50, batch_size=200, learning_rate=1e-2, patience=0)
        result = fit(flow, loss=reverse_kl(log_density), config=config)
        # KL = loss + log Z >= 0, with log Z = 17 + log(2 pi) + log det / 2.
        log_z = 17 + np.log(2 * np.pi) + 0.5 * float(torch.logdet(target))
        assert -0.02 < result.best_loss + log_z < 0.1
        assert torch.cov(flow.sample(20_000).T).sub(target).abs().max() < 0.2

    def test_one_flow_for_every_context(self) -> None:
        torch.manual_seed(0)
        flow = small(1, context=1)
        context = torch.linspace(-1, 1, 400)[:, None]
        config = FitConfig(epochs=5, batch_size=50)
        fit(flow, context=context, loss=reverse_kl(lambda x: -x.square().sum(-1)), config=config)
        assert flow.sample(context=context).shape == (400, 1)

    def test_the_likelihood_needs_data(self) -> None:
        with pytest.raises(InputError, match="expects data"):
            fit(small(), config=QUICK)


class TestBadInput:
    def test_nan_rows_are_named(self) -> None:
        x = normal_rows()
        x[[17, 40]] = torch.nan
        with pytest.raises(InputError, match=r"2 of 300 rows of x .*\[17, 40\]"):
            fit(small(), x, config=QUICK)

    def test_lengths_must_agree(self) -> None:
        with pytest.raises(ShapeError, match=r"'x': 300, 'weight': 299"):
            fit(small(), normal_rows(), weight=torch.ones(299), config=QUICK)

    @pytest.mark.parametrize("x", [torch.ones(5), torch.ones(0, 2), torch.ones(5, 3)])
    def test_shapes(self, x: torch.Tensor) -> None:
        with pytest.raises(InputError):
            fit(small(), x, config=QUICK)

    def test_constant_column(self) -> None:
        x = normal_rows()
        x[:, 1] = 4.0
        with pytest.raises(InputError, match=r"column \[1\]"):
            fit(small(), x, config=QUICK)

    @pytest.mark.parametrize(
        ("setting", "value"),
        [("epochs", 0), ("learning_rate", -1), ("ema", 1.0), ("validation_fraction", 1.0), ("seed", -1), ("warmup", 2)],
    )
    def test_settings_out_of_range(self, setting: str, value: float) -> None:
        with pytest.raises(InputError, match=setting):
            FitConfig(**{setting: value})


class TestDivergence:
    def test_a_far_row_is_named_and_the_best_weights_come_back(self) -> None:
        class Overflowing(Standardise):
            def forward_and_ladj(self, x, context=None):
                z, ladj = super().forward_and_ladj(x, context)
                return torch.where(z > 8, torch.inf, z), ladj

        inner = small()
        flow = Flow(Chain([Overflowing(2), *list(inner.bijection)[2:]]), inner.base)
        x = normal_rows()
        x[123] = 1e4
        before = [p.clone() for p in flow.parameters()]
        with pytest.raises(TrainingDivergedError, match=r"(?s)Layer 0 \(Overflowing\).*data rows 123.*try 0.0002"):
            fit(flow, x, config=dataclasses.replace(QUICK, validation_fraction=0.0, learning_rate=2e-3))
        assert same(before, [p.clone() for p in flow.parameters()])

    def test_an_absurd_learning_rate_is_named(self) -> None:
        flow = small(log_scale_limit=1e4)
        with pytest.raises(TrainingDivergedError, match=r"(?s)became (nan|inf).*The learning rate was .*try"):
            fit(flow, normal_rows(), config=FitConfig(epochs=50, learning_rate=1e6, gradient_clip=1e9, patience=0))
        assert flow.log_prob(normal_rows()).isfinite().all()


class TestResume:
    CONFIG = FitConfig(epochs=6, batch_size=64, patience=0)

    @pytest.mark.parametrize("make", ["realnvp", "dequantised", "circular"])
    def test_bit_for_bit(self, tmp_path: Path, make: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bijecta.training.loop.CHECKPOINT_SECONDS", -1.0)
        makers = {
            "realnvp": small,
            "dequantised": lambda: Dequantised(small(), [1]),
            "circular": lambda: (torch.manual_seed(0), circular_nsf(2, circular=[True, False], layers=2, hidden=(8,)))[
                1
            ],
        }
        x = normal_rows().round()
        whole = makers[make]()
        fit(whole, x, config=self.CONFIG)
        path = tmp_path / "checkpoint.safetensors"
        fit(makers[make](), x, config=self.CONFIG, checkpoint=path, on_epoch=lambda p: p.epoch == 3)
        torch.manual_seed(99)
        resumed = makers[make]()
        result = fit(resumed, x, config=self.CONFIG, checkpoint=path)
        assert [line.epoch for line in result.history] == [1, 2, 3, 4, 5, 6]
        assert same(weights_of(whole), weights_of(resumed))

    @pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
    def test_with_every_optimiser(self, tmp_path: Path, optimiser: str) -> None:
        config, x = dataclasses.replace(self.CONFIG, optimiser=optimiser, learning_rate=1e-2), 3 * normal_rows() + 5
        whole, stopped, resumed = small(), small(), small()
        result = fit(whole, x, config=config)
        assert result.best_epoch > 0, "no epoch was better than the start"
        path = tmp_path / "checkpoint.safetensors"
        fit(stopped, x, config=config, checkpoint=path, on_epoch=lambda p: p.epoch == 3)
        fit(resumed, x, config=config, checkpoint=path)
        assert same(weights_of(whole), weights_of(resumed))

    def test_after_a_kill(self, tmp_path: Path) -> None:
        script = (
            "import sys, time, torch; torch.set_num_threads(1)\n"
            "import bijecta.training.loop as loop; loop.CHECKPOINT_SECONDS = -1.0\n"
            "from bijecta.flows import realnvp\n"
            "from bijecta.training import FitConfig, fit\n"
            "torch.manual_seed(0); flow = realnvp(2, layers=2, hidden=(8,))\n"
            "x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))\n"
            "slow = len(sys.argv) > 3\n"
            "hook = lambda p: time.sleep(0.3) if slow else None\n"
            "config = FitConfig(epochs=8, batch_size=64, patience=0)\n"
            "fit(flow, x, config=config, checkpoint=sys.argv[1], on_epoch=hook)\n"
            "from safetensors.torch import save_file; save_file(flow.state_dict(), sys.argv[2])\n"
        )

        def start(checkpoint: str, out: str, *slow: str) -> subprocess.Popen:
            return subprocess.Popen(
                [sys.executable, "-c", script, str(tmp_path / checkpoint), str(tmp_path / out), *slow]
            )

        assert start("whole", "whole.out").wait() == 0
        killed = start("killed", "killed.out", "slow")
        while not (tmp_path / "killed").exists() and killed.poll() is None:
            time.sleep(0.05)
        killed.kill()
        killed.wait()
        assert not (tmp_path / "killed.out").exists()
        assert start("killed", "killed.out").wait() == 0
        assert (tmp_path / "killed.out").read_bytes() == (tmp_path / "whole.out").read_bytes()

    def test_refuses_other_data_and_other_settings(self, tmp_path: Path) -> None:
        path = tmp_path / "checkpoint"
        fit(small(), normal_rows(), config=self.CONFIG, checkpoint=path, on_epoch=lambda p: p.epoch == 2)
        with pytest.raises(InputError, match="its data differ"):
            fit(small(), normal_rows(seed=1), config=self.CONFIG, checkpoint=path)
        with pytest.raises(InputError, match="its settings differ"):
            fit(small(), normal_rows(), config=dataclasses.replace(self.CONFIG, epochs=7), checkpoint=path)

    @pytest.mark.parametrize("content", [b"", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", b"x" * 1000])
    def test_a_broken_checkpoint_is_named(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "checkpoint"
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match="checkpoint"):
            fit(small(), normal_rows(), config=self.CONFIG, checkpoint=path)

    def test_ctrl_c_leaves_the_best_weights_and_a_checkpoint(self, tmp_path: Path) -> None:
        def interrupt(progress: Progress) -> None:
            if progress.epoch == 3:
                raise KeyboardInterrupt

        flow, path = small(), tmp_path / "checkpoint"
        result = fit(flow, normal_rows(), config=self.CONFIG, checkpoint=path, on_epoch=interrupt)
        assert result.stopped == "interrupted"
        assert path.exists()
        whole, resumed = small(), small()
        fit(whole, normal_rows(), config=self.CONFIG)
        fit(resumed, normal_rows(), config=self.CONFIG, checkpoint=path)
        assert same(weights_of(whole), weights_of(resumed))


def test_average_of_constant_weights_is_constant_and_swap_is_its_own_inverse() -> None:
    module = torch.nn.Linear(3, 2)
    average = WeightAverage(list(module.parameters()), 0.9)
    start = [p.detach().clone() for p in module.parameters()]
    average.update()
    torch.testing.assert_close(average.average, start)
    with torch.no_grad():
        module.weight += 1
    average.update()
    moved = [p.detach().clone() for p in module.parameters()]
    decay = 3 / 12  # (1 + 2) / (10 + 2), below 0.9
    torch.testing.assert_close(average.average[0], start[0] + (1 - decay))
    average.swap()
    assert not torch.equal(module.weight, moved[0])
    average.swap()
    torch.testing.assert_close([p.detach() for p in module.parameters()], moved)

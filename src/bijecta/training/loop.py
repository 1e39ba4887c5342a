"""The one training loop."""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bijecta.data import Stream
from bijecta.distributions import Distribution
from bijecta.errors import TrainingDivergedError
from bijecta.training.checkpoint import (
    optimiser_tensors,
    read_checkpoint,
    restore_optimiser,
    same_run,
    write_checkpoint,
)
from bijecta.training.config import FitConfig
from bijecta.training.distributed import Team, join
from bijecta.training.divergence import explain_divergence
from bijecta.training.losses import Loss, nll
from bijecta.training.rows import Rows, read_rows
from bijecta.training.step import TrainingStep
from bijecta.training.streamed import StreamedRows, TrainingStream, read_stream

CHECKPOINT_SECONDS = 2.0  # between two checkpoints, so that short epochs do not wait for the disk
# After how many steps a run looks whether they were finite: that waits for a GPU, which would then have nothing to do.
STEPS_BETWEEN_LOOKS = {"cpu": 1, "cuda": 32}


@dataclass(frozen=True)
class Progress:
    """One line of the history of a run, written after every epoch.

    Losses are in nats per row and belong to the moving average of the weights, but for ``train_loss``, the mean over
    the steps of the epoch.
    """

    epoch: int
    step: int
    train_loss: float
    validation_loss: float | None
    best_loss: float
    learning_rate: float
    seconds: float
    steps_per_second: float
    eta_seconds: float
    patience_left: int | None


@dataclass(frozen=True)
class FitResult:
    """What `fit` returns.

    Attributes:
        history: one `Progress` per epoch.
        best_epoch: the epoch whose weights the flow now has; 0 for those it began with.
        best_loss: validation loss of that epoch in nats per row (training loss without validation rows).
        stopped: why the run ended: "epochs", "patience", "time", "hook" or "interrupted".
        rows: how many rows were trained on.
        effective_sample_size: what they are worth after weighting.
        seconds: how long the run took.
    """

    history: tuple[Progress, ...]
    best_epoch: int
    best_loss: float
    stopped: str
    rows: int
    effective_sample_size: float
    seconds: float


def fit(
    flow: Distribution,
    x: Any = None,
    *,
    context: Any = None,
    weight: Any = None,
    config: FitConfig | None = None,
    loss: Loss = nll,
    on_epoch: Callable[[Progress], bool | None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> FitResult:
    r"""Fit a flow to data by minimising a loss, :math:`\min_\theta \mathbb{E}_{batch}\,\mathcal{L}(\theta)`.

    The rows are split into training and validation rows; what starts from data is initialised; the optimiser takes
    steps on minibatches; after every epoch the moving average of the weights is validated. The flow ends in eval mode
    with the best average. In processes started by ``torchrun``, each with all rows, every batch is shared out between
    them.

    Args:
        flow: a `Flow`, or any Distribution with parameters; trained in place, on the device where it is.
        x: data of shape (N, D), in its own units; None for a loss that needs no data. A `Stream` brings rows from
            files that are larger than the memory, with its contexts and weights.
        context: contexts of shape (N, C).
        weight: event weights of shape (N,), any scale, negative ones allowed.
        config: settings (default: ``FitConfig()``).
        loss: `nll`, `reverse_kl(...)`, or any function (flow, batch) -> scalar that is a mean over rows.
        on_epoch: called with a `Progress` after every epoch, in the process that leads; returns True to stop.
        checkpoint: a file to write the state of the run to. Where it exists, the run goes on from it and ends, on a
            CPU, bit for bit as if it had never stopped.

    Returns:
        The history and how the run ended. Ctrl-C ends it early with the best weights.

    Raises:
        InputError: rows or settings cannot be used, or the checkpoint belongs to another run.
        TrainingDivergedError: the loss became NaN or infinite; the best weights so far are back in the flow.

    References:
        I. Loshchilov, F. Hutter (2019), Decoupled Weight Decay Regularization (AdamW).

    Example:
        >>> import torch
        >>> from bijecta.flows import realnvp
        >>> from bijecta.training import FitConfig, fit
        >>> result = fit(realnvp(2), 3 + torch.randn(500, 2), config=FitConfig(epochs=3))
        >>> len(result.history), result.stopped
        (3, 'epochs')
    """
    config = config or FitConfig()
    virtual = config.steps_per_epoch * (config.batch_size or 256)
    stream = isinstance(x, Stream)
    rows = read_stream(flow, x, context, weight) if stream else read_rows(flow, x, context, weight, virtual)
    team = join(rows.device)
    run = _Run(flow, rows, config, loss, team)
    try:
        if checkpoint is not None and Path(checkpoint).exists():
            run.resume(checkpoint)
        else:
            run.judge_start()
        stopped = team.agree(run.stop_reason())
        while not stopped:
            progress = run.epoch()
            enough = team.leads and on_epoch is not None and on_epoch(progress)
            stopped = team.agree("hook" if enough else run.stop_reason())
            due = stopped or time.monotonic() - run.saved_at > CHECKPOINT_SECONDS
            if checkpoint is not None and team.leads and due:
                run.save(checkpoint)
        return run.finish(stopped)
    except KeyboardInterrupt:
        return run.finish("interrupted")
    finally:
        run.optimisation.release()


class _Run:
    """A run of `fit`: the flow, its optimiser, and how far it has come."""

    def __init__(
        self, flow: Distribution, rows: Rows | StreamedRows, config: FitConfig, loss: Loss, team: Team
    ) -> None:
        self.flow, self.config, self.loss, self.rows, self.team = flow, config, loss, rows, team
        if team.size > 1:
            team.require_same(self._identity)
        self.train: Rows | TrainingStream
        self.train, self.validation = rows.split(config.validation_fraction, config.seed)
        self.batch_size = config.batch_size or min(1024, max(64, len(self.train) // 20))
        # Few rows are learned by heart in a few large steps: early stopping needs small ones to choose between.
        by_rows = 2e-3 * min(1.0, len(self.train) / 4000) ** 0.5
        self.learning_rate = by_rows if config.learning_rate is None else config.learning_rate
        self.steps_per_epoch = max(1, -(-len(self.train) // self.batch_size))
        start = self.train.start
        if start.x is not None:
            with _seeded(config.seed, self.rows):
                flow.initialise(start.x, start.context)
        team.begin_alike(flow)
        self.optimisation = TrainingStep(
            flow,
            loss=loss,
            optimiser=config.optimiser,
            learning_rate=self.learning_rate,
            weight_decay=config.weight_decay,
            gradient_clip=config.gradient_clip,
            ema=config.ema,
            compile=config.compile,
        )
        self.weights, self.optimiser = self.optimisation.weights.values, self.optimisation.optimiser
        self.average = self.optimisation.average
        self.history: list[Progress] = []
        self.best = [t.clone() for t in self.average.average]
        self.step, self.seconds_before = 0, 0.0
        self.unseen: list[_Unseen] = []
        self.started, self.saved_at = time.monotonic(), -math.inf
        self.best_epoch, self.best_loss = 0, math.inf

    def judge_start(self) -> None:
        """Let the start compete: with few rows nothing may beat the Gaussian that a flow begins as."""
        start = self._validate()
        if start is not None and not math.isnan(start):
            self.best_loss = start

    def epoch(self) -> Progress:
        """Go once through the training rows, then validate."""
        number, began = len(self.history) + 1, time.monotonic()
        self.flow.train()
        sizes, losses = [], []
        with _seeded(self.team.seed(self.config.seed + number), self.rows):
            for batch in self.train.shuffled(self.batch_size, self.config.seed, number):
                sizes.append(len(batch))
                losses.append(self._take_step(batch))
            self._look_at_losses()
        train_loss = sum(size * loss for size, loss in zip(sizes, _read(losses), strict=True)) / sum(sizes)
        progress = self._judge(number, train_loss, time.monotonic() - began)
        self.history.append(progress)
        return progress

    def _take_step(self, rows: Rows) -> Tensor:
        rate = self.learning_rate * self._schedule()
        self.optimisation.set_learning_rate(rate)
        share, fraction = self.team.share(rows)
        loss = self.optimisation.differentiate(share.as_batch())
        loss = self.team.average(loss, self.weights, fraction)
        self.step += 1
        self.unseen.append(_Unseen(self.step, rows, rate, loss, self.optimisation.update(loss)))
        if len(self.unseen) >= STEPS_BETWEEN_LOOKS.get(self.rows.device.type, 1):
            self._look_at_losses()
        return loss

    def _look_at_losses(self) -> None:
        """End the run if a loss or gradient was not finite; the weights are still those that gave it."""
        steps, self.unseen = self.unseen, []
        for step, checked in zip(steps, _read([step.checked for step in steps]), strict=True):
            if not math.isfinite(checked):
                self._diverged(step)

    def _schedule(self) -> float:
        """Rise linearly during the warm-up, then fall along a cosine."""
        steps = self.steps_per_epoch * self.config.epochs
        done = self.step / steps
        if self.config.max_seconds is not None:
            done = max(done, min(1.0, self.team.agree(self._seconds()) / self.config.max_seconds))
        rising = (done * steps + 1) / max(1.0, self.config.warmup * steps)
        return min(1.0, rising) * 0.5 * (1 + math.cos(math.pi * done))

    def _judge(self, epoch: int, train_loss: float, seconds: float) -> Progress:
        validation_loss = self._validate()
        judged = train_loss if validation_loss is None else validation_loss
        # Without validation rows there is nothing to choose the best epoch by: the last weights count.
        if validation_loss is None or judged < self.best_loss:
            self.best_epoch, self.best_loss = epoch, judged
            self.best = [t.clone() for t in self.average.average]
        patience = self.config.patience - (epoch - self.best_epoch) if self.config.patience else None
        eta = seconds * (self.config.epochs - epoch)
        if self.config.max_seconds is not None:
            eta = max(0.0, min(eta, self.config.max_seconds - self._seconds()))
        rate = self.optimiser.param_groups[0]["lr"]
        speed = self.steps_per_epoch / max(seconds, 1e-9)
        return Progress(
            epoch, self.step, train_loss, validation_loss, self.best_loss, rate, self._seconds(), speed, eta, patience
        )

    @torch.no_grad()
    def _validate(self) -> float | None:
        """Compute the loss of the validation rows under the averaged weights, with the same noise every time."""
        if self.validation is None:
            return None
        self.flow.eval()
        self.average.swap()
        order = torch.arange(len(self.validation), device=self.rows.device)
        total = 0.0
        with _seeded(self.team.seed(self.config.seed), self.rows):
            for batch in self.validation.batches(max(self.batch_size, 4096), order):
                share, fraction = self.team.share(batch)
                total += float(self.loss(self.flow, share.as_batch())) * fraction * len(batch)
        self.average.swap()
        return sum(self.team.gather(total)) / len(self.validation)

    def stop_reason(self) -> str:
        """Say why the run is over, or "" while it is not."""
        epoch = len(self.history)
        if epoch >= self.config.epochs:
            return "epochs"
        if self.config.patience and epoch - self.best_epoch >= self.config.patience:
            return "patience"
        if self.config.max_seconds is not None and self._seconds() >= self.config.max_seconds:
            return "time"
        return ""

    def finish(self, stopped: str) -> FitResult:
        """Leave the best weights in the flow."""
        self._restore_best()
        size = self.train.effective_sample_size
        return FitResult(
            tuple(self.history), self.best_epoch, self.best_loss, stopped, len(self.train), size, self._seconds()
        )

    @torch.no_grad()
    def _restore_best(self) -> None:
        for weight, best in zip(self.weights, self.best, strict=True):
            weight.copy_(best)
        self.flow.eval()

    def _diverged(self, bad: "_Unseen") -> None:
        explanation = explain_divergence(self.flow, bad.rows, bad.rate)
        self._restore_best()
        what = "loss" if not bool(bad.loss.isfinite()) else "gradient"
        kept = f"best weights (epoch {self.best_epoch})" if self.best_epoch else "initial weights"
        raise TrainingDivergedError(
            f"The {what} became {bad.loss.item():g} at step {bad.number}. {explanation} "
            f"Smaller log_scale_limit, more rows or fewer layers help too. The {kept} are back in the flow."
        )

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """What makes a run this one; hashing the rows takes a while, and they do not change."""
        return {"settings": self.config.to_json(), "data": self.rows.fingerprint()}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that `resume` needs."""
        tensors = {f"flow.{name}": t for name, t in self.flow.state_dict().items()}
        tensors |= self.average.tensors() | optimiser_tensors(self.optimiser)
        tensors |= {f"best.{number}": t for number, t in enumerate(self.best)}
        counters = {"step": self.step, "best_epoch": self.best_epoch, "best_loss": self.best_loss}
        record = {**self._identity, **counters, "history": [asdict(p) for p in self.history]}
        write_checkpoint(path, tensors, record)
        self.saved_at = time.monotonic()

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Take the state of a checkpoint over."""
        tensors, record = read_checkpoint(path, str(self.rows.device))
        same_run(record, self._identity)
        state = {name.removeprefix("flow."): t for name, t in tensors.items() if name.startswith("flow.")}
        self.flow.load_state_dict(state)
        self.history = [Progress(**entry) for entry in record["history"]]
        self.step, self.best_epoch, self.best_loss = record["step"], record["best_epoch"], record["best_loss"]
        self.average.restore(tensors, self.step)
        self.best = [tensors[f"best.{number}"].clone() for number in range(len(self.best))]
        restore_optimiser(self.optimiser, tensors)
        self.seconds_before = self.history[-1].seconds if self.history else 0.0
        self.started = time.monotonic()


class _Unseen(NamedTuple):
    """A step whose loss is still on its way from the device."""

    number: int
    rows: Rows
    rate: float
    loss: Tensor
    checked: Tensor  # the loss again; NaN if the gradient was not finite


def _read(numbers: Sequence[Tensor]) -> list[float]:
    """Bring scalars from the device, all at once."""
    return torch.stack(list(numbers)).tolist() if len(numbers) > 1 else [number.item() for number in numbers]


@contextmanager
def _seeded(seed: int, rows: Rows | StreamedRows) -> Iterator[None]:
    """Seed torch's global generators for a block, for noise inside losses and layers, and put them back after."""
    device = rows.device
    with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type="cuda"):
        torch.manual_seed(seed)
        yield

"""What is known of a run while it goes: losses, speed, how long it will take."""

import math
import time
from typing import Any

from bijecta.app.messages import Thinned
from bijecta.training import FitConfig, Progress

SMOOTHING = 0.9


class Curves:
    """The losses of a run, thinned out for drawing, and its speed."""

    def __init__(self) -> None:
        self.step, self.shown, self.epoch, self.epochs = 0, 0, 0, 0
        self.steps: int | None = None
        self.train, self.validation = Thinned(150), Thinned(100)
        self.best: float | None = None
        self.learning_rate: float | None = None
        self.smooth: float | None = None
        self.began: float | None = None
        self.seconds = 0.0
        self.recorded: dict[str, Any] = {}

    def start(self, batch_size: int, rows: int, config: FitConfig) -> None:
        """Note when the first step begins, and about how many there will be."""
        if self.began is None:
            self.began, self.epochs = time.monotonic(), config.epochs
            self.steps = config.epochs * math.ceil(rows * (1 - config.validation_fraction) / batch_size)

    def add_step(self, loss: float, seconds_waited: float) -> None:
        """Take the loss of a step; what was waited does not count as training."""
        self.step += 1
        before = loss if self.smooth is None else self.smooth
        self.smooth = SMOOTHING * before + (1 - SMOOTHING) * loss
        self.train.add((self.step, self.smooth))
        self.seconds = time.monotonic() - (self.began or 0.0) - seconds_waited

    def add_epoch(self, progress: Progress) -> None:
        """Take what `fit` says after an epoch."""
        self.epoch, self.learning_rate = progress.epoch, progress.learning_rate
        self.steps = self.epochs * (progress.step // progress.epoch)
        if progress.validation_loss is not None:
            self.validation.add((progress.step, progress.validation_loss))
        self.best = progress.best_loss

    def facts(self) -> dict[str, Any]:
        """Return everything for the header of a frame; numbers that JSON cannot hold are left out."""
        if self.recorded:  # a run that was made before
            return self.recorded
        speed = self.step / self.seconds if self.seconds > 0 else None
        left = None if speed is None or self.steps is None else max(0, self.steps - self.step) / speed
        return {
            "step": self.step,
            "steps": self.steps,
            "epoch": self.epoch,
            "epochs": self.epochs,
            "steps_per_second": speed,
            "eta": left,
            "seconds": self.seconds,
            "learning_rate": self.learning_rate,
            "best": self.best if self.best is not None and math.isfinite(self.best) else None,
            "train": _finite(self.train),
            "validation": _finite(self.validation),
        }


def _finite(thinned: Thinned) -> list[tuple[int, float]]:
    return [(step, round(loss, 5)) for step, loss in thinned.items() if math.isfinite(loss)]

"""The settings of a training run, as data."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from torch.optim import SGD, Adam, AdamW, Optimizer

from bijecta.errors import InputError

OPTIMISERS: Mapping[str, Callable[..., Optimizer]] = {
    "adamw": partial(AdamW, fused=True),
    "adam": partial(Adam, fused=True),
    "sgd": partial(SGD, momentum=0.9, nesterov=True, fused=True),
}


@dataclass(frozen=True)
class FitConfig:
    """Settings of `fit`.

    Args:
        epochs: passes over the training rows, at most.
        batch_size: rows per step (None: a twentieth of the rows, between 64 and 1024).
        learning_rate: the largest learning rate; it rises linearly, then falls to zero along a cosine (None: 2e-3,
            less for fewer than 4,000 training rows, in proportion to the root of their number).
        optimiser: "adamw", "adam" (which adds the weight decay to the gradient) or "sgd" (momentum 0.9, Nesterov's).
        warmup: fraction of all steps in which the learning rate rises.
        weight_decay: pull of the weights towards zero.
        gradient_clip: largest norm of the gradient of one step.
        ema: decay of the moving average of the weights that is validated and returned; 0 switches it off.
        validation_fraction: fraction of the rows held out; 0 trains on all and keeps the last weights.
        patience: stop after so many epochs without a better validation loss; 0 never stops early.
        max_seconds: time limit; the learning rate then falls with time, so that the run is finished when it ends.
            Such a run can't be repeated bit for bit.
        steps_per_epoch: steps that make an epoch when there are no data, as for reverse KL.
        seed: of the split, the order of the rows, and the noise in the loss.
        compile: have torch compile the loss with its gradient when the run begins, on a GPU as CUDA graphs, which takes
            up to a minute. Not for CPUs where `nll` has a native step: that is faster.

    Raises:
        InputError: a setting is out of its range.

    Example:
        >>> from bijecta.training import FitConfig
        >>> FitConfig(epochs=50, learning_rate=3e-3).epochs
        50
    """

    epochs: int = 100
    batch_size: int | None = None
    learning_rate: float | None = None
    optimiser: str = "adamw"
    warmup: float = 0.03
    weight_decay: float = 0.0
    gradient_clip: float = 5.0
    ema: float = 0.995
    validation_fraction: float = 0.1
    patience: int = 20
    max_seconds: float | None = None
    steps_per_epoch: int = 100
    seed: int = 0
    compile: bool = False

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise InputError(f"FitConfig expects optimiser among {', '.join(OPTIMISERS)}, got {self.optimiser!r}.")
        for name, (low, high, closed) in _RANGES.items():
            value = getattr(self, name)
            if value is None:
                continue
            if not (low <= value < high or (closed and value == high)) or not math.isfinite(value):
                end = "]" if closed else ")"
                raise InputError(f"FitConfig expects {name} in [{low:g}, {high:g}{end}, got {value!r}.")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON-able dictionary."""
        return asdict(self)


_RANGES: dict[str, tuple[float, float, bool]] = {
    "epochs": (1, math.inf, False),
    "batch_size": (1, math.inf, False),
    "learning_rate": (0, math.inf, False),
    "warmup": (0, 1, True),
    "weight_decay": (0, math.inf, False),
    "gradient_clip": (1e-12, math.inf, False),
    "ema": (0, 1, False),
    "validation_fraction": (0, 1, False),
    "patience": (0, math.inf, False),
    "max_seconds": (1e-3, math.inf, False),
    "steps_per_epoch": (1, math.inf, False),
    "seed": (0, 2**63, False),
}

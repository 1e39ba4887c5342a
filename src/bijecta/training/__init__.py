"""Training: losses, their settings, and the one loop."""

from bijecta.training.config import FitConfig
from bijecta.training.continuous import flow_matching, regularised_nll
from bijecta.training.logging import hooks, to_jsonl, to_tensorboard
from bijecta.training.loop import FitResult, Progress, fit
from bijecta.training.losses import Batch, Loss, nll, reverse_kl

__all__ = [
    "Batch",
    "FitConfig",
    "FitResult",
    "Loss",
    "Progress",
    "fit",
    "flow_matching",
    "hooks",
    "nll",
    "regularised_nll",
    "reverse_kl",
    "to_jsonl",
    "to_tensorboard",
]

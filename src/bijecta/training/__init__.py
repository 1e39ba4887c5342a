"""Training: losses, their settings, and the one loop."""

from bijecta.training.config import FitConfig
from bijecta.training.continuous import flow_matching, regularised_nll
from bijecta.training.logging import hooks, to_jsonl, to_tensorboard
from bijecta.training.loop import FitResult, Progress, fit
from bijecta.training.losses import Batch, Loss, nll, reverse_kl
from bijecta.training.step import TrainingStep
from bijecta.training.variational import (
    VariationalProgress,
    VariationalResult,
    fit_variational,
    start_at_mode,
    variational_bound,
)
from bijecta.training.variational_weights import (
    ImportanceSample,
    effective_sample_size,
    sample_importance,
    tail_shape,
)

__all__ = [
    "Batch",
    "FitConfig",
    "FitResult",
    "ImportanceSample",
    "Loss",
    "Progress",
    "TrainingStep",
    "VariationalProgress",
    "VariationalResult",
    "effective_sample_size",
    "fit",
    "fit_variational",
    "flow_matching",
    "hooks",
    "nll",
    "regularised_nll",
    "reverse_kl",
    "sample_importance",
    "start_at_mode",
    "tail_shape",
    "to_jsonl",
    "to_tensorboard",
    "variational_bound",
]

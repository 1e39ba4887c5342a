"""Training: losses, their settings, and the one loop."""

from bijecta.training.config import FitConfig
from bijecta.training.loop import FitResult, Progress, fit
from bijecta.training.losses import Batch, Loss, nll, reverse_kl

__all__ = ["Batch", "FitConfig", "FitResult", "Loss", "Progress", "fit", "nll", "reverse_kl"]

"""Measure what the verdict on a run needs, on fresh rows."""

import time

import numpy as np
import torch

from bijecta.app.datasets import Dataset
from bijecta.app.settings import RunSettings
from bijecta.app.verdict import Judgement, sentence, stray_share
from bijecta.diagnostics import gaussian_nll
from bijecta.flows import Flow

ROWS = 2000
SECONDS_BETWEEN = 2.0


class Judge:
    """Judges the flow of a run; rows and samples are the same every time.

    Args:
        data: of the run.
        settings: of the run.
    """

    def __init__(self, data: Dataset, settings: RunSettings) -> None:
        self.data, self.settings = data, settings
        self.rows = data.rows if data.truth is None else data.truth.sample(ROWS, settings.seed + 10_007)
        self.truth = None if data.truth is None else data.truth.log_prob(self.rows)
        self.gaussian = gaussian_nll(data.rows, self.rows).nll
        self.due = time.monotonic() + SECONDS_BETWEEN

    def is_due(self) -> bool:
        """Say whether the last verdict is old enough."""
        return time.monotonic() >= self.due

    def verdict(self, flow: Flow, best: float | None, best_epoch: int | None) -> str:
        """Judge the flow as it is.

        Args:
            flow: the flow, in eval mode.
            best: the best validation loss so far, for data without a known density.
            best_epoch: epoch of the weights that a finished run has kept; None while it trains.

        Returns:
            The sentence.
        """
        self.due = time.monotonic() + SECONDS_BETWEEN
        settings = self.settings
        return sentence(
            Judgement(
                nll=self._nll(flow, best),
                truth_nll=None if self.truth is None else -float(self.truth.mean()),
                gaussian_nll=self.gaussian,
                stray=self._stray(flow),
                base=settings.arguments.get("base", "normal"),
                learning_rate=settings.config().learning_rate,
                best_epoch=best_epoch,
            )
        )

    @torch.no_grad()
    def _nll(self, flow: Flow, best: float | None) -> float:
        if self.truth is None and best is not None:
            return best
        return -float(flow.log_prob(torch.as_tensor(self.rows, dtype=torch.float32)).mean())

    @torch.no_grad()
    def _stray(self, flow: Flow) -> float | None:
        if self.truth is None or self.data.truth is None:
            return None
        samples = flow.sample((ROWS,), generator=torch.Generator().manual_seed(1)).double().numpy()
        usable = samples[np.isfinite(samples).all(axis=1)]
        return stray_share(self.data.truth.log_prob(usable), self.truth) if len(usable) else None

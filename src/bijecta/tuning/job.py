"""The job of every trial: the same rows, fitted with other settings."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bijecta.data import Schema, Stream
from bijecta.distributions import Distribution
from bijecta.flows import table
from bijecta.training import Batch, FitResult, Progress, fit, nll
from bijecta.tuning.candidates import Candidate


class OutOfTime(Exception):  # noqa: N818 (no error: it ends a trial from inside an epoch)
    """The time was over in the middle of an epoch."""


@dataclass(frozen=True)
class Job:
    """Rows to fit, with contexts, weights and a schema; x may be a `Stream`."""

    x: Any
    context: Any
    weight: Any
    schema: Schema
    device: torch.device | str = "cpu"

    @property
    def context_features(self) -> int:
        """Number C of context features."""
        if isinstance(self.x, Stream):
            return len(self.x.context)
        return 0 if self.context is None else int(np.shape(self.context)[-1])

    def build(self, candidate: Candidate) -> Distribution:
        """Build the flow, with the same initial weights as `bijecta fit` with the same seed."""
        with torch.random.fork_rng([]):
            torch.manual_seed(candidate.config.seed)
            return table(
                self.schema.to_json(),
                context=self.context_features,
                recipe=candidate.recipe,
                arguments=candidate.arguments,
                integers=candidate.integers,
            ).to(self.device)

    def train(
        self, candidate: Candidate, on_epoch: Callable[[Progress], bool], deadline: float
    ) -> tuple[Distribution, FitResult]:
        """Fit a candidate.

        Args:
            candidate: the settings.
            on_epoch: returns True to stop.
            deadline: the moment, by `time.monotonic`, that the trial must not pass.

        Returns:
            The flow with its best weights, and how the fit went.

        Raises:
            OutOfTime: the deadline came in the middle of an epoch.
        """

        def timed_nll(flow: Distribution, batch: Batch) -> torch.Tensor:
            if time.monotonic() > deadline:
                raise OutOfTime
            return nll(flow, batch)

        flow = self.build(candidate)
        given = {"context": self.context, "weight": self.weight}
        return flow, fit(flow, self.x, **given, config=candidate.config, loss=timed_nll, on_epoch=on_epoch)

    def fingerprint(self) -> str:
        """Return a hash of rows and schema."""
        seen = hashlib.sha256(json.dumps(self.schema.to_json()).encode())
        for part in (self.x, self.context, self.weight):
            if isinstance(part, Stream):
                seen.update(part.fingerprint().encode())
            else:
                seen.update(b"none" if part is None else torch.as_tensor(part).detach().cpu().numpy().tobytes())
        return seen.hexdigest()

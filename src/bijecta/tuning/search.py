"""The search: one trial after another until the time is over."""

import json
import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bijecta.data import Column, Schema, Stream
from bijecta.distributions import Distribution
from bijecta.errors import InputError, NotConvergedError, ShapeError, TrainingDivergedError, require
from bijecta.training import FitResult, Progress
from bijecta.tuning.candidates import Candidate, prepared, suggest
from bijecta.tuning.job import Job, OutOfTime
from bijecta.tuning.records import (
    DIED,
    HERE,
    Trial,
    bury_the_dead,
    drop_models,
    keep_model,
    open_study,
    read_model,
    read_trials,
)

RANDOM_TRIALS = 6  # before the sampler begins to learn from the trials
SLACK = 1.05  # an epoch that has begun may take so much of the time; an epoch never begins that would need more
LAST_START = 0.95  # no trial begins after this part of the time
TOO_LATE = "the time was over before the end of an epoch"


@dataclass(frozen=True)
class Tuned:
    """What `tune` returns.

    Attributes:
        flow: the best flow of all trials.
        result: how its fit went.
        best: the trial that it comes from.
        trials: all trials, in the order in which they began.
    """

    flow: Distribution
    result: FitResult
    best: Trial
    trials: tuple[Trial, ...]


def tune(
    x: Any,
    context: Any = None,
    weight: Any = None,
    *,
    schema: Schema | None = None,
    minutes: float,
    study: str | os.PathLike[str] | None = None,
    start: Candidate | None = None,
    seed: int = 0,
) -> Tuned:
    r"""Search for settings with a smaller validation loss than the defaults, :math:`\min_s \mathcal{L}_{val}(s)`.

    Recipe, layers, width, bins, learning rate, batch size and weight decay are searched by Optuna's tree-structured
    Parzen estimator. The first trial is the start, so that the result is never worse than it on the validation rows;
    a trial whose loss is above the median of the trials before, at the same epoch, is pruned.

    Args:
        x: rows (N, D) in their own units, as a matrix of the schema; or a `Stream`.
        context: contexts (N, C).
        weight: event weights (N,).
        schema: what the columns are (default: that of the stream; all real).
        minutes: how long to search, this time.
        study: an SQLite file to keep the trials in. Where it exists, the search goes on; several processes may share
            it. The model of the best trial lies beside it.
        start: the first trial (default: the defaults of `fit`); what it sets is not searched.
        seed: of splits, initial weights and suggestions.

    Returns:
        The best flow, its settings, and all trials; diverged ones are among them, with their message.

    Raises:
        MissingDependencyError: Optuna is not installed.
        InputError: rows or settings cannot be used, the study belongs to other data, or the time is too short.
        TrainingDivergedError: every trial diverged.

    References:
        J. Bergstra, R. Bardenet, Y. Bengio, B. Kégl (2011), Algorithms for Hyper-Parameter Optimization.

    Example:
        >>> import torch
        >>> from bijecta.training import FitConfig
        >>> from bijecta.tuning import Candidate, tune
        >>> start = Candidate(arguments={"layers": 1, "hidden": [8]}, config=FitConfig(epochs=2))
        >>> tuned = tune(torch.randn(100, 2), minutes=0.05, start=start)
        >>> tuned.best.loss <= tuned.trials[0].loss
        True
    """
    _seconds(minutes)  # refused before anything is written
    start = start or Candidate()
    job = Job(x, context, weight, schema or _plain_schema(x))
    start = replace(start, config=replace(start.config, seed=seed))
    with _place(study) as path:
        search = Search(job, start, path)
        for _ in search.run(minutes):
            pass
        return search.best()


@contextmanager
def _place(study: str | os.PathLike[str] | None) -> Iterator[Path]:
    """Give the path of the study file; without one, in a folder that goes when the search is over."""
    if study is not None:
        yield Path(study)
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "study.db"


def _seconds(minutes: float) -> float:
    if not 0 < minutes < math.inf:
        raise InputError(f"tune expects minutes above 0, got {minutes!r}.")
    return 60 * minutes


def _plain_schema(x: Any) -> Schema:
    if isinstance(x, Stream):
        return x.schema
    shape = np.shape(x)
    if len(shape) != 2:
        raise ShapeError(f"tune expects rows of shape (N, D), got {tuple(shape)}.")
    return Schema(tuple(Column(f"x{number}", "real") for number in range(shape[1])))


class Search:
    """A search in a study file: its trials, and the best of them."""

    def __init__(self, job: Job, start: Candidate, path: Path) -> None:
        self._optuna = require("optuna", extra="tune", purpose="Tuning")
        self.job, self.start, self.folder = job, start, path.parent
        self.prepared = prepared(start, job.schema, len(job.x), job.context_features)
        self.study, self._interrupted = open_study(path), False
        self._refuse_other_data(path)
        bury_the_dead(self.study)
        self._enqueue_prepared()
        self.began = time.monotonic()

    def run(self, minutes: float) -> Iterator[Trial]:
        """Yield one trial after another until the time since the search was made is over."""
        seconds = _seconds(minutes)
        while True:
            yield self._one(self.began + seconds, self.began + SLACK * seconds)
            if self._interrupted or time.monotonic() > self.began + LAST_START * seconds:
                return

    def trials(self) -> tuple[Trial, ...]:
        """Return the trials that have begun, of this process and of others."""
        return read_trials(self.study)

    def best(self) -> Tuned:
        """Return the best model so far.

        Raises:
            TrainingDivergedError: no trial came to an end, and one diverged.
            InputError: the time was too short for one epoch.
        """
        trials = self.trials()
        complete = [trial for trial in trials if trial.state == "complete"]
        if not complete:
            diverged = [trial.message for trial in trials if trial.message not in (DIED, TOO_LATE)]
            if diverged:
                raise TrainingDivergedError(f"Every trial of {len(trials)} diverged, the first one thus: {diverged[0]}")
            raise InputError("The time is over before the first trial has done one epoch. Give more minutes.")
        best = next(trial for trial in complete if trial.number == self.study.best_trial.number)
        return Tuned(*read_model(self.folder, best.number), best, trials)

    def _one(self, deadline: float, last: float) -> Trial:
        """Do one trial: no epoch begins that would pass the deadline, and none goes on after the last moment."""
        trial = self.study.ask()
        first = trial.user_attrs.get("prepared")
        candidate = self._suggest(trial) if first is None else self.prepared[first]
        trial.set_user_attr("process", f"{HERE}:{os.getpid()}")
        trial.set_user_attr("candidate", candidate.to_json())
        watch = _Watch(trial, deadline, may_prune=first is None)
        try:
            flow, result = self.job.train(candidate, watch, last)
        except OutOfTime:
            self._fail(trial, TOO_LATE)
        except (TrainingDivergedError, NotConvergedError) as error:
            self._fail(trial, str(error))
        except InputError as error:  # not of the settings, but of the rows: the next trial would fail too
            self._fail(trial, str(error))
            raise
        else:
            self._finish(trial, flow, result, pruned=watch.pruned)
        return next(each for each in self.trials() if each.number == trial.number)

    def _suggest(self, trial: Any) -> Candidate:
        # A sampler of its own for every trial: repeatable, and processes that share the study do not repeat each other.
        seed = np.random.SeedSequence([self.start.config.seed, trial.number]).generate_state(1)[0]
        self.study.sampler = self._optuna.samplers.TPESampler(seed=int(seed), n_startup_trials=RANDOM_TRIALS)
        return suggest(trial, self.start, self.job.schema, len(self.job.x))

    def _finish(self, trial: Any, flow: Distribution, result: FitResult, *, pruned: bool) -> None:
        self._interrupted = result.stopped == "interrupted"
        states = self._optuna.trial.TrialState
        if pruned:
            self.study.tell(trial, state=states.PRUNED)
            return
        keep_model(self.folder, trial.number, flow.cpu(), result)  # before the study calls it the best
        self.study.tell(trial, result.best_loss)
        drop_models(self.study, self.folder)

    def _fail(self, trial: Any, message: str) -> None:
        trial.set_user_attr("message", message)
        self.study.tell(trial, state=self._optuna.trial.TrialState.FAIL)

    def _refuse_other_data(self, path: Path) -> None:
        mine = {"data": self.job.fingerprint(), "start": self.start.to_json()}
        theirs = self.study.user_attrs
        for name, what in (("data", "other rows"), ("start", "another start or seed")):
            if name in theirs and theirs[name] != json.loads(json.dumps(mine[name])):
                raise InputError(f"The study in {path} has {what}. Go on with the same ones, or name another file.")
            self.study.set_user_attr(name, mine[name])

    def _enqueue_prepared(self) -> None:
        """Enqueue what is tried before the search, unless it has been, or is being, tried."""
        tried = {
            trial.user_attrs.get("prepared")
            for trial in self.study.get_trials(deepcopy=False)
            if trial.state.name != "FAIL" or trial.user_attrs.get("message", TOO_LATE) != TOO_LATE
        }
        for number in range(len(self.prepared)):
            if number not in tried:
                self.study.enqueue_trial({}, user_attrs={"prepared": number})


class _Watch:
    """The hook of a trial: it reports every epoch, and ends the trial when it is hopeless or the time is over."""

    def __init__(self, trial: Any, deadline: float, *, may_prune: bool) -> None:
        self.trial, self.deadline, self.may_prune, self.pruned = trial, deadline, may_prune, False
        self.seconds = 0.0

    def __call__(self, progress: Progress) -> bool:
        epoch, self.seconds = progress.seconds - self.seconds, progress.seconds
        loss = progress.validation_loss
        if loss is not None and math.isfinite(loss):
            self.trial.report(loss, progress.epoch)
            self.pruned = self.may_prune and self.trial.should_prune()
        return self.pruned or time.monotonic() + epoch > self.deadline

"""What is kept of a search: the study file with all trials, and the model of the best one."""

import importlib
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bijecta.distributions import Distribution
from bijecta.errors import FileFormatError, InputError, require
from bijecta.persistence import load, read_header, save
from bijecta.training import FitResult, Progress
from bijecta.tuning.candidates import Candidate

LOCK_SECONDS = 60  # how long to wait for another process that writes to the study file
ATTEMPTS = 10  # to open a study that another process is making
HERE = socket.gethostname()
DIED = "its process ended before the trial did"


@dataclass(frozen=True)
class Trial:
    """One trial of a search.

    Attributes:
        number: its place in the study.
        state: "complete", "pruned", "failed", or "running" in another process.
        loss: best validation loss in nats per row; None where the trial failed.
        epochs: epochs done.
        seconds: how long it took.
        message: why it failed.
        candidate: its settings.
    """

    number: int
    state: str
    loss: float | None
    epochs: int
    seconds: float
    message: str
    candidate: Candidate

    def row(self) -> dict[str, Any]:
        """Return the trial as a row of a table."""
        config = self.candidate.config
        return {
            "number": self.number,
            "state": self.state,
            "validation_nll": self.loss,
            "epochs": self.epochs,
            "seconds": self.seconds,
            "recipe": self.candidate.recipe,
            **{name: self.candidate.arguments.get(name) for name in ("layers", "hidden", "bins")},
            **{name: getattr(config, name) for name in ("learning_rate", "batch_size", "weight_decay")},
            "message": self.message,
        }


def open_study(path: Path) -> Any:
    """Open the study in an SQLite file, or begin one.

    Raises:
        MissingDependencyError: Optuna is not installed.
        InputError: there is no such folder.
        FileFormatError: the file is no study.
    """
    optuna = require("optuna", extra="tune", purpose="Tuning")
    sqlalchemy = require("sqlalchemy", extra="tune", purpose="Tuning")
    if not path.parent.is_dir():
        raise InputError(f"There is no folder {path.parent} for the study file. Create it first.")
    spoken = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return _open_together(optuna, path)
    except (sqlalchemy.exc.DatabaseError, RuntimeError) as error:
        raise FileFormatError(f"{path} is no study file of this version of Optuna. Choose another name.") from error
    finally:
        optuna.logging.set_verbosity(spoken)


def _open_together(optuna: Any, path: Path) -> Any:
    """Open the study although another process may be making the same tables in this moment."""
    pruner = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=5)
    connection = {"connect_args": {"timeout": LOCK_SECONDS}}
    errors = importlib.import_module("sqlalchemy.exc")
    for _ in range(ATTEMPTS):
        with suppress(errors.OperationalError, errors.IntegrityError):
            storage = optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs=connection)
            return optuna.create_study(storage=storage, study_name="bijecta", load_if_exists=True, pruner=pruner)
        time.sleep(0.5)
    raise FileFormatError(f"{path} can't be opened as a study. Choose another name.")


def bury_the_dead(study: Any) -> None:
    """Mark trials as failed whose process on this machine ended without a word."""
    for trial in study.get_trials(deepcopy=False):
        host, _, process = trial.user_attrs.get("process", "").rpartition(":")
        if trial.state.name == "RUNNING" and host == HERE and not _lives(int(process)):
            study.tell(trial.number, state=type(trial.state).FAIL)


def _lives(process: int) -> bool:
    """Tell whether another process runs; where that can't be asked, assume that it does."""
    if process == os.getpid():
        return False  # this one has no trial yet: in a container, the number of the one that died comes again
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def read_trials(study: Any) -> tuple[Trial, ...]:
    """Return the trials that have begun."""
    return tuple(_read(each) for each in study.get_trials(deepcopy=False) if "candidate" in each.user_attrs)


def _read(frozen: Any) -> Trial:
    states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    state, known = states.get(frozen.state.name, "running"), frozen.user_attrs
    losses = [frozen.value] if state == "complete" else list(frozen.intermediate_values.values())
    return Trial(
        frozen.number,
        state,
        min(losses) if losses and state != "failed" else None,
        len(frozen.intermediate_values),
        frozen.duration.total_seconds() if frozen.duration else 0.0,
        known.get("message", DIED if state == "failed" else ""),
        Candidate.from_json(known["candidate"]),
    )


def keep_model(folder: Path, number: int, flow: Distribution, result: FitResult) -> None:
    """Write the model of a trial, with the history of its fit."""
    save(flow, _model(folder, number), metadata={"result": asdict(result)})


def drop_models(study: Any, folder: Path) -> None:
    """Remove the models of complete trials that are not the best; others may just be about to become it."""
    best = study.best_trial.number
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name == "COMPLETE" and trial.number != best:
            _model(folder, trial.number).unlink(missing_ok=True)


def read_model(folder: Path, number: int) -> tuple[Distribution, FitResult]:
    """Read what `keep_model` wrote.

    Raises:
        InputError: it is gone.
    """
    path = _model(folder, number)
    if not path.exists():
        raise InputError(f"{path}, the model of the best trial, is missing. Begin a new study.")
    record = read_header(path)["metadata"]["result"]
    history = tuple(Progress(**each) for each in record["history"])
    return load(path), FitResult(**{**record, "history": history})


def _model(folder: Path, number: int) -> Path:
    return folder / f"trial-{number}.safetensors"

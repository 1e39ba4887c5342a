"""The search itself, with seconds of time: order, pruning, failures, death, resumption, sharing."""

import os
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import optuna
import pytest
import torch

from bijecta.data import Column, Schema, split_rows, toy
from bijecta.errors import FileFormatError, InputError, MissingDependencyError, ShapeError, TrainingDivergedError
from bijecta.persistence import load
from bijecta.training import FitConfig, FitResult, Progress
from bijecta.tuning import Candidate, tune
from bijecta.tuning import search as searching
from bijecta.tuning.job import Job
from bijecta.tuning.records import DIED, open_study
from bijecta.tuning.search import TOO_LATE, Search

ROWS = toy("moons").sample(300, 0)
TINY = Candidate(arguments={"layers": 1, "hidden": [8], "bins": 4}, config=FitConfig(epochs=2))
SCHEMA = Schema((Column("x0", "real"), Column("x1", "real")))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def search_in(folder, start=TINY, rows=ROWS):
    return Search(Job(rows, None, None, SCHEMA), start, folder / "study.db")


def some_trials(search, count):
    """Take a few trials of a search that has all the time."""
    trials = search.run(60)
    return [next(trials) for _ in range(count)]


def pretend(monkeypatch, losses):
    """Let trials have given validation losses, epoch by epoch, without a fit; an exception is raised."""
    plans = iter(losses)

    def train(job, candidate, on_epoch, deadline):
        plan, history = next(plans), []
        if isinstance(plan, Exception):
            raise plan
        for number, loss in enumerate(plan, start=1):
            history.append(Progress(number, number, loss, loss, min(plan[:number]), 1e-3, 0.0, 1.0, 0.0, None))
            if on_epoch(history[-1]):
                break
        return job.build(candidate), FitResult(tuple(history), 1, min(plan), "epochs", 270, 270.0, 0.1)

    monkeypatch.setattr(Job, "train", train)


def test_the_best_is_no_worse_than_the_default_and_is_what_it_says(tmp_path):
    began = time.monotonic()
    state = torch.random.get_rng_state()
    tuned = tune(ROWS, minutes=0.2, start=TINY, study=tmp_path / "moons.db", seed=3)
    assert time.monotonic() - began < 120  # of 12; a loaded machine may stand still in between
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(tuned.trials) >= 2
    first = tuned.trials[0].candidate
    assert (first.recipe, first.arguments, first.config.learning_rate, first.config.seed) == (
        "nsf",
        TINY.arguments,
        None,
        3,
    )
    complete = [trial.loss for trial in tuned.trials if trial.state == "complete"]
    assert tuned.best.loss == tuned.result.best_loss == min(complete) <= tuned.trials[0].loss
    # The loss is that of the flow: the rows that the split of `fit` holds out, scored again.
    _, held_out = split_rows(len(ROWS), 0.1, 3)
    again = -tuned.flow.log_prob(torch.as_tensor(ROWS[held_out], dtype=torch.float32)).mean()
    assert float(again.detach()) == pytest.approx(tuned.best.loss, abs=1e-5)
    kept = list(tmp_path.glob("trial-*.safetensors"))
    assert [path.name for path in kept] == [f"trial-{tuned.best.number}.safetensors"]
    assert load(kept[0]).recipe["arguments"]["recipe"] == tuned.best.candidate.recipe
    with sqlite3.connect(tmp_path / "moons.db") as file:
        assert file.execute("select count(*) from trials").fetchone()[0] >= len(tuned.trials)


def test_the_same_seed_suggests_the_same(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    runs = [some_trials(search_in(tmp_path / name), 3) for name in ("a", "b")]
    first, second = ([(trial.candidate, trial.loss, trial.epochs) for trial in trials] for trials in runs)
    assert first == second
    assert len({str(candidate) for candidate, *_ in first}) == 3


def test_hopeless_trials_are_pruned_but_not_the_first(tmp_path, monkeypatch):
    good, bad = [2.0] * 10, [3.0] * 10
    pretend(monkeypatch, [bad, good, good, bad, good])
    trials = some_trials(search_in(tmp_path), 5)
    assert [trial.state for trial in trials] == ["complete", "complete", "complete", "pruned", "complete"]
    assert trials[3].epochs < 10
    assert trials[3].loss == 3.0


def test_diverged_trials_are_recorded_and_not_fatal(tmp_path, monkeypatch):
    pretend(monkeypatch, [TrainingDivergedError("NaN at step 7"), [2.0]])
    search = search_in(tmp_path)
    failed, complete = some_trials(search, 2)
    assert (failed.state, failed.message, failed.loss) == ("failed", "NaN at step 7", None)
    assert search.best().best == complete


def test_if_all_diverge_that_is_the_error(tmp_path, monkeypatch):
    pretend(monkeypatch, [TrainingDivergedError("NaN at step 7")])
    search = search_in(tmp_path)
    some_trials(search, 1)
    with pytest.raises(TrainingDivergedError, match="NaN at step 7"):
        search.best()


START = """
from pathlib import Path
import sys
import numpy as np
from bijecta.data import Column, Schema
from bijecta.tuning import Candidate
from bijecta.tuning.job import Job
from bijecta.tuning.search import Search
schema = Schema((Column("x0", "real"), Column("x1", "real")))
Search(Job(np.ones((300, 2)), None, None, schema), Candidate(), Path(sys.argv[1]))
"""

CHILD = """
import os, signal, sys
import numpy as np
from bijecta.training import FitConfig
from bijecta.tuning import Candidate, search, tune
report = search._Watch.__call__
def report_and_die(watch, progress):
    if watch.trial.number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return report(watch, progress)
search._Watch.__call__ = report_and_die
start = Candidate(arguments={"layers": 1, "hidden": [8], "bins": 4}, config=FitConfig(epochs=2))
tune(np.load(sys.argv[1]), minutes=5, study=sys.argv[2], start=start)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_search_that_was_killed_goes_on(tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", CHILD, str(tmp_path / "rows.npy"), str(tmp_path / "study.db")]
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    search = search_in(tmp_path)
    first, second = search.trials()
    assert (first.state, second.state, second.message) == ("complete", "failed", DIED)
    assert search.best().best == first
    (third,) = some_trials(search, 1)
    assert third.number == 2
    assert third.candidate not in (first.candidate, second.candidate)


def test_a_first_trial_that_died_is_tried_again(tmp_path):
    search = search_in(tmp_path)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    trial = search.study.ask()
    trial.set_user_attr("process", f"{searching.HERE}:{gone.pid}")
    trial.set_user_attr("candidate", TINY.to_json())
    (again,) = some_trials(search_in(tmp_path), 1)
    assert again.candidate == search.start
    assert again.number == 1


def test_what_another_process_is_doing_is_left_alone(tmp_path, monkeypatch):
    search = search_in(tmp_path)
    trial = search.study.ask()
    trial.set_user_attr("process", f"{searching.HERE}:{os.getppid()}")
    trial.set_user_attr("candidate", TINY.to_json())
    pretend(monkeypatch, [[2.0]])
    (mine,) = some_trials(search_in(tmp_path), 1)
    assert mine.candidate != search.start
    assert search.trials()[0].state == "running"
    search.study.tell(trial, 1.0)


def test_processes_may_begin_together(tmp_path):
    """They make the same tables in the same moment."""
    words = [sys.executable, "-c", START, str(tmp_path / "study.db")]
    options = {"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(words, **options) for _ in range(2)]
    ends = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends


def test_other_rows_or_another_seed_do_not_fit_a_study(tmp_path):
    search_in(tmp_path)
    with pytest.raises(InputError, match="other rows"):
        search_in(tmp_path, rows=ROWS + 1)
    with pytest.raises(InputError, match="another start or seed"):
        tune(ROWS, minutes=1, study=tmp_path / "study.db", start=TINY, seed=5)


def test_too_little_time_is_an_error_that_says_so(tmp_path):
    search = search_in(tmp_path)
    (trial,) = search.run(1e-9)
    assert trial.message == TOO_LATE
    with pytest.raises(InputError, match="Give more minutes"):
        search.best()
    assert some_trials(search_in(tmp_path), 1)[0].candidate == search.start


def test_no_epoch_begins_that_would_pass_the_deadline():
    study = optuna.create_study()
    watch = searching._Watch(study.ask(), time.monotonic() + 5, may_prune=False)
    line = [1.0, 1.0, 1.0, 1e-3]
    assert watch(Progress(1, 1, *line, 4.0, 1.0, 0.0, None)) is False
    assert watch(Progress(2, 2, *line, 10.0, 1.0, 0.0, None)) is True


@pytest.mark.parametrize(
    ("rows", "options", "error", "message"),
    [
        (ROWS, {"minutes": 0}, InputError, "minutes above 0"),
        (ROWS, {"minutes": float("nan")}, InputError, "minutes above 0"),
        (ROWS[:, 0], {"minutes": 1}, ShapeError, r"\(N, D\)"),
        (np.where(ROWS > 0, ROWS, np.nan), {"minutes": 1}, InputError, "NaN|finite"),
        (ROWS, {"minutes": 1, "study": "nowhere/study.db"}, InputError, "no folder"),
    ],
)
def test_what_cannot_be_tuned(rows, options, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        tune(rows, **{"start": TINY, **options})


def test_a_file_that_is_no_study_is_named(tmp_path):
    (tmp_path / "study.db").write_text("something else, long enough to look at" * 100)
    with pytest.raises(FileFormatError, match=r"study\.db is no study file"):
        open_study(tmp_path / "study.db")


def test_a_missing_model_is_named(tmp_path, monkeypatch):
    pretend(monkeypatch, [[2.0]])
    search = search_in(tmp_path)
    some_trials(search, 1)
    (tmp_path / "trial-0.safetensors").unlink()
    with pytest.raises(InputError, match=r"trial-0\.safetensors"):
        search.best()


def test_missing_optuna_is_answered_with_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "bijecta\[tune\]"'):
        tune(ROWS, minutes=1)

"""Runs live as long as their tab."""

import pytest

from app.conftest import wait_for
from bijecta.app import registry
from bijecta.app.pretrained import load_pretrained
from bijecta.app.settings import OPENING, RunSettings
from bijecta.app.trainer import ThreadTrainer
from bijecta.errors import InputError

LONG = RunSettings("realnvp", {"layers": 1, "hidden": (4,)}, rows=200, training={"epochs": 10**6, "patience": 0})


@pytest.fixture
def runs(monkeypatch):
    monkeypatch.setattr(registry, "GRACE_SECONDS", 0.2)
    made = registry.Registry(lambda settings, points: ThreadTrainer(settings, points=points))
    yield made
    made.close_all()


def test_a_run_ends_after_its_tab(runs):
    tab, other = runs.enter(), runs.enter()
    run, kept = runs.open(LONG, tab), runs.open(LONG, other)
    assert run.key != kept.key
    runs.start(run.key)
    wait_for(lambda: run.trainer.state == "running")
    thread = run.trainer.thread
    runs.depart(tab)
    wait_for(lambda: run.key not in runs.runs)
    wait_for(lambda: not thread.is_alive())
    assert kept.key in runs.runs, "the other tab goes on"
    with pytest.raises(InputError, match="Reload the page"):
        runs.get(run.key)


def test_a_run_that_is_watched_or_adopted_stays(runs):
    tab = runs.enter()
    watched, adopted = runs.open(LONG, tab), runs.open(LONG, tab)
    runs.watch(watched.key)
    adopted.tab = runs.enter()
    runs.depart(tab)
    tab.departed -= 10
    runs.sweep()
    assert {watched.key, adopted.key} <= runs.runs.keys()
    runs.leave(watched.key)
    runs.sweep()
    assert watched.key not in runs.runs


def test_too_many_runs_are_refused_with_a_reason(runs, monkeypatch):
    monkeypatch.setattr(registry, "LARGEST_TRAINING", 1)
    tab = runs.enter()
    first, second = runs.open(LONG, tab), runs.open(LONG, tab)
    runs.start(first.key)
    with pytest.raises(InputError, match="Stop one"):
        runs.start(second.key)


def test_the_opening_run_is_shown_trained(runs):
    run = runs.open(OPENING, runs.enter())
    wait_for(lambda: run.trainer.latest is not None)
    header = run.trainer.latest.header
    assert header["state"] == "done"
    assert header["best"] == load_pretrained().facts["best"]
    assert len(header["train"]) > 50
    assert "above the best possible" in header["verdict"]
    idle = runs.open(LONG, runs.enter())
    wait_for(lambda: idle.trainer.latest is not None)
    assert idle.trainer.state == "idle"

"""Small runs that several tests look at."""

import time
from contextlib import contextmanager

import pytest

from bijecta.app import registry
from bijecta.app.settings import RunSettings
from bijecta.app.trainer import FINAL, ThreadTrainer

TINY = RunSettings("realnvp", {"layers": 2, "hidden": (8,)}, rows=400, training={"epochs": 3})


def wait_for(condition, seconds=60.0):
    """Wait until a condition holds; a loaded machine may take its time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def wait_until_final(trainer, seconds=60.0):
    wait_for(lambda: trainer.state in FINAL, seconds)


@pytest.fixture
def tiny():
    return TINY


@contextmanager
def runs_in_threads(monkeypatch, view):
    """Give a page a registry of its own, whose runs are threads."""
    made = registry.Registry(lambda settings, points: ThreadTrainer(settings, points=points))
    for module in (registry, view):
        monkeypatch.setattr(module, "RUNS", made)
    yield made
    made.close_all()


def open_page(page, query):
    """Run a page with these query parameters; it must not raise."""
    for name, value in query.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception
    return page

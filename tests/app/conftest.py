"""Small runs that several tests look at."""

import time

import pytest

from bijecta.app.settings import RunSettings
from bijecta.app.trainer import FINAL

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

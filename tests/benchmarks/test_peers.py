"""Every library is asked for a density, and answers with one."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from peers_torch import BUILDERS
from speed_rows import ROWS, why_not

IMPORTED_AS = {"freia": "FrEIA"}
PEERS = Path(__file__).parents[2] / "benchmarks" / "peers.py"
SMALL = {name: replace(ROWS[name], event=(2,), hidden=(16, 16), layers=2) for name in ("realnvp2", "nsf2")}
SMALL |= {name: replace(ROWS[name], event=(2,), hidden=(16, 16), layers=2) for name in ("maf43", "nsfar20")}


AXIS = np.linspace(-10, 10, 201, dtype=np.float32)
POINTS = np.stack(np.meshgrid(AXIS, AXIS), -1).reshape(-1, 2)


def check_density(log_prob, samples):
    """Total probability on a grid is 1, and its mean is that of the samples."""
    probability = np.exp(log_prob) * 0.1**2
    assert probability.sum() == pytest.approx(1, abs=5e-3)
    error = samples.std(0) / len(samples) ** 0.5
    assert (np.abs(samples.mean(0) - probability @ POINTS) < 5 * error + 1e-2).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("library", BUILDERS)
def test_densities_integrate_to_one_and_fit_their_samples(library, name):
    pytest.importorskip(IMPORTED_AS.get(library, library))
    if why_not(library, name, "log_prob"):
        pytest.skip(why_not(library, name, "log_prob"))
    torch.manual_seed(1)
    density = BUILDERS[library](SMALL[name])
    with torch.no_grad():
        check_density(density.log_prob(torch.from_numpy(POINTS)).numpy(), density.sample(4000).numpy())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SMALL)
def test_densities_of_flowjax_too(name):
    pytest.importorskip("flowjax")
    import peers_jax

    _, log_prob = peers_jax.prepare(SMALL[name], "log_prob", len(POINTS), POINTS)
    _, sample = peers_jax.prepare(SMALL[name], "sample", 4000, POINTS)
    check_density(np.asarray(log_prob()), np.asarray(sample()))


def talk(library, *requests):
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    command = [sys.executable, str(PEERS), library, "1"]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=300, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_child_prepares_times_and_survives_a_mistake():
    hello, prepared, timed, mistake, fitted, steps = talk(
        "bijecta",
        {"prepare": "realnvp2", "work": "log_prob", "size": 32},
        {"seconds": 0.01},
        {"prepare": "no such row", "work": "train", "size": 32},
        {"prepare": "realnvp2", "work": "fit", "size": 256},
        {"seconds": 0},
    )
    assert hello["import_seconds"] > 0
    assert prepared["shape"] == [32]
    assert prepared["finite"] is True
    assert prepared["parameters"] == 8 * (64 + 64 + 64 * 64 + 64 + 64 * 2 + 2)
    assert min(timed["milliseconds"]) > 0
    assert "KeyError" in mistake["error"]
    assert fitted == {"finite": True}
    assert len(steps["milliseconds"]) == 1


def test_a_library_that_is_not_there_says_so():
    (answer,) = talk("no_such_library", {"seconds": 1})
    assert "not installed" in answer["error"]

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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("library", BUILDERS)
def test_densities_integrate_to_one_and_fit_their_samples(library, name):
    pytest.importorskip(IMPORTED_AS.get(library, library))
    if why_not(library, name, "log_prob"):
        pytest.skip(why_not(library, name, "log_prob"))
    torch.manual_seed(1)
    density = BUILDERS[library](SMALL[name])
    axis = torch.linspace(-10, 10, 201)
    points = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        probability = density.log_prob(points).exp() * (20 / 200) ** 2
        samples = density.sample(4000)
    assert probability.sum().item() == pytest.approx(1, abs=5e-3)
    mean = (probability[:, None] * points).sum(0)
    error = samples.std(0) / 4000**0.5
    assert ((samples.mean(0) - mean).abs() < 5 * error + 1e-2).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["realnvp2", "nsf2", "maf43", "nsfar20"])
def test_flowjax_integrates_to_one(name):
    pytest.importorskip("flowjax")
    import peers_jax

    axis = np.linspace(-10, 10, 201, dtype=np.float32)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    _, log_prob = peers_jax.prepare(SMALL[name], "log_prob", len(points), points)
    assert float(np.exp(np.asarray(log_prob())).sum()) * (20 / 200) ** 2 == pytest.approx(1, abs=5e-3)
    _, sample = peers_jax.prepare(SMALL[name], "sample", 50, points)
    assert np.isfinite(np.asarray(sample())).all()


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

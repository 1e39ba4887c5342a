"""Runs that several tests look at, and the command line as a function."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bijecta.cli import main
from bijecta.data import write_table

TINY = ["--set", "layers=2", "--set", "hidden=8", "--set", "bins=4", "--epochs", "2"]


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def words(self):
        """What was said on standard error, without the line breaks and frames of the terminal."""
        return " ".join(self.err.replace("│", " ").split())

    def json(self):
        return json.loads(self.out)


@pytest.fixture
def bijecta(capfd, monkeypatch, tmp_path):
    """Call the command line in a fresh folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        capfd.readouterr()
        code = main([str(each) for each in arguments])
        return Outcome(code, *capfd.readouterr())

    return call


def spawn(code, folder, *arguments, **options):
    """Start a child interpreter that runs Python code with some arguments."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    environment.pop("PYTHONUNBUFFERED", None)  # an unbuffered stream does not notice that its reader has gone
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    # A shell in the background ignores Ctrl-C, and so would every child of the tests.
    if os.name == "posix":
        pipes["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes)


def finish(process):
    out, err = process.communicate(timeout=120)
    return Outcome(process.returncode, out, err)


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory):
    """A small run on two moons."""
    folder = tmp_path_factory.mktemp("toy") / "run"
    assert main(["fit", "moons", "--rows", "600", "--quiet", "--out", str(folder), *TINY]) == 0
    return folder


def events(rows=400, seed=0):
    """Make a table with a column of every kind that needs no declaration, one angle, a context and a weight."""
    generator = np.random.default_rng(seed)
    energy = generator.normal(size=rows)
    return {
        "mass": np.exp(generator.normal(scale=1.5, size=rows) + energy).astype(np.float32),
        "count": generator.poisson(30, rows),
        "angle": generator.uniform(0, 360, rows),
        "shift": energy + 0.1 * generator.normal(size=rows),
        "energy": energy,
        "weight": generator.uniform(0.5, 1.5, rows),
    }


@pytest.fixture(scope="session")
def table_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "events.csv"
    columns = events()
    write_table(path, list(columns), columns)
    return path


@pytest.fixture(scope="session")
def table_run(table_file):
    """A small conditional run with every kind of column, and weights."""
    folder = Path(table_file).with_name("run")
    kinds = ["--schema", "angle=periodic:0:360", "--schema", "mass=positive"]
    options = ["--context", "energy", "--weight", "weight", *kinds, "--quiet", "--out", str(folder)]
    assert main(["fit", str(table_file), *options, *TINY]) == 0
    return folder

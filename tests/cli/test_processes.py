"""A run in two processes writes what one process writes, once; it survives a killed process, and Ctrl-C ends all."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from bijecta.cli.options import FitOptions
from bijecta.cli.processes import as_launched, choose_device
from bijecta.data import write_table
from bijecta.errors import InputError
from cli.conftest import TINY, events

COMMAND = ["events.parquet", "--columns", "shift", "--context", "energy", "--weight", "weight", *TINY, "--epochs", "6"]

# The checkpoint is written after every epoch; process 1 is killed in the fourth one of its first life.
SCRIPT = """
import os, signal, sys, time
from bijecta.cli import main
from bijecta.training import fit
loop = sys.modules[fit.__module__]
loop.CHECKPOINT_SECONDS = -1
first_life, rank = os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0", os.environ["RANK"]
epoch = loop._Run.epoch
def fragile(run):
    if len(run.history) == 3 and first_life and rank == "1" and "killed" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)
    if "endless" in sys.argv:
        time.sleep(0.1)
    return epoch(run)
loop._Run.epoch = fragile
sys.exit(main(sys.argv[1:]))
"""


def start(folder, *arguments, restarts=0):
    (folder / "script.py").write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.Popen(
        [*launch, f"--max-restarts={restarts}", "script.py", "fit", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def end_of(process):
    """Wait for torchrun; it ends its processes when it is terminated."""
    try:
        return process.communicate(timeout=240)[1]
    except subprocess.TimeoutExpired:
        process.terminate()
        raise


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    columns = events()
    write_table(folder / "events.parquet", list(columns), columns)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_one_process_two_processes_and_a_killed_one_give_the_same_model(folder, monkeypatch, capfd):
    from bijecta.cli import main

    monkeypatch.chdir(folder)
    assert main(["fit", *COMMAND, "--out", "one", "--quiet"]) == 0
    capfd.readouterr()
    two = start(folder, *COMMAND, "--out", "two")
    said = end_of(two)
    assert two.returncode == 0, said
    assert said.count("epoch    6/6") == 1
    killed = start(folder, *COMMAND, "--out", "killed", "--force", restarts=1)
    said = end_of(killed)
    assert killed.returncode == 0, said
    assert said.count("epoch    3/6") == 1, "the restart goes on behind the third epoch"
    assert said.count("epoch    4/6") == 1
    assert metrics(folder / "two")["test_nll"] == pytest.approx(metrics(folder / "one")["test_nll"], abs=1e-5)
    there, here = (load_file(folder / name / "model.safetensors") for name in ("two", "killed"))
    assert all(there[name].equal(here[name]) for name in there), "as if nothing had happened, bit for bit"
    assert {each.name for each in (folder / "one").iterdir()} == {each.name for each in (folder / "killed").iterdir()}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for children")
def test_control_c_ends_all_and_an_error_is_said_once(folder):
    endless = start(folder, *COMMAND, "--epochs", "5000", "--patience", "0", "--out", "endless")
    deadline = time.monotonic() + 60
    while not (folder / "endless" / "checkpoint.safetensors").exists() and endless.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    endless.send_signal(signal.SIGINT)
    said = end_of(endless)
    assert endless.returncode != 0
    assert said.count("Go on with") == 1, said
    assert metrics(folder / "endless")["stopped"] == "interrupted"
    wrong = start(folder, "events.parquet", "--columns", "shifts", "--out", "wrong")
    said = end_of(wrong)
    assert wrong.returncode != 0
    assert said.count("Did you mean 'shift'?") == 1, said
    assert "connection to the other" not in said


def test_a_device_that_is_not_there_is_an_error(bijecta, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused = bijecta("fit", "moons", "--device", "cuda", *TINY)
    assert refused.code == 1
    assert "torch finds 0" in refused.words
    assert "expected one of cpu, cuda, auto" in bijecta("fit", "moons", "--device", "gpu", *TINY).words
    assert choose_device("auto") == torch.device("cpu")


def test_processes_of_one_machine_take_one_gpu_each(monkeypatch):
    with pytest.raises(InputError, match="Standard input"):
        as_launched(FitOptions("-"), 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device("cuda") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InputError, match="Start fewer"):
        choose_device("cuda")
    assert choose_device("cpu") == torch.device("cpu")


def test_rows_with_missing_values_are_dropped_on_request(bijecta, tmp_path):
    columns = events(100)
    columns["shift"][[3, 4]] = columns["energy"][[4, 5]] = float("nan")
    columns["angle"][:] = float("nan")  # not asked for: its gaps do not matter
    write_table(tmp_path / "gaps.csv", list(columns), columns)
    command = ["fit", "gaps.csv", "--columns", "shift,count", "--context", "energy", *TINY, "--json"]
    refused = bijecta(*command)
    assert refused.code == 1
    assert "shift is NaN or infinite in 2 of 100 rows" in refused.words
    dropped = bijecta(*command, "--missing", "drop")
    assert dropped.code == 0, dropped.err
    assert "dropped 3 of 100 rows with missing values: shift 2, energy 2" in dropped.words
    assert dropped.json()["rows"] == 97
    assert "expected error or drop" in bijecta(*command, "--missing", "impute", "--force").words

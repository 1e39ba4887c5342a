"""A run that is killed goes on bit for bit; one that is interrupted leaves a model and a checkpoint."""

import json
import signal
import sys
import time

import pytest
from safetensors.torch import load_file

from cli.conftest import TINY, finish, spawn

RUN = ["fit", "moons", "--rows", "300", "--out", "run", *TINY, "--epochs", "8"]

# Checkpoints are written every two seconds. Here it is after every epoch, and the fourth one is the last.
KILLED = """
import os, signal, sys
from bijecta.cli import main
from bijecta.training import fit
loop = sys.modules[fit.__module__]
loop.CHECKPOINT_SECONDS = -1
write, count = loop.write_checkpoint, [0]
def write_and_die(*arguments):
    write(*arguments)
    count[0] += 1
    if count[0] == 4:
        os.kill(os.getpid(), signal.SIGKILL)
loop.write_checkpoint = write_and_die
main(sys.argv[1:])
"""

SLOW = """
import sys, time
from bijecta.cli import main
from bijecta.training import fit
loop = sys.modules[fit.__module__]
loop.CHECKPOINT_SECONDS = -1
write = loop.write_checkpoint
def write_and_wait(*arguments):
    write(*arguments)
    time.sleep(0.2)
loop.write_checkpoint = write_and_wait
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_and_resumed_is_the_same_run_bit_for_bit(bijecta, tmp_path):
    straight = [each if each != "run" else "straight" for each in RUN]
    assert bijecta(*straight, "-q").code == 0
    killed = finish(spawn(KILLED, tmp_path, *RUN))
    assert killed.code == -signal.SIGKILL
    assert {each.name for each in (tmp_path / "run").iterdir()} == {"run.json", "checkpoint.safetensors"}
    refused = bijecta(*RUN)
    assert refused.code == 1
    assert "--resume goes on with it" in refused.words
    resumed = bijecta(*RUN, "--resume")
    assert resumed.code == 0
    assert "epoch    5/8" in resumed.err
    assert "epoch    4/8" not in resumed.err
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
    there, here = (load_file(tmp_path / name / "model.safetensors") for name in ("straight", "run"))
    assert there.keys() == here.keys()
    assert all(there[name].equal(here[name]) for name in there)
    losses = [json.loads((tmp_path / name / "metrics.json").read_text())["test_nll"] for name in ("straight", "run")]
    assert losses[0] == losses[1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for children")
def test_control_c_leaves_a_model_and_a_checkpoint(bijecta, tmp_path):
    command = [*RUN[:-1], "500"]
    process = spawn(SLOW, tmp_path, *command)
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "checkpoint.safetensors").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    outcome = finish(process)
    assert outcome.code == 130, outcome.err
    assert "Traceback" not in outcome.err
    assert "--resume" in outcome.err
    assert "--epochs 500" in outcome.err
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["stopped"] == "interrupted"
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()
    assert len(bijecta("sample", "run", "-n", "3").out.splitlines()) == 4
    assert "unfinished" in bijecta(*command).err


def test_resume_without_a_run_begins_one(bijecta, tmp_path):
    assert bijecta(*RUN, "-q", "--resume").code == 0
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_a_damaged_checkpoint_is_named(bijecta, tmp_path):
    finish(spawn(KILLED, tmp_path, *RUN))
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    outcome = bijecta(*RUN, "--resume")
    assert outcome.code == 1
    assert "checkpoint" in outcome.words
    assert "Delete it" in outcome.words

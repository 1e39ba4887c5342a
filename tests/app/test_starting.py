"""From the command to the server and the worker: what is missing or in use is said."""

import os
import socket
import subprocess
import sys

import pytest

from bijecta.app.trainer import launch, retire
from bijecta.cli import main

STARTS = """
import runpy, sys
{before}
sys.argv = ["app", "--no-browser", "--port", "{port}"]
runpy.run_module("bijecta.app", run_name="__main__")
"""


def start(port=0, before="pass"):
    code = STARTS.format(before=before, port=port)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)


def test_a_missing_streamlit_is_answered_with_the_pip_line():
    outcome = start(before="sys.modules['streamlit'] = None")
    assert outcome.returncode == 2
    assert 'pip install "bijecta[app]"' in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_a_port_in_use_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        outcome = start(port=taken.getsockname()[1])
    assert outcome.returncode == 1
    assert "is in use" in outcome.stderr


@pytest.mark.skipif(os.name != "posix", reason="elsewhere the app is a child process")
def test_the_command_becomes_the_app(monkeypatch):
    seen = []
    monkeypatch.setattr(os, "execv", lambda _, command: seen.append(command) or sys.exit(0))
    assert main(["app", "--port", "8600", "--no-browser"]) == 0
    assert seen[0][1:] == ["-m", "bijecta.app", "--port", "8600", "--address", "127.0.0.1", "--no-browser"]


def test_a_spare_worker_ends_when_it_is_not_needed():
    process = launch()
    retire(process)
    process.stdout.close()
    assert process.poll() is not None

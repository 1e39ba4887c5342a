"""Help is instant because it imports nothing heavy; a missing package is named with the line that installs it."""

import json

from cli.conftest import finish, spawn

COMMANDS = [
    "demo",
    "fit",
    "sample",
    "score",
    "check",
    "info",
    "report",
    "toys",
    "recipes",
    "doctor",
    "export",
    "serve",
    "card",
    "app",
]
HEAVY = ["torch", "matplotlib", "pyarrow", "numpy", "h5py", "safetensors"]

HELP = """
import json, sys, contextlib, io
from bijecta.cli import main
said = {}
for words in [[], *([name] for name in sys.argv[1:])]:
    with contextlib.redirect_stdout(io.StringIO()) as text:
        code = main([*words, "--help"])
    said[" ".join(words)] = [code, text.getvalue()]
print(json.dumps([said, sorted(sys.modules)]))
"""


def test_help_of_every_command_imports_nothing_heavy(tmp_path):
    outcome = finish(spawn(HELP, tmp_path, *COMMANDS))
    said, modules = json.loads(outcome.out)
    assert all(code == 0 and "Usage" in text for code, text in said.values())
    assert all(name in said[""][1] for name in COMMANDS)
    assert not set(HEAVY) & set(modules)


def test_missing_typer_is_answered_with_the_pip_line(tmp_path):
    code = "import sys; sys.modules['typer'] = None; from bijecta.cli import main; sys.exit(main(['doctor']))"
    outcome = finish(spawn(code, tmp_path))
    assert outcome.code == 2
    assert 'pip install "bijecta[cli]"' in outcome.err
    assert "Traceback" not in outcome.err


def test_missing_matplotlib_costs_only_the_pictures(tmp_path):
    code = "import sys; sys.modules['matplotlib'] = None; from bijecta.cli import main; sys.exit(main(sys.argv[1:]))"
    options = ["--rows", "100", "--epochs", "1", "--set", "layers=1", "--out", "run"]
    outcome = finish(spawn(code, tmp_path, "fit", "moons", *options))
    assert outcome.code == 0, outcome.err
    assert 'pip install "bijecta[plots]"' in outcome.err
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
    assert not list((tmp_path / "run").glob("*.png"))


def test_python_dash_m(tmp_path):
    code = "import runpy, sys; sys.argv = ['bijecta', '--version']; runpy.run_module('bijecta', run_name='__main__')"
    outcome = finish(spawn(code, tmp_path))
    assert (outcome.code, outcome.out) == (0, "bijecta 0.1.0\n")

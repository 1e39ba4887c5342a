"""Every page of the documentation is run: its Python block after block, its commands as far as the parser goes.

Pages in ``docs/tutorials`` and ``docs/applications`` are notebooks; the build of the site runs them.
"""

import re
import shlex
import warnings
from pathlib import Path

import pytest
import torch
import typer

from bijecta.cli.app import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(p for p in DOCS.rglob("*.md") if not p.relative_to(DOCS).parts[0].startswith("_"))]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf8") for path in PAGES}
FENCE = re.compile(r"^```(?:python|\{code-cell\}[^\n]*)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
# The README has a test of its own, which looks at more.
WITH_PYTHON = [
    name for name, text in TEXTS.items() if name != "README.md" and re.search(r"^```python$", text, flags=re.MULTILINE)
]
COMMANDS = [
    (name, line.strip())
    for name, text in TEXTS.items()
    for block in re.findall(r"^```(?:text|console|bash)?\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip().startswith("bijecta ")
]


@pytest.mark.parametrize("name", WITH_PYTHON)
def test_python_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names = {"__name__": "page"}
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # other packages warn; what a page shows of bijecta does not
        warnings.filterwarnings("error", module="bijecta")
        for block in FENCE.findall(TEXTS[name]):
            exec(compile(block, name, "exec"), names)  # noqa: S102 (our own files)


@pytest.mark.parametrize(("name", "line"), COMMANDS)
def test_commands_exist_with_their_options(name, line):
    words = shlex.split(line, comments=True)[1:]
    command = typer.main.get_command(app)
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, f"{name}: no command {words[0]}"
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if re.match(r"--?[a-z]", word):
            assert word.partition("=")[0] in known, f"{name}: {line}"


def test_pages_do_not_name_what_only_one_machine_has():
    for name, text in TEXTS.items():
        assert not re.search(r"/(home|work|tmp|root)/", text), name

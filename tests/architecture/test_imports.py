"""Floors, and what `import bijecta` may pull in and may not touch."""

import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import bijecta

HEAVY = ("sklearn", "typer", "rich", "streamlit", "matplotlib", "onnx", "pyarrow", "h5py", "pandas", "scipy")
PROJECT = Path(__file__).parents[2]

# Runs in a child interpreter: what is loaded, and what of the interpreter's global state has changed.
PROBE = """
import json, logging, random, sys, warnings
import numpy, torch
def state():
    return repr((
        torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(),
        torch.is_grad_enabled(), torch.random.get_rng_state().tolist(), torch.backends.cudnn.benchmark,
        torch.get_float32_matmul_precision(), numpy.random.get_state()[1].tolist(), random.getstate(),
        warnings.filters, logging.getLogger().handlers, logging.getLogger().level, logging.root.manager.disable,
        sys.excepthook, torch._tensor_str.PRINT_OPTS,
    ))
modules, before = set(sys.modules), state()
import MODULE
loaded = {name.split(".")[0] for name in set(sys.modules) - modules}
print(json.dumps({"same": before == state(), "loaded": sorted(loaded)}))
"""


def probe(module: str) -> dict[str, object]:
    command = [sys.executable, "-c", PROBE.replace("MODULE", module)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_floors():
    """Run import-linter, which reads the floors from pyproject.toml."""
    cli = pytest.importorskip("importlinter.cli", reason="import-linter is a development tool")
    assert cli.lint_imports(config_filename=str(PROJECT / "pyproject.toml"), cache_dir=None) == 0


@pytest.mark.parametrize("module", ["bijecta", "bijecta.flows", "bijecta.data", "bijecta.diagnostics"])
def test_importing_is_light_and_changes_nothing(module):
    seen = probe(module)
    assert sorted(set(seen["loaded"]) & set(HEAVY)) == []
    assert seen["same"], "the import changed global state"


def test_every_module_can_be_imported_first():
    """An import cycle shows only when the right module comes first: here each one does, by a fresh table of modules."""
    names = [
        module.name for module in pkgutil.walk_packages(bijecta.__path__, "bijecta.") if "__main__" not in module.name
    ]
    script = (
        "import sys, importlib, torch\n"
        f"for name in {names!r}:\n"
        "    for loaded in [key for key in sys.modules if key.split('.')[0] == 'bijecta']:\n"
        "        del sys.modules[loaded]\n"
        "    importlib.import_module(name)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_version_is_a_version():
    assert importlib.import_module("bijecta").__version__.count(".") == 2

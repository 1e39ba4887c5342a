"""docs/export.json says what can be exported and why not; here every entry is measured.

Written anew by: PYTHONPATH=tests python tests/persistence/test_export_table.py
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from bijecta.errors import InputError
from bijecta.flows import RECIPES
from bijecta.persistence import export
from bijecta.persistence.export_program import OneFunction, draw_noise
from contract.test_flows import CONDITIONAL, Recipe

TABLE = Path(__file__).parents[2] / "docs" / "export.json"
FIXED_STEPS = {"context": 3, "features": 2, "hidden": [8], "solver": "rk4", "steps": 4}
LINES = {name.removesuffix("/context"): line for name, line in CONDITIONAL.items() if name.endswith("/context")} | {
    "cnf/rk4": Recipe("cnf", FIXED_STEPS, (2,), 3)
}
ROWS = (1, 7, 1000)
FAST = ("made",)
lines = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in LINES]


def measure(name, folder):
    """Export a small flow of a recipe in every way, with a context, and compare numbers at several batch sizes."""
    flow = LINES[name].perturbed(0.1).float().eval()
    entry = {"log_prob": {}, "sample": {}, "reason": None}
    for what in ("log_prob", "sample"):
        for to, suffix in (("onnx", "onnx"), ("torch", "pt2")):
            try:
                written = export(flow, Path(folder) / f"model.{suffix}", to, what=what)
            except InputError as error:
                entry[what][to], entry["reason"] = False, str(error).partition(": ")[2] or str(error)
            else:
                entry[what][to] = all(difference(written, to, flow, name, rows) <= 1e-4 for rows in ROWS)
    return entry


def difference(written, to, flow, name, rows):
    """The largest |a - b| / (1 + |b|) over new rows."""
    recipe = LINES[name]
    given = recipe.x((rows,)).float()
    if written.inputs[0] == "noise":
        given = draw_noise(written.metadata["noise"], rows, torch.Generator().manual_seed(rows))
    context = recipe.c((rows,)).float()
    with torch.no_grad():
        expected = OneFunction(flow, written.metadata["what"])(given, context).numpy()
        if to == "onnx":
            session = onnxruntime.InferenceSession(written.path, providers=["CPUExecutionProvider"])
            values = dict(zip(written.inputs, (given.numpy(), context.numpy()), strict=True))
            found = session.run([written.output], values)[0]
        else:
            found = torch.export.load(written.path).module()(given, context).numpy()
    return float((np.abs(found - expected) / (1 + np.abs(expected))).max())


def table():
    return json.loads(TABLE.read_text())


def test_every_recipe_has_its_entry():
    assert set(table()) == set(RECIPES) | {"cnf/rk4"}


def test_what_cannot_be_exported_has_a_reason():
    for entry in table().values():
        possible = all(entry[what][to] for what in ("log_prob", "sample") for to in ("onnx", "torch"))
        assert (entry["reason"] is None) == possible


@pytest.mark.parametrize("name", lines)
def test_the_table_is_true(name, tmp_path):
    assert measure(name, tmp_path) == table()[name]


if __name__ == "__main__":
    chosen = sys.argv[1:] or list(LINES)
    found = table() if TABLE.exists() else {}
    for name in chosen:
        found[name] = measure(name, tempfile.mkdtemp())
        TABLE.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n")

"""The command `bijecta export`."""

import json

import onnxruntime
import pytest
import torch

from bijecta.cli.guard import run_guarded
from bijecta.flows import nice, table
from bijecta.persistence import save

COLUMNS = {"columns": [{"name": "mass", "kind": "positive"}, {"name": "height", "kind": "real"}]}


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    flow = table(COLUMNS, recipe="nice", arguments={"layers": 1, "hidden": [4]})
    flow.initialise(torch.rand(50, 2) + 0.1)
    save(flow, tmp_path / "model.safetensors", metadata={"schema": COLUMNS, "ranges": {"mass": [0.1, 1.1]}})
    return tmp_path / "model.safetensors"


def test_both_writes_two_files_with_the_schema(model, tmp_path, capsys):
    assert run_guarded(["export", str(model), "-o", str(tmp_path / "flow.onnx")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "flow_log_prob.onnx: x -> log_prob, largest difference" in lines[0]
    assert "flow_sample.onnx: noise -> x, largest difference" in lines[1]
    facts = onnxruntime.InferenceSession(tmp_path / "flow_sample.onnx").get_modelmeta().custom_metadata_map
    assert [column["name"] for column in json.loads(facts["schema"])["columns"]] == ["mass", "height"]
    assert json.loads(facts["ranges"]) == {"mass": [0.1, 1.1]}


def test_findings_go_to_standard_error(tmp_path, capsys):
    save(nice(1, layers=1, hidden=(2,)), tmp_path / "model.safetensors")
    out = str(tmp_path / "x.pt2")
    arguments = ["export", str(tmp_path / "model.safetensors"), "--to", "torch", "--what", "log_prob", "-o", out]
    assert run_guarded(arguments) == 0
    assert "warning: this flow was never initialised" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--to", "onxx"), 2, "onxx"),
        (("--what", "density"), 2, "density"),
        (("-o", "/nowhere/model.onnx"), 1, "There is no folder /nowhere"),
    ],
)
def test_mistakes_are_explained(options, code, message, model, tmp_path, capsys):
    assert run_guarded(["export", str(model), "-o", str(tmp_path / "x.onnx"), *options]) == code
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown

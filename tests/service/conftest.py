"""One small model with a context, behind a service."""

import pytest
import torch

from bijecta.data import Column, Schema
from bijecta.flows import table
from bijecta.persistence import load_table_model, save

SCHEMA = Schema(
    (
        Column("mass", "positive", dtype="float32"),
        Column("angle", "periodic", low=0.0, high=360.0),
        Column("share", "interval", low=0.0, high=1.0),
    )
)
ROW = {"mass": 1.5, "angle": 30.0, "share": 0.25, "energy": 0.5}


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "model.safetensors"
    torch.manual_seed(0)
    flow = table(SCHEMA.to_json(), context=1, arguments={"layers": 2, "hidden": [8], "bins": 4})
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    metadata = {
        "data": "events",
        "schema": SCHEMA.to_json(),
        "context": ["energy"],
        "settings": {"data": "/home/somebody/events.csv"},
        "metrics": {"test_nll": 1.5},
    }
    save(flow, path, metadata=metadata)
    return path


@pytest.fixture(scope="session")
def model(model_file):
    return load_table_model(model_file)

"""Everything that a run can be taken home as, opened again."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.conftest import wait_until_final
from bijecta.app import registry, server
from bijecta.app.exports import FILES, export
from bijecta.app.script import script_of
from bijecta.app.settings import OPENING, PICTURE, TABLE, RunSettings
from bijecta.app.trainer import ThreadTrainer
from bijecta.errors import InputError
from bijecta.persistence import load


@pytest.fixture(scope="module")
def run():
    runs = registry.Registry(lambda settings, points: ThreadTrainer(settings, points=points))
    tab = runs.enter()
    made = runs.open(RunSettings("realnvp", {"layers": 2, "hidden": (8,)}, rows=400, training={"epochs": 3}), tab)
    runs.start(made.key)
    wait_until_final(made.trainer)
    yield made
    runs.close_all()


def test_pictures(run):
    picture = Image.open(io.BytesIO(export(run, "picture.png")[0]))
    assert picture.size == (448, 448)
    film = Image.open(io.BytesIO(export(run, "training.gif")[0]))
    assert film.n_frames == min(60, len(run.trainer.history.items()))
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert pixels[200:250, 200:250].sum() > pixels[:50, :50].sum(), "brighter in the middle than in a corner"


def test_the_model_is_the_flow(run, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(export(run, "model.safetensors")[0])
    x = torch.randn(5, 2)
    assert torch.equal(load(path).log_prob(x), run.trainer.lesson.flow.log_prob(x))


def test_samples_settings_report_and_script(run):
    samples = np.genfromtxt(io.BytesIO(export(run, "samples.csv")[0]), delimiter=",", names=True)
    assert samples.dtype.names == ("x", "y")
    assert len(samples) == 5000
    assert RunSettings.from_json(json.loads(export(run, "settings.json")[0])) == run.settings
    report = export(run, "report.html")[0].decode()
    assert "nats per row" in report
    assert report.count("<img") >= 4
    compile(export(run, "run.py")[0], "run.py", "exec")


def test_an_unknown_file_is_refused(run):
    with pytest.raises(InputError, match="exports"):
        export(run, "passwords.txt")


def test_files_over_http(run, monkeypatch):
    monkeypatch.setattr(server, "RUNS", type("Runs", (), {"get": staticmethod({run.key: run}.__getitem__)}))
    app = Starlette(routes=[server.Route("/export/{run_id}/{name}", server.download)])
    with TestClient(app) as client:
        answer = client.get(f"/export/{run.key}/settings.json")
        assert answer.status_code == 200
        assert answer.headers["content-disposition"] == 'attachment; filename="bijecta-settings.json"'
        assert client.get(f"/export/{run.key}/nothing").status_code == 409
    assert set(FILES) >= {"picture.png", "training.gif", "model.safetensors", "samples.csv", "report.html", "run.py"}


@pytest.mark.parametrize(
    "settings",
    [
        OPENING,
        RunSettings(data="rings", noise=0.2),
        RunSettings(data=TABLE, table="abc"),
        RunSettings(data=PICTURE, picture="eNrj5x8Fo2AUjIJRMApGwSgYWQAAXA-HAQ"),
    ],
)
@pytest.mark.parametrize("factors", [(), [(5, 0.1)]])
def test_every_script_is_python(settings, factors):
    if settings.data == PICTURE:
        from bijecta.app.datasets import encode_picture

        settings = RunSettings(data=PICTURE, picture=encode_picture(np.eye(48)))
    compile(script_of(settings, factors), "run.py", "exec")

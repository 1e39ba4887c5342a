"""Commands that need no model: demo, toys, recipes, doctor; and how faults end."""

import errno
import inspect

import numpy as np
import pytest

from bijecta import __version__
from bijecta.cli import fitting, guard
from bijecta.cli.options import FitOptions
from bijecta.cli.settings import usable_recipes
from bijecta.data import TOYS, toy
from bijecta.flows import RECIPES


def test_toys_are_listed_with_their_entropies(bijecta):
    lines = bijecta("toys").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(TOYS)
    listed = bijecta("toys", "--json").json()
    assert listed["moons"]["entropy"] == pytest.approx(TOYS["moons"].entropy)


def test_toy_rows(bijecta):
    assert bijecta("toys", "rings", "-n", "20", "--noise", "0.3", "--seed", "4", "-o", "rings.npy").code == 0
    np.testing.assert_allclose(np.load("rings.npy"), toy("rings", 0.3).sample(20, 4))
    assert len(bijecta("toys", "moons", "-n", "5").out.splitlines()) == 6
    assert "Did you mean rings?" in bijecta("toys", "ring").words


@pytest.mark.parametrize("name", usable_recipes())
def test_recipes_have_defaults_and_meanings(bijecta, name):
    settings = bijecta("recipes", name, "--json").json()[name]["settings"]
    signature = inspect.signature(RECIPES[name]).parameters
    for key, fact in settings.items():
        default = signature[key].default
        assert fact["default"] == (list(default) if isinstance(default, tuple) else default)
        assert fact["help"]
    assert not {"features", "context"} & set(settings)


def test_recipes_are_listed(bijecta):
    assert "neural spline flow" in bijecta("recipes").out
    outcome = bijecta("recipes", "realnpv")
    assert outcome.code == 2
    assert "Did you mean realnvp?" in outcome.words
    assert "log_scale_limit" in bijecta("recipes", "realnvp").out


def test_doctor(bijecta):
    facts = bijecta("doctor", "--json").json()
    assert facts["bijecta"] == __version__
    assert facts["packages"]["pyarrow"]
    assert "writable" in bijecta("doctor").out
    assert facts["kernels"].startswith(("native", "absent", "off"))


def test_doctor_names_the_cure(bijecta, monkeypatch):
    from bijecta.cli import doctor

    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    assert 'pip install "bijecta[data]"' in bijecta("doctor").out


def test_demo_says_where_the_pictures_are(bijecta, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(fitting, "run_fit", seen.append)
    outcome = bijecta("demo")
    assert str(tmp_path / "runs" / "demo") in outcome.out
    assert seen == [FitOptions("moons", out=seen[0].folder, force=True, epochs=60, rows=10_000)]
    assert bijecta("demo", "mons").code == 1


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "model.safetensors"), 1, "No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), 1, "Permission denied (runs)"),
        (MemoryError(), 1, "memory is full"),
        (KeyError("fault"), 70, "Unexpected KeyError: 'fault' This is a fault in bijecta. BIJECTA_DEBUG=1 shows"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_every_end_has_a_code_and_a_message(bijecta, monkeypatch, error, code, said):
    def fail(_):
        raise error

    monkeypatch.setattr(fitting, "run_fit", fail)
    outcome = bijecta("fit", "moons")
    assert outcome.code == code
    assert said in outcome.words
    assert "Traceback" not in outcome.err


def test_debug_shows_the_traceback(bijecta, monkeypatch):
    monkeypatch.setenv(guard.DEBUG, "1")
    outcome = bijecta("toys", "nothing")
    assert outcome.code == 1
    assert "Traceback" in outcome.err


def test_a_full_disk_after_training_loses_nothing(bijecta, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "samples.csv")

    options = ["fit", "moons", "--rows", "100", "-q", "--epochs", "1", "--set", "layers=1", "--out", "run"]
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "illustrate", full)
        outcome = bijecta(*options)
    assert outcome.code == 1
    assert "No space left on device (samples.csv)" in outcome.words
    model = (tmp_path / "run" / "model.safetensors").read_bytes()
    assert bijecta(*options, "--resume").code == 0
    assert (tmp_path / "run" / "report.html").exists()
    assert len((tmp_path / "run" / "model.safetensors").read_bytes()) == pytest.approx(len(model), rel=0.01)


def test_no_command_shows_help(bijecta):
    outcome = bijecta()
    assert outcome.code in (0, 2)
    assert "Usage" in outcome.out + outcome.err
    assert bijecta("fitt", "moons").code == 2

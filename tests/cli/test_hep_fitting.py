"""`bijecta hep fit`: runs that go on, recipes with the coordinates that they need, and what an export says of them."""

import json
import signal
import sys

import numpy as np
import pytest
from safetensors.torch import load_file

from bijecta.hep import Events, EventSchema, MuonPairs, Particle, VariableParticles, read_events, write_events
from bijecta.hep.event_flow import any_coordinates_of
from bijecta.persistence import load
from cli.conftest import finish, spawn
from cli.test_resume import KILLED

TINY = ["--set", "layers=1", "--set", "hidden=8", "--epochs", "6"]
MUON = 0.1056583755


@pytest.fixture
def muons(tmp_path):
    """Muon pairs of e+e- from 60 to 120 GeV."""
    events = MuonPairs().sample(300, energy=np.linspace(60.0, 120.0, 300), seed=3)
    write_events(events, tmp_path / "muons.npz")
    return events


@pytest.fixture
def jets(tmp_path):
    """One muon and up to two jets, which have masses."""
    random = np.random.default_rng(0)
    schema = EventSchema((Particle("mu-", 13, MUON),), (VariableParticles("jet", 0, None, most=2),))
    three = random.normal(0.0, 40.0, (300, 3, 3))
    order = np.argsort(-np.hypot(three[:, 1:, 0], three[:, 1:, 1]), axis=1)
    three[:, 1:] = np.take_along_axis(three[:, 1:], order[..., None], axis=1)
    mass = np.concatenate([np.full((300, 1), MUON), random.uniform(5.0, 15.0, (300, 2))], axis=1)
    momenta = np.concatenate([np.sqrt((three**2).sum(2) + mass**2)[..., None], three], axis=2)
    mask = np.arange(3)[None] <= random.integers(0, 3, 300)[:, None]
    events = Events(schema, momenta, mask)
    write_events(events, tmp_path / "jets.npz")
    return events


# ---------------------------------------------------------------- runs that go on


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_and_resumed_is_the_same_run_bit_for_bit(bijecta, tmp_path, muons):
    words = ["hep", "fit", "muons.npz", *TINY]
    assert bijecta(*words, "--out", "straight", "-q").code == 0
    killed = finish(spawn(KILLED, tmp_path, *words, "--out", "run"))
    assert killed.code == -signal.SIGKILL
    assert {each.name for each in (tmp_path / "run").iterdir()} == {"run.json", "checkpoint.safetensors"}
    refused = bijecta(*words, "--out", "run")
    assert refused.code == 1
    assert "--resume goes on with it" in refused.words
    other = bijecta(*words, "--out", "run", "--seed", 1, "--resume")
    assert "seed (there 0, here 1)" in other.words
    resumed = bijecta(*words, "--out", "run", "--resume")
    assert resumed.code == 0, resumed.err
    assert "epoch    5/6" in resumed.err
    assert "epoch    4/6" not in resumed.err
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
    there, here = (load_file(tmp_path / name / "model.safetensors") for name in ("straight", "run"))
    assert there.keys() == here.keys()
    assert all(there[name].equal(here[name]) for name in there)
    again = bijecta(*words, "--out", "run", "--resume", "--json")
    assert "nothing to resume" in again.words
    assert again.json() == json.loads((tmp_path / "run" / "metrics.json").read_text())


def test_an_interrupted_run_says_how_to_go_on(bijecta, tmp_path, muons, monkeypatch):
    from bijecta.cli import hep_fitting

    def interrupted(*arguments, on_epoch, **options):
        def stop(progress):
            if progress.epoch == 2:
                raise KeyboardInterrupt
            return on_epoch(progress)

        return train(*arguments, on_epoch=stop, **options)

    train = hep_fitting.fit
    monkeypatch.setattr(hep_fitting, "fit", interrupted)
    words = ["hep", "fit", "muons.npz", "--out", "run", "--resonance", "91.19:2.5", *TINY]
    outcome = bijecta(*words)
    assert outcome.code == 130
    assert "bijecta hep fit muons.npz" in outcome.words
    assert "--resonance 91.19:2.5" in outcome.words
    assert "--resume" in outcome.words
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["stopped"] == "interrupted"
    monkeypatch.undo()
    assert bijecta("hep", "sample", tmp_path / "run", "--energy", 91, "-n", 3, "--out", tmp_path / "a.npz").code == 0


# ---------------------------------------------------------------- recipes


def test_particles_in_varying_number(bijecta, jets):
    wrong = bijecta("hep", "fit", "jets.npz", "--out", "run", *TINY)
    assert wrong.code == 1
    assert "number of jet varies" in wrong.words
    assert "--recipe variable_event_flow" in wrong.words
    words = ["--recipe", "variable_event_flow", "--set", "bins=4"]
    outcome = bijecta("hep", "fit", "jets.npz", "--out", "run", *TINY, *words, "--json")
    assert outcome.code == 0, outcome.err
    assert np.isfinite(outcome.json()["test_nll"])
    chosen = any_coordinates_of(load("run/model.safetensors"))
    assert {"n(jet)", "jet2.mass"} <= set(chosen.columns)
    assert 0.0 < chosen.pt_min["jet"] < jets.column("jet1.pt")[jets.present()[:, 1]].min()
    assert bijecta("hep", "sample", "run", "-n", 50, "--out", "a.npz").code == 0
    counts = read_events("a.npz").present().sum(1)
    assert set(counts.tolist()) <= {1, 2, 3}
    exported = bijecta("hep", "export", "run", "--out", "deployed")
    assert exported.code == 1
    assert "built by variable_event_flow" in exported.words
    assert "bijecta hep sample" in exported.words


def test_momenta_as_they_are(bijecta, muons):
    words = ["hep", "fit", "muons.npz", "--out", "run", "--recipe", "plain_event_flow", *TINY]
    refused = bijecta(*words, "--resonance", "91.19:2.5")
    assert refused.code == 2
    assert "leave out --tree, --mass and --resonance" in refused.words
    assert "bins" in bijecta(*words, "--set", "bins=4").words, "a setting of another recipe"
    outcome = bijecta(*words)
    assert outcome.code == 0, outcome.err
    assert "mu+.px is determined by mu-.px" in outcome.words, "momenta that others determine are named"
    assert "hep export" not in outcome.words
    assert any_coordinates_of(load("run/model.safetensors")).columns[0] == "mu-.px"
    assert "built by plain_event_flow" in bijecta("hep", "export", "run", "--out", "deployed").words


def test_a_recipe_of_something_else_is_refused(bijecta, tmp_path):
    outcome = bijecta("hep", "fit", "absent.npz", "--out", "run", "--recipe", "event_flows")
    assert outcome.code == 2
    assert "Did you mean event_flow?" in outcome.words
    assert list(tmp_path.iterdir()) == []

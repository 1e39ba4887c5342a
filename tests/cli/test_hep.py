"""`bijecta hep`: from a generator to a report, with the numbers of the library, and errors that help."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from bijecta.hep import MuonPairs, ThreeJets, coordinates_of, read_events, write_events
from bijecta.persistence import load, read_header
from cli.conftest import finish, spawn

CPP_README = Path(__file__).parents[2] / "examples" / "cpp" / "README.md"
TINY = ["--set", "layers=1", "--set", "hidden=8", "--set", "bins=4", "--epochs", "2", "--quiet"]


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Fit a small model to muon pairs between 60 and 120 GeV."""
    from bijecta.cli import main

    folder = tmp_path_factory.mktemp("hep")
    words = ["hep", "generate", "muon-pairs", "-n", "600", "--energy", "60:120", "--seed", "3"]
    assert main([*words, "--out", str(folder / "muons.npz")]) == 0
    fit = ["hep", "fit", str(folder / "muons.npz"), "--resonance", "91.19:2.5", *TINY]
    assert main([*fit, "--out", str(folder / "run")]) == 0
    return folder


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".lhe", ".lhe.gz", ".parquet", ".root", ".hepmc"])
def test_generated_events_are_those_of_the_library(bijecta, tmp_path, suffix):
    package = {".h5": "h5py", ".parquet": "pyarrow", ".root": "uproot", ".hepmc": "pyhepmc"}.get(suffix)
    if package is not None:
        pytest.importorskip(package)
    out = tmp_path / f"muons{suffix}"
    outcome = bijecta("hep", "generate", "muon-pairs", "-n", 40, "--energy", 91.2, "--seed", 5, "--out", out)
    assert (outcome.code, outcome.out) == (0, ""), outcome.err
    found, expected = read_events(out), MuonPairs().sample(40, energy=91.2, seed=5)
    np.testing.assert_allclose(found.momenta, expected.momenta, rtol=1e-9, atol=1e-9)
    assert found.schema == expected.schema
    np.testing.assert_array_equal(found.column("energy"), 91.2)


def test_energies_may_be_several_or_a_range(bijecta, tmp_path):
    assert bijecta("hep", "generate", "three-jets", "-n", 5, "--energy", "200,91", "--out", "jets.npz").code == 0
    energies, counts = np.unique(read_events("jets.npz").column("energy"), return_counts=True)
    assert (energies.tolist(), sorted(counts.tolist())) == ([91.0, 200.0], [2, 3])
    assert bijecta("hep", "generate", "drell-yan", "-n", 400, "--energy", "600:14000", "--out", "dy.npz").code == 0
    energy = np.sort(np.log(read_events("dy.npz").column("energy") / 600.0) / math.log(14000.0 / 600.0))
    assert np.abs(energy - (np.arange(400) + 0.5) / 400).max() < 1.63 / 20.0  # Kolmogorov-Smirnov, 1 %
    assert bijecta("hep", "generate", "muon-decay", "-n", 7, "--out", "decay.npz").code == 0
    assert len(read_events("decay.npz")) == 7


def test_pythia_makes_as_many_events_as_asked_for(bijecta):
    pytest.importorskip("pythia8mc")
    words = ("hep", "generate", "pythia:ee_mumu", "-n", 11, "--energy", "80,91.2", "--out", "muons.npz")
    outcome = bijecta(*words)
    assert outcome.code == 0, outcome.err
    energies, counts = np.unique(read_events("muons.npz").column("energy"), return_counts=True)
    assert (energies.tolist(), sorted(counts.tolist())) == ([80.0, 91.2], [5, 6])


def test_a_run_says_what_it_learned(run):
    metadata = read_header(run / "run" / "model.safetensors")["metadata"]
    assert metadata["events"] == 540
    assert len(metadata["data_sha256"]) == 64
    low, high = metadata["condition_ranges"]["energy"]
    assert 60.0 <= low < 61.0 < 119.0 < high <= 120.0
    flow = load(run / "run" / "model.safetensors")
    assert coordinates_of(flow).resonance == (91.19, 2.5)
    assert {path.name for path in (run / "run").iterdir()} == {
        "model.safetensors",
        "metrics.json",
        "history.csv",
        "run.json",
    }
    metrics = json.loads((run / "run" / "metrics.json").read_text())
    assert metrics == metadata["metrics"]
    # The loss lies between the entropy of the truth and that of flat angles, log 4π, but for noise.
    assert 1.5 < metrics["test_nll"] < math.log(4.0 * math.pi) + 0.3


def test_samples_are_at_the_energy_asked_for(bijecta, run, tmp_path):
    words = ("hep", "sample", run / "run", "-n", 50, "--energy", 91.2)
    assert bijecta(*words, "--out", "a.lhe").code == 0
    assert bijecta(*words, "--out", "b.npz").err.split()[0] == "b.npz:"
    events = read_events("a.lhe")
    np.testing.assert_allclose(events.momenta.sum(axis=1)[:, 0], 91.2, rtol=1e-12)
    np.testing.assert_allclose(events.momenta, read_events("b.npz").momenta, rtol=1e-12, atol=1e-12)
    outside = bijecta("hep", "sample", run / "run", "-n", 5, "--condition", "energy=500", "--out", "c.npz")
    assert outside.code == 0
    assert "500 is outside the training" in outside.words


def test_evaluation_writes_report_and_verdict(bijecta, run, tmp_path):
    pytest.importorskip("matplotlib")
    write_events(MuonPairs().sample(500, energy=80.0, seed=8), tmp_path / "low.npz")
    write_events(MuonPairs().sample(500, energy=110.0, seed=9), tmp_path / "high.npz")
    words = ("--no-classifier", "--bootstrap", 20, "--json")
    same = bijecta("hep", "evaluate", tmp_path / "low.npz", tmp_path / "low.npz", "--out", "same", *words)
    assert same.json()["grade"] == "good"
    wrong = bijecta("hep", "evaluate", tmp_path / "high.npz", tmp_path / "low.npz", "--out", "wrong", *words)
    assert wrong.json()["grade"] in ("poor", "bad")
    assert json.loads((tmp_path / "wrong" / "report.json").read_text()) == wrong.json()
    assert (tmp_path / "wrong" / "report.html").read_text().startswith("<!doctype html>")
    model = bijecta("hep", "evaluate", run / "run", tmp_path / "low.npz", "--out", "model", *words)
    assert model.json()["settings"]["generated"] == 500


def test_integral_of_a_function_in_the_current_folder(bijecta, tmp_path):
    (tmp_path / "integrand_of_test_hep.py").write_text(
        "def cubes(x):\n    return (3.0 * x**2).prod(axis=1)\n\n\ndef broken(x):\n    return x['a']\n"
    )
    words = ("hep", "integrate", "integrand_of_test_hep:cubes", 2, "--calls", 3000, "--no-vegas")
    found = bijecta(*words, "--json").json()
    assert abs(found["value"] - 1.0) < 5.0 * found["error"] < 0.2
    assert found["calls"] == 3000
    assert "3,000 calls" in bijecta(*words).out
    broken = bijecta("hep", "integrate", "integrand_of_test_hep:broken", 2, "--no-vegas")
    assert (broken.code, broken.out) == (1, "")
    assert "integrand_of_test_hep:broken failed on points of shape" in broken.words


@pytest.mark.slow
def test_exported_files_belong_to_the_run(bijecta, run):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    outcome = bijecta("hep", "export", run / "run", "--out", "deployed")
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    assert [line.split(": ")[1].split(",")[0] for line in outcome.out.splitlines()] == ["z", "momenta"]
    session = runtime.InferenceSession("deployed/events.onnx")
    metadata = read_header(run / "run" / "model.safetensors")["metadata"]
    assert session.get_modelmeta().custom_metadata_map["data_sha256"] == metadata["data_sha256"]
    momenta = session.run(None, {"z": np.zeros((3, 2)), "condition": np.full((3, 1), 91.2)})[0]
    np.testing.assert_allclose(momenta.sum(axis=1)[:, 0], 91.2, rtol=1e-12)


def test_masses_and_trees_from_the_command_line(bijecta, tmp_path):
    write_events(ThreeJets().sample(100, energy=91.2, seed=0), tmp_path / "jets.npz")
    tree = json.dumps([ThreeJets().sample(1, energy=91.2, seed=0).schema.slots[0], ["x", "y"]])
    wrong = bijecta("hep", "fit", "jets.npz", "--out", "run", "--tree", tree, *TINY)
    assert (wrong.code, (tmp_path / "run").exists()) == (1, False)
    assert "nested pairs" in wrong.words
    slots = read_events("jets.npz").schema.slots
    tree = json.dumps([slots[2], [slots[0], slots[1]]])
    shape = f"mass({slots[0]}+{slots[1]})=power_law:1"
    outcome = bijecta("hep", "fit", "jets.npz", "--out", "run", "--tree", tree, "--mass", shape, "--json", *TINY)
    assert outcome.code == 0, outcome.err
    assert outcome.json()["events"] == 90
    found = coordinates_of(load("run/model.safetensors"))
    assert found.masses[shape.split("=")[0]]["kind"] == "power_law"


def test_a_time_limit_ends_the_training(bijecta, run):
    words = ["--set", "layers=1", "--set", "hidden=8", "--epochs", "100000", "--max-seconds", "0.5", "--json"]
    outcome = bijecta("hep", "fit", run / "muons.npz", "--out", "limited", "--set", "patience=0", *words, "--quiet")
    assert outcome.code == 0, outcome.err
    assert outcome.json()["stopped"] == "time"


def test_unsound_events_are_refused_before_anything_is_written(bijecta, tmp_path):
    events = MuonPairs().sample(50, energy=91.2, seed=0)
    events.momenta[3, 0, 0] = 80.0
    write_events(events, tmp_path / "off.npz")
    outcome = bijecta("hep", "fit", "off.npz", "--out", "run", *TINY)
    assert (outcome.code, (tmp_path / "run").exists()) == (1, False)
    assert "off its mass shell in 1 of 50 events (first: row 3)" in outcome.words
    assert "not fit for training" in outcome.words


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["generate", "muon-pair", "--energy", "91", "--out", "x.npz"], 2, "Did you mean muon-pairs?"),
        (["generate", "muon-pairs", "--out", "x.npz"], 2, "needs --energy"),
        (["generate", "muon-decay", "--energy", "1", "--out", "x.npz"], 2, "decays at rest"),
        (["generate", "muon-pairs", "--energy", "a lot", "--out", "x.npz"], 2, "expected 91.2, 80,91.2 or 40:200"),
        (["generate", "muon-pairs", "--energy", "200:40", "--out", "x.npz"], 2, "ranges rise"),
        (["generate", "muon-pairs", "--energy", "91", "--level", "hard", "--out", "x.npz"], 2, "only Pythia"),
        (["generate", "muon-pairs", "--energy", "91", "-n", "3", "--out", "x.txt"], 1, "extension must be one of"),
        (["generate", "muon-pairs", "--energy", "0.1", "-n", "3", "--out", "x.npz"], 1, "expected 0.211317"),
        (["fit", "absent.npz", "--out", "x"], 1, "no file absent.npz"),
        (["fit", "absent.npz", "--out", "x", "--set", "layer=3"], 2, "Did you mean layers?"),
        (["fit", "absent.npz", "--out", "x", "--set", "ema=2"], 2, "ema"),
        (["fit", "absent.npz", "--out", "x", "--test-fraction", "1"], 2, "between 0 and 1"),
        (["fit", str(CPP_README), "--out", "x"], 1, "extension must be one of"),
        (["fit", "absent.npz", "--out", "x", "--schema", "absent.json"], 1, "no file absent.json"),
        (["fit", "absent.npz", "--out", "x", "--schema", str(CPP_README)], 1, "README.md: Expecting value"),
        (["sample", "absent", "--out", "x.npz"], 1, "no model file"),
        (["evaluate", "absent.npz", "absent.npz", "--out", "x"], 1, "no file absent.npz"),
        (["integrate", "math", "2"], 2, "MODULE:FUNCTION"),
        (["integrate", "math:absent", "2"], 2, "math has no function absent"),
        (["integrate", "no_such_module:f", "2"], 1, "could not be imported"),
        (["integrate", "math:sin", "2", "--calls", "10"], 1, "at least 1000 calls"),
        (["export", "absent", "--out", "x"], 1, "no model file"),
    ],
)
def test_errors_say_what_to_do_and_leave_nothing_behind(bijecta, tmp_path, words, code, reason):
    outcome = bijecta("hep", *words)
    assert (outcome.code, outcome.out) == (code, "")
    assert reason in outcome.words
    assert "Traceback" not in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_conditions_and_models_that_do_not_fit_are_named(bijecta, run, toy_run):
    assert "--condition energy=VALUE" in bijecta("hep", "sample", run / "run", "--out", "x.npz").words
    outcome = bijecta("hep", "sample", run / "run", "--energy", "high", "--out", "x.npz")
    assert "energy is a number, got 'high'" in outcome.words
    outcome = bijecta("hep", "sample", toy_run, "--energy", "91", "--out", "x.npz")
    assert outcome.code == 1
    assert "is no model of events. Make one with: bijecta hep fit" in outcome.words
    outcome = bijecta("hep", "fit", run / "muons.npz", "--out", run / "run", *TINY)
    assert "holds a finished run" in outcome.words
    outcome = bijecta("hep", "fit", run / "muons.npz", "--out", "x", "--resonance", "91", *TINY)
    assert "expected MASS:WIDTH" in outcome.words
    outcome = bijecta("hep", "fit", run / "muons.npz", "--out", "x", "--mass", "mass=gauss:1", *TINY)
    assert "breit_wigner:MASS:WIDTH" in outcome.words


def test_two_fits_with_one_seed_are_the_same(bijecta, run):
    assert bijecta("hep", "fit", run / "muons.npz", "--out", "again", "--resonance", "91.19:2.5", *TINY).code == 0
    first, second = (load(path / "model.safetensors").state_dict() for path in (run / "run", Path("again")))
    assert all(torch.equal(first[name], second[name]) for name in first)


LIGHT = """
import sys, contextlib, io
from bijecta.cli import main
for name in ("generate", "fit", "sample", "evaluate", "integrate", "export"):
    with contextlib.redirect_stdout(io.StringIO()) as text:
        assert main(["hep", name, "--help"]) == 0
    assert "Usage" in text.getvalue()
print(sorted({"torch", "numpy", "matplotlib"} & set(sys.modules)))
"""


def test_help_imports_nothing_heavy(tmp_path):
    outcome = finish(spawn(LIGHT, tmp_path))
    assert (outcome.code, outcome.out) == (0, "[]\n"), outcome.err

"""Events in ONNX files: onnxruntime and a C++ program against the flow, and what the files say about themselves."""

import json
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from bijecta.errors import InputError
from bijecta.flows import realnvp
from bijecta.hep import (
    Condition,
    DrellYan,
    Events,
    EventSchema,
    MuonPairs,
    Particle,
    ThreeJets,
    event_flow,
    measure_coordinates,
    rambo,
)
from bijecta.hep.deployment import (
    UnrolledRambo,
    context_of_columns,
    export_events,
    training_facts,
)
from bijecta.hep.rambo_on_diet import RamboMasses
from bijecta.persistence import save

runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

CPP = Path(__file__).parents[2] / "examples" / "cpp"
Z_SHAPE = {"kind": "breit_wigner", "mass": 91.19, "width": 2.5}
ENERGIES = np.linspace(60.0, 150.0, 200)


def built(events, **options):
    """Build a small flow of which no layer is the identity."""
    coordinates = measure_coordinates(events, **options)
    flow = event_flow(json.dumps(coordinates.to_json()), layers=1, hidden=[8], bins=4)
    flow.initialise(*coordinates.rows(events))
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in flow.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return flow.eval(), coordinates


def four_leptons(n=200):
    """Draw a system that moves freely and decays into two pairs, with a label as a condition."""
    generator = np.random.default_rng(0)
    three = rambo(4, 400.0, n, generator)[..., 1:] + 10.0 * generator.standard_normal((n, 1, 3))
    momenta = np.concatenate([np.sqrt((three**2).sum(-1, keepdims=True)), three], -1)
    names = ("e-", "e+", "nu", "antinu")
    schema = EventSchema(
        tuple(Particle(name, 0, 0.0) for name in names),
        condition=(Condition("energy"), Condition("process", "one_hot", ("ZZ", "WW"))),
    )
    condition = {"energy": np.full(n, 13000.0), "process": np.array(["ZZ", "WW"] * (n // 2))}
    events = Events(schema, momenta, condition=condition)
    return events, {"tree": (("e-", "e+"), ("nu", "antinu")), "masses": {"mass(e-+e+)": Z_SHAPE}}


@pytest.fixture(scope="module")
def muons(tmp_path_factory):
    """Export muon pairs from a saved model that knows its training."""
    events = MuonPairs().sample(200, energy=ENERGIES, seed=0)
    flow, coordinates = built(events, resonance=(91.19, 2.5))
    folder = tmp_path_factory.mktemp("muons")
    save(flow, folder / "model.safetensors", metadata=training_facts(coordinates, events))
    return flow, coordinates, events, export_events(folder, folder / "deployed")


def call(exported, given, condition):
    session = runtime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
    values = {exported.inputs[0]: given}
    return session.run(None, values if condition is None else {**values, "condition": condition})[0]


def agrees(flow, coordinates, exported, conditions, n):
    """Compare both files with the flow, momenta relative to the largest energy of the event."""
    named = {each.name: conditions[:, k] for k, each in enumerate(coordinates.schema.condition)}
    labelled = {
        each.name: np.array(each.values)[named[each.name].astype(int)] if each.values else named[each.name]
        for each in coordinates.schema.condition
    }
    context = coordinates.context_of(labelled, n)
    z = flow.base.sample((n,), generator=torch.Generator().manual_seed(n))
    with torch.no_grad():
        momenta = coordinates.momenta(flow.to_data(z, context.float()).double(), context).numpy()
        x, _ = coordinates.rows(Events(coordinates.schema, momenta, condition=labelled))
        expected = flow.log_prob(x, context.float()).double().numpy()
    found = call(exported[0], z.double().numpy(), conditions)
    assert found.shape == momenta.shape
    assert found.dtype == np.float64
    scale = momenta[:, :, :1].max(axis=1, keepdims=True)
    assert (np.abs(found - momenta) / scale).max() <= 1e-4
    log_prob = call(exported[1], momenta, conditions)
    assert (np.abs(log_prob - expected) / (1.0 + np.abs(expected))).max() <= 1e-4
    return found


@pytest.mark.parametrize("n", [1, 7, 10_000])
def test_muon_pairs_are_those_of_the_flow(muons, n):
    flow, coordinates, events, exported = muons
    assert max(each.error for each in exported) <= 1e-4
    energy = np.resize(ENERGIES, (n, 1))
    found = agrees(flow, coordinates, exported, energy, n)
    # Physics, whatever the flow: energy and momentum are those of the collision, particles are on their shells.
    np.testing.assert_allclose(found.sum(axis=1)[:, :1], energy, rtol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1)[:, 1:], 0.0, atol=1e-10)
    squares = found[..., 0] ** 2 - (found[..., 1:] ** 2).sum(-1)
    np.testing.assert_allclose(squares, events.schema.masses[0] ** 2, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["three jets", "decay chain", "p pbar"])
def test_other_events_are_those_of_the_flow(tmp_path, name):
    if name == "decay chain":
        events, options = four_leptons()
        conditions = np.column_stack([np.full(10_000, 13000.0), np.arange(10_000) % 2])
    elif name == "three jets":
        events, options = ThreeJets().sample(200, energy=ENERGIES, seed=0), {}
        conditions = np.resize(ENERGIES, (10_000, 1))
    else:
        events = DrellYan().sample(200, energy=np.linspace(1000.0, 8000.0, 200), seed=0)
        options, conditions = {"masses": {"mass": Z_SHAPE}}, np.linspace(1000.0, 8000.0, 10_000)[:, None]
    flow, coordinates = built(events, **options)
    exported = export_events(flow, tmp_path, facts=training_facts(coordinates, events))
    assert [each.findings for each in exported] == [(), ()]
    for n in (1, 7, 10_000):
        agrees(flow, coordinates, exported, conditions[:n], n)


def test_the_files_say_what_they_are(muons):
    _, coordinates, events, exported = muons
    session = runtime.InferenceSession(str(exported[0].path))
    properties = session.get_modelmeta().custom_metadata_map
    assert EventSchema.from_json(json.loads(properties["schema"])) == events.schema
    assert json.loads(properties["coordinates"])["columns"] == list(coordinates.columns)
    assert properties["conditions"] == "60.0 150.0 energy"
    assert properties["latent"].splitlines()[0] == "uniform -1.0 1.0 cos_theta"
    low, high = json.loads(properties["ranges"])["cos_theta"]
    cosine = MuonPairs().coordinates(events)[:, 0]
    np.testing.assert_allclose([low, high], [cosine.min(), cosine.max()], rtol=1e-6)
    assert len(properties["data_sha256"]) == 64
    assert "bijecta" in json.loads(properties["versions"])
    assert session.get_modelmeta().graph_name
    assert [each.shape[0] for each in session.get_inputs()] == [session.get_outputs()[0].shape[0]] * 2


def test_the_facts_tell_data_apart():
    events = MuonPairs().sample(50, energy=91.0, seed=0)
    coordinates = measure_coordinates(events)
    first = training_facts(coordinates, events)
    assert first == training_facts(coordinates, events)
    assert first["data_sha256"] != training_facts(coordinates, events.take(slice(1, None)))["data_sha256"]
    with pytest.raises(InputError, match="no events"):
        training_facts(coordinates, events.take(slice(0, 0)))


def test_columns_of_conditions_mean_what_conditions_mean():
    events, options = four_leptons(6)
    coordinates = measure_coordinates(events, **options)
    columns = torch.tensor([[13000.0, 0.0], [13000.0, 1.0]] * 3, dtype=torch.float64)
    wanted = coordinates.context_of(events.condition, 6)
    torch.testing.assert_close(context_of_columns(coordinates, columns), wanted)


@pytest.mark.parametrize("particles", [3, 4, 7])
def test_fixed_steps_find_the_masses_that_the_search_finds(particles):
    masses, context = RamboMasses(particles), torch.tensor([91.2], dtype=torch.float64).log()
    z = torch.rand(2000, particles - 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2.0 - 1.0
    x, ladj = UnrolledRambo(masses).inverse_and_ladj(z, context)
    expected, expected_ladj = masses.inverse_and_ladj(z, context)
    torch.testing.assert_close(x, expected, rtol=1e-7, atol=0.0)
    torch.testing.assert_close(ladj, expected_ladj, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(masses.forward(x, context), z, rtol=1e-10, atol=1e-10)
    ends = UnrolledRambo(masses).inverse(torch.tensor([[-1.0], [1.0]]).expand(2, particles - 2), context.float())
    assert bool(ends.isfinite().all())


def test_other_flows_are_refused(tmp_path):
    with pytest.raises(InputError, match="not built by"):
        export_events(realnvp(2), tmp_path / "deployed")
    assert not (tmp_path / "deployed").exists()
    with pytest.raises(InputError, match="no model file"):
        export_events(tmp_path / "absent", tmp_path / "deployed")


def library():
    """Find the library that the package for Python brings."""
    found = sorted((Path(runtime.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    return found[-1] if found else None


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Compile the example."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None or library() is None:
        pytest.skip("no C++ compiler, or no libonnxruntime.so in the package onnxruntime")
    folder = tmp_path_factory.mktemp("cpp")
    (folder / "libonnxruntime.so.1").symlink_to(library())
    command = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", str(CPP / "sample_events.cpp"), "-o", "sample"]
    done = subprocess.run(
        [*command, "./libonnxruntime.so.1", f"-Wl,-rpath,{folder}"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder / "sample"


def run_program(program, *words):
    return subprocess.run([str(program), *map(str, words)], capture_output=True, text=True, timeout=60)


def test_cpp_computes_the_events_of_given_latents(muons, program, tmp_path):
    flow, coordinates, _, exported = muons
    z = flow.base.sample((50,), generator=torch.Generator().manual_seed(3)).double().numpy()
    np.savetxt(tmp_path / "z.txt", z, fmt="%.17g")
    done = run_program(program, exported[0].path, tmp_path / "p.txt", tmp_path / "z.txt", 91.2)
    assert (done.returncode, done.stderr) == (0, "")
    found = np.loadtxt(tmp_path / "p.txt").reshape(50, 2, 4)
    context = coordinates.context_of({"energy": 91.2}, 50)
    with torch.no_grad():
        rows = flow.to_data(torch.tensor(z).float(), context.float()).double()
    np.testing.assert_allclose(found, coordinates.momenta(rows, context).numpy(), rtol=0.0, atol=91.2e-5)


def test_cpp_draws_latents_itself(muons, program, tmp_path):
    exported = muons[3]
    for seed in (1, 1, 2):
        done = run_program(program, exported[0].path, tmp_path / f"{seed}.txt", f"4000:{seed}", 300)
        assert done.returncode == 0
        assert "outside the training: 60.0 150.0 energy" in done.stderr
    momenta = np.loadtxt(tmp_path / "1.txt").reshape(-1, 2, 4)
    assert not np.array_equal(momenta, np.loadtxt(tmp_path / "2.txt").reshape(-1, 2, 4))
    np.testing.assert_allclose(momenta[..., 0], 150.0, rtol=1e-9)
    # The azimuth is the latent itself: flat, which is a test of the drawing; 1.63 / √n is the 1 % line of the test.
    phi = np.sort(np.arctan2(momenta[:, 0, 2], momenta[:, 0, 1])) / (2.0 * math.pi) + 0.5
    assert np.abs(phi - (np.arange(4000) + 0.5) / 4000).max() < 1.63 / math.sqrt(4000)


def test_cpp_explains_what_is_wrong(muons, program, tmp_path):
    path, out = muons[3][0].path, tmp_path / "p.txt"
    for words, reason in [
        ((path, out, "5:1"), "wrong number of conditions"),
        ((path, out, "absent.txt", 91.2), "no latents"),
        ((tmp_path / "absent.onnx", out, "5:1", 91.2), "absent.onnx"),
        ((muons[3][1].path, out), "usage"),
    ]:
        done = run_program(program, *words)
        assert done.returncode == 1
        assert reason in done.stderr
        assert not out.exists()

"""Every format gives back what was written; damaged and foreign files are refused."""

from dataclasses import replace

import numpy as np
import pytest

from bijecta.errors import FileFormatError, InputError
from bijecta.hep import (
    Condition,
    Events,
    EventSchema,
    MuonPairs,
    Particle,
    VariableParticles,
    read_events,
    read_showers,
    write_events,
)
from bijecta.hep.generators import MUON_MASS

EXACT = [".npz", ".h5", ".hdf5", ".parquet", ".lhe", ".lhe.gz", ".hepmc", ".hepmc3"]
FORMATS = [*EXACT, ".root"]
NEEDS = {
    ".h5": "h5py",
    ".hdf5": "h5py",
    ".parquet": "pyarrow",
    ".hepmc": "pyhepmc",
    ".hepmc3": "pyhepmc",
    ".root": "uproot",
}

Z_JETS = EventSchema(
    (Particle("mu-", 13, MUON_MASS), Particle("mu+", -13, MUON_MASS)),
    (VariableParticles("jet", 21, 0.0, most=3),),
    (Condition("energy"), Condition("process", "one_hot", ("a b", "c-d")), Condition("scale", "number")),
    weight="genWeight",
)


def z_jets(n=50):
    """Muon pairs with up to three massless jets whose transverse momenta balance; signed weights."""
    rng = np.random.default_rng(0)
    three = rng.normal(size=(n, 5, 3)) * 30.0
    mask = np.arange(5) < 2 + rng.integers(0, 4, size=(n, 1))
    three *= mask[..., None]
    order = np.argsort(-np.hypot(three[:, 2:, 0], three[:, 2:, 1]), axis=1)
    three[:, 2:] = np.take_along_axis(three[:, 2:], order[..., None], axis=1)
    three[:, 1, :2] -= three[:, :, :2].sum(axis=1)
    masses = np.array([MUON_MASS, MUON_MASS, 0.0, 0.0, 0.0])
    momenta = np.concatenate([np.sqrt((three**2).sum(-1) + masses**2)[..., None], three], axis=-1)
    condition = {
        "energy": np.full(n, 13000.0),
        "process": np.array(["a b", "c-d"])[rng.integers(0, 2, n)],
        "scale": rng.normal(size=n),
    }
    metadata = {"cuts": {"pt": [20, None]}, "text": 'quoted "--" | \\ é', "beams": [2212, 2212]}
    return Events(Z_JETS, momenta, mask, condition, rng.normal(size=n), metadata)


def muons(n=20):
    return MuonPairs().sample(n, np.linspace(50.0, 90.0, n), seed=1)


def needs(suffix):
    if suffix in NEEDS:
        pytest.importorskip(NEEDS[suffix], reason=f"{suffix} needs {NEEDS[suffix]}")


def assert_same(got, expected, tolerance=0.0):
    assert got.schema == expected.schema
    assert got.metadata == expected.metadata
    np.testing.assert_allclose(got.momenta, expected.momenta, rtol=tolerance, atol=tolerance * 100.0)
    np.testing.assert_array_equal(got.present(), expected.present())
    assert (got.mask is None) == (expected.mask is None)
    assert (got.weight is None) == (expected.weight is None)
    np.testing.assert_array_equal(
        got.column(got.schema.weight or "energy"), expected.column(got.schema.weight or "energy")
    )
    for name in expected.condition:
        np.testing.assert_array_equal(got.condition[name], expected.condition[name])
        assert got.condition[name].dtype.kind == expected.condition[name].dtype.kind


@pytest.mark.parametrize("make", [z_jets, muons])
@pytest.mark.parametrize("suffix", FORMATS)
def test_events_come_back_as_they_were(suffix, make, tmp_path):
    needs(suffix)
    path, events = tmp_path / f"events{suffix}", make()
    write_events(events, path)
    assert_same(read_events(path), events, 0.0 if suffix in EXACT else 1e-13)
    assert [file.name for file in tmp_path.iterdir()] == [path.name], "no temporary files stay"


def test_an_rntuple_comes_back_as_it_was(tmp_path):
    needs(".root")
    import uproot

    write_events(z_jets(), tmp_path / "events.root", rntuple=True)
    with uproot.open(tmp_path / "events.root") as file:
        assert file.classname_of("Events") == "ROOT::RNTuple"
    assert_same(read_events(tmp_path / "events.root"), z_jets(), 1e-13)


@pytest.mark.parametrize("suffix", FORMATS)
def test_files_of_no_events(suffix, tmp_path):
    needs(suffix)
    path, none = tmp_path / f"events{suffix}", muons().take(slice(0, 0))
    if suffix.startswith(".hepmc"):
        with pytest.raises(InputError, match="no events to write"):
            write_events(none, path)
        return
    write_events(none, path)
    assert_same(read_events(path), none)


@pytest.mark.parametrize("suffix", FORMATS)
def test_truncated_files_are_refused(suffix, tmp_path):
    needs(suffix)
    path = tmp_path / f"events{suffix}"
    write_events(z_jets(), path)
    whole = path.read_bytes()
    for share in (0.0, 0.3, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(FileFormatError):
            read_events(path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_foreign_files_are_refused(suffix, tmp_path):
    needs(suffix)
    path = tmp_path / f"events{suffix}"
    path.write_text("E px py pz\n1 2 3 4\n" * 100)
    with pytest.raises(FileFormatError):
        read_events(path)


def test_other_contents_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", p4=np.ones((3, 2, 4)))
    with pytest.raises(FileFormatError, match="holds p4, not events"):
        read_events(tmp_path / "a.npz")
    needs(".parquet")
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": [1.0]}), tmp_path / "a.parquet")
    with pytest.raises(FileFormatError, match="no header"):
        read_events(tmp_path / "a.parquet")


def test_paths_and_metadata_are_checked(tmp_path):
    with pytest.raises(InputError, match="extension must be one of"):
        write_events(muons(), tmp_path / "events.csv")
    with pytest.raises(InputError, match="There is no file"):
        read_events(tmp_path / "events.npz")
    with pytest.raises(InputError, match="metadata cannot be written"):
        write_events(replace(muons(), metadata={"array": np.ones(3)}), tmp_path / "events.npz")
    assert list(tmp_path.iterdir()) == []


def test_jetnet_files(tmp_path):
    h5py = pytest.importorskip("h5py", reason="HDF5 needs h5py")
    particles = np.zeros((2, 3, 4), dtype=np.float32)
    particles[0, 0] = 0.1, -0.2, 0.6, 1.0
    particles[0, 1] = -0.15, 0.3, 0.4, 1.0
    particles[1, 0] = 0.0, 0.0, 1.0, 1.0
    with h5py.File(tmp_path / "jets.hdf5", "w") as file:
        file["particle_features"] = particles
        file["jet_features"] = np.array([[1000.0, 0.5, 80.0, 2.0], [900.0, -1.0, 5.0, 1.0]], dtype=np.float32)
    events = read_events(tmp_path / "jets.hdf5")
    assert events.mask.sum(axis=1).tolist() == [2, 1]
    np.testing.assert_allclose(events.column("constituent1.pt"), [600.0, 900.0], rtol=1e-6)
    np.testing.assert_allclose(events.column("constituent1.eta"), [0.6, -1.0], rtol=1e-6)
    np.testing.assert_allclose(events.column("constituent2.phi"), [0.3, 0.0], rtol=1e-6)
    np.testing.assert_allclose(events.column("jet_mass"), [80.0, 5.0])
    with h5py.File(tmp_path / "jets.hdf5", "a") as file:
        del file["jet_features"]
        file["jet_features"] = np.ones((2, 7))
    with pytest.raises(FileFormatError, match="jet_features of shape"):
        read_events(tmp_path / "jets.hdf5")


def test_calochallenge_files(tmp_path):
    h5py = pytest.importorskip("h5py", reason="HDF5 needs h5py")
    voxels = np.random.default_rng(0).exponential(size=(4, 368))
    with h5py.File(tmp_path / "photons.hdf5", "w") as file:
        file["incident_energies"], file["showers"] = np.array([[256.0], [512.0], [1024.0], [2048.0]]), voxels
    incident, showers = read_showers(tmp_path / "photons.hdf5")
    np.testing.assert_allclose(incident, [0.256, 0.512, 1.024, 2.048])
    np.testing.assert_allclose(showers, voxels / 1000.0)
    with pytest.raises(FileFormatError, match="read_showers"):
        read_events(tmp_path / "photons.hdf5")
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["x"] = voxels
    with pytest.raises(FileFormatError, match="expected incident_energies"):
        read_showers(tmp_path / "other.hdf5")

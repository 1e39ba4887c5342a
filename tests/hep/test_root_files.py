"""ROOT files of others: NanoAOD by the names in a schema."""

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
    write_events,
)

SCHEMA = EventSchema(
    (),
    (VariableParticles("Muon", 13, 0.1057, most=2), VariableParticles("Jet", 0, None, most=2)),
    condition=(Condition("MET_pt", "number"),),
    weight="genWeight",
)


@pytest.fixture(params=["TTree", "RNTuple"])
def nano(request, tmp_path):
    """Three events with 1, 3 and 0 muons, and 1, 0 and 1 jets, in single precision as NanoAOD has it."""
    uproot = pytest.importorskip("uproot", reason="ROOT needs uproot")
    awkward = pytest.importorskip("awkward")

    def jagged(values, counts):
        return awkward.unflatten(np.array(values, dtype=np.float32), counts)

    muons = {
        "pt": jagged([50.0, 40.0, 30.0, 20.0], [1, 3, 0]),
        "eta": jagged([0.5, -1.0, 2.0, 0.1], [1, 3, 0]),
        "phi": jagged([3.0, -3.0, 1.0, 0.2], [1, 3, 0]),
    }
    jets = {name: jagged([100.0, 60.0], [1, 0, 1]) for name in ("pt",)}
    jets |= {"eta": jagged([1.5, -2.5], [1, 0, 1]), "phi": jagged([0.0, 1.0], [1, 0, 1])}
    jets["mass"] = jagged([12.0, 7.0], [1, 0, 1])
    scalars = {"MET_pt": np.array([5.0, 6.0, 7.0]), "genWeight": np.array([1.0, -1.0, 2.0])}
    with uproot.recreate(tmp_path / "nano.root") as file:
        if request.param == "TTree":
            zipped = {"Muon": awkward.zip(muons), "Jet": awkward.zip(jets)} | scalars
            file.mktree("Events", {k: getattr(v, "type", None) or v.dtype for k, v in zipped.items()})
            file["Events"].extend(zipped)
        else:
            flat = {f"Muon_{k}": v for k, v in muons.items()} | {f"Jet_{k}": v for k, v in jets.items()}
            file.mkrntuple("Events", flat | scalars)
    return tmp_path / "nano.root"


def test_collections_are_read_by_their_names(nano):
    events = read_events(nano, schema=SCHEMA)
    assert events.present().tolist() == [
        [True, False, True, False],
        [True, True, False, False],
        [False, False, True, False],
    ]
    np.testing.assert_allclose(events.column("Muon1.pt"), [50.0, 40.0, 0.0], rtol=1e-6)
    np.testing.assert_allclose(events.column("Muon2.eta"), [0.0, 2.0, 0.0], rtol=1e-6)
    np.testing.assert_allclose(events.column("Muon1.mass"), [0.1057, 0.1057, 0.0], rtol=1e-3)
    np.testing.assert_allclose(events.column("Jet1.mass"), [12.0, 0.0, 7.0], rtol=1e-5)
    np.testing.assert_allclose(events.column("Jet1.phi"), [0.0, 0.0, 1.0], rtol=1e-6)
    assert events.weight.tolist() == [1.0, -1.0, 2.0]
    assert events.column("MET_pt").tolist() == [5.0, 6.0, 7.0]


def test_what_the_schema_asks_for_must_be_there(nano):
    with pytest.raises(InputError, match="Say what to read"):
        read_events(nano)
    with pytest.raises(InputError, match="any number of particles"):
        read_events(nano, schema=EventSchema((Particle("Muon", 13, 0.1057),)))
    with pytest.raises(FileFormatError, match="no branches Tau_pt, Tau_eta, Tau_phi"):
        read_events(nano, schema=EventSchema((), (VariableParticles("Tau", 15, 1.777, most=1),)))


def test_our_files_look_like_nanoaod(tmp_path):
    uproot = pytest.importorskip("uproot", reason="ROOT needs uproot")
    events = MuonPairs().sample(5, energy=91.2, seed=0)
    write_events(events, tmp_path / "ours.root")
    with uproot.open(tmp_path / "ours.root") as file:
        tree = file["Events"]
        assert tree["nMuon"].array().tolist() == [2] * 5
        assert tree["Muon_pdgId"].array().tolist() == [[13, -13]] * 5
        np.testing.assert_allclose(tree["Muon_pt"].array()[:, 0], events.column("mu-.pt"))
        np.testing.assert_allclose(tree["Muon_phi"].array()[:, 1], events.column("mu+.phi"))


def test_a_particle_along_the_beam_has_no_pseudorapidity(tmp_path):
    pytest.importorskip("uproot", reason="ROOT needs uproot")
    events = Events(EventSchema((Particle("gamma", 22, 0.0),)), np.array([[[5.0, 0.0, 0.0, -5.0]]]))
    with pytest.raises(InputError, match="infinite along the beam: gamma in row 0"):
        write_events(events, tmp_path / "x.root")

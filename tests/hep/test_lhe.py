"""Les Houches events: Pythia reads ours, ours reads those of others, colours and charges are conserved."""

import gzip
from dataclasses import replace

import numpy as np
import pytest

from bijecta.errors import FileFormatError, InputError
from bijecta.hep import Events, EventSchema, MuonPairs, Particle, ThreeJets, kinematics, read_events, write_events
from bijecta.hep.lhe import _charge, _colours, _incoming, _quarks

# What MadGraph writes, in its order and style: a Z to leptons with none, one and two partons, weights of both signs.
FOREIGN = """<LesHouchesEvents version="3.0">
<header><MGVersion> 5.2.3.3 </MGVersion>
<initrwgt><weightgroup><weight id='1001'> MUR=1 </weight></weightgroup></initrwgt></header>
<init>
 2212 2212 6.5000000e+03 6.5000000e+03 0 0 260000 260000 -4 1
 1.1095012e+03 3.8e+00 1.1095012e+03 1
</init>
<eventgroup>
<event npLO=" 0 " npNLO=" -1 ">
 5      1 +1.2500000e+01 9.118760e+01 7.546772e-03 1.180000e-01
 2 -1 0 0 501 0 0.0 0.0 +50.0 50.0 0.0 0.0 1.0
 -2 -1 0 0 0 501 0.0 0.0 -41.575 41.575 0.0 0.0 -1.0
 23 2 1 2 0 0 0.0 0.0 8.425 91.575 91.1876 0.0 9.0
 -13 1 3 3 0 0 10.0 0.0 20.0 22.360679774997898 0.0 0.0 1.0
 13 1 3 3 0 0 -10.0 0.0 -11.575 69.2 0.0 0.0 -1.0
<rwgt><wgt id='1001'> +1.3e+01 </wgt></rwgt>
</event>
<event>
 6 1 -1.25D+01 9.1D+01 7.5e-03 1.18e-01
 21 -1 0 0 502 501 0.0 0.0 50.0 50.0 0.0 0.0 1.0
 2 -1 0 0 501 0 0.0 0.0 -41.0 41.0 0.0 0.0 -1.0
 11 1 1 2 0 0 1.0 2.0 3.0 3.7416573867739413 0.0 0.0 1.0
 -11 1 1 2 0 0 4.0 0.0 3.0 5.0 0.0 0.0 -1.0
 21 1 1 2 503 501 0.0 3.0 4.0 5.0 0.0 0.0 1.0
 2 1 1 2 502 0 6.0 0.0 8.0 10.0 0.0 0.0 1.0
</event>
</eventgroup>
</LesHouchesEvents>
"""


@pytest.mark.parametrize("compressed", [False, True])
def test_events_of_others_are_read(compressed, tmp_path):
    path = tmp_path / ("z.lhe.gz" if compressed else "z.lhe")
    path.write_bytes(gzip.compress(FOREIGN.encode()) if compressed else FOREIGN.encode())
    events = read_events(path)
    assert events.schema.slots == ("l-", "l+", "parton1", "parton2")
    assert events.weight.tolist() == [12.5, -12.5]
    assert events.column("l-.px").tolist() == [-10.0, 1.0]
    assert events.column("pdg_l-").tolist() == [13, 11]
    assert events.column("pdg_parton1").tolist() == [0, 2], "by falling transverse momentum"
    assert events.column("parton1.pt").tolist() == [0.0, 6.0]
    assert events.mask.tolist() == [[True, True, False, False], [True, True, True, True]]
    assert events.metadata["beam_energies"] == [6500.0, 6500.0]
    assert events.metadata["cross_section_pb"] == [pytest.approx(1109.5012)]


def test_events_without_end_or_with_broken_lines_are_refused(tmp_path):
    path = tmp_path / "z.lhe"
    for text, message in (
        (FOREIGN.replace("</LesHouchesEvents>", ""), "truncated"),
        (FOREIGN.replace("-13 1 3 3 0 0 10.0", "-13 1 three 3 0 0 10.0"), "cannot be read as Les Houches events"),
        (FOREIGN[: FOREIGN.index("<event")] + "</LesHouchesEvents>", "holds no events"),
        ("", "does not begin"),
    ):
        path.write_text(text)
        with pytest.raises(FileFormatError, match=message):
            read_events(path)


def pythia_reads(path, n, *settings):
    """The final particles of hard events, or of whole events, as Pythia sees them."""
    pythia8 = pytest.importorskip("pythia8mc", reason="the package pythia8mc is not installed")
    pythia = pythia8.Pythia("", False)
    for setting in ("Print:quiet = on", "Beams:frameType = 4", f"Beams:LHEF = {path}", *settings):
        assert pythia.readString(setting), setting
    assert pythia.init()
    events, failed = [], 0
    while not pythia.infoPython().atEndOfFile():
        if not pythia.next():
            failed += 1
            continue
        record = pythia.process if "PartonLevel:all = off" in settings else pythia.event
        final = [record[k] for k in range(record.size()) if record[k].isFinal()]
        particles = [(p.id(), p.e(), p.px(), p.py(), p.pz()) for p in final]
        events.append((pythia.infoPython().weight(), particles))
    assert len(events) == n
    assert failed <= 1, "the attempt after the last event"
    return events


def test_pythia_reads_what_is_written(tmp_path):
    events = MuonPairs().sample(40, energy=91.2, seed=0)
    write_events(events, tmp_path / "ee.lhe")
    seen = pythia_reads(tmp_path / "ee.lhe", 40, "PartonLevel:all = off", "HadronLevel:all = off", "PDF:lepton = off")
    for (weight, particles), momenta in zip(seen, events.momenta, strict=True):
        assert weight == 1.0
        assert [particle[0] for particle in particles] == [13, -13]
        np.testing.assert_allclose([particle[1:] for particle in particles], momenta, atol=1e-6)


def test_pythia_showers_quarks_and_a_gluon_into_hadrons(tmp_path):
    events = ThreeJets().sample(30, energy=91.2, seed=0)
    write_events(events, tmp_path / "qqg.lhe")
    for _, particles in pythia_reads(tmp_path / "qqg.lhe", 30, "PDF:lepton = off"):
        total = np.sum([particle[1:] for particle in particles], axis=0)
        np.testing.assert_allclose(total, [91.2, 0.0, 0.0, 0.0], atol=1e-4)
        assert len(particles) > 10


def test_pythia_showers_signed_events_of_protons(tmp_path):
    rng = np.random.default_rng(1)
    schema = EventSchema((Particle("mu-", 13, 0.0), Particle("mu+", -13, 0.0), Particle("g", 21, 0.0)), weight="weight")
    three = rng.normal(size=(25, 3, 3)) * 40.0
    three[:, 2, :2] = -three[:, :2, :2].sum(axis=1)
    momenta = np.concatenate([np.linalg.norm(three, axis=-1, keepdims=True), three], axis=-1)
    weight = rng.choice([-2.0, 2.0], size=25)
    metadata = {"beams": [2212, 2212], "cross_section_pb": [1000.0], "energy": 13000.0}
    events = Events(schema, momenta, weight=weight, metadata=metadata)
    write_events(events, tmp_path / "zj.lhe.gz")
    seen = pythia_reads(tmp_path / "zj.lhe.gz", 25, "PartonLevel:all = off", "HadronLevel:all = off")
    np.testing.assert_array_equal(np.sign([each for each, _ in seen]), np.sign(weight))
    whole = pythia_reads(tmp_path / "zj.lhe.gz", 25)
    assert min(len(particles) for _, particles in whole) > 20, "showered and hadronised"
    for (_, particles), expected in zip(seen, momenta, strict=True):
        np.testing.assert_allclose(
            [particle[1:] for particle in particles], expected, atol=5e-3
        )  # Pythia gives the muons a mass


PROTONS = (2212, 2212)
FINAL_STATES = [
    [13, -13], [13, -13, 21], [13, -13, 2], [13, -14], [11, -12, 21], [21, 21], [2, 1], [2, -1], [5, -5],
    [5, 2, -1, -5, 13, -14], [5, 2, -1, -5, 3, -4], [2, 2, 21], [-2, 21, 21],
]  # fmt: skip


@pytest.mark.parametrize("pdg", FINAL_STATES)
def test_charge_and_the_number_of_quarks_are_conserved(pdg):
    incoming = _incoming(pdg, PROTONS)
    assert _charge(incoming) == _charge(pdg)
    assert _quarks(incoming) == _quarks(pdg)


FROM_LEPTONS = [[1, -1, 21], [1, -1], [1, 21, -1], [1, 21, 21, -1], [1, -1, 2, -2], [13, -13]]


@pytest.mark.parametrize(
    ("incoming", "pdg"),
    [(_incoming(pdg, PROTONS), pdg) for pdg in FINAL_STATES] + [((11, -11), pdg) for pdg in FROM_LEPTONS],
)
def test_every_line_of_colour_has_two_ends(incoming, pdg):
    colours = _colours(incoming, pdg)
    sources = [c for c, _ in colours[2:]] + [a for _, a in colours[:2]]
    sinks = [a for _, a in colours[2:]] + [c for c, _ in colours[:2]]
    assert sorted(filter(None, sources)) == sorted(filter(None, sinks)) == sorted(set(filter(None, sources)))
    for number, (colour, anticolour) in zip([*incoming, *pdg], colours, strict=True):
        assert bool(colour) == (number == 21 or 0 < number <= 6)
        assert bool(anticolour) == (number == 21 or -6 <= number < 0)
        assert colour != anticolour or not colour


def test_the_quarks_of_a_w_form_a_singlet():
    colours = _colours((21, 21), [5, 2, -1, -5, 3, -4])
    assert colours[3][0] == colours[4][1]
    assert colours[6][0] == colours[7][1]


def test_what_no_hard_collision_gives_is_refused(tmp_path):
    path, events = tmp_path / "x.lhe", MuonPairs().sample(3, energy=91.2, seed=0)
    tilted = replace(events, momenta=kinematics.boost(events.momenta, np.full((3, 2, 3), [0.1, 0.0, 0.0])))
    with pytest.raises(InputError, match="add up to zero"):
        write_events(tilted, path)
    nameless = EventSchema((Particle("a", 0, None), Particle("b", -13, None)))
    with pytest.raises(InputError, match="particle number for a"):
        write_events(Events(nameless, events.momenta), path)
    charged = EventSchema((Particle("a", 24, None), Particle("b", 24, None), Particle("c", 24, None)))
    momenta = np.concatenate([events.momenta, 0.0 * events.momenta[:, :1] + [1, 0, 0, 0]], axis=1)
    with pytest.raises(InputError, match="No two incoming"):
        write_events(Events(charged, momenta), path)
    gluons = EventSchema((Particle("g", 21, None), Particle("gamma", 22, None)))
    for schema, beams in ((gluons, [11, -11]), (EventSchema((Particle("u", 2), Particle("d", 1))), [11, -11])):
        with pytest.raises(InputError, match=r"gluon|No two"):
            write_events(Events(schema, events.momenta, metadata={"beams": beams}), path)
    assert not path.exists()

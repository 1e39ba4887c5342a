"""The wrapper of Pythia: what it gives is on shell, conserves momentum, and follows the known asymmetry."""

import sys

import numpy as np
import pytest

from bijecta.errors import InputError, MissingDependencyError
from bijecta.hep import MuonPairs, check_events, from_pythia
from bijecta.hep.pythia import PROCESSES


@pytest.fixture
def _simulation():
    pytest.importorskip("pythia8mc", reason="the package pythia8mc is not installed")


def errors(events):
    return [str(finding) for finding in check_events(events) if finding.severity == "error"]


@pytest.mark.usefixtures("_simulation")
def test_muon_pairs_follow_the_formula_of_the_asymmetry():
    events = from_pythia("ee_mumu", [60.0, 80.0], n=400, seed=1)
    energy = events.column("energy")
    np.testing.assert_allclose(events.momenta.sum(axis=1), energy[:, None] * [1.0, 0.0, 0.0, 0.0], atol=1e-9)
    assert errors(events) == []
    for value in (60.0, 80.0):
        forward = np.sign(events.column("mu-.pz")[energy == value]).mean()
        assert forward == pytest.approx(MuonPairs().forward_backward_asymmetry(value), abs=4.0 / np.sqrt(400))
    expected = MuonPairs().cross_section([60.0, 80.0])
    np.testing.assert_allclose(events.metadata["cross_section_pb"], expected, rtol=0.03)  # its couplings run


@pytest.mark.usefixtures("_simulation")
@pytest.mark.parametrize("process", ["dy_mumu", "ttbar", "dijet"])
def test_transverse_momentum_is_conserved_at_lowest_order(process):
    events = from_pythia(process, 13000.0, n=200, seed=2, identities=True)
    np.testing.assert_allclose(events.momenta.sum(axis=1)[:, 1:3], 0.0, atol=1e-8)
    assert errors(events) == []
    assert len(events) == 200
    if process == "dijet":
        assert np.ptp(np.log(events.weight)) > 1.0
        assert set(np.unique(events.column("pdg_parton1"))) <= set(events.schema.condition[1].values)
    if process == "ttbar":
        masses = events.momenta[:, 1:3].sum(axis=1) ** 2 @ np.array([1.0, -1.0, -1.0, -1.0])
        assert np.median(np.sqrt(masses)) == pytest.approx(80.4, abs=0.5)
        masses = events.momenta[:, 3:].sum(axis=1) ** 2 @ np.array([1.0, -1.0, -1.0, -1.0])
        assert np.median(np.sqrt(masses)) == pytest.approx(173.0, abs=1.0)
        assert (events.column("pdg_bbar") < 0).all()


@pytest.mark.usefixtures("_simulation")
def test_whole_events_conserve_four_momentum():
    events = from_pythia("ee_hadrons", 91.2, n=50, seed=3)
    np.testing.assert_allclose(events.momenta.sum(axis=1), np.tile([91.2, 0.0, 0.0, 0.0], (50, 1)), atol=1e-5)
    assert events.mask.sum(axis=1).min() > 5
    assert errors(events) == []


@pytest.mark.usefixtures("_simulation")
def test_the_seed_decides_the_events():
    first, again, other = (from_pythia("dy_mumu", 8000.0, n=20, seed=seed, level="parton") for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.momenta, again.momenta)
    assert not np.array_equal(first.momenta, other.momenta)
    assert np.hypot(*first.momenta.sum(axis=1)[:, 1:3].T).mean() > 1.0, "showers give the pair transverse momentum"


@pytest.mark.usefixtures("_simulation")
def test_an_impossible_energy_is_an_error_with_a_remedy():
    with pytest.raises(InputError, match="Change the energy"):
        from_pythia("ttbar", 100.0, n=1, seed=0)


def test_unknown_processes_and_levels_are_refused():
    with pytest.raises(InputError, match="Unknown process 'zjets'"):
        from_pythia("zjets", 13000.0, n=1, seed=0)
    with pytest.raises(InputError, match="no level 'hadron'"):
        from_pythia("ttbar", 13000.0, n=1, seed=0, level="hadron")
    assert all(process.levels for process in PROCESSES.values())


def test_without_pythia_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    monkeypatch.setitem(sys.modules, "pythia8", None)
    with pytest.raises(MissingDependencyError, match=r'pip install --only-binary :all: "bijecta\[pythia\]"'):
        from_pythia("ee_mumu", 91.2, n=1, seed=0)

"""Asymmetries against the formula, peaks against known positions, and that a report names what differs."""

import numpy as np
import pytest

from bijecta.hep import Events, EventSchema, MuonPairs, Particle, evaluate
from bijecta.hep.evaluation_leptons import fit_peak, lepton_numbers

TRUTH = MuonPairs()


def breit_wigner(n, seed, mass=91.1876, width=2.4952):
    angles = np.random.default_rng(seed).uniform(-1.5, 1.5, n)
    return mass + width / 2.0 * np.tan(angles)


@pytest.mark.parametrize("energy", [80.0, 91.2, 105.0])
def test_the_asymmetry_is_that_of_the_formula(energy):
    samples = [TRUTH.sample(20_000, energy=energy, seed=seed) for seed in (1, 2)]
    number = lepton_numbers(*samples)["A_FB(mu- mu+)"]
    exact = float(TRUTH.forward_backward_asymmetry(energy))
    for value in (number.value, number.null):
        assert value == pytest.approx(exact, abs=4.0 * number.error)
    assert number.error == pytest.approx(np.sqrt((1.0 - exact**2) / 20_000), rel=0.05)
    assert number.p_value > 1e-3


def test_between_protons_the_direction_of_the_pair_counts():
    """Turning every second event around the beam's transverse axis changes nothing then, and everything else."""
    events = TRUTH.sample(8000, energy=105.0, seed=1)
    momenta = events.momenta.copy()
    gamma, push = np.cosh(0.8), np.sinh(0.8)
    momenta[..., 0], momenta[..., 3] = (
        gamma * events.momenta[..., 0] + push * events.momenta[..., 3],
        gamma * events.momenta[..., 3] + push * events.momenta[..., 0],
    )
    momenta[::2, :, 1:] *= [1.0, -1.0, -1.0]
    both = {
        beams: Events(events.schema, momenta, condition=events.condition, metadata={"beams": beams})
        for beams in ((2212, 2212), (2212, -2212))
    }
    found = {beams: lepton_numbers(events, events)["A_FB(mu- mu+)"].value for beams, events in both.items()}
    exact = float(TRUTH.forward_backward_asymmetry(105.0))
    assert found[(2212, 2212)] == pytest.approx(exact, abs=0.04)
    assert found[(2212, -2212)] == pytest.approx(0.0, abs=0.04)


def test_the_peak_has_honest_errors():
    """Pulls of the fitted mass over forty samples, on a background that is three tenths of the events."""
    pulls = []
    for seed in range(40):
        background = np.random.default_rng(1000 + seed).uniform(60.0, 120.0, 900)
        values = np.concatenate([breit_wigner(2100, seed), background])
        peak = fit_peak(values, np.ones(len(values)))
        pulls.append(((peak.mass - 91.1876) / peak.mass_error, (peak.width - 2.4952) / peak.width_error))
    assert np.abs(np.mean(pulls, axis=0)).max() < 0.6
    assert 0.7 < np.std(pulls, axis=0).min() <= np.std(pulls, axis=0).max() < 1.35


def test_negative_weights_remove_what_they_stand_for():
    """A second peak at 88 GeV, and as many events of weight -1 there: values stay right and errors honest."""
    pulls = []
    for seed in range(40):
        others = breit_wigner(2000, 100 + seed, mass=88.0)
        values = np.concatenate([breit_wigner(4000, seed), others, breit_wigner(2000, 200 + seed, mass=88.0)])
        peak = fit_peak(values, np.repeat([1.0, -1.0], [6000, 2000]))
        pulls.append((peak.mass - 91.1876) / peak.mass_error)
    assert abs(np.mean(pulls)) < 0.6
    assert 0.7 < np.std(pulls) < 1.35


@pytest.mark.parametrize(
    "values", [np.full(1000, 10.0), np.linspace(81.0, 101.0, 5000), breit_wigner(100, 1), np.empty(0)]
)
def test_where_there_is_no_peak_none_is_fitted(values):
    assert fit_peak(values, np.ones(len(values))) is None


def test_particles_without_partners_give_nothing():
    schema = EventSchema((Particle("e-", 11, 0.0), Particle("mu+", -13, 0.0)))
    events = Events(schema, np.ones((300, 2, 4)))
    assert lepton_numbers(events, events) == {}


def test_a_report_names_an_asymmetry_that_no_other_test_sees(tmp_path):
    """Samples of one size and mass, one of them charge-conjugated: spectra of single particles see it, and A_FB."""
    truth = TRUTH.sample(3000, energy=105.0, seed=1)
    swapped = TRUTH.sample(3000, energy=105.0, seed=2)
    swapped = Events(swapped.schema, swapped.momenta[:, ::-1], condition=swapped.condition)
    found = evaluate(swapped, truth, bootstrap=0, classifier=False)
    assert "A_FB(mu- mu+)" in found.alarms
    assert found.whole["A_FB(mu- mu+)"].value < -0.6 < 0.6 < found.whole["A_FB(mu- mu+)"].null
    found.write(tmp_path)
    assert "forward-backward asymmetry" in (tmp_path / "report.html").read_text()

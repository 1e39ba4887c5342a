"""Muon pairs: the known asymmetries, normalisation by another quadrature, sampling against the density, Pythia."""

from pathlib import Path

import numpy as np
import pytest

from bijecta.errors import InputError, ShapeError
from bijecta.hep import DrellYan, Electroweak, MuonPairs, check_events, kinematics

SCAN = Path(__file__).parents[3] / "shared" / "data" / "pythia" / "ee_mumu_scan.npz"

# A_FB of e+e- -> mu+mu- at these energies in GeV.
ASYMMETRY = {
    40.0: -0.1248, 60.0: -0.3751, 75.0: -0.7096, 80.0: -0.7276, 85.0: -0.5243, 89.0: -0.1891, 91.1876: 0.0162,
    93.0: 0.1758, 96.0: 0.3950, 105.0: 0.7037, 115.0: 0.7466, 150.0: 0.6365, 200.0: 0.5551, 500.0: 0.4811,
}  # fmt: skip


@pytest.mark.parametrize(("energy", "expected"), ASYMMETRY.items())
def test_the_asymmetry_has_its_known_values(energy, expected):
    assert MuonPairs().forward_backward_asymmetry(energy) == pytest.approx(expected, abs=6e-5)


def test_the_cross_section_peaks_at_the_z():
    """At low energies it is that of pure electrodynamics, 4πα²/3s = 86.9 nb / s [GeV²] with α at zero momentum."""
    generator = MuonPairs(Electroweak(alpha=1.0 / 137.036))
    assert generator.cross_section(5.0) == pytest.approx(86.85e3 / 25.0, rel=0.01)
    energy = np.linspace(80.0, 100.0, 2001)
    assert energy[MuonPairs().cross_section(energy).argmax()] == pytest.approx(91.19, abs=0.05)
    shifted = MuonPairs(Electroweak(z_mass=92.1876))
    assert energy[shifted.cross_section(energy).argmax()] == pytest.approx(92.19, abs=0.05)


@pytest.mark.parametrize("energy", [40.0, 80.0, 91.1876, 115.0])
def test_muon_pairs_are_normalised_and_forward_backward_asymmetric(energy):
    cosine, weights = np.polynomial.legendre.leggauss(20)
    density = 2.0 * np.pi * np.exp(MuonPairs().log_prob(np.stack([cosine, np.zeros(20)], axis=1), energy))
    assert weights @ density == pytest.approx(1.0, abs=1e-12)
    # The moment of an even + odd quadratic: <cos> = 2/3 A.
    assert weights @ (cosine * density) == pytest.approx(2.0 / 3.0 * ASYMMETRY[energy], abs=1e-4)


def test_muon_pairs_are_drawn_from_their_density():
    generator, n = MuonPairs(), 100_000
    energy = np.random.default_rng(0).uniform(40.0, 200.0, n)
    events = generator.sample(n, energy, seed=0)
    cosine, phi = generator.coordinates(events).T
    asymmetry = generator.forward_backward_asymmetry(energy)
    cumulative = 0.375 * (cosine + cosine**3 / 3.0 + 4.0 / 3.0) + asymmetry / 2.0 * (cosine**2 - 1.0)
    for uniform in (cumulative, (phi + np.pi) / (2.0 * np.pi)):
        gap = np.abs(np.sort(uniform) - (np.arange(n) + 0.5) / n).max()
        assert gap < 1.63 / np.sqrt(n), "Kolmogorov's bound at 1 %"
    np.testing.assert_allclose(events.momenta.sum(axis=1), energy[:, None] * [1.0, 0.0, 0.0, 0.0], atol=1e-9)
    assert [finding.severity for finding in check_events(events)] == ["warning"] * 3  # momentum is conserved


def test_pythia_agrees_with_the_asymmetry():
    if not SCAN.is_file():
        pytest.skip(f"{SCAN} is not there")
    with np.load(SCAN) as scan:
        energies, energy, momenta = scan["energies"], scan["sqrts"], scan["mu"].astype(np.float64)
    expected = MuonPairs().forward_backward_asymmetry(energies)
    chosen = [np.isclose(energy, each, rtol=1e-6) for each in energies]
    measured = np.array([np.sign(momenta[rows, 0, 3]).mean() for rows in chosen])
    error = np.sqrt((1.0 - measured**2) / np.array([rows.sum() for rows in chosen]))
    assert 0.3 < np.mean(((measured - expected) / error) ** 2) < 1.5


def brute_force_norm(energy):
    """The integral over mass, rapidity and angles by the midpoint rule, through the public density."""
    generator, phi = DrellYan(), np.array([0.0])
    mass_edges = np.concatenate([np.linspace(40, 85, 60), np.linspace(85, 97, 200)[1:], np.linspace(97, 200, 120)[1:]])
    mass, dm = (mass_edges[1:] + mass_edges[:-1]) / 2.0, np.diff(mass_edges)
    unit = (np.arange(60) + 0.5) / 30.0 - 1.0
    cosine, weights = np.polynomial.legendre.leggauss(3)  # exact for a quadratic
    m, u, c = np.meshgrid(mass, unit, cosine, indexing="ij")
    widest = np.log(energy / m)
    x = np.stack([m, u * widest, c, np.broadcast_to(phi, m.shape)], axis=-1).reshape(-1, 4)
    density = np.exp(generator.log_prob(x, energy)).reshape(m.shape)
    return 2.0 * np.pi * np.einsum("muc,mu,m,c", density, widest[..., 0] / 30.0, dm, weights)


@pytest.mark.parametrize("energy", [700.0, 1960.0, 9000.0])
def test_drell_yan_is_normalised(energy):
    assert brute_force_norm(energy) == pytest.approx(1.0, abs=2e-3)


def test_the_interpolated_normalisation_is_the_integral():
    generator = DrellYan()
    for energy in (601.0, 1234.5, 13999.0):
        x = np.array([[91.0, 0.3, 0.2, 0.0]])
        unnormalised = generator._unnormalised(*x.T[:3], energy)
        expected = np.log(unnormalised / generator.norm(energy))
        np.testing.assert_allclose(generator.log_prob(x, energy), expected, atol=1e-9)


def test_drell_yan_is_drawn_from_its_density():
    """E[f / p] over events is the volume of where f lives, and the mean of log p is that of weighted flat points."""
    generator, n = DrellYan(), 40_000
    events = generator.sample(n, 1960.0, seed=2)
    x = generator.coordinates(events)
    log_prob = generator.log_prob(x, 1960.0)
    assert np.isfinite(log_prob).all()
    rng = np.random.default_rng(3)
    flat = np.stack(
        [rng.uniform(86, 96, n), rng.uniform(-0.5, 0.5, n), rng.uniform(-1, 1, n), rng.uniform(-3, 3, n)], 1
    )
    inside = (np.abs(x - [91.0, 0.0, 0.0, 0.0]) < [5.0, 0.5, 1.0, 3.0]).all(axis=1)
    weights = np.exp(generator.log_prob(flat, 1960.0)) * 10.0 * 1.0 * 2.0 * 6.0
    error = np.hypot(weights.std(), inside.std()) / np.sqrt(n)
    assert inside.mean() == pytest.approx(weights.mean(), abs=4.0 * error)
    volume = 10.0 * 1.0 * 2.0 * 6.0
    ratios = np.where(inside, np.exp(-log_prob), 0.0)
    assert ratios.mean() == pytest.approx(volume, abs=4.0 * ratios.std() / np.sqrt(n))


def test_drell_yan_at_one_energy_per_event():
    generator = DrellYan()
    energy = np.geomspace(600.0, 14000.0, 2000)
    events = generator.sample(2000, energy, seed=0)
    x = generator.coordinates(events)
    np.testing.assert_allclose(
        generator.log_prob(x, energy)[:3], [generator.log_prob(x[k : k + 1], energy[k])[0] for k in range(3)]
    )
    assert (np.abs(x[:, 1]) < np.log(energy / x[:, 0])).all()
    np.testing.assert_allclose(events.momenta.sum(axis=1)[:, 1:3], 0.0, atol=1e-10)
    np.testing.assert_allclose(kinematics.rapidity(events.momenta.sum(axis=1)), x[:, 1], atol=1e-9)
    assert {finding.severity for finding in check_events(events)} == {"warning"}
    again = generator.sample(2000, energy, seed=0)
    np.testing.assert_array_equal(again.momenta, events.momenta)


def test_the_proposal_covers_the_density():
    """The bound of the rejection holds on points that it was not computed from."""
    generator, rng = DrellYan(), np.random.default_rng(5)
    energy = np.exp(rng.uniform(*np.log(generator.energy_range), 50_000))
    mass, y, cosine, proposal = generator._propose(energy, rng)
    x = np.stack([mass, y, cosine, np.zeros_like(y)], axis=1)
    ratio = np.exp(generator.log_prob(x, energy)) / proposal
    assert ratio.mean() == pytest.approx(1.0, abs=4.0 * ratio.std() / np.sqrt(len(ratio)))
    assert ratio.max() < generator._bound()


def test_outside_the_support_the_density_vanishes():
    x = np.array([[30.0, 0, 0, 0], [91.0, 9.0, 0, 0], [91.0, 0, 1.1, 0], [91.0, 0, 0, 4.0], [0.0, 0, 0, 0]])
    assert (DrellYan().log_prob(x, 2000.0) == -np.inf).all()
    assert (MuonPairs().log_prob([[1.1, 0.0], [0.0, 4.0]], 91.0) == -np.inf).all()


def test_what_cannot_be_generated_is_refused():
    with pytest.raises(InputError, match="600 to 14000 GeV"):
        DrellYan().sample(3, 500.0, seed=0)
    with pytest.raises(InputError, match="rising order"):
        DrellYan(mass_range=(200.0, 40.0))
    with pytest.raises(InputError, match="energy"):
        MuonPairs().sample(3, 0.1, seed=0)
    with pytest.raises(ShapeError, match="energy"):
        MuonPairs().sample(3, [90.0, 91.0], seed=0)
    with pytest.raises(ShapeError, match="expected shape"):
        MuonPairs().log_prob(np.zeros((3, 4)), 91.0)

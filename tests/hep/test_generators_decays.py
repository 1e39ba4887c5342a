"""Three jets, muon decay and the signed mixture against known integrals."""

import numpy as np
import pytest

from bijecta.errors import InputError
from bijecta.hep import MuonDecay, SignedMixture, ThreeJets, check_events, rambo, rambo_volume
from bijecta.hep.generators import MUON_MASS

MIDPOINTS = (np.arange(400) + 0.5) / 400
GRID = np.stack(np.meshgrid(MIDPOINTS, MIDPOINTS, indexing="ij"), axis=-1).reshape(-1, 2)


@pytest.mark.parametrize(("cut", "norm"), [(0.01, 27.94064), (0.02, 18.31386), (0.05, 8.647683), (0.1, 3.687505)])
def test_the_norm_of_three_jets_is_known(cut, norm):
    assert ThreeJets(cut).norm() == pytest.approx(norm, rel=1e-6)


def test_three_jets_are_drawn_from_their_density():
    generator, n = ThreeJets(), 40_000
    events = generator.sample(n, 91.2, seed=0)
    x = generator.coordinates(events)
    np.testing.assert_allclose(events.momenta.sum(axis=1), np.tile([91.2, 0, 0, 0], (n, 1)), atol=1e-10)
    assert {finding.severity for finding in check_events(events)} <= {"warning"}
    density = np.exp(generator.log_prob(GRID))
    assert density.mean() == pytest.approx(1.0, abs=5e-3)
    for power in (1, 2):
        expected = (GRID[:, 0] ** power * density).mean() / density.mean()
        moment = x[:, 0] ** power
        assert moment.mean() == pytest.approx(expected, abs=4 * moment.std() / np.sqrt(n) + 1e-3)
    directions = events.particle("quark")[:, 1:] / events.particle("quark")[:, :1]
    np.testing.assert_allclose(directions.mean(axis=0), 0.0, atol=4.0 / np.sqrt(3.0 * n))
    np.testing.assert_allclose((directions**2).mean(axis=0), 1.0 / 3.0, atol=0.01)


def test_phase_space_gives_the_width_of_the_muon():
    decay = MuonDecay()
    momenta = rambo(3, MUON_MASS, 200_000, np.random.default_rng(0))
    np.testing.assert_allclose(momenta.sum(axis=1)[:, 1:], 0.0, atol=1e-13)
    np.testing.assert_allclose(momenta[..., 0], np.linalg.norm(momenta[..., 1:], axis=-1), rtol=1e-9)
    weights = decay.squared_amplitude(momenta) * rambo_volume(3, MUON_MASS) / (2.0 * MUON_MASS)
    error = weights.std() / np.sqrt(len(weights))
    assert weights.mean() == pytest.approx(decay.width(), abs=4.0 * error)
    assert weights.std() / weights.mean() == pytest.approx(0.447, abs=0.005)
    # The lifetime of the muon is 2.197e-6 s; the mass of the electron and radiation change it by less than 1 %.
    assert 6.582119569e-25 / decay.width() == pytest.approx(2.197e-6, rel=0.01)


def test_the_electron_has_the_michel_spectrum():
    decay, n = MuonDecay(), 50_000
    events = decay.sample(n, seed=1)
    x, other = decay.coordinates(events).T
    gap = np.abs(np.sort(2.0 * x**3 - x**4) - (np.arange(n) + 0.5) / n).max()
    assert gap < 1.63 / np.sqrt(n)
    gap = np.abs(np.sort(4.0 * other**3 - 3.0 * other**4) - (np.arange(n) + 0.5) / n).max()
    assert gap < 1.63 / np.sqrt(n)
    assert {finding.severity for finding in check_events(events)} == {"warning"}
    assert np.isfinite(decay.log_prob(np.stack([x, other], axis=1) * (1.0 - 1e-12))).mean() > 0.999


def test_the_density_of_the_decay_integrates_to_one_and_to_the_spectrum():
    decay = MuonDecay()
    density = np.exp(decay.log_prob(GRID)).reshape(400, 400)
    assert density.mean() == pytest.approx(1.0, abs=4e-3)  # cells on the diagonal count in full
    np.testing.assert_allclose(density.mean(axis=1), decay.michel_spectrum(MIDPOINTS), atol=0.02)


def test_phase_space_volume_by_recursion():
    """Two-body volumes chained over the mass of the rest give the three-body one."""
    energy = 5.0
    nodes, weights = np.polynomial.legendre.leggauss(20)
    mass = energy * (nodes + 1.0) / 2.0
    two_body = rambo_volume(2, 1.0) * (1.0 - (mass / energy) ** 2)
    chained = (weights * energy / 2.0) @ (two_body * rambo_volume(2, 1.0) * 2.0 * mass) / (2.0 * np.pi)
    assert rambo_volume(3, energy) == pytest.approx(chained, rel=1e-12)


def test_the_signed_mixture():
    mixture, n = SignedMixture(), 100_000
    box = (GRID - 0.5) * 14.0
    assert np.exp(mixture.log_prob(box)).mean() * 14.0**2 == pytest.approx(1.0, abs=1e-6)
    ratio = mixture.log_prob([[0.0, 0.0]]) - mixture.log_prob([[1.0, 0.0]])
    assert np.exp(ratio[0]) == pytest.approx(0.576, abs=1e-3)
    assert np.isfinite(mixture.log_prob([[60.0, 0.0]])).all()
    points, weight = mixture.sample(n, seed=0)
    unweighted = mixture.sample_unweighted(n, seed=1)
    for function in (lambda x: (x**2).sum(axis=1), lambda x: np.exp(-(x**2).sum(axis=1))):
        expected = (function(box) * np.exp(mixture.log_prob(box))).mean() * 14.0**2
        signed = weight * function(points) / weight.mean()
        assert signed.mean() == pytest.approx(expected, abs=5.0 * signed.std() / np.sqrt(n))
        plain = function(unweighted)
        assert plain.mean() == pytest.approx(expected, abs=4.0 * plain.std() / np.sqrt(n))


@pytest.mark.parametrize(
    "build",
    [
        lambda: ThreeJets(cut=0.0),
        lambda: ThreeJets(cut=0.4),
        lambda: SignedMixture(fraction=0.3),
        lambda: SignedMixture(width=1.5),
        lambda: rambo(1, 10.0, 5, np.random.default_rng(0)),
    ],
)
def test_impossible_settings_are_refused(build):
    with pytest.raises(InputError):
        build()

"""Observables of events by hand: names, masses, distances, absent particles, labels, and features for networks."""

import numpy as np
import pytest

from bijecta.errors import InputError
from bijecta.hep import Condition, Events, EventSchema, Particle, VariableParticles, standard_observables
from bijecta.hep.observables import columns_of, feature_matrix

SCHEMA = EventSchema(
    (Particle("a", 22, 0.0),),
    (VariableParticles("jet", 0, None, most=2),),
    (Condition("process", "one_hot", ("z", "w")), Condition("energy")),
)


def two_events():
    momenta = np.array(
        [
            [[5.0, 3.0, 0.0, 4.0], [5.0, -3.0, 0.0, 4.0], [13.0, 0.0, 5.0, 0.0]],
            [[2.0, 0.0, 2.0, 0.0], [7.0, 0.0, 0.0, 7.0], [0.0, 0.0, 0.0, 0.0]],
        ]
    )
    mask = np.array([[True, True, True], [True, True, False]])
    condition = {"process": np.array(["w", "z"]), "energy": np.array([10.0, 20.0])}
    return Events(SCHEMA, momenta, mask, condition)


def test_values_by_hand():
    values = columns_of(two_events(), None, "generated").values
    assert values["pt(a)"].tolist() == [3.0, 2.0]
    np.testing.assert_allclose(values["m(jet2)"], [12.0, np.nan])
    np.testing.assert_allclose(values["m(a jet1)"], [6.0, np.sqrt(81.0 - 4.0 - 49.0)])  # E² - p² of the sums
    np.testing.assert_allclose(values["m(a jet1 jet2)"], [np.sqrt(23.0**2 - 25.0 - 64.0), np.nan])
    np.testing.assert_allclose(values["dR(a jet1)"][0], np.pi)
    assert np.isnan(values["dR(a jet2)"][1])
    np.testing.assert_allclose(values["pt(all)"], [5.0, 2.0])
    assert values["n(jet)"].tolist() == [2.0, 1.0]
    assert values["process"].tolist() == [1.0, 0.0]
    assert values["energy"].tolist() == [10.0, 20.0]
    assert np.isfinite(values["y(jet1)"]).all(), "massless along the beam"


def test_many_particles_have_no_triples():
    schema = EventSchema(tuple(Particle(f"p{k}", 0, 0.0) for k in range(9)))
    masses = [name for name in standard_observables(schema) if name.startswith("m(")]
    assert len(masses) == 36 + 1


def test_features_are_finite_of_order_one_and_do_not_see_the_seam_of_the_azimuth():
    generator = np.random.default_rng(0)
    sample = {"m": 80.0 + 2.0 * generator.standard_cauchy(1000), "phi(a)": np.full(1000, np.pi)}
    sample["m"][0] = np.nan
    truth = columns_of(sample, None, "reference")
    features = feature_matrix(truth, truth)
    assert features.shape == (1000, 3)
    assert np.isfinite(features).all()
    assert np.abs(features[:, 0]).max() < 12.0
    other = columns_of({**sample, "phi(a)": np.full(1000, -np.pi)}, None, "generated")
    np.testing.assert_allclose(feature_matrix(other, truth), features, atol=1e-6)


def test_observables_may_be_chosen_or_given():
    chosen = columns_of(two_events(), ["pt(a)"], "generated")
    assert list(chosen.values) == ["pt(a)"]
    given = columns_of(two_events(), {"ht": lambda events: events.momenta[..., 0].sum(axis=1)}, "generated")
    assert given.values["ht"].tolist() == [23.0, 9.0]
    with pytest.raises(InputError, match="no observable spin"):
        columns_of(two_events(), ["spin"], "generated")

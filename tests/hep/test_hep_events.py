"""Events in memory: shapes, helpers, and every finding of the checks."""

import numpy as np
import pytest

from bijecta.errors import InputError, ShapeError
from bijecta.hep import Condition, Events, EventSchema, Particle, VariableParticles, check_events

MASS = 0.1056583755
PAIR = EventSchema((Particle("mu-", 13, MASS), Particle("mu+", -13, MASS)), condition=(Condition("energy"),))
JETS = EventSchema(
    (Particle("Z", 23),),
    (VariableParticles("jet", 0, None, most=3),),
    weight="weight",
    condition=(Condition("energy"),),
)


def on_shell(three, mass):
    return np.concatenate([np.sqrt((three**2).sum(-1, keepdims=True) + mass**2), three], -1)


def pairs(n=200):
    """Muon pairs without any constraint between the two."""
    three = np.random.default_rng(0).normal(size=(n, 2, 3)) * 30.0
    return Events(PAIR, on_shell(three, MASS), condition={"energy": np.full(n, 200.0)})


def jets(n=200):
    """A Z of varying mass and up to three jets in falling order of transverse momentum."""
    rng = np.random.default_rng(1)
    three = rng.normal(size=(n, 4, 3)) * np.array([40.0, 30.0, 20.0, 10.0])[:, None]
    order = np.argsort(-np.hypot(three[:, 1:, 0], three[:, 1:, 1]), axis=1)
    three[:, 1:] = np.take_along_axis(three[:, 1:], order[..., None], axis=1)
    masses = np.concatenate([rng.normal(91.0, 2.5, size=(n, 1)), rng.uniform(1.0, 9.0, size=(n, 3))], axis=1)
    mask = np.arange(4) <= rng.integers(0, 4, size=(n, 1))
    condition = {"energy": np.full(n, 13000.0)}
    return Events(JETS, on_shell(three, masses[..., None]), mask, condition, rng.normal(1.0, 0.1, n))


def changed(events, **changes):
    given = {name: getattr(events, name) for name in ("schema", "momenta", "mask", "condition", "weight", "metadata")}
    return Events(**{**given, **changes})


def test_what_the_mask_hides_is_zero():
    events = jets()
    assert (events.momenta[~events.mask] == 0.0).all()
    assert events.momenta.dtype == np.float64
    assert (events.particle("jet1")[events.mask[:, 1]][:, 0] > 0.0).all()


def test_columns_by_name():
    events = pairs()
    p = events.momenta[:, 0]
    assert len(events) == 200
    np.testing.assert_array_equal(events.column("mu-.E"), p[:, 0])
    np.testing.assert_allclose(events.column("mu-.pt"), np.hypot(p[:, 1], p[:, 2]))
    np.testing.assert_allclose(events.column("mu-.y"), 0.5 * np.log((p[:, 0] + p[:, 3]) / (p[:, 0] - p[:, 3])))
    np.testing.assert_allclose(events.column("mu-.mass"), MASS, rtol=1e-6)
    np.testing.assert_array_equal(events.column("energy"), 200.0)
    np.testing.assert_array_equal(changed(jets(), weight=None).column("weight"), 1.0)
    for name in ("mu-.speed", "tau-.pt", "speed", "weight"):
        with pytest.raises(InputError, match="There is no"):
            events.column(name)


def test_features_leave_out_the_energy_where_the_mass_is_known():
    names, matrix = pairs().features()
    assert names == ("mu-.px", "mu-.py", "mu-.pz", "mu+.px", "mu+.py", "mu+.pz")
    assert matrix.shape == (200, 6)
    assert jets().features()[0] == ("Z.px", "Z.py", "Z.pz", "Z.E")


@pytest.mark.parametrize("index", [slice(3, 9), np.arange(3, 9), [3, 4, 5, 6, 7, 8]])
def test_take_chooses_events(index):
    chosen = jets().take(index)
    np.testing.assert_array_equal(chosen.momenta, jets().momenta[3:9])
    np.testing.assert_array_equal(chosen.mask, jets().mask[3:9])
    np.testing.assert_array_equal(chosen.weight, jets().weight[3:9])
    assert len(chosen.condition["energy"]) == 6


@pytest.mark.parametrize(
    "changes",
    [
        {"momenta": np.ones((200, 2, 4))},
        {"momenta": np.ones((200, 4, 3))},
        {"mask": np.ones((200, 3), dtype=bool)},
        {"weight": np.ones(199)},
        {"condition": {"energy": np.ones(3)}},
    ],
)
def test_wrong_shapes_are_refused(changes):
    with pytest.raises(ShapeError):
        changed(jets(), **changes)


def test_foreign_conditions_and_nameless_weights_are_refused():
    with pytest.raises(InputError, match="expected energy; got none"):
        changed(pairs(), condition={})
    with pytest.raises(InputError, match="names none"):
        changed(pairs(), weight=np.ones(200))


def test_good_events_pass():
    assert check_events(pairs()) == []
    assert check_events(jets()) == []
    stored = changed(pairs(), momenta=pairs().momenta.astype(np.float32))
    assert check_events(stored) == []


def broken_pair(row, slot, values):
    momenta = pairs().momenta.copy()
    momenta[row, slot] = values
    return changed(pairs(), momenta=momenta)


def swapped_jets():
    momenta = jets().momenta.copy()
    momenta[:, [1, 2]] = momenta[:, [2, 1]]
    return changed(jets(), momenta=momenta, mask=np.ones((200, 4), dtype=bool) * [1, 1, 1, 0])


@pytest.mark.parametrize(
    ("events", "severity", "message"),
    [
        (broken_pair(7, 0, np.nan), "error", "mu- is NaN or infinite in 1 of 200 events (first: row 7)"),
        (broken_pair(5, 1, [-5.0, 3.0, 0.0, 4.0]), "error", "mu+ has no positive energy"),
        (broken_pair(5, 1, [5.0, 3.0, 0.0, 0.0]), "error", "expected mass 0.105658 GeV, got 4 GeV"),
        (swapped_jets(), "error", "not ordered by falling transverse momentum"),
        (changed(jets(), mask=np.ones((200, 4), dtype=bool) * [1, 0, 1, 0]), "error", "an absent one stands before"),
        (changed(jets(), weight=np.zeros(200)), "error", "weight is zero in all 200 events"),
        (changed(jets(), weight=np.where(np.arange(200) < 10, -1.0, 1.0)), "note", "negative in 5.0% of the events"),
        (changed(pairs(), condition={"energy": np.full(200, -1.0)}), "error", "energy is not a positive energy"),
        (changed(pairs(), condition={"energy": np.full(200, np.nan)}), "error", "energy is NaN"),
    ],
)
def test_each_fault_is_found_by_name(events, severity, message):
    found = check_events(events)
    assert [str(finding) for finding in found if finding.severity == severity and message in finding.message]


def test_unknown_labels_are_found():
    schema = EventSchema((Particle("Z", 23),), condition=(Condition("process", "one_hot", ("a", "b")),))
    momenta = jets().momenta[:, :1]
    assert check_events(Events(schema, momenta, condition={"process": np.array(["a", "b"] * 100)})) == []
    (finding,) = check_events(Events(schema, momenta, condition={"process": np.array(["a", "c"] * 100)}))
    assert "process is not one of a, b in 100 of 200 events" in finding.message


def test_momentum_conservation_is_named_as_a_degenerate_direction():
    three = pairs().momenta[:, 0, 1:]
    balanced = changed(pairs(), momenta=on_shell(np.stack([three, -three], 1), MASS))
    found = check_events(balanced)
    assert [finding.columns for finding in found] == [(f"mu-.p{axis}", f"mu+.p{axis}") for axis in "xyz"]
    assert {finding.severity for finding in found} == {"warning"}


def test_a_constant_mass_that_the_schema_leaves_free_is_named():
    schema = EventSchema((Particle("mu-", 13), Particle("mu+", -13)))
    found = check_events(Events(schema, pairs().momenta))
    assert [finding.columns for finding in found] == [("mu-.E",), ("mu+.E",)]
    constant = np.broadcast_to(pairs().momenta[:1], (200, 2, 4))
    assert "mu-.px is constant" in check_events(changed(pairs(), momenta=constant))[0].message

"""Rows of events in varying number, and back; what may be present; what does not fit."""

import json

import numpy as np
import pytest
import torch

from bijecta.errors import FileFormatError, InputError, ShapeError
from bijecta.hep import (
    Condition,
    Events,
    EventSchema,
    ObjectCoordinates,
    Particle,
    VariableParticles,
    check_events,
    measure_objects,
)
from bijecta.hep.coordinates_ordered import AzimuthFrom, OrderedBelow
from bijecta.hep.coordinates_presence import IfPresent, Layout, PresentBase, TurnIfPresent

SCHEMA = EventSchema(
    (Particle("mu-", 13, 0.1057), Particle("mu+", -13, 0.1057)),
    (VariableParticles("jet", 0, None, most=3), VariableParticles("gamma", 22, 0.0, most=1, order="none")),
    (Condition("energy"), Condition("flavour", "one_hot", ("light", "b")), Condition("tracks", "number")),
)
DRAWN = {"flavour": {"kind": "label"}, "tracks": {"kind": "integer", "low": 0}}


def massive(three, mass):
    return np.concatenate([np.sqrt((three**2).sum(-1) + mass**2)[..., None], three], -1)


def events(n=600, seed=0):
    """Draw two muons, up to three jets of which some are massless, and perhaps a photon."""
    generator = np.random.default_rng(seed)
    size, turn = 20.0 + generator.exponential(15.0, (n, 6)), generator.uniform(-np.pi, np.pi, (n, 6))
    size[:, 2:5] = -np.sort(-size[:, 2:5], axis=1)
    three = np.stack([size * np.cos(turn), size * np.sin(turn), 30.0 * generator.standard_normal((n, 6))], -1)
    mass = np.tile([0.1057, 0.1057, 0.0, 0.0, 0.0, 0.0], (n, 1))
    mass[:, 2:5] = np.where(generator.random((n, 3)) < 0.2, 0.0, 1.0 + generator.exponential(3.0, (n, 3)))
    jets, photon = generator.integers(0, 4, n), generator.random(n) < 0.4
    mask = np.concatenate([np.ones((n, 2)), np.arange(3) < jets[:, None], photon[:, None]], 1).astype(bool)
    condition = {
        "energy": np.full(n, 5000.0),
        "flavour": np.where(generator.random(n) < 0.3, "b", "light"),
        "tracks": generator.poisson(3.0 + 4.0 * jets),
    }
    return Events(SCHEMA, massive(three, mass), mask, condition)


def measured(**options):
    return measure_objects(events(), tree=("mu-", "mu+"), drawn=DRAWN, **options)


def test_columns_kinds_and_what_was_measured():
    coordinates = measured(rapidity_max={"gamma": 5.0})
    assert coordinates.columns[:4] == ("n(jet)", "n(gamma)", "flavour", "tracks")
    assert coordinates.continuous[6:10] == ("jet1.pt", "jet1.y", "jet1.phi", "jet1.mass")
    kinds = dict(zip(coordinates.continuous, coordinates.kinds, strict=True))
    assert [kinds[name] for name in ("phi", "jet1.pt", "jet2.pt", "jet2.phi", "jet2.mass", "gamma1.y")] == [
        "turn", "real", "box", "angle", "real", "box",
    ]  # fmt: skip
    assert coordinates.pt_min["jet"] == pytest.approx(0.99 * 20.0, rel=0.01)
    assert set(coordinates.limits) == {"jet1.mass", "jet2.mass", "jet3.mass"}
    assert all(low < 1e-2 and high is None for low, high in coordinates.limits.values())


@pytest.mark.parametrize("tree", [("mu-", "mu+"), None])
def test_rows_and_events_are_one_to_one(tree):
    sample = events()
    coordinates = measure_objects(sample, tree=tree, drawn=DRAWN)
    rows, context = coordinates.rows(sample)
    assert context.shape == (600, 1)
    back = coordinates.events(rows, {"energy": sample.condition["energy"]}, {})
    assert (back.present() == sample.present()).all()
    assert (back.condition["flavour"] == sample.condition["flavour"]).all()
    assert (back.condition["tracks"] == sample.condition["tracks"]).all()
    np.testing.assert_allclose(back.momenta, sample.momenta, rtol=1e-4, atol=2e-2)
    assert [each for each in check_events(back) if each.severity == "error"] == []


def test_patterns_are_every_number_with_every_state():
    patterns = measured().patterns()
    jets = [1, 2, 4, 8]  # each jet that is there is massless or not
    assert len(patterns.states) == 2 * sum(jets)
    assert patterns.flags.unique().tolist() == [0.0, 1.0]
    rows = measured().rows(events())[0]
    found = patterns.index_of(rows[:, :2], rows[:, 4:]).long()
    assert (patterns.states[found, :2] == rows[:, :2]).all()
    resting = torch.where(patterns.flags[found] == 0.0, patterns.rest[found] - rows[:, 4:], 0.0)
    assert resting.abs().max() < 1e-6
    assert int(patterns.index_of(torch.tensor([4.0, 0.0]), rows[0, 4:])) == len(patterns.states)


def test_json_brings_them_back():
    coordinates = measured()
    assert ObjectCoordinates.from_json(json.loads(json.dumps(coordinates.to_json()))) == coordinates


X = torch.tensor([[30.0, 50.0], [20.5, 21.0], [49.9, 50.0]], dtype=torch.float64)


@pytest.mark.parametrize("change", [OrderedBelow(20.0), AzimuthFrom()])
def test_ladj_and_way_back(change):
    x = X if isinstance(change, OrderedBelow) else X / 17.0 - 2.0
    z, ladj = change.forward_and_ladj(x)
    torch.testing.assert_close(change.inverse(z), x)
    for row in range(3):
        matrix = torch.autograd.functional.jacobian(change.forward, x[row])
        assert float(torch.linalg.slogdet(matrix).logabsdet) == pytest.approx(float(ladj[row]), abs=1e-12)


def test_momenta_at_the_threshold_and_at_the_one_before():
    change = OrderedBelow(20.0)
    z = change.forward(torch.tensor([[20.0, 50.0], [50.0, 50.0]]))[:, 0]
    assert z.tolist() == pytest.approx([-1.0, 1.0])
    assert change.inverse_and_ladj(torch.tensor([[0.3, 20.0]]))[1].isfinite().all()


def test_absent_columns_have_no_gradient_that_is_not_a_number():
    layer = IfPresent(OrderedBelow(20.0), [1, 0], Layout(0, 2))
    x = torch.tensor([[60.0, 30.0], [0.0, 0.0]], requires_grad=True)
    context = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    z, ladj = layer.forward_and_ladj(x, context)
    assert z[1].tolist() == [0.0, 0.0]
    assert ladj[1] == 0.0
    assert torch.autograd.grad((z.sum() + ladj.sum()), x)[0].isfinite().all()


def test_a_map_of_presence_needs_flags():
    with pytest.raises(ShapeError, match="what is present"):
        TurnIfPresent([0], Layout(0, 1)).forward(torch.zeros(1, 1))
    with pytest.raises(ShapeError, match="got shape"):
        PresentBase(None, [0.0], Layout(0, 1)).log_prob(torch.zeros(1, 1), torch.zeros(1, 1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ObjectCoordinates(SCHEMA, drawn={"energy": {"kind": "label"}}),
        lambda: ObjectCoordinates(SCHEMA, drawn={"flavour": {"kind": "real"}}),
        lambda: ObjectCoordinates(SCHEMA, drawn={"spin": {"kind": "real"}}),
        lambda: ObjectCoordinates(SCHEMA, pt_min={"muon": 3.0}),
        lambda: ObjectCoordinates(SCHEMA, rapidity_max={"jet1": 3.0}),
        lambda: ObjectCoordinates(SCHEMA, limits={"jet2.pt": (None, 100.0)}),
        lambda: ObjectCoordinates(SCHEMA, limits={"jet1.pt": (None, None)}),
        lambda: ObjectCoordinates(SCHEMA, limits={"jet1.pt": (5.0, 4.0)}),
        lambda: ObjectCoordinates(SCHEMA, drawn={"energy": {"kind": "real"}}, resonance=(91.0, 2.5)),
        lambda: ObjectCoordinates(
            EventSchema((), (VariableParticles("jet", 0, None, most=12),)),
            limits={f"jet{k}.mass": (0.0, None) for k in range(1, 13)},
        ).patterns(),
        lambda: measured().rows(
            Events(SCHEMA, events().momenta, condition={**events().condition, "flavour": np.full(600, "c")})
        ),
    ],
)
def test_what_does_not_fit_is_refused(make):
    with pytest.raises(InputError):
        make()


def test_foreign_json_is_refused():
    with pytest.raises(FileFormatError, match="no object coordinates"):
        ObjectCoordinates.from_json({"schema": {}})

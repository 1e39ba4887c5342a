"""The density of events in varying number: exact, on its support, normalised over all that is counted."""

import json
import math

import numpy as np
import pytest
import torch

from bijecta.errors import InputError
from bijecta.hep import (
    Condition,
    Events,
    EventSchema,
    ObjectCoordinates,
    Particle,
    PlainCoordinates,
    VariableParticles,
    check_events,
    coordinates_of,
    measure_objects,
    plain_event_flow,
    sample_events,
    variable_event_flow,
)
from bijecta.persistence import load, save
from bijecta.training import FitConfig, fit
from hep.test_coordinates_objects import DRAWN, events, measured
from hep.test_event_flow import perturbed


def built(coordinates, sample=None, **options):
    torch.manual_seed(0)
    flow = variable_event_flow(json.dumps(coordinates.to_json()), layers=3, hidden=[12], bins=5, **options)
    if sample is not None:
        flow.initialise(*coordinates.rows(sample))
    return perturbed(flow)


def muons_and_jets(**options):
    coordinates = measured()
    return built(coordinates, events(), **options), coordinates, *coordinates.rows(events())


def photons(most=2, **options):
    schema = EventSchema((), (VariableParticles("gamma", 22, 0.0, most=most),))
    return ObjectCoordinates(schema, pt_min={"gamma": 20.0}, rapidity_max={"gamma": 2.0}, **options)


@pytest.mark.parametrize("start", ["moments", "quantiles"])
def test_every_pattern_is_a_bijection_with_its_ladj(start):
    """The Jacobian of the present columns alone, by autograd, in double precision."""
    flow, _, x, context = muons_and_jets(start=start)
    flow = flow.double()
    discrete, y, given = flow.split(x.double(), context.double())
    chosen = [int((discrete[:, 0] == pattern).nonzero()[0]) for pattern in discrete[:, 0].unique()[:12]]
    inner, seen = flow.flow.bijection, flow.flow.embedding(given[chosen])
    z, ladj = inner.forward_and_ladj(y[chosen], seen)
    back, opposite = inner.inverse_and_ladj(z, seen)
    torch.testing.assert_close(back, y[chosen], atol=1e-6, rtol=1e-7)
    torch.testing.assert_close(opposite, -ladj, atol=1e-6, rtol=1e-7)
    for row, flags in enumerate(flow.flow.base.layout.flags(seen) > 0.5):
        full = torch.autograd.functional.jacobian(lambda r, c=seen[row]: inner.forward(r, c), y[chosen][row])
        matrix = full[flags][:, flags]
        assert float(torch.linalg.slogdet(matrix).logabsdet) == pytest.approx(ladj[row].item(), abs=1e-7)
        assert torch.where(flags, 0.0, z[row]).abs().max() < 1e-12
        assert torch.where(flags, 0.0, full[flags]).abs().max() < 1e-12


def test_it_sums_and_integrates_to_one():
    """No photon has a probability; one is integrated on a grid, two by points on their support."""
    flow = built(photons()).requires_grad_(False)
    probability = [float(flow.log_prob(torch.zeros(7)).exp())]
    share, y, phi = (torch.arange(n) + 0.5 for n in (48, 8, 24))
    pt, weight = 20.0 + torch.exp(-7.0 + 14.0 * share / 48.0), torch.exp(-7.0 + 14.0 * share / 48.0) * 14.0 / 48.0
    grid = torch.cartesian_prod(torch.arange(48), torch.arange(8), torch.arange(24))
    one = torch.stack([pt[grid[:, 0]], -2.0 + y[grid[:, 1]] / 2.0, -math.pi + phi[grid[:, 2]] * math.pi / 12.0], 1)
    cell = weight[grid[:, 0]] * 0.5 * math.pi / 12.0
    rows = torch.cat([torch.ones(len(one), 1), one, torch.zeros(len(one), 3)], 1)
    probability.append(float((flow.log_prob(rows).exp() * cell).sum()))
    discrete = flow.discrete.log_prob(torch.arange(3.0)[:, None]).exp().tolist()
    assert probability[0] == pytest.approx(discrete[0], rel=1e-5)
    assert probability[1] == pytest.approx(discrete[1], rel=0.01)
    # Two photons have six dimensions: importance sampling of logarithms of pT, everything else evenly.
    generator, n = torch.Generator().manual_seed(0), 200_000
    u = torch.rand(n, 6, generator=generator)
    above = torch.exp(-7.0 + 14.0 * u[:, 0])
    below = u[:, 1] * above
    angles = -math.pi + 2.0 * math.pi * u[:, 4:]
    sides = -2.0 + 4.0 * u[:, 2:4]
    columns = [torch.full((n,), 2.0), 20.0 + above, sides[:, 0], angles[:, 0], 20.0 + below, sides[:, 1], angles[:, 1]]
    weight = above * 14.0 * above * 16.0 * 4.0 * math.pi**2
    values = flow.log_prob(torch.stack(columns, 1)).exp() * weight
    error = float(values.std()) / n**0.5
    assert error < 0.01
    assert float(values.mean()) == pytest.approx(discrete[2], abs=5.0 * error)
    assert sum(discrete) == pytest.approx(1.0, abs=1e-5)


def test_nothing_outside_of_the_support_is_possible():
    flow = built(photons())
    inside = [2.0, 50.0, 0.0, 0.3, 30.0, 0.5, 1.0]
    rows = torch.tensor([inside, [2, 50, 0, 0.3, 60, 0.5, 1], [2, 50, 0, 0.3, 30, 2.5, 1], [3, *inside[1:]]])
    assert flow.log_prob(rows).isfinite().tolist() == [True, False, False, False]
    assert flow.log_prob(rows)[1:].isneginf().all()


def test_samples_are_events_in_order_with_a_density():
    flow, coordinates, *_ = muons_and_jets()
    new = sample_events(flow, 3000, {"energy": 5000.0}, seed=1)
    assert [each for each in check_events(new) if each.severity == "error"] == []
    rows, context = coordinates.rows(new)
    assert flow.log_prob(rows, context).isfinite().all()
    there = new.present()
    assert (there[:, 2] >= there[:, 3]).all()
    jets = new.momenta[there[:, 2:5].all(axis=1)][:, 2:5]
    sizes = np.hypot(jets[..., 1], jets[..., 2])
    assert (sizes[:, :-1] >= sizes[:, 1:] * (1 - 1e-6)).all()
    assert sizes.min() >= coordinates.pt_min["jet"] * (1 - 1e-6)
    assert set(np.unique(new.condition["flavour"])) <= {"light", "b"}
    assert new.condition["tracks"].dtype.kind == "i"


def test_what_is_drawn_has_the_probabilities_of_its_heads():
    flow, coordinates, x, context = muons_and_jets()
    drawn = flow.sample((), context[:1].expand(20000, 1), generator=torch.Generator().manual_seed(0))
    found, _, _ = flow.split(drawn, context[:1])
    frequency = torch.bincount(found[:, 0].long(), minlength=len(flow.states)) / 20000.0
    with torch.no_grad():
        head = flow.discrete.heads[0]
        params = flow.discrete.nets[0](x[:1, :0], flow.discrete.scaled(context[:1], torch.Size([1])))
        expected = head.log_prob(torch.arange(float(len(flow.states))), params).exp()
    assert (frequency - expected).abs().max() < 5.0 * (expected * (1.0 - expected) / 20000.0).sqrt().max()
    assert coordinates.patterns().states.shape[0] == len(expected)


def test_an_event_turned_about_the_beam_has_the_same_density():
    flow, coordinates, x, context = muons_and_jets()
    turned = x.clone()
    for name in ("phi", "jet1.phi", "jet2.phi", "jet3.phi", "gamma1.phi"):
        slot, column = name.partition(".")[0], coordinates.columns.index(name)
        there = torch.tensor(
            np.ones(600, bool) if slot == "phi" else events().present()[:, events().schema.slots.index(slot)]
        )
        turned[:, column] += torch.where(there, 2.0, 0.0)
    torch.testing.assert_close(flow.log_prob(turned, context), flow.log_prob(x, context), atol=2e-3, rtol=1e-4)


def saturated(seed, n=4000):
    """Draw a photon whose energy reading ends at 100 GeV and is zero where noise is suppressed."""
    generator = np.random.default_rng(seed)
    reading = np.clip(generator.normal(60.0, 40.0, n), 0.0, 100.0)
    three = 30.0 * generator.standard_normal((n, 1, 3))
    momenta = np.concatenate([np.sqrt((three**2).sum(-1, keepdims=True)), three], -1)
    schema = EventSchema((Particle("gamma", 22, 0.0),), condition=(Condition("reading", "number"),))
    return Events(schema, momenta, condition={"reading": reading})


def test_saturation_is_a_probability_at_both_limits():
    """Against the clipped normal itself: masses at the ends, and the density between them."""
    sample = saturated(0)
    coordinates = measure_objects(sample, drawn={"reading": {"kind": "real"}})
    assert coordinates.limits == {"reading": (0.0, 100.0)}
    assert coordinates.kinds[0] == "box"
    flow = built(coordinates, sample)
    x = coordinates.rows(sample)[0]
    fit(flow, x, config=FitConfig(epochs=10, batch_size=256, patience=0))
    with torch.no_grad():
        levels = torch.tensor([0.0, 100.0])
        others = x[:64].repeat(2, 1)
        others[:, coordinates.columns.index("reading")] = levels.repeat_interleave(64)
        shares = flow.discrete.log_prob(flow.split(others)[0]).exp().reshape(2, 64)[:, 0]
    expected = torch.special.ndtr(torch.tensor([-1.5, -1.0]))
    assert (shares - expected).abs().max() < 0.02
    new = sample_events(flow, 4000, seed=1).condition["reading"]
    assert new.min() == 0.0
    assert new.max() == 100.0
    assert [(new == 0.0).mean(), (new == 100.0).mean()] == pytest.approx(expected.tolist(), abs=0.02)
    inside = np.sort(new[(new > 0.0) & (new < 100.0)])
    cumulative = torch.special.ndtr(torch.tensor((inside - 60.0) / 40.0)).numpy()
    cumulative = (cumulative - float(expected[0])) / (1.0 - float(expected.sum()))
    assert np.abs(cumulative - np.linspace(0.0, 1.0, len(inside))).max() < 0.06


def test_files_bring_the_recipe_back(tmp_path):
    flow, coordinates, x, context = muons_and_jets()
    save(flow, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert torch.equal(again.log_prob(x, context), flow.log_prob(x, context))
    one, other = (sample_events(each, 5, {"energy": 5000.0}, seed=0) for each in (flow, again))
    assert (one.momenta == other.momenta).all()
    with pytest.raises(InputError, match="not built by event_flow"):
        coordinates_of(again)
    assert coordinates == measured()


def test_a_short_training_learns_numbers_and_what_depends_on_them():
    sample = events(3000, seed=3)
    coordinates = measure_objects(sample, tree=("mu-", "mu+"), drawn=DRAWN)
    torch.manual_seed(0)
    flow = variable_event_flow(json.dumps(coordinates.to_json()), layers=2, hidden=[32], bins=6)
    x, context = coordinates.rows(sample)
    result = fit(flow, x, context=context, config=FitConfig(epochs=6, batch_size=256, patience=0))
    assert math.isfinite(result.best_loss)
    new = sample_events(flow, 3000, {"energy": 5000.0}, seed=1)
    numbers = [each.present()[:, 2:5].sum(axis=1) for each in (sample, new)]
    assert np.bincount(numbers[1], minlength=4) / 3000.0 == pytest.approx(np.full(4, 0.25), abs=0.04)
    for jets in range(4):
        tracks = [each.condition["tracks"][n == jets].mean() for each, n in zip((sample, new), numbers, strict=True)]
        assert tracks[1] == pytest.approx(tracks[0], abs=0.8)
    massless = [(each.column("jet1.mass")[n > 0] < 1e-2).mean() for each, n in zip((sample, new), numbers, strict=True)]
    assert massless[1] == pytest.approx(massless[0], abs=0.05)


def test_the_plain_baseline_draws_events_and_smears_their_masses():
    sample = events(2000)
    schema = EventSchema(sample.schema.particles, condition=(Condition("energy"),))
    pairs = Events(schema, sample.momenta[:, :2], condition={"energy": sample.condition["energy"]})
    coordinates = PlainCoordinates(schema)
    flow = plain_event_flow(json.dumps(coordinates.to_json()), layers=2, hidden=[8])
    x, context = coordinates.rows(pairs)
    assert x.shape == (2000, 6)
    flow.initialise(x, context)
    new = sample_events(flow, 100, {"energy": 5000.0}, seed=0)
    np.testing.assert_allclose(coordinates.rows(new)[0], x[:0].new_tensor(new.momenta[..., 1:]).flatten(1), rtol=1e-5)
    np.testing.assert_allclose(new.column("mu-.mass"), 0.1057, atol=1e-4)
    assert new.metadata["generator"] == "plain_event_flow"


@pytest.mark.parametrize(
    "make",
    [
        lambda: variable_event_flow("{}"),
        lambda: variable_event_flow("not json"),
        lambda: plain_event_flow("{}"),
        lambda: variable_event_flow(json.dumps(photons().to_json()), start="middle"),
        lambda: PlainCoordinates(photons().schema),
        lambda: variable_event_flow(json.dumps(photons().to_json())).initialise(torch.full((9, 7), 3.0)),
        lambda: variable_event_flow(json.dumps(photons().to_json())).initialise(torch.zeros(9, 7)),
        lambda: sample_events(muons_and_jets()[0], 5, {"tracks": 3}, seed=0),
    ],
)
def test_what_cannot_be_built_is_refused(make):
    with pytest.raises(InputError):
        make()

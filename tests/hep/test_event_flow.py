"""The flow of collision events: its supports, symmetries, files, and that it learns."""

import json
import math

import numpy as np
import pytest
import torch

from bijecta.bijections import Elementwise
from bijecta.errors import FileFormatError, InputError
from bijecta.flows import RECIPES, build, realnvp
from bijecta.hep import (
    BoxSpline,
    Condition,
    DrellYan,
    EventCoordinates,
    Events,
    EventSchema,
    MuonPairs,
    Particle,
    ThreeJets,
    VariableParticles,
    coordinates_of,
    event_flow,
    measure_coordinates,
    sample_events,
)
from bijecta.hep.event_flow import binary_mask
from bijecta.nets import MLP
from bijecta.persistence import load, save
from bijecta.training import FitConfig, fit

Z_SHAPE = {"mass": {"kind": "breit_wigner", "mass": 91.19, "width": 2.5, "low": 40.0, "high": 200.0}}


def perturbed(flow, size=0.1):
    """Move every weight, so that nothing is the identity any more."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in flow.parameters():
            weight.add_(size * torch.randn(weight.shape, generator=generator))
    return flow.eval()


def built(events, **options):
    torch.manual_seed(0)
    coordinates = measure_coordinates(events, **options)
    flow = event_flow(json.dumps(coordinates.to_json()), layers=4, hidden=[16], bins=6)
    x, context = coordinates.rows(events)
    flow.initialise(x, context)
    return perturbed(flow), coordinates, x, context


def pairs():
    return built(DrellYan().sample(500, energy=np.linspace(1000.0, 8000.0, 500), seed=0), masses=Z_SHAPE)


def moving_pairs(n=500):
    """Draw pairs with transverse momentum."""
    generator = np.random.default_rng(0)
    three = 30.0 * generator.standard_normal((n, 2, 3))
    momenta = np.concatenate([np.sqrt((three**2).sum(-1, keepdims=True) + 0.1057**2), three], -1)
    schema = EventSchema((Particle("mu-", 13, 0.1057), Particle("mu+", -13, 0.1057)), condition=(Condition("energy"),))
    return built(Events(schema, momenta, condition={"energy": np.full(n, 13000.0)}))


def test_coordinates_of_each_kind_of_motion():
    assert pairs()[1].columns == ("mass", "rapidity", "cos_theta", "phi")
    assert pairs()[1].kinds == ("box", "box", "box", "turn")
    moving = moving_pairs()[1]
    assert moving.columns == ("mass", "pt", "rapidity", "phi", "cos_theta", "phi_decay")
    assert moving.kinds == ("real", "real", "box", "turn", "box", "angle")
    assert measure_coordinates(ThreeJets().sample(50, energy=91.2, seed=0)).root == "at_rest"


@pytest.mark.parametrize("make", [pairs, moving_pairs])
def test_rows_and_momenta_are_one_to_one(make):
    _, coordinates, x, context = make()
    p = coordinates.momenta(x.double(), context.double())
    again, _ = coordinates.rows(
        Events(coordinates.schema, p.numpy(), condition={"energy": context[:, 0].exp().numpy()})
    )
    torch.testing.assert_close(again, x, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("make", [pairs, moving_pairs])
def test_the_flow_is_a_bijection_with_its_ladj(make):
    flow, _, x, context = make()
    flow, x, context = flow.double(), x[:6].double(), context[:6].double()
    z, ladj = flow.bijection.forward_and_ladj(x, context)
    torch.testing.assert_close(flow.to_data(z, context), x, atol=1e-8, rtol=1e-8)
    for row in range(6):
        matrix = torch.autograd.functional.jacobian(lambda r, c=context[row]: flow.to_latent(r, c), x[row])
        assert float(torch.linalg.slogdet(matrix).logabsdet) == pytest.approx(ladj[row].item(), abs=1e-8)


def test_the_density_integrates_to_one():
    """On a grid over the whole support of e+e- pairs, edges included, with weights that are anything but trained."""
    flow, coordinates, *_ = built(MuonPairs().sample(200, energy=np.linspace(60.0, 120.0, 200), seed=0))
    cosine = -1.0 + (2.0 * torch.arange(4000) + 1.0) / 4000
    context = coordinates.context_of({"energy": 91.0}, 4000).float()
    log_q = flow.log_prob(torch.stack([cosine, torch.zeros(4000)], -1), context)
    log_q = log_q.detach()
    assert float(log_q.exp().mean() * 4.0 * math.pi) == pytest.approx(1.0, abs=1e-3)
    assert (log_q.exp()[[0, -1]] * 4.0 * math.pi - 1.0).abs().min() > 0.01  # free at its edges


def test_nothing_comes_out_of_the_support():
    flow, coordinates, *_ = pairs()
    events = sample_events(flow, 4000, {"energy": 1000.0}, seed=1)
    x, context = coordinates.rows(events)
    mass, rapidity = x[:, 0], x[:, 1]
    assert (mass >= 40.0 * (1 - 1e-6)).all()
    assert (mass <= 200.0 * (1 + 1e-6)).all()
    assert (rapidity.abs() <= (1000.0 / mass).log() + 1e-5).all()
    assert flow.log_prob(x, context).isfinite().all()
    outside = torch.tensor([[91.0, 3.0, 0.0, 0.0], [39.0, 0.0, 0.0, 0.0], [91.0, 0.0, 1.1, 0.0]])
    assert flow.log_prob(outside, torch.tensor([[math.log(1000.0)]]).expand(3, 1)).isneginf().all()


def test_events_are_on_shell_and_conserve_momentum():
    flow, *_ = built(MuonPairs().sample(200, energy=91.0, seed=0))
    events = sample_events(flow, 500, {"energy": np.linspace(50.0, 180.0, 500)}, seed=1)
    total = events.momenta.sum(axis=1)
    np.testing.assert_allclose(total[:, 0], events.condition["energy"], rtol=1e-9)
    np.testing.assert_allclose(total[:, 1:], 0.0, atol=1e-9 * 180.0)
    single = events.momenta.astype(np.float32).astype(np.float64)
    off = single[..., 0] ** 2 - (single[..., 1:] ** 2).sum(-1) - 0.1056583755**2
    assert np.abs(off / single[..., 0] ** 2).max() <= 1e-6


def test_turning_an_event_changes_nothing():
    flow, _, x, context = moving_pairs()
    turned = x.clone()
    turned[:, 3] += 2.0
    torch.testing.assert_close(flow.log_prob(turned, context), flow.log_prob(x, context), atol=1e-5, rtol=0)


def test_the_seam_of_an_angle_is_like_any_other_place():
    flow, _, x, context = moving_pairs()
    left, right = x.clone(), x.clone()
    left[:, 5], right[:, 5] = math.pi - 1e-5, 1e-5 - math.pi
    assert (flow.log_prob(left, context) - flow.log_prob(right, context)).abs().max() < 0.02


def test_files_bring_the_recipe_back(tmp_path):
    flow, _, x, context = pairs()
    save(flow, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert torch.equal(again.log_prob(x, context), flow.log_prob(x, context))
    assert coordinates_of(again) == coordinates_of(flow)
    assert "bijecta.hep:event_flow" not in RECIPES


def test_only_this_package_is_imported_for_a_recipe():
    with pytest.raises(InputError, match="no recipe 'json:loads'"):
        build("json:loads", {})
    with pytest.raises(InputError, match=r"no recipe 'bijecta\.nowhere:flow'"):
        build("bijecta.nowhere:flow", {})


def test_conditions_enter_as_columns():
    schema = EventSchema(
        (Particle("a", 0, 0.0), Particle("b", 0, 0.0)),
        condition=(Condition("process", "one_hot", ("x", "y")), Condition("energy"), Condition("scale", "number")),
    )
    coordinates = EventCoordinates(schema, ("a", "b"), resonance=(91.19, 2.5))
    context = coordinates.context_of({"process": ["x", "y"], "energy": [10.0, 20.0], "scale": 3.0}, 2)
    expected = [[1.0, 0.0, math.log(10.0), 3.0], [0.0, 1.0, math.log(20.0), 3.0]]
    assert context.tolist() == expected
    assert coordinates.energy_column == 2
    flow = event_flow(json.dumps(coordinates.to_json()), layers=1)
    assert flow.context == 4
    drawn = sample_events(flow, 2, {"process": "y", "energy": 10.0, "scale": [1.0, 2.0]}, seed=0)
    assert drawn.condition["process"].tolist() == ["y", "y"]


def test_eighteen_columns_without_a_condition():
    names = ("b", "l", "nu", "c", "q", "r")
    schema = EventSchema(tuple(Particle(name, 0, 0.1) for name in names))
    coordinates = EventCoordinates(schema, (("b", ("l", "nu")), ("c", ("q", "r"))))
    flow = event_flow(json.dumps(coordinates.to_json()), layers=2, hidden=[8], bins=4)
    events = sample_events(flow, 50, seed=0)
    assert coordinates.rows(events)[0].shape == (50, 18)
    assert np.isfinite(events.momenta).all()


def test_three_jets_fill_the_cube_evenly_before_training():
    """RAMBO on diet: an untrained flow is flat phase space, whose Dalitz plot is flat."""
    coordinates = measure_coordinates(ThreeJets().sample(50, energy=91.2, seed=0))
    events = sample_events(event_flow(json.dumps(coordinates.to_json())), 5000, {"energy": 91.2}, seed=0)
    x = np.sort(2.0 * events.particle(events.schema.slots[0])[:, 0] / 91.2)
    assert np.abs(x**2 - np.linspace(0.0, 1.0, 5000)).max() < 1.95 / 5000**0.5


@pytest.mark.parametrize("features", [1, 2, 3, 7, 18, 54])
def test_masks_part_every_two_columns(features):
    layers = max(2, 2 * (features - 1).bit_length())
    masks = np.array([binary_mask(features, layer) for layer in range(layers)])
    assert masks.any(axis=1).all()
    for one in range(features):
        for other in set(range(features)) - {one}:
            assert (masks[:, one] & ~masks[:, other]).any()


@pytest.mark.parametrize("inverse", [False, True])
def test_box_spline_maps_a_box_onto_itself(inverse):
    kinds = ["box", "angle", "real"]
    torch.manual_seed(1)
    layer = Elementwise(BoxSpline(kinds, bins=5), 3, MLP(0, 3 * BoxSpline(kinds, bins=5).n_params, context=1))
    perturbed(layer.double(), 0.3)
    x, context = torch.linspace(-1.0, 1.0, 2001).double()[:, None].expand(-1, 3).clone(), torch.zeros(2001, 1).double()
    mapped = layer.inverse_and_ladj if inverse else layer.forward_and_ladj
    y, ladj = mapped(x, context)
    assert y[[0, -1], 0].tolist() == pytest.approx([-1.0, 1.0])
    assert (y.diff(dim=0)[:, [0, 2]] > 0.0).all()
    rows = x.requires_grad_()
    slopes = torch.autograd.grad(mapped(rows, context)[0].sum(), rows)[0]
    torch.testing.assert_close(slopes.log().sum(-1), ladj)
    back = (layer.forward_and_ladj if inverse else layer.inverse_and_ladj)(y, context)[0]
    torch.testing.assert_close(back[:, [0, 2]], x[:, [0, 2]], atol=1e-8, rtol=0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: event_flow("not json"),
        lambda: event_flow("{}"),
        lambda: coordinates_of(realnvp(2)),
        lambda: sample_events(pairs()[0], 5, seed=0),
        lambda: BoxSpline(["round"]),
        lambda: EventCoordinates(
            EventSchema((Particle("a", 0, 0.0), Particle("b", 0)), condition=(Condition("energy"),)),
            ("a", "b"),
            "at_rest",
        ),
        lambda: EventCoordinates(
            EventSchema((Particle("a", 0, 0.0),), variable=(VariableParticles("jet", 0, 0.0, 2),)), ("a", "jet1")
        ),
        lambda: EventCoordinates(pairs()[1].schema, ("mu-", "mu+"), masses={"mass(Z)": {"kind": "excess"}}),
        lambda: EventCoordinates(EventSchema((Particle("a", 0, 0.0), Particle("b", 0, 0.0))), ("a", "b"), "at_rest"),
        lambda: measure_coordinates(MuonPairs().sample(0, energy=91.0, seed=0)),
        lambda: measure_coordinates(Events(EventSchema((Particle("a", 0, 0.0),)), np.ones((5, 1, 4)))),
        lambda: EventCoordinates(pairs()[1].schema, ("mu-", "mu+"), masses={"mass": {"kind": "flat"}}).maps(),
        lambda: EventCoordinates(pairs()[1].schema, ("mu-", "mu+"), masses={"mass": {"kind": "power_law"}}).maps(),
    ],
)
def test_what_cannot_be_built_is_refused(make):
    with pytest.raises(InputError):
        make()


def test_foreign_json_is_refused():
    with pytest.raises(FileFormatError, match="no event coordinates"):
        EventCoordinates.from_json({"schema": {}})


def test_a_short_training_learns_the_asymmetry():
    """At 80 GeV the asymmetry is -0.73, at 105 GeV +0.70: a model has to look at the energy."""
    truth = MuonPairs()
    energies = np.random.default_rng(0).choice([76.0, 84.0, 100.0, 110.0], 8000)
    events = truth.sample(8000, energy=energies, seed=0)
    coordinates = measure_coordinates(events, resonance=(91.1876, 2.4952))
    torch.manual_seed(0)
    flow = event_flow(json.dumps(coordinates.to_json()), layers=1, hidden=[32], bins=6)
    x, context = coordinates.rows(events)
    fit(flow, x, context=context, config=FitConfig(epochs=8, batch_size=128, patience=0))
    for energy in (80.0, 105.0):
        new = sample_events(flow, 4000, {"energy": energy}, seed=1)
        asymmetry = np.sign(new.column("mu-.pz")).mean()
        assert asymmetry == pytest.approx(float(truth.forward_backward_asymmetry(energy)), abs=0.12)


def test_a_start_from_quantiles_is_as_exact():
    """Falling momenta begin roughly normal, and the density is still that of the Jacobian."""
    events = DrellYan().sample(500, energy=np.linspace(1000.0, 8000.0, 500), seed=0)
    coordinates = measure_coordinates(events)
    torch.manual_seed(0)
    flow = event_flow(json.dumps(coordinates.to_json()), layers=2, hidden=[8], bins=4, start="quantiles").double()
    x, context = (each.double() for each in coordinates.rows(events))
    flow.initialise(x, context)
    assert flow.to_latent(x, context)[:, 0].std().item() == pytest.approx(1.0, abs=0.1)
    perturbed(flow)
    row = 17
    matrix = torch.autograd.functional.jacobian(lambda r: flow.to_latent(r, context[row]), x[row])
    ladj = flow.bijection.forward_and_ladj(x[row], context[row])[1]
    assert float(torch.linalg.slogdet(matrix).logabsdet) == pytest.approx(ladj.item(), abs=1e-8)
    with pytest.raises(InputError, match="start"):
        event_flow(json.dumps(coordinates.to_json()), start="middle")

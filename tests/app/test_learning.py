"""What the Learn page computes, against other ways to compute it."""

import json
import math
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from bijecta.app.datasets import make_dataset
from bijecta.app.learning.couplings import look, moved, round_trip_errors, wave_couplings
from bijecta.app.learning.exercises import EXERCISES
from bijecta.app.learning.folding import fixed_point_errors, fold, preimages
from bijecta.app.learning.gallery import GALLERY, lab_link
from bijecta.app.learning.results import FILE, model_classes
from bijecta.app.learning.tearing import SPREAD, build_bridge, least_bridge
from bijecta.app.registry import RUNS
from bijecta.app.settings import RunSettings
from bijecta.flows import build
from bijecta.training import fit

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_the_jacobian_agrees_with_finite_differences_and_the_layers(layers):
    flow, step = wave_couplings(layers, 0.8), 1e-6
    seen = look(flow, 0.4, -1.1)
    around = np.array([0.4, -1.1]) + step * np.array([(1, 0), (-1, 0), (0, 1), (0, -1)])
    east, west, north, south = moved(flow, around)
    numeric = np.stack([east - west, north - south], axis=1) / (2 * step)
    np.testing.assert_allclose(seen.jacobian, numeric, atol=1e-6)
    assert sum(seen.ladjs) == pytest.approx(math.log(abs(np.linalg.det(numeric))), abs=1e-6)
    assert seen.by_numpy == pytest.approx(sum(seen.ladjs), abs=1e-12)


def test_one_coupling_is_triangular_and_ignores_what_it_moves():
    flow = wave_couplings(1, 0.8)
    first, second = look(flow, 0.4, -1.1), look(flow, 0.4, 2.0)
    assert first.jacobian[0].tolist() == [1.0, 0.0]
    assert first.ladjs == second.ladjs


def test_rounding_costs_more_with_more_scale():
    mild, wild = round_trip_errors(4, 0.5), round_trip_errors(8, 3.0)
    assert wild[0] > 100 * mild[0]
    assert mild[1] < 1e-12 < mild[0] < 1e-4


@pytest.mark.parametrize(("z", "c"), [(0.0, 0.7), (1.3, 0.99), (0.0, 1.8), (0.5, 2.0), (6.0, 2.0)])
def test_preimages_are_all_solutions(z, c):
    found = preimages(z, c)
    np.testing.assert_allclose(fold(found, c), z, atol=1e-5)
    starts = (optimize.fsolve(lambda x: fold(x, c) - z, start, full_output=True) for start in np.linspace(-8, 8, 60))
    roots = {round(float(x[0]), 4) for x, _, flag, _ in starts if flag == 1}
    assert len(found) == len(roots)


def test_the_fixed_point_is_found_below_one_and_lost_above():
    assert fixed_point_errors(1.0, 0.6)[-1] < 1e-6
    assert fixed_point_errors(3.0, 1.9)[-1] > 1e-3


@pytest.mark.parametrize(("distance", "limit"), [(3.0, 2.0), (6.0, 5.0), (8.0, 50.0)])
def test_the_bridge(distance, limit):
    bridge = build_bridge(distance, limit)
    assert np.abs(np.gradient(bridge.x, bridge.z)).max() <= limit * (1 + 1e-6)
    assert np.trapezoid(bridge.density, bridge.x) == pytest.approx(1, abs=2e-3)
    half = distance / 2 - 2 * SPREAD
    near = np.abs(bridge.x) < half
    assert bridge.inside == pytest.approx(np.trapezoid(bridge.density[near], bridge.x[near]), abs=5e-3)
    assert bridge.bound <= bridge.inside + 1e-12
    middle = stats.norm.pdf(0) / stats.norm.pdf(0, distance / 2, SPREAD)
    assert bridge.needed == pytest.approx(middle, rel=1e-2)


def test_an_unlimited_map_makes_the_two_modes():
    bridge = build_bridge(4.0, 1e9)
    np.testing.assert_allclose(bridge.density, bridge.truth, rtol=1e-2, atol=1e-4)
    assert least_bridge(2.0, 10.0) == pytest.approx(2 * stats.norm.cdf(0.1) - 1)


def test_answers_agree_with_other_ways():
    expected = {
        "straight": stats.norm(-0.5, 0.5).pdf(0),
        "logarithm": stats.lognorm(1.0).pdf(2),
        "triangle": -0.7,
        "units": 1.5 + stats.norm(0, 2).entropy() * 2 - stats.norm(0, 1).entropy() * 2,
        "folds": 3,
        "bridge": stats.norm.cdf(0.1) - stats.norm.cdf(-0.1),
        "volume": 1 - math.log(2),
        "bound": -2.9,
    }
    assert expected.keys() == EXERCISES.keys()
    for name, value in expected.items():
        assert EXERCISES[name].check(float(value)) == "", name
        assert EXERCISES[name].check(float(value) + 0.01 + 0.1 * (name == "folds")) == "Too large.", name
        assert EXERCISES[name].check(float(value) - 0.5) == "Too small.", name
    assert "sign" in EXERCISES["triangle"].check(0.7)


@pytest.mark.parametrize("breakage", GALLERY, ids=lambda breakage: breakage.title)
@pytest.mark.parametrize("side", ["broken", "cured"])
def test_links_open_runs_that_can_be_built(breakage, side):
    settings = RunSettings.from_query(dict(parse_qsl(lab_link(getattr(breakage, side), breakage.points)[3:])))
    rows = make_dataset(settings, RUNS.uploads.get(settings.table)).rows
    flow = build(settings.recipe, {"features": 2, **settings.arguments})
    with torch.no_grad():
        assert flow.log_prob(torch.as_tensor(rows[:50]).float()).shape == (50,)
    assert settings.arguments == getattr(breakage, side).arguments
    assert settings.training == getattr(breakage, side).training


def test_failure_and_cure_learn_from_the_same_rows():
    for breakage in GALLERY:
        first, second = breakage.broken, breakage.cured
        assert (first.data, first.rows, first.seed) == (second.data, second.rows, second.seed)
        assert first != second


@pytest.mark.slow
@pytest.mark.parametrize("breakage", GALLERY, ids=lambda breakage: breakage.title)
def test_the_failure_fails_and_the_cure_cures(breakage):
    points = breakage.points() if breakage.points else None
    losses = []
    for settings in (breakage.broken, breakage.cured):
        given = replace(settings, data="table", table="here") if points is not None else settings
        torch.manual_seed(settings.seed)
        flow = build(settings.recipe, {"features": 2, **settings.arguments})
        history = fit(flow, make_dataset(given, points).rows, config=settings.config()).history
        losses.append(min(epoch.validation_loss for epoch in history))
    assert losses[0] > losses[1] + 0.1, losses


def test_the_packaged_numbers_are_those_of_the_benchmark():
    kept = BENCHMARKS / "results" / "model_classes.json"
    if not kept.exists():
        pytest.skip("the benchmark's results are not here: an installed copy of the tests")
    assert json.loads(FILE.read_text()) == json.loads(kept.read_text())


def test_every_model_was_measured_with_the_same_budget_and_seeds():
    models = model_classes().models
    assert [model.model for model in models] == ["SplineFlow", "FlowMatching", "VAE", "GAN"]
    assert {tuple(model.values("seed")) for model in models} == {(0, 1, 2, 3, 4)}
    assert len({tuple(model.values("seconds")) for model in models}) == 1
    assert models[3].values("gap") == []
    assert models[3].text("gap", 3) == "–"
    assert "±" in models[0].text("gap", 3)
    for row in models[2].rows:
        assert row["NLL"] <= row["ELBO NLL"], "100 draws bound more tightly than one"

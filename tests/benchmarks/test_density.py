"""What the table of families, the comparison of losses and that of tables measure."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import gaussian_kde, multivariate_normal

import density
import machine
from bijecta.data import toy
from bijecta.flows import RECIPES, cnf
from bijecta.training import Batch, flow_matching

KEYS = ("family", "toy")


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Keep results elsewhere, of few points."""
    for module in (machine, density):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr(density, "POINTS", 4000)
    return tmp_path


class Known:
    """The exact density of a toy, and a little less than that."""

    def __init__(self, name, lost):
        self.name, self.lost = name, lost

    def log_prob(self, x):
        return torch.as_tensor(toy(self.name).log_prob(x)) - self.lost


@pytest.mark.parametrize("lost", [0.0, 0.25])
def test_the_gap_is_what_a_density_lacks(folder, lost):
    assert density.gap(Known("pinwheel", lost), "pinwheel") == pytest.approx(lost, abs=1e-6)


def test_every_recipe_is_measured_or_left_out_with_a_reason():
    options = density.read_options(["toys"])
    assert set(options.families.split(",")) | set(density.LEFT_OUT) == set(RECIPES)
    assert not set(options.families.split(",")) & set(density.LEFT_OUT)


def test_a_part_replaces_its_rows_and_keeps_the_others(folder):
    density.merge("some", [{"family": "b", "toy": "moons", "gap": 1}, {"family": "a", "toy": "moons", "gap": 2}], KEYS)
    density.merge("some", [{"family": "b", "toy": "moons", "gap": 3}], KEYS)
    rows = json.loads((folder / "some.json").read_text())["rows"]
    assert [(row["family"], row["gap"]) for row in rows] == [("a", 2), ("b", 3)]
    assert all(row["date"] and row["command"].startswith("density.py") for row in rows)


def test_training_ends_with_its_seconds_and_helps(folder):
    before = density.gap(density.build("nice", {"features": 2}), "moons")
    density.run_toys(density.read_options(["toys", "--families", "nice", "--toys", "moons", "--seconds", "0.5"]))
    (row,) = json.loads((folder / "density_toys.json").read_text())["rows"]
    assert row["CPU seconds"] < 2
    assert 0 < row["gap"] < before
    assert row["steps"] > 0


def test_evaluations_are_those_of_the_solver():
    flow, x = cnf(2, solver="rk4", steps=5), torch.zeros(3, 2)
    assert density.evaluations(flow, lambda: flow.log_prob(x).detach()) == 4 * 5
    assert density.evaluations(flow, lambda: flow_matching(flow, Batch(3, x))) == 1


def test_columns_without_density_are_left_out():
    rng = np.random.default_rng(0)
    real = rng.normal(size=400)
    rounded = np.round(rng.normal(size=400), 1)
    zeros = np.where(rng.random(400) < 0.5, 0, rng.normal(size=400))
    x = np.column_stack([np.ones(400), real, 3 - 2 * real, rounded, zeros])
    columns, kept = density.continuous_columns(x)
    assert kept == [1, 3]
    np.testing.assert_array_equal(columns[:, 0], real)
    assert len(np.unique(columns[:, 1])) == 400
    np.testing.assert_allclose(np.round(columns[:, 1], 1), rounded, atol=1e-9)


def test_nats_of_simple_densities():
    rng = np.random.default_rng(1)
    train, test = rng.normal(size=(500, 2)) @ [[1, 0.5], [0, 1]], rng.normal(size=(50, 2))
    oracle = multivariate_normal(train.mean(0), np.cov(train.T, bias=True)).logpdf(test).mean()
    assert density.gaussian_nats(train, test) == pytest.approx(oracle, abs=1e-4)
    two = np.concatenate([train - 8, train + 8])
    assert density.mixture_nats(two, test - 8) > density.gaussian_nats(two, test - 8) + 1
    # On one column scipy's kernels are the same: their width is that over the spread of the column.
    widths = np.geomspace(0.02, 2, 25)
    found = density.kernel_nats(train[:, :1], test[:, :1])
    oracles = [gaussian_kde(train[:, 0], w / train[:, 0].std(ddof=1)).logpdf(test[:, 0]).mean() for w in widths]
    assert min(abs(found - oracle) for oracle in oracles) < 1e-6
    assert found > np.median(oracles)

"""FlowRegressor: means, quantiles and intervals against known conditional distributions."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from bijecta import FlowRegressor
from bijecta.errors import InputError, ShapeError
from bijecta.flows import RECIPES

SMALL = {"recipe_arguments": {"layers": 2, "hidden": [16]}, "epochs": 3, "random_state": 0}
FRACTIONS = np.array([0.05, 0.25, 0.5, 0.9])


def heteroscedastic(rows, seed=0):
    """y = sin(3 x) + (0.1 + 0.4 |x|) N(0, 1), x uniform on [-1, 1]."""
    random = np.random.default_rng(seed)
    x = random.uniform(-1, 1, size=(rows, 1))
    return x, np.sin(3 * x[:, 0]) + spread(x) * random.normal(size=rows)


def spread(x):
    return 0.1 + 0.4 * np.abs(x[:, 0])


@pytest.fixture(scope="module")
def fitted():
    return FlowRegressor(
        recipe_arguments={"layers": 3, "hidden": [32]}, epochs=25, learning_rate=5e-3, random_state=0
    ).fit(*heteroscedastic(3000))


def test_ninety_percent_means_ninety_percent(fitted):
    x, y = heteroscedastic(4000, seed=1)
    low, high = fitted.predict_interval(x, 0.9).T
    assert np.mean((y >= low) & (y <= high)) == pytest.approx(0.9, abs=0.03)
    wide = np.abs(x[:, 0]) > 0.5  # the spread is that of the row, not the mean one
    assert np.mean((y >= low)[wide] & (y <= high)[wide]) == pytest.approx(0.9, abs=0.04)


def test_mean_quantiles_and_density_are_the_exact_ones(fitted):
    x, y = heteroscedastic(1000, seed=1)
    assert np.abs(fitted.predict(x) - np.sin(3 * x[:, 0])).mean() < 0.05
    exact = norm.ppf(FRACTIONS)[None] * spread(x)[:, None] + np.sin(3 * x)
    assert np.abs(fitted.predict_quantiles(x, FRACTIONS) - exact).mean() < 0.07
    entropy = -norm(np.sin(3 * x[:, 0]), spread(x)).logpdf(y)
    assert -fitted.log_prob(x, y).mean() == pytest.approx(entropy.mean(), abs=0.05)


def test_quantiles_invert_the_integral_of_the_density(fitted):
    """Integrate the density of one row numerically: the quantile leaves q below it, and the mean is its mean."""
    row, grid = np.array([[0.4]]), np.linspace(-6, 6, 24001)
    density = np.exp(fitted.log_prob(np.repeat(row, len(grid), 0), grid))
    cumulative = np.cumsum(density) * (grid[1] - grid[0])
    assert cumulative[-1] == pytest.approx(1, abs=1e-5)
    assert np.interp(fitted.predict_quantiles(row, FRACTIONS)[0], grid, cumulative) == pytest.approx(
        FRACTIONS, abs=1e-3
    )
    assert fitted.predict(row)[0] == pytest.approx(np.sum(grid * density) / density.sum(), abs=2e-3)
    samples = fitted.sample(row, 20000, random_state=0)[0]
    assert np.quantile(samples, FRACTIONS) == pytest.approx(fitted.predict_quantiles(row, FRACTIONS)[0], abs=0.02)


@pytest.mark.parametrize(
    "name", sorted(set(RECIPES) - {"table", "circular_nsf", "glow_image", "cnf", "set_flow", "sphere"})
)
def test_flows_of_one_output_rise(name):
    """The quantiles of the latent are those of the data only if the flow rises, whatever the recipe."""
    x, y = heteroscedastic(100)
    model = FlowRegressor(recipe=name, epochs=1, random_state=0).fit(x, y)
    quantiles = model.predict_quantiles(x[:3], [0.1, 0.5, 0.9])
    assert (np.diff(quantiles, axis=1) > 0).all()
    samples = model.sample(x[:1], 2000, random_state=0)[0]
    assert np.mean(samples < quantiles[0, 2]) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("base", ["normal", "student"])
def test_several_outputs(base):
    x, y = heteroscedastic(500)
    both = np.column_stack([y, 2 * y + 7])
    model = FlowRegressor(**{**SMALL, "recipe_arguments": {"layers": 2, "base": base}}).fit(x, both)
    assert model.predict(x[:4]).shape == (4, 2)
    assert model.predict_quantiles(x[:4], 0.5).shape == (4, 2)
    assert model.predict_quantiles(x[:4], [0.1, 0.5, 0.9]).shape == (4, 3, 2)
    assert model.predict_interval(x[:4]).shape == (4, 2, 2)
    assert model.log_prob(x[:4], both[:4]).shape == (4,)
    samples = model.sample(x[:4], 4000, random_state=0)
    assert samples.shape == (4, 4000, 2)
    assert model.predict(x[:4]) == pytest.approx(samples.mean(1), abs=0.3)
    assert model.predict_quantiles(x[:4], 0.5) == pytest.approx(np.median(samples, 1), abs=0.3)


def test_outputs_keep_their_support_and_discrete_ones_are_sampled():
    x, y = heteroscedastic(200)
    positive = FlowRegressor(schema={"y0": "positive"}, **SMALL).fit(x, np.exp(y))
    assert (positive.predict_quantiles(x, 0.01) > 0).all()
    counts = FlowRegressor(schema={"y0": "integer"}, **SMALL).fit(x, np.round(5 * y))
    assert (counts.sample(x[:5], 3) % 1 == 0).all()
    assert np.array_equal(counts.predict(x[:5]), counts.predict(x[:5]))
    assert (counts.predict_quantiles(x[:5], 0.9) >= counts.predict_quantiles(x[:5], 0.1)).all()


def test_conditions_may_be_labels():
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"kind": random.choice(["a", "b"], 1000), "x": random.normal(size=1000)})
    y = np.where(frame["kind"] == "a", 0.0, 10.0) + random.normal(size=1000)
    model = FlowRegressor(recipe="realnvp", epochs=10, random_state=0).fit(frame, y)
    ends = pd.DataFrame({"kind": ["a", "b"], "x": [0.0, 0.0]})
    assert model.predict(ends) == pytest.approx([0.0, 10.0], abs=1.0)
    with pytest.raises(InputError, match="kind has unknown labels"):
        model.predict(ends.assign(kind="c"))


def test_what_is_wrong_is_named():
    x, y = heteroscedastic(50)
    with pytest.raises(ShapeError, match="y of shape"):
        FlowRegressor(**SMALL).fit(x, y[:-1])
    with pytest.raises(InputError, match="above 0 and below 1"):
        FlowRegressor(**SMALL).fit(x, y).predict_quantiles(x, [0.5, 1.0])

"""FlowDensity: densities, samples and latents; data frames in and out; better than what scikit-learn has."""

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

from bijecta import FlowDensity
from bijecta.data import Column, Schema, toy
from bijecta.errors import InputError

SMALL = {"recipe_arguments": {"layers": 2, "hidden": [16], "bins": 4}, "epochs": 3, "random_state": 0}
COVARIANCE = np.array([[1.0, 0.6], [0.6, 2.0]])


def gaussian(rows, seed=0):
    return np.random.default_rng(seed).multivariate_normal([5.0, -1.0], COVARIANCE, size=rows)


def mixed(rows=200):
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "mass": random.normal(size=rows),
            "short": random.normal(size=rows).astype(np.float32),
            "count": random.poisson(3, rows).astype(np.int16),
            "flag": random.random(rows) < 0.3,
            "word": random.choice(["a", "b", "c"], rows),
            "level": pd.Categorical(random.choice(["low", "high"], rows), ["low", "middle", "high"], ordered=True),
            "code": pd.Categorical(random.choice([3, 7], rows)),
        }
    )


def test_the_density_of_a_gaussian_is_found():
    """The flow begins as the Gaussian of the data, so that a short fit must stay there."""
    density = FlowDensity(recipe="realnvp", epochs=5, random_state=0).fit(gaussian(2000))
    test = gaussian(2000, seed=1)
    exact = multivariate_normal([5.0, -1.0], COVARIANCE).logpdf(test)
    assert density.score(test) == pytest.approx(exact.mean(), abs=0.03)
    assert density.score(test) == density.score_samples(test).mean()


def test_weights_move_the_density():
    """Rows of one population, weighted to another one by importance: mean and covariance follow."""
    rows = np.random.default_rng(0).normal(size=(8000, 2))
    weight = np.exp(rows @ [1.0, 0.0])  # tilts N(0, 1) to N(1, 1) in the first column
    density = FlowDensity(recipe="realnvp", epochs=2, random_state=0).fit(rows, sample_weight=weight)
    samples = density.sample(20000, random_state=0)
    assert samples.mean(0) == pytest.approx([1.0, 0.0], abs=0.08)
    assert samples.std(0) == pytest.approx([1.0, 1.0], abs=0.08)
    weighted = density.score(rows, sample_weight=weight)
    assert weighted == pytest.approx(np.sum(weight * density.score_samples(rows)) / weight.sum())


def test_a_large_offset_costs_no_digits():
    """Seconds since 1970 leave float32 a grid of 128: the estimators compute in float64."""
    rows = gaussian(300)
    here, there = (FlowDensity(**SMALL).fit(rows + shift) for shift in (0.0, 2.0**31))
    assert there.score_samples(rows + 2.0**31) == pytest.approx(here.score_samples(rows), abs=1e-4)


def test_latent_and_back_is_the_identity():
    density = FlowDensity(**SMALL).fit(gaussian(300))
    latent = density.transform(gaussian(100, seed=1))
    assert density.inverse_transform(latent) == pytest.approx(gaussian(100, seed=1), abs=1e-9)
    named = density.set_output(transform="pandas").transform(gaussian(3))
    assert list(named.columns) == ["z0", "z1"]


def test_samples_are_repeatable():
    density = FlowDensity(**SMALL).fit(gaussian(300))
    assert np.array_equal(density.sample(9000, random_state=1), density.sample(9000, random_state=1))
    assert not np.array_equal(density.sample(5, random_state=1), density.sample(5, random_state=2))


@pytest.mark.parametrize("convert", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas])
@pytest.mark.parametrize("columns", [["mass", "short"], list(mixed(2))], ids=["numbers", "mixed"])
def test_samples_come_back_as_the_frame_that_went_in(convert, columns):
    frame = convert(mixed()[columns])
    density = FlowDensity(**SMALL).fit(frame)
    samples = density.sample(50, random_state=0)
    assert type(samples) is type(frame)
    assert samples.shape == (50, len(columns))
    if isinstance(frame, pd.DataFrame):
        pd.testing.assert_series_equal(samples.dtypes, frame.dtypes)
        assert not samples.isna().any().any()
    else:
        assert samples.schema == frame.schema
    assert list(density.feature_names_in_) == columns
    again = pickle.loads(pickle.dumps(density))  # noqa: S301 (our own bytes)
    assert np.array_equal(again.score_samples(samples), density.score_samples(samples))


def test_frequencies_of_discrete_columns_are_learned():
    frame = mixed(2000)
    samples = FlowDensity(**SMALL).fit(frame).sample(4000, random_state=0)
    assert samples["flag"].mean() == pytest.approx(frame["flag"].mean(), abs=0.04)
    assert samples["count"].mean() == pytest.approx(frame["count"].mean(), abs=0.2)
    assert set(samples["word"]) == {"a", "b", "c"}


def test_frames_without_names_of_text_work():
    frame = pd.DataFrame(gaussian(50))
    assert list(FlowDensity(**SMALL).fit(frame).sample(3).columns) == [0, 1]


def test_what_does_not_fit_is_named():
    density = FlowDensity(**SMALL).fit(mixed())
    with pytest.raises(InputError, match=r"no latent space: count.*\"count\": \"real\""):
        density.transform(mixed())
    with pytest.raises(InputError, match="word has unknown labels"):
        density.score_samples(mixed().assign(word="d"))
    with pytest.raises(ValueError, match="mass"):  # scikit-learn's own words
        density.score_samples(mixed().drop(columns="mass"))
    with pytest.raises(InputError, match="minimum of 2"):
        density.fit(mixed(1))


def test_the_schema_can_be_given():
    angles = np.random.default_rng(0).vonmises(3.0, 4.0, size=(300, 1)) % (2 * np.pi)
    kinds = {"x0": f"periodic:0:{2 * np.pi}"}
    by_kind = FlowDensity(schema=kinds, **{**SMALL, "recipe_arguments": {"layers": 1}}).fit(angles)
    assert by_kind.score_samples([[0.1]]) == pytest.approx(by_kind.score_samples([[0.1 + 2 * np.pi]]))
    whole = Schema((Column("x1", "positive"), Column("x0", "real")))
    swapped = FlowDensity(schema=whole, **SMALL).fit(gaussian(100) * [1, -1] + [-100, 20])
    assert swapped.schema_ == whole
    assert (swapped.sample(50, random_state=0) * [-1, 1] > 0).all()  # the order of the data, not of the schema
    assert FlowDensity(schema="infer", **SMALL).fit(mixed()[["mass", "count"]]).schema_.columns[1].low == 0
    for wrong, message in ((Schema((Column("y", "real"),)), "columns"), ("guess", "infer")):
        with pytest.raises(InputError, match=message):
            FlowDensity(schema=wrong, **SMALL).fit(gaussian(50))


FAST = {"recipe_arguments": {"layers": 4, "hidden": [32, 32], "bins": 8}, "learning_rate": 5e-3, "random_state": 0}


def test_two_moons_better_than_a_tuned_kernel():
    train, test = toy("moons").sample(2000, 0), toy("moons").sample(4000, 1)
    kernel = GridSearchCV(KernelDensity(), {"bandwidth": np.geomspace(0.05, 0.3, 6)}, cv=3).fit(train)
    from_clusters = FAST["recipe_arguments"] | {"base": "mixture"}
    flow = FlowDensity(**FAST | {"recipe_arguments": from_clusters, "epochs": 20}).fit(train)
    assert flow.score(test) > kernel.best_estimator_.score(test) / len(test) + 0.01


def test_three_pairs_of_moons_better_than_a_tuned_kernel_and_a_tuned_mixture():
    """In two columns a mixture of a dozen Gaussians is as good as a flow; in six it would need thousands."""
    train, test = (np.hstack([toy("moons").sample(3000, seed + pair) for pair in range(3)]) for seed in (0, 100))
    kernel = GridSearchCV(KernelDensity(), {"bandwidth": np.geomspace(0.15, 0.5, 4)}, cv=2).fit(train)
    mixture = GridSearchCV(GaussianMixture(random_state=0), {"n_components": [8, 16, 32]}, cv=2).fit(train)
    flow = FlowDensity(epochs=20, **FAST).fit(train)
    others = kernel.best_estimator_.score(test) / len(test), mixture.best_estimator_.score(test)
    assert flow.score(test) > max(others) + 0.3


def test_a_missing_scikit_learn_is_named_with_its_remedy():
    script = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import bijecta\n"
        "try: bijecta.FlowDensity\n"
        "except bijecta.errors.MissingDependencyError as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 'pip install "bijecta[sklearn]"' in result.stdout


def test_auto_chooses_a_recipe_that_is_recorded():
    x = np.random.default_rng(0).normal(size=(60, 3))
    density = FlowDensity(recipe="auto", epochs=1, random_state=0).fit(x)
    assert density.flow_.recipe["arguments"]["recipe"] in ("nsf", "nsf_autoregressive", "circular_nsf")

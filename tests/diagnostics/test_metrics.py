"""Metrics against SciPy, closed forms and direct double sums."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bijecta.diagnostics import (
    effective_sample_size,
    energy_distance,
    gaussian_nll,
    ks_per_column,
    marginal_summary,
)
from bijecta.errors import InputError, ShapeError


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("features", [1, 2, 7])
def test_gaussian_nll_is_that_of_scipy(rng: np.random.Generator, features: int) -> None:
    mix = rng.normal(size=(features, features)) * np.logspace(-1, 1, features)
    train, test = rng.normal(size=(300, features)) @ mix + 5, rng.normal(size=(100, features)) @ mix + 5
    covariance = np.cov(train.T, bias=True).reshape(features, features)
    oracle = -stats.multivariate_normal(train.mean(0), covariance).logpdf(test).mean()
    found = gaussian_nll(train, test)
    assert found.ridge == 0
    assert found.note == ""
    assert found.nll == pytest.approx(oracle, rel=1e-7)


def test_gaussian_nll_knows_units(rng: np.random.Generator) -> None:
    units = np.array([1e-9, 1e9])
    train, test = rng.normal(size=(300, 2)), rng.normal(size=(100, 2))
    shift = gaussian_nll(train * units**2, test * units**2).nll - gaussian_nll(train, test).nll
    assert shift == pytest.approx(2 * np.log(units).sum(), abs=1e-9)


def test_gaussian_nll_of_the_truth_is_the_entropy(rng: np.random.Generator) -> None:
    found = gaussian_nll(rng.normal(size=(100_000, 2)), rng.normal(size=(100_000, 2)))
    assert found.nll == pytest.approx(np.log(2 * np.pi * np.e), abs=0.02)


def test_gaussian_nll_survives_a_repeated_column_and_says_so(rng: np.random.Generator) -> None:
    column = rng.normal(size=(200, 1))
    found = gaussian_nll(np.hstack([column, 2 * column]), np.hstack([column, 2 * column]))
    assert found.ridge > 0
    assert "singular" in found.note
    assert np.isfinite(found.nll)


def test_gaussian_nll_refuses_what_has_no_density() -> None:
    with pytest.raises(InputError, match=r"column \[1\] is constant"):
        gaussian_nll([[0.0, 1.0], [1.0, 1.0]], [[0.0, 1.0]])
    with pytest.raises(ShapeError, match="same columns"):
        gaussian_nll(np.zeros((3, 2)), np.zeros((3, 1)))
    with pytest.raises(InputError, match="finite"):
        gaussian_nll([[np.nan], [1.0]], [[0.0]])


@given(st.lists(st.floats(0, 1e300), min_size=1, max_size=30), st.floats(1e-200, 1e200))
def test_effective_sample_size_lies_between_one_and_n_and_ignores_scale(weights: list[float], factor: float) -> None:
    w = np.array(weights)
    if not (w > 0).any():
        with pytest.raises(InputError):
            effective_sample_size(w)
        return
    size = effective_sample_size(w)
    assert 1 - 1e-12 <= size <= np.count_nonzero(w) + 1e-9
    if 0 < (w / w.max() * factor).max() < 1e300:
        assert effective_sample_size(w / w.max() * factor) == pytest.approx(size, rel=1e-9)


def test_effective_sample_size_of_gaussian_weights_has_a_closed_form(rng: np.random.Generator) -> None:
    # w = exp(a x) with x ~ N(0, 1): (E w)^2 / E w^2 = exp(-a^2)
    weights = np.exp(0.5 * rng.normal(size=400_000))
    assert effective_sample_size(weights) / 400_000 == pytest.approx(np.exp(-0.25), rel=0.01)


def test_effective_sample_size_refuses_negative_weights() -> None:
    with pytest.raises(InputError, match="finite weights"):
        effective_sample_size([1.0, -1.0])


def test_energy_distance_is_the_direct_double_sum(rng: np.random.Generator) -> None:
    samples, data = rng.normal(size=(40, 3)) + 0.3, rng.normal(size=(50, 3))
    a, b = samples / data.std(0), data / data.std(0)

    def mean_distance(x, y):
        return np.mean([[np.linalg.norm(p - q) for q in y] for p in x])

    oracle = 2 * mean_distance(a, b) - mean_distance(a, a) - mean_distance(b, b)
    assert energy_distance(samples, data, permutations=2).value == pytest.approx(oracle, rel=1e-9)


def test_energy_distance_in_one_dimension_is_that_of_scipy(rng: np.random.Generator) -> None:
    samples, data = rng.normal(size=60) + 1, rng.normal(size=80)
    oracle = stats.energy_distance(samples / data.std(), data / data.std()) ** 2
    assert energy_distance(samples[:, None], data[:, None], permutations=2).value == pytest.approx(oracle, rel=1e-9)


def test_energy_p_values_are_uniform_under_the_null_and_small_under_a_shift() -> None:
    null, shifted = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        data = rng.normal(size=(60, 2))
        null.append(energy_distance(rng.normal(size=(60, 2)), data, permutations=50, seed=seed).p_value)
        shifted.append(energy_distance(rng.normal(size=(60, 2)) + 1, data, permutations=50, seed=seed).p_value)
    assert stats.kstest(null, "uniform").pvalue > 1e-3
    assert np.mean(np.array(shifted) < 0.05) > 0.9


def test_the_null_of_the_energy_distance_is_the_truth_against_the_truth(rng: np.random.Generator) -> None:
    data = rng.normal(size=(400, 2))
    pairs = [energy_distance(rng.normal(size=(200, 2)), data[:200], permutations=2).value for _ in range(60)]
    found = energy_distance(data[:200], data[200:], permutations=200)
    assert found.null_mean == pytest.approx(np.mean(pairs), rel=0.15)
    assert found.null_high == pytest.approx(np.quantile(pairs, 0.95), rel=0.35)


@pytest.mark.parametrize("sizes", [(300, 200), (1000, 1000)])
def test_ks_is_that_of_scipy(rng: np.random.Generator, sizes: tuple[int, int]) -> None:
    samples, data = rng.normal(size=(sizes[0], 3)), rng.normal(size=(sizes[1], 3)) + np.array([0, 0.1, 0.3])
    for column, found in enumerate(ks_per_column(samples, data)):
        oracle = stats.ks_2samp(samples[:, column], data[:, column])
        assert found.distance == pytest.approx(oracle.statistic, abs=1e-12)
        assert found.p_value == pytest.approx(oracle.pvalue, rel=0.15, abs=1e-9)


def test_ks_of_ties_and_of_equal_sets() -> None:
    found = ks_per_column([[1.0], [1.0], [2.0]], [[1.0], [1.0], [2.0]])[0]
    assert (found.distance, found.p_value) == (0, 1)


def test_marginal_summary_has_the_numbers_of_each_column(rng: np.random.Generator) -> None:
    data, samples = rng.normal(size=(50, 2)), rng.normal(size=(60, 2)) * [1, 3]
    first, second = marginal_summary(data, samples, ["mass", "angle"])
    assert (first["name"], second["name"]) == ("mass", "angle")
    assert second["samples_std"] == pytest.approx(np.std(samples[:, 1]))
    assert first["data_q0.5"] == pytest.approx(np.median(data[:, 0]))
    assert second["ks"] == pytest.approx(stats.ks_2samp(data[:, 1], samples[:, 1]).statistic)
    with pytest.raises(InputError, match="2 names"):
        marginal_summary(data, samples, ["mass"])

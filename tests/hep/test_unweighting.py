"""Unweighting: sums do not change, over-weights keep their excess, the bootstrap against brute force."""

import numpy as np
import pytest

from bijecta.errors import InputError
from bijecta.hep.unweighting import bootstrap_maximum, unweight


def test_sums_are_unbiased_with_overweights_and_signs():
    random = np.random.default_rng(0)
    weights = random.exponential(size=200_000) * np.where(random.random(200_000) < 0.2, -1.0, 1.0)
    values = weights**2
    result = unweight(weights, maximum=2.0, seed=1)
    expected, got = (weights * values).sum(), result.maximum * (result.weights * values[result.index]).sum()
    probability = np.minimum(1.0, np.abs(weights) / 2.0)
    kept = np.maximum(2.0, np.abs(weights)) * values
    spread = np.sqrt((kept**2 * probability * (1.0 - probability)).sum())
    assert abs(got - expected) < 4.0 * spread
    assert np.abs(result.weights).min() == 1.0
    assert (np.abs(result.weights) > 1.0).mean() > 0.1
    assert result.overweight_rate == pytest.approx(np.exp(-2.0), abs=0.004)  # of an exponential above 2
    assert result.efficiency == pytest.approx(0.5, abs=0.005)
    assert (np.sign(result.weights) == np.sign(weights[result.index])).all()


@pytest.mark.parametrize("size", [10, 100, 1000])
def test_the_bootstrap_maximum_is_the_median_over_replicas(size):
    random = np.random.default_rng(size)
    weights = random.exponential(size=1000)
    maxima = random.choice(weights, (4000, size)).max(axis=1)
    below, above = np.quantile(maxima, [0.47, 0.53])
    assert below <= bootstrap_maximum(weights, size) <= above


def test_one_outlier_does_not_set_the_maximum():
    weights = np.append(np.ones(999), 1e6)
    result = unweight(weights, seed=0)
    assert result.maximum == 1.0
    assert result.overweight_rate == 1e-3
    assert result.maximum * result.weights.sum() == pytest.approx(weights.sum())


def test_equal_weights_are_all_accepted():
    result = unweight(np.full(50, 3.0))
    assert result.index.tolist() == list(range(50))
    assert result.efficiency == 1.0


@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [1.0, np.nan], [[1.0]]])
def test_unusable_weights_are_refused(weights):
    with pytest.raises(InputError, match="finite weights"):
        unweight(weights)


def test_unusable_settings_are_refused():
    with pytest.raises(InputError, match="positive maximum"):
        unweight([1.0], maximum=-1.0)
    with pytest.raises(InputError, match="at least 1"):
        bootstrap_maximum([1.0], size=0)

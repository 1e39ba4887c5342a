"""Distances against SciPy and closed forms, their tails against simulation, the classifier against known overlaps."""

import math

import numpy as np
import pytest
from scipy import linalg, stats

from bijecta.errors import InputError, ShapeError
from bijecta.hep.classifier import classify, weighted_auc
from bijecta.hep.evaluation_distances import compare_column
from bijecta.hep.evaluation_frechet import frechet_distance


def ones(values):
    return values, np.ones(len(values))


def compare(generated, reference, replicas=0, seed=0):
    generator = np.random.default_rng(seed)
    return compare_column(generated, reference, replicas=replicas, null=replicas > 0, generator=generator)


def test_distances_agree_with_scipy():
    generator = np.random.default_rng(0)
    a, b = generator.normal(0.2, 1.0, 700), generator.normal(0.0, 1.1, 900)
    found = compare(ones(a), ones(b))
    expected = stats.ks_2samp(a, b)
    assert found["ks"].value == pytest.approx(expected.statistic, abs=1e-12)
    assert found["ks"].p_value == pytest.approx(expected.pvalue, rel=0.25)
    assert found["wasserstein"].value == pytest.approx(stats.wasserstein_distance(a, b) / b.std(), rel=1e-9)


def test_integer_weights_are_repeated_rows():
    generator = np.random.default_rng(1)
    a, b, times = generator.integers(0, 9, 400), generator.integers(0, 8, 400), generator.integers(1, 4, 400)
    weighted = compare((a.astype(float), times.astype(float)), ones(b.astype(float)))
    repeated = compare(ones(np.repeat(a, times).astype(float)), ones(b.astype(float)))
    for kind in ("ks", "wasserstein"):
        assert weighted[kind].value == pytest.approx(repeated[kind].value, abs=1e-12)
    assert weighted["chi2"].value < repeated["chi2"].value, "copies are not independent events"


def test_chi2_of_two_bins_is_that_of_a_contingency_table():
    a, b = np.repeat([0.0, 1.0], [480, 520]), np.repeat([0.0, 1.0], [540, 460])
    found = compare(ones(a), ones(b))
    expected = stats.chi2_contingency([[480, 520], [540, 460]], correction=False).statistic
    assert found["chi2"].value == pytest.approx(expected, rel=0.02)
    assert found["separation"].value == pytest.approx(0.5 * (0.06**2 / 1.02 + 0.06**2 / 0.98), rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_tails_are_uniform_for_equal_distributions(weighted):
    generator, found = np.random.default_rng(2), []
    for trial in range(150):
        weight = np.ones(900)
        if weighted:
            weight = generator.uniform(0.2, 2.0, 900) * np.where(generator.random(900) < 0.1, -1.0, 1.0)
        numbers = compare(ones(generator.normal(size=700)), (generator.normal(size=900), weight), 40, seed=trial)
        found.append([numbers["ks"].p_value, numbers["chi2"].p_value])
    below = (np.array(found) < 0.1).mean(axis=0)
    assert ((below > 0.02) & (below < 0.19)).all()  # 0.1 with a standard deviation of 0.025


def test_the_bootstrap_error_is_the_spread_of_repetitions():
    generator = np.random.default_rng(3)
    values = [compare(ones(generator.normal(0.5, 1.0, 500)), ones(generator.normal(size=500))) for _ in range(100)]
    found = compare(ones(generator.normal(0.5, 1.0, 500)), ones(generator.normal(size=500)), 200)
    for kind in ("ks", "wasserstein"):
        assert found[kind].error == pytest.approx(np.std([v[kind].value for v in values]), rel=0.3)


def test_the_classifier_finds_the_optimal_auc_and_the_likelihood_ratio():
    generator = np.random.default_rng(4)
    generated, reference = generator.normal(size=(4000, 2)), generator.normal([1.0, 0.0], 1.0, (4000, 2))
    score = classify(generated, reference, epochs=10)
    assert score.auc == pytest.approx(stats.norm.cdf(1.0 / math.sqrt(2.0)), abs=4.0 * score.error)
    ratio = np.exp(generated[:, 0] - 0.5)
    assert np.corrcoef(np.log(score.weight), np.log(ratio))[0, 1] > 0.93
    assert score.weight.mean() == pytest.approx(1.0, abs=0.1)


def test_the_classifier_learns_with_weights():
    """Weights that turn one sample into the other leave nothing to find."""
    generator = np.random.default_rng(5)
    generated, reference = generator.normal(size=(2000, 1)), generator.normal(size=(2000, 1)) + 0.7
    weights = np.exp(0.7 * generated[:, 0] - 0.245), np.ones(2000)
    plain, weighted = (classify(generated, reference, weights=w, epochs=8) for w in (None, weights))
    assert plain.p_value < 1e-6
    assert weighted.p_value > 1e-3


def test_the_classifier_is_silent_for_equal_distributions():
    generator = np.random.default_rng(6)
    found = [classify(*generator.normal(size=(2, 300, 4)), epochs=5, seed=k).p_value for k in range(12)]
    assert min(found) > 1e-3


def test_weighted_area_is_the_mann_whitney_statistic():
    generator = np.random.default_rng(7)
    label = generator.random(200) < 0.4
    score = generator.integers(0, 20, 200) + 3.0 * label
    expected = stats.mannwhitneyu(score[label], score[~label]).statistic / (label.sum() * (~label).sum())
    assert weighted_auc(score, label, np.ones(200)) == pytest.approx(expected, abs=1e-12)


def test_the_frechet_distance_agrees_with_matrix_roots():
    generator = np.random.default_rng(8)
    a, b = generator.normal(size=(400, 3)) @ generator.normal(size=(3, 3)) + 1.0, generator.normal(size=(500, 3))
    first, second = np.cov(a.T, bias=True), np.cov(b.T, bias=True)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum()
    expected += np.trace(first + second - 2.0 * linalg.sqrtm(first @ second).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_extrapolation_removes_the_bias_of_small_samples():
    generator = np.random.default_rng(9)
    samples = generator.normal(size=(2, 1000, 10))
    plain, extrapolated = (frechet_distance(*samples, extrapolate=choice) for choice in (False, True))
    assert plain > 0.02
    assert abs(extrapolated) < plain / 3.0


@pytest.mark.parametrize("measure", [classify, frechet_distance])
def test_different_features_are_refused(measure):
    with pytest.raises(ShapeError, match="expects"):
        measure(np.zeros((50, 2)), np.zeros((50, 3)))


def test_too_few_rows_per_fold_are_refused():
    with pytest.raises(InputError, match="20 rows"):
        classify(np.zeros((50, 2)), np.zeros((50, 2)), folds=4)

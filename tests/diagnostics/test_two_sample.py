"""The classifier two-sample test, against scikit-learn's network and against the best possible classifier."""

import math

import numpy as np
import pytest
import torch

from bijecta.diagnostics import c2st
from bijecta.errors import InputError, ShapeError


def two_sets(rows, features, shift, spread):
    generator = np.random.default_rng(0)
    return shift + spread * generator.normal(size=(rows, features)), generator.normal(size=(rows, features))


def test_equal_distributions_cannot_be_told_apart():
    assert abs(c2st(*two_sets(1000, 2, 0.0, 1.0)) - 0.5) < 4 / (2 * math.sqrt(2000))


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_shifted_normals_reach_the_best_classifier(shift):
    best = (1 + math.erf(shift / 2 / math.sqrt(2))) / 2  # cut half-way between the means
    assert c2st(*two_sets(3000, 1, shift, 1.0), epochs=50) == pytest.approx(best, abs=0.025)


def test_like_the_network_of_scikit_learn():
    network = pytest.importorskip("sklearn.neural_network")
    selection = pytest.importorskip("sklearn.model_selection")
    samples, data = two_sets(800, 2, 0.3, 1.5)
    classifier = network.MLPClassifier((20, 20), max_iter=1000, random_state=0)
    rows, labels = np.concatenate([samples, data]), np.arange(1600) < 800
    folds = selection.KFold(2, shuffle=True, random_state=0)
    oracle = selection.cross_val_score(classifier, rows, labels, cv=folds).mean()
    assert c2st(samples, data, folds=2) == pytest.approx(oracle, abs=0.04)


def test_units_do_not_matter_and_seeds_repeat():
    samples, data = two_sets(300, 2, 1.0, 1.0)
    units = np.array([1e6, 1e-6])
    first = c2st(samples, data, epochs=20)
    assert c2st(samples * units + 7, data * units + 7, epochs=20) == pytest.approx(first, abs=0.02)
    assert c2st(samples, data, epochs=20) == first
    assert c2st(samples, data, epochs=20, seed=1) != first


def test_it_trains_where_gradients_are_off():
    with torch.no_grad():
        assert c2st(*two_sets(100, 1, 50.0, 1.0)) == 1.0


def test_disjoint_sets_and_rows_that_fill_no_fold():
    samples, data = two_sets(101, 3, 50.0, 1.0)
    assert c2st(samples, data, folds=4) == 1.0


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="got 3 and 4"):
        c2st(np.zeros((3, 2)), np.zeros((4, 2)))
    with pytest.raises(ShapeError, match="same columns"):
        c2st(np.zeros((3, 2)), np.zeros((3, 1)))
    with pytest.raises(InputError, match="got 1"):
        c2st(np.zeros((3, 2)), np.zeros((3, 2)), folds=1)

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from bijecta.distributions import Normal
from bijecta.errors import InputError
from bijecta.estimators import FlowAnomalyDetector
from bijecta.estimators.anomaly import DIRECTIONS, blurred_nll, principal_axes
from bijecta.training import Batch

TINY = {"recipe_arguments": {"layers": 2, "hidden": [16], "bins": 4}, "random_state": 0}


@pytest.fixture(scope="module")
def ring():
    """Rows on a circle, and a detector of what is not on it."""
    generator = np.random.default_rng(0)
    angle = generator.uniform(0, 2 * np.pi, 2000)
    rows = np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.1 * generator.normal(size=(2000, 2))
    return rows, FlowAnomalyDetector(steps=200, random_state=0).fit(rows)


@parametrize_with_checks([FlowAnomalyDetector(**TINY, steps=20)])
def test_scikit_learn_check(estimator, check):
    check(estimator)


def test_the_score_of_a_gaussian_is_known():
    """The mean over five scales of log N(mean, (1 + sigma^2) C), per unit of the columns."""
    generator = np.random.default_rng(1)
    mean, covariance = np.array([1000.0, 0.1]), np.array([[400.0, 0.3], [0.3, 0.0009]])
    rows, test = (generator.multivariate_normal(mean, covariance, size=count) for count in (4000, 500))
    detector = FlowAnomalyDetector(scales=(0.1, 1.0), steps=200, random_state=0).fit(rows)
    expected = np.mean(
        [multivariate_normal(mean, (1 + s**2) * covariance).logpdf(test) for s in np.geomspace(0.1, 1.0, 5)], axis=0
    )
    error = detector.score_samples(test) - expected
    assert abs(error.mean()) < 0.05
    assert error.std() < 0.15


def test_at_one_scale_the_score_is_a_density():
    rows = np.random.default_rng(2).gamma(3.0, size=(500, 2))
    detector = FlowAnomalyDetector(**TINY, scales=(0.3, 0.3), steps=100).fit(rows)
    axis = np.linspace(-6, 25, 311)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    assert np.exp(detector.score_samples(grid)).sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=0.01)


def test_the_middle_of_a_ring_is_an_outlier(ring):
    rows, detector = ring
    assert detector.predict([[0.0, 0.0], [3.0, 0.0], [1.0, 0.0]]).tolist() == [-1, -1, 1]
    assert detector.p_values([[0.0, 0.0]])[0] < 0.02
    assert (detector.predict(rows) == -1).mean() == pytest.approx(0.1, abs=0.002)
    np.testing.assert_allclose(detector.decision_function(rows), detector.score_samples(rows) - detector.offset_)


def test_p_values_count_held_out_rows(ring):
    rows, detector = ring
    scores = detector.score_samples(rows[:20])
    counted = [(1 + sum(held_out <= score for held_out in detector.held_out_scores_)) / 201 for score in scores]
    assert len(detector.held_out_scores_) == 200
    np.testing.assert_allclose(detector.p_values(rows[:20]), counted)


def test_p_values_of_new_rows_are_uniform_however_bad_the_flow():
    rows = np.random.default_rng(3).standard_t(3, size=(9000, 2))
    detector = FlowAnomalyDetector(**TINY, steps=5).fit(rows[:5000])
    p_values = np.sort(detector.p_values(rows[5000:]))
    # Kolmogorov's bound at 0.1 % for 500 held-out and 4,000 new rows
    assert np.abs(p_values - np.linspace(0, 1, 4000)).max() < 1.95 * (1 / 500 + 1 / 4000) ** 0.5


def test_typicality_finds_what_is_too_likely():
    rows = np.random.default_rng(4).normal(size=(600, 30))
    likelihood = FlowAnomalyDetector(**TINY, steps=10).fit(rows)
    typicality = FlowAnomalyDetector(**TINY, steps=10, statistic="typicality").fit(rows)
    assert likelihood.p_values(np.zeros((1, 30)))[0] == 1
    assert typicality.p_values(np.zeros((1, 30)))[0] == pytest.approx(1 / 61)
    assert typicality.p_values(np.full((1, 30), 4.0))[0] == pytest.approx(1 / 61)


def test_constant_and_repeated_columns_do_no_harm():
    varying = np.random.default_rng(5).normal(size=(300, 2))
    rows = np.column_stack([varying, varying[:, 0], np.full(300, 7.0)])
    detector = FlowAnomalyDetector(**TINY, steps=20).fit(rows)
    normal, changed, split = rows[0].copy(), rows[0].copy(), rows[0].copy()
    changed[3], split[2] = 8.0, split[0] + 1
    normal, changed, split = detector.score_samples([normal, changed, split])
    assert max(changed, split) < normal - 5


def test_wide_tables():
    rows = np.random.default_rng(6).normal(size=(300, DIRECTIONS + 40))
    detector = FlowAnomalyDetector(**TINY, steps=20).fit(rows)
    assert detector.flow_.event_shape == (DIRECTIONS,)
    assert detector.predict(rows[:1] + 4).tolist() == [-1]


def test_data_frames_with_categories():
    frame = pd.DataFrame({"length": np.random.default_rng(7).normal(size=200), "kind": ["bolt"] * 198 + ["nut"] * 2})
    detector = FlowAnomalyDetector(**TINY, steps=20).fit(frame)
    bolt, nut = detector.score_samples(pd.DataFrame({"length": [0.0, 0.0], "kind": ["bolt", "nut"]}))
    assert nut < bolt - 5


def test_a_seed_repeats_a_fit_and_a_pickle_keeps_it():
    rows = np.random.default_rng(8).normal(size=(200, 3))
    first, second = (FlowAnomalyDetector(**TINY, steps=20).fit(rows).score_samples(rows) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    detector = FlowAnomalyDetector(**TINY, steps=20).fit(rows)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(detector)).p_values(rows), detector.p_values(rows))  # noqa: S301


def test_principal_axes():
    rows = np.random.default_rng(9).normal(size=(500, 3)) @ np.array(
        [[5.0, 1.0, 0.0], [0.0, 0.1, 0.02], [0.0, 0.0, 3.0]]
    )
    axes = principal_axes(rows)
    shrinkage = 4 / 504
    variance = np.linalg.eigvalsh(np.corrcoef(rows.T))[::-1]
    np.testing.assert_allclose(
        np.cov(axes.project(rows).T, bias=True),
        np.diag(variance / ((1 - shrinkage) * variance + shrinkage)),
        atol=1e-12,
    )
    assert axes.ladj == pytest.approx(np.linalg.slogdet(axes.matrix)[1])
    assert axes.modelled == 3
    assert principal_axes(rows[:, [0, 0, 1]]).modelled == 2


def test_the_loss_blurs():
    loss = blurred_nll(np.log(2.0), np.log(2.0))(Normal(3), Batch(100_000, torch.ones(100_000, 3)))
    assert float(loss) == pytest.approx(3 * (0.5 * (1 + 4) + 0.5 * np.log(2 * np.pi)), abs=0.05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"contamination": 0.7}, "contamination"),
        ({"statistic": "distance"}, "likelihood"),
        ({"scales": (1.0, 0.1)}, "in order"),
        ({"scales": (0.0, 0.1)}, "positive"),
        ({"steps": 0}, "at least 1 step"),
        ({"recipe": "unheard_of"}, "no recipe"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(InputError, match=message):
        FlowAnomalyDetector(**settings).fit(np.random.default_rng(0).normal(size=(20, 2)))


def test_rows_are_checked():
    with pytest.raises(InputError, match="vary"):
        FlowAnomalyDetector().fit(np.ones((20, 2)))
    with pytest.raises(NotFittedError):
        FlowAnomalyDetector().p_values(np.ones((2, 2)))

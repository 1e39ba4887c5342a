"""What scikit-learn asks of every estimator: its own list of checks, and what its tools do with an estimator."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from bijecta.errors import InputError, ShapeError
from bijecta.estimators import FlowClassifier, FlowDensity, FlowRegressor
from bijecta.training import FitConfig

SMALL = {
    "recipe_arguments": {"layers": 2, "hidden": [16], "bins": 4},
    "epochs": 15,
    "learning_rate": 4e-2,
    "batch_size": 1000,  # all rows at once and none held out: then weights and repeated rows are the same
    "validation_fraction": 0.0,
    "random_state": 0,
}
ESTIMATORS = [FlowDensity(**SMALL), FlowClassifier(**SMALL), FlowRegressor(**SMALL)]
every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
ROWS = np.random.default_rng(0).normal(size=(40, 2)) @ [[1.0, 0.5], [0.0, 1.0]] + [1.0, -3.0]
LABELS = np.arange(40) % 2


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_check(estimator, check):
    if "sample_weight_equivalence" in str(check):
        # The check allows 1e-7. Adam divides by |g| + 1e-8, which lifts gradients that are 0 up to rounding to 1e-7
        # of a step: short steps keep that below the tolerance, while unequal gradients would still show.
        estimator = clone(estimator).set_params(epochs=3, learning_rate=1e-4)
    check(estimator)


@every_estimator
def test_the_defaults_are_those_of_the_training_loop(estimator):
    default, config = type(estimator)(), FitConfig()
    shared = ["epochs", "batch_size", "learning_rate", "validation_fraction", "patience", "max_seconds"]
    assert all(getattr(default, name) == getattr(config, name) for name in shared)


@every_estimator
def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(estimator):
    def weights(seed):
        fitted = clone(estimator).set_params(random_state=seed).fit(ROWS, LABELS)
        return np.concatenate([t.numpy().ravel() for t in fitted.flow_.state_dict().values()])

    assert np.array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


@every_estimator
def test_weights_have_no_scale_and_zero_means_removed(estimator):
    weight = np.random.default_rng(1).uniform(0.5, 2, size=40) * (np.arange(40) % 5 > 0)
    fitted = clone(estimator).fit(ROWS, LABELS, sample_weight=weight)
    scaled = clone(estimator).fit(ROWS, LABELS, sample_weight=1024 * weight)
    kept = weight > 0
    removed = clone(estimator).fit(ROWS[kept], LABELS[kept], sample_weight=weight[kept])
    for other in (scaled, removed):
        pairs = zip(fitted.flow_.state_dict().values(), other.flow_.state_dict().values(), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


@every_estimator
def test_a_pickle_predicts_the_same_and_leaves_the_global_generator_alone(estimator):
    fitted = clone(estimator).fit(ROWS, LABELS)
    state = torch.get_rng_state()
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301 (our own bytes)
    assert torch.equal(state, torch.get_rng_state())
    method = "score_samples" if isinstance(estimator, FlowDensity) else "predict"
    assert np.array_equal(getattr(again, method)(ROWS), getattr(fitted, method)(ROWS))
    assert again.fit_result_ == fitted.fit_result_
    assert again.get_params() == fitted.get_params()


@every_estimator
def test_ten_rows_are_enough(estimator):
    defaults = type(estimator)(epochs=2, random_state=0).fit(ROWS[:10], LABELS[:10])
    assert len(defaults.fit_result_.history) == 2


@every_estimator
def test_pipeline_and_cross_validation(estimator):
    scores = cross_val_score(make_pipeline(StandardScaler(), clone(estimator)), ROWS, LABELS, cv=2)
    assert np.isfinite(scores).all()


def test_grid_search_compares_held_out_densities():
    rows = np.concatenate([ROWS, ROWS + 20])  # two clumps: one Gaussian cannot be right
    search = GridSearchCV(FlowDensity(**SMALL), {"epochs": [1, 30]}, cv=2).fit(
        np.random.default_rng(0).permutation(rows)
    )
    assert search.best_params_ == {"epochs": 30}
    assert search.best_score_ == max(search.cv_results_["mean_test_score"])


@every_estimator
def test_what_is_wrong_is_named(estimator):
    rows = ROWS.copy()
    rows[3, 1] = np.nan
    with pytest.raises(InputError, match=r"x1 is NaN .*row 3"):
        estimator.fit(rows, LABELS)
    with pytest.raises(ShapeError, match=r"\(40,\).*\(39,\)"):
        clone(estimator).fit(ROWS, LABELS, sample_weight=np.ones(39))
    with pytest.raises(InputError, match="positive sum"):
        clone(estimator).fit(ROWS, LABELS, sample_weight=-np.ones(40))
    with pytest.raises(InputError, match="no recipe 'nfs'"):
        clone(estimator).set_params(recipe="nfs").fit(ROWS, LABELS)
    with pytest.raises(InputError, match="epochs"):
        clone(estimator).set_params(epochs=0).fit(ROWS, LABELS)


@pytest.mark.parametrize("estimator", [FlowDensity(**SMALL), FlowClassifier(**SMALL)], ids=["density", "classifier"])
def test_a_constant_column_is_refused_by_name(estimator):
    with pytest.raises(InputError, match="x1 holds one value only"):
        estimator.fit(np.column_stack([ROWS[:, 0], np.ones(40)]), LABELS)


def test_a_constant_outcome_is_refused_and_a_constant_condition_is_not():
    with pytest.raises(InputError, match="y0 holds one value only"):
        FlowRegressor(**SMALL).fit(ROWS, np.ones(40))
    assert np.isfinite(FlowRegressor(**SMALL).fit(np.ones((40, 1)), ROWS[:, 0]).predict(np.ones((3, 1)))).all()


def test_at_least_one_sample_is_drawn():
    for call in (
        lambda: FlowDensity(**SMALL).fit(ROWS).sample(0),
        lambda: FlowRegressor(**SMALL).fit(ROWS, LABELS).sample(ROWS, 0),
    ):
        with pytest.raises(InputError, match="at least 1, got 0"):
            call()


def test_unfitted_estimators_say_so():
    for call in (FlowDensity().sample, lambda: FlowRegressor().predict_interval(ROWS)):
        with pytest.raises(NotFittedError):
            call()

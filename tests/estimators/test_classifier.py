"""FlowClassifier: Bayes' rule with known densities, priors, and moons that are not Gaussian."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.datasets import make_moons
from sklearn.naive_bayes import GaussianNB

from bijecta import FlowClassifier
from bijecta.errors import InputError


def two_normals(rows, seed=0):
    """Classes "left", N(0, 1), and "right", N(2, 1), the second one in a quarter of the rows."""
    random = np.random.default_rng(seed)
    right = random.random(rows) < 0.25
    return random.normal(size=(rows, 1)) + 2.0 * right[:, None], np.where(right, "right", "left")


def exact_probability(x, prior=0.25):
    left, right = norm.pdf(x[:, 0]), norm.pdf(x[:, 0], loc=2.0)
    return prior * right / (prior * right + (1 - prior) * left)


FAST = {"recipe": "realnvp", "recipe_arguments": {"layers": 2, "hidden": [16]}, "epochs": 15, "random_state": 0}


def test_probabilities_are_those_of_bayes_rule():
    model = FlowClassifier(**FAST).fit(*two_normals(4000))
    x, _ = two_normals(500, seed=1)
    assert list(model.classes_) == ["left", "right"]
    assert model.priors_ == pytest.approx([0.75, 0.25], abs=0.02)
    assert np.abs(model.predict_proba(x)[:, 1] - exact_probability(x)).mean() < 0.02
    assert model.predict_proba(x).sum(1) == pytest.approx(np.ones(500))
    assert np.exp(model.predict_log_proba(x)) == pytest.approx(model.predict_proba(x))
    # other priors, the same densities
    even = FlowClassifier(priors=[0.5, 0.5], **FAST).fit(*two_normals(4000))
    assert np.abs(even.predict_proba(x)[:, 1] - exact_probability(x, prior=0.5)).mean() < 0.02


def test_priors_follow_the_weights():
    x, y = two_normals(200)
    weight = np.where(y == "right", 3.0, 1.0)
    model = FlowClassifier(epochs=1, random_state=0).fit(x, y, sample_weight=weight)
    assert model.priors_[1] == pytest.approx(weight[y == "right"].sum() / weight.sum())


@pytest.mark.parametrize("priors", [[1.0], [0.5, 0.6], [1.0, 0.0]])
def test_impossible_priors_are_refused(priors):
    with pytest.raises(InputError, match=r"one positive prior for each of the classes \['left', 'right'\]"):
        FlowClassifier(priors=priors).fit(*two_normals(50))


def test_better_than_naive_bayes_on_moons():
    train, test = make_moons(1000, noise=0.2, random_state=0), make_moons(2000, noise=0.2, random_state=1)
    flow = FlowClassifier(
        recipe_arguments={"layers": 4, "hidden": [32]}, epochs=20, learning_rate=5e-3, random_state=0
    ).fit(*train)
    assert flow.score(*test) > GaussianNB().fit(*train).score(*test) + 0.05

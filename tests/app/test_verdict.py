"""Verdicts say the gap, the reason and the cure."""

import numpy as np
import pytest

from bijecta.app.verdict import Judgement, sentence, stray_share


def judged(**facts):
    return sentence(Judgement(**{"nll": 2.41, "truth_nll": 2.39, "gaussian_nll": 3.0, "stray": 0.0, **facts}))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"best_epoch": 9}, "0.020 nats above the best possible: as good as it gets."),
        ({"stray": 0.03}, "3 % of samples lie where data are hardly ever: that is topology"),
        ({"stray": 0.03, "base": "mixture"}, "as good as it gets"),
        ({"nll": 2.6, "stray": 0.2, "best_epoch": 9}, "0.210 nats above the best possible. Train longer"),
        ({"nll": 2.6}, "0.210 nats above the best possible, and learning."),
        ({"nll": 3.0, "best_epoch": 0, "learning_rate": 10.0}, "the learning rate 10 is too high. Try 0.002."),
        ({"nll": 3.0, "best_epoch": 0}, "train longer, or with more layers"),
        ({"nll": float("nan")}, "smaller learning rate"),
        ({"truth_nll": None, "stray": None}, "0.590 nats better than a Gaussian"),
        ({"nll": 2.3899}, "0.000 nats above"),
    ],
)
def test_sentences(facts, words):
    assert words in judged(**facts)


def test_a_flow_that_is_the_truth_goes_astray_as_seldom_as_the_truth():
    generator = np.random.default_rng(0)
    under_truth, samples = (-generator.chisquare(2, 20_000) / 2 for _ in range(2))
    assert stray_share(samples, under_truth) == pytest.approx(0.001, abs=0.001)
    assert stray_share(np.append(samples, np.full(20_000, -np.inf)), under_truth) == pytest.approx(0.5, abs=0.01)

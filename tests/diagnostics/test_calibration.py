"""Calibration tools: uniform for the truth, not for posteriors that are too narrow, too wide or shifted."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from bijecta.bijections import Affine
from bijecta.diagnostics import expected_coverage, pit_values, simulation_based_calibration, tarp
from bijecta.diagnostics.calibration import _uniform_p_value
from bijecta.distributions import DiagonalNormal, GaussianMixture, Normal, UniformBox
from bijecta.errors import InputError, ShapeError
from bijecta.flows import Flow, made

S, N = 200, 1000


def conjugate(width=1.0, shift=0.0):
    """Normal prior and noise: the posterior of theta given x is normal around x/2 with variance 1/2."""
    generator = np.random.default_rng(1)
    truths = generator.normal(size=(N, 2))
    centre = (truths + generator.normal(size=(N, 2))) / 2
    spread = math.sqrt(0.5)
    samples = centre + spread * (width * generator.normal(size=(S, N, 2)) + shift)

    def log_prob(theta):
        return stats.norm.logpdf(theta, centre + spread * shift, spread * width).sum(-1)

    return samples, truths, log_prob(samples), log_prob(truths)


def p_values(width=1.0, shift=0.0):
    samples, truths, sample_log_probs, truth_log_probs = conjugate(width, shift)
    ranks = simulation_based_calibration(samples, truths)
    return {
        "chi square": min(ranks.chi_square_p_values),
        "ks": min(ranks.ks_p_values),
        "coverage": expected_coverage(sample_log_probs, truth_log_probs).p_value,
        "tarp": tarp(samples, truths).p_value,
    }


def test_the_exact_posterior_passes_every_test():
    assert min(p_values().values()) > 0.01


@pytest.mark.parametrize(("width", "shift"), [(0.7, 0.0), (1.5, 0.0), (1.0, 0.5)])
def test_wrong_posteriors_fail(width, shift):
    found = p_values(width, shift)
    if shift:
        found.pop("tarp")  # shifts cancel over its random points
    assert max(found.values()) < 1e-3, found


def test_coverage_follows_the_exact_curve():
    """In two dimensions the region of level a has radius^2 = -2 log(1 - a) spreads; the truth sees it scaled."""
    width = 0.6
    _, _, samples, truths = conjugate(width)
    found = expected_coverage(samples, truths)
    exact = 1 - (1 - found.levels) ** (width**2)
    np.testing.assert_allclose(found.coverage, exact, atol=4 * 0.5 / math.sqrt(N) + 1 / S)


def test_ranks_and_p_values_agree_with_scipy():
    samples, truths, _, _ = conjugate(1.1)
    found = simulation_based_calibration(samples, truths, bins=67)  # three ranks in each
    assert (found.ranks == (samples < truths).sum(0)).all()
    for column in range(2):
        counts = np.bincount(found.ranks[:, column] // 3, minlength=67)
        assert found.chi_square_p_values[column] == pytest.approx(stats.chisquare(counts).pvalue, rel=1e-6)


@pytest.mark.parametrize("power", [1.0, 1.05, 1.2])
def test_the_kolmogorov_p_value_agrees_with_scipy(power):
    values = np.random.default_rng(0).random(500) ** power
    assert _uniform_p_value(values) == pytest.approx(stats.kstest(values, "uniform").pvalue, rel=0.05, abs=1e-4)


def test_p_values_are_uniform_themselves():
    """Over repetitions with exact posteriors, 5 % of the tests reject at 5 %."""
    generator = np.random.default_rng(0)
    draws = generator.normal(size=(20, 100, 400))  # 400 independent columns
    found = simulation_based_calibration(draws[1:], draws[0])
    for p in (found.chi_square_p_values, found.ks_p_values):
        assert abs(np.mean(np.array(p) < 0.05) - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 400)


def test_ties_are_broken_at_random():
    """Whole numbers tie with their samples all the time; the ranks stay uniform."""
    draws = np.random.default_rng(0).integers(0, 3, size=(51, 2000, 1))
    assert min(simulation_based_calibration(draws[1:], draws[0]).ks_p_values) > 0.01


def test_pit_of_one_column_is_the_distribution_function():
    x = torch.linspace(-5, 9, 50)[:, None]
    flow = Flow(Affine(torch.tensor([2.0]), torch.tensor([3.0])), Normal(1), event_shape=(1,))
    np.testing.assert_allclose(pit_values(flow, x), stats.norm.cdf(x, 2, 3), atol=1e-6)
    box = Flow(Affine(torch.tensor([2.0]), torch.tensor([3.0])), UniformBox(torch.zeros(1), torch.ones(1)))
    np.testing.assert_allclose(pit_values(box, x), stats.uniform.cdf(x, 2, 3), atol=1e-6)
    base = DiagonalNormal(1)
    base.initialise(torch.tensor([[1.0], [5.0]]))
    learned = Flow(Affine(torch.zeros(1), torch.ones(1)), base)
    np.testing.assert_allclose(pit_values(learned, x), stats.norm.cdf(x, 3, 2), atol=1e-6)


def test_pit_of_own_samples_is_uniform_and_independent():
    torch.manual_seed(0)
    flow = made(3, context=1)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        context = torch.randn(4000, 1)
        u = pit_values(flow, flow.sample(context=context), context)
        wrong = pit_values(flow, flow.sample(context=context) + 0.2, context)
    assert min(stats.kstest(column, "uniform").pvalue for column in u.T.numpy()) > 0.01
    assert abs(np.corrcoef(u.T.numpy()) - np.eye(3)).max() < 0.06
    assert min(stats.kstest(column, "uniform").pvalue for column in wrong.T.numpy()) < 1e-6


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match=r"\(S, N, D\) and \(N, D\), got \(5, 3, 2\) and \(5, 2\)"):
        simulation_based_calibration(np.zeros((5, 3, 2)), np.zeros((5, 2)))
    with pytest.raises(ShapeError, match=r"\(S, N\) and \(N,\)"):
        expected_coverage(np.zeros((5, 3)), np.zeros(5))
    with pytest.raises(InputError, match="finite"):
        tarp(np.full((5, 3, 2), np.nan), np.zeros((3, 2)))
    with pytest.raises(InputError, match="2 to 6 bins"):
        simulation_based_calibration(np.zeros((5, 3, 2)), np.zeros((3, 2)), bins=7)
    flow = Flow(Affine(torch.zeros(2), torch.ones(2)), GaussianMixture(2))
    with pytest.raises(InputError, match="GaussianMixture"):
        pit_values(flow, torch.zeros(3, 2))

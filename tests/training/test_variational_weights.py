"""Weights of draws: against ArviZ, known integrals, and what goes wrong when the proposal is too narrow."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from bijecta.distributions import DiagonalNormal, Normal
from bijecta.errors import InputError, ShapeError
from bijecta.training import effective_sample_size, sample_importance, tail_shape


def wide_normal(x: Tensor) -> Tensor:
    """A normal with standard deviation 1.3 times 7: its log Z is known."""
    return -0.5 * (x / 1.3).square().sum(-1) + math.log(7.0)


def narrow(scale: float) -> DiagonalNormal:
    proposal = DiagonalNormal(2)
    torch.nn.init.constant_(proposal.log_scale, math.log(scale))
    return proposal


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestWorth:
    def test_equal_weights_count_fully_and_one_weight_counts_once(self):
        assert effective_sample_size(torch.full((50,), -700.0)) == pytest.approx(50)
        assert effective_sample_size(torch.tensor([800.0, 0.0, -math.inf])) == pytest.approx(1)

    def test_agrees_with_the_definition(self):
        weight = torch.rand(100, dtype=torch.float64)
        expected = float(weight.sum() ** 2 / weight.square().sum())
        assert effective_sample_size(weight.log() + 3) == pytest.approx(expected)

    @pytest.mark.parametrize("shape", [0.1, 0.4, 0.7, 1.2])
    def test_tail_shape_agrees_with_arviz(self, shape):
        arviz = pytest.importorskip("arviz")
        uniform = np.random.default_rng(1).random(4000)
        log_weight = -shape * np.log(uniform)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = float(arviz.psislw(log_weight.copy())[1])
        assert tail_shape(torch.as_tensor(log_weight)) == pytest.approx(expected, abs=0.02)

    def test_few_weights_have_no_tail_that_could_be_told(self):
        assert tail_shape(torch.randn(4)) == math.inf
        assert tail_shape(torch.zeros(1000)) == math.inf


class TestSampleImportance:
    def test_evidence_and_moments_of_a_known_density(self):
        proposal = narrow(1.6).double()
        found = sample_importance(proposal, wide_normal, 4000, draws=40_000, generator=seeded())
        log_z = math.log(7.0) + math.log(2 * math.pi * 1.3**2)
        assert found.log_evidence == pytest.approx(log_z, abs=4 * found.log_evidence_error)
        assert found.log_evidence_error < 0.01
        mean = found.weight @ found.draws
        assert mean.abs().max() < 4 * 1.3 / found.effective_sample_size**0.5
        assert found.x.shape == (4000, 2)
        assert found.x.std(0).sub(1.3).abs().max() < 0.06

    def test_error_of_the_evidence_is_what_repetitions_scatter(self):
        runs = [
            sample_importance(narrow(1.6).double(), wide_normal, 1, draws=500, generator=seeded(seed))
            for seed in range(200)
        ]
        scatter = np.std([run.log_evidence for run in runs])
        assert np.mean([run.log_evidence_error for run in runs]) == pytest.approx(scatter, rel=0.15)

    def test_a_generator_makes_it_repeatable(self):
        first, second = (sample_importance(Normal(2), wide_normal, 50, generator=seeded(3)) for _ in range(2))
        assert torch.equal(first.x, second.x)

    def test_a_proposal_that_is_too_narrow_is_called_out(self):
        with pytest.warns(UserWarning, match=r"worth .* of 4000, .*misses a part"):
            found = sample_importance(narrow(0.3), wide_normal, 1000, generator=seeded())
        assert found.tail_shape > 0.7

    def test_regions_of_no_density_count_nothing(self):
        half = lambda x: torch.where(x[:, 0] > 0, wide_normal(x), -math.inf)  # noqa: E731
        found = sample_importance(narrow(1.6), half, 1000, draws=20_000, generator=seeded())
        assert bool((found.x[:, 0] > 0).all())
        log_z = math.log(7.0) + math.log(math.pi * 1.3**2)
        assert found.log_evidence == pytest.approx(log_z, abs=4 * found.log_evidence_error)

    def test_densities_that_cannot_be_used(self):
        with pytest.raises(InputError, match=r"NaN or infinite at 40 of 40 draws"):
            sample_importance(Normal(2), lambda x: x.sum(-1) * torch.nan, 10)
        with pytest.raises(InputError, match="zero at every draw"):
            sample_importance(Normal(2), lambda x: torch.full((len(x),), -math.inf), 10)
        with pytest.raises(ShapeError, match=r"shape \(40,\); it returned \(40, 2\)"):
            sample_importance(Normal(2), lambda x: x, 10)
        with pytest.raises(InputError, match="at least one row"):
            sample_importance(Normal(2), wide_normal, 0)

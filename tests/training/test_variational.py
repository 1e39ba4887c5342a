"""Variational inference: gradients against their definition, evidences against integrals, posteriors against draws."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import HalfCauchy, MultivariateNormal, StudentT

from bijecta.distributions import DiagonalNormal, double_well
from bijecta.errors import InputError, NotConvergedError, TrainingDivergedError
from bijecta.flows import Flow, nsf, realnvp
from bijecta.training import (
    Batch,
    FitConfig,
    VariationalProgress,
    fit,
    fit_variational,
    reverse_kl,
    sample_importance,
    start_at_mode,
    to_jsonl,
    variational_bound,
)
from contract.table import perturb

POSTERIORS = Path(__file__).parents[3] / "shared" / "data" / "posteriordb"
beside = pytest.mark.skipif(not POSTERIORS.exists(), reason="the reference posteriors are not beside the project")

COVARIANCE = torch.tensor([[2.0, 0.9], [0.9, 0.6]])
CENTRE = torch.tensor([3.0, -1.0])
QUICK = FitConfig(epochs=3, steps_per_epoch=10, batch_size=64)


def correlated(x: Tensor) -> Tensor:
    """Normal, correlated, off centre, with log Z = 17."""
    normal = MultivariateNormal(CENTRE.to(x), COVARIANCE.to(x))
    log_prob: Tensor = normal.log_prob(x)
    return log_prob + 17.0


def random_flow() -> Flow:
    torch.manual_seed(4)
    return perturb(realnvp(2, layers=2, hidden=(8,)).double(), 0.2)


def gradient(flow: Flow, loss: Tensor) -> Tensor:
    flow.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in flow.parameters() if p.grad is not None])


class TestGradient:
    def test_is_zero_in_every_sample_where_the_flow_has_arrived(self):
        """The plain gradient of the same batch is noise of order one."""
        flow = random_flow()
        arrived = random_flow()  # a density of its own that is the same
        target = lambda x: arrived.log_prob(x) + 5.0  # noqa: E731
        landed = gradient(flow, variational_bound(target)(flow, Batch(16)))
        plain = gradient(flow, reverse_kl(target)(flow, Batch(16)))
        assert landed.abs().max() < 1e-12
        assert plain.abs().max() > 1e-2

    @pytest.mark.parametrize("samples", [1, 4])
    def test_value_is_the_bound_and_exact_where_the_flow_has_arrived(self, samples):
        flow, arrived = random_flow(), random_flow()
        loss = variational_bound(lambda x: arrived.log_prob(x) + 5.0, samples=samples)
        assert float(loss(flow, Batch(40)).detach()) == pytest.approx(-5.0)

    @pytest.mark.parametrize("samples", [1, 3])
    def test_is_unbiased(self, samples):
        """Against the derivative of a large-sample bound, which for a Gaussian in one dimension is an integral."""
        flow = DiagonalNormal(1).double()
        torch.nn.init.constant_(flow.mean, 0.7)
        torch.nn.init.constant_(flow.log_scale, 0.3)
        target = lambda x: -0.5 * x.square().sum(-1)  # noqa: E731
        found = torch.stack(
            [gradient(flow, variational_bound(target, samples=samples)(flow, Batch(3000))) for _ in range(60)]
        )
        expected = torch.stack([gradient(flow, plain_bound(flow, target, samples, 60_000)) for _ in range(20)])
        error = (found.var(0) / len(found) + expected.var(0) / len(expected)).sqrt()
        assert ((found.mean(0) - expected.mean(0)).abs() < 4 * error).all()

    def test_parameters_can_be_trained_afterwards(self):
        flow = random_flow()
        variational_bound(correlated)(flow, Batch(8))
        assert all(p.requires_grad for p in flow.parameters())

    def test_every_context_gets_bounds_of_its_own(self):
        flow = perturb(realnvp(2, context=1, layers=2, hidden=(8,)))
        value = variational_bound(correlated, samples=5)(flow, Batch(3, context=torch.randn(3, 1)))
        assert value.shape == ()
        assert value.requires_grad

    def test_no_samples(self):
        with pytest.raises(InputError, match="at least 1, got 0"):
            variational_bound(correlated, samples=0)


def plain_bound(flow, target, samples, size) -> Tensor:
    """Differentiate the bound totally: the textbook estimator."""
    x = flow.sample((samples, size))
    log_weight = target(x) - flow.log_prob(x)
    return -(log_weight.logsumexp(0) - math.log(samples)).mean()


class TestFit:
    def test_a_correlated_normal_and_its_evidence(self):
        flow = realnvp(2, layers=4, hidden=(32,))
        settings = FitConfig(epochs=8, steps_per_epoch=40, batch_size=128, learning_rate=1e-2, patience=0)
        found = fit_variational(flow, correlated, config=settings)
        assert found.log_evidence == pytest.approx(17.0, abs=4 * found.log_evidence_error + 1e-3)
        assert found.effective_fraction > 0.9
        assert found.history[-1].effective_fraction > found.history[0].effective_fraction
        assert -found.fit.best_loss < 17.01  # a lower bound of log Z

    def test_a_start_at_the_mode_is_the_normal_density_itself(self):
        found = fit_variational(realnvp(2, layers=2), correlated, start=torch.zeros(2), config=QUICK)
        assert found.effective_fraction > 0.97
        assert found.log_evidence == pytest.approx(17.0, abs=0.02)

    @pytest.mark.parametrize("samples", [1, 4])
    def test_two_wells_and_the_integral_over_them(self, samples):
        axis = torch.linspace(-6, 6, 4001, dtype=torch.float64)
        first = double_well(torch.stack([axis, torch.zeros_like(axis)], -1)).exp()
        log_z = math.log(float(torch.trapezoid(first, axis)) * math.sqrt(2 * math.pi))
        left = float(torch.trapezoid(first * (axis < 0), axis) / torch.trapezoid(first, axis))
        torch.manual_seed(1)
        flow = nsf(2, layers=3, hidden=(32,))
        settings = FitConfig(epochs=10, steps_per_epoch=40, batch_size=512, learning_rate=5e-3, patience=0)
        found = fit_variational(flow, double_well, samples=samples, config=settings)
        sample = sample_importance(flow, double_well, 4000, draws=20_000)
        assert sample.effective_sample_size > 0.8 * 20_000
        assert sample.log_evidence == pytest.approx(log_z, abs=4 * sample.log_evidence_error)
        assert found.effective_fraction > 0.8
        share = float((sample.x[:, 0] < 0).double().mean())
        assert share == pytest.approx(left, abs=4 * math.sqrt(left * (1 - left) * (1 / 4000 + 1 / 16_000)))

    def test_hooks_checkpoints_and_stops_are_those_of_fit(self, tmp_path):
        seen: list[VariationalProgress] = []
        log = to_jsonl(tmp_path / "log.jsonl")

        def hook(progress: VariationalProgress) -> bool:
            log(progress)
            seen.append(progress)
            return len(seen) == 2

        path = tmp_path / "run"
        torch.manual_seed(0)
        whole = fit_variational(realnvp(2, layers=2), correlated, config=QUICK)
        torch.manual_seed(0)
        cut = fit_variational(realnvp(2, layers=2), correlated, config=QUICK, on_epoch=hook, checkpoint=path)
        assert cut.fit.stopped == "hook"
        assert [json.loads(line)["effective_fraction"] for line in (tmp_path / "log.jsonl").read_text().split("\n")[:2]]
        rest = fit_variational(realnvp(2, layers=2), correlated, config=QUICK, checkpoint=path)
        assert len(rest.fit.history) == 3
        assert len(rest.history) == 1
        assert rest.log_evidence == whole.log_evidence
        assert [line.validation_loss for line in rest.fit.history] == [line.validation_loss for line in whole.history]

    def test_evidence_of_an_epoch_is_bounded_by_its_loss(self):
        found = fit_variational(realnvp(2, layers=2), correlated, config=QUICK)
        for line in found.history:
            assert line.validation_loss is not None
            assert line.log_evidence >= -line.validation_loss
            assert 0 < line.effective_fraction <= 1

    def test_what_cannot_be_fitted(self):
        with pytest.raises(InputError, match="without context"):
            fit_variational(realnvp(2, context=1), correlated, config=QUICK)
        with pytest.raises(InputError, match="validation_fraction above 0"):
            fit_variational(realnvp(2), correlated, config=FitConfig(validation_fraction=0))
        with pytest.raises(TrainingDivergedError):
            fit_variational(realnvp(2), lambda x: x.sum(-1) * torch.nan, config=QUICK)

    def test_a_density_without_a_maximum_is_no_start(self):
        with pytest.raises(NotConvergedError, match="Start elsewhere"):
            start_at_mode(realnvp(2), lambda x: x[:, 0] ** 2 - x[:, 1] ** 2, torch.ones(2))

    def test_plain_fit_takes_the_bound_as_loss(self):
        result = fit(realnvp(2, layers=2), loss=variational_bound(correlated), config=QUICK)
        assert len(result.history) == 3


def eight_schools(x: Tensor) -> Tensor:
    """Effects as mu + tau * eta (not centred), with the logarithm of tau and its Jacobian."""
    data = json.loads((POSTERIORS / "eight_schools-eight_schools_centered" / "data.json").read_text())
    y, sigma = (torch.tensor(data[name], dtype=x.dtype) for name in ("y", "sigma"))
    mu, log_tau, eta = x[:, 0], x[:, 1], x[:, 2:]
    theta = mu[:, None] + log_tau.exp()[:, None] * eta
    prior = -0.5 * (mu / 5).square() + HalfCauchy(5.0).log_prob(log_tau.exp()) + log_tau - 0.5 * eta.square().sum(-1)
    return prior - 0.5 * ((y - theta) / sigma).square().sum(-1)


def schools_of(x: Tensor) -> Tensor:
    """Translate to the columns of the reference: theta[8], mu, tau."""
    mu, tau = x[:, :1], x[:, 1:2].exp()
    return torch.cat([mu + tau * x[:, 2:], mu, tau], -1)


def regression(x: Tensor) -> Tensor:
    """Predict the score of a child from the IQ of its mother; sigma by its logarithm."""
    data = json.loads((POSTERIORS / "kidiq-kidscore_momiq" / "data.json").read_text())
    score, iq = (torch.tensor(data[name], dtype=x.dtype) for name in ("kid_score", "mom_iq"))
    sigma = x[:, 2:].exp()
    residual = (score - x[:, :1] - x[:, 1:2] * iq) / sigma
    prior = HalfCauchy(2.5).log_prob(sigma[:, 0]) + x[:, 2]
    return prior - 0.5 * residual.square().sum(-1) - len(score) * x[:, 2]


POSTERIOR_CASES = {
    "eight_schools-eight_schools_centered": (eight_schools, schools_of, None, 10),
    "kidiq-kidscore_momiq": (
        regression,
        lambda x: torch.cat([x[:, :2], x[:, 2:].exp()], -1),
        torch.tensor([80.0, 0.0, 3.0]),
        3,
    ),
}


@beside
@pytest.mark.parametrize("name", POSTERIOR_CASES)
def test_posterior_has_the_means_and_spreads_of_reference_draws(name):
    """Weighted draws against 10,000 reference draws; errors of both, with that of a spread from the fourth moment."""
    density, translate, start, features = POSTERIOR_CASES[name]
    reference = torch.as_tensor(np.load(POSTERIORS / name / "draws.npz")["draws"]).double().flatten(0, 1)
    torch.manual_seed(0)
    flow = nsf(features, layers=3, hidden=(32,))
    settings = FitConfig(epochs=5, steps_per_epoch=40, batch_size=128, learning_rate=5e-3, patience=0)
    fit_variational(flow, density, start=start, config=settings)
    found = sample_importance(flow.double(), density, 1, draws=20_000)
    assert found.effective_sample_size > 5000
    values, weight = translate(found.draws), found.weight
    mean = weight @ values
    spread = (weight @ (values - mean).square()).sqrt()
    worth = 1 / found.effective_sample_size + 1 / len(reference)
    expected, expected_spread = reference.mean(0), reference.std(0)
    fourth = ((reference - expected) / expected_spread).pow(4).mean(0)
    assert ((mean - expected).abs() < 4 * expected_spread * worth**0.5).all()
    assert ((spread - expected_spread).abs() < 4 * expected_spread * ((fourth - 1) / 4 * worth).sqrt()).all()


def test_student_t_posterior_warns_of_nothing_when_tails_are_covered():
    """A proposal with heavier tails than the density has bounded weights."""
    flow = nsf(1, layers=1, base="student")
    target = lambda x: StudentT(30.0).log_prob(x).sum(-1)  # noqa: E731
    found = sample_importance(flow, target, 100, draws=5000)
    assert found.log_evidence == pytest.approx(0, abs=4 * found.log_evidence_error)

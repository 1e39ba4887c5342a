"""A flow as an estimator of sbi: shapes as sbi wants them, and a posterior that is known."""

import pickle
from pathlib import Path

import pytest
import torch

from bijecta.adapters import sbi_estimator
from bijecta.errors import InputError, ShapeError

pytest.importorskip("sbi")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)  # sbi logs to the working folder
    torch.manual_seed(0)


@pytest.fixture
def estimator():
    return sbi_estimator("realnvp", layers=2)(5 + 3 * torch.randn(200, 2), torch.randn(200, 3))


def test_shapes(estimator):
    theta, x = torch.randn(7, 5, 2), torch.randn(5, 3)
    assert estimator.log_prob(theta, x).shape == (7, 5)
    assert estimator.log_prob(theta[0], x).shape == (1, 5)
    assert estimator.log_prob(theta[:, :1], x).shape == (7, 5)
    assert estimator.loss(theta[0], x).shape == (5,)
    samples, log_prob = estimator.sample_and_log_prob(torch.Size([4]), x)
    assert samples.shape == (4, 5, 2)
    torch.testing.assert_close(estimator.log_prob(samples, x), log_prob, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(estimator.log_prob(theta, x)[3, 2], estimator.net.log_prob(theta[3, 2], x[2]))


def test_parameters_are_standardised_inside(estimator):
    samples = estimator.sample(torch.Size([5000]), torch.zeros(1, 3))[:, 0]
    torch.testing.assert_close(samples.mean(0), torch.full((2,), 5.0), atol=0.6, rtol=0)
    torch.testing.assert_close(samples.std(0), torch.full((2,), 3.0), atol=0.6, rtol=0)


def test_npe_finds_a_known_posterior():
    """Normal noise of 0.5 in a wide box: the posterior is the same normal around the observation."""
    from sbi.inference import NPE
    from sbi.utils import BoxUniform

    prior = BoxUniform(-3 * torch.ones(2), 3 * torch.ones(2))
    theta = prior.sample((2000,))
    trainer = NPE(prior, density_estimator=sbi_estimator("maf", layers=2), show_progress_bars=False)
    trainer.append_simulations(theta, theta + 0.5 * torch.randn(2000, 2))
    estimator = trainer.train(stop_after_epochs=5, learning_rate=5e-3)
    posterior = trainer.build_posterior(estimator)
    observation = torch.tensor([[0.5, -0.5]])
    samples = posterior.sample((5000,), x=observation, show_progress_bars=False)
    torch.testing.assert_close(samples.mean(0), observation[0], atol=0.1, rtol=0)
    torch.testing.assert_close(samples.std(0), torch.full((2,), 0.5), atol=0.1, rtol=0)
    again = pickle.loads(pickle.dumps(posterior))  # noqa: S301 (our own bytes)
    torch.testing.assert_close(again.log_prob(samples[:5], observation), posterior.log_prob(samples[:5], observation))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match=r"\(9, 4, 4\)"):
        sbi_estimator()(torch.zeros(9, 2), torch.zeros(9, 4, 4))
    with pytest.raises(InputError, match="no recipe 'nfs'"):
        sbi_estimator("nfs")(torch.randn(9, 2), torch.randn(9, 2))

"""A flow in Pyro: as an observed density, in plates, and as a guide whose exact answer is known."""

import pytest
import torch

from bijecta.adapters import pyro_distribution
from bijecta.flows import maf, realnvp

pyro = pytest.importorskip("pyro")


@pytest.fixture(autouse=True)
def _fresh_store():
    pyro.clear_param_store()
    pyro.set_rng_seed(0)


def test_a_model_scores_observations_with_the_flow():
    flow, x, context = maf(2, context=1), torch.randn(5, 2), torch.randn(5, 1)

    def model():
        with pyro.plate("rows", 5):
            pyro.sample("x", pyro_distribution(flow, context), obs=x)

    trace = pyro.poutine.trace(model).get_trace()
    torch.testing.assert_close(trace.log_prob_sum(), flow.log_prob(x, context).sum())


def test_plates_expand_an_unconditional_flow():
    with pyro.plate("rows", 4):
        x = pyro.sample("x", pyro_distribution(realnvp(2)))
    assert x.shape == (4, 2)
    assert len(x.unique(dim=0)) == 4
    assert pyro_distribution(realnvp(2)).expand_by((3,)).to_event(1).event_shape == (3, 2)


def test_variational_inference_finds_a_conjugate_posterior():
    """A normal prior and normal noise: precision and mean of the posterior are sums."""
    data, noise = torch.tensor([[1.0, -1.0], [1.4, -0.6], [0.6, 0.2]]), 0.5
    precision = 1 + len(data) / noise**2
    mean, spread = data.sum(0) / noise**2 / precision, precision**-0.5
    flow = realnvp(2, layers=2, hidden=(16,))

    def model():
        theta = pyro.sample("theta", pyro.distributions.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("rows", len(data)):
            pyro.sample("x", pyro.distributions.Normal(theta, noise).to_event(1), obs=data)

    def guide():
        pyro.module("flow", flow)
        pyro.sample("theta", pyro_distribution(flow))

    elbo = pyro.infer.Trace_ELBO(num_particles=64, vectorize_particles=True, max_plate_nesting=1)
    rate = pyro.optim.ExponentialLR({"optimizer": torch.optim.Adam, "optim_args": {"lr": 2e-2}, "gamma": 0.985})
    inference = pyro.infer.SVI(model, guide, rate, elbo)
    for _ in range(250):
        inference.step()
        rate.step()
    samples = flow.sample(20_000).detach()
    torch.testing.assert_close(samples.mean(0), mean, atol=0.03, rtol=0)
    torch.testing.assert_close(samples.std(0), torch.full((2,), spread), atol=0.03, rtol=0)

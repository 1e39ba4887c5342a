"""Glow for images of whole numbers: probabilities sum to one, learned priors, exactness in float32, files, digits."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from bijecta.bijections import Coupling
from bijecta.distributions import DequantisedImages
from bijecta.errors import InputError
from bijecta.flows.images import bits_per_dimension, pixel_glow
from bijecta.persistence import load, save
from bijecta.training import FitConfig, fit
from contract.table import perturb

SMALL = {"grey_levels": 17, "steps": 2, "hidden": 4}


def small(shape: tuple[int, ...] = (1, 4, 4), size: float = 0.3, **options: object) -> DequantisedImages:
    torch.manual_seed(0)
    return started(pixel_glow(shape, **{**SMALL, **options}).double(), shape, size)


def started(images: DequantisedImages, shape: tuple[int, ...], size: float) -> DequantisedImages:
    """Initialise with random pixels, and move all weights away from where they start."""
    context = torch.eye(images.context).double().repeat(64, 1)[:64] if images.context else None
    images.initialise(torch.randint(0, images.levels, (64, *shape)).double(), context)
    if images.noise is not None:
        perturb(images.noise, 0.05)
    perturb(images.distribution, size)
    return images


@pytest.mark.parametrize("noise", ["uniform", "variational"])
def test_probabilities_of_all_images_sum_to_one(noise):
    """E_q exp(log p(n + u) - log q(u)) is the probability of n, whatever q is; there are 2^4 images of 2x2 bits."""
    images = small((1, 2, 2), 0.15, grey_levels=2, levels=1, noise=noise)
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).double().reshape(16, 1, 2, 2)
    with torch.no_grad():
        log_prob = images.log_prob(every.expand(8000, 16, 1, 2, 2), generator=torch.Generator().manual_seed(1))
    probability = log_prob.exp().mean(0)
    assert float(probability.sum()) == pytest.approx(1, abs=0.02)
    assert (log_prob.mean(0) < probability.log()).all()
    sampled = images.sample(20_000, generator=torch.Generator().manual_seed(2)).flatten(-3)
    code = (sampled @ torch.tensor([8.0, 4.0, 2.0, 1.0]).double()).long()
    frequency = torch.bincount(code, minlength=16) / 20_000
    torch.testing.assert_close(frequency.double(), probability, atol=0.015, rtol=0)


def test_what_leaves_has_a_normal_prior_that_what_stays_decides():
    """The last coupling of a scale, before a normal base, is the log-density of that prior by torch.distributions."""
    flow = small(size=0.3, levels=2).distribution
    x = 17 * torch.rand(5, 1, 4, 4).double()
    for layer in flow.bijection.layers[:-1]:
        x, _ = layer.forward_and_ladj(x)
    *steps, prior = flow.bijection.layers[-1].levels[0].layers
    assert isinstance(prior, Coupling)
    for step in steps:
        x, _ = step.forward_and_ladj(x)
    stays, leaves = x[:, :2], x[:, 2:]
    shift, log_scale = prior.conditioner(stays).unflatten(1, (2, 2)).unbind(2)
    log_scale = 3 * torch.tanh(log_scale / 3)
    spread = flow.base.log_scale[:8].reshape(2, 2, 2).exp() * torch.exp(-log_scale)
    mean = (flow.base.mean[:8].reshape(2, 2, 2) - shift) * torch.exp(-log_scale)
    expected = torch.distributions.Normal(mean, spread).log_prob(leaves).sum((1, 2, 3))
    z, ladj = prior.forward_and_ladj(x)
    base = torch.distributions.Normal(flow.base.mean[:8], flow.base.log_scale[:8].exp())
    torch.testing.assert_close(base.log_prob(z[:, 2:].flatten(1)).sum(-1) + ladj, expected)


@pytest.mark.parametrize("context", [0, 3])
def test_float32_agrees_with_float64(context):
    """Log-determinants of 784 pixels add up without loss, and images come back."""
    exact = small((1, 28, 28), 0.05, grey_levels=256, steps=4, hidden=16, context=context)
    given = torch.eye(3)[[0, 1, 2, 0]].double() if context else None
    x = torch.randint(0, 256, (4, 1, 28, 28)).double() + torch.rand(4, 1, 28, 28).double()
    expected = exact.distribution.log_prob(x, given)
    rough = exact.float().distribution
    given = given.float() if context else None
    torch.testing.assert_close(rough.log_prob(x.float(), given).double(), expected, rtol=1e-5, atol=0.05)
    with torch.no_grad():
        back = rough.to_data(rough.to_latent(x.float(), given), given)
    assert float((back - x.float()).abs().max()) < 256e-4


def test_the_noise_lies_in_its_cell_and_every_parameter_learns():
    images = small(context=3)
    x, context = torch.randint(0, 17, (32, 1, 4, 4)).double(), torch.eye(3).double()[torch.arange(32) % 3]
    u, log_noise = images.draw_noise(x)
    assert ((u > 0) & (u < 1)).all()
    assert log_noise.shape == (32,)
    images.log_prob(x, context).mean().backward()
    assert [n for n, p in images.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("noise", ["uniform", "variational"])
def test_a_file_holds_all_of_it(noise, tmp_path):
    images = small(noise=noise, context=2)
    save(images, tmp_path / "images.safetensors")
    again = load(tmp_path / "images.safetensors")
    assert again.recipe["name"] == "bijecta.flows.images:pixel_glow"
    x, context = torch.zeros(3, 1, 4, 4).double(), torch.eye(2).double()[[0, 1, 0]]
    first, second = (f.log_prob(x, context, generator=torch.Generator().manual_seed(5)) for f in (images, again))
    assert torch.equal(first, second)
    samples = [f.sample(2, context, generator=torch.Generator().manual_seed(5)) for f in (images, again)]
    assert torch.equal(*samples)


def test_errors_say_what_was_expected():
    with pytest.raises(InputError, match="divisible by 8 for 3 levels, got 28x28"):
        pixel_glow([1, 28, 28], levels=3)
    with pytest.raises(InputError, match="noise to be one of uniform, variational; got 'gauss'"):
        pixel_glow([1, 4, 4], noise="gauss")


def independent_pixels(train: Tensor, test: Tensor) -> float:
    """Bits per pixel under a histogram of every pixel, with one count added everywhere."""
    counts = np.ones((64, 17))
    for pixel, column in enumerate(train.flatten(1).int().numpy().T):
        np.add.at(counts[pixel], column, 1)
    probability = counts / counts.sum(1, keepdims=True)
    found = probability[np.arange(64), test.flatten(1).int().numpy()]
    return float(-np.log2(found).mean())


def test_seconds_of_training_beat_independent_pixels():
    """And with the weights that training leaves, noisy images come back within 1e-4 of a level."""
    digits, labels = load_digits(return_X_y=True)
    x = torch.tensor(digits, dtype=torch.float32).reshape(-1, 1, 8, 8)
    classes = torch.eye(10)[torch.tensor(labels)]
    torch.manual_seed(0)
    images = pixel_glow([1, 8, 8], grey_levels=17, context=10, steps=3, hidden=16)
    config = FitConfig(epochs=4, batch_size=32, learning_rate=4e-3, validation_fraction=0)
    fit(images, x[:1400], context=classes[:1400], config=config)
    with torch.no_grad():
        bits = float(bits_per_dimension(images.log_prob(x[1400:], classes[1400:]), 64).mean())
        noisy, flow = x[1400:] + images.draw_noise(x[1400:])[0], images.distribution
        back = flow.to_data(flow.to_latent(noisy, classes[1400:]), classes[1400:])
    assert 1 < bits < independent_pixels(x[:1400], x[1400:])
    assert float((back - noisy).abs().max()) <= 1e-4

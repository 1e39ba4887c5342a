"""Transformer flows of images: patches, probabilities that sum to one, files, and digits."""

import itertools

import pytest
import torch
from sklearn.datasets import load_digits

from bijecta.distributions import DequantisedImages
from bijecta.errors import InputError
from bijecta.flows.images import bits_per_dimension, interpolate, pixel_transformer, sample_at_temperature
from bijecta.flows.images.transformer import patch_order
from bijecta.persistence import load, save
from bijecta.training import FitConfig, fit
from flows.images.test_recipe import started

SMALL = {"layers": 2, "hidden": (8,), "width": 8}


def small(shape=(2, 4, 4), size=0.2, **options) -> DequantisedImages:
    torch.manual_seed(0)
    return started(pixel_transformer(shape, **{"grey_levels": 17, **SMALL, **options}).double(), shape, size)


def test_patches_hold_all_channels_of_a_square():
    image = torch.arange(2 * 4 * 4).reshape(2, 4, 4)
    patches = torch.tensor(patch_order((2, 4, 4), 2)).reshape(4, 2, 2, 2)
    for number, (row, column) in enumerate(itertools.product((0, 2), repeat=2)):
        assert torch.equal(patches[number], image[:, row : row + 2, column : column + 2])


def test_a_layer_sees_whole_patches_in_order():
    """The first layer alone: pixels of a patch depend on those of all patches before it, as finite numbers show."""
    flow = small(layers=1).distribution
    x = (17 * torch.rand(2, 4, 4)).double()
    matrix = torch.autograd.functional.jacobian(lambda x: flow.to_latent(x[None])[0], x).flatten(1)
    order = torch.tensor(patch_order((2, 4, 4), 2))
    seen = matrix[:, order].reshape(4, 8, 4, 8).abs().sum((1, 3)) > 1e-12
    assert torch.equal(seen, torch.ones(4, 4).tril().bool())


@pytest.mark.parametrize("context", [0, 3])
def test_densities_against_autograd_and_the_way_back(context):
    images = small((1, 4, 4), context=context)
    flow, c = images.distribution, torch.randn(5, 3).double() if context else None
    x = (17 * torch.rand(5, 1, 4, 4)).double()
    for row in range(5):
        one = None if c is None else c[row : row + 1]
        matrix = torch.autograd.functional.jacobian(lambda x, one=one: flow.to_latent(x[None], one)[0], x[row])
        z = flow.to_latent(x[row : row + 1], one)
        expected = flow.base.log_prob(z, None if one is None else flow.embedding(one))
        expected = expected + torch.linalg.slogdet(matrix.flatten(1)).logabsdet
        torch.testing.assert_close(flow.log_prob(x[row : row + 1], one), expected)
    torch.testing.assert_close(flow.to_data(flow.to_latent(x, c), c), x, atol=1e-6, rtol=0)


@pytest.mark.parametrize("noise", ["uniform", "variational"])
def test_probabilities_of_all_images_sum_to_one(noise):
    images = small((1, 2, 2), 0.1, grey_levels=2, patch=1, noise=noise)
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).double().reshape(16, 1, 2, 2)
    with torch.no_grad():
        log_prob = images.log_prob(every.expand(8000, 16, 1, 2, 2), generator=torch.Generator().manual_seed(1))
    assert float(log_prob.exp().mean(0).sum()) == pytest.approx(1, abs=0.02)


def test_a_file_temperatures_and_walks(tmp_path):
    images = small(context=3).float().eval()
    save(images, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    x, c = torch.randint(0, 17, (2, 2, 4, 4)).float(), torch.eye(3)[:2]
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    first, second = (m.log_prob(x, c, generator=g) for m, g in zip((images, loaded), generators, strict=True))
    assert torch.equal(first, second)
    assert sample_at_temperature(images, 3, c, temperature=0.5).shape == (3, 2, 2, 4, 4)
    assert torch.equal(interpolate(images, (x[0], x[1]), 3, (c[0], c[1]))[-1], x[1])


def test_errors_say_what_was_expected():
    with pytest.raises(InputError, match="sides divisible by the patch 3, got 4x4"):
        pixel_transformer([1, 4, 4], patch=3)
    with pytest.raises(InputError, match="noise to be one of uniform, variational; got 'none'"):
        pixel_transformer([1, 4, 4], noise="none", **SMALL)
    with pytest.raises(InputError, match="Variational noise expects even sides, got 3x3"):
        pixel_transformer([1, 3, 3], patch=1, **SMALL)


def test_seconds_of_training_beat_independent_pixels():
    """Independent pixels of digits need 2.42 bits, see benchmarks/images.py."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8)
    classes = torch.nn.functional.one_hot(torch.tensor(labels), 10).float()
    torch.manual_seed(0)
    flow = pixel_transformer([1, 8, 8], grey_levels=17, context=10, layers=2, hidden=(32,), width=16)
    config = FitConfig(epochs=4, batch_size=64, learning_rate=4e-3)
    fit(flow, images[:1500], context=classes[:1500], config=config)
    with torch.no_grad():
        log_prob = flow.log_prob(images[1500:], classes[1500:])
    assert float(bits_per_dimension(log_prob, 64).mean()) < 2.35

"""Bits per dimension, temperature and interpolation against closed forms."""

import math

import numpy as np
import pytest
import torch

from bijecta.bijections import Reshape
from bijecta.distributions import DequantisedImages, DiagonalNormal, Distribution, Normal, StudentT
from bijecta.errors import InputError
from bijecta.flows import Flow
from bijecta.flows.images import bits_per_dimension, interpolate, pixel_glow, sample_at_temperature
from bijecta.flows.images.latent import great_circle
from contract.table import perturb

SHAPE = (1, 2, 2)


def flow_with(base: Distribution) -> Flow:
    return Flow(Reshape(SHAPE, (4,)), base, event_shape=SHAPE).double()


def glow(context: int = 0) -> DequantisedImages:
    torch.manual_seed(0)
    return perturb(pixel_glow([1, 4, 4], grey_levels=17, levels=1, steps=2, hidden=4, context=context).double(), 0.2)


def test_bits_of_a_known_density_in_both_units():
    """Uniform over 2^3 of 2^8 levels: 3 bits, whether pixels are counted in levels or in units of 256."""
    in_levels = torch.tensor(-10 * math.log(8.0)).double()
    in_units = in_levels + 10 * math.log(256)
    assert float(bits_per_dimension(in_levels, 10)) == pytest.approx(3)
    assert float(bits_per_dimension(in_units, 10, levels=256)) == pytest.approx(3)


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0, 2.0])
def test_temperature_scales_the_spread_around_the_mean(temperature):
    base = DiagonalNormal(4)
    torch.nn.init.constant_(base.mean, 5.0)
    torch.nn.init.constant_(base.log_scale, math.log(3.0))
    flow, generator = flow_with(base), torch.Generator().manual_seed(0)
    x = sample_at_temperature(flow, 20_000, temperature=temperature, generator=generator)
    torch.testing.assert_close(x.mean(0), torch.full(SHAPE, 5.0).double(), atol=0.15, rtol=0)
    torch.testing.assert_close(x.std(0), torch.full(SHAPE, 3.0 * temperature).double(), atol=0.1, rtol=0)


@pytest.mark.parametrize("context", [0, 3])
def test_temperature_one_is_sampling(context):
    images, given = glow(context), torch.eye(3).double() if context else None
    expected = images.sample(5, given, generator=torch.Generator().manual_seed(3))
    found = sample_at_temperature(images, 5, given, generator=torch.Generator().manual_seed(3))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("context", [0, 3])
def test_both_ends_come_back(context):
    images = glow(context)
    ends = tuple(torch.randint(0, 17, (6, 1, 4, 4)).double() for _ in range(2))
    contexts = (torch.eye(3).double()[[0] * 6], torch.eye(3).double()[[1] * 6]) if context else None
    walk = interpolate(images, ends, 5, contexts)
    assert walk.shape == (5, 6, 1, 4, 4)
    assert torch.equal(walk[0], ends[0])
    assert torch.equal(walk[-1], ends[1])
    assert torch.equal(walk, walk.round())


def test_walks_lead_through_noisy_images_as_those_of_the_training():
    """From the middles of their cells, alike in all pixels of a background, latents are no typical ones."""
    images, ends = glow(0), tuple(torch.randint(0, 17, (6, 1, 4, 4)).double() for _ in range(2))
    walks = [interpolate(images, ends, 3, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(walks[0], walks[1])
    assert not torch.equal(walks[0][1], walks[2][1])


def test_a_walk_from_an_image_to_itself_stays_there():
    flow, x = flow_with(Normal(4)), torch.randn(3, *SHAPE).double()
    torch.testing.assert_close(interpolate(flow, (x, x), 4), x.expand(4, 3, *SHAPE))


def test_a_great_circle_turns_steadily_and_keeps_the_length():
    angles = np.linspace(0.3, 2.0, 5)
    circle = torch.tensor(np.stack([np.cos(angles), np.sin(angles)], -1))
    walk = torch.stack([great_circle(circle[0], circle[-1], t) for t in (0.0, 0.25, 0.5, 0.75, 1.0)])
    torch.testing.assert_close(walk, circle)
    opposite = great_circle(circle[0], -circle[0], 0.5)
    torch.testing.assert_close(opposite, torch.zeros(2).double())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bits_per_dimension(torch.zeros(1), 0), "positive numbers, got 0 dimensions"),
        (lambda: sample_at_temperature(flow_with(Normal(4)), temperature=-1), "at least 0, got -1"),
        (lambda: sample_at_temperature(flow_with(StudentT(4))), "normal or diagonal, got StudentT"),
        (lambda: sample_at_temperature(Normal(4)), "Flow, or DequantisedImages of one, got Normal"),
        (lambda: interpolate(flow_with(Normal(4)), (torch.zeros(SHAPE),) * 2, 1), "at least 2 images.*got 1"),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(InputError, match=message):
        call()

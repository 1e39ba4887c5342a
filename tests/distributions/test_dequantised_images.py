"""Both bounds of images of whole numbers against quadrature, and where the variational one is exact."""

import math

import pytest
import torch
from torch import Tensor

from bijecta.bijections import Chain, Logit, Reshape
from bijecta.distributions import DequantisedImages, DiagonalNormal, Distribution, Normal
from bijecta.errors import InputError, ShapeError
from bijecta.flows import Flow

PIXEL = (1, 1, 1)
U = (torch.arange(20_000).double() + 0.5) / 20_000
CELLS = torch.tensor([0.0, 1.0, 2.0]).double()


def of_one_pixel() -> Flow:
    flow = Flow(Reshape(PIXEL, (1,)), DiagonalNormal(1), event_shape=PIXEL).double()
    torch.nn.init.constant_(flow.base.mean, 1.2)
    torch.nn.init.constant_(flow.base.log_scale, -0.5)
    return flow


def logit_normal(context: int) -> Flow:
    """A noise that ignores the image."""
    return Flow(Chain([Reshape(PIXEL, (1,)), Logit()]), Normal(1), event_shape=PIXEL, context=context).double()


class Stairs(Distribution):
    """In every one of two cells, a logit-normal: what the noise above is the exact posterior of."""

    event_shape = PIXEL

    def __init__(self) -> None:
        super().__init__()
        self.within = logit_normal(0)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: ARG002
        return math.log(0.5) + self.within.log_prob(x.frac())

    def sample(self, shape=(), context=None, *, generator=None) -> Tensor:
        raise NotImplementedError


def cells_of(images: Tensor) -> Tensor:
    return images.reshape(-1, *PIXEL)


def test_uniform_noise_gives_the_bound_and_the_bound_is_one():
    flow = of_one_pixel()
    inside = flow.log_prob((CELLS[:, None] + U)[..., None, None, None])
    x = cells_of(CELLS).expand(20_000, 3, *PIXEL)
    images = DequantisedImages(flow, levels=3)
    measured = images.log_prob(x, generator=torch.Generator().manual_seed(0)).mean(0)
    torch.testing.assert_close(measured, inside.mean(-1), atol=0.02, rtol=0)
    assert (measured < inside.exp().mean(-1).log()).all()
    assert images.is_bound


def test_variational_noise_gives_its_bound():
    """E_q [log p(n + u) - log q(u)] by quadrature over u."""
    flow, noise = of_one_pixel(), logit_normal(1)
    log_q = logit_normal(0).log_prob(U.reshape(-1, *PIXEL))
    inside = flow.log_prob((CELLS[:, None] + U)[..., None, None, None])
    expected = ((inside - log_q) * log_q.exp()).mean(-1)
    x = cells_of(CELLS).expand(20_000, 3, *PIXEL)
    images = DequantisedImages(flow, 3, noise)
    measured = images.log_prob(x, generator=torch.Generator().manual_seed(0)).mean(0)
    torch.testing.assert_close(measured, expected, atol=0.02, rtol=0)


def test_the_bound_is_exact_where_the_noise_is_the_posterior():
    """Every single draw, not only their mean, is the log of the cell's probability."""
    x = torch.tensor([0.0, 1.0]).double().repeat(100).reshape(-1, *PIXEL)
    log_prob = DequantisedImages(Stairs(), 2, logit_normal(1)).log_prob(x)
    torch.testing.assert_close(log_prob, torch.full_like(log_prob, math.log(0.5)), atol=1e-9, rtol=0)


def test_samples_are_levels():
    flow = of_one_pixel()
    torch.nn.init.constant_(flow.base.log_scale, 2.0)
    x = DequantisedImages(flow, levels=3).sample((200,))
    assert sorted(set(x.flatten().tolist())) == [0.0, 1.0, 2.0]


def test_it_starts_from_noisy_images():
    """A pixel that is always black has the spread of the noise, 1 / sqrt(12), and not none."""
    images = DequantisedImages(of_one_pixel(), levels=3)
    images.initialise(torch.zeros(5000, *PIXEL).double())
    base = images.distribution.base
    assert base.mean.item() == pytest.approx(0.5, abs=0.04)
    assert base.log_scale.exp().item() == pytest.approx(12**-0.5, abs=0.02)


def test_errors_say_what_was_expected():
    with pytest.raises(InputError, match="at least 2 levels of grey, got 1"):
        DequantisedImages(of_one_pixel(), levels=1)
    with pytest.raises(ShapeError, match=r"event_shape \(C, H, W\), got None"):
        DequantisedImages(Normal(3), levels=2)
    with pytest.raises(ShapeError, match=r"\(1, 1, 1\)\), got \(5, 4\)"):
        DequantisedImages(of_one_pixel(), levels=2).log_prob(torch.zeros(5, 4))
    for pixels in (torch.full((2, *PIXEL), 0.5), torch.full((2, *PIXEL), 3.0)):
        with pytest.raises(InputError, match=r"whole numbers from 0 to 2, got numbers between .*\(x \* 2\).round\(\)"):
            DequantisedImages(of_one_pixel(), levels=3).initialise(pixels)

"""The recipe of images of whole numbers."""

import math
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from bijecta.bijections import (
    ActNorm,
    Affine,
    AffineUnivariate,
    Bijection,
    Chain,
    Coupling,
    Logit,
    LULinear,
    Multiscale,
    Reshape,
    Squeeze,
)
from bijecta.distributions import ConditionalNormal, DequantisedImages, DiagonalNormal, Normal
from bijecta.errors import InputError
from bijecta.flows.flow import Flow
from bijecta.flows.parts import choose
from bijecta.flows.registry import recipe
from bijecta.nets import ContextScaler, ConvNet, ConvNetBeside

NOISE = {"uniform": False, "variational": True}
NOISE_STEPS = 2
MARGIN = 1e-6  # of the range of the pixels: noise may round to its edge, where the logit is infinite


@recipe
def pixel_glow(
    shape: Sequence[int],
    *,
    context: int = 0,
    grey_levels: int = 256,
    levels: int = 2,
    steps: int = 8,
    hidden: int = 64,
    noise: str = "variational",
    log_scale_limit: float = 3.0,
) -> DequantisedImages:
    r"""Build Glow for images of whole numbers: dequantisation, logit, and scales with learned priors.

    Every scale is a squeeze, then steps of ActNorm, 1x1 convolution and affine coupling. Half of the channels then
    leave for the latent y, as a normal whose mean and spread a network reads off the half h that stays:

    .. math:: \log p(h, y) = \log p(h) + \log \mathcal{N}(y;\, \mu(h), \sigma(h)^2)

    As a layer this is one more affine coupling, (y - mu(h)) / sigma(h), before a standard normal. The base has a mean
    and a spread for every latent number, of each class where the context is one-hot.

    Args:
        shape: shape (C, H, W) of one image; H and W divisible by 2 to the power of ``levels``.
        context: number of context features, for example classes as one-hot vectors.
        grey_levels: pixels are whole numbers from 0 to grey_levels - 1.
        levels: number of scales.
        steps: steps per scale.
        hidden: channels of the hidden images of every conditioner.
        noise: "variational" (a flow of the noise given the image) or "uniform".
        log_scale_limit: bound on every step's log-scale.

    Returns:
        The distribution; its ``distribution`` is the `Flow` of noisy images.

    Raises:
        InputError: the image cannot be halved that often.

    References:
        D. Kingma, P. Dhariwal (2018), Glow: Generative Flow with Invertible 1x1 Convolutions.
        J. Ho, X. Chen, A. Srinivas, Y. Duan, P. Abbeel (2019), Flow++ (variational dequantisation).

    Example:
        >>> from bijecta.flows.images import pixel_glow
        >>> pixel_glow([1, 8, 8], grey_levels=17, steps=1, hidden=8).sample(3).shape
        torch.Size([3, 1, 8, 8])
    """
    scales = image_scales(shape, context, levels, steps, hidden, AffineUnivariate(log_scale_limit))
    flow = image_flow(shape, context, grey_levels, [scales])
    return dequantised(flow, grey_levels, noise, hidden)


def image_flow(shape: Sequence[int], context: int, grey_levels: int, layers: Sequence[Bijection]) -> Flow:
    """Put the logit of noisy pixels before layers, and a base with a mean and a spread for every number behind."""
    size, beyond = prod(shape), MARGIN * grey_levels
    to_reals = [Reshape(shape, [size]), Logit(-beyond, grey_levels + beyond), Reshape([size], shape)]
    return Flow(
        Chain([*to_reals, *layers]),
        ConditionalNormal(size, context) if context else DiagonalNormal(size),
        event_shape=tuple(shape),
        context=context,
        embedding=ContextScaler(context) if context else None,
    )


def image_scales(
    shape: Sequence[int], context: int, levels: int, steps: int, hidden: int, univariate: AffineUnivariate
) -> Multiscale:
    """Make the scales; what leaves between two of them is first made standard normal given what stays."""
    channels, height, width = shape
    if height % 2**levels or width % 2**levels:
        raise InputError(
            f"pixel_glow expects sides divisible by {2**levels} for {levels} levels, got {height}x{width}."
        )
    made: list[Bijection] = []
    for level in range(levels):
        channels, height, width = 4 * channels, height // 2, width // 2
        settings = (channels, (height, width), context, hidden, univariate)
        layers: list[Bijection] = [Squeeze()]
        for _ in range(steps):
            mix = LULinear(channels, torch.randperm(channels).tolist(), event_ndim=3)
            layers += [ActNorm(channels, event_ndim=3), mix, change_second_half(*settings)]
        made.append(Chain(layers if level + 1 == levels else [*layers, change_second_half(*settings)]))
        channels //= 2
    return Multiscale(made, shape)


def change_second_half(
    channels: int, size: tuple[int, int], context: int, hidden: int, univariate: AffineUnivariate
) -> Coupling:
    """Couple: a network sees the first half of the channels and decides how the second half is moved and scaled."""
    kept = channels // 2
    net = ConvNet(kept, 2 * (channels - kept), context=context, hidden=hidden, size=size)
    return Coupling(univariate, [channel >= kept for channel in range(channels)], net, event_ndim=3)


def dequantised(flow: Flow, grey_levels: int, noise: str, hidden: int) -> DequantisedImages:
    """Make a distribution of whole numbers of a flow of noisy images."""
    shape = flow.event_shape or ()
    if not choose("noise", noise, NOISE):
        return DequantisedImages(flow, grey_levels)
    if shape[1] % 2 or shape[2] % 2:
        raise InputError(f"Variational noise expects even sides, got {shape[1]}x{shape[2]}. Take noise='uniform'.")
    return DequantisedImages(flow, grey_levels, noise_flow(shape, grey_levels, hidden))


def noise_flow(shape: Sequence[int], grey_levels: int, hidden: int) -> Flow:
    """Make the distribution of the noise in (0, 1) given the image: couplings that see all of the image."""
    channels, height, width = 4 * shape[0], shape[1] // 2, shape[2] // 2
    steps: list[Bijection] = []
    for step in range(2 * NOISE_STEPS):
        mask = [channel % 2 == step % 2 for channel in range(channels)]
        net = ConvNetBeside(channels // 2, channels, beside=(channels, height, width), hidden=hidden)
        steps.append(Coupling(AffineUnivariate(), mask, net, event_ndim=3))
    size = prod(shape)
    # The logit of a uniform number is logistic: with its spread, the noise starts close to uniform.
    spread = Affine(torch.zeros(size), torch.full((size,), math.pi / 3**0.5))
    to_reals = [Reshape(shape, [size]), Logit(), spread, Reshape([size], shape)]
    return Flow(
        Chain([*to_reals, Squeeze(), *steps, Reshape((channels, height, width), [size])]),
        Normal(size),
        event_shape=tuple(shape),
        context=size,
        embedding=SqueezedPixels(shape, grey_levels),
    )


class SqueezedPixels(nn.Module):
    """Bring flat images of whole numbers to [-1, 1] and into the order of a `Squeeze`, for networks behind one."""

    def __init__(self, shape: Sequence[int], grey_levels: int) -> None:
        super().__init__()
        self.shape, self.middle = tuple(shape), (grey_levels - 1) / 2

    def forward(self, context: Tensor) -> Tensor:
        r"""Arrange images (\*B, C * H * W)."""
        return Squeeze().forward((context / self.middle - 1).unflatten(-1, self.shape)).flatten(-3)

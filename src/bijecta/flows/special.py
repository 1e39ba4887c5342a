"""Recipes for angles and images."""

import math
from collections.abc import Sequence

import torch

from bijecta.bijections import (
    ActNorm,
    AffineUnivariate,
    Bijection,
    Chain,
    Coupling,
    Indexed,
    LULinear,
    Multiscale,
    RationalQuadraticSpline,
    Squeeze,
    Turn,
    Wrap,
)
from bijecta.distributions import CircularUniform, Normal, Product
from bijecta.errors import InputError
from bijecta.flows.flow import Flow
from bijecta.flows.parts import BASES, alternating_mask, choose, preprocessing
from bijecta.flows.registry import recipe
from bijecta.nets import MLP, ContextScaler, ConvNet


@recipe
def circular_nsf(
    features: int,
    *,
    circular: Sequence[bool] | None = None,
    context: int = 0,
    layers: int = 6,
    hidden: Sequence[int] = (64, 64),
    bins: int = 8,
    bound: float = 5.0,
) -> Flow:
    r"""Build a spline flow of angles, or of angles beside ordinary numbers.

    Angles are in radians and mean the same modulo 2 pi; they stay angles in every layer, their splines are periodic,
    networks see their cosine and sine, and their base is uniform. After every coupling the angles are turned by a
    learned amount (`Turn`), so that no direction is special.

    Args:
        features: number D of columns.
        circular: one boolean per column, True for an angle (default: all columns).
        context: number C of context features; 0 for an unconditional flow.
        layers: how many of these layers follow each other.
        hidden: widths of the hidden layers of every conditioner.
        bins: bins of every spline.
        bound: splines of ordinary columns act on [-bound, bound], in standard deviations.

    Returns:
        The flow.

    Raises:
        InputError: ``circular`` has not one entry per column.

    References:
        D. Rezende et al. (2020), Normalizing Flows on Tori and Spheres.

    Example:
        >>> from bijecta.flows import circular_nsf
        >>> circular_nsf(2).sample(100).abs().max() <= torch.pi
        tensor(True)
    """
    kinds = [True] * features if circular is None else [bool(kind) for kind in circular]
    if len(kinds) != features:
        raise InputError(f"circular_nsf expects one entry of circular per column, {features}; got {len(kinds)}.")
    angles = [column for column, kind in enumerate(kinds) if kind]
    numbers = [column for column, kind in enumerate(kinds) if not kind]
    steps: list[Bijection] = [Indexed(Wrap(), angles, features)] if angles else []
    steps += [Indexed(Chain(preprocessing(len(numbers))), numbers, features)] if numbers else []
    for layer in range(layers):
        steps += _circular_step(kinds, alternating_mask(features, layer), context, hidden, bins, bound)
    groups = [(CircularUniform(len(angles)), angles), (Normal(len(numbers)), numbers)]
    base = Product([d for d, group in groups if group], [group for _, group in groups if group])
    return Flow(
        Chain(steps),
        base,
        event_shape=(features,),
        context=context,
        embedding=ContextScaler(context) if context else None,
    )


def _circular_step(
    kinds: list[bool], mask: list[bool], context: int, hidden: Sequence[int], bins: int, bound: float
) -> list[Bijection]:
    """Couple by periodic and ordinary splines, then turn the angles and mix the numbers."""
    kept = [kind for kind, transformed in zip(kinds, mask, strict=True) if not transformed]
    changed = [kind for kind, transformed in zip(kinds, mask, strict=True) if transformed]
    spline = RationalQuadraticSpline(bins, [math.pi if angle else bound for angle in changed], circular=changed)
    net = MLP(len(kept), len(changed) * spline.n_params, context=context, hidden=hidden, circular=kept)
    step: list[Bijection] = [Coupling(spline, mask, net)]
    angles = [column for column, kind in enumerate(kinds) if kind]
    numbers = [column for column, kind in enumerate(kinds) if not kind]
    step += [Indexed(Turn(len(angles)), angles, len(kinds))] if angles else []
    step += [Indexed(LULinear(len(numbers)), numbers, len(kinds))] if numbers else []
    return step


@recipe
def glow_image(
    shape: Sequence[int],
    *,
    context: int = 0,
    levels: int = 2,
    steps: int = 4,
    hidden: int = 64,
    log_scale_limit: float = 3.0,
    base: str = "normal",
) -> Flow:
    """Build Glow for images: per level a squeeze, then steps of ActNorm, 1x1 convolution, affine coupling.

    After every level but the last, half of the channels leave for the latent, a vector of length C*H*W.

    Args:
        shape: shape (C, H, W) of one image; H and W divisible by 2 to the power of ``levels``.
        context: number of context features, for example classes as one-hot vectors.
        levels: number of scales.
        steps: steps per scale.
        hidden: channels of the hidden images of every conditioner.
        log_scale_limit: bound on every step's log-scale.
        base: as in the other recipes.

    Returns:
        The flow, of continuous pixel values.

    Raises:
        InputError: the image cannot be halved that often.

    References:
        D. Kingma, P. Dhariwal (2018), Glow: Generative Flow with Invertible 1x1 Convolutions.

    Example:
        >>> from bijecta.flows import glow_image
        >>> glow_image([1, 8, 8], levels=2, steps=1, hidden=8).sample(3).shape
        torch.Size([3, 1, 8, 8])
    """
    channels, height, width = shape
    if height % 2**levels or width % 2**levels:
        raise InputError(
            f"glow_image expects sides divisible by {2**levels} for {levels} levels, got {height}x{width}."
        )
    scales: list[Bijection] = []
    for _ in range(levels):
        channels *= 4
        scale: list[Bijection] = [Squeeze()]
        for _ in range(steps):
            scale += _image_step(channels, context, hidden, log_scale_limit)
        scales.append(Chain(scale))
        channels //= 2
    make_base = choose("base", base, BASES)
    size = shape[0] * height * width
    embedding = ContextScaler(context) if context else None
    return Flow(
        Multiscale(scales, shape), make_base(size), event_shape=tuple(shape), context=context, embedding=embedding
    )


def _image_step(channels: int, context: int, hidden: int, log_scale_limit: float) -> list[Bijection]:
    univariate = AffineUnivariate(log_scale_limit)
    mask = [channel >= channels // 2 for channel in range(channels)]
    net = ConvNet(channels - sum(mask), sum(mask) * univariate.n_params, context=context, hidden=hidden)
    mix = LULinear(channels, torch.randperm(channels).tolist(), event_ndim=3)
    return [ActNorm(channels, event_ndim=3), mix, Coupling(univariate, mask, net, event_ndim=3)]

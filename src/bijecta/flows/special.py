"""Recipes for angles, images and tables."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from bijecta.bijections import (
    ActNorm,
    AffineUnivariate,
    Bijection,
    Chain,
    Coupling,
    Indexed,
    Log,
    Logit,
    LULinear,
    Multiscale,
    RationalQuadraticSpline,
    Squeeze,
    Turn,
    Wrap,
)
from bijecta.data.schema import Column, Schema
from bijecta.distributions import CircularUniform, Dequantised, Distribution, Normal, Product
from bijecta.errors import InputError
from bijecta.flows.flow import Flow
from bijecta.flows.parts import BASES, alternating_mask, choose, preprocessing
from bijecta.flows.registry import build, recipe
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


@recipe
def table(
    schema: Mapping[str, Any], *, context: int = 0, recipe: str = "nsf", arguments: Mapping[str, Any] | None = None
) -> Distribution:
    """Build a flow of a table whose columns have kinds: real, positive, interval, periodic, integer.

    Every column passes through the exact map of its kind (log, logit, wrap) before the flow; integers get uniform
    noise, which makes log_prob a bound. Densities are per unit of the columns, samples in their support.

    Args:
        schema: the columns, as `Schema.to_json` gives them.
        context: number of context features.
        recipe: name of the recipe for the columns together. A table with periodic columns takes circular_nsf.
        arguments: further arguments of that recipe.

    Returns:
        A `Flow`, or a `Dequantised` flow where there are integer columns.

    Raises:
        InputError: a category column; or periodic columns with a recipe that has no periodic form.

    Example:
        >>> from bijecta.data import Column, Schema
        >>> from bijecta.flows import table
        >>> columns = Schema((Column("mass", "positive"), Column("angle", "periodic", low=0.0, high=360.0)))
        >>> bool((table(columns.to_json()).sample(100)[:, 0] > 0).all())
        True
    """
    columns = Schema.from_json(dict(schema)).columns
    circular = [column.kind == "periodic" for column in columns]
    options = dict(arguments or {})
    if any(circular):
        recipe = _circular_recipe(recipe)
        options["circular"] = circular
    flow = build(recipe, {"features": len(columns), "context": context, **options})
    if not isinstance(flow, Flow):
        raise InputError(f"The recipe {recipe} does not build a Flow of columns; choose another one.")
    maps = [
        Indexed(change, [number], len(columns))
        for number, column in enumerate(columns)
        if (change := column_map(column)) is not None
    ]
    whole = Flow(
        Chain([*maps, flow.bijection]),
        flow.base,
        event_shape=(len(columns),),
        context=context,
        embedding=flow.embedding,
    )
    integers = [number for number, column in enumerate(columns) if column.kind == "integer"]
    return Dequantised(whole, integers) if integers else whole


def column_map(column: Column) -> Bijection | None:
    """Choose the exact map of a column's kind to the real line (or the circle); None for the identity."""
    if column.kind == "category":
        raise InputError(
            f"The column {column.name!r} holds categories, which a continuous density cannot describe. "
            "Drop it, or use it as context after encoding it as numbers."
        )
    if column.kind == "positive":
        return Log(0.0 if column.low is None else column.low)
    if column.kind in ("interval", "periodic"):
        if column.low is None or column.high is None:
            raise InputError(f"The {column.kind} column {column.name!r} needs its low and high end.")
        return (Logit if column.kind == "interval" else Wrap)(column.low, column.high)
    return None


def _circular_recipe(name: str) -> str:
    if name not in ("nsf", "circular_nsf"):
        raise InputError(f"The recipe {name} has no form for periodic columns. Use nsf, or declare the column as real.")
    return "circular_nsf"

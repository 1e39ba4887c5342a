"""Recipes: functions with JSON-able arguments that return a flow.

Every recipe begins with a `Standardise` layer that `fit` sets from the data: log_prob is per unit of the data.
Weights and permutations come from torch's global generator; `torch.manual_seed` makes them repeatable.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from bijecta.bijections import (
    ActNorm,
    AdditiveUnivariate,
    AffineUnivariate,
    Autoregressive,
    Bijection,
    Chain,
    Coupling,
    CubicSpline,
    Elementwise,
    Inverse,
    LinearSpline,
    LULinear,
    QuadraticSpline,
    RationalQuadraticSpline,
    Standardise,
    Univariate,
)
from bijecta.distributions import DiagonalNormal, Distribution, GaussianMixture, Normal, StudentT
from bijecta.errors import InputError
from bijecta.flows.flow import Flow
from bijecta.flows.registry import recipe
from bijecta.nets import MLP, ContextScaler, MaskedMLP, SeparateMLPs

Option = TypeVar("Option")

SPLINES: dict[str, Callable[[int, float], Univariate]] = {
    "rational_quadratic": lambda bins, bound: RationalQuadraticSpline(bins, bound),
    "linear": lambda bins, bound: LinearSpline(bins, bound),
    "quadratic": lambda bins, bound: QuadraticSpline(bins, bound),
    "cubic": lambda bins, bound: CubicSpline(bins, bound),
}

BASES: dict[str, Callable[[int], Distribution]] = {
    "normal": Normal,
    "diagonal": DiagonalNormal,
    "student": StudentT,
    "mixture": lambda features: GaussianMixture(features, components=16),
}


@recipe
def nice(
    features: int, *, context: int = 0, layers: int = 6, hidden: Sequence[int] = (64, 64), base: str = "normal"
) -> Flow:
    """Build NICE: additive couplings, volume preserving, and one learned scale per feature at the end.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        layers: how many of these layers follow each other.
        hidden: widths of the hidden layers of every conditioner.
        base: "normal", "diagonal" (learned mean and spread), "student" (heavy tails) or "mixture".

    Returns:
        The flow.

    References:
        L. Dinh, D. Krueger, Y. Bengio (2014), NICE: Non-linear Independent Components Estimation.

    Example:
        >>> from bijecta.flows import nice
        >>> nice(3).sample(5).shape
        torch.Size([5, 3])
    """
    couplings = [
        coupling(AdditiveUnivariate(), alternating_mask(features, layer), context, hidden) for layer in range(layers)
    ]
    return assemble(features, context, [*couplings, Elementwise(AffineUnivariate(), features)], base)


@recipe
def realnvp(
    features: int,
    *,
    context: int = 0,
    layers: int = 8,
    hidden: Sequence[int] = (64, 64),
    masks: str = "alternating",
    networks: str = "joint",
    log_scale_limit: float = 3.0,
    base: str = "normal",
) -> Flow:
    """Build RealNVP: affine couplings with bounded log-scales.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        layers: how many of these layers follow each other.
        hidden: widths of the hidden layers of every conditioner.
        base: "normal", "diagonal" (learned mean and spread), "student" (heavy tails) or "mixture".
        masks: "alternating" (even, odd features in turn) or "random" (a random half, then its complement, and so on).
        networks: "joint" (one network for shift and log-scale) or "separate" (one each).
        log_scale_limit: bound on every layer's log-scale.

    Returns:
        The flow.

    References:
        L. Dinh, J. Sohl-Dickstein, S. Bengio (2017), Density estimation using Real NVP.

    Example:
        >>> import torch
        >>> from bijecta.flows import realnvp
        >>> realnvp(2, layers=4, context=1).log_prob(torch.zeros(5, 2), torch.zeros(5, 1)).shape
        torch.Size([5])
    """
    make_mask = choose("masks", masks, {"alternating": alternating_mask, "random": random_masks(features)})
    separate = choose("networks", networks, {"joint": False, "separate": True})
    couplings = [
        coupling(AffineUnivariate(log_scale_limit), make_mask(features, layer), context, hidden, separate=separate)
        for layer in range(layers)
    ]
    return assemble(features, context, couplings, base)


@recipe
def glow(
    features: int,
    *,
    context: int = 0,
    layers: int = 8,
    hidden: Sequence[int] = (64, 64),
    log_scale_limit: float = 3.0,
    base: str = "normal",
) -> Flow:
    """Build Glow for vectors: in every step ActNorm, a learned linear map (LU), an affine coupling.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        layers: how many of these layers follow each other.
        hidden: widths of the hidden layers of every conditioner.
        base: "normal", "diagonal" (learned mean and spread), "student" (heavy tails) or "mixture".
        log_scale_limit: bound on every layer's log-scale.

    Returns:
        The flow.

    References:
        D. Kingma, P. Dhariwal (2018), Glow: Generative Flow with Invertible 1x1 Convolutions.

    Example:
        >>> from bijecta.flows import glow
        >>> glow(3).sample(5).shape
        torch.Size([5, 3])
    """
    steps: list[Bijection] = []
    for layer in range(layers):
        steps += [ActNorm(features), LULinear(features, torch.randperm(features).tolist())]
        steps += [coupling(AffineUnivariate(log_scale_limit), alternating_mask(features, layer), context, hidden)]
    return assemble(features, context, steps, base)


@recipe
def nsf(
    features: int,
    *,
    context: int = 0,
    layers: int = 6,
    hidden: Sequence[int] = (64, 64),
    bins: int = 8,
    bound: float = 5.0,
    spline: str = "rational_quadratic",
    base: str = "normal",
) -> Flow:
    """Build a neural spline flow: spline couplings between learned linear maps.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        layers: how many of these layers follow each other.
        hidden: widths of the hidden layers of every conditioner.
        base: "normal", "diagonal" (learned mean and spread), "student" (heavy tails) or "mixture".
        bins: bins of every spline.
        bound: the splines act on [-bound, bound], in standard deviations; outside they are the identity.
        spline: "rational_quadratic", "linear", "quadratic" or "cubic".

    Returns:
        The flow.

    References:
        C. Durkan, A. Bekasov, I. Murray, G. Papamakarios (2019), Neural Spline Flows.

    Example:
        >>> import torch
        >>> from bijecta.flows import nsf
        >>> nsf(2, bins=4).log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])
    """
    make_spline = choose("spline", spline, SPLINES)
    steps: list[Bijection] = []
    for layer in range(layers):
        steps += [coupling(make_spline(bins, bound), alternating_mask(features, layer), context, hidden)]
        steps += [LULinear(features, torch.randperm(features).tolist() if features > 2 else None)]
    return assemble(features, context, steps, base)


@recipe
def nsf_autoregressive(
    features: int,
    *,
    context: int = 0,
    layers: int = 4,
    hidden: Sequence[int] = (64, 64),
    bins: int = 8,
    bound: float = 5.0,
    spline: str = "rational_quadratic",
    base: str = "normal",
) -> Flow:
    """Build an autoregressive neural spline flow: fast density, sampling feature by feature.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        layers: how many of these layers follow each other.
        hidden: widths of the hidden layers of every conditioner.
        base: "normal", "diagonal" (learned mean and spread), "student" (heavy tails) or "mixture".
        bins: bins of every spline.
        bound: the splines act on [-bound, bound], in standard deviations.
        spline: "rational_quadratic", "linear", "quadratic" or "cubic".

    Returns:
        The flow.

    References:
        C. Durkan, A. Bekasov, I. Murray, G. Papamakarios (2019), Neural Spline Flows.

    Example:
        >>> from bijecta.flows import nsf_autoregressive
        >>> nsf_autoregressive(3, layers=2).sample(5).shape
        torch.Size([5, 3])
    """
    make_spline = choose("spline", spline, SPLINES)
    steps: list[Bijection] = []
    for layer in range(layers):
        steps += [autoregressive(make_spline(bins, bound), features, layer, context, hidden)]
        steps += [LULinear(features)]
    return assemble(features, context, steps, base)


@recipe
def made(features: int, *, context: int = 0, hidden: Sequence[int] = (64, 64), base: str = "normal") -> Flow:
    """Build MADE with Gaussian conditionals: one affine autoregressive layer.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        hidden: widths of the hidden layers of every conditioner.
        base: "normal", "diagonal" (learned mean and spread), "student" (heavy tails) or "mixture".

    Returns:
        The flow.

    References:
        M. Germain, K. Gregor, I. Murray, H. Larochelle (2015), MADE: Masked Autoencoder for Distribution Estimation.

    Example:
        >>> from bijecta.flows import made
        >>> made(3).sample(5).shape
        torch.Size([5, 3])
    """
    return assemble(features, context, [autoregressive(AffineUnivariate(), features, 0, context, hidden)], base)


@recipe
def maf(
    features: int,
    *,
    context: int = 0,
    layers: int = 5,
    hidden: Sequence[int] = (64, 64),
    log_scale_limit: float = 3.0,
    base: str = "normal",
) -> Flow:
    """Build a masked autoregressive flow: affine layers, each in the reverse order of the one before.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        layers: how many of these layers follow each other.
        hidden: widths of the hidden layers of every conditioner.
        base: "normal", "diagonal" (learned mean and spread), "student" (heavy tails) or "mixture".
        log_scale_limit: bound on every layer's log-scale.

    Returns:
        The flow: fast density, sampling feature by feature.

    References:
        G. Papamakarios, T. Pavlakou, I. Murray (2017), Masked Autoregressive Flow for Density Estimation.

    Example:
        >>> import torch
        >>> from bijecta.flows import maf
        >>> maf(3).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """
    univariate = AffineUnivariate(log_scale_limit)
    steps = [autoregressive(univariate, features, layer, context, hidden) for layer in range(layers)]
    return assemble(features, context, steps, base)


@recipe
def iaf(
    features: int,
    *,
    context: int = 0,
    layers: int = 5,
    hidden: Sequence[int] = (64, 64),
    log_scale_limit: float = 3.0,
    base: str = "normal",
) -> Flow:
    """Build an inverse autoregressive flow: fast sampling, density feature by feature. For variational inference.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        layers: how many of these layers follow each other.
        hidden: widths of the hidden layers of every conditioner.
        base: "normal", "diagonal" (learned mean and spread), "student" (heavy tails) or "mixture".
        log_scale_limit: bound on every layer's log-scale.

    Returns:
        The flow.

    References:
        D. Kingma et al. (2016), Improved Variational Inference with Inverse Autoregressive Flow.

    Example:
        >>> from bijecta.flows import iaf
        >>> iaf(3).sample(5).shape
        torch.Size([5, 3])
    """
    univariate = AffineUnivariate(log_scale_limit)
    steps = [Inverse(autoregressive(univariate, features, layer, context, hidden)) for layer in range(layers)]
    return assemble(features, context, steps, base)


def assemble(features: int, context: int, layers: Sequence[Bijection], base: str) -> Flow:
    """Put a standardising layer before the layers, a base behind them, and a scaler on the context."""
    make_base = choose("base", base, BASES)
    return Flow(
        Chain([Standardise(features), *layers]),
        make_base(features),
        event_shape=(features,),
        context=context,
        embedding=ContextScaler(context) if context else None,
    )


def coupling(
    univariate: Univariate, mask: Sequence[bool], context: int, hidden: Sequence[int], *, separate: bool = False
) -> Coupling:
    """Make a coupling of vectors with a multilayer perceptron as conditioner."""
    kept, transformed = len(mask) - sum(mask), sum(mask)
    net = (
        SeparateMLPs(kept, transformed, univariate.n_params, context=context, hidden=hidden)
        if separate
        else MLP(kept, transformed * univariate.n_params, context=context, hidden=hidden)
    )
    return Coupling(univariate, mask, net)


def autoregressive(
    univariate: Univariate, features: int, layer: int, context: int, hidden: Sequence[int]
) -> Autoregressive:
    """Make an autoregressive layer; odd layers see the features in reverse order."""
    order = list(range(features))[:: -1 if layer % 2 else 1]
    net = MaskedMLP(features, univariate.n_params, context=context, hidden=hidden, order=order)
    return Autoregressive(univariate, net)


def alternating_mask(features: int, layer: int) -> list[bool]:
    """Transform the odd features in even layers and the even ones in odd layers; a single feature always."""
    return [features == 1 or feature % 2 != layer % 2 for feature in range(features)]


def random_masks(features: int) -> Callable[[int, int], list[bool]]:
    """Transform a random half of the features in even layers, and the other half in the odd layer that follows."""
    halves: list[list[bool]] = []

    def mask(_: int, layer: int) -> list[bool]:
        while len(halves) <= layer:
            chosen = set(torch.randperm(features)[: (features + 1) // 2].tolist())
            half = [feature in chosen for feature in range(features)]
            halves.extend([half, half if features == 1 else [not chosen for chosen in half]])
        return halves[layer]

    return mask


def choose(argument: str, name: str, options: dict[str, Option]) -> Option:
    """Look an option up by name, or say which there are."""
    if name not in options:
        raise InputError(f"Expected {argument} to be one of {', '.join(options)}; got {name!r}.")
    return options[name]

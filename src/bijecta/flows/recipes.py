"""Recipes: functions with JSON-able arguments that return a flow.

Every recipe begins with `Standardise` and `Whiten`, which `fit` sets from the data: log_prob is per unit of the data,
and the flow begins as their full-covariance Gaussian.
Weights and permutations come from torch's global generator; `torch.manual_seed` makes them repeatable.
"""

from collections.abc import Sequence

import torch

from bijecta.bijections import (
    ActNorm,
    AdditiveUnivariate,
    AffineUnivariate,
    Bijection,
    Elementwise,
    Inverse,
    LULinear,
    RationalQuadraticSpline,
)
from bijecta.flows.flow import Flow
from bijecta.flows.parts import SPLINES, alternating_mask, assemble, autoregressive, choose, coupling, random_masks
from bijecta.flows.registry import recipe


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
    bins: int = 16,
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
    bins: int = 16,
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
def made(
    features: int,
    *,
    context: int = 0,
    hidden: Sequence[int] = (64, 64),
    conditionals: str = "spline",
    bins: int = 16,
    base: str = "normal",
) -> Flow:
    """Build MADE: one autoregressive layer, which gives every feature a distribution given those before it.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        hidden: widths of the hidden layers of every conditioner.
        conditionals: "spline" for distributions of any shape, or "normal" as in the paper.
        bins: bins of every spline.
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
    univariates = {"spline": RationalQuadraticSpline(bins), "normal": AffineUnivariate()}
    univariate = choose("conditionals", conditionals, univariates)
    return assemble(features, context, [autoregressive(univariate, features, 0, context, hidden)], base)


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

"""What recipes are made of: masks, layers, and the frame around them."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from bijecta.bijections import (
    Autoregressive,
    Bijection,
    Chain,
    Coupling,
    CubicSpline,
    LinearSpline,
    QuadraticSpline,
    RationalQuadraticSpline,
    Standardise,
    Univariate,
    Whiten,
)
from bijecta.distributions import DiagonalNormal, Distribution, GaussianMixture, Normal, Resampled, StudentT
from bijecta.errors import InputError
from bijecta.flows.flow import Flow
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
    "resampled": Resampled,
}


def assemble(features: int, context: int, layers: Sequence[Bijection], base: str) -> Flow:
    """Put standardising and whitening before the layers, a base behind them, and a scaler on the context."""
    make_base = choose("base", base, BASES)
    return Flow(
        Chain([*preprocessing(features), *layers]),
        make_base(features),
        event_shape=(features,),
        context=context,
        embedding=ContextScaler(context) if context else None,
    )


def preprocessing(features: int) -> list[Bijection]:
    """Centre, scale and decorrelate: with these the layers start from the full-covariance Gaussian of the data."""
    return [Standardise(features), *([Whiten(features)] if features > 1 else [])]


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

"""The recipe of sets of particles."""

from collections.abc import Sequence

import torch

from bijecta.bijections import (
    ActNorm,
    Bijection,
    Chain,
    Coupling,
    LULinear,
    Permute,
    RationalQuadraticSpline,
    Reshape,
    ScaleMean,
)
from bijecta.distributions import Normal
from bijecta.errors import InputError
from bijecta.flows.flow import Flow
from bijecta.flows.parts import alternating_mask
from bijecta.flows.registry import recipe
from bijecta.nets import ContextScaler, DeepSets


@recipe
def set_flow(
    features: int,
    *,
    coordinates: int = 3,
    context: int = 0,
    layers: int = 6,
    hidden: Sequence[int] = (64, 64),
    bins: int = 16,
    bound: float = 5.0,
) -> Flow:
    r"""Build a flow of sets: its density does not change when particles of the same kind trade places.

    .. math:: p(x_{\pi(1)}, \dots, x_{\pi(n)} \mid c) = p(x_1, \dots, x_n \mid c) \quad \text{for every order } \pi

    Every step acts on all particles alike: a spline coupling moves some coordinates of a particle given its others and
    the mean of what a network reads off all particles (`DeepSets`); linear maps mix the coordinates of a particle, and
    scale the mean of all of them.
    The base is the same for every order, hence so is the density.

    Args:
        features: number of columns, particles times coordinates; the coordinates of one particle side by side.
        coordinates: numbers per particle, at least 2.
        context: number C of context features; 0 for an unconditional flow.
        layers: how many of these steps follow each other.
        hidden: widths of the hidden layers of every conditioner.
        bins: bins of every spline.
        bound: the splines act on [-bound, bound], in standard deviations; outside they are the identity.

    Returns:
        The flow.

    Raises:
        InputError: there is only one coordinate, or the columns are not those of whole particles.

    References:
        M. Zaheer et al. (2017), Deep Sets. J. Köhler, L. Klein, F. Noé (2020), Equivariant Flows: Exact Likelihood
        Generative Learning for Symmetric Densities.

    Example:
        >>> import torch
        >>> from bijecta.flows import set_flow
        >>> flow = set_flow(6, coordinates=2, layers=2)
        >>> flow.log_prob(torch.tensor([[1.0, 2, 3, 4, 5, 6], [5.0, 6, 3, 4, 1, 2]])).diff().abs() < 1e-5
        tensor([True])
    """
    if coordinates < 2 or features % coordinates:
        raise InputError(
            f"set_flow expects whole particles of at least 2 coordinates, got {features} columns for {coordinates}. "
            "One number per particle leaves nothing to couple with: take Shuffled(nsf(n)) for n of them."
        )
    particles = features // coordinates
    # A picture of n x 1 pixels: what treats all pixels alike treats all particles alike.
    picture = [coordinates, particles, 1]
    steps: list[Bijection] = [Permute(by_coordinate(particles, coordinates)), Reshape([features], picture)]
    for layer in range(layers):
        spline, mask = RationalQuadraticSpline(bins, bound), alternating_mask(coordinates, layer)
        net = DeepSets(coordinates - sum(mask), sum(mask) * spline.n_params, context=context, hidden=hidden)
        order = torch.randperm(coordinates).tolist() if coordinates > 2 else None
        steps += [ScaleMean(coordinates), ActNorm(coordinates, event_ndim=3)]
        steps += [Coupling(spline, mask, net, event_ndim=3), LULinear(coordinates, order, event_ndim=3)]
    return Flow(
        Chain([*steps, Reshape(picture, [features])]),
        Normal(features),
        event_shape=(features,),
        context=context,
        embedding=ContextScaler(context) if context else None,
    )


def by_coordinate(particles: int, coordinates: int) -> list[int]:
    """List the columns one coordinate of all particles after the other."""
    return [particle * coordinates + coordinate for coordinate in range(coordinates) for particle in range(particles)]

"""Recipe for directions: flows on the sphere."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bijecta.bijections import Bijection, Chain, Coupling, Cylinder, Inverse, RationalQuadraticSpline, Rotate
from bijecta.distributions import CircularUniform, Product, UniformBox
from bijecta.errors import InputError
from bijecta.flows.flow import Flow
from bijecta.flows.registry import recipe
from bijecta.nets import MLP, ContextScaler


@recipe
def sphere(
    features: int = 3,
    *,
    context: int = 0,
    layers: int = 6,
    hidden: Sequence[int] = (64, 64),
    bins: int = 8,
) -> Flow:
    r"""Build a spline flow of directions: of points on the unit sphere.

    Every layer turns the sphere, unrolls it to the cylinder around it (`Cylinder`, which keeps areas), moves the height
    h by a spline on [-1, 1] given the angle, then the angle by a periodic spline given the height, and rolls it up
    again. At the poles the first spline has slope 1 for every angle, and the second one fades to the identity like
    :math:`1 - h^2`: the density is finite and continuous everywhere. The latent is on the cylinder too, where uniform
    means uniform on the sphere. Densities are per unit area of the sphere, so they integrate to one over it.

    Args:
        features: number of columns: 3, a unit vector (of other vectors only the direction counts).
        context: number C of context features; 0 for an unconditional flow.
        layers: how many of these layers follow each other.
        hidden: widths of the hidden layers of every conditioner.
        bins: bins of every spline.

    Returns:
        The flow.

    Raises:
        InputError: ``features`` is not 3.

    References:
        D. Rezende et al. (2020), Normalizing Flows on Tori and Spheres.

    Example:
        >>> from bijecta.flows import sphere
        >>> sphere().sample(100).norm(dim=-1).sub(1).abs().max() < 1e-5
        tensor(True)
    """
    if features != 3:
        raise InputError(
            f"The recipe sphere expects 3 columns, a unit vector; got {features}. "
            "Latitude b and longitude l are (cos b cos l, cos b sin l, sin b)."
        )
    steps = [step for _ in range(layers) for step in _layer(context, hidden, bins)]
    height, angle = UniformBox(-torch.ones(1), torch.ones(1)), CircularUniform(1)
    return Flow(
        Chain([*steps, Cylinder()]),
        Product([height, angle], [[0], [1]]),
        event_shape=(3,),
        context=context,
        embedding=ContextScaler(context) if context else None,
    )


def _layer(context: int, hidden: Sequence[int], bins: int) -> list[Bijection]:
    """Turn, unroll, move heights given angles and angles given heights, roll up."""
    height = RationalQuadraticSpline(bins, 1.0)
    angle = RationalQuadraticSpline(bins, math.pi, circular=True)
    given_angle = MLP(1, height.n_params, context=context, hidden=hidden, circular=[True])
    given_height = FadingMLP(MLP(1, angle.n_params, context=context, hidden=hidden))
    return [
        Rotate(),
        Cylinder(),
        Coupling(height, [True, False], given_angle),
        Coupling(angle, [False, True], given_height),
        Inverse(Cylinder()),
    ]


class FadingMLP(nn.Module):
    """Let the parameters that a network computes from a height fade to zero towards the poles.

    Args:
        net: the network, of one feature, the height.
    """

    def __init__(self, net: MLP) -> None:
        super().__init__()
        self.net = net

    def forward(self, height: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Compute the parameters of heights (\*B, 1)."""
        params: Tensor = self.net(height, context)
        return ((1 - height) * (1 + height)).clamp_min(0) * params

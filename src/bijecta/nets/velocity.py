"""Velocity fields: networks that say how fast a point moves, given where it is and when."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from bijecta.errors import InputError
from bijecta.functional.tangents import SMOOTH_ACTIVATIONS, perceptron_tangents
from bijecta.functional.trace import jacobian_products
from bijecta.nets.inputs import check_context, check_features
from bijecta.nets.mlp import linear, zero_linear


class Velocity(nn.Module, ABC):
    r"""A field v(z, t, c) that moves points: :math:`dz/dt = v(z, t, c)`.

    Attributes:
        features: number D of coordinates of a point.
        context: number C of context features.
    """

    features: int
    context: int

    @abstractmethod
    def forward(self, z: Tensor, time: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Compute the velocity.

        Args:
            z: points of shape (\*B, D).
            time: one time per point, of shape (\*B, 1).
            context: of shape (\*B, C), or broadcastable to it.

        Returns:
            The velocity, of shape (\*B, D).
        """

    def with_products(self, z: Tensor, time: Tensor, context: Tensor | None, probes: Tensor) -> tuple[Tensor, Tensor]:
        r"""Compute the velocity (\*B, D), and (K, \*B, D) products of its Jacobian with the probes (K, \*B, D)."""
        return jacobian_products(lambda z: self(z, time, context), z, probes)


class VelocityMLP(Velocity):
    r"""A velocity field made of a multilayer perceptron.

    .. math:: h_0 = [z, t, c], \qquad h_{l+1} = \phi(W_l h_l + b_l), \qquad v = W_L h_L + b_L

    The last layer starts at zero: nothing moves, the flow starts as the identity. The activation is smooth, because
    the density sees its derivative and training the derivative of that.

    Args:
        features: number D of coordinates.
        context: number C of context features.
        hidden: widths of the hidden layers.
        activation: "tanh", "silu" or "softplus".

    Raises:
        InputError: the activation is not one of these.

    References:
        W. Grathwohl, R. Chen, J. Bettencourt, I. Sutskever, D. Duvenaud (2019), FFJORD.

    Example:
        >>> import torch
        >>> from bijecta.nets import VelocityMLP
        >>> VelocityMLP(3)(torch.ones(5, 3), torch.zeros(5, 1)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self, features: int, *, context: int = 0, hidden: Sequence[int] = (64, 64, 64), activation: str = "silu"
    ) -> None:
        super().__init__()
        if activation not in SMOOTH_ACTIVATIONS:
            raise InputError(f"Expected a smooth activation among {', '.join(SMOOTH_ACTIVATIONS)}; got {activation!r}.")
        self.features, self.context = features, context
        self.activation = activation
        widths = [features + 1 + context, *hidden]
        self.layers = nn.ModuleList(linear(a, b) for a, b in pairwise(widths))
        self.last = zero_linear(widths[-1], features)

    def forward(self, z: Tensor, time: Tensor, context: Tensor | None = None) -> Tensor:
        return self._push(z, time, context, z.new_empty(0, *z.shape))[0]

    def with_products(self, z: Tensor, time: Tensor, context: Tensor | None, probes: Tensor) -> tuple[Tensor, Tensor]:
        """Push the probes through the layers beside the values: many times faster than differentiating."""
        return self._push(z, time, context, probes)

    def _push(self, z: Tensor, time: Tensor, context: Tensor | None, probes: Tensor) -> tuple[Tensor, Tensor]:
        parameters = [tensor for layer in (*self.layers, self.last) for tensor in (layer.weight, layer.bias)]
        return perceptron_tangents(self.activation, self._inputs(z, time, context), probes, parameters)

    def _inputs(self, z: Tensor, time: Tensor, context: Tensor | None) -> Tensor:
        check_features(z, self.features)
        context = check_context(context, self.context, z.shape[:-1])
        return torch.cat([z, time] if context is None else [z, time, context.to(z.dtype)], -1)

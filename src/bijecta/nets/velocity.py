"""Velocity fields: networks that say how fast a point moves, given where it is and when."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from bijecta.errors import InputError
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
        self.activation = SMOOTH_ACTIVATIONS[activation]
        widths = [features + 1 + context, *hidden]
        self.layers = nn.ModuleList(linear(a, b) for a, b in pairwise(widths))
        self.last = zero_linear(widths[-1], features)

    def forward(self, z: Tensor, time: Tensor, context: Tensor | None = None) -> Tensor:
        h = self._inputs(z, time, context)
        for layer in self.layers:
            h, _ = self.activation(layer(h))
        velocity: Tensor = self.last(h)
        return velocity

    def with_products(self, z: Tensor, time: Tensor, context: Tensor | None, probes: Tensor) -> tuple[Tensor, Tensor]:
        """Push the probes through the layers beside the values: a few times faster than differentiating."""
        h, products = self._inputs(z, time, context), probes
        weight: Tensor
        for number, layer in enumerate(self.layers):
            h, slope = self.activation(layer(h))
            # A probe moves z and neither time nor context: of the first layer it meets the first D columns.
            weight = self._columns_of_z(layer) if number == 0 else layer.weight  # type: ignore[assignment]
            products = slope * functional.linear(products, weight)
        # Without hidden layers the last one is also the first.
        weight = self.last.weight if len(self.layers) else self._columns_of_z(self.last)
        return self.last(h), functional.linear(products, weight)

    def _inputs(self, z: Tensor, time: Tensor, context: Tensor | None) -> Tensor:
        check_features(z, self.features)
        context = check_context(context, self.context, z.shape[:-1])
        return torch.cat([z, time] if context is None else [z, time, context.to(z.dtype)], -1)

    def _columns_of_z(self, layer: nn.Module) -> Tensor:
        weight: Tensor = layer.weight  # type: ignore[assignment]
        return weight[:, : self.features]


def _tanh(a: Tensor) -> tuple[Tensor, Tensor]:
    value = torch.tanh(a)
    return value, 1 - value.square()


def _silu(a: Tensor) -> tuple[Tensor, Tensor]:
    gate = torch.sigmoid(a)
    return a * gate, gate * (1 + a * (1 - gate))


def _softplus(a: Tensor) -> tuple[Tensor, Tensor]:
    return functional.softplus(a), torch.sigmoid(a)


SMOOTH_ACTIVATIONS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "tanh": _tanh,
    "silu": _silu,
    "softplus": _softplus,
}
"""Activations by name, each returning its value and its derivative."""

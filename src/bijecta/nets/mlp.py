"""The multilayer perceptron, default conditioner of vectors."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from bijecta.nets.inputs import CircularEmbedding, activation_named, check_context, check_features


class MLP(nn.Module):
    r"""Compute numbers from features and a context by a multilayer perceptron.

    .. math:: h_0 = [x, c], \qquad h_{l+1} = \phi(W_l h_l + b_l), \qquad \theta = W_L h_L + b_L

    With ``residual`` a hidden layer of the same width as the one before is added to it,
    :math:`h_{l+1} = h_l + \phi(W_l h_l + b_l)`. The last layer starts at zero, so that a map whose parameters
    come from the network starts as the identity.

    Args:
        features: number D of input features; 0 is allowed, then only the context enters.
        out_features: number of outputs.
        context: number C of context features.
        hidden: widths of the hidden layers.
        activation: "relu", "tanh", "silu", "gelu" or "elu".
        residual: whether to add skip connections.
        circular: one boolean per feature, True for an angle in radians.

    Raises:
        ShapeError: at the call, when the input or the context has the wrong shape.

    Example:
        >>> import torch
        >>> from bijecta.nets import MLP
        >>> MLP(3, 8, context=2)(torch.ones(5, 3), torch.ones(5, 2)).shape
        torch.Size([5, 8])
    """

    def __init__(
        self,
        features: int,
        out_features: int,
        *,
        context: int = 0,
        hidden: Sequence[int] = (64, 64),
        activation: str = "relu",
        residual: bool = False,
        circular: Sequence[bool] = (),
    ) -> None:
        super().__init__()
        self.features, self.context, self.residual = features, context, residual
        self.activation = activation_named(activation)
        self.embedding = CircularEmbedding(circular)
        widths = [features * self.embedding.width + context, *hidden]
        self.layers = nn.ModuleList(linear(a, b) for a, b in pairwise(widths))
        self.last = zero_linear(widths[-1], out_features)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Compute the outputs (\*B, out_features) of x (\*B, D) and a context (\*B, C)."""
        check_features(x, self.features)
        context = check_context(context, self.context, x.shape[:-1])
        h = self.embedding(x)
        h = h if context is None else torch.cat([h, context.to(h.dtype)], -1)
        for number, layer in enumerate(self.layers):
            update = self.activation(layer(h))
            h = h + update if self.residual and number and h.shape == update.shape else update
        out: Tensor = self.last(h)
        return out


class SeparateMLPs(nn.Module):
    r"""Compute each kind of parameter (shift, log-scale, ...) by a perceptron of its own.

    Args:
        features: number of input features.
        transformed: number T of features whose parameters are computed.
        n_params: kinds of parameters, and so the number of networks.
        context: number C of context features.
        hidden: widths of the hidden layers of each network.

    Example:
        >>> import torch
        >>> from bijecta.nets import SeparateMLPs
        >>> SeparateMLPs(3, transformed=4, n_params=2)(torch.ones(5, 3)).shape
        torch.Size([5, 8])
    """

    def __init__(
        self, features: int, transformed: int, n_params: int, *, context: int = 0, hidden: Sequence[int] = (64, 64)
    ) -> None:
        super().__init__()
        self.nets = nn.ModuleList(MLP(features, transformed, context=context, hidden=hidden) for _ in range(n_params))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Compute (\*B, T * n_params) numbers, those of one transformed feature side by side."""
        return torch.stack([net(x, context) for net in self.nets], -1).flatten(-2)


def linear(features: int, out_features: int) -> nn.Linear:
    """Make a linear layer with weights of variance 1 / features, also for zero input features."""
    # torch warns about weights without elements: make one column, then keep as many as there are inputs.
    layer = nn.Linear(max(1, features), out_features)
    bound = 1 / max(1, features) ** 0.5
    with torch.no_grad():
        weight = layer.weight.uniform_(-bound * 3**0.5, bound * 3**0.5)
        layer.bias.uniform_(-bound, bound)
    layer.weight = nn.Parameter(weight[:, :features].clone())
    layer.in_features = features
    return layer


def zero_linear(features: int, out_features: int) -> nn.Linear:
    """Make a linear layer whose weights and biases are zero."""
    layer = linear(features, out_features)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
    return layer

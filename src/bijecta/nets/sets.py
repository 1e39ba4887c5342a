"""A network of sets: the outputs of every object from all of them, whatever their order."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from bijecta.nets.inputs import activation_named, check_context
from bijecta.nets.mlp import linear, zero_linear


class DeepSets(nn.Module):
    r"""Compute channels of every pixel from itself, the mean over all pixels, and a context.

    .. math:: h_i \leftarrow \phi(A_l h_i + B_l \bar h + b_l), \qquad \theta_i = A h_i + B \bar h + b, \qquad
              \bar h = \frac1n \sum_j h_j

    Exchanging pixels exchanges the outputs in the same way: a picture whose pixels have no places, which is a set of n
    objects. The first layer sees :math:`h_i = [x_i, c]`. The last one starts at zero, so that a map whose parameters
    come from the network starts as the identity.

    Args:
        channels: numbers of every object.
        out_channels: numbers to compute for every object.
        context: number C of context features.
        hidden: widths of the hidden layers.
        activation: "relu", "tanh", "silu", "gelu" or "elu".

    Raises:
        ShapeError: at the call, when the context has the wrong shape.

    References:
        M. Zaheer, S. Kottur, S. Ravanbakhsh, B. Poczos, R. Salakhutdinov, A. Smola (2017), Deep Sets.

    Example:
        >>> import torch
        >>> from bijecta.nets import DeepSets
        >>> DeepSets(2, 4)(torch.ones(5, 2, 7, 1)).shape  # seven objects of two numbers
        torch.Size([5, 4, 7, 1])
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        context: int = 0,
        hidden: Sequence[int] = (64, 64),
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.context, self.activation = context, activation_named(activation)
        widths = [channels + context, *hidden]
        self.alone = nn.ModuleList(linear(a, b) for a, b in pairwise(widths))
        self.together = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise(widths))
        self.last, self.last_together = (zero_linear(widths[-1], out_channels) for _ in range(2))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Compute the channels (\*B, out_channels, H, W) of x (\*B, channels, H, W) and a context (\*B, C)."""
        context = check_context(context, self.context, x.shape[:-3])
        h = x.flatten(-2).mT
        if context is not None:
            h = torch.cat([h, context.to(h.dtype).unsqueeze(-2).expand(*h.shape[:-1], -1)], -1)
        for alone, together in zip(self.alone, self.together, strict=True):
            h = self.activation(alone(h) + together(h.mean(-2, keepdim=True)))
        out: Tensor = self.last(h) + self.last_together(h.mean(-2, keepdim=True))
        return out.mT.unflatten(-1, x.shape[-2:])

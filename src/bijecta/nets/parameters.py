"""A learned vector that a context may move: the conditioner of maps whose parameters do not depend on the data."""

from collections.abc import Sequence

from torch import Tensor, nn

from bijecta.nets.mlp import MLP

GAIN = 5.0


class ParameterVector(nn.Module):
    r"""Learn a vector of parameters, and by how much a context changes it.

    .. math:: \theta = 5\,(\theta_0 + \mathrm{MLP}(c))

    The perceptron starts at zero, so that :math:`\theta` starts the same for every context. Adam moves every number by
    the same amount per step: right for the many weights of a network, slow for a few that each mean much. The factor 5
    makes their steps larger.

    Args:
        start: the initial :math:`\theta` of shape (n_params,).
        context: number C of context features; with 0 there is no perceptron.
        hidden: widths of the hidden layers of the perceptron.

    Raises:
        ShapeError: at the call, when the context has the wrong shape.

    References:
        T. Karras, T. Aila, S. Laine, J. Lehtinen (2018), Progressive Growing of GANs (equalised learning rates).

    Example:
        >>> import torch
        >>> from bijecta.nets import ParameterVector
        >>> ParameterVector(torch.zeros(4), context=2)(torch.ones(5, 3), torch.ones(5, 2)).shape
        torch.Size([5, 4])
    """

    def __init__(self, start: Tensor, *, context: int = 0, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        self.start = nn.Parameter(start / GAIN)
        self.change = MLP(0, len(start), context=context, hidden=hidden, activation="silu") if context else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Compute :math:`\theta`, (n_params,) or (\*B, n_params) with a context; of x only the batch shape counts."""
        scaled = self.start if self.change is None else self.start + self.change(x[..., :0], context)
        return GAIN * scaled

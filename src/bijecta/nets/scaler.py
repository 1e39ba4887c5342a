"""Scaling of contexts, so that energies in GeV and counts in thousands reach a network as numbers of order one."""

import torch
from torch import Tensor, nn


class ContextScaler(nn.Module):
    r"""Centre and scale a context: :math:`c \to (c - \mu) / \sigma`, measured once on the training data.

    A context column that does not vary is only centred.

    Args:
        features: number C of context features.

    Example:
        >>> import torch
        >>> from bijecta.nets import ContextScaler
        >>> scaler = ContextScaler(1)
        >>> scaler.initialise(torch.tensor([[10.0], [30.0]]))
        >>> scaler(torch.tensor([20.0]))
        tensor([0.])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    @torch.no_grad()
    def initialise(self, context: Tensor) -> None:
        r"""Measure mean and spread of contexts (\*B, C)."""
        columns = context.reshape(-1, context.shape[-1]).double()
        spread = columns.std(0, correction=0)
        self.mean.copy_(columns.mean(0))
        self.scale.copy_(torch.where(spread > 1e-12 * columns.abs().amax(0), spread, 1.0))

    def forward(self, context: Tensor) -> Tensor:
        r"""Scale a context (\*B, C)."""
        return (context - self.mean) / self.scale

"""Losses: functions of a flow and a batch. They know no optimiser."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from bijecta.distributions import Distribution
from bijecta.errors import InputError


class Batch(NamedTuple):
    """One step's share of the data.

    Attributes:
        size: number of rows, or of samples to draw where there are no data.
        x: data of shape (size, D), or None.
        context: of shape (size, C), or None.
        weight: event weights of shape (size,), scaled so that all training rows have mean 1; or None.
    """

    size: int
    x: Tensor | None = None
    context: Tensor | None = None
    weight: Tensor | None = None


Loss = Callable[[Distribution, Batch], Tensor]


def nll(flow: Distribution, batch: Batch) -> Tensor:
    r"""Compute the negative log-likelihood per row.

    .. math:: \mathcal{L} = -\frac1N \sum_n w_n \log p(x_n \mid c_n)

    Weights may be negative: such rows take density away. The sum is over a batch, the scale of w over all rows, which
    keeps the gradient unbiased even where the weights of one batch nearly cancel.

    Args:
        flow: what is fitted.
        batch: data, contexts and weights.

    Returns:
        The loss in nats, a scalar.

    Raises:
        InputError: the batch has no data.

    References:
        R. Verheyen, B. Stienen (2020), Phase Space Sampling and Inference from Weighted Events with Autoregressive
        Flows (signed weights).

    Example:
        >>> import torch
        >>> from bijecta.flows import realnvp
        >>> from bijecta.training import Batch, nll
        >>> nll(realnvp(2), Batch(5, torch.zeros(5, 2))).shape
        torch.Size([])
    """
    if batch.x is None:
        raise InputError("The loss nll expects data, got none. Pass x to fit, or use reverse_kl to fit without data.")
    log_prob: Tensor = flow.log_prob(batch.x, batch.context)
    return -(log_prob if batch.weight is None else batch.weight * log_prob).mean()


def reverse_kl(log_density: Callable[[Tensor], Tensor]) -> Loss:
    r"""Make the loss that fits a flow to an unnormalised density without data (variational inference).

    .. math:: \mathcal{L} = \mathbb{E}_{x \sim q}\left[\log q(x) - \log \tilde p(x)\right]
              = \mathrm{KL}(q \| p) - \log Z

    Args:
        log_density: maps points of shape (N, D) to :math:`\log \tilde p` of shape (N,), differentiably.

    Returns:
        A loss for `fit`; give it no data.

    Example:
        >>> import torch
        >>> from bijecta.flows import realnvp
        >>> from bijecta.training import Batch, reverse_kl
        >>> loss = reverse_kl(lambda x: -x.square().sum(-1) / 2)
        >>> loss(realnvp(2), Batch(100)).shape
        torch.Size([])
    """

    def loss(flow: Distribution, batch: Batch) -> Tensor:
        shape = () if batch.context is not None else (batch.size,)
        x, log_prob = flow.sample_and_log_prob(shape, batch.context)
        return (log_prob - log_density(x)).mean()

    return loss

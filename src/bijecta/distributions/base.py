"""The contract of every distribution."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

SampleShape = int | Sequence[int]


class Distribution(nn.Module, ABC):
    """Something with a density and a sampler.

    Attributes:
        is_bound: True where ``log_prob`` is a lower bound of the log-likelihood and not its exact value.
        context: number C of context features; 0 where there is no context, or where any number is taken.
        event_shape: shape of one event, such as (D,); None where it is not checked.
    """

    is_bound: bool = False
    context: int = 0
    event_shape: tuple[int, ...] | None = None

    @abstractmethod
    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Compute the log-density.

        Args:
            x: points of shape (\*B, D).
            context: of shape (\*B, C), or broadcastable to it; ignored by unconditional distributions.

        Returns:
            log p(x | context) in nats per unit volume of the data, of shape (\*B,).
        """

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Compute `log_prob`, so that distributed wrappers work on the module as it is."""
        return self.log_prob(x, context)

    @abstractmethod
    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        r"""Draw samples.

        Args:
            shape: how many, as an integer or a shape \*S.
            context: of shape (\*B, C): every context gets samples of its own.
            generator: source of randomness (default: the global one of torch).

        Returns:
            Samples of shape (\*S, \*B, D).
        """

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Set parameters that start from data, such as the centres of a mixture."""

    def sample_and_log_prob(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw samples and compute their log-density."""
        x = self.sample(shape, context, generator=generator)
        return x, self.log_prob(x, context)


def as_shape(shape: SampleShape) -> tuple[int, ...]:
    """Read a number of samples as a shape."""
    return (shape,) if isinstance(shape, int) else tuple(shape)


def full_shape(shape: SampleShape, context: Tensor | None) -> tuple[int, ...]:
    r"""Return (\*S, \*B), the shape of the samples without their features."""
    return (*as_shape(shape), *(() if context is None else context.shape[:-1]))

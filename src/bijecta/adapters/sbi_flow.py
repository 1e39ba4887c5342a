"""The class that sbi trains; a module of its own, so that a saved posterior finds it and nothing else needs sbi."""

from collections.abc import Sequence
from typing import Any

import torch
from sbi.neural_nets.estimators.base import ConditionalDensityEstimator
from torch import Tensor


class SbiFlow(ConditionalDensityEstimator):  # type: ignore[misc]
    r"""Wrap a flow as a density estimator of sbi; the shapes are those that sbi asks for.

    Args:
        net: the conditional `Flow`.
        input_shape: (D,).
        condition_shape: (C,).
    """

    def log_prob(self, input: Tensor, condition: Tensor, **_: Any) -> Tensor:  # noqa: A002 (the name sbi calls it by)
        r"""Compute log-densities of shape (S, B) for inputs (S, B, D) or (B, D), and conditions (B, C) or (S, B, C)."""
        points, contexts, _batch = self._broadcast_and_align(input, condition)
        return self.net.log_prob(points, contexts)

    def loss(self, input: Tensor, condition: Tensor, **_: Any) -> Tensor:  # noqa: A002
        """Compute the negative log-likelihood of every row, of shape (B,)."""
        return -self.net.log_prob(input, condition)

    def sample(self, sample_shape: torch.Size, condition: Tensor, **_: Any) -> Tensor:
        r"""Draw samples of shape (\*S, B, D) for conditions (B, C)."""
        return self.net.sample(tuple(sample_shape), condition)

    def sample_and_log_prob(self, sample_shape: Sequence[int], condition: Tensor, **_: Any) -> tuple[Tensor, Tensor]:
        r"""Draw samples (\*S, B, D) with their log-densities (\*S, B), in one pass."""
        return self.net.sample_and_log_prob(tuple(sample_shape), condition)

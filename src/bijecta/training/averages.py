"""The moving average of the weights."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class WeightAverage:
    r"""Keep an exponential moving average of weights: :math:`\bar w \leftarrow d\,\bar w + (1-d)\,w`.

    The decay grows from 0.1 to its value, so that the first weights do not linger. Averaged weights are smoother than
    the last ones of a noisy optimiser and usually better.

    Args:
        weights: what to follow.
        decay: d, between 0 (the average is the weights themselves) and 1.
    """

    def __init__(self, weights: Sequence[nn.Parameter], decay: float) -> None:
        self.decay, self.steps, self.weights = decay, 0, weights
        self.average = [p.detach().clone() for p in self.weights]

    @torch.no_grad()
    def update(self) -> None:
        """Follow one step of the optimiser."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps)) if self.decay else 0.0
        for average, weight in zip(self.average, self.weights, strict=True):
            average.lerp_(weight, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the weights with their average; called twice, nothing changes."""
        for weight, average in zip(self.weights, self.average, strict=True):
            kept = weight.detach().clone()
            weight.copy_(average)
            average.copy_(kept)

    def tensors(self) -> dict[str, Tensor]:
        """Return the averages under stable names, for a checkpoint."""
        return {f"average.{number}": tensor for number, tensor in enumerate(self.average)}

    def restore(self, tensors: dict[str, Tensor], steps: int) -> None:
        """Continue from the averages of a checkpoint."""
        self.steps = steps
        for number, average in enumerate(self.average):
            average.copy_(tensors[f"average.{number}"])

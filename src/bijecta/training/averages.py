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
        decay: d, between 0 (the average is the weights themselves, the same tensors) and 1.
    """

    def __init__(self, weights: Sequence[nn.Parameter], decay: float) -> None:
        self.decay, self.steps, self.weights = decay, 0, weights
        self.average = [p.detach().clone() if decay else p.detach() for p in self.weights]

    @property
    def next_decay(self) -> float:
        """The decay of the next update."""
        return min(self.decay, (2 + self.steps) / (11 + self.steps))

    @torch.no_grad()
    def update(self) -> None:
        """Follow one step of the optimiser."""
        for average, weight in zip(self.average, self.weights, strict=True):
            average.lerp_(weight, 1 - self.next_decay)
        self.steps += 1

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

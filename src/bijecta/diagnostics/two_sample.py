"""Can a classifier tell two samples apart? The classifier two-sample test (C2ST)."""

import math

import numpy as np
import torch
from torch import Tensor

from bijecta.diagnostics.drawing import Rows, as_array
from bijecta.diagnostics.metrics import same_columns
from bijecta.errors import InputError

BATCH = 200
STEP = 1e-3
TOLERANCE, PATIENCE = 1e-4, 10  # training ends when so many epochs lower the loss by less than the tolerance


def c2st(samples: Rows, data: Rows, *, folds: int = 5, epochs: int = 1000, seed: int = 0) -> float:
    r"""Measure how well a neural network tells samples from data: its held-out accuracy.

    .. math:: \mathrm{C2ST} = \frac1N \sum_n \mathbb{1}[\hat y_{-k(n)}(x_n) = y_n], \qquad
              \tfrac12 \le \mathrm{C2ST} \le 1 \text{ up to noise}

    1/2 means that the two cannot be told apart, 1 that they are disjoint. Both are z-scored with mean and spread of
    the data; the network has two hidden layers of 10 D units, as in the benchmark of Lueckmann et al.; every row is
    judged by the network of the fold that did not see it. With equal distributions the standard deviation over
    repetitions is about 1 / (2 sqrt(2 N)).

    Args:
        samples: rows (N, D) of a model.
        data: rows (N, D), in the same units, as many.
        folds: parts of the cross-validation, at least 2.
        epochs: passes through the rows at most; training stops when the loss no longer falls.
        seed: of the folds, the initial weights and the order of the rows.

    Returns:
        The accuracy, a fraction.

    Raises:
        ShapeError: the two have not the same columns.
        InputError: not equally many rows, fewer than two folds or than two rows per fold, or numbers not finite.

    References:
        D. Lopez-Paz, M. Oquab (2017), Revisiting Classifier Two-Sample Tests.
        J. Lueckmann et al. (2021), Benchmarking Simulation-Based Inference.

    Example:
        >>> import numpy as np
        >>> from bijecta.diagnostics import c2st
        >>> rows = np.random.default_rng(0).normal(size=(400, 2))
        >>> c2st(rows[:200], rows[200:] + 5) > 0.95
        True
    """
    first, second = same_columns(as_array(samples), as_array(data))
    if len(first) != len(second):
        raise InputError(f"c2st expects equally many rows, got {len(first)} and {len(second)}. Drop some.")
    if not 2 <= folds <= len(first):
        raise InputError(f"c2st expects 2 to {len(first)} folds for these rows, got {folds}.")
    spread = np.where(second.std(0) > 0, second.std(0), 1.0)
    rows = torch.as_tensor((np.concatenate([first, second]) - second.mean(0)) / spread, dtype=torch.float32)
    label = torch.arange(len(rows)).lt(len(first)).float()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(rows), generator=generator)
    # Folds of equal size can train side by side, as one batched matrix product; a few rows are left out.
    parts = order[: len(rows) // folds * folds].view(folds, -1)
    train = torch.stack([torch.cat([*parts[:k], *parts[k + 1 :]]) for k in range(folds)])
    network = _Networks(folds, rows.shape[1], generator)
    network.train(rows[train], label[train], epochs, generator)
    guessed = network(rows[parts]) > 0
    return float((guessed == label[parts].bool()).double().mean())


class _Networks:
    """One classifier per fold; each weight is a stack, so that all folds take a step together."""

    def __init__(self, folds: int, features: int, generator: torch.Generator) -> None:
        width = 10 * features
        self.weights: list[tuple[Tensor, Tensor]] = []
        for inputs, outputs in ((features, width), (width, width), (width, 1)):
            limit = math.sqrt(6 / (inputs + outputs))  # Glorot's uniform distribution
            weight = (2 * torch.rand(folds, inputs, outputs, generator=generator) - 1) * limit
            self.weights.append((weight.requires_grad_(), torch.zeros(folds, 1, outputs, requires_grad=True)))

    def __call__(self, x: Tensor) -> Tensor:
        r"""Map rows (folds, N, D) to the log-odds (folds, N) of being a sample."""
        for number, (weight, bias) in enumerate(self.weights):
            x = torch.baddbmm(bias, x if number == 0 else x.relu(), weight)
        return x.squeeze(-1)

    @torch.enable_grad()
    def train(self, x: Tensor, label: Tensor, epochs: int, generator: torch.Generator) -> None:
        """Minimise the cross-entropy until the slowest fold has stopped improving."""
        parameters = [tensor for pair in self.weights for tensor in pair]
        optimiser = torch.optim.Adam(parameters, lr=STEP, fused=True)
        best, since = torch.full((len(x),), math.inf), torch.zeros(len(x))
        for _ in range(epochs):
            total = torch.zeros(len(x))
            for batch in torch.randperm(x.shape[1], generator=generator).split(BATCH):
                entropy = torch.nn.functional.binary_cross_entropy_with_logits(
                    self(x[:, batch]), label[:, batch], reduction="none"
                )
                optimiser.zero_grad()
                # The sum of the folds' means: each fold has a gradient as if it were alone.
                entropy.mean(1).sum().backward()
                optimiser.step()
                total += entropy.detach().sum(1)
            loss = total / x.shape[1]
            since = torch.where(loss < best - TOLERANCE, 0, since + 1)
            best = torch.minimum(best, loss)
            if bool((since > PATIENCE).all()):
                return

"""A network that tries to tell generated events from reference events: its AUC, and the weights that it implies."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bijecta.errors import InputError, ShapeError
from bijecta.hep.evaluation_distances import effective_size

FloatArray = NDArray[np.float64]
WIDTH, STEP, DECAY = 64, 3e-3, 1e-2
BATCHES = 16  # per epoch, of at least _LEAST_BATCH rows
_LEAST_BATCH = 64
_PATIENCE = 4  # epochs without an improvement in any fold
_LIMIT = 15.0  # of the log-odds: further out the weights would be of no number of events


@dataclass(frozen=True)
class ClassifierScore:
    """Hold how well a classifier told two samples apart on rows that it had not seen.

    Args:
        auc: probability that a reference event scores above a generated one; 1/2 if nothing was found.
        error: standard deviation of `auc` for equal distributions.
        weight: w = C / (1 - C) for every generated event, an estimate of p_reference / p_generated; shape (n,).

    Reference:
        Das et al. (2023), "How to understand limitations of generative networks".

    Example:
        >>> ClassifierScore(0.56, 0.02, np.ones(10)).p_value < 0.01
        True
    """

    auc: float
    error: float
    weight: FloatArray

    @property
    def p_value(self) -> float:
        """Probability of an AUC as large for equal distributions."""
        return 0.5 * math.erfc((self.auc - 0.5) / self.error / math.sqrt(2.0))


def classify(
    generated: FloatArray,
    reference: FloatArray,
    *,
    weights: tuple[FloatArray, FloatArray] | None = None,
    folds: int = 4,
    epochs: int = 25,
    seed: int = 0,
) -> ClassifierScore:
    r"""Train a small network to tell two samples apart, and score it on the rows that it did not see.

    .. math:: \mathrm{AUC} = P(C(x) > C(y)), \qquad x \sim p_\text{reference},\; y \sim p_\text{generated}

    A perceptron of two hidden layers per fold; all folds train side by side. A tenth of the training rows chooses the
    epoch. The network starts from C = 1/2, so that it keeps silent where it finds nothing.

    Args:
        generated: features (n, D) of comparable size, see `feature_matrix`.
        reference: features (m, D).
        weights: event weights (n,) and (m,), of any sign; None if all count the same.
        folds: parts of the cross-validation, at least 2.
        epochs: passes through the rows.
        seed: of folds, initial weights and the order of rows.

    Returns:
        The score.

    Raises:
        ShapeError: the two have not the same features.
        InputError: fewer than two folds, or than 20 rows per fold and sample.

    References:
        Lopez-Paz, Oquab (2017), "Revisiting classifier two-sample tests".

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(800, 2))
        >>> classify(rows[:400], rows[400:] + 2.0).auc > 0.95
        True
    """
    if generated.ndim != 2 or generated.shape[1:] != reference.shape[1:]:
        raise ShapeError(f"classify expects (n, D) and (m, D), got {generated.shape} and {reference.shape}.")
    if not 2 <= folds <= min(len(generated), len(reference)) // 20:
        raise InputError(f"classify needs 2 folds or more of 20 rows each; got {folds} folds of {len(generated)} rows.")
    own, truth = (np.ones(len(generated)), np.ones(len(reference))) if weights is None else weights
    features = torch.as_tensor(np.concatenate([generated, reference]), dtype=torch.float32)
    label = np.arange(len(features)) >= len(generated)
    # Each class counts one half, whatever its number of rows and the scale of its weights.
    weight = np.concatenate([own / own.sum(), truth / truth.sum()]) * len(features) / 2.0
    generator = torch.Generator().manual_seed(seed)
    parts = _folds(len(generated), len(reference), folds, generator)
    rows = (features, torch.as_tensor(label).float(), torch.as_tensor(weight).float())
    log_odds = _cross_validate(rows, parts, epochs, generator).double().numpy()
    # The networks of different folds may have different offsets, so that each fold is ranked by itself.
    areas = [weighted_auc(log_odds[part], label[part], weight[part]) for part in parts.numpy()]
    sizes = effective_size(own), effective_size(truth)
    error = math.sqrt((sum(sizes) + 1.0) / (12.0 * sizes[0] * sizes[1]))
    return ClassifierScore(float(np.mean(areas)), error, np.exp(log_odds[: len(generated)]))


def weighted_auc(score: FloatArray, label: NDArray[np.bool_], weight: FloatArray) -> float:
    r"""Return the area under the receiver operating characteristic; ties count one half.

    .. math:: \mathrm{AUC} = \frac{\sum_{ij} v_i w_j\,[\mathbb 1(s_i > s_j) + \tfrac12\mathbb 1(s_i = s_j)]}
              {\sum_i v_i \sum_j w_j}, \qquad \text{label}_i = 1,\; \text{label}_j = 0

    Args:
        score: (n,), high for what has the label.
        label: (n,).
        weight: (n,), of any sign.

    Returns:
        The area; between 0 and 1 where no weight is negative.

    Reference:
        Hanley, McNeil (1982), "The meaning and use of the area under a receiver operating characteristic curve".

    Example:
        >>> weighted_auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]), np.ones(4))
        0.875
    """
    _, place = np.unique(score, return_inverse=True)
    without, having = (np.bincount(place, np.where(chosen, weight, 0.0)) for chosen in (~label, label))
    below = np.cumsum(without) - without / 2.0
    return float((below * having).sum() / (without.sum() * having.sum()))


def _folds(generated: int, reference: int, folds: int, generator: torch.Generator) -> Tensor:
    """Return row numbers (folds, n): equal shares of both samples; the few rows left over are dealt out nowhere."""
    shares = []
    for start, count in ((0, generated), (generated, reference)):
        order = start + torch.randperm(count, generator=generator)
        shares.append(order[: count // folds * folds].view(folds, -1))
    return torch.cat(shares, dim=1)


class _Networks:
    """One network per fold; each weight is a stack, so that all folds take a step together."""

    def __init__(self, folds: int, features: int, generator: torch.Generator) -> None:
        self.parameters: list[Tensor] = []
        for inputs, outputs in ((features, WIDTH), (WIDTH, WIDTH), (WIDTH, 1)):
            limit = 0.0 if outputs == 1 else math.sqrt(6.0 / inputs)
            weight = (2.0 * torch.rand(folds, inputs, outputs, generator=generator) - 1.0) * limit
            self.parameters += [weight.requires_grad_(), torch.zeros(folds, 1, outputs, requires_grad=True)]

    def __call__(self, x: Tensor) -> Tensor:
        """Map rows (folds, n, D) to log-odds (folds, n)."""
        for weight, bias in zip(self.parameters[:-2:2], self.parameters[1:-2:2], strict=True):
            x = torch.baddbmm(bias, x, weight).relu()
        return torch.baddbmm(self.parameters[-1], x, self.parameters[-2]).squeeze(-1).clamp(-_LIMIT, _LIMIT)

    @torch.no_grad()
    def keep(self, kept: list[Tensor], better: Tensor) -> None:
        """Copy the parameters of those folds that have become better."""
        for target, source in zip(kept, self.parameters, strict=True):
            target[better] = source[better]


Rows = tuple[Tensor, Tensor, Tensor]  # features, label, weight


@torch.enable_grad()
def _cross_validate(rows: Rows, parts: Tensor, epochs: int, generator: torch.Generator) -> Tensor:
    """Return the log-odds of all rows, each from the network that has not seen it; 0 for rows in no fold."""
    folds = len(parts)
    others = torch.stack([torch.cat([*parts[:k], *parts[k + 1 :]]) for k in range(folds)])
    others = others[:, torch.randperm(others.shape[1], generator=generator)]
    held = others.shape[1] // 10
    network = _Networks(folds, rows[0].shape[1], generator)
    kept = [parameter.detach().clone() for parameter in network.parameters]
    best = torch.full((folds,), math.log(2.0))
    validation, train = (_rows_at(rows, others[:, piece]) for piece in (slice(held), slice(held, None)))
    size = max(_LEAST_BATCH, train[1].shape[1] // BATCHES)
    optimiser = torch.optim.AdamW(network.parameters, lr=STEP, weight_decay=DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    since = 0
    for _ in range(epochs):
        for batch in torch.randperm(train[1].shape[1], generator=generator).split(size):
            optimiser.zero_grad()
            _entropy(network, (train[0][:, batch], train[1][:, batch], train[2][:, batch])).sum().backward()
            optimiser.step()
        schedule.step()
        with torch.no_grad():
            loss = _entropy(network, validation)
        since = 0 if bool((loss < best).any()) else since + 1
        network.keep(kept, loss < best)
        best = torch.minimum(best, loss)
        if since == _PATIENCE:
            break
    network.parameters = kept
    log_odds = torch.zeros(len(rows[0]))
    log_odds[parts] = network(rows[0][parts])
    return log_odds


def _rows_at(rows: Rows, places: Tensor) -> Rows:
    return rows[0][places], rows[1][places], rows[2][places]


def _entropy(network: _Networks, rows: Rows) -> Tensor:
    """Return the mean cross-entropy of every fold in nats."""
    features, label, weight = rows
    losses = torch.nn.functional.binary_cross_entropy_with_logits(network(features), label, weight, reduction="none")
    return losses.mean(1)

"""Train a RealNVP in NumPy: Adam written out, and a loop over minibatches."""

from collections.abc import Iterator, Sequence

import numpy as np

from bijecta.errors import InputError, TrainingDivergedError
from bijecta.reference.arrays import Array
from bijecta.reference.realnvp import Conditioner, RealNVP, start_realnvp
from bijecta.reference.realnvp_gradients import nll_and_gradients


class Adam:
    """Descend along gradients, each weight with a step length of its own.

    m <- β1 m + (1 - β1) g          running mean of the gradient
    v <- β2 v + (1 - β2) g^2        running mean of its square
    w <- w - η m^ / (sqrt(v^) + ε),   m^ = m / (1 - β1^k),   v^ = v / (1 - β2^k)   at step k = 1, 2, ...

    m and v start at zero, so early on they are too small; the divisions make up for exactly that. At the first step
    m^ / sqrt(v^) = g / |g|: every weight moves by about η. Later, weights with noisy gradients move less.

    Args:
        weights: arrays to train; `step` changes them in place.
        learning_rate: η.
        mean_decay: β1.
        square_decay: β2.
        epsilon: ε, keeps a weight without gradient from dividing 0 by 0.

    Returns:
        The optimiser, with its m, v and k.

    Reference:
        Kingma & Ba (2015), "Adam: a method for stochastic optimization".

    Example:
        >>> weight = np.array([1.0, -1.0])
        >>> Adam([weight], learning_rate=0.1).step([np.array([5.0, -0.01])])
        >>> weight.round(6)
        array([ 0.9, -0.9])
    """

    def __init__(
        self,
        weights: Sequence[Array],
        learning_rate: float = 1e-3,
        mean_decay: float = 0.9,
        square_decay: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        self.weights = list(weights)
        self.learning_rate = learning_rate
        self.mean_decay, self.square_decay, self.epsilon = mean_decay, square_decay, epsilon
        self.means = [np.zeros_like(weight) for weight in weights]
        self.squares = [np.zeros_like(weight) for weight in weights]
        self.n_steps = 0

    def step(self, gradients: Sequence[Array]) -> None:
        """Update all weights in place from their gradients, given in the order of the weights."""
        self.n_steps += 1
        mean_correction = 1.0 - self.mean_decay**self.n_steps
        square_correction = 1.0 - self.square_decay**self.n_steps
        for weight, gradient, mean, square in zip(self.weights, gradients, self.means, self.squares, strict=True):
            mean += (1.0 - self.mean_decay) * (gradient - mean)
            square += (1.0 - self.square_decay) * (gradient**2 - square)
            root = np.sqrt(square / square_correction)
            weight -= self.learning_rate * (mean / mean_correction) / (root + self.epsilon)


def flatten(layers: Sequence[Conditioner]) -> list[Array]:
    """List the arrays of all layers, in one fixed order.

    (W1, b1, W2, b2, W3, b3) of layer 0, then of layer 1, ...

    Args:
        layers: weights or gradients.

    Returns:
        The same arrays, not copies.

    Reference:
        Kingma & Ba (2015), "Adam: a method for stochastic optimization", which treats all weights as one vector.

    Example:
        >>> from bijecta.reference.realnvp import start_conditioner
        >>> len(flatten([start_conditioner(1, 1, n_hidden=4, generator=np.random.default_rng(0))] * 3))
        18
    """
    return [array for layer in layers for array in layer]


def minibatches(x: Array, batch_size: int, generator: np.random.Generator) -> Iterator[Array]:
    """Deal the rows into batches, in a new random order.

    Every row occurs once; the last batch may be smaller.

    Args:
        x: points of shape (N, D).
        batch_size: rows per batch.
        generator: source of randomness.

    Returns:
        An iterator over the batches of one epoch, each of shape (batch_size, D).

    Reference:
        Robbins & Monro (1951), "A stochastic approximation method".

    Example:
        >>> [len(batch) for batch in minibatches(np.zeros((10, 2)), 4, np.random.default_rng(0))]
        [4, 4, 2]
    """
    order = generator.permutation(len(x))
    for start in range(0, len(x), batch_size):
        yield x[order[start : start + batch_size]]


def train_realnvp(
    x: Array,
    *,
    n_layers: int = 6,
    n_hidden: int = 32,
    limit: float = 3.0,
    n_epochs: int = 100,
    batch_size: int = 256,
    learning_rate: float = 3e-3,
    seed: int = 0,
) -> tuple[RealNVP, list[float]]:
    """Fit a RealNVP to points by maximum likelihood.

    weights = argmin -1/N sum_n log p(x_n),   by Adam on minibatches

    Args:
        x: the data, of shape (N, D).
        n_layers: number of coupling layers.
        n_hidden: units in each of the two hidden layers of a conditioner.
        limit: largest |s| of a layer.
        n_epochs: passes over the data.
        batch_size: rows per step.
        learning_rate: of Adam.
        seed: decides the first weights and the order of the rows; the same seed gives the same flow.

    Returns:
        The trained flow, and its history: for each epoch the mean negative log-likelihood in nats per point, as met
        on the way (so a little above what the flow has at the end of the epoch).

    Raises:
        ShapeError: x is not a table with at least one row.
        InputError: the data are constant or not finite, or batch_size is below 1.
        TrainingDivergedError: the loss became NaN or infinite.

    Reference:
        Dinh, Sohl-Dickstein & Bengio (2017), "Density estimation using Real NVP".

    Example:
        >>> x = np.random.default_rng(0).exponential(size=(200, 2))
        >>> flow, history = train_realnvp(x, n_layers=2, n_hidden=8, n_epochs=5)
        >>> len(history), history[-1] < history[0]
        (5, True)
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be 1 or more, got {batch_size}. Try 256.")
    generator = np.random.default_rng(seed)
    flow = start_realnvp(x, n_layers=n_layers, n_hidden=n_hidden, limit=limit, generator=generator)
    optimiser = Adam(flatten(flow.layers), learning_rate)
    history = []
    for epoch in range(n_epochs):
        total = 0.0
        for batch in minibatches(x, batch_size, generator):
            nll, gradients = nll_and_gradients(flow, batch)
            if not np.isfinite(nll):
                raise TrainingDivergedError(f"The loss is {nll} in epoch {epoch}. Lower learning_rate={learning_rate}.")
            optimiser.step(flatten(gradients))
            total += nll * len(batch)
        history.append(total / len(x))
    return flow, history

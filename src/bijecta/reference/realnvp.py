"""RealNVP in NumPy: a complete normalizing flow in one page of arithmetic.

A point x of D features runs through

    standardiser      every feature to mean 0 and standard deviation 1 (taken from the data once, not trained)
    coupling layer 0  keeps features 0, 2, 4, ...   and scales and shifts features 1, 3, 5, ...
    coupling layer 1  keeps features 1, 3, 5, ...   and scales and shifts features 0, 2, 4, ...
    ...               and so on in turn
    standard normal   the density of what comes out

and its log-density is that of the normal plus the ladj of every step:

    log p(x) = log N(z; 0, I) + ladj of the standardiser + sum over layers and moved features of s

In each layer a small network, the conditioner, reads the kept features and says how to scale and shift the others:

    h1 = tanh(kept W1 + b1),   h2 = tanh(h1 W2 + b2),   (a, t) = h2 W3 + b3
    s  = limit tanh(a / limit),   z_moved = x_moved exp(s) + t

The bound on s is not decoration. Without it one bad step of training can send exp(s) to 1e-16, and then x_moved exp(s)
is lost in the rounding of t: no inverse finds it again. With it a layer stretches and shrinks by at most exp(limit).
Near a = 0 the bound is not felt, because its slope there is one. W3 and b3 start at zero, so a fresh flow is just the
standardiser, and training starts from a decent density.

Odd D works: one half is larger. D = 1 works too: a layer that keeps nothing has a conditioner without input, which is
a constant, and a layer that keeps everything does nothing.

`realnvp_gradients` has the derivatives and `realnvp_training` the loop.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bijecta.reference.arrays import Array, Mask, sum_features
from bijecta.reference.densities import standard_normal_log_prob
from bijecta.reference.linear import actnorm_forward, actnorm_inverse, actnorm_start


class Conditioner(NamedTuple):
    """Hold the weights of one conditioner, or anything else of the same shapes, such as their gradients.

    h1 = tanh(kept W1 + b1),   h2 = tanh(h1 W2 + b2),   (a, t) = h2 W3 + b3

    Args:
        W1: (n_kept, H) for H hidden units.
        b1: (H,).
        W2: (H, H).
        b2: (H,).
        W3: (H, 2 n_moved); the first half of the columns gives a, the second t.
        b3: (2 n_moved,).

    Returns:
        A tuple of the six arrays.

    Reference:
        Rumelhart, Hinton & Williams (1986), "Learning representations by back-propagating errors".

    Example:
        >>> [array.shape for array in start_conditioner(1, 2, n_hidden=8, generator=np.random.default_rng(0))]
        [(1, 8), (8,), (8, 8), (8,), (8, 4), (4,)]
    """

    W1: Array
    b1: Array
    W2: Array
    b2: Array
    W3: Array
    b3: Array


class Memory(NamedTuple):
    """Hold what a coupling layer computed on the way forward and needs again for its gradients.

    z_moved = moved exp(log_scale) + t,   with log_scale and t from (kept, hidden_1, hidden_2)

    Args:
        kept: (*B, n_kept).
        moved: (*B, n_moved), before the layer.
        hidden_1: (*B, H).
        hidden_2: (*B, H).
        log_scale: s, (*B, n_moved); its sum over features is the ladj of the layer.

    Returns:
        A tuple of the five arrays.

    Reference:
        Griewank & Walther (2008), "Evaluating Derivatives", on reverse mode.

    Example:
        >>> Memory._fields
        ('kept', 'moved', 'hidden_1', 'hidden_2', 'log_scale')
    """

    kept: Array
    moved: Array
    hidden_1: Array
    hidden_2: Array
    log_scale: Array


def start_conditioner(n_kept: int, n_moved: int, *, n_hidden: int, generator: np.random.Generator) -> Conditioner:
    """Draw the weights of a fresh conditioner, whose output is zero.

    W1, W2 ~ normal with standard deviation 1 / sqrt(number of inputs);   everything else 0

    So the hidden units start neither saturated nor dead, whatever the width.

    Args:
        n_kept: number of features read.
        n_moved: number of features scaled and shifted.
        n_hidden: number H of units in each of the two hidden layers.
        generator: source of randomness.

    Returns:
        Weights of the shapes that `Conditioner` lists.

    Reference:
        LeCun, Bottou, Orr & Müller (1998), "Efficient BackProp".

    Example:
        >>> start_conditioner(1, 1, n_hidden=4, generator=np.random.default_rng(0)).b3
        array([0., 0.])
    """
    W1 = generator.normal(size=(n_kept, n_hidden)) / np.sqrt(max(1, n_kept))  # n_kept = 0 if D = 1
    W2 = generator.normal(size=(n_hidden, n_hidden)) / np.sqrt(n_hidden)
    W3, b3 = np.zeros((n_hidden, 2 * n_moved)), np.zeros(2 * n_moved)
    return Conditioner(W1, np.zeros(n_hidden), W2, np.zeros(n_hidden), W3, b3)


def run_conditioner(weights: Conditioner, kept: Array, limit: float) -> tuple[Array, Array, Array, Array]:
    """Compute log-scale and shift from the kept features.

    h1 = tanh(kept W1 + b1),   h2 = tanh(h1 W2 + b2),   (a, t) = h2 W3 + b3,   s = limit tanh(a / limit)

    Args:
        weights: of one layer.
        kept: features of shape (*B, n_kept).
        limit: largest |s|.

    Returns:
        s and t, of shape (*B, n_moved), then h1 and h2, of shape (*B, H).

    Reference:
        Dinh, Sohl-Dickstein & Bengio (2017), "Density estimation using Real NVP".

    Example:
        >>> weights = start_conditioner(1, 1, n_hidden=4, generator=np.random.default_rng(0))
        >>> s, t, h1, h2 = run_conditioner(weights, np.ones((5, 1)), limit=3.0)
        >>> s.shape, t.shape, h1.shape, h2.shape
        ((5, 1), (5, 1), (5, 4), (5, 4))
    """
    hidden_1 = np.tanh(kept @ weights.W1 + weights.b1)  # (*B, H)
    hidden_2 = np.tanh(hidden_1 @ weights.W2 + weights.b2)  # (*B, H)
    output = hidden_2 @ weights.W3 + weights.b3  # (*B, 2 n_moved)
    n_moved = output.shape[-1] // 2
    log_scale = limit * np.tanh(output[..., :n_moved] / limit)  # (*B, n_moved)
    return log_scale, output[..., n_moved:], hidden_1, hidden_2


def layer_forward(weights: Conditioner, x: Array, keep: Mask, limit: float) -> tuple[Array, Memory]:
    """Run one coupling layer from data to latent.

    z_kept = x_kept,   z_moved = x_moved exp(s) + t,   ladj = sum of s

    Args:
        weights: of the layer.
        x: points of shape (*B, D).
        keep: mask of shape (D,), True for the kept features.
        limit: largest |s|.

    Returns:
        z of shape (*B, D), and the intermediate values.

    Reference:
        Dinh, Sohl-Dickstein & Bengio (2017), "Density estimation using Real NVP", section 3.2.

    Example:
        >>> weights = start_conditioner(1, 1, n_hidden=4, generator=np.random.default_rng(0))
        >>> layer_forward(weights, np.array([5.0, 7.0]), np.array([True, False]), limit=3.0)[0]  # fresh: the identity
        array([5., 7.])
    """
    kept, moved = x[..., keep], x[..., ~keep]  # (*B, n_kept), (*B, n_moved)
    log_scale, shift, hidden_1, hidden_2 = run_conditioner(weights, kept, limit)
    z = x.copy()  # (*B, D)
    z[..., ~keep] = moved * np.exp(log_scale) + shift
    return z, Memory(kept, moved, hidden_1, hidden_2, log_scale)


def layer_inverse(weights: Conditioner, z: Array, keep: Mask, limit: float) -> tuple[Array, Array]:
    """Run one coupling layer from latent to data.

    x_kept = z_kept,   x_moved = (z_moved - t) exp(-s),   ladj = -sum of s

    Args:
        weights: of the layer.
        z: points of shape (*B, D).
        keep: mask of shape (D,), True for the kept features.
        limit: largest |s|.

    Returns:
        x of shape (*B, D) and the ladj of the inverse, of shape (*B,).

    Reference:
        Dinh, Sohl-Dickstein & Bengio (2017), "Density estimation using Real NVP", section 3.2.

    Example:
        >>> weights = start_conditioner(1, 1, n_hidden=4, generator=np.random.default_rng(0))
        >>> layer_inverse(weights, np.array([5.0, 7.0]), np.array([True, False]), limit=3.0)[0]  # fresh: the identity
        array([5., 7.])
    """
    log_scale, shift, _, _ = run_conditioner(weights, z[..., keep], limit)  # kept features are the same in x and z
    x = z.copy()  # (*B, D)
    x[..., ~keep] = (z[..., ~keep] - shift) * np.exp(-log_scale)
    return x, -sum_features(log_scale)


@dataclass(frozen=True)
class RealNVP:
    """Hold the weights of a RealNVP; evaluate its density and draw from it.

    log p(x) = log N(z; 0, I) + ladj,   z = forward(x)

    Args:
        log_scale: of the standardiser, (D,).
        shift: of the standardiser, (D,).
        masks: one per layer, (D,) each, True for the features that the layer keeps.
        layers: weights of the conditioners, one per layer.
        limit: largest |s| of a layer.

    Returns:
        The flow. `start_realnvp` makes a fresh one, `realnvp_training.train_realnvp` a trained one.

    Reference:
        Dinh, Sohl-Dickstein & Bengio (2017), "Density estimation using Real NVP".

    Example:
        >>> generator = np.random.default_rng(0)
        >>> flow = start_realnvp(generator.normal(size=(100, 2)), n_layers=4, n_hidden=8, generator=generator)
        >>> x = flow.sample(3, generator)
        >>> np.allclose(flow.to_data(flow.to_latent(x)), x), flow.log_prob(x).shape
        (True, (3,))
    """

    log_scale: Array
    shift: Array
    masks: tuple[Mask, ...]
    layers: tuple[Conditioner, ...]
    limit: float

    def forward_and_ladj(self, x: Array) -> tuple[Array, Array]:
        """Map data x (*B, D) to latent z (*B, D), with the ladj (*B,)."""
        z, ladj = actnorm_forward(x, self.log_scale, self.shift)
        for weights, keep in zip(self.layers, self.masks, strict=True):
            z, memory = layer_forward(weights, z, keep, self.limit)
            ladj = ladj + sum_features(memory.log_scale)
        return z, ladj

    def inverse_and_ladj(self, z: Array) -> tuple[Array, Array]:
        """Map latent z (*B, D) to data x (*B, D), with the ladj of the inverse (*B,): the same steps, backwards."""
        x, ladj = z, np.zeros(z.shape[:-1])
        for weights, keep in zip(self.layers[::-1], self.masks[::-1], strict=True):
            x, layer_ladj = layer_inverse(weights, x, keep, self.limit)
            ladj = ladj + layer_ladj
        x, standardiser_ladj = actnorm_inverse(x, self.log_scale, self.shift)
        return x, ladj + standardiser_ladj

    def to_latent(self, x: Array) -> Array:
        """Map data x (*B, D) to latent z (*B, D)."""
        return self.forward_and_ladj(x)[0]

    def to_data(self, z: Array) -> Array:
        """Map latent z (*B, D) to data x (*B, D)."""
        return self.inverse_and_ladj(z)[0]

    def log_prob(self, x: Array) -> Array:
        """Evaluate the log-density of x (*B, D), of shape (*B,), in nats per point."""
        z, ladj = self.forward_and_ladj(x)
        return standard_normal_log_prob(z) + ladj

    def sample(self, n_points: int, generator: np.random.Generator) -> Array:
        """Draw points x of shape (n_points, D): normal numbers, sent through the inverse."""
        return self.to_data(generator.normal(size=(n_points, len(self.shift))))


def start_realnvp(
    x: Array, *, n_layers: int = 6, n_hidden: int = 32, limit: float = 3.0, generator: np.random.Generator
) -> RealNVP:
    """Set up an untrained flow, which is the normal distribution with the means and deviations of the data.

    masks alternate: layer k keeps the features i with i mod 2 = k mod 2

    Args:
        x: the data, (N, D); only means and standard deviations are used.
        n_layers: number of coupling layers; at least 2, or some features are never moved.
        n_hidden: units in each of the two hidden layers of a conditioner.
        limit: largest |s| of a layer.
        generator: source of randomness.

    Returns:
        The flow.

    Raises:
        ShapeError: x is not a table with at least one row.
        InputError: a value is NaN or infinite, or a feature has the same value in every row.

    Reference:
        Dinh, Sohl-Dickstein & Bengio (2017), "Density estimation using Real NVP", section 3.5.

    Example:
        >>> flow = start_realnvp(np.array([[1.0], [3.0]]), generator=np.random.default_rng(0))
        >>> flow.to_latent(np.array([[1.0], [2.0], [3.0]])).ravel()
        array([-1.,  0.,  1.])
    """
    log_scale, shift = actnorm_start(x)
    masks = tuple(np.arange(x.shape[1]) % 2 == k % 2 for k in range(n_layers))
    counts = [(int(keep.sum()), int((~keep).sum())) for keep in masks]
    layers = tuple(start_conditioner(*count, n_hidden=n_hidden, generator=generator) for count in counts)
    return RealNVP(log_scale, shift, masks, layers, limit)

"""Autoregressive maps: every feature is scaled and shifted by functions of the features before it.

The Jacobian is lower triangular with exp(s_i) on its diagonal. Data to latent takes one pass; latent to data takes D,
because s_i and t_i need the first i - 1 features of x, which are only found one after the other.

The functions s and t take all of x, of shape (*B, D), and return (*B, D), of which column i must depend on the columns
before i only. A masked network (MADE) is such a function.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bijecta.errors import InputError
from bijecta.reference.arrays import Array, sum_features

Function = Callable[[Array], Array]
Degrees = NDArray[np.int64]


def autoregressive_forward(x: Array, log_scale: Function, shift: Function) -> tuple[Array, Array]:
    """Map data to latent, all features at once.

    z_i = x_i exp(s_i(x_<i)) + t_i(x_<i),   ladj = sum_i s_i

    Args:
        x: points of shape (*B, D).
        log_scale: s, from (*B, D) to (*B, D), strictly autoregressive.
        shift: t, from (*B, D) to (*B, D), strictly autoregressive.

    Returns:
        z of shape (*B, D) and the ladj of shape (*B,).

    Reference:
        Papamakarios, Pavlakou & Murray (2017), "Masked autoregressive flow for density estimation".

    Example:
        >>> before = np.array([[0.0, 0.0], [1.0, 0.0]])  # t = (0, x_1)
        >>> autoregressive_forward(np.array([2.0, 5.0]), np.zeros_like, lambda x: x @ before.T)[0]
        array([2., 7.])
    """
    s = log_scale(x)  # (*B, D)
    return x * np.exp(s) + shift(x), sum_features(s)


def autoregressive_inverse(z: Array, log_scale: Function, shift: Function) -> tuple[Array, Array]:
    """Map latent to data, one feature per pass.

    x_i = (z_i - t_i(x_<i)) exp(-s_i(x_<i)),   ladj = -sum_i s_i

    After pass i the first i features are final. What stands in the later columns does not matter, since no function
    that is used so far looks at them.

    Args:
        z: points of shape (*B, D).
        log_scale: s, from (*B, D) to (*B, D), strictly autoregressive.
        shift: t, from (*B, D) to (*B, D), strictly autoregressive.

    Returns:
        x of shape (*B, D) and the ladj of the inverse, of shape (*B,).

    Reference:
        Papamakarios, Pavlakou & Murray (2017), "Masked autoregressive flow for density estimation".

    Example:
        >>> before = np.array([[0.0, 0.0], [1.0, 0.0]])  # t = (0, x_1)
        >>> autoregressive_inverse(np.array([2.0, 7.0]), np.zeros_like, lambda x: x @ before.T)[0]
        array([2., 5.])
    """
    x = np.zeros(z.shape)
    for i in range(z.shape[-1]):
        s, t = log_scale(x), shift(x)  # (*B, D), of which column i is right
        x[..., i] = (z[..., i] - t[..., i]) * np.exp(-s[..., i])
    return x, -sum_features(log_scale(x))


def made_degrees(n_features: int, hidden_sizes: Sequence[int]) -> list[Degrees]:
    """Give every unit of a network a degree: how many of the first features it may know.

    inputs: 1, 2, ..., D;   hidden units: 1, 2, ..., D - 1, 1, 2, ... in turn

    Degree D would be useless in a hidden layer, because no output may look at the last feature. With D = 1 the hidden
    units get degree 1, and the outputs see none of them.

    Args:
        n_features: number of features D, at least 1.
        hidden_sizes: number of units in every hidden layer.

    Returns:
        One integer array per layer, inputs first, of shapes (D,), (H_1,), (H_2,), ...

    Raises:
        InputError: there are no features.

    Reference:
        Germain, Gregor, Murray & Larochelle (2015), "MADE: masked autoencoder for distribution estimation".

    Example:
        >>> [layer.tolist() for layer in made_degrees(3, [4])]
        [[1, 2, 3], [1, 2, 1, 2]]
    """
    if n_features < 1:
        raise InputError(f"n_features must be 1 or more, got {n_features}. Give the number of columns of the data.")
    highest = max(1, n_features - 1)
    return [np.arange(1, n_features + 1), *(1 + np.arange(size) % highest for size in hidden_sizes)]


def made_masks(degrees: Sequence[Degrees]) -> list[Array]:
    """Turn degrees into the binary masks of the weight matrices.

    hidden layers:  M_ij = 1 if degree(unit i) >= degree(unit j of the layer before), else 0
    output layer:   M_ij = 1 if i > degree(unit j of the last hidden layer), else 0

    Along every path from input j to output i the degrees go j <= ... <= ... < i, so the product of the masks, which
    counts those paths, is strictly lower triangular.

    Args:
        degrees: as from `made_degrees`, inputs first, without the outputs.

    Returns:
        Masks of shapes (H_1, D), (H_2, H_1), ..., (D, H_last), for weights that act from the left.

    Reference:
        Germain, Gregor, Murray & Larochelle (2015), "MADE: masked autoencoder for distribution estimation".

    Example:
        >>> first, last = made_masks(made_degrees(2, [2]))
        >>> last @ first  # output 2 sees input 1, along two paths
        array([[0., 0.],
               [2., 0.]])
    """
    hidden = [(after[:, None] >= before).astype(np.float64) for before, after in pairwise(degrees)]
    output = (degrees[0][:, None] > degrees[-1]).astype(np.float64)
    return [*hidden, output]

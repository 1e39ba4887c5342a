"""A block neural autoregressive map in plain NumPy float64, by dense matrices and the whole Jacobian."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bijecta.reference.arrays import Array


class BlockLayer(NamedTuple):
    """Weights of one layer for D features with ``in`` units before it and ``out`` behind it.

    Attributes:
        averages: diagonal blocks whose rows sum to one, of shape (D, out, in).
        weight: what is added from other features, of shape (D out, D in), zero where feature i would see j >= i.
        log_scale: of the units behind the layer, of shape (D, out); ignored behind the last layer, like the next two.
        centre: of the units, of shape (D, out).
        mixing: of the units, of shape (D, out).
    """

    averages: Array
    weight: Array
    log_scale: Array
    centre: Array
    mixing: Array


def block_autoregressive(
    x: Array, layers: Sequence[BlockLayer], log_scale: Array, shift: Array, *, min_slope: float = 0.05
) -> tuple[Array, float]:
    """Map one vector, carrying along the derivatives of all units with respect to all of x.

    ``s = A h + W g``, then ``h = s - r (u - tanh(u)) / a`` and ``g = tanh(u)``, ``u = a (s - c)``;
    ``ladj = log |det dz/dx|`` of the whole matrix.

    Args:
        x: one vector of shape (D,).
        layers: the layers; behind all but the last there are units.
        log_scale: of the outputs, of shape (D,), clipped softly at 3.
        shift: of the outputs, of shape (D,).
        min_slope: smallest slope of a unit.

    Returns:
        z of shape (D,), and its ladj.

    Reference:
        De Cao et al., "Block neural autoregressive flow" (2019).

    Example:
        >>> none = np.zeros((1, 1))
        >>> z, ladj = block_autoregressive(np.ones(1), [BlockLayer(np.ones((1, 1, 1)), *[none] * 4)], none[0], none[0])
        >>> float(z[0]), ladj
        (1.0, 0.0)
    """
    h, g, by_x, g_by_x = x, x, np.eye(x.size), np.eye(x.size)
    for number, layer in enumerate(layers):
        block = _block_diagonal(layer.averages)
        s, s_by_x = block @ h + layer.weight @ g, block @ by_x + layer.weight @ g_by_x
        if number == len(layers) - 1:
            break
        scale = np.exp(4 * np.tanh(layer.log_scale.ravel() / 4))
        u, ratio = scale * (s - layer.centre.ravel()), (1 - min_slope) * np.tanh(layer.mixing.ravel())
        h, g = s - ratio * (u - np.tanh(u)) / scale, np.tanh(u)
        by_x, g_by_x = (1 - ratio * g**2)[:, None] * s_by_x, (scale * (1 - g**2))[:, None] * s_by_x
    factor = np.exp(3 * np.tanh(log_scale / 3))
    return s * factor + shift, float(np.linalg.slogdet(factor[:, None] * s_by_x)[1])


def _block_diagonal(blocks: Array) -> NDArray[np.float64]:
    features, rows, columns = blocks.shape
    matrix = np.zeros((features * rows, features * columns))
    for i, block in enumerate(blocks):
        matrix[i * rows : (i + 1) * rows, i * columns : (i + 1) * columns] = block
    return matrix

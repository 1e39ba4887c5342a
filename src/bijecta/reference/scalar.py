"""Scalar maps in plain NumPy float64, written as in a textbook: the independent check of `bijecta.functional`."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def soft_clip(a: ArrayLike, limit: float) -> Array:
    """Bound numbers by ``L (e^(2a/L) - 1) / (e^(2a/L) + 1)``.

    Args:
        a: numbers of any shape.
        limit: L, positive.

    Returns:
        The clipped numbers, of a's shape.

    Example:
        >>> float(soft_clip(0.0, 3.0))
        0.0
    """
    grown = np.exp(2 * np.asarray(a, np.float64) / limit)
    return np.asarray(limit * (grown - 1) / (grown + 1))


def affine(x: ArrayLike, shift: ArrayLike, log_scale: ArrayLike) -> tuple[Array, Array]:
    """Compute ``y = e^log_scale x + shift`` and ``ladj = log |dy/dx|``.

    Args:
        x: numbers of any shape.
        shift: what is added.
        log_scale: logarithm of the factor.

    Returns:
        y and ladj, of the broadcast shape.

    Example:
        >>> float(affine(1.0, 3.0, 0.0)[0])
        4.0
    """
    scale = np.exp(np.asarray(log_scale, np.float64))
    y = np.asarray(scale * np.asarray(x, np.float64) + shift)
    return y, np.broadcast_to(np.log(np.abs(scale)), y.shape)


def log_map(x: ArrayLike, lower: float = 0.0) -> tuple[Array, Array]:
    """Compute ``y = log(x - lower)`` and ``ladj = log |1 / (x - lower)|``.

    Args:
        x: numbers above `lower`.
        lower: the open lower edge.

    Returns:
        y and ladj, of x's shape.

    Example:
        >>> float(log_map(3.0, 2.0)[0])
        0.0
    """
    above = np.asarray(x, np.float64) - lower
    return np.log(above), np.log(np.abs(1 / above))


def logit_map(x: ArrayLike, low: float = 0.0, high: float = 1.0) -> tuple[Array, Array]:
    """Compute ``y = log(u / (1 - u))`` with ``u = (x - low) / (high - low)``, and its ladj.

    Args:
        x: numbers within (low, high).
        low: the open lower edge.
        high: the open upper edge.

    Returns:
        y and ladj, of x's shape.

    Example:
        >>> float(logit_map(0.5)[0])
        0.0
    """
    u = (np.asarray(x, np.float64) - low) / (high - low)
    return np.log(u / (1 - u)), np.log(1 / (u * (1 - u) * (high - low)))


def wrap(x: ArrayLike, low: float, high: float) -> Array:
    """Subtract whole periods, ``x - n (high - low)`` with ``n = floor((x - low) / (high - low))``.

    Args:
        x: numbers of any shape.
        low: the closed lower edge.
        high: the open upper edge.

    Returns:
        The wrapped numbers, of x's shape.

    Example:
        >>> float(wrap(2.5, -1.0, 1.0))
        0.5
    """
    x = np.asarray(x, np.float64)
    return np.asarray(x - np.floor((x - low) / (high - low)) * (high - low))

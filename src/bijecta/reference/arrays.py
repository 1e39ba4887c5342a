"""The array types of the reference, and the one reduction that every formula ends with."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Broadcastable = float | Array  # a number for all elements, or an array that broadcasts against them


def sum_features(values: Array) -> Array:
    """Add over the features, which are the last axis.

    y_b = sum_i v_bi

    Args:
        values: v of shape (*B, D).

    Returns:
        Sums of shape (*B,).

    Reference:
        Iverson (1962), "A Programming Language", on reduction along an axis.

    Example:
        >>> sum_features(np.ones((2, 3)))
        array([3., 3.])
    """
    total: Array = np.sum(values, axis=-1)
    return total

"""Unweighted events: accept weighted ones with probability weight over maximum, and keep what exceeds it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bijecta.errors import InputError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Unweighted:
    """Events that were accepted.

    Attributes:
        index: rows that were accepted, in order.
        weights: their weights: 1, or -1 for a negative one, and more in size for over-weights.
        maximum: the size of weight above which events are over-weights.
        efficiency: mean size of all weights over the maximum.
        overweight_rate: share of all events whose weight exceeds the maximum.
    """

    index: NDArray[np.int64]
    weights: FloatArray
    maximum: float
    efficiency: float
    overweight_rate: float


def unweight(weights: ArrayLike, *, maximum: float | None = None, size: int | None = None, seed: int = 0) -> Unweighted:
    r"""Accept events so that the accepted ones have weights of one size, but for rare over-weights.

    .. math:: P(\text{accept}_i) = \min(1, |w_i| / w_{max}), \qquad
        \tilde w_i = \operatorname{sign}(w_i) \max(1, |w_i| / w_{max})

    Over-weights keep their excess, so every sum :math:`w_{max} \sum_i \tilde w_i g(x_i)` is unbiased for
    any maximum.

    Args:
        weights: (n,), any scale; may be negative.
        maximum: the reference weight (default: `bootstrap_maximum`).
        size: events of one bootstrap sample, see `bootstrap_maximum`.
        seed: the same seed accepts the same events.

    Returns:
        Which events were accepted, their weights, and how efficient that was.

    Raises:
        InputError: weights that are not finite or all zero, or a maximum that is not positive.

    Reference:
        Gao, Höche, Isaacson, Krause, Schulz (2020), "Event generation with normalizing flows".

    Example:
        >>> result = unweight([0.5, 0.0, -2.0, 8.0], maximum=2.0)
        >>> result.index.tolist()[-2:], result.weights.tolist()[-2:]
        ([2, 3], [-1.0, 4.0])
    """
    sizes = _sizes(weights)
    top = bootstrap_maximum(weights, size) if maximum is None else float(maximum)
    if not (top > 0.0 and math.isfinite(top)):
        raise InputError(f"unweight expects a positive maximum; got {top:g}. Are most of the weights zero?")
    random = np.random.default_rng(seed)
    index = np.flatnonzero(random.random(len(sizes)) * top < sizes)
    kept = np.sign(np.asarray(weights, np.float64)[index]) * np.maximum(1.0, sizes[index] / top)
    return Unweighted(index, kept, top, float(sizes.mean()) / top, float((sizes > top).mean()))


def bootstrap_maximum(weights: ArrayLike, size: int | None = None) -> float:
    r"""Return the median of the largest weight over bootstrap samples: a maximum that one outlier does not set.

    The largest of ``size`` draws with replacement is at most the k-th smallest of n weights with probability
    :math:`(k/n)^{size}`; so the median over infinitely many samples is the weight with
    :math:`k = \lceil 2^{-1/size} n \rceil`.

    Args:
        weights: (n,), any scale; their sizes count.
        size: events of one sample (default: a tenth of n). For n it is the largest weight of all.

    Returns:
        The median maximum, in units of the weights.

    Raises:
        InputError: weights that are not finite or all zero, or a size below 1.

    Reference:
        Gao, Höche, Isaacson, Krause, Schulz (2020), "Event generation with normalizing flows".

    Example:
        >>> bootstrap_maximum([1.0] * 99 + [1000.0], size=10)
        1.0
    """
    sizes = np.sort(_sizes(weights))
    chosen = max(1, len(sizes) // 10) if size is None else size
    if chosen < 1:
        raise InputError(f"bootstrap_maximum expects a size of at least 1; got {chosen}.")
    return float(sizes[math.ceil(len(sizes) * 2.0 ** (-1.0 / chosen)) - 1])


def _sizes(weights: ArrayLike) -> FloatArray:
    sizes = np.abs(np.asarray(weights, np.float64))
    if sizes.ndim != 1 or not np.isfinite(sizes).all() or not sizes.any():
        raise InputError(f"Expected finite weights (n,), not all zero; got an array of shape {sizes.shape}.")
    return sizes

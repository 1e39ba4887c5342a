"""Monotone splines in plain NumPy float64, one element at a time: the independent check of `bijecta.functional`.

Every map is written as in its paper, in the units of the data, by loops. Inverses are found by bisection and know
nothing of the forward formula; their ladj is that of the forward map, with the sign turned.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Curve = Callable[[float, Array, float], tuple[float, float]]

MIN_BIN = 1e-3
MIN_SLOPE = 1e-3


def rational_quadratic(
    x: ArrayLike, params: ArrayLike, *, bound: float = 5.0, circular: bool = False, inverse: bool = False
) -> tuple[Array, Array]:
    """Map numbers by the rational-quadratic spline.

    ``y = y_k + h (s xi^2 + d_k xi (1-xi)) / (s + (d_k + d_(k+1) - 2s) xi (1-xi))``.

    Args:
        x: elements of shape (*B,).
        params: K width logits, K height logits, slope logits; of shape (*B, 3K - 1), or (*B, 3K) if circular.
        bound: half-width of the domain.
        circular: whether the numbers are periodic.
        inverse: compute the inverse map.

    Returns:
        y and dy/dx's logarithm, both of shape (*B,).

    Reference:
        Durkan et al., "Neural spline flows" (2019), equations 4 and 5.

    Example:
        >>> float(rational_quadratic([0.5], np.zeros((1, 23)))[0][0])
        0.5
    """

    def curve(value: float, raw: Array, half: float) -> tuple[float, float]:
        bins = raw.size // 3 if circular else (raw.size + 1) // 3
        knots_x, knots_y = knots(raw[:bins], half), knots(raw[bins : 2 * bins], half)
        slopes = [math.exp(_clip(logit)) for logit in raw[2 * bins :]]
        slopes = [*slopes, slopes[0]] if circular else [1.0, *slopes, 1.0]
        k, xi, width, height = _locate(value, knots_x, knots_y)
        s, d0, d1, p = height / width, slopes[k], slopes[k + 1], xi * (1 - xi)
        denominator = s + (d0 + d1 - 2 * s) * p
        slope = s**2 * (d1 * xi**2 + 2 * s * p + d0 * (1 - xi) ** 2) / denominator**2
        return knots_y[k] + height * (s * xi**2 + d0 * p) / denominator, slope

    x = np.asarray(x, np.float64)
    start = x - 2 * bound * np.floor((x + bound) / (2 * bound)) if circular else x
    return _apply(curve, start, params, bound, inverse=inverse)


def linear_spline(x: ArrayLike, params: ArrayLike, *, bound: float = 5.0, inverse: bool = False) -> tuple[Array, Array]:
    """Map numbers by linear interpolation between knots.

    ``y = y_k + h_k (x - x_k) / w``.

    Args:
        x: elements of shape (*B,).
        params: height logits of shape (*B, K).
        bound: half-width of the domain.
        inverse: compute the inverse map.

    Returns:
        y and dy/dx's logarithm, both of shape (*B,).

    Reference:
        Müller et al., "Neural importance sampling" (2019).

    Example:
        >>> float(linear_spline([0.5], np.zeros((1, 8)))[0][0])
        0.5
    """

    def curve(value: float, raw: Array, half: float) -> tuple[float, float]:
        knots_x, knots_y = np.linspace(-half, half, raw.size + 1), knots(raw, half)
        k, xi, width, height = _locate(value, knots_x, knots_y)
        return knots_y[k] + height * xi, height / width

    return _apply(curve, x, params, bound, inverse=inverse)


def quadratic_spline(
    x: ArrayLike, params: ArrayLike, *, bound: float = 5.0, inverse: bool = False
) -> tuple[Array, Array]:
    """Map numbers by the integral of a broken line.

    ``y = y_k + w ((v_(k+1) - v_k) xi^2 / 2 + v_k xi)``.

    Args:
        x: elements of shape (*B,).
        params: K width logits and K - 1 slope logits, of shape (*B, 2K - 1).
        bound: half-width of the domain.
        inverse: compute the inverse map.

    Returns:
        y and dy/dx's logarithm, both of shape (*B,).

    Reference:
        Müller et al., "Neural importance sampling" (2019).

    Example:
        >>> float(quadratic_spline([0.5], np.zeros((1, 15)))[0][0])
        0.5
    """

    def curve(value: float, raw: Array, half: float) -> tuple[float, float]:
        bins = (raw.size + 1) // 2
        knots_x, weights = knots(raw[:bins], half), np.exp(raw[bins:])
        # The area below the interior slopes' tent functions has to be what the two boundary tents leave over.
        tents = (knots_x[2:] - knots_x[:-2]) / 2
        interior = MIN_SLOPE + (1 - MIN_SLOPE) * weights * tents.sum() / (tents * weights).sum()
        slopes = np.concatenate([[1.0], interior, [1.0]])
        areas = np.diff(knots_x) * (slopes[1:] + slopes[:-1]) / 2
        knots_y = -half + np.concatenate([[0.0], np.cumsum(areas)])
        k, xi, width, _ = _locate(value, knots_x, knots_y)
        y = knots_y[k] + width * ((slopes[k + 1] - slopes[k]) * xi**2 / 2 + slopes[k] * xi)
        return y, slopes[k] + (slopes[k + 1] - slopes[k]) * xi

    return _apply(curve, x, params, bound, inverse=inverse)


def cubic_spline(x: ArrayLike, params: ArrayLike, *, bound: float = 5.0, inverse: bool = False) -> tuple[Array, Array]:
    """Map numbers by Steffen's monotone cubic interpolation.

    ``y = A z^3 + B z^2 + d_k z + y_k`` with ``z = x - x_k``, ``A = (d_k + d_(k+1) - 2s) / w^2`` and
    ``B = (3s - 2d_k - d_(k+1)) / w``.

    Args:
        x: elements of shape (*B,).
        params: K width logits, K height logits and 2 boundary slope logits, of shape (*B, 2K + 2).
        bound: half-width of the domain.
        inverse: compute the inverse map.

    Returns:
        y and dy/dx's logarithm, both of shape (*B,).

    Reference:
        Steffen, "A simple method for monotonic interpolation in one dimension" (1990), equations 2 to 11.

    Example:
        >>> float(cubic_spline([0.5], np.zeros((1, 18)))[0][0])
        0.5
    """

    def curve(value: float, raw: Array, half: float) -> tuple[float, float]:
        bins = (raw.size - 2) // 2
        knots_x, knots_y = knots(raw[:bins], half), knots(raw[bins : 2 * bins], half)
        slopes = _steffen(np.diff(knots_x), np.diff(knots_y), raw[2 * bins :])
        k, xi, width, height = _locate(value, knots_x, knots_y)
        z, s, d0, d1 = xi * width, height / width, slopes[k], slopes[k + 1]
        A, B = (d0 + d1 - 2 * s) / width**2, (3 * s - 2 * d0 - d1) / width
        return A * z**3 + B * z**2 + d0 * z + knots_y[k], 3 * A * z**2 + 2 * B * z + d0

    return _apply(curve, x, params, bound, inverse=inverse)


def knots(logits: Array, bound: float) -> Array:
    """Place knots on [-bound, bound] by cumulative softmax with a smallest bin.

    Args:
        logits: one per bin, of shape (K,).
        bound: half-width of the domain.

    Returns:
        Knots of shape (K + 1,).

    Example:
        >>> knots(np.zeros(2), 1.0).tolist()
        [-1.0, 0.0, 1.0]
    """
    weights = np.exp(logits - logits.max())
    fractions = MIN_BIN + (1 - MIN_BIN * logits.size) * weights / weights.sum()
    return bound * (2 * np.concatenate([[0.0], np.cumsum(fractions)]) - 1)


def _steffen(widths: Array, heights: Array, boundary_logits: Array) -> list[float]:
    s = heights / widths
    first, last = ((MIN_SLOPE + (2 - 2 * MIN_SLOPE) / (1 + math.exp(-logit))) for logit in boundary_logits)
    interior = []
    for k in range(1, s.size):
        parabola = (s[k - 1] * widths[k] + s[k] * widths[k - 1]) / (widths[k - 1] + widths[k])
        limited = (math.copysign(1, s[k - 1]) + math.copysign(1, s[k])) * min(s[k - 1], s[k], parabola / 2)
        interior.append(limited)
    return [first * s[0], *interior, last * s[-1]]


def _clip(logit: float) -> float:
    limit = -math.log(MIN_SLOPE)
    return limit * math.tanh(logit / limit)


def _locate(value: float, knots_x: Array, knots_y: Array) -> tuple[int, float, float, float]:
    """Return the bin, the position in it as a fraction, its width and its height."""
    k = int(np.clip(np.searchsorted(knots_x, value, side="right") - 1, 0, knots_x.size - 2))
    width = knots_x[k + 1] - knots_x[k]
    return k, (value - knots_x[k]) / width, width, knots_y[k + 1] - knots_y[k]


def _apply(curve: Curve, x: ArrayLike, params: ArrayLike, bound: float, *, inverse: bool) -> tuple[Array, Array]:
    x, params = np.asarray(x, np.float64), np.asarray(params, np.float64)
    y, ladj = x.copy(), np.zeros_like(x)
    for index in np.ndindex(x.shape):
        if abs(x[index]) <= bound:
            value = float(x[index])
            start = _bisect(curve, value, params[index], bound) if inverse else value
            end, slope = curve(start, params[index], bound)
            y[index] = start if inverse else end
            ladj[index] = -math.log(slope) if inverse else math.log(slope)
    return y, ladj


def _bisect(curve: Curve, target: float, raw: Array, bound: float) -> float:
    low, high = -bound, bound
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if curve(middle, raw, bound)[0] < target else (low, middle)
    return (low + high) / 2

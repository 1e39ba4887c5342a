"""Increasing functions in plain NumPy float64, one element at a time: the independent check of `functional.monotone`.

Polynomials are handled by their coefficients, integrals by a fine trapezium rule, mixtures as they are written.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import ArrayLike

from bijecta.reference.arrays import Array

Curve = Callable[[float, Array], tuple[float, float]]


def bernstein(x: ArrayLike, params: ArrayLike, *, bound: float = 5.0, limit: float = 3.0) -> tuple[Array, Array]:
    """Map numbers by a Bernstein polynomial with increasing coefficients c_k.

    ``y = sum_k c_k C(M, k) t^k (1 - t)^(M - k)``, ``dy/dx = M / (2 bound) sum_k (c_(k+1) - c_k) C(M-1, k) ...``.

    Args:
        x: elements of shape (*B,).
        params: shift and M log-slopes, of shape (*B, M + 1).
        bound: half-width of the domain; outside the map is its tangent.
        limit: bound on the log-slopes.

    Returns:
        y and dy/dx's logarithm, both of shape (*B,).

    Reference:
        Ramasinghe et al., "Robust normalizing flows using Bernstein-type polynomials" (2021).

    Example:
        >>> round(float(bernstein([0.5], np.zeros((1, 9)))[0][0]), 12)
        0.5
    """

    def curve(value: float, raw: Array) -> tuple[float, float]:
        degree = raw.size - 1
        rises = 2 * bound / degree * np.exp(_soft_clip(raw[1:], limit))
        coefficients = np.concatenate([[0.0], np.cumsum(rises)]) - np.sum(rises) / 2 + raw[0]
        t = (value + bound) / (2 * bound)
        y = _bernstein_sum(coefficients, t)
        return y, degree / (2 * bound) * _bernstein_sum(np.diff(coefficients), t)

    return _apply(curve, x, params, bound)


def sum_of_squares(
    x: ArrayLike,
    params: ArrayLike,
    *,
    squares: int = 2,
    bound: float = 5.0,
    limit: float = 1.0,
    min_slope: float = 0.05,
) -> tuple[Array, Array]:
    """Map numbers by the antiderivative of a sum of squared polynomials, coefficient by coefficient.

    ``y = shift + int_0^x (m + (1 - m) sum_j p_j(x / bound)^2)``.

    Args:
        x: elements of shape (*B,).
        params: shift and the coefficients of every square, of shape (*B, 1 + squares (r + 1)).
        squares: how many polynomials are squared.
        bound: half-width of the domain; outside the map is its tangent.
        limit: bound on the coefficients.
        min_slope: m.

    Returns:
        y and dy/dx's logarithm, both of shape (*B,).

    Reference:
        Jaini et al., "Sum-of-squares polynomial flow" (2019).

    Example:
        >>> round(float(sum_of_squares([0.5], np.zeros((1, 9)))[0][0]), 12)
        0.5
    """
    starts = np.arange(1.0, squares + 1)
    starts /= np.sqrt(np.sum(starts**2))

    def curve(value: float, raw: Array) -> tuple[float, float]:
        slope = Polynomial([min_slope])
        for start, row in zip(starts, _soft_clip(raw[1:], limit).reshape(squares, -1), strict=True):
            polynomial = Polynomial(row / bound ** np.arange(row.size)) + start
            slope = slope + (1 - min_slope) * polynomial**2
        return float(slope.integ()(value)) + raw[0], float(slope(value))

    return _apply(curve, x, params, bound)


def integrated_network(
    x: ArrayLike, params: ArrayLike, *, bound: float = 5.0, limit: float = 3.0, steps: int = 4000
) -> tuple[Array, Array]:
    """Map numbers by the integral of a positive network with one hidden layer.

    ``y = shift + int_0^x exp(soft_clip(v + sum_k h_k tanh(s_k (x - c_k)), limit))``.

    Args:
        x: elements of shape (*B,).
        params: shift, v, then H each of heights, log-scales and moves of the centres; of shape (*B, 2 + 3H).
        bound: half-width of the domain; outside the map is its tangent.
        limit: bound on the log-slope.
        steps: steps of the trapezium rule.

    Returns:
        y and dy/dx's logarithm, both of shape (*B,).

    Reference:
        Wehenkel and Louppe, "Unconstrained monotonic neural networks" (2019).

    Example:
        >>> round(float(integrated_network([0.5], np.zeros((1, 14)))[0][0]), 12)
        0.5
    """

    def curve(value: float, raw: Array) -> tuple[float, float]:
        heights, log_scales, moves = raw[2:].reshape(3, -1)
        middles = bound * ((2 * np.arange(heights.size) + 1) / heights.size - 1)
        grid = np.linspace(0, value, steps + 1)
        inner = np.exp(_soft_clip(log_scales, 0.5)) * (grid[:, None] - middles - moves)
        slope = np.exp(_soft_clip(raw[1] + np.tanh(inner) @ _soft_clip(heights, 2.0), limit))
        return raw[0] + value / steps * float(np.sum(slope) - (slope[0] + slope[-1]) / 2), float(slope[-1])

    return _apply(curve, x, params, bound)


def sigmoidal(
    x: ArrayLike, params: ArrayLike, *, bound: float = 5.0, limit: float = 3.0, min_slope: float = 1e-3
) -> tuple[Array, Array]:
    """Map numbers by the logit of a mixture of sigmoids.

    ``y = shift + m x + (1 - m) log(P / (1 - P))``, ``P = sum_j w_j / (1 + exp(-e^(b_j) (x - c_j)))``.

    Args:
        x: elements of shape (*B,), of order one: far out, 1 - P rounds to zero here.
        params: shift, then J each of weight logits, log-scales and centres, of shape (*B, 1 + 3J).
        bound: bound on the centres.
        limit: bound on the log-scales.
        min_slope: m.

    Returns:
        y and dy/dx's logarithm, both of shape (*B,).

    Reference:
        Huang et al., "Neural autoregressive flows" (2018).

    Example:
        >>> round(float(sigmoidal([0.5], np.zeros((1, 13)))[0][0]), 12)
        0.5
    """

    def curve(value: float, raw: Array) -> tuple[float, float]:
        logits, log_scales, centres = np.linspace(0.5, 1.5, raw.size // 3) * raw[1:].reshape(3, -1)
        weights = np.exp(logits) / np.sum(np.exp(logits))
        scales = np.exp(_soft_clip(log_scales, limit))
        sigmoid = 1 / (1 + np.exp(-scales * (value - _soft_clip(centres, bound))))
        P, density = float(weights @ sigmoid), float(weights @ (scales * sigmoid * (1 - sigmoid)))
        y = raw[0] + min_slope * value + (1 - min_slope) * math.log(P / (1 - P))
        return y, min_slope + (1 - min_slope) * density / (P * (1 - P))

    return _apply(curve, x, params, math.inf)


def _apply(curve: Curve, x: ArrayLike, params: ArrayLike, bound: float) -> tuple[Array, Array]:
    x, params = np.asarray(x, np.float64), np.asarray(params, np.float64)
    y, ladj = np.empty(x.shape), np.empty(x.shape)
    for place in np.ndindex(x.shape):
        inside = min(max(float(x[place]), -bound), bound)
        value, slope = curve(inside, params[place])
        y[place], ladj[place] = value + slope * (x[place] - inside), math.log(slope)
    return y, ladj


def _soft_clip(values: Array, limit: float) -> Array:
    clipped: Array = limit * np.tanh(values / limit)
    return clipped


def _bernstein_sum(coefficients: Array, t: float) -> float:
    degree = coefficients.size - 1
    return sum(float(c) * math.comb(degree, k) * t**k * (1 - t) ** (degree - k) for k, c in enumerate(coefficients))

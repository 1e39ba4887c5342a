"""Differential equations: steps of fixed size, and the step control of Dormand and Prince, for one trajectory.

A flow of dz/dt = v(t, z) changes volumes at the rate of the trace of dv/dz: append that trace to the field, and the
last number of the solution is the ladj.
"""

from collections.abc import Callable

import numpy as np

from bijecta.reference.arrays import Array

Field = Callable[[float, Array], Array]

# Times c, rows a and weights b: k_i = f(t + c_i h, y + h sum_j a_ij k_j), then y + h sum_i b_i k_i.
TABLEAUS: dict[str, tuple[list[float], list[list[float]], list[float]]] = {
    "euler": ([0], [[]], [1]),
    "midpoint": ([0, 1 / 2], [[], [1 / 2]], [0, 1]),
    "rk4": ([0, 1 / 2, 1 / 2, 1], [[], [1 / 2], [0, 1 / 2], [0, 0, 1]], [1 / 6, 2 / 6, 2 / 6, 1 / 6]),
    "dopri5": (
        [0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1],
        [
            [],
            [1 / 5],
            [3 / 40, 9 / 40],
            [44 / 45, -56 / 15, 32 / 9],
            [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
            [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
            [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
        ],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0],
    ),
}
FOURTH_ORDER_WEIGHTS = [5179 / 57600, 0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40]


def runge_kutta_slopes(field: Field, t: float, y: Array, h: float, method: str) -> Array:
    """Compute the slopes k of one step.

    k_i = f(t + c_i h, y + h sum_{j<i} a_ij k_j)

    Args:
        field: f, from a time and a state of shape (S,) to a slope of shape (S,).
        t: the time before the step.
        y: the state before the step, of shape (S,).
        h: the size of the step.
        method: a key of TABLEAUS.

    Returns:
        The slopes, of shape (stages, S).

    Reference:
        Hairer, Nørsett, Wanner (1993), "Solving Ordinary Differential Equations I", chapter II.1.

    Example:
        >>> runge_kutta_slopes(lambda t, y: -y, 0.0, np.ones(1), 1.0, "midpoint")[:, 0].tolist()
        [-1.0, -0.5]
    """
    times, rows, _ = TABLEAUS[method]
    slopes: list[Array] = []
    for c, row in zip(times, rows, strict=True):
        shift = sum((a * k for a, k in zip(row, slopes, strict=True)), start=np.zeros_like(y))
        slopes.append(field(t + c * h, y + h * shift))
    return np.stack(slopes)


def solve_fixed_steps(field: Field, y: Array, start: float, end: float, n_steps: int, method: str) -> Array:
    """Solve dy/dt = f(t, y) with steps of equal size.

    y_{n+1} = y_n + h sum_i b_i k_i

    Args:
        field: f, from a time and a state of shape (S,) to a slope of shape (S,).
        y: the state at the start, of shape (S,).
        start: first time.
        end: last time; before the first one to go backwards.
        n_steps: number of steps.
        method: a key of TABLEAUS.

    Returns:
        The state at the end, of shape (S,).

    Reference:
        Hairer, Nørsett, Wanner (1993), "Solving Ordinary Differential Equations I", chapter II.1.

    Example:
        >>> round(float(solve_fixed_steps(lambda t, y: -y, np.ones(1), 0.0, 1.0, 20, "rk4")[0]), 5)  # exp(-1)
        0.36788
    """
    h, weights = (end - start) / n_steps, np.array(TABLEAUS[method][2])
    for n in range(n_steps):
        y = y + h * weights @ runge_kutta_slopes(field, start + n * h, y, h, method)
    return y


def solve_adaptive_steps(
    field: Field, y: Array, start: float, end: float, tolerance: float
) -> tuple[Array, list[float]]:
    """Solve dy/dt = f(t, y) with steps as large as their error allows.

    e = h sum_i (b_i - b*_i) k_i,   r = max_s |e_s| / (tolerance (1 + max(|y_s|, |y'_s|)))
    h <- h min(5, max(0.2, 0.8 r^(-1/5)))

    A step is kept where r <= 1 and tried again, smaller, where not. The first one has the size 1.5 tolerance^(1/5).
    What is left is divided equally by as many steps as it takes, where a tenth of one is not counted.

    Args:
        field: f, from a time and a state of shape (S,) to a slope of shape (S,).
        y: the state at the start, of shape (S,).
        start: first time.
        end: last time; before the first one to go backwards.
        tolerance: largest error of a step, absolute and relative to the state.

    Returns:
        The state at the end, of shape (S,), and the sizes of the accepted steps.

    Reference:
        Dormand, Prince (1980), "A family of embedded Runge-Kutta formulae".

    Example:
        >>> round(float(solve_adaptive_steps(lambda t, y: -y, np.ones(1), 0.0, 1.0, 1e-8)[0][0]), 6)  # exp(-1)
        0.367879
    """
    weights = np.array(TABLEAUS["dopri5"][2])
    t, h, sizes = start, (end - start) * min(1.0, 1.5 * tolerance**0.2), list[float]()
    while t != end:
        parts = max(1.0, np.ceil((end - t) / h - 0.1))
        last, h = parts == 1, (end - t) / parts
        slopes = runge_kutta_slopes(field, t, y, h, "dopri5")
        proposal = y + h * weights @ slopes
        error = np.abs(h * (weights - np.array(FOURTH_ORDER_WEIGHTS)) @ slopes)
        ratio = float(np.max(error / (tolerance * (1 + np.maximum(np.abs(y), np.abs(proposal))))))
        if ratio <= 1:
            t, y = (end if last else t + h), proposal
            sizes.append(h)
        h *= min(5.0, max(0.2, 0.8 * ratio**-0.2)) if ratio > 0 else 5.0
    return y, sizes

"""The inverse of an increasing function that has no closed form: a search that reaches its tolerance or raises.

Why it cannot miss. The bracket doubles until the function has passed the target on both sides, so no part of the real
line is out of reach. Chandrupatla's method then keeps the root between two points and falls back to halving whenever
interpolation is not certain to help. Elements that are done stay as they are, so no row depends on another one.

Why two Newton steps give the derivatives. The search itself is not differentiated. A Newton step
``x - (f(x) - z) / f'(x)`` from a constant root has the derivatives of the inverse to first order, and each further step
doubles the order that is right: after two of them first, second and third derivatives are those of the inverse. Only
the derivatives of the steps are kept; their value, a rounding error, is not added.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from bijecta.errors import NotConvergedError

Increasing = Callable[[Tensor], tuple[Tensor, Tensor]]

MAX_DOUBLINGS = 1100  # more than the exponents of float64
MAX_STEPS = 400  # halving the widest bracket of float32 to its last digit takes 150


class _Point(NamedTuple):
    """A place and how far the function is above the target there."""

    x: Tensor
    residual: Tensor


def invert_monotone(function: Increasing, target: Tensor, *, tolerance: float | None = None) -> tuple[Tensor, Tensor]:
    """Solve ``f(x) = z`` for every element by a bracketing search, with exact derivatives.

    ``dx/dz = 1 / f'(x)``, ``dx/dp = -(df/dp) / f'(x)`` for every parameter p that f depends on, and their derivatives.

    Args:
        function: maps x of any shape to f(x) and log f'(x), element by element; increasing, onto the real line.
        target: z, of any shape.
        tolerance: the root lies within ``tolerance (1 + |x|)``; four units of the last place where it is not given.

    Returns:
        x and the ladj of the inverse, ``-log f'(x)``, both of z's shape. Where z or f is NaN, so is x; infinities
        stay infinite.

    Raises:
        NotConvergedError: f does not reach the target within the range of floating point numbers, or is not increasing.

    Reference:
        Chandrupatla, "A new hybrid quadratic/bisection algorithm for finding the zero of a nonlinear function without
        using derivatives" (1997).

    Example:
        >>> cube_root, _ = invert_monotone(lambda x: (x**3 + x, (3 * x**2 + 1).log()), torch.tensor([10.0, 1e9 + 1e3]))
        >>> cube_root
        tensor([   2., 1000.])
    """
    with torch.no_grad():
        goal = target.detach()
        root = _polish(function, goal, _search(function, goal, tolerance))
    return _differentiable(function, target, root)


def _differentiable(function: Increasing, target: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Give a root the derivatives of the inverse."""
    value, ladj = function(x)
    if torch.is_grad_enabled() and (value.requires_grad or target.requires_grad):
        for _ in range(2):
            step = (target - value) * torch.exp(-ladj)
            x = x + (step - step.detach())
            value, ladj = function(x)
    return x, -ladj


def _search(function: Increasing, target: Tensor, tolerance: float | None) -> Tensor:
    """Narrow a bracket by inverse quadratic interpolation, or by halving."""
    if tolerance is None:
        tolerance = 4 * torch.finfo(target.dtype).eps
    newest, opposite = _bracket(function, target)
    fraction = torch.full_like(target, 0.5)
    for _ in range(MAX_STEPS):
        best = _choose(newest.residual.abs() < opposite.residual.abs(), newest, opposite)
        smallest = tolerance * (1 + best.x.abs()) / (opposite.x - newest.x).abs()
        # False for NaN: a row that is not a number is nothing to wait for.
        unfinished = (smallest < 1) & (best.residual.abs() > 0)
        if not unfinished.any():
            return torch.where(target.isfinite(), best.x, target)
        fraction = torch.minimum(torch.maximum(fraction, smallest / 2), 1 - smallest / 2)
        x = torch.where(unfinished, newest.x + fraction * (opposite.x - newest.x), newest.x)
        found = _Point(x, function(x)[0] - target)
        same_side = found.residual.sign() == newest.residual.sign()
        previous = _choose(same_side, newest, opposite)
        opposite, newest = _choose(same_side, opposite, newest), found
        fraction = _next_fraction(newest, opposite, previous)
    raise _error(target, unfinished, f"the bracket did not close in {MAX_STEPS} steps")


def _bracket(function: Increasing, target: Tensor) -> tuple[_Point, _Point]:
    """Find a point below and a point above the root, by doubling what is too short."""
    low, high = -1 - target.abs(), 1 + target.abs()
    for _ in range(MAX_DOUBLINGS):
        below, above = _Point(low, function(low)[0] - target), _Point(high, function(high)[0] - target)
        too_high, too_low = below.residual > 0, above.residual < 0
        open_ended = (too_high | too_low) & target.isfinite()
        if not open_ended.any():
            return below, above
        low, high = torch.where(too_high, 2 * low, low), torch.where(too_low, 2 * high, high)
        if not (low.isfinite() & high.isfinite() | ~open_ended).all():
            break
    raise _error(target, open_ended, "the function does not reach it within the range of floating point numbers")


def _next_fraction(newest: _Point, opposite: _Point, previous: _Point) -> Tensor:
    """Say how far to go from the newest point towards the opposite one."""
    a, b, c = newest.residual, opposite.residual, previous.residual
    place = (newest.x - opposite.x) / (previous.x - opposite.x)
    height = (a - b) / (c - b)
    certain = (height.square() < place) & ((1 - height).square() < 1 - place)
    away = (previous.x - newest.x) / (opposite.x - newest.x)
    interpolated = a / (b - a) * (c / (b - c)) + away * (a / (c - a)) * (b / (c - b))
    return torch.where(certain & interpolated.isfinite(), interpolated, 0.5)


def _polish(function: Increasing, target: Tensor, x: Tensor) -> Tensor:
    """Try one Newton step, and take it where it comes closer."""
    value, ladj = function(x)
    candidate = x + (target - value) * torch.exp(-ladj)
    closer = (function(candidate)[0] - target).abs() < (value - target).abs()
    # Where the function is no number there is no root either.
    return torch.where(value.isnan(), value, torch.where(closer, candidate, x))


def _choose(condition: Tensor, first: _Point, second: _Point) -> _Point:
    return _Point(torch.where(condition, first.x, second.x), torch.where(condition, first.residual, second.residual))


def _error(target: Tensor, failed: Tensor, reason: str) -> NotConvergedError:
    worst = target.abs().where(failed, 0).max()
    return NotConvergedError(
        f"The numerical inverse failed for {int(failed.sum())} of {target.numel()} elements (the largest has size "
        f"{float(worst):.3g}): {reason}. Check the latent values and whether training diverged, or use float64."
    )

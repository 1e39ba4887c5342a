"""Splines of order one, two and three on a tile of elements, in Triton.

The definition is src/bijecta/functional/polynomial.py, and csrc/polynomial.hpp has the same formulas for a CPU; what
all splines share is in `triton_tiles`.

Without Triton this is text that nobody runs.
"""

# Triton reads annotations as text; evaluated, they would need Triton to be there.
from __future__ import annotations

from typing import Any, NamedTuple

from bijecta.functional.kernels.triton_tiles import (
    Cell,
    Course,
    Side,
    Sources,
    Target,
    _between,
    _find,
    _knots,
    _pick,
    _root,
    _side,
    _size,
    _softmax,
    _spread,
    _store,
    _tanh,
    _to_logits,
    jit,
    tl,
)

# --- order one: f = s xi on bins of equal width; the parameters are logits of heights ------------------------------


@jit
def _lay_linear(q: tl.tensor, params_at: tl.tensor, constants: tl.constexpr) -> Any:
    ys = _side(params_at, constants)
    number = (tl.arange(0, constants.padded)[None, :] + 1).to(q.dtype)
    cell = _find(q, 2 * number / constants.bins - 1, ys.right, constants)
    xi, s = cell.left, cell.h / cell.w
    image = _between(cell, xi, cell.right, constants)
    return ys, cell, Course(xi, cell.right, s * xi, s, tl.zeros_like(s), image)


@jit
def _pull_linear(ys: Side, cell: Cell, c: Course, g: Sources, to: Target, constants: tl.constexpr) -> None:
    to_heights = _spread(cell.index, g.y[:, None], g.y * c.xi + g.per_slope / cell.w, constants)
    _store(to, 0, constants.bins, _to_logits(ys, to_heights, constants))


# --- order two: f = xi (v0 + v) / 2 with v = v0 nu + v1 xi; the parameters are logits of widths and inner slopes ----


class Slopes(NamedTuple):
    """Slopes at the left and right knots of all bins, v = m' + (1 - m') u A / B inside, with u = softmax(logits).

    A sums a_j and B sums a_j u_j, where a_j is half the width of the two bins at knot j. All have two axes.
    """

    xs: Side
    params_at: Any
    u_left: Any
    u_right: Any
    left: Any
    right: Any
    B: Any
    scale: Any  # (1 - m') A / B


@jit
def _slopes(params_at: tl.tensor, constants: tl.constexpr) -> Any:
    xs, logits_at = _side(params_at, constants), params_at + constants.bins
    bins = tl.arange(0, constants.padded)[None, :]
    inner_left, inner_right = (bins > 0) & (bins < constants.bins), bins < constants.bins - 1
    u_left = _softmax(logits_at, constants.bins - 1, -1, constants)
    u_right = _softmax(logits_at, constants.bins - 1, 0, constants)
    A = tl.sum(tl.where(inner_left, xs.size, 0.0) + tl.where(inner_right, xs.size, 0.0), 1)[:, None] / 2
    B = tl.sum(xs.size * (u_left + u_right), 1)[:, None] / 2
    scale = (1 - constants.min_slope) * A / B
    left = tl.where(inner_left, constants.min_slope + scale * u_left, 1.0)
    right = tl.where(inner_right, constants.min_slope + scale * u_right, 1.0)
    return Slopes(xs, params_at, u_left, u_right, left, right, B, scale)


@jit
def _lay_quadratic(q: tl.tensor, params_at: tl.tensor, constants: tl.constexpr) -> Any:
    v = _slopes(params_at, constants)
    cell = _find(q, v.xs.right, _knots(v.xs.size * (v.left + v.right) / 2, constants), constants)
    v0, v1 = _pick(v.left, cell.index, constants), _pick(v.right, cell.index, constants)
    xi, nu = cell.left, cell.right
    if constants.inverse:
        # The slope's square is linear in y, for d(v^2)/dy = 2 dv/dx is constant.
        slope = tl.sqrt(v0 * v0 * nu + v1 * v1 * xi)
        xi, nu = xi * (v0 + v1) / (v0 + slope), nu * (v0 + v1) / (v1 + slope)
        image = _between(cell, xi, nu, constants)
    else:
        slope = v0 * nu + v1 * xi
        image = _between(cell, xi * (v0 + slope) / (v0 + v1), nu * (v1 + slope) / (v0 + v1), constants)
    return v, cell, Course(xi, nu, 0.5 * xi * (v0 + slope), slope, v1 - v0, image)


@jit
def _pull_quadratic(v: Slopes, cell: Cell, c: Course, g: Sources, to: Target, constants: tl.constexpr) -> None:
    half, k = 0.5 * g.y, cell.index
    to_v0 = half * cell.w * c.xi * (1 + c.nu) + g.per_slope * c.nu
    to_v1 = half * cell.w * c.xi * c.xi + g.per_slope * c.xi
    # y0 is the sum of the areas below, so every bin below moves the slopes at both of its ends.
    half, size = half[:, None], v.xs.size
    to_left, to_right = _spread(k, half * size, to_v0, constants), _spread(k, half * size, to_v1, constants)
    ratio = tl.sum(to_left * v.u_left + to_right * v.u_right, 1)[:, None] / v.B
    # To a_j it is (1 - v_j) ratio, zero at both boundaries, where the slope is 1.
    to_areas = _spread(k, g.x0[:, None] + half * (v.left + v.right), g.w, constants)
    to_widths = to_areas + 0.5 * ratio * ((1 - v.left) + (1 - v.right))
    _store(to, 0, constants.bins, _to_logits(v.xs, to_widths, constants))
    # Each inner knot is the right one of a bin and the left one of the next.
    next_size = _size(_softmax(v.params_at, constants.bins, 1, constants), constants)
    to_slopes = to_right + _spread(k - 1, half * next_size, to_v0, constants)
    to_logits = v.scale * v.u_right * (to_slopes - 0.5 * (size + next_size) * ratio)
    _store(to, constants.bins, constants.bins - 1, to_logits)


# --- order three: f = d0 xi nu^2 + (3 s - d1) xi^2 nu + s xi^3; logits of widths, heights and the boundary slopes ----


class End(NamedTuple):
    """The slope at one end of each bin, and its derivatives.

    They are by slope and width of the bin, by height and width of its neighbour there, and by the boundary's logit.
    """

    slope: Any
    by_s: Any
    by_w: Any
    by_height: Any
    by_width: Any
    by_logit: Any


class Sides(NamedTuple):
    """Widths and heights of all bins, and what shapes the curve in that of each element."""

    xs: Side
    ys: Side
    s: Any
    left: End
    right: End


@jit
def _end(
    cell: Cell, s: tl.tensor, xs: Side, ys: Side, index: tl.tensor, logit_at: tl.tensor, constants: tl.constexpr
) -> Any:
    """Take the slope towards the neighbour `index` by Steffen's rule, or at the boundary from its logit."""
    value, derivative = _tanh(0.5 * tl.load(logit_at))
    steep = 1 + (1 - constants.min_slope) * value
    width = _pick(xs.size, index, constants)  # anything beyond the boundary: nothing made of it is selected there
    slope = _pick(ys.size, index, constants) / width
    per_width = 1 / (cell.w + width)
    parabola, cap = (s * width + slope * cell.w) * per_width, 2 * tl.minimum(s, slope)
    boundary, capped, flatter = (index < 0) | (index == constants.bins), cap < parabola, s < slope
    by_slope = tl.where(capped, tl.where(flatter, 0.0, 2.0), cell.w * per_width)
    return End(
        tl.where(boundary, steep * s, tl.where(capped, cap, parabola)),
        tl.where(boundary, steep, tl.where(capped, tl.where(flatter, 2.0, 0.0), width * per_width)),
        tl.where(boundary | capped, 0.0, (slope - parabola) * per_width),
        by_slope / width,
        tl.where(capped, 0.0, (s - parabola) * per_width) - by_slope * slope / width,
        0.5 * (1 - constants.min_slope) * derivative * s,
    )


@jit
def _part(xi: tl.tensor, nu: tl.tensor, a: tl.tensor, b: tl.tensor) -> Any:
    """Return the covered part of the bin's height; a and b are d0 and d1 in units of its slope."""
    return xi * (a * nu * nu + (3 - b) * xi * nu + xi * xi)


@jit
def _steepness(xi: tl.tensor, nu: tl.tensor, a: tl.tensor, b: tl.tensor) -> Any:
    """Return dy/dx in units of the bin's slope."""
    return a * nu * nu + b * xi * xi + (6 - 2 * (a + b)) * xi * nu


@jit
def _cubic_root(t: tl.tensor, tc: tl.tensor, a: tl.tensor, b: tl.tensor) -> Any:
    """Find where the part t is covered, by Newton's method from the rational-quadratic curve: see polynomial.py."""
    reflect = t > tc
    near, far = tl.where(reflect, tc, t), tl.where(reflect, t, tc)
    d0, d1 = tl.where(reflect, b, a), tl.where(reflect, a, b)
    z, _ = _root(near, far, 1.0, d0, d1)
    for _ in tl.static_range(5):  # the fifth step is within rounding
        z -= (_part(z, 1 - z, d0, d1) - near) / _steepness(z, 1 - z, d0, d1)
        z = tl.where(z < 0, 0.0, tl.where(z > 1, 1.0, z))
    return tl.where(reflect, 1 - z, z), tl.where(reflect, z, 1 - z)


@jit
def _lay_cubic(q: tl.tensor, params_at: tl.tensor, constants: tl.constexpr) -> Any:
    xs, ys = _side(params_at, constants), _side(params_at + constants.bins, constants)
    cell = _find(q, xs.right, ys.right, constants)
    s, boundary_at = cell.h / cell.w, params_at + 2 * constants.bins
    left = _end(cell, s, xs, ys, cell.index - 1, boundary_at, constants)
    right = _end(cell, s, xs, ys, cell.index + 1, boundary_at + 1, constants)
    a, b = left.slope / s, right.slope / s
    xi, nu = cell.left, cell.right
    if constants.inverse:
        xi, nu = _cubic_root(xi, nu, a, b)
        image = _between(cell, xi, nu, constants)
    else:
        image = _between(cell, _part(xi, nu, a, b), _part(nu, xi, b, a), constants)
    bend = 2 * (right.slope * xi - left.slope * nu + (3 * s - left.slope - right.slope) * (nu - xi))
    course = Course(xi, nu, s * _part(xi, nu, a, b), s * _steepness(xi, nu, a, b), bend, image)
    return Sides(xs, ys, s, left, right), cell, course


@jit
def _pull_cubic(sides: Sides, cell: Cell, c: Course, g: Sources, to: Target, constants: tl.constexpr) -> None:
    s, left, right, k, p = sides.s, sides.left, sides.right, cell.index, c.xi * c.nu
    rise = g.y * cell.w * p
    to_d0 = rise * c.nu + g.per_slope * (c.nu * c.nu - 2 * p)
    to_d1 = -rise * c.xi + g.per_slope * (c.xi * c.xi - 2 * p)
    alone = g.y * cell.w * c.xi * c.xi * (3 * c.nu + c.xi) + 6 * g.per_slope * p
    to_height = (alone + to_d0 * left.by_s + to_d1 * right.by_s) / cell.w
    to_width = g.w + to_d0 * left.by_w + to_d1 * right.by_w - to_height * s
    to_widths = _spread(k, g.x0[:, None], to_width, constants)
    to_widths += _spread(k - 1, 0.0, to_d0 * left.by_width, constants)
    to_widths += _spread(k + 1, 0.0, to_d1 * right.by_width, constants)
    to_heights = _spread(k, g.y[:, None], to_height, constants)
    to_heights += _spread(k - 1, 0.0, to_d0 * left.by_height, constants)
    to_heights += _spread(k + 1, 0.0, to_d1 * right.by_height, constants)
    _store(to, 0, constants.bins, _to_logits(sides.xs, to_widths, constants))
    _store(to, constants.bins, constants.bins, _to_logits(sides.ys, to_heights, constants))
    first, last = k == 0, k == constants.bins - 1
    _store(to, 2 * constants.bins, 1, tl.where(first, to_d0 * left.by_logit, 0.0)[:, None])
    _store(to, 2 * constants.bins + 1, 1, tl.where(last, to_d1 * right.by_logit, 0.0)[:, None])

"""What one program of a GPU computes for splines in Triton: the parts that all share, and the rational-quadratic one.

The definitions are knots.py and rational_quadratic.py in src/bijecta/functional; knots.hpp and spline.hpp in csrc have
the same formulas for a CPU. A program takes a tile of elements, one row each, and reads the logits of widths and
heights as (rows, bins), filled up to a power of two. Every spline is y = y0 + w f(xi) in its bin, with dy/dx = f'(xi)
and another f each. Names ending in ``_at`` are addresses.

Without Triton this is text that nobody runs.
"""

# Triton reads annotations as text; evaluated, they would need Triton to be there.
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

try:
    import triton  # type: ignore[import-untyped,import-not-found,unused-ignore]
    import triton.language as tl  # type: ignore[import-untyped,import-not-found,unused-ignore]
except ImportError:
    triton = tl = None

__all__ = ["jit", "tl"]  # the language of all tiles


def jit(function: Callable[..., Any]) -> Any:
    """Let Triton compile a function when it is first launched.

    Args:
        function: a kernel, or a part of one.

    Returns:
        What can be launched on a GPU; the function itself where Triton is absent.
    """
    return function if triton is None else triton.jit(function)


class Elements(NamedTuple):
    """Addresses of what the kernels read, one after the other without gaps; bounds and circulars may be None."""

    x_at: Any
    params_at: Any
    bounds_at: Any
    circulars_at: Any
    count: Any


class Constants(NamedTuple):
    """What a kernel is compiled for: the settings, the size of a tile and that of the parameters of an element."""

    kind: str
    bins: int
    padded: int  # bins, filled up to a power of two
    rows: int
    parameters: int
    boundary_logit: bool  # rational-quadratic: the first slope logit is that of the boundary
    inverse: bool
    bound: float
    circular: bool
    min_bin: float
    min_slope: float
    slope_limit: float


class Side(NamedTuple):
    """Widths or heights of the bins, of shape (rows, padded), their softmax probabilities, and their right knots."""

    probability: Any
    size: Any
    right: Any


class Cell(NamedTuple):
    """The bin of each element, of shape (rows,); 0 is its left knot, 1 its right one.

    `left` and `right` are the parts of its width, or of its height for the inverse, on both sides of the element.
    """

    index: Any
    x0: Any
    x1: Any
    y0: Any
    y1: Any
    w: Any
    h: Any
    left: Any
    right: Any


class Course(NamedTuple):
    """Each element in its bin: f and its first two derivatives at xi = 1 - nu, and the answer."""

    xi: Any
    nu: Any
    f: Any
    slope: Any
    bend: Any
    image: Any


class Sources(NamedTuple):
    """What derivatives of g_y y + g_ladj ladj, the forward map's, are made from."""

    input: Any
    y: Any  # g_y, which is also the gradient to y0
    per_slope: Any  # g_ladj / f'
    x0: Any  # to the left knot and the width, where f stays as it is
    w: Any


class Target(NamedTuple):
    """Where the gradients of the parameters go, and which rows are written."""

    params_at: Any
    valid: Any


class RationalQuadratic(NamedTuple):
    """Widths and heights of all bins, and what f = s N / D and f' = (s / D)^2 T have in that of each element."""

    xs: Side
    ys: Side
    circular: Any
    s: Any
    d0: Any
    d1: Any
    steep0: Any  # derivatives of d0 and d1 by their logits
    steep1: Any
    N: Any
    M: Any
    D: Any
    T: Any


# --- reading and writing -----------------------------------------------------------------------------------------


@jit
def _rows(count: tl.tensor, constants: tl.constexpr) -> Any:
    """Number the elements of this tile; rows beyond the last one read the last, and write nothing."""
    row = tl.program_id(0).to(tl.int64) * constants.rows + tl.arange(0, constants.rows)
    return tl.minimum(row, count - 1), row < count


@jit
def _read(elements: Elements, row: tl.tensor, constants: tl.constexpr) -> Any:
    """Read the elements with their bounds and their periodicity."""
    x = tl.load(elements.x_at + row)
    if elements.bounds_at is None:
        bound = tl.full([constants.rows], constants.bound, x.dtype)
    else:
        bound = tl.load(elements.bounds_at + row)
    if elements.circulars_at is None:
        circular = tl.full([constants.rows], constants.circular, tl.int1)
    else:
        circular = tl.load(elements.circulars_at + row) != 0
    return x, bound, circular


@jit
def _upstream(gradient_at: tl.tensor, row: tl.tensor, like: tl.tensor) -> Any:
    if gradient_at is None:
        return tl.zeros_like(like)
    else:  # noqa: RET505 - Triton wants one return statement per branch that is known when it compiles
        return tl.load(gradient_at + row)


@jit
def _store(to: Target, start: tl.constexpr, count: tl.constexpr, table: tl.tensor) -> None:
    """Write the gradients of `count` parameters in a row."""
    column = tl.arange(0, table.shape[1])[None, :]
    tl.store(to.params_at[:, None] + start + column, table, mask=to.valid[:, None] & (column < count))


# --- knots -------------------------------------------------------------------------------------------------------


@jit
def _softmax(logits_at: tl.tensor, count: tl.constexpr, shift: tl.constexpr, constants: tl.constexpr) -> Any:
    """Return probabilities of `count` logits: column c has that of logit c + shift, and 0 where there is none."""
    column = tl.arange(0, constants.padded)[None, :]
    logits = tl.load(logits_at[:, None] + column, mask=column < count, other=-float("inf"))
    largest = tl.max(logits, 1)[:, None]
    total = tl.sum(tl.exp(logits - largest), 1)[:, None]
    if shift != 0:
        column += shift
        logits = tl.load(logits_at[:, None] + column, mask=(column >= 0) & (column < count), other=-float("inf"))
    return tl.exp(logits - largest) / total


@jit
def _size(probability: tl.tensor, constants: tl.constexpr) -> Any:
    return 2 * (constants.min_bin + (1 - constants.min_bin * constants.bins) * probability)


@jit
def _knots(size: tl.tensor, constants: tl.constexpr) -> Any:
    """Place the right knots of the bins; the last one is pinned, not summed."""
    bins = tl.arange(0, constants.padded)[None, :]
    return tl.where(bins == constants.bins - 1, 1.0, tl.cumsum(size, 1) - 1)


@jit
def _side(logits_at: tl.tensor, constants: tl.constexpr) -> Any:
    probability = _softmax(logits_at, constants.bins, 0, constants)
    size = _size(probability, constants)
    return Side(probability, size, _knots(size, constants))


@jit
def _to_logits(side: Side, gradient: tl.tensor, constants: tl.constexpr) -> Any:
    """Go from gradients with respect to the sizes of the bins to those with respect to their logits."""
    mean = tl.sum(side.probability * gradient, 1)[:, None]
    return 2 * (1 - constants.min_bin * constants.bins) * side.probability * (gradient - mean)


# --- the bin of an element ---------------------------------------------------------------------------------------


@jit
def _to_unit(x: tl.tensor, bound: tl.tensor) -> Any:
    """Bring numbers to [-1, 1], clamped before any arithmetic; NaN is inside and stays NaN."""
    unit = x / bound
    return tl.where(unit > 1, 1.0, tl.where(unit < -1, -1.0, unit))


@jit
def _pick(table: tl.tensor, index: tl.tensor, constants: tl.constexpr) -> Any:
    """Pick one column of each row; 0 where there is none with that index."""
    bins = tl.arange(0, constants.padded)[None, :]
    return tl.sum(tl.where(bins == index[:, None], table, 0.0), 1)


@jit
def _spread(index: tl.tensor, below: tl.tensor, here: tl.tensor, constants: tl.constexpr) -> Any:
    """Make a table with one entry for the bins below that of the index, and another for the bin itself."""
    bins, index = tl.arange(0, constants.padded)[None, :], index[:, None]
    return tl.where(bins < index, below, tl.where(bins == index, here[:, None], 0.0))


@jit
def _ends(right: tl.tensor, index: tl.tensor, constants: tl.constexpr) -> Any:
    return tl.where(index == 0, -1.0, _pick(right, index - 1, constants)), _pick(right, index, constants)


@jit
def _find(q: tl.tensor, x_right: tl.tensor, y_right: tl.tensor, constants: tl.constexpr) -> Any:
    """Find the bin of q among the right knots of x, or of y for the inverse."""
    inner = tl.arange(0, constants.padded)[None, :] < constants.bins - 1
    knots = y_right if constants.inverse else x_right
    index = tl.sum(((q[:, None] >= knots) & inner).to(tl.int32), 1)
    x0, x1 = _ends(x_right, index, constants)
    y0, y1 = _ends(y_right, index, constants)
    w, h = x1 - x0, y1 - y0
    if constants.inverse:
        return Cell(index, x0, x1, y0, y1, w, h, (q - y0) / h, (y1 - q) / h)
    else:  # noqa: RET505 - as above
        return Cell(index, x0, x1, y0, y1, w, h, (q - x0) / w, (x1 - q) / w)


@jit
def _between(cell: Cell, part: tl.tensor, rest: tl.tensor, constants: tl.constexpr) -> Any:
    """Go a part of the way to the other knot, adding the smaller one to its own knot: both are exact."""
    if constants.inverse:
        return tl.where(part <= rest, cell.x0 + cell.w * part, cell.x1 - cell.w * rest)
    else:  # noqa: RET505 - as above
        return tl.where(part <= rest, cell.y0 + cell.h * part, cell.y1 - cell.h * rest)


@jit
def _tanh(u: tl.tensor) -> Any:
    """Return tanh and its derivative, 1 - tanh^2 without the subtraction."""
    e = tl.exp(-2 * tl.abs(u))
    value = (1 - e) / (1 + e)
    value = tl.where(u < 0, -value, value)
    if u.dtype == tl.float32:
        # 1 - e has lost digits; four terms of the continued fraction are off by 3e-8 at most.
        s = u * u
        value = tl.where(s < 0.81, u * (945 + s * (105 + s)) / (945 + s * (420 + 15 * s)), value)
    return value, 4 * e / ((1 + e) * (1 + e))


@jit
def _sources(cell: Cell, c: Course, g_y: tl.tensor, g_ladj: tl.tensor, constants: tl.constexpr) -> Any:
    turn = g_ladj * c.bend / (c.slope * cell.w)
    if constants.inverse:
        # Implicit: x = f^-1(y), ladj = -log f'(x). The parameters see the forward map with -dL/dy and -dL/dladj.
        g = (g_y - turn) / c.slope
        return Sources(g, -g, -g_ladj / c.slope, g_y, c.xi * g_y - g * c.f)
    else:  # noqa: RET505 - as above
        g = g_y * c.slope + turn
        return Sources(g, g_y, g_ladj / c.slope, -g, g_y * c.f - c.xi * g)


# --- the rational-quadratic spline -------------------------------------------------------------------------------


@jit
def _slope(params_at: tl.tensor, knot: tl.tensor, circular: tl.tensor, constants: tl.constexpr) -> Any:
    """Return the slope at a knot and its derivative by the logit: 0 beside identity tails, one for both circle ends."""
    inner = (knot > 0) & (knot < constants.bins)
    if constants.boundary_logit:
        place = 2 * constants.bins + tl.where(knot < constants.bins, knot, 0)
        logit = tl.load(params_at + place, mask=inner | circular, other=0.0)
    else:
        logit = tl.load(params_at + 2 * constants.bins + knot - 1, mask=inner, other=0.0)
    value, derivative = _tanh(logit / constants.slope_limit)
    slope = tl.exp(constants.slope_limit * value)
    return slope, slope * derivative


@jit
def _root(t: tl.tensor, tc: tl.tensor, s: tl.tensor, d0: tl.tensor, d1: tl.tensor) -> Any:
    """Solve N / D = t in the form that never subtracts: see `unit_root`."""
    e = d0 * tc - d1 * t
    root = tl.sqrt(e * e + 4 * s * s * t * tc)
    reflect = e < 0
    rest = tl.where(reflect, -e, e) + root
    near = 2 * s * tl.where(reflect, tc, t)
    z, zc = near / (rest + near), rest / (rest + near)
    return tl.where(reflect, zc, z), tl.where(reflect, z, zc)


@jit
def _lay_rational_quadratic(q: tl.tensor, params_at: tl.tensor, circular: tl.tensor, constants: tl.constexpr) -> Any:
    xs, ys = _side(params_at, constants), _side(params_at + constants.bins, constants)
    cell = _find(q, xs.right, ys.right, constants)
    s = cell.h / cell.w
    d0, steep0 = _slope(params_at, cell.index, circular, constants)
    d1, steep1 = _slope(params_at, cell.index + 1, circular, constants)
    xi, nu = cell.left, cell.right
    if constants.inverse:
        xi, nu = _root(xi, nu, s, d0, d1)
    p, tilt = xi * nu, nu - xi
    N, M = s * xi * xi + d0 * p, s * nu * nu + d1 * p
    D, T = N + M, d1 * xi * xi + 2 * s * p + d0 * nu * nu
    slope = (s / D) * (s / D) * T
    bend = 2 * slope * ((d1 * xi - d0 * nu + s * tilt) / T - (d0 + d1 - 2 * s) * tilt / D)
    image = _between(cell, xi, nu, constants) if constants.inverse else _between(cell, N / D, M / D, constants)
    table = RationalQuadratic(xs, ys, circular, s, d0, d1, steep0, steep1, N, M, D, T)
    return table, cell, Course(xi, nu, s * N / D, slope, bend, image)


@jit
def _slope_logits(index: tl.tensor, g0: tl.tensor, g1: tl.tensor, circular: tl.tensor, constants: tl.constexpr) -> Any:
    """Spread the gradients of two slope logits over all of them."""
    column, index = tl.arange(0, constants.padded)[None, :], index[:, None]
    knot = column if constants.boundary_logit else column + 1
    spread = tl.where(knot == index, g0[:, None], 0.0) + tl.where(knot == index + 1, g1[:, None], 0.0)
    if constants.boundary_logit:
        last = tl.where(index == constants.bins - 1, g1[:, None], 0.0)
        spread = tl.where(knot == 0, tl.where(circular[:, None], spread + last, 0.0), spread)
    return spread


@jit
def _pull_rational_quadratic(
    t: RationalQuadratic, cell: Cell, c: Course, g: Sources, to: Target, constants: tl.constexpr
) -> None:
    k, xx, nn, p = cell.index, c.xi * c.xi, c.nu * c.nu, c.xi * c.nu
    g_ladj, g_ratio = g.per_slope * c.slope, g.y * cell.h / (t.D * t.D)
    # ladj = 2 log s - 2 log D + log T, and y = y0 + s w N / D.
    to_d0 = g_ratio * p * t.M + g_ladj * (nn / t.T - 2 * p / t.D)
    to_d1 = g_ladj * (xx / t.T - 2 * p / t.D) - g_ratio * p * t.N
    to_s = g_ratio * p * (t.d1 * xx - t.d0 * nn) + g_ladj * 2 * (1 / t.s + p / t.T - (xx + nn) / t.D)
    to_height = g.y * t.N / t.D + to_s / cell.w
    to_widths = _spread(k, g.x0[:, None], g.w - to_height * t.s, constants)
    to_heights = _spread(k, g.y[:, None], to_height, constants)
    to_slopes = _slope_logits(k, to_d0 * t.steep0, to_d1 * t.steep1, t.circular, constants)
    _store(to, 0, constants.bins, _to_logits(t.xs, to_widths, constants))
    _store(to, constants.bins, constants.bins, _to_logits(t.ys, to_heights, constants))
    _store(to, 2 * constants.bins, constants.parameters - 2 * constants.bins, to_slopes)

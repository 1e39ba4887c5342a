"""What one program of a GPU computes for the rational-quadratic spline, in Triton.

The definition is src/bijecta/functional/rational_quadratic.py, and csrc/spline.hpp has the same formulas for a CPU. A
program takes a tile of elements, one row each, and reads the logits of widths and heights as (rows, bins) once; of
the slopes it reads the two that an element needs. Names ending in ``_at`` are addresses.

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

    bins: int
    padded: int  # bins, filled up to a power of two
    rows: int
    parameters: int
    boundary_logit: bool  # 3K parameters instead of 3K - 1: the first slope logit is that of the boundary
    inverse: bool
    bound: float
    circular: bool
    min_bin: float
    slope_limit: float


class Side(NamedTuple):
    """Widths or heights of the bins, of shape (rows, padded): softmax probabilities, and the right knot of each bin."""

    probability: Any
    right: Any


class Bin(NamedTuple):
    """The bin of each element, of shape (rows,); 0 is its left knot, 1 its right one."""

    index: Any
    x0: Any
    x1: Any
    y0: Any
    y1: Any
    logit0: Any
    logit1: Any


class Curve(NamedTuple):
    """What the formulas of one bin share; xi and nu are the distances to its knots, and dy/dx = (s / D)^2 T."""

    w: Any
    h: Any
    s: Any
    d0: Any
    d1: Any
    xi: Any
    nu: Any
    N: Any
    M: Any
    D: Any
    T: Any


class Slopes(NamedTuple):
    """Gradients with respect to the four knots and the two slope logits of a bin."""

    x0: Any
    x1: Any
    y0: Any
    y1: Any
    logit0: Any
    logit1: Any


# --- reading -----------------------------------------------------------------------------------------------------


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
def _side(logits_at: tl.tensor, constants: tl.constexpr) -> Any:
    bins = tl.arange(0, constants.padded)[None, :]
    logits = tl.load(logits_at[:, None] + bins, mask=bins < constants.bins, other=-float("inf"))
    exponentials = tl.exp(logits - tl.max(logits, 1)[:, None])
    probability = exponentials / tl.sum(exponentials, 1)[:, None]
    fraction = constants.min_bin + (1 - constants.min_bin * constants.bins) * probability
    # The last knot is pinned, not summed.
    right = tl.where(bins == constants.bins - 1, 1.0, 2 * tl.cumsum(fraction, 1) - 1)
    return Side(probability, right)


@jit
def _slope_logit(params_at: tl.tensor, knot: tl.tensor, circular: tl.tensor, constants: tl.constexpr) -> Any:
    """Read the slope logit of a knot: 0 beside identity tails, one for both ends of a circle."""
    inner = (knot > 0) & (knot < constants.bins)
    if constants.boundary_logit:
        place = 2 * constants.bins + tl.where(knot < constants.bins, knot, 0)
        return tl.load(params_at + place, mask=inner | circular, other=0.0)
    else:  # noqa: RET505 - Triton wants one return statement per branch that is known when it compiles
        return tl.load(params_at + 2 * constants.bins + knot - 1, mask=inner, other=0.0)


# --- the map -----------------------------------------------------------------------------------------------------


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
def _left(right: tl.tensor, index: tl.tensor, constants: tl.constexpr) -> Any:
    return tl.where(index == 0, -1.0, _pick(right, index - 1, constants))


@jit
def _find(q: tl.tensor, xs: Side, ys: Side, params_at: tl.tensor, circular: tl.tensor, constants: tl.constexpr) -> Any:
    """Find the bin of q among the knots of x, or of y for the inverse."""
    inner = tl.arange(0, constants.padded)[None, :] < constants.bins - 1
    knots = ys.right if constants.inverse else xs.right
    index = tl.sum(((q[:, None] >= knots) & inner).to(tl.int32), 1)
    return Bin(
        index,
        _left(xs.right, index, constants),
        _pick(xs.right, index, constants),
        _left(ys.right, index, constants),
        _pick(ys.right, index, constants),
        _slope_logit(params_at, index, circular, constants),
        _slope_logit(params_at, index + 1, circular, constants),
    )


@jit
def _tanh(u: tl.tensor) -> Any:
    """Return tanh and its derivative, 1 - tanh^2 without the subtraction."""
    e = tl.exp(-2 * tl.abs(u))
    value = (1 - e) / (1 + e)
    return tl.where(u < 0, -value, value), 4 * e / ((1 + e) * (1 + e))


@jit
def _slope(logit: tl.tensor, limit: tl.constexpr) -> Any:
    """Return the slope at a knot and its derivative with respect to the logit."""
    value, derivative = _tanh(logit / limit)
    slope = tl.exp(limit * value)
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
def _curve(q: tl.tensor, here: Bin, constants: tl.constexpr) -> Any:
    w, h = here.x1 - here.x0, here.y1 - here.y0
    s = h / w
    d0, _ = _slope(here.logit0, constants.slope_limit)
    d1, _ = _slope(here.logit1, constants.slope_limit)
    if constants.inverse:
        xi, nu = _root((q - here.y0) / h, (here.y1 - q) / h, s, d0, d1)
    else:
        xi, nu = (q - here.x0) / w, (here.x1 - q) / w
    p = xi * nu
    N, M = s * xi * xi + d0 * p, s * nu * nu + d1 * p
    return Curve(w, h, s, d0, d1, xi, nu, N, M, N + M, d1 * xi * xi + 2 * s * p + d0 * nu * nu)


@jit
def _image(here: Bin, c: Curve, constants: tl.constexpr) -> Any:
    """Add the smaller part to its own knot, which makes both knots exact."""
    if constants.inverse:
        return tl.where(c.xi <= c.nu, here.x0 + c.w * c.xi, here.x1 - c.w * c.nu)
    else:  # noqa: RET505 - as above
        return tl.where(c.N <= c.M, here.y0 + c.h * (c.N / c.D), here.y1 - c.h * (c.M / c.D))


@jit
def map_tile(elements: Elements, y_at: tl.tensor, ladj_at: tl.tensor, constants: tl.constexpr) -> None:
    """Map a tile of elements: the kernel of `spline`."""
    row, valid = _rows(elements.count, constants)
    x, bound, circular = _read(elements, row, constants)
    params_at = elements.params_at + row * constants.parameters
    xs, ys = _side(params_at, constants), _side(params_at + constants.bins, constants)
    q = _to_unit(x, bound)
    here = _find(q, xs, ys, params_at, circular, constants)
    c = _curve(q, here, constants)
    log_slope = tl.log((c.s / c.D) * (c.s / c.D) * c.T)
    outside = tl.abs(x) > bound
    y = tl.where(outside, x, bound * _image(here, c, constants))
    y = tl.where(circular & (y >= bound), -bound, y)  # the two ends of a circle are one point
    tl.store(y_at + row, y, mask=valid)
    tl.store(ladj_at + row, tl.where(outside, 0.0, -log_slope if constants.inverse else log_slope), mask=valid)


# --- the gradient ------------------------------------------------------------------------------------------------


@jit
def _upstream(gradient_at: tl.tensor, row: tl.tensor, like: tl.tensor) -> Any:
    if gradient_at is None:
        return tl.zeros_like(like)
    else:  # noqa: RET505 - as above
        return tl.load(gradient_at + row)


@jit
def _differentiate(c: Curve, here: Bin, g_out: tl.tensor, g_ladj: tl.tensor, constants: tl.constexpr) -> Any:
    """Derive g_out y + g_ladj ladj by the input, the knots and the slope logits."""
    p, tilt = c.xi * c.nu, c.nu - c.xi
    # Derivatives of ladj = 2 log s - 2 log D + log T, with nu = 1 - xi.
    ladj_xi = 2 * ((c.d1 * c.xi - c.d0 * c.nu + c.s * tilt) / c.T - (c.d0 + c.d1 - 2 * c.s) * tilt / c.D)
    ladj_s = 2 * (1 / c.s + p / c.T - (c.xi * c.xi + c.nu * c.nu) / c.D)
    ladj_d0, ladj_d1 = c.nu * c.nu / c.T - 2 * p / c.D, c.xi * c.xi / c.T - 2 * p / c.D
    g_y = g_out
    if constants.inverse:
        # Implicit: x = f^-1(y), ladj = -log f'(x). The parameters see the forward map with -dL/dy and -dL/dladj.
        g_y = -(g_out - g_ladj * ladj_xi / c.w) / ((c.s / c.D) * (c.s / c.D) * c.T)
        g_ladj = -g_ladj
    g = g_y * c.h / (c.D * c.D)
    g_xi = g * c.s * c.T + g_ladj * ladj_xi
    g_s = g * p * (c.d1 * c.xi * c.xi - c.d0 * c.nu * c.nu) + g_ladj * ladj_s
    _, steep0 = _slope(here.logit0, constants.slope_limit)
    _, steep1 = _slope(here.logit1, constants.slope_limit)
    slopes = Slopes(
        # xi = (x - x0) / w, s = h / w, y = y0 + h N / D.
        (g_s * c.s - g_xi * c.nu) / c.w,
        -(g_s * c.s + g_xi * c.xi) / c.w,
        g_y * c.M / c.D - g_s / c.w,
        g_y * c.N / c.D + g_s / c.w,
        (g * p * c.M + g_ladj * ladj_d0) * steep0,
        (g_ladj * ladj_d1 - g * p * c.N) * steep1,
    )
    return (-g_y if constants.inverse else g_xi / c.w), slopes


@jit
def _to_logits(side: Side, index: tl.tensor, g0: tl.tensor, g1: tl.tensor, constants: tl.constexpr) -> Any:
    """Go from the two knots of a bin to the logits of one side, through knots and softmax together."""
    bins, index = tl.arange(0, constants.padded)[None, :], index[:, None]
    below = tl.sum(tl.where(bins < index, side.probability, 0.0), 1)[:, None]
    here = tl.sum(tl.where(bins == index, side.probability, 0.0), 1)[:, None]
    # The last knot is pinned. All bins below move both knots, the bin itself moves only the right one.
    g1 = tl.where(index == constants.bins - 1, 0.0, g1[:, None])
    both = g0[:, None] + g1
    # dL/dprobability minus its mean, written so that nothing cancels.
    above = -(both * below + g1 * here)
    pull = tl.where(bins < index, both * (1 - below) - g1 * here, above)
    pull = tl.where(bins == index, g1 * (1 - here) - both * below, pull)
    return 2 * (1 - constants.min_bin * constants.bins) * side.probability * pull


@jit
def _to_slope_logits(index: tl.tensor, g: Slopes, circular: tl.tensor, constants: tl.constexpr) -> Any:
    """Spread the gradients of two slope logits over all of them."""
    column, index = tl.arange(0, constants.padded)[None, :], index[:, None]
    knot = column if constants.boundary_logit else column + 1
    spread = tl.where(knot == index, g.logit0[:, None], 0.0) + tl.where(knot == index + 1, g.logit1[:, None], 0.0)
    if constants.boundary_logit:
        last = tl.where(index == constants.bins - 1, g.logit1[:, None], 0.0)
        spread = tl.where(knot == 0, tl.where(circular[:, None], spread + last, 0.0), spread)
    return spread


@jit
def gradient_tile(
    elements: Elements,
    g_y_at: tl.tensor,
    g_ladj_at: tl.tensor,
    g_x_at: tl.tensor,
    g_params_at: tl.tensor,
    constants: tl.constexpr,
) -> None:
    """Pull gradients back through a tile of elements: the kernel of `gradient`."""
    row, valid = _rows(elements.count, constants)
    x, bound, circular = _read(elements, row, constants)
    params_at = elements.params_at + row * constants.parameters
    xs, ys = _side(params_at, constants), _side(params_at + constants.bins, constants)
    q = _to_unit(x, bound)
    here = _find(q, xs, ys, params_at, circular, constants)
    c = _curve(q, here, constants)
    g_y, g_ladj = _upstream(g_y_at, row, x), _upstream(g_ladj_at, row, x)
    outside = tl.abs(x) > bound
    g_x, g = _differentiate(c, here, g_y * bound, g_ladj, constants)
    # `clamp` passes no gradient to NaN, so the definition has zero there.
    g_x = tl.where(outside, g_y, tl.where(q == q, g_x / bound, 0.0))
    tl.store(g_x_at + row, g_x, mask=valid)
    columns = tl.arange(0, constants.padded)[None, :]
    write = valid[:, None] & (columns < constants.bins)
    place = (g_params_at + row * constants.parameters)[:, None] + columns
    silent = outside[:, None]
    tl.store(place, tl.where(silent, 0.0, _to_logits(xs, here.index, g.x0, g.x1, constants)), mask=write)
    to_heights = _to_logits(ys, here.index, g.y0, g.y1, constants)
    tl.store(place + constants.bins, tl.where(silent, 0.0, to_heights), mask=write)
    slopes = constants.parameters - 2 * constants.bins
    to_slopes = tl.where(silent, 0.0, _to_slope_logits(here.index, g, circular, constants))
    tl.store(place + 2 * constants.bins, to_slopes, mask=valid[:, None] & (columns < slopes))

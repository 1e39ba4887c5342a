"""What one program of a GPU computes for maps by mixtures of distribution functions, in Triton.

The definitions are `gaussianise` and `sigmoidal` of `bijecta.functional`; csrc/mixture.hpp has the same formulas for a
CPU. A program takes a tile of elements, one row each, and its tensors have the shape (rows,), or (rows, components)
with columns of weight zero up to a power of two. The tail of a mixture is always summed relative to its largest term,
so that there is no tail that is too small. Names ending in ``_at`` are addresses.

Without Triton this is text that nobody runs.
"""

# Triton reads annotations as text; evaluated, they would need Triton to be there.
from __future__ import annotations

from typing import Any, NamedTuple

from bijecta.functional.kernels.triton_tiles import _rows, _tanh, _upstream, jit, tl


class Elements(NamedTuple):
    """Addresses of elements and parameters, without gaps; element i has the parameters of row i % rows."""

    x_at: Any
    params_at: Any
    rows: Any
    count: Any


class Constants(NamedTuple):
    """What a kernel is compiled for: the settings, the size of a tile, and what depends on the type of the numbers."""

    rows: int
    components: int
    padded: int  # components, filled up to a power of two
    shifts: int  # parameters before those of the components: one for logistic functions, none for normals
    inverse: bool
    bound: float
    limit: float
    min_slope: float
    rest: float  # 1 - min_slope; a number that a kernel gives a name is float32
    erfcx: tuple[float, ...]  # coefficients, that of the highest power first
    epsilon: float


class Mixture(NamedTuple):
    """The components of each element; the slopes are derivatives by the raw parameters."""

    shift: Any
    log_weight: Any
    weight: Any
    scale: Any
    centre: Any
    logit_slope: Any
    scale_slope: Any
    centre_slope: Any


class Sums(NamedTuple):
    """The mixture at a place: its tail P, which is below for side 1 and above for side -1, and its rate |dP/dx|.

    F is the distribution function, g = F^-1(P); share and part are those of the components in P and in the rate.
    """

    side: Any
    other: Any  # 1 - P
    value: Any  # g
    ratio: Any  # P / F'(g)
    pull: Any  # d log F' / dg at g
    steep: Any  # dg/dx
    share: Any
    part: Any
    bend: Any  # -d log F' / du of the components


class Search(NamedTuple):
    """Where the search for an inverse is, in a bracket, and how long the last step was."""

    x: Any
    low: Any
    high: Any
    length: Any
    waiting: Any


# --- the components ----------------------------------------------------------------------------------------------


@jit
def _locate(params_at: tl.tensor, row: tl.tensor, constants: tl.constexpr) -> Any:
    """Return the addresses of rows of parameters and of the logits in them, and which of the columns are real."""
    row_at = params_at + row * (constants.shifts + 3 * constants.components)
    column = tl.arange(0, constants.padded)[None, :]
    return row_at, row_at[:, None] + constants.shifts + column, column < constants.components


@jit
def _read(elements: Elements, row: tl.tensor, constants: tl.constexpr) -> Any:
    """Read the elements and their components."""
    x = tl.load(elements.x_at + row)
    row_at, logit_at, real = _locate(elements.params_at, row % elements.rows, constants)
    logit = tl.load(logit_at, mask=real, other=-float("inf"))
    log_scale = tl.load(logit_at + constants.components, mask=real, other=0.0)
    centre = tl.load(logit_at + 2 * constants.components, mask=real, other=0.0)
    shift, strength, centre_slope = tl.zeros_like(x), 1.0, 1.0
    if constants.shifts:
        shift = tl.load(row_at)
        strength = 0.5 + tl.arange(0, constants.padded)[None, :].to(x.dtype) / max(constants.components - 1, 1)
        place, steep = _tanh(strength * centre / constants.bound)
        centre, centre_slope = constants.bound * place, strength * steep
    clipped, steep = _tanh(strength * log_scale / constants.limit)
    logit = strength * logit
    logit -= tl.max(logit, 1)[:, None]
    total = tl.sum(tl.exp(logit), 1)[:, None]
    weight, scale = tl.exp(logit) / total, tl.exp(constants.limit * clipped)
    return x, Mixture(shift, logit - tl.log(total), weight, scale, centre, strength, strength * steep, centre_slope)


@jit
def _erfcx(z: tl.tensor, constants: tl.constexpr) -> Any:
    """Return exp(z^2) erfc(z) for z >= 0: a polynomial in (z - 5/2) / (z + 5/2), divided by z + 5/2."""
    part = 1 / (z + 2.5)
    t = (z - 2.5) * part
    series = tl.zeros_like(z) + constants.erfcx[0]
    for k in tl.static_range(1, len(constants.erfcx)):
        series = series * t + constants.erfcx[k]
    return series * part


@jit
def _component(u: tl.tensor, constants: tl.constexpr) -> Any:
    """Measure F from the nearer side.

    F(-|u|) = power tail, F'(u) = power density, power = exp(exponent) <= 1, bend = -d log F' / du.
    """
    size = tl.abs(u)
    if constants.shifts:
        power = tl.exp(-size)
        tail = 1 / (1 + power)
        bend = (1 - power) * tail
        return -size, power, tail, tail * tail, tl.where(u < 0, -bend, bend)
    else:  # noqa: RET505 - Triton wants one return statement per branch that is known when it compiles
        size = tl.where(size > 1e18, 1e18, size)  # its square is finite
        exponent = -0.5 * size * size
        tail = 0.5 * _erfcx(0.7071067811865476 * size, constants)
        return exponent, tl.exp(exponent), tail, tl.zeros_like(u) + 0.3989422804014327, u


@jit
def _link(log_tail: tl.tensor, other: tl.tensor, constants: tl.constexpr) -> Any:
    """Return g = F^-1(P), P / F'(g), and d log F' / dg."""
    if constants.shifts:
        tail = tl.exp(log_tail)
        return log_tail - tl.log(other), (tail + other) / other, tail - other
    else:  # noqa: RET505 - as above
        # Halley's steps on log F from a fit in sqrt(-2 log P); the hazard h follows by its own derivatives.
        r = tl.sqrt(-2 * log_tail)
        q = 1 / r
        above = ((2.6521033 * q + 1.58165014) * q + 0.0738960171) * q + 0.000185790393
        below = (((q + 1.90999553) * q + 0.470234379) * q + 0.0127854087) * q + 1.99269556e-05
        y, hazard = above * q / below - r, q
        for _ in tl.static_range(2):
            y = tl.where(y > 0, 0.0, y)
            scaled = _erfcx(-0.7071067811865476 * y, constants)
            h = 0.7978845608028654 / scaled
            total = h + y
            newton = (log_tail - (tl.log(scaled) - 0.6931471805599453 - 0.5 * y * y)) / h
            move = newton / (1 - 0.5 * newton * total)
            first = -h * total
            second = -first * total - h * (first + 1)
            y, hazard = y + move, h + move * (first + 0.5 * move * second)
        return y, 1 / hazard, y


# --- the map -----------------------------------------------------------------------------------------------------


@jit
def _add_up(x: tl.tensor, m: Mixture, constants: tl.constexpr) -> Any:
    u = m.scale * (x[:, None] - m.centre)
    exponent, power, tail, density, bend = _component(u, constants)
    near = m.weight * (power * tail)
    below = tl.sum(tl.where(u < 0, near, m.weight - near), 1)
    above = tl.sum(tl.where(u < 0, m.weight - near, near), 1)
    side = tl.where(below <= 0.5, 1.0, -1.0).to(x.dtype)
    # The tail again, divided by the exponential of its largest term.
    outer = side[:, None] * u < 0
    size = m.log_weight + tl.where(outer, exponent, 0.0)
    largest = tl.max(size, 1)
    factor = tl.exp(size - largest[:, None])
    mass = factor * tl.where(outer, tail, 1 - power * tail)
    slope = factor * tl.where(outer, 1.0, power) * density * m.scale
    total, rate = tl.sum(mass, 1), tl.sum(slope, 1)
    other = tl.where(below <= 0.5, above, below)
    value, ratio, pull = _link(largest + tl.log(total), other, constants)
    part = tl.where(rate[:, None] < 1e-37, 0.0, slope / rate[:, None])
    return Sums(side, other, value, ratio, pull, rate / total * ratio, mass / total[:, None], part, bend)


@jit
def _inside(x: tl.tensor, constants: tl.constexpr) -> Any:
    """Clamp to where the map is no tangent; NaN stays."""
    if constants.shifts:
        return x
    else:  # noqa: RET505 - as above
        return tl.where(x > constants.bound, constants.bound, tl.where(x < -constants.bound, -constants.bound, x))


@jit
def _map(x: tl.tensor, m: Mixture, constants: tl.constexpr) -> Any:
    """Return y and the slope: with a share of the identity, beyond the bound by the tangent."""
    inside = _inside(x, constants)
    sums = _add_up(inside, m, constants)
    slope = constants.min_slope + constants.rest * sums.steep
    y = m.shift + constants.min_slope * inside + constants.rest * sums.side * sums.value
    if constants.shifts:
        y = tl.where(tl.abs(x) == float("inf"), x + sums.other + m.shift, y)  # NaN stays
    else:
        y += slope * (x - inside)
    return y, slope


@jit
def map_tile(elements: Elements, y_at: tl.tensor, ladj_at: tl.tensor, constants: tl.constexpr) -> None:
    """Map a tile of elements: the kernel of `mixture`."""
    row, valid = _rows(elements.count, constants)
    x, m = _read(elements, row, constants)
    if constants.inverse:
        x = _solve(x, m, constants)
    y, slope = _map(x, m, constants)
    log_slope = tl.log(slope)
    tl.store(y_at + row, x if constants.inverse else y, mask=valid)
    tl.store(ladj_at + row, -log_slope if constants.inverse else log_slope, mask=valid)


# --- the inverse -------------------------------------------------------------------------------------------------


@jit
def _start(z: tl.tensor, m: Mixture) -> Any:
    """Begin as if the mixture were one component of the same mean and spread; what is not finite stays."""
    mean = tl.sum(m.weight * m.centre, 1)
    distance = m.centre - mean[:, None]
    variance = tl.sum(m.weight * (distance * distance + 1 / (m.scale * m.scale)), 1)
    guess = mean + tl.sqrt(variance) * (z - m.shift)
    finite, far = tl.abs(z) < float("inf"), tl.zeros_like(z) + float("inf")
    return Search(tl.where(finite, tl.where(tl.abs(guess) < far, guess, 0.0), z), -far, far, far, finite)


@jit
def _narrow(s: Search, z: tl.tensor, m: Mixture, constants: tl.constexpr) -> Any:
    """Take Newton's step where it stays in the bracket and is half as long as the last one; halve it otherwise."""
    y, slope = _map(s.x, m, constants)
    residual = y - z
    # No slope is below the smallest one, so the root is not farther than this; twice that, for rounding.
    reach = 2 / constants.min_slope * tl.abs(residual)
    low = tl.maximum(s.low, tl.where(residual < 0, s.x, s.x - reach))
    high = tl.minimum(s.high, tl.where(residual > 0, s.x, s.x + reach))
    newton = s.x - residual / slope
    length, tolerance = tl.abs(newton - s.x), 4 * constants.epsilon * (1 + tl.abs(s.x))
    certain = (newton > low) & (newton < high) & (length <= 0.5 * s.length)
    settled = tl.abs(residual) <= 0.5 * constants.epsilon * (1 + tl.abs(z))
    undefined = residual != residual
    x = tl.where(certain, newton, tl.where(settled, s.x, tl.where(undefined, residual, 0.5 * low + 0.5 * high)))
    done = settled | (certain & (length <= tolerance)) | (high - low <= tolerance) | undefined
    return Search(tl.where(s.waiting, x, s.x), low, high, tl.abs(x - s.x), s.waiting & (done == 0))


@jit
def _solve(z: tl.tensor, m: Mixture, constants: tl.constexpr) -> Any:
    """Search until all elements have arrived; those that never do are infinite."""
    search, step = _start(z, m), 0
    while (step < 300) & (tl.max(search.waiting.to(tl.int32), 0) > 0):  # 60 halve a bracket to its last digit
        search = _narrow(search, z, m, constants)
        step += 1
    return tl.where(search.waiting, float("inf"), search.x)


# --- the gradient ------------------------------------------------------------------------------------------------


@jit
def gradient_tile(
    elements: Elements,
    g_y_at: tl.tensor,
    g_ladj_at: tl.tensor,
    g_x_at: tl.tensor,
    g_params_at: tl.tensor,
    constants: tl.constexpr,
) -> None:
    """Pull gradients back through a tile of elements: the kernel of `gradient`; the inverse hands over its roots."""
    row, valid = _rows(elements.count, constants)
    x, m = _read(elements, row, constants)
    g_y, g_ladj = _upstream(g_y_at, row, x), _upstream(g_ladj_at, row, x)
    inside = _inside(x, constants)
    sums = _add_up(inside, m, constants)
    slope = constants.min_slope + constants.rest * sums.steep
    share, pull = constants.rest * sums.steep / slope, sums.side * sums.pull
    # d ladj / dx; the tangents are straight.
    turn = pull * sums.steep - tl.sum(sums.part * sums.bend * m.scale, 1)
    curvature = tl.where(inside == x, share * turn, 0.0)
    if constants.inverse:
        # Implicit: x = f^-1(y), ladj = -log f'(x). The parameters see the forward map with -dL/dy and -dL/dladj.
        g_x = (g_y - g_ladj * curvature) / slope
        g_y, g_ladj = -g_x, -g_ladj
    else:
        g_x = g_y * slope + g_ladj * curvature
    tl.store(g_x_at + row, g_x, mask=valid)
    # Gradients by g, and by log(dg/dx).
    to_value, to_steep = (constants.rest * g_y)[:, None], ((g_ladj + g_y * slope * (x - inside)) * share)[:, None]
    climb, pull = to_value * sums.steep[:, None], pull[:, None]
    # Far out `to_steep` is as large as x: what it multiplies is small, but its parts are not, so they are added first.
    mass = (sums.side * sums.ratio)[:, None] * (sums.share - m.weight)
    distance, tilt = inside[:, None] - m.centre, pull * sums.steep[:, None] - sums.bend * m.scale
    g_logit = to_value * mass + to_steep * (pull * mass + (sums.part - m.weight))
    g_scale = sums.part * distance * climb + to_steep * (sums.part * (1 + tilt * distance))
    g_centre = -(sums.part * climb + to_steep * (sums.part * tilt))
    row_at, logit_at, real = _locate(g_params_at, row, constants)
    if constants.shifts:
        tl.store(row_at, g_y, mask=valid)
    real &= valid[:, None]
    tl.store(logit_at, g_logit * m.logit_slope, mask=real)
    tl.store(logit_at + constants.components, g_scale * m.scale_slope, mask=real)
    tl.store(logit_at + 2 * constants.components, g_centre * m.centre_slope, mask=real)

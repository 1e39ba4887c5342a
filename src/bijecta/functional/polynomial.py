"""Monotone splines of order one, two and three, each with an inverse to near machine precision.

All of them live on [-1, 1] inside (see `knots`), measure the position in a bin from both of its ends (xi from the
left, nu from the right), and are the identity outside of [-bound, bound] and at all-zero parameters.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from bijecta.functional import kernels
from bijecta.functional.kernels import SplineSettings
from bijecta.functional.knots import at_ends, count_bins, find_bin, match_dtype, require_slope, unit_knots, within
from bijecta.functional.rational_quadratic import unit_root


def linear_spline_params(bins: int) -> int:
    """Count the parameters of one element of a linear spline: ``P = K``.

    Args:
        bins: K.

    Returns:
        P.

    Example:
        >>> linear_spline_params(8)
        8
    """
    return bins


def quadratic_spline_params(bins: int) -> int:
    """Count the parameters of one element of a quadratic spline: ``P = 2K - 1``.

    Args:
        bins: K.

    Returns:
        P.

    Example:
        >>> quadratic_spline_params(8)
        15
    """
    return 2 * bins - 1


def cubic_spline_params(bins: int) -> int:
    """Count the parameters of one element of a cubic spline: ``P = 2K + 2``.

    Args:
        bins: K.

    Returns:
        P.

    Example:
        >>> cubic_spline_params(8)
        18
    """
    return 2 * bins + 2


def linear_spline(
    x: Tensor, params: Tensor, *, bound: float | Tensor = 5.0, inverse: bool = False, min_bin: float = 1e-3
) -> tuple[Tensor, Tensor]:
    """Map numbers by a piecewise linear spline: a histogram's cumulative distribution.

    K bins of equal width w and heights ``h_k = 2 bound (m + (1 - m K) softmax(logits)_k)``:
    ``y = y_k + h_k xi``, ``dy/dx = h_k / w``, which jumps at the knots.

    Args:
        x: elements of shape (*B,), float32 or float64, in the units of bound.
        params: K height logits, of shape (*B, K), broadcastable against x[..., None].
        bound: half-width of the domain.
        inverse: compute the inverse map and its ladj.
        min_bin: m, the smallest height of a bin as a fraction of the domain.

    Returns:
        y and ladj, both of x's shape.

    Raises:
        InputError: bound or min_bin is out of range.

    Reference:
        Müller et al., "Neural importance sampling" (2019).

    Example:
        >>> linear_spline(torch.tensor([-7.0, 0.5]), torch.zeros(8))[0]
        tensor([-7.0000,  0.5000])
    """
    bins = count_bins(params, per_bin=1, extra=0, min_bin=min_bin)
    bound = match_dtype(bound, x)
    settings = SplineSettings(bins, bound, circular=False, inverse=inverse, min_bin=min_bin, min_slope=0.0)
    return kernels.map_by_spline("linear_spline", _plain_linear, x, params.to(x.dtype), settings)


def quadratic_spline(
    x: Tensor,
    params: Tensor,
    *,
    bound: float | Tensor = 5.0,
    inverse: bool = False,
    min_bin: float = 1e-3,
    min_slope: float = 1e-3,
) -> tuple[Tensor, Tensor]:
    """Map numbers by a piecewise quadratic spline, whose slope is a continuous broken line.

    With slopes v_k at the knots, ``dy/dx = v_k nu + v_(k+1) xi`` and
    ``y = y_k + h xi (v_k (1 + nu) + v_(k+1) xi) / (v_k + v_(k+1))``. Slopes: 1 at both ends, to meet the identity
    tails; inside ``v_k = m' + (1 - m') p_k A / sum_j a_j p_j`` with ``p = softmax(logits)``, ``a_j`` half the width of
    the two bins at knot j and ``A = sum_j a_j``, which makes the domain's image exactly as long as the domain.

    Args:
        x: elements of shape (*B,), float32 or float64, in the units of bound.
        params: K width logits and K - 1 interior slope logits, of shape (*B, 2K - 1), broadcastable against
            x[..., None].
        bound: half-width of the domain.
        inverse: compute the inverse map and its ladj.
        min_bin: m, the smallest width of a bin as a fraction of the domain.
        min_slope: m', the smallest slope.

    Returns:
        y and ladj, both of x's shape.

    Raises:
        ShapeError: P is even.
        InputError: bound, min_bin or min_slope is out of range.

    Reference:
        Müller et al., "Neural importance sampling" (2019).

    Example:
        >>> quadratic_spline(torch.tensor([-7.0, 0.5]), torch.zeros(15))[0]
        tensor([-7.0000,  0.5000])
    """
    bins = count_bins(params, per_bin=2, extra=-1, min_bin=min_bin)
    require_slope(min_slope)
    bound = match_dtype(bound, x)
    settings = SplineSettings(bins, bound, circular=False, inverse=inverse, min_bin=min_bin, min_slope=min_slope)
    return kernels.map_by_spline("quadratic_spline", _plain_quadratic, x, params.to(x.dtype), settings)


def cubic_spline(
    x: Tensor,
    params: Tensor,
    *,
    bound: float | Tensor = 5.0,
    inverse: bool = False,
    min_bin: float = 1e-3,
    min_slope: float = 1e-3,
) -> tuple[Tensor, Tensor]:
    """Map numbers by a monotone cubic Hermite spline.

    In a bin of slope s with end slopes ``a s`` and ``b s``:
    ``y = y_k + h (a xi nu^2 + (3 - b) xi^2 nu + xi^3)``, ``dy/dx = s (a nu^2 + b xi^2 + (6 - 2a - 2b) xi nu)``.
    Interior slopes are Steffen's, ``min(2 s_-, 2 s_+, (s_- w_+ + s_+ w_-) / (w_- + w_+))``; the two boundary slopes are
    ``s (1 + (1 - m') tanh(logit / 2))``. So a and b are at most 2, and the cubic is monotone.

    Args:
        x: elements of shape (*B,), float32 or float64, in the units of bound.
        params: K width logits, K height logits and 2 boundary slope logits, of shape (*B, 2K + 2), broadcastable
            against x[..., None].
        bound: half-width of the domain.
        inverse: compute the inverse map and its ladj.
        min_bin: m, the smallest bin as a fraction of the domain.
        min_slope: m', the smallest boundary slope, as a multiple of the slope of its bin.

    Returns:
        y and ladj, both of x's shape. The inverse is exact to rounding, and so are its first two derivatives.

    Raises:
        ShapeError: P is odd.
        InputError: bound, min_bin or min_slope is out of range.

    Reference:
        Durkan et al., "Cubic-spline flows" (2019); Steffen, "A simple method for monotonic interpolation" (1990).

    Example:
        >>> cubic_spline(torch.tensor([-7.0, 0.5]), torch.zeros(18))[0]
        tensor([-7.0000,  0.5000])
    """
    bins = count_bins(params, per_bin=2, extra=2, min_bin=min_bin)
    require_slope(min_slope)
    bound = match_dtype(bound, x)
    settings = SplineSettings(bins, bound, circular=False, inverse=inverse, min_bin=min_bin, min_slope=min_slope)
    return kernels.map_by_spline("cubic_spline", _plain_cubic, x, params.to(x.dtype), settings)


def _plain_linear(x: Tensor, params: Tensor, settings: SplineSettings) -> tuple[Tensor, Tensor]:
    across = torch.linspace(-1, 1, settings.bins + 1, dtype=x.dtype, device=x.device)
    up = unit_knots(params, settings.min_bin)
    # A broken line is its own kind of inverse: the knots change roles.
    source, target = (up, across) if settings.inverse else (across, up)
    return within(x, settings.bound, partial(_linear_curve, source=source, target=target))


def _plain_quadratic(x: Tensor, params: Tensor, settings: SplineSettings) -> tuple[Tensor, Tensor]:
    widths, slopes = params.tensor_split((settings.bins,), -1)
    knots = _quadratic_knots(unit_knots(widths, settings.min_bin), slopes, settings.min_slope)
    return within(x, settings.bound, partial(_quadratic_curve, knots=knots, inverse=settings.inverse))


def _plain_cubic(x: Tensor, params: Tensor, settings: SplineSettings) -> tuple[Tensor, Tensor]:
    bins, min_bin = settings.bins, settings.min_bin
    widths, heights, boundary = params.tensor_split((bins, 2 * bins), -1)
    across, up = unit_knots(widths, min_bin), unit_knots(heights, min_bin)
    knots = _Knots(across, up, _steffen_slopes(across, up, 1 + (1 - settings.min_slope) * torch.tanh(boundary / 2)))
    return within(x, settings.bound, partial(_cubic_curve, knots=knots, inverse=settings.inverse))


class _Knots(NamedTuple):
    """Values at the K + 1 knots."""

    x: Tensor
    y: Tensor
    slope: Tensor


def _linear_curve(x: Tensor, *, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    ends = find_bin(x, source)
    (x0, x1), (y0, y1) = at_ends(source, ends), at_ends(target, ends)
    slope = (y1 - y0) / (x1 - x0)
    left, right = x - x0, x1 - x
    # From the nearer knot, so that both knots are exact.
    return torch.where(left <= right, y0 + slope * left, y1 - slope * right), torch.log(slope)


def _quadratic_knots(across: Tensor, slope_logits: Tensor, min_slope: float) -> _Knots:
    """Normalise the interior slopes so that the areas below the broken line sum to 2, the length of [-1, 1].

    The sum that is divided by is at least the smallest a_j, a softmax being an average: it is never small.
    """
    halves = across.diff(dim=-1) / 2
    share = halves[..., :-1] + halves[..., 1:]
    weight = slope_logits.softmax(-1)
    interior = weight * share.sum(-1, keepdim=True) / (share * weight).sum(-1, keepdim=True)
    slopes = pad(min_slope + (1 - min_slope) * interior, (1, 1), value=1.0)
    areas = (slopes[..., :-1] + slopes[..., 1:]) * halves
    up = pad(pad(areas[..., :-1].cumsum(-1) - 1, (1, 0), value=-1.0), (0, 1), value=1.0)
    return _Knots(across, up, slopes)


def _quadratic_curve(x: Tensor, *, knots: _Knots, inverse: bool) -> tuple[Tensor, Tensor]:
    """Map [-1, 1] onto itself; no root, divisor or logarithm's argument is below the smallest slope."""
    source, target = (knots.y, knots.x) if inverse else (knots.x, knots.y)
    ends = find_bin(x, source)
    (x0, x1), (y0, y1), (v0, v1) = at_ends(source, ends), at_ends(target, ends), at_ends(knots.slope, ends)
    left, right = (x - x0) / (x1 - x0), (x1 - x) / (x1 - x0)
    if inverse:
        # The slope's square is linear in y, for d(v^2)/dy = 2 dv/dx is constant: the root has no discriminant to lose.
        slope = torch.sqrt(v0 * v0 * right + v1 * v1 * left)
        from_left, from_right = left * (v0 + v1) / (v0 + slope), right * (v0 + v1) / (v1 + slope)
    else:
        slope = v0 * right + v1 * left
        from_left, from_right = left * (v0 + slope) / (v0 + v1), right * (v1 + slope) / (v0 + v1)
    y = torch.where(from_left <= from_right, y0 + (y1 - y0) * from_left, y1 - (y1 - y0) * from_right)
    return y, -torch.log(slope) if inverse else torch.log(slope)


def _steffen_slopes(across: Tensor, up: Tensor, boundary: Tensor) -> Tensor:
    """Choose slopes at the knots, at most twice the slopes of both bins; `boundary` is in units of the end bins'."""
    width, height = across.diff(dim=-1), up.diff(dim=-1)
    s = height / width
    parabola = (s[..., :-1] * width[..., 1:] + s[..., 1:] * width[..., :-1]) / (width[..., :-1] + width[..., 1:])
    interior = torch.minimum(2 * torch.minimum(s[..., :-1], s[..., 1:]), parabola)
    return torch.cat([boundary[..., :1] * s[..., :1], interior, boundary[..., 1:] * s[..., -1:]], -1)


def _cubic_curve(x: Tensor, *, knots: _Knots, inverse: bool) -> tuple[Tensor, Tensor]:
    """Map [-1, 1] onto itself.

    The logarithm is safe: with a, b in (0, 2], ``a nu^2 + b xi^2 + c xi nu`` with ``c = 6 - 2a - 2b >= -2`` is a sum of
    positive terms if a + b <= 3; otherwise a and b are at least 1, ab >= 2 > c^2/4, and the form is positive definite.
    """
    source, target = (knots.y, knots.x) if inverse else (knots.x, knots.y)
    ends = find_bin(x, source)
    (x0, x1), (y0, y1), (d0, d1) = at_ends(source, ends), at_ends(target, ends), at_ends(knots.slope, ends)
    steepness = (x1 - x0) / (y1 - y0) if inverse else (y1 - y0) / (x1 - x0)
    a, b = d0 / steepness, d1 / steepness
    left, right = (x - x0) / (x1 - x0), (x1 - x) / (x1 - x0)
    if inverse:
        xi, nu = _cubic_root(left, right, a, b)
        y = torch.where(xi <= nu, y0 + (y1 - y0) * xi, y1 - (y1 - y0) * nu)
        return y, -torch.log(steepness * _cubic_slope(xi, nu, a, b))
    below, above = _cubic_part(left, right, a, b), _cubic_part(right, left, b, a)
    y = torch.where(below <= above, y0 + (y1 - y0) * below, y1 - (y1 - y0) * above)
    return y, torch.log(steepness * _cubic_slope(left, right, a, b))


def _cubic_part(xi: Tensor, nu: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Compute the covered part of a bin's height: positive terms only, for b <= 2."""
    return xi * (a * nu * nu + (3 - b) * xi * nu + xi * xi)


def _cubic_slope(xi: Tensor, nu: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return a * nu * nu + b * xi * xi + (6 - 2 * (a + b)) * xi * nu


CONSTANT_STEPS = 4  # each doubles the digits, see _cubic_root
DIFFERENTIATED_STEPS = 2


def _cubic_root(t: Tensor, tc: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Find xi and nu = 1 - xi where the cubic has covered the part t of the bin's height.

    The problem is reflected so that t <= 1/2, where z, the way from the knot, keeps its relative precision. Newton's
    method starts from the rational-quadratic curve with the same ends and slopes: its relative error is at most 0.74,
    then 0.16, 1e-2, 6e-5, 2e-9, and rounding (measured over a, b in [1e-9, 2]). The first steps are constants to
    autograd; one step after them has the root's exact first derivative and another one the exact second derivative,
    since a step's error is quadratic in that of its start.
    """
    reflect = t > tc
    t, tc = torch.where(reflect, tc, t), torch.where(reflect, t, tc)
    a, b = torch.where(reflect, b, a), torch.where(reflect, a, b)
    fixed_t, fixed_a, fixed_b = t.detach(), a.detach(), b.detach()
    z, _ = unit_root(fixed_t, tc.detach(), torch.ones_like(fixed_t), fixed_a, fixed_b)
    for _ in range(CONSTANT_STEPS):
        z = _newton(z, fixed_t, fixed_a, fixed_b).clamp(0, 1)
    for _ in range(DIFFERENTIATED_STEPS):
        z = _newton(z, t, a, b)
    return torch.where(reflect, 1 - z, z), torch.where(reflect, z, 1 - z)


def _newton(z: Tensor, t: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return z - (_cubic_part(z, 1 - z, a, b) - t) / _cubic_slope(z, 1 - z, a, b)

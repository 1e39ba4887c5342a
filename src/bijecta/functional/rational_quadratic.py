"""Monotone rational-quadratic splines: forward, inverse and ladj from sums of non-negative terms.

Why every division, root and logarithm is safe. A bin has width w, height h, slope ``s = h/w`` and end slopes d0, d1.
By construction w/2 and h/2 are in [m, 1], so s is in [m, 1/m], and d0, d1 are in [min_slope, 1/min_slope]. The position
in the bin is measured from both of its ends, xi from the left and nu from the right: both are >= 0, and xi + nu = 1.

*   ``D = s (xi^2 + nu^2) + (d0 + d1) xi nu >= s/2``, for ``xi^2 + nu^2 >= 1/2``: the map divides by no small number.
*   ``T = d1 xi^2 + 2 s xi nu + d0 nu^2 > 0``, for xi and nu are not both zero: the logarithm of (s/D)^2 T is finite.
*   The discriminant of the inverse is ``e^2 + 4 s^2 t tc`` with ``e = d0 tc - d1 t``. It cannot be negative, and is
    zero only if t tc = 0 and e = 0, but then |e| is d0 or d1: the root and its derivative are finite.
*   ``q = |e| + 2 s u + root >= root > 0``: the inverse divides by no zero, and z, zc are in [0, 1] and sum to 1.

No subtraction of nearly equal numbers is left except those of x and its knots, so float32 loses no digits that the
condition of the problem does not take.
"""

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from bijecta.functional import kernels
from bijecta.functional.kernels import SplineSettings
from bijecta.functional.kernels.spline import MIN_BIN
from bijecta.functional.knots import at_ends, count_bins, find_bin, match_dtype, require_slope, unit_knots, within
from bijecta.functional.scalar import soft_clip, wrap


def rational_quadratic_params(bins: int, *, circular: bool = False) -> int:
    """Count the parameters of one element.

    ``P = 3K - 1``, and ``3K`` for a circular spline, whose slope at the boundary is free.

    Args:
        bins: K.
        circular: whether any column is periodic.

    Returns:
        P.

    Example:
        >>> rational_quadratic_params(8)
        23
    """
    return 3 * bins - (0 if circular else 1)


def rational_quadratic(
    x: Tensor,
    params: Tensor,
    *,
    bound: float | Tensor = 5.0,
    circular: bool | Tensor = False,
    inverse: bool = False,
    min_bin: float = MIN_BIN,
    min_slope: float = 1e-3,
) -> tuple[Tensor, Tensor]:
    """Map numbers by a monotone rational-quadratic spline on [-bound, bound], and by the identity outside.

    In bin k, with ``xi = (x - x_k) / w``, ``nu = 1 - xi``:
    ``y = y_k + h N / D``, ``N = s xi^2 + d_k xi nu``, ``D = N + s nu^2 + d_(k+1) xi nu``, and
    ``dy/dx = (s / D)^2 (d_(k+1) xi^2 + 2 s xi nu + d_k nu^2)``. Widths and heights are
    ``2 bound (m + (1 - m K) softmax(logits))``, slopes ``exp(soft_clip(logit))``. All-zero parameters are the identity.

    Args:
        x: elements of shape (*B,), float32 or float64, in the units of bound.
        params: K width logits, K height logits and the slope logits, of shape (*B, P), broadcastable against
            x[..., None]. Without circular columns there are K - 1 interior slopes (P = 3K - 1); with them there are K
            (P = 3K), the first at the two boundary knots, which are one point; columns with tails ignore it.
        bound: half-width of the domain.
        circular: True for periodic numbers (x is wrapped into [-bound, bound) first), or a mask broadcastable to x.
        inverse: compute the inverse map and its ladj.
        min_bin: m, the smallest bin as a fraction of the domain.
        min_slope: smallest slope at a knot; the largest is its reciprocal.

    Returns:
        y and ladj, both of x's shape. NaN stays NaN; infinities pass through the tails.

    Raises:
        ShapeError: P fits no number of bins.
        InputError: bound, min_bin or min_slope is out of range.

    Reference:
        Durkan et al., "Neural spline flows" (2019); Rezende et al., "Normalizing flows on tori and spheres" (2020).

    Example:
        >>> rational_quadratic(torch.tensor([-7.0, 0.5]), torch.zeros(23))[0]
        tensor([-7.0000,  0.5000])
    """
    bins = count_bins(params, per_bin=3, extra=-1 if circular is False else 0, min_bin=min_bin)
    require_slope(min_slope)
    bound = match_dtype(bound, x)
    settings = SplineSettings(bins, bound, circular, inverse, min_bin, min_slope)
    return kernels.map_by_spline("rational_quadratic", _plain, x, params.to(x.dtype), settings)


def _plain(x: Tensor, params: Tensor, settings: SplineSettings) -> tuple[Tensor, Tensor]:
    bins, bound, circular, inverse, min_bin, min_slope = settings
    widths, heights, slopes = params.tensor_split((bins, 2 * bins), -1)
    knots = _Table(unit_knots(widths, min_bin), unit_knots(heights, min_bin), _close(slopes, circular))
    curve = partial(_curve, knots=knots, inverse=inverse, slope_limit=-math.log(min_slope))
    y, ladj = within(_wrap(x, bound, circular), bound, curve)
    return _wrap(y, bound, circular), ladj


class _Table(NamedTuple):
    """Values at the K + 1 knots."""

    x: Tensor
    y: Tensor
    slope_logits: Tensor


class _Bin(NamedTuple):
    """The bin of each element; 0 is its left knot, 1 its right one."""

    x0: Tensor
    x1: Tensor
    y0: Tensor
    y1: Tensor
    d0: Tensor
    d1: Tensor

    @property
    def slope(self) -> Tensor:
        return (self.y1 - self.y0) / (self.x1 - self.x0)


def _wrap(x: Tensor, bound: float | Tensor, circular: bool | Tensor) -> Tensor:  # noqa: FBT001
    if isinstance(circular, Tensor):
        return torch.where(circular, wrap(x, -bound, bound), x)
    return wrap(x, -bound, bound) if circular else x


def _close(slope_logits: Tensor, circular: bool | Tensor) -> Tensor:  # noqa: FBT001
    """Add the boundary knots: logit 0 (slope exactly 1) beside identity tails, one shared logit on a circle."""
    if circular is False:
        return pad(slope_logits, (1, 1))
    boundary, interior = slope_logits[..., :1], slope_logits[..., 1:]
    if isinstance(circular, Tensor):
        boundary = torch.where(circular[..., None], boundary, 0)
        interior = interior.expand(*boundary.shape[:-1], interior.shape[-1])
    return torch.cat([boundary, interior, boundary], -1)


def _curve(x: Tensor, *, knots: _Table, inverse: bool, slope_limit: float) -> tuple[Tensor, Tensor]:
    """Map [-1, 1] onto itself."""
    ends = find_bin(x, knots.y if inverse else knots.x)
    # Only the two logits that an element needs are turned into slopes.
    d0, d1 = (torch.exp(soft_clip(logits, slope_limit)) for logits in at_ends(knots.slope_logits, ends))
    here = _Bin(*at_ends(knots.x, ends), *at_ends(knots.y, ends), d0, d1)
    return _backward_in_bin(x, here) if inverse else _forward_in_bin(x, here)


def _forward_in_bin(x: Tensor, here: _Bin) -> tuple[Tensor, Tensor]:
    width, height = here.x1 - here.x0, here.y1 - here.y0
    xi, nu = (x - here.x0) / width, (here.x1 - x) / width
    above_left, below_right, slope = _parts(xi, nu, here.slope, here.d0, here.d1)
    # Adding the smaller part to its own knot makes both knots exact.
    y = torch.where(above_left <= below_right, here.y0 + height * above_left, here.y1 - height * below_right)
    return y, torch.log(slope)


def _backward_in_bin(y: Tensor, here: _Bin) -> tuple[Tensor, Tensor]:
    width, height = here.x1 - here.x0, here.y1 - here.y0
    t, tc = (y - here.y0) / height, (here.y1 - y) / height
    xi, nu = unit_root(t, tc, here.slope, here.d0, here.d1)
    x = torch.where(xi <= nu, here.x0 + width * xi, here.x1 - width * nu)
    return x, -torch.log(_parts(xi, nu, here.slope, here.d0, here.d1)[2])


def _parts(xi: Tensor, nu: Tensor, s: Tensor, d0: Tensor, d1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the covered part N/D of the bin's height, the part M/D left to cover, and dy/dx."""
    p = xi * nu
    N, M = s * xi * xi + d0 * p, s * nu * nu + d1 * p
    D = N + M
    T = d1 * xi * xi + 2 * s * p + d0 * nu * nu
    return N / D, M / D, (s / D).square() * T


def unit_root(t: Tensor, tc: Tensor, s: Tensor, d0: Tensor, d1: Tensor) -> tuple[Tensor, Tensor]:
    """Find where the rational-quadratic curve of one bin has covered the part t of its height.

    The root of ``N(xi) / D(xi) = t`` by ``e = d0 tc - d1 t``, ``root = sqrt(e^2 + 4 s^2 t tc)``, reflected so that
    ``|e| + root`` never subtracts.

    Args:
        t: covered part, in [0, 1].
        tc: the part left, 1 - t.
        s: height over width of the bin.
        d0: slope at the left knot.
        d1: slope at the right knot.

    Returns:
        xi and nu = 1 - xi, both in [0, 1] and both to full relative precision.

    Reference:
        Durkan et al., "Neural spline flows" (2019), in a form without cancellation.

    Example:
        >>> one = torch.tensor(1.0)
        >>> unit_root(one / 4, 3 * one / 4, one, one, one)
        (tensor(0.2500), tensor(0.7500))
    """
    e = d0 * tc - d1 * t
    root = torch.sqrt(e * e + 4 * s * s * t * tc)
    reflect = e < 0
    # Not e.abs(): its derivative at e = 0 is 0 in torch, and the odd spline at its centre would get a wrong gradient.
    rest = torch.where(reflect, -e, e) + root
    near = 2 * s * torch.where(reflect, tc, t)
    z, zc = near / (rest + near), rest / (rest + near)
    return torch.where(reflect, zc, z), torch.where(reflect, z, zc)

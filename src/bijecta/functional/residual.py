"""Maps that add a correction to the identity: planar, radial, Sylvester.

Planar and Sylvester maps rest on one function of one number, ``f(a) = a + (s - 1) tanh(a)``, whose slope lies between
s and 1. Everything about them, the inverse too, is said with f and its slope.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from bijecta.errors import NotConvergedError

MIN_SLOPE = 1e-3  # smallest slope s: what bounds the condition number of an inverse
NEWTON_STEPS = 32


def positive_slope(raw: Tensor) -> Tensor:
    """Turn any number into a slope that is safely positive.

    ``s(t) = s_min + log(1 + (exp(1 - s_min) - 1) exp(t))``, increasing, with s(0) = 1 and s_min = 0.001.

    Args:
        raw: numbers t of any shape.

    Returns:
        The slopes, of the shape of ``raw``.

    Reference:
        Rezende & Mohamed, "Variational inference with normalizing flows" (2015), appendix A.1, whose constraint this
        is, shifted so that t = 0 gives the identity.

    Example:
        >>> positive_slope(torch.tensor([0.0, -1e30]))
        tensor([1.0000, 0.0010])
    """
    return MIN_SLOPE + softplus(raw + math.log(math.expm1(1 - MIN_SLOPE)))


def tanh_shift(a: Tensor, slope: Tensor, *, inverse: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Add a multiple of its hyperbolic tangent to a number.

    ``f(a) = a + (s - 1) tanh(a)`` with ``log f'(a) = log(s sech^2(a) + tanh^2(a))``.

    Args:
        a: numbers of any shape; with `inverse`, the values of f.
        slope: s > 0, the slope at zero, broadcastable against ``a``.
        inverse: undo the map instead.

    Returns:
        The result, its tanh(a) where a is the argument of f, and the ladj of the direction taken.

    Raises:
        NotConvergedError: the inverse missed its tolerance; see `solve_tanh_shift`.

    Reference:
        Rezende & Mohamed, "Variational inference with normalizing flows" (2015).

    Example:
        >>> y, _, _ = tanh_shift(torch.tensor([2.0]), torch.tensor(0.5))
        >>> tanh_shift(y, torch.tensor(0.5), inverse=True)[0]
        tensor([2.])
    """
    argument = solve_tanh_shift(a, slope) if inverse else a
    unit = torch.tanh(argument)
    log_slope = torch.log(_slope_at(argument, slope))
    if inverse:
        return argument, unit, -log_slope
    return a + (slope - 1) * unit, unit, log_slope


def solve_tanh_shift(c: Tensor, slope: Tensor) -> Tensor:
    """Solve ``a + (s - 1) tanh(a) = c`` for a.

    On either side of zero f is convex or concave, so Newton's method that starts beyond the root on the proper side,
    at ``c / s`` or ``c - (s - 1) sign(c)``, approaches it monotonically: no bracket, and a fixed number of steps. Two
    more steps in the graph give the derivatives: each doubles their order, hence first and second are exact.

    Args:
        c: right-hand sides of any shape.
        slope: s > 0, broadcastable against c.

    Returns:
        The solutions, of the broadcast shape; NaN where c is not finite.

    Raises:
        NotConvergedError: an equation is off by more than rounding. Compiled and exported programs do not check it.

    Reference:
        Ortega & Rheinboldt (1970), "Iterative solution of nonlinear equations in several variables", section 13.3.

    Example:
        >>> solve_tanh_shift(torch.tensor([1e4]), torch.tensor(11.0))
        tensor([9990.])
    """
    with torch.no_grad():
        size = c.abs()
        steep, flat = size / slope, size - (slope - 1)
        a = torch.where(slope > 1, torch.maximum(steep, flat), torch.minimum(steep, flat)).copysign(c)
        for _ in range(NEWTON_STEPS):
            a = _newton(a, c, slope)
        error = (a + (slope - 1) * torch.tanh(a) - c).abs() / (size + slope + 1)
    # Raising waits for the data, which a compiler cannot; the steps suffice for every slope up to 1e12.
    if not torch.compiler.is_compiling() and bool((error > 16 * torch.finfo(error.dtype).eps).any()):
        raise NotConvergedError(
            f"The inverse of a tanh map expected an error of rounding, got {float(error.nan_to_num().max()):.1g} of "
            "the numbers' size. Its slope is too large: lower the learning rate, or clip the gradient."
        )
    return _newton(_newton(a, c, slope), c, slope)


def _newton(a: Tensor, c: Tensor, slope: Tensor) -> Tensor:
    return a - (a + (slope - 1) * torch.tanh(a) - c) / _slope_at(a, slope)


def _slope_at(a: Tensor, slope: Tensor) -> Tensor:
    """Add two positive terms; ``1 + (s - 1) sech^2`` would cancel near the boundary of invertibility."""
    return slope * 4 * torch.sigmoid(2 * a) * torch.sigmoid(-2 * a) + torch.tanh(a).square()


def planar(x: Tensor, w: Tensor, u: Tensor, b: Tensor, *, inverse: bool = False) -> tuple[Tensor, Tensor]:
    """Stretch space along one direction by a hyperbolic tangent.

    ``y = x + v tanh(w.x + b)`` with ``v = u + (s - 1 - w.u) w / |w|^2`` and ``s = positive_slope(w.u)``, hence
    ``w.v = s - 1 > -1`` and ``w.y + b = f(w.x + b)``: the inverse is that of one function of one number. The
    determinant is that of a rank-one change of the identity, the slope of f.

    Args:
        x: points of shape (..., D).
        w: normal of the planes, of shape (..., D).
        u: direction of the stretching before it is made admissible, of shape (..., D).
        b: offset of shape (...).
        inverse: undo the map instead.

    Returns:
        y of x's shape and ladj of shape (...).

    Raises:
        NotConvergedError: see `solve_tanh_shift`.

    Reference:
        Rezende & Mohamed, "Variational inference with normalizing flows" (2015).

    Example:
        >>> planar(torch.ones(2), torch.ones(2), torch.zeros(2), torch.tensor(0.0))[0]  # u = 0: the identity
        tensor([1., 1.])
    """
    along = (w * u).sum(-1)
    slope = positive_slope(along)
    # For w = 0 the numerator vanishes too, and v = u.
    square = w.square().sum(-1, keepdim=True).clamp_min(torch.finfo(w.dtype).tiny)
    v = u + (slope - 1 - along)[..., None] * (w / square)
    _, unit, ladj = tanh_shift((w * x).sum(-1) + b, slope, inverse=inverse)
    return x + (-unit if inverse else unit)[..., None] * v, ladj


def radial(x: Tensor, center: Tensor, radius: Tensor, slope: Tensor, *, inverse: bool = False) -> tuple[Tensor, Tensor]:
    """Blow space up around a center, or contract it.

    ``y = x + (s - 1) q (x - x_0)`` with ``q = a / (a + r)`` and ``r = |x - x_0|``. In polar coordinates only r changes,
    to ``r (r + s a) / (r + a)``, whose inverse is a root of ``r^2 + (s a - |y - x_0|) r - a |y - x_0| = 0``.
    ``det = (1 + (s - 1) q)^(D - 1) (1 + (s - 1) q^2)``.

    Args:
        x: points of shape (..., D).
        center: x_0 of shape (..., D).
        radius: a > 0 of shape (...), how far the map reaches.
        slope: s > 0 of shape (...), the slope at the center.
        inverse: undo the map instead.

    Returns:
        y of x's shape and ladj of shape (...).

    Reference:
        Rezende & Mohamed, "Variational inference with normalizing flows" (2015).

    Example:
        >>> y, _ = radial(torch.ones(1), torch.zeros(1), torch.tensor(1.0), torch.tensor(3.0))
        >>> y, radial(y, torch.zeros(1), torch.tensor(1.0), torch.tensor(3.0), inverse=True)[0]
        (tensor([2.]), tensor([1.]))
    """
    arm = x - center
    r = _length(arm)
    r = _old_radius(r, radius, slope) if inverse else r
    share = radius / (radius + r)
    rest = r / (radius + r)
    # Sums of positive terms, for share + rest = 1.
    tangential = rest + slope * share
    ladj = (x.shape[-1] - 1) * torch.log(tangential) + torch.log(rest * (rest + 2 * share) + slope * share.square())
    change = ((slope - 1) * share)[..., None] * arm
    return (x - change / tangential[..., None], -ladj) if inverse else (x + change, ladj)


def _old_radius(y: Tensor, radius: Tensor, slope: Tensor) -> Tensor:
    """Take the positive root of ``r^2 - b r - a y`` by the formula that adds numbers of one sign."""
    b = y - slope * radius
    size = torch.where(b >= 0, b, -b)
    unit = torch.maximum(size, torch.maximum(radius, y)).detach()  # squares of ratios cannot overflow
    root = unit * torch.sqrt((size / unit).square() + 4 * (radius / unit) * (y / unit))
    larger = (size + root) / 2
    return torch.where(b >= 0, larger, radius * (y / larger))


def _length(arm: Tensor) -> Tensor:
    """Take the Euclidean length without overflow; its gradient at zero length is zero."""
    unit = arm.detach().abs().amax(-1, keepdim=True).clamp_min(torch.finfo(arm.dtype).tiny)
    square = (arm / unit).square().sum(-1)
    somewhere = square > 0
    return torch.where(somewhere, unit[..., 0] * torch.sqrt(torch.where(somewhere, square, 1.0)), 0 * square)


def orthonormal_columns(mirrors: Tensor, columns: int) -> Tensor:
    """Reflect the first axes into a set of orthonormal columns.

    ``Q = H_1 ... H_K E`` with ``H_k = I - 2 n_k n_k^T / |n_k|^2`` and E the first columns of the identity.

    Args:
        mirrors: normals n_k of the mirrors, of shape (..., K, D); none of them zero.
        columns: number M of columns, at most D.

    Returns:
        Q of shape (..., D, M).

    Reference:
        van den Berg et al., "Sylvester normalizing flows for variational inference" (2018), section 3.3.

    Example:
        >>> orthonormal_columns(torch.tensor([[0.0, 2.0]]), 2)
        tensor([[ 1.,  0.],
                [ 0., -1.]])
    """
    features = mirrors.shape[-1]
    axes = torch.eye(features, dtype=mirrors.dtype, device=mirrors.device)[:, :columns]
    q = axes.expand(*mirrors.shape[:-2], features, columns)
    for normal in reversed(mirrors.unbind(-2)):
        unit = normal / _length(normal).clamp_min(torch.finfo(normal.dtype).tiny)[..., None]
        q = q - 2 * unit[..., :, None] * (unit[..., None, :] @ q)
    return q


def sylvester(
    x: Tensor, q: Tensor, outer: Tensor, inner: Tensor, b: Tensor, *, inverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Stretch space along several directions at once.

    ``y = x + Q R tanh(S Q^T x + b)`` with upper triangular R and S. The arguments ``v = S Q^T x + b`` go to
    ``S Q^T y + b = v + S R tanh(v)``, triangular with the functions f of one number on its diagonal, whose slopes at
    zero are ``1 + S_ii R_ii > 0``. Substitution from the last to the first inverts it, and the determinant is the
    product of the slopes.

    Args:
        x: points of shape (..., D).
        q: Q of shape (..., D, M), with orthonormal columns.
        outer: R of shape (..., M, M), upper triangular.
        inner: S of shape (..., M, M), upper triangular, with S_ii R_ii > -1.
        b: offsets of shape (..., M).
        inverse: undo the map instead.

    Returns:
        y of x's shape and ladj of shape (...).

    Raises:
        NotConvergedError: see `solve_tanh_shift`.

    Reference:
        van den Berg et al., "Sylvester normalizing flows for variational inference" (2018).

    Example:
        >>> one = torch.eye(1)
        >>> y, _ = sylvester(torch.ones(1), one, one, one, torch.zeros(1))
        >>> sylvester(y, one, one, one, torch.zeros(1), inverse=True)[0]
        tensor([1.])
    """
    seen = (inner @ (q.mT @ x[..., None]))[..., 0] + b
    product = inner @ outer
    slopes = 1 + product.diagonal(dim1=-2, dim2=-1)
    if inverse:
        units, ladj = _substitute(seen, product, slopes)
    else:
        _, units, ladj = tanh_shift(seen, slopes)
    change = (q @ (outer @ units[..., None]))[..., 0]
    return (x - change if inverse else x + change), ladj.sum(-1)


def _substitute(values: Tensor, product: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Solve ``v + T tanh(v) = values`` for tanh(v) from the last row up; T is upper triangular."""
    units: list[Tensor] = []
    ladj: list[Tensor] = []
    for row in reversed(range(values.shape[-1])):
        later = sum(product[..., row, row + 1 + n] * unit for n, unit in enumerate(units))
        _, unit, ladj_row = tanh_shift(values[..., row] - later, slopes[..., row], inverse=True)
        units.insert(0, unit)
        ladj.insert(0, ladj_row)
    return torch.stack(units, -1), torch.stack(ladj, -1)

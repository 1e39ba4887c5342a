"""The map that turns a mixture of normals into one normal, and its inverse.

Everything is measured from the nearer tail, by logarithms: ``1 - P`` would be 0 in float32 from 5.5 standard deviations
on, where data still are. With erfcx, the error function without its exponential, ``log Phi`` and the hazard
``phi / Phi`` keep their digits at any distance. Beyond ``bound`` the map goes on as its tangent, for squares of what
is larger overflow; the tail is nearly straight there, with the slope of the widest component.
"""

import math

import torch
from torch import Tensor

from bijecta.functional import kernels
from bijecta.functional.inversion import invert_monotone
from bijecta.functional.kernels import MixtureSettings
from bijecta.functional.knots import match_dtype
from bijecta.functional.scalar import soft_clip

LOG_ROOT_2_PI = 0.5 * math.log(2 * math.pi)
FAR = -30.0  # logarithm of the probability from where the asymptotic quantile is the better first guess


def gaussianise(
    x: Tensor,
    params: Tensor,
    *,
    bound: float = 50.0,
    limit: float = 4.0,
    min_slope: float = 1e-3,
    inverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """Map numbers by the normal quantile of the distribution function of a mixture of normals.

    ``y = m x + (1 - m) g(x)`` with ``g = Phi^-1(P)``, ``P = sum_j w_j Phi(u_j)``, ``u_j = s_j (x - c_j)``,
    ``s_j = exp(soft_clip(a_j, limit))``: g makes what follows the mixture standard normal. With
    ``r_j = w_j Phi(u_j) / P`` and the hazard ``h = phi / Phi``,
    ``dg/dx = sum_j r_j s_j h(u_j) / h(g)``, a quotient of sums of positive numbers.

    Args:
        x: elements of shape (*B,), float32 or float64.
        params: J each of the logits of w, the a and the c, of shape (*B, 3J), broadcastable against x[..., None].
        bound: where the tangents begin, in the units of x.
        limit: bound on the log-scales.
        min_slope: m, the share of the identity, in (0, 1): between two narrow components g is too flat to be inverted.
        inverse: compute the inverse map and its ladj, by search.

    Returns:
        y and ladj, both of x's shape.

    Raises:
        InputError: bound is not positive.
        NotConvergedError: the inverse is out of the range of floating point numbers.

    Reference:
        Chen and Gopinath, "Gaussianization" (2000); Meng et al., "Gaussianization flows" (2020).

    Example:
        >>> gaussianise(torch.tensor([0.5, -2.0]), torch.zeros(6))[0]  # equal standard normals: the identity
        tensor([ 0.5000, -2.0000])
    """
    match_dtype(bound, x)
    settings = MixtureSettings("normal", params.shape[-1] // 3, bound, limit, min_slope, inverse)
    return kernels.map_by_mixture(_plain, x, params.to(x.dtype), settings)


def _plain(x: Tensor, params: Tensor, settings: MixtureSettings) -> tuple[Tensor, Tensor]:
    _, _, bound, limit, min_slope, inverse = settings
    logits, log_scales, centres = params.unflatten(-1, (3, -1)).unbind(-2)
    log_weights, log_scales = logits.log_softmax(-1), soft_clip(log_scales, limit)

    def whole_line(x: Tensor) -> tuple[Tensor, Tensor]:
        inside = x.clamp(-bound, bound)
        g, log_slope = _curve(inside[..., None], log_weights, log_scales, centres)
        ladj = torch.logaddexp(log_slope + math.log1p(-min_slope), torch.full_like(log_slope, math.log(min_slope)))
        y = min_slope * inside + (1 - min_slope) * g
        return y + torch.exp(ladj) * (x - inside), ladj

    return invert_monotone(whole_line, x) if inverse else whole_line(x)


def _curve(x: Tensor, log_weights: Tensor, log_scales: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    u = torch.exp(log_scales) * (x - centres)
    with torch.no_grad():
        below = (log_weights.exp() * torch.special.ndtr(u)).sum(-1, keepdim=True) <= 0.5
        side = torch.where(below, 1.0, -1.0).to(u.dtype)
    log_cdf, log_hazard = normal_tail(side * u)
    log_terms = log_weights + log_cdf
    log_tail = log_terms.logsumexp(-1)
    y = normal_quantile(log_tail)
    log_rate = (log_terms - log_tail[..., None] + log_scales + log_hazard).logsumexp(-1)
    return side[..., 0] * y, log_rate - normal_tail(y)[1]


def normal_tail(u: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the logarithms of the normal distribution function and of its hazard.

    ``log Phi(u)`` and ``log phi(u) / Phi(u)``.

    Args:
        u: numbers of any shape, of a size whose square is finite.

    Returns:
        Both, of the shape of u.

    Reference:
        W. Cody, "Rational Chebyshev approximations for the error function" (1969), for erfcx.

    Example:
        >>> normal_tail(torch.tensor([-200.0, 0.0]))[0]
        tensor([-2.0006e+04, -6.9315e-01])
    """
    # Each branch sees only numbers of its own sign, so that neither overflows where the other is taken.
    low, high = u.clamp_max(0) / math.sqrt(2), u.clamp_min(0) / math.sqrt(2)
    log_scaled = torch.log(torch.special.erfcx(-low))
    log_cdf_high = torch.log1p(-0.5 * torch.special.erfc(high))
    log_cdf = torch.where(u < 0, log_scaled - math.log(2) - low.square(), log_cdf_high)
    log_hazard_high = -high.square() - LOG_ROOT_2_PI - log_cdf_high
    return log_cdf, torch.where(u < 0, 0.5 * math.log(2 / math.pi) - log_scaled, log_hazard_high)


def normal_quantile(log_p: Tensor) -> Tensor:
    """Find the number whose normal distribution function has a given logarithm.

    ``log Phi(y) = log p``, by Newton's method on log Phi, which is concave. Two of its steps are part of the graph:
    each doubles the order of the derivatives that are right, so that first, second and third ones are.

    Args:
        log_p: logarithms of probabilities up to about one half, of any shape.

    Returns:
        y, of the shape of ``log_p``.

    Reference:
        M. Wichura, "Algorithm AS 241: the percentage points of the normal distribution" (1988).

    Example:
        >>> normal_quantile(torch.tensor([-0.6931471806, -20006.217]))
        tensor([   0., -200.])
    """
    with torch.no_grad():
        far = log_p < FAR
        radius = torch.sqrt(-2 * torch.where(far, log_p, FAR))
        asymptotic = (torch.log(radius) + LOG_ROOT_2_PI) / radius - radius
        y = torch.where(far, asymptotic, torch.special.ndtri(torch.exp(torch.where(far, FAR, log_p))))
        y = _newton(y, log_p)
    return _newton(_newton(y, log_p), log_p)


def _newton(y: Tensor, log_p: Tensor) -> Tensor:
    log_cdf, log_hazard = normal_tail(y)
    return y - (log_cdf - log_p) * torch.exp(-log_hazard)

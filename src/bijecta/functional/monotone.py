"""Increasing functions with a closed form one way only: polynomials, mixtures of sigmoids, integrals of networks.

All of them have a slope between two positive bounds, so every logarithm is finite, and the inverse exists for every
number and is never worse conditioned than these bounds. The polynomials and the integral live on [-bound, bound] and
go on as their tangents outside: at x = 1e6 the power x^7 has left the range of float32, and quadrature with a fixed
number of nodes cannot follow a long way. Parameters are unbounded numbers; all zeros give the identity, from where
every parameter has a gradient of its own.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from bijecta.errors import InputError
from bijecta.functional import kernels
from bijecta.functional.inversion import Increasing, invert_monotone
from bijecta.functional.kernels import MixtureSettings
from bijecta.functional.knots import match_dtype
from bijecta.functional.scalar import soft_clip


class Quadrature(NamedTuple):
    """Nodes and weights on [0, 1]; the weights sum to one."""

    nodes: tuple[float, ...]
    weights: tuple[float, ...]


def gauss_legendre(count: int) -> Quadrature:
    """Compute the nodes and weights of Gauss-Legendre quadrature.

    ``integral_0^1 f = sum_i w_i f(t_i)``, exactly for polynomials f of degree up to ``2 count - 1``.

    Args:
        count: how many nodes.

    Returns:
        Nodes and weights.

    Raises:
        InputError: no node.

    Reference:
        Golub and Welsch, "Calculation of Gauss quadrature rules" (1969).

    Example:
        >>> gauss_legendre(1)
        Quadrature(nodes=(0.5,), weights=(1.0,))
    """
    if count < 1:
        raise InputError(f"gauss_legendre expects at least one node, got {count}.")
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return Quadrature(tuple((0.5 + nodes / 2).tolist()), tuple((weights / 2).tolist()))


def bernstein(
    x: Tensor, params: Tensor, *, bound: float = 5.0, limit: float = 3.0, inverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Map numbers by a polynomial in Bernstein form with increasing coefficients.

    With ``t = (x + bound) / (2 bound)`` and M slopes ``v_k = exp(soft_clip(a_k, limit))``:
    ``dy/dx = sum_k v_k C(M-1, k) t^k (1 - t)^(M-1-k)``, a weighted mean of the slopes, between e^-limit and e^limit.
    The coefficients of y are the running sums of ``2 bound v_k / M``, centred, plus a shift.

    Args:
        x: elements of shape (*B,), float32 or float64, in the units of bound.
        params: the shift and M log-slopes, of shape (*B, M + 1), broadcastable against x[..., None].
        bound: half-width of the polynomial's domain.
        limit: bound on the log-slopes.
        inverse: compute the inverse map and its ladj, by search.

    Returns:
        y and ladj, both of x's shape.

    Raises:
        InputError: bound is not positive.
        NotConvergedError: the inverse is out of the range of floating point numbers.

    Reference:
        Ramasinghe et al., "Robust normalizing flows using Bernstein-type polynomials" (2021).

    Example:
        >>> bernstein(torch.tensor([-7.0, 0.5]), torch.zeros(9))[0]
        tensor([-7.0000,  0.5000])
    """
    match_dtype(bound, x)
    shift, log_slopes = params.to(x.dtype).tensor_split((1,), -1)
    slopes = torch.exp(soft_clip(log_slopes, limit))
    degree = slopes.shape[-1]
    binomials = slopes.new_tensor([math.comb(degree - 1, k) for k in range(degree)])
    rises = 2 * bound / degree * slopes
    upper = rises.cumsum(-1) - rises.sum(-1, keepdim=True) / 2 + shift
    lower = upper - rises

    def curve(u: Tensor) -> tuple[Tensor, Tensor]:
        # Both distances from their own end: no power of a difference of nearly equal numbers.
        t, rest = ((bound + u) / (2 * bound))[..., None], ((bound - u) / (2 * bound))[..., None]
        basis = binomials * _powers(t, degree) * _powers(rest, degree).flip(-1)
        return (basis * (rest * lower + t * upper)).sum(-1), (basis * slopes).sum(-1)

    return _either_way(_with_tangents(curve, bound), x, inverse=inverse)


def sum_of_squares(
    x: Tensor,
    params: Tensor,
    *,
    rule: Quadrature,
    squares: int = 2,
    bound: float = 5.0,
    limit: float = 1.0,
    min_slope: float = 0.05,
    inverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """Map numbers by the integral of a sum of squared polynomials.

    ``y = shift + integral_0^x S``, ``dy/dx = S(x) = m + (1 - m) sum_j (w_j + sum_l soft_clip(a_jl, limit) t^l)^2`` with
    ``t = x / bound``. The fixed w_j have ``sum_j w_j^2 = 1``, all different, for equal squares would stay equal.
    Gauss-Legendre quadrature with r + 1 nodes is exact for S of degree 2r, and adds positive numbers only.

    Args:
        x: elements of shape (*B,), float32 or float64, in the units of bound.
        params: the shift and r + 1 coefficients for each square, of shape (*B, 1 + squares (r + 1)), broadcastable
            against x[..., None].
        rule: `gauss_legendre` with r + 1 nodes.
        squares: how many polynomials are squared.
        bound: half-width of the polynomial's domain.
        limit: bound on the coefficients.
        min_slope: m, the smallest slope, in (0, 1).
        inverse: compute the inverse map and its ladj, by search.

    Returns:
        y and ladj, both of x's shape.

    Raises:
        InputError: bound is not positive.
        NotConvergedError: the inverse is out of the range of floating point numbers.

    Reference:
        Jaini et al., "Sum-of-squares polynomial flow" (2019).

    Example:
        >>> sum_of_squares(torch.tensor([-7.0, 0.5]), torch.zeros(9), rule=gauss_legendre(4))[0]
        tensor([-7.0000,  0.5000])
    """
    match_dtype(bound, x)
    shift, raw = params.to(x.dtype).tensor_split((1,), -1)
    coefficients = soft_clip(raw, limit).unflatten(-1, (squares, -1))
    starts = raw.new_tensor([1.0 + j for j in range(squares)])
    starts = starts / starts.norm()

    def slope(u: Tensor) -> Tensor:
        powers = _powers((u / bound)[..., None], coefficients.shape[-1])
        polynomials = starts + (coefficients.unsqueeze(-3) * powers.unsqueeze(-2)).sum(-1)
        return min_slope + (1 - min_slope) * polynomials.square().sum(-1)

    return _either_way(_with_tangents(_integral(slope, shift, rule), bound), x, inverse=inverse)


def integrated_network(
    x: Tensor, params: Tensor, *, rule: Quadrature, bound: float = 5.0, limit: float = 3.0, inverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Map numbers by the integral of a positive network with one hidden layer of H units.

    ``y = shift + integral_0^x g``, ``dy/dx = g(x) = exp(soft_clip(v + sum_k h_k tanh(s_k (x - c_k - c'_k)), limit))``
    with ``h_k = soft_clip(v_k, 2)``, ``s_k = exp(soft_clip(a_k, 1/2))`` and fixed centres c'_k spread over the domain.
    The integral is a sum over the nodes of the quadrature, the ladj is log g itself. The bounds on h and s keep g so
    smooth that with 32 nodes, 8 units and bound 5 the slope of the sum differs from g by at most 2e-6 of g.

    Args:
        x: elements of shape (*B,), float32 or float64, in the units of bound.
        params: the shift, v, then H each of v_k, a_k, c_k, of shape (*B, 2 + 3H), broadcastable against x[..., None].
        rule: the quadrature.
        bound: half-width of the network's domain.
        limit: bound on log g.
        inverse: compute the inverse map and its ladj, by search.

    Returns:
        y and ladj, both of x's shape.

    Raises:
        InputError: bound is not positive.
        NotConvergedError: the inverse is out of the range of floating point numbers.

    Reference:
        Wehenkel and Louppe, "Unconstrained monotonic neural networks" (2019).

    Example:
        >>> integrated_network(torch.tensor([-7.0, 0.5]), torch.zeros(14), rule=gauss_legendre(8))[0]
        tensor([-7.0000,  0.5000])
    """
    match_dtype(bound, x)
    shift, constant, weights = params.to(x.dtype).tensor_split((1, 2), -1)
    heights, log_scales, moves = (part.unsqueeze(-2) for part in weights.tensor_split(3, -1))
    heights, scales = soft_clip(heights, 2.0), torch.exp(soft_clip(log_scales, 0.5))
    units = heights.shape[-1]
    centres = moves + moves.new_tensor([bound * ((2 * k + 1) / units - 1) for k in range(units)])

    def slope(u: Tensor) -> Tensor:
        hidden = torch.tanh(scales * (u[..., None] - centres))
        return torch.exp(soft_clip(constant + (heights * hidden).sum(-1), limit))

    return _either_way(_with_tangents(_integral(slope, shift, rule), bound), x, inverse=inverse)


def sigmoidal(
    x: Tensor,
    params: Tensor,
    *,
    components: int,
    bound: float = 5.0,
    limit: float = 3.0,
    min_slope: float = 1e-3,
    inverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """Map numbers by the logit of a mixture of sigmoids (deep sigmoidal flow).

    ``y = shift + m x + (1 - m) (log P - log Q)`` with ``P = sum_j w_j sigmoid(s_j)``, ``Q = sum_j w_j sigmoid(-s_j)``,
    ``s_j = e^(b_j) (x - c_j)``. Everything stays a logarithm, so x may be as large as it likes; with
    ``p_j = w_j sigmoid(s_j) / P``, ``q_j = w_j sigmoid(-s_j) / Q`` the slope of the logit is
    ``sum_j e^(b_j) (p_j sigmoid(-s_j) + q_j sigmoid(s_j))``, a sum of positive terms whose tails are the gentlest
    component. Component j reacts to its parameters with a strength of its own: equal ones would stay equal.

    Args:
        x: elements of shape (*B,), float32 or float64, of order one.
        params: the shift, then J each of the logits of w, the b and the c, of shape (*B, 1 + 3J), broadcastable against
            x[..., None].
        components: J.
        bound: bound on the centres c_j, in the units of x.
        limit: bound on the log-scales b_j.
        min_slope: m, the share of the identity, in (0, 1): no plateau is flatter.
        inverse: compute the inverse map and its ladj, by search.

    Returns:
        y and ladj, both of x's shape.

    Raises:
        InputError: bound is not positive.
        NotConvergedError: the inverse is out of the range of floating point numbers.

    Reference:
        Huang et al., "Neural autoregressive flows" (2018).

    Example:
        >>> sigmoidal(torch.tensor([-7.0, 0.5]), torch.zeros(13), components=4)[0]
        tensor([-7.0000,  0.5000])
    """
    match_dtype(bound, x)
    settings = MixtureSettings("logistic", components, bound, limit, min_slope, inverse)
    return kernels.map_by_mixture(_sigmoidal_plain, x, params.to(x.dtype), settings)


def _sigmoidal_plain(x: Tensor, params: Tensor, settings: MixtureSettings) -> tuple[Tensor, Tensor]:
    _, components, bound, limit, min_slope, inverse = settings
    shift, raw = params.tensor_split((1,), -1)
    strengths = torch.linspace(0.5, 1.5, components, dtype=x.dtype, device=x.device)
    logits, log_scales, centres = (strengths * raw.unflatten(-1, (3, components))).unbind(-2)
    log_weights, log_scales, centres = logits.log_softmax(-1), soft_clip(log_scales, limit), soft_clip(centres, bound)

    def curve(x: Tensor) -> tuple[Tensor, Tensor]:
        s = torch.exp(log_scales) * (x[..., None] - centres)
        log_sigmoid, log_rest = logsigmoid(s), logsigmoid(-s)
        log_p, log_q = log_weights + log_sigmoid, log_weights + log_rest
        logit = log_p.logsumexp(-1) - log_q.logsumexp(-1)
        terms = torch.cat([log_p.log_softmax(-1) + log_rest, log_q.log_softmax(-1) + log_sigmoid], -1)
        log_slope = (torch.cat([log_scales, log_scales], -1) + terms).logsumexp(-1)
        mixed = torch.logaddexp(log_slope + math.log1p(-min_slope), torch.full_like(log_slope, math.log(min_slope)))
        return shift[..., 0] + min_slope * x + (1 - min_slope) * logit, mixed

    return _either_way(curve, x, inverse=inverse)


def leaky_tanh(
    s: Tensor, log_scale: Tensor, centre: Tensor, mixing: Tensor, *, min_slope: float = 0.05
) -> tuple[Tensor, Tensor, Tensor]:
    """Bend a number by a monotone unit that is the identity at mixing 0, whatever its scale and centre are.

    ``y = s - r (u - tanh(u)) / a`` with ``a = exp(soft_clip(log_scale, 4))``, ``u = a (s - centre)`` and
    ``r = (1 - m) tanh(mixing)``; ``dy/ds = 1 - r tanh(u)^2``, between m and 2 - m, so that the image is the whole line,
    which that of tanh is not.

    Args:
        s: numbers of shape (*B,).
        log_scale: how sharp the bend is, broadcastable against s.
        centre: where it is, broadcastable against s.
        mixing: 0 for the identity, positive for a slope that falls away from the centre, negative for one that rises.
        min_slope: m, in (0, 1).

    Returns:
        y, dy/ds (not its logarithm: blocks of slopes are summed before one is taken) and tanh(u), each of s's shape.

    Reference:
        De Cao et al., "Block neural autoregressive flow" (2019), whose tanh this extends to the whole line.

    Example:
        >>> zero = torch.tensor(0.0)
        >>> leaky_tanh(torch.tensor([1e30, 0.5]), zero, zero, mixing=torch.tensor(50.0))[1]
        tensor([0.0500, 0.7971])
    """
    scale = torch.exp(soft_clip(log_scale, 4.0))
    u, ratio = scale * (s - centre), (1 - min_slope) * torch.tanh(mixing)
    bent = torch.tanh(u)
    return s - ratio * (u - bent) / scale, 1 - ratio * bent.square(), bent


def _either_way(curve: Increasing, x: Tensor, *, inverse: bool) -> tuple[Tensor, Tensor]:
    return invert_monotone(curve, x) if inverse else curve(x)


def _with_tangents(curve: Increasing, bound: float) -> Increasing:
    """Continue a curve, given with its slope on [-bound, bound], along its tangents; the ends keep their ladj."""

    def whole_line(x: Tensor) -> tuple[Tensor, Tensor]:
        inside = x.clamp(-bound, bound)
        y, slope = curve(inside)
        # Inside the second term is zero, and so is its derivative: slope - slope.
        return y + slope * (x - inside), torch.log(slope)

    return whole_line


def _integral(slope: Callable[[Tensor], Tensor], shift: Tensor, rule: Quadrature) -> Increasing:
    """Integrate from 0 to u; ``slope`` maps (*B, N) to (*B, N)."""

    def curve(u: Tensor) -> tuple[Tensor, Tensor]:
        nodes, weights = u.new_tensor([*rule.nodes, 1.0]), u.new_tensor(rule.weights)
        slopes = slope(u[..., None] * nodes)
        return shift[..., 0] + u * (weights * slopes[..., :-1]).sum(-1), slopes[..., -1]

    return curve


def _powers(t: Tensor, count: int) -> Tensor:
    """Stack 1, t, ..., t^(count - 1) by products: the derivative of `pow` at zero is 0 times infinity."""
    powers = [torch.ones_like(t)]
    for _ in range(count - 1):
        powers.append(powers[-1] * t)
    return torch.cat(powers, -1)

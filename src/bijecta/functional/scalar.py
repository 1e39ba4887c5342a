"""Maps of single numbers: the pieces that univariate bijections and preprocessing are made of."""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from bijecta.functional import kernels


def soft_clip(a: Tensor, limit: float) -> Tensor:
    """Bound a number smoothly, leaving small numbers as they are.

    ``c(a) = limit tanh(a / limit)``: odd, infinitely smooth, slope 1 at zero, within [-limit, limit].

    Args:
        a: numbers of any shape.
        limit: the bound, positive.

    Returns:
        The clipped numbers, of a's shape.

    Reference:
        Bounded log-scales: Behrmann et al., "Understanding and mitigating exploding inverses" (2021).

    Example:
        >>> soft_clip(torch.tensor([0.0, 1e30]), 3.0)
        tensor([0., 3.])
    """
    return limit * torch.tanh(a / limit)


def affine(x: Tensor, shift: Tensor, log_scale: Tensor, *, inverse: bool = False) -> tuple[Tensor, Tensor]:
    """Scale and shift numbers.

    ``y = x exp(log_scale) + shift`` with ``ladj = log_scale``.

    Args:
        x: numbers of any shape.
        shift: what is added, broadcastable against x.
        log_scale: logarithm of the factor, broadcastable against x.
        inverse: undo the map instead.

    Returns:
        y and ladj, both of the broadcast shape.

    Reference:
        Dinh et al., "Density estimation using Real NVP" (2017).

    Example:
        >>> affine(torch.tensor([1.0]), torch.tensor(3.0), torch.tensor(0.0))[0]
        tensor([4.])
    """
    shift, log_scale = shift.to(x.dtype), log_scale.to(x.dtype)
    y = (x - shift) * torch.exp(-log_scale) if inverse else x * torch.exp(log_scale) + shift
    return y, (-log_scale if inverse else log_scale).expand_as(y)


def bounded_affine(x: Tensor, params: Tensor, *, limit: float = 3.0, inverse: bool = False) -> tuple[Tensor, Tensor]:
    """Scale and shift numbers, with a bounded log-scale.

    ``y = x exp(s) + b`` with ``s = soft_clip(a, limit)`` and ``ladj = s``.

    Args:
        x: numbers of shape (*B,).
        params: the shift b and the raw log-scale a, of shape (*B, 2), broadcastable against x[..., None].
        limit: bound on the log-scale.
        inverse: undo the map instead.

    Returns:
        y and ladj, both of the broadcast shape (*B,).

    Reference:
        Behrmann et al., "Understanding and mitigating exploding inverses" (2021).

    Example:
        >>> bounded_affine(torch.tensor([1.0]), torch.tensor([3.0, 0.0]))[0]
        tensor([4.])
    """
    return kernels.map_by_affine(_bounded_plain, x, params.to(x.dtype), kernels.AffineSettings(limit, inverse))


def _bounded_plain(x: Tensor, params: Tensor, settings: kernels.AffineSettings) -> tuple[Tensor, Tensor]:
    return affine(x, params[..., 0], soft_clip(params[..., 1], settings.limit), inverse=settings.inverse)


def log_map(x: Tensor, lower: float | Tensor = 0.0, *, inverse: bool = False) -> tuple[Tensor, Tensor]:
    """Map numbers above a lower edge to the whole line.

    ``y = log(x - lower)`` with ``ladj = -y``.

    Args:
        x: numbers above `lower`, of any shape; with `inverse`, any numbers.
        lower: the open lower edge, in the units of x.
        inverse: map the line to the numbers above `lower` instead.

    Returns:
        y and ladj, both of x's shape. At the edge y is -inf, below it NaN.

    Reference:
        Kucukelbir et al., "Automatic differentiation variational inference" (2017).

    Example:
        >>> log_map(torch.tensor([3.0]), lower=2.0)[0]
        tensor([0.])
    """
    if inverse:
        return torch.exp(x) + lower, x
    y = torch.log(x - lower)
    return y, -y


def logit_map(
    x: Tensor, low: float | Tensor = 0.0, high: float | Tensor = 1.0, *, inverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Map an open interval to the whole line.

    ``y = log(u / v)`` with ``u = (x - low) / width``, ``v = (high - x) / width`` and ``ladj = -log(u v width)``.

    Args:
        x: numbers within (low, high), of any shape; with `inverse`, any numbers.
        low: the open lower edge, in the units of x.
        high: the open upper edge, in the units of x.
        inverse: map the line to the interval instead.

    Returns:
        y and ladj, both of x's shape. At the edges y is infinite, outside of them NaN.

    Reference:
        Kucukelbir et al., "Automatic differentiation variational inference" (2017).

    Example:
        >>> logit_map(torch.tensor([15.0]), low=10.0, high=20.0)[0]
        tensor([0.])
    """
    width = high - low
    if inverse:
        # width sigmoid(-x) is the distance to `high` without the subtraction 1 - sigmoid(x).
        y = torch.where(x <= 0, low + width * torch.sigmoid(x), high - width * torch.sigmoid(-x))
        return y, logsigmoid(x) + logsigmoid(-x) + _log(width)
    # v is measured from its own edge, never as 1 - u, so neither logarithm sees a difference of nearly equal numbers.
    log_u, log_v = torch.log((x - low) / width), torch.log((high - x) / width)
    return log_u - log_v, -(log_u + log_v + _log(width))


def wrap(x: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """Wrap numbers into one period.

    ``low + (x - low) mod (high - low)``; numbers that are already in [low, high) come back bit by bit.

    Args:
        x: numbers of any shape.
        low: the closed lower edge, in the units of x.
        high: the open upper edge, in the units of x.

    Returns:
        The wrapped numbers, of x's shape; NaN where x is infinite.

    Reference:
        Rezende et al., "Normalizing flows on tori and spheres" (2020).

    Example:
        >>> wrap(torch.tensor([-1.0, 1.0, 2.5]), -1.0, 1.0)
        tensor([-1.0000, -1.0000,  0.5000])
    """
    period = high - low
    wrapped = low + torch.remainder(x - low, period)
    # A tiny negative x - low has the remainder `period` after rounding: such a number belongs to the closed edge.
    wrapped = torch.where(wrapped >= high, wrapped - period, wrapped)
    return torch.where((x >= low) & (x < high), x, wrapped)


def _log(width: float | Tensor) -> float | Tensor:
    return torch.log(width) if isinstance(width, Tensor) else math.log(width)

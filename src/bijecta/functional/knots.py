"""What all splines share: knots, the bin of an element, and the identity outside of the domain.

A spline maps [-1, 1] onto itself here, and `within` stretches that to [-bound, bound]: slopes do not change, and no
tensor of knots has to know the bound.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from bijecta.errors import InputError, ShapeError


def count_bins(params: Tensor, *, per_bin: int, extra: int, min_bin: float) -> int:
    """Infer the number of bins K from ``P = per_bin K + extra``.

    Args:
        params: raw parameters of shape (*B, P).
        per_bin: parameters per bin.
        extra: parameters beside those, may be negative.
        min_bin: smallest width and height of a bin, as a fraction of the domain.

    Returns:
        The number of bins.

    Raises:
        ShapeError: no number of bins has P parameters.
        InputError: K bins of the smallest size do not fit into the domain.

    Example:
        >>> count_bins(torch.zeros(23), per_bin=3, extra=-1, min_bin=1e-3)
        8
    """
    bins, rest = divmod(params.shape[-1] - extra, per_bin)
    if rest or bins < 1:
        raise ShapeError(
            f"The last axis of params must have {per_bin}*bins{extra:+d} entries, got {params.shape[-1]} "
            f"(params has shape {tuple(params.shape)}). Ask the helper `..._params(bins)` beside the spline."
        )
    if not 0 < min_bin * bins < 1:
        raise InputError(f"min_bin must be in (0, 1/{bins}) for {bins} bins, got {min_bin}. Use fewer bins or less.")
    return bins


def unit_knots(logits: Tensor, min_bin: float) -> Tensor:
    """Place increasing knots on [-1, 1].

    ``k_j = -1 + 2 sum_(i<j) (m + (1 - m K) softmax(logits)_i)``; both ends are pinned, not summed.

    Args:
        logits: one raw number per bin, of shape (*B, K).
        min_bin: m, the smallest bin as a fraction of the domain.

    Returns:
        Knots of shape (*B, K + 1).

    Reference:
        Durkan et al., "Neural spline flows" (2019).

    Example:
        >>> unit_knots(torch.zeros(2), 1e-3)
        tensor([-1.,  0.,  1.])
    """
    fractions = min_bin + (1 - min_bin * logits.shape[-1]) * logits.softmax(-1)
    interior = 2 * fractions[..., :-1].cumsum(-1) - 1
    return pad(pad(interior, (1, 0), value=-1.0), (0, 1), value=1.0)


def find_bin(x: Tensor, knots: Tensor) -> Tensor:
    """Find the two knots around each element.

    ``k = number of interior knots <= x`` is always a valid bin, for NaN too; the knots are k and k + 1.

    Args:
        x: elements of [-1, 1], of shape (*B,).
        knots: increasing knots of shape (*B, K + 1), broadcastable against x[..., None].

    Returns:
        The indices of the left and the right knot, of shape (*B, 2).

    Example:
        >>> find_bin(torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([-1.0, 0.0, 1.0])).tolist()
        [[0, 1], [1, 2], [1, 2]]
    """
    left = (x[..., None] >= knots[..., 1:-1]).sum(-1, keepdim=True)
    return torch.cat([left, left + 1], -1)


def at_ends(table: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Read a table of knot values at the two ends of each element's bin.

    Args:
        table: one value per knot, of shape (*B, K + 1).
        ends: indices from `find_bin`, of shape (*B, 2).

    Returns:
        The values at the left and at the right knot, of shape (*B,).

    Example:
        >>> at_ends(torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([1, 2]))
        (tensor(0.), tensor(1.))
    """
    values = table.expand(*ends.shape[:-1], table.shape[-1]).gather(-1, ends)
    return values[..., 0], values[..., 1]


def within(x: Tensor, bound: float | Tensor, curve: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Apply a map of [-1, 1] onto itself inside [-bound, bound], and the identity outside.

    ``y = bound curve(x / bound)``. The input is clamped before any arithmetic and the identity selected at the end:
    the branch that is not selected stays finite, so its zero gradient does too. NaN is inside, and stays NaN.

    Args:
        x: elements of any shape.
        bound: half-width of the domain, in the units of x, broadcastable against x.
        curve: returns (y, ladj) on [-1, 1].

    Returns:
        y and ladj, both of x's shape.

    Example:
        >>> within(torch.tensor([1.0, 3.0]), 2.0, lambda u: (-u, torch.zeros_like(u)))[0]
        tensor([-1.,  3.])
    """
    y, ladj = curve((x / bound).clamp(-1, 1))
    outside = x.abs() > bound
    return torch.where(outside, x, bound * y), ladj.masked_fill(outside, 0)


def match_dtype(bound: float | Tensor, x: Tensor) -> float | Tensor:
    """Give a bound the dtype of the elements, and refuse one that is not positive.

    Args:
        bound: half-width of the domain; a tensor is trusted, for looking into it would wait for the device.
        x: elements whose dtype counts.

    Returns:
        The bound.

    Raises:
        InputError: a number that is not positive.

    Example:
        >>> match_dtype(torch.tensor([5.0]), torch.zeros(1, dtype=torch.float64)).dtype
        torch.float64
    """
    if isinstance(bound, Tensor):
        return bound.to(x.dtype)
    if not bound > 0:
        raise InputError(f"bound must be positive, got {bound}. It is the half-width of the spline's domain.")
    return bound


def require_slope(min_slope: float) -> None:
    """Refuse a smallest slope outside of (0, 1).

    Args:
        min_slope: smallest slope at a knot.

    Raises:
        InputError: it is not in (0, 1).

    Example:
        >>> require_slope(1e-3)
    """
    if not 0 < min_slope < 1:
        raise InputError(f"min_slope must be in (0, 1), got {min_slope}. The identity has slope 1; 1e-3 is usual.")

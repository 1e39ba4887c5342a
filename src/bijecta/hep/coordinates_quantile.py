"""A start from quantiles: every column becomes roughly normal before a flow has learned anything."""

import torch
from torch import Tensor

from bijecta.bijections import Bijection
from bijecta.bijections.base import check_features
from bijecta.errors import InputError, ShapeError
from bijecta.functional.rational_quadratic import rational_quadratic, rational_quadratic_params

_REACH = 3.0  # standard deviations of the normal between which quantiles are matched
_STEEPEST = 1000.0  # largest slope between two knots relative to the mean one: repeated values do no harm
_SMALLEST = 1e-6  # share of a bin that the spline adds to each: far below what the steepest slope leaves


class QuantileStart(Bijection):
    r"""Map each column by a smooth curve through its quantiles, so that it becomes roughly normal.

    .. math:: z(x_{(q)}) = \Phi^{-1}(q), \qquad q = \Phi(-3), \dots, \Phi(3)

    Between the quantiles runs a monotone rational-quadratic spline with continuous slopes, outside a straight line: the
    map is onto the real line, and its density has no steps as that of an empirical distribution function has. Between
    two knots it is at most 1000 times as steep as the straight line through the outer quantiles, so repeated values do
    no harm; the map stays exact where it then misses a quantile. `initialise` measures the quantiles once; they are
    saved with the model. Before that the map is the identity.

    Args:
        features: number D of columns, in any unit.
        bins: number of pieces of the spline.

    Raises:
        InputError: in `measure`, for a column that does not vary or is not finite, or weights without a positive sum.
        ShapeError: in `measure`, for weights that are not one per row.

    Reference:
        Gregory, Delbourgo (1982), "Piecewise rational quadratic interpolation to monotonic data"; Durkan et al. (2019),
        "Neural spline flows".

    Example:
        >>> energies = torch.linspace(0.0, 1.0, 1001)[:, None].exp()  # GeV
        >>> start = QuantileStart(1)
        >>> start.initialise(energies)[[0, 1000]].round(decimals=1).flatten().tolist()
        [-3.0, 3.0]
    """

    measured: Tensor
    low: Tensor
    high: Tensor
    params: Tensor

    def __init__(self, features: int, bins: int = 16) -> None:
        super().__init__()
        self.bins = bins
        self.register_buffer("measured", torch.tensor(False))  # noqa: FBT003 (a value, not a flag)
        self.register_buffer("low", torch.full((features,), -_REACH))
        self.register_buffer("high", torch.full((features,), _REACH))
        self.register_buffer("params", torch.zeros(features, rational_quadratic_params(bins)))

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(x, len(self.low))
        scale = 2.0 * _REACH / (self.high - self.low)
        z, ladj = rational_quadratic((x - self.low) * scale - _REACH, self.params, bound=_REACH, min_bin=_SMALLEST)
        return z, (ladj + scale.log()).sum(-1)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(z, len(self.low))
        scale = 2.0 * _REACH / (self.high - self.low)
        straight, ladj = rational_quadratic(z, self.params, bound=_REACH, inverse=True, min_bin=_SMALLEST)
        return (straight + _REACH) / scale + self.low, (ladj - scale.log()).sum(-1)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if not self.measured:
            self.measure(x)
        return self.forward(x, context)

    @torch.no_grad()
    def measure(self, x: Tensor, weight: Tensor | None = None) -> None:
        r"""Set the curves from data.

        Args:
            x: rows (\*B, D).
            weight: event weights (\*B,), of either sign; None if all rows count the same.
        """
        check_features(x, len(self.low))
        rows = x.reshape(-1, x.shape[-1]).double()
        if weight is not None and weight.shape != x.shape[:-1]:
            raise ShapeError(
                f"weight: expected one per row, shape {tuple(x.shape[:-1])}; got shape {tuple(weight.shape)}."
            )
        weights = torch.ones_like(rows[:, 0]) if weight is None else weight.reshape(-1).to(rows)
        levels = torch.special.ndtr(torch.linspace(-_REACH, _REACH, self.bins + 1).to(rows))
        knots = torch.stack([weighted_quantiles(column, weights, levels) for column in rows.T])
        span = knots[:, -1] - knots[:, 0]
        if not bool((span > 1e-12 * knots.abs().amax(-1)).all()):
            columns = (~(span > 1e-12 * knots.abs().amax(-1))).nonzero().flatten().tolist()
            raise InputError(
                f"QuantileStart expects columns that vary and are finite; column {columns} does not. A constant column "
                "has no density: drop it. Remove rows with NaN or infinity."
            )
        self.low.copy_(knots[:, 0])
        self.high.copy_(knots[:, -1])
        self.params.copy_(_spline_through(knots.diff(dim=-1) / span[:, None]))
        self.measured.fill_(True)  # noqa: FBT003


def weighted_quantiles(values: Tensor, weight: Tensor, levels: Tensor) -> Tensor:
    """Return quantiles of weighted values.

    Where negative weights make the running sum of the weights fall, its running maximum stands for it.

    Args:
        values: numbers (N,).
        weight: their weights (N,), with a positive sum.
        levels: shares between 0 and 1, shape (K,).

    Returns:
        The quantiles (K,), interpolated between the values; NaN where a value is NaN.

    Raises:
        InputError: the weights do not have a positive sum.

    Example:
        >>> weighted_quantiles(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 1.0, 2.0]), torch.tensor([0.5]))
        tensor([2.1667])
    """
    if not float(weight.sum()) > 0.0:
        raise InputError(f"Quantiles need weights with a positive sum; got {float(weight.sum()):g}.")
    order = values.argsort()
    ordered, own = values[order], weight[order]
    # A value stands in the middle of its own weight; ends count from the first and the last middle.
    middle = (own.cumsum(0) - own / 2.0).cummax(0).values
    share = (middle - middle[0]) / (middle[-1] - middle[0]).clamp(min=1e-300)
    right = torch.searchsorted(share, levels.clamp(0.0, 1.0)).clamp(1, len(share) - 1)
    step = (share[right] - share[right - 1]).clamp(min=1e-300)
    part = ((levels - share[right - 1]) / step).clamp(0.0, 1.0)
    quantiles = torch.lerp(ordered[right - 1], ordered[right], part)
    return torch.where(values.isfinite().all(), quantiles, torch.nan)


def _spline_through(widths: Tensor) -> Tensor:
    """Return the raw parameters of splines with bins of these widths (D, K), shares of one, and of equal heights."""
    bins = widths.shape[-1]
    widths = widths.clamp(min=1.0 / (_STEEPEST * bins))
    slopes = widths.sum(-1, keepdim=True) / (bins * widths)
    # The harmonic mean of the slopes beside a knot is never above twice the smaller one.
    at_knots = 2.0 / (1.0 / slopes[:, 1:] + 1.0 / slopes[:, :-1])
    return torch.cat([widths.log(), torch.zeros_like(widths), at_knots.log()], -1)

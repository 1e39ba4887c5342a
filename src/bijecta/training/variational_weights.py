"""Draws of a flow with weights for another density: what they are worth, and rows without weights."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bijecta.distributions import Distribution
from bijecta.errors import InputError, ShapeError

LogDensity = Callable[[Tensor], Tensor]

_FEWEST_TAIL = 5  # weights in the tail below which its shape cannot be told
_EVEN, _THIN = 0.9, 0.01  # shares of draws that count, above which no tail matters and below which any sample is thin
_PRIOR_ROWS, _PRIOR_TAIL = 10, 0.5  # the weak prior of Vehtari et al. on the shape of the tail


@dataclass(frozen=True)
class ImportanceSample:
    r"""Hold draws of a flow, weighted for an unnormalised density, and rows of equal weight made from them.

    Attributes:
        x: rows (size, D) of equal weight, resampled from the draws, with repetitions.
        draws: what the flow drew, of shape (M, D).
        log_weight: :math:`\log w = \log \tilde p - \log q` of every draw, of shape (M,).
    """

    x: Tensor
    draws: Tensor
    log_weight: Tensor

    @property
    def weight(self) -> Tensor:
        """The weights of the draws, which sum to 1: expectations are ``weight @ f(draws)``."""
        return self.log_weight.softmax(0)

    @property
    def effective_sample_size(self) -> float:
        """How many draws of equal weight they are worth."""
        return effective_sample_size(self.log_weight)

    @property
    def log_evidence(self) -> float:
        r"""The logarithm of the unbiased estimate :math:`\frac1M\sum w` of the integral Z of the density."""
        return float(self.log_weight.logsumexp(0)) - math.log(len(self.log_weight))

    @property
    def log_evidence_error(self) -> float:
        """The standard deviation of `log_evidence`, to first order."""
        return math.sqrt(max(0.0, 1 / self.effective_sample_size - 1 / len(self.log_weight)))

    @property
    def tail_shape(self) -> float:
        """The shape k of the tail of the weights: above 0.7 no error estimate can be trusted."""
        return tail_shape(self.log_weight)


def effective_sample_size(log_weight: Tensor) -> float:
    r"""Count what weighted draws are worth in draws of equal weight (Kish).

    .. math:: \mathrm{ESS} = \frac{(\sum w)^2}{\sum w^2}

    Args:
        log_weight: logarithms of the weights, of shape (N,), up to a constant.

    Returns:
        A number between 1 and N.

    References:
        L. Kish (1965), Survey Sampling.

    Example:
        >>> import torch
        >>> from bijecta.training import effective_sample_size
        >>> round(effective_sample_size(torch.tensor([1.0, 1.0, 0.0]).log()), 3)
        2.0
    """
    return 1 / float(log_weight.double().softmax(0).square().sum())


def tail_shape(log_weight: Tensor) -> float:
    r"""Estimate how heavy the tail of the weights is: the shape k of a generalised Pareto distribution.

    Weights have about 1/k finite moments. With k > 0.7 no affordable number of draws reaches their mean, and an
    effective sample size looks better than it is.

    Args:
        log_weight: logarithms of the weights, of shape (N,), up to a constant.

    Returns:
        k; infinite where fewer than 5 weights are in the tail.

    References:
        J. Zhang, M. Stephens (2009), A New and Efficient Estimation Method for the Generalized Pareto Distribution;
        A. Vehtari et al. (2024), Pareto Smoothed Importance Sampling.

    Example:
        >>> import torch
        >>> from bijecta.training import tail_shape
        >>> uniform = torch.linspace(0.0005, 0.9995, 1000)
        >>> abs(tail_shape(-0.4 * uniform.log()) - 0.4) < 0.1  # weights u^-0.4 have the shape 0.4
        True
    """
    ordered = log_weight.double().sort().values
    tail = math.ceil(min(0.2 * len(ordered), 3 * len(ordered) ** 0.5))
    if tail >= len(ordered) or tail < _FEWEST_TAIL:
        return math.inf
    relative = (ordered - ordered[-1]).exp()
    excess = relative[-tail:] - relative[-tail - 1]
    return _pareto_shape(excess[excess > 0])


def _pareto_shape(excess: Tensor) -> float:
    """Estimate the shape from sorted positive excesses: the posterior mean of Zhang and Stephens, and a weak prior."""
    rows = len(excess)
    if rows < _FEWEST_TAIL:
        return math.inf
    points = 30 + int(rows**0.5)
    grid = 1 - (points / (torch.arange(1, points + 1).to(excess) - 0.5)).sqrt()
    rate = 1 / excess[-1] + grid / (3 * excess[int(rows / 4 + 0.5) - 1])
    shape = torch.log1p(-rate[:, None] * excess).mean(1)
    posterior = (rows * ((-rate / shape).log() - shape - 1)).softmax(0)
    found = float(torch.log1p(-(posterior @ rate) * excess).mean())
    return (rows * found + _PRIOR_ROWS * _PRIOR_TAIL) / (rows + _PRIOR_ROWS)


@torch.no_grad()
def sample_importance(
    flow: Distribution,
    log_density: LogDensity,
    size: int,
    *,
    draws: int | None = None,
    generator: torch.Generator | None = None,
) -> ImportanceSample:
    r"""Sample an unnormalised density by weighing and resampling the draws of a flow.

    .. math:: x_m \sim q, \qquad w_m = \tilde p(x_m) / q(x_m), \qquad
              \mathbb{E}_p f \approx \frac{\sum w_m f(x_m)}{\sum w_m}, \qquad Z \approx \frac1M \sum w_m

    The draws are weighed with the exact density of the flow, so that what the flow did not learn widens the errors and
    shifts nothing, wherever the flow has mass at all. The rows are resampled systematically.

    Args:
        flow: the proposal; a `StochasticFlow` too, whose weights are those of its paths.
        log_density: maps points (N, D) to :math:`\log\tilde p` of shape (N,); -inf where the density is zero.
        size: number of rows of equal weight to return.
        draws: number M of draws of the flow (default: four per row).
        generator: source of randomness (default: the global one of torch).

    Returns:
        The rows, with the draws and weights that they come from. A warning is given where the weights have so heavy a
        tail, or are worth so few draws, that the rows must not be trusted.

    Raises:
        InputError: no rows are asked for, the density is NaN or infinite at a draw, or zero at all of them.
        ShapeError: the density has not one number per point.

    References:
        D. Rubin (1987), The Calculation of Posterior Distributions by Data Augmentation (comment on Tanner and Wong).

    Example:
        >>> import torch
        >>> from bijecta.distributions import Normal
        >>> from bijecta.training import sample_importance
        >>> found = sample_importance(Normal(1), lambda x: -x.square().sum(-1), 1000)  # Z = sqrt(pi)
        >>> found.x.shape, abs(found.log_evidence - 0.5724) < 5 * found.log_evidence_error
        (torch.Size([1000, 1]), True)
    """
    draws = 4 * size if draws is None else draws
    if size < 1 or draws < 1:
        raise InputError(f"sample_importance expects at least one row and one draw, got size {size}, draws {draws}.")
    x, log_prob = flow.sample_and_log_prob((draws,), generator=generator)
    log_weight = (evaluate(log_density, x, log_prob) - log_prob).double()
    _check(log_weight)
    sample = ImportanceSample(x[_systematic(log_weight, size, generator)], x, log_weight)
    _warn_if_thin(sample)
    return sample


def evaluate(log_density: LogDensity, x: Tensor, like: Tensor) -> Tensor:
    r"""Evaluate a density at points (\*B, D), flattened to (N, D), and return it in the shape (\*B,) of ``like``."""
    points = x.reshape(like.numel(), *x.shape[like.ndim :])
    value = log_density(points)
    if value.shape != (len(points),):
        raise ShapeError(
            f"The log-density has to return one number per point, of shape {(len(points),)}; "
            f"it returned {tuple(value.shape)}. Sum over the columns, not over the rows."
        )
    return value.reshape(like.shape)


def _check(log_weight: Tensor) -> None:
    bad = log_weight.isnan() | (log_weight == math.inf)
    if bool(bad.any()):
        raise InputError(
            f"sample_importance expects a log-density that is finite or -inf; it, or that of the flow, is NaN or "
            f"infinite at {int(bad.sum())} of {len(bad)} draws."
        )
    if bool((log_weight == -math.inf).all()):
        raise InputError("The density is zero at every draw of the flow. Fit the flow to it first: fit_variational.")


def _systematic(log_weight: Tensor, size: int, generator: torch.Generator | None) -> Tensor:
    """Choose indices in proportion to the weights, with one random offset: less noise than independent choices."""
    offset = torch.rand((), generator=generator, dtype=torch.float64, device=log_weight.device)
    at = (torch.arange(size, device=log_weight.device) + offset) / size
    index = torch.searchsorted(log_weight.softmax(0).cumsum(0), at).clamp(max=len(log_weight) - 1)
    order = torch.randperm(size, generator=generator, device=log_weight.device)
    return index[order]


def _warn_if_thin(sample: ImportanceSample) -> None:
    """Warn of a heavy tail, by the threshold of Vehtari et al., where weights vary enough for it to matter."""
    count, size, shape = len(sample.log_weight), sample.effective_sample_size, sample.tail_shape
    threshold = min(0.7, 1 - 1 / math.log10(max(count, 11)))
    if size >= _EVEN * count or (shape <= threshold and size >= _THIN * count):
        return
    warnings.warn(
        f"The draws are worth {size:.0f} of {count}, and the tail of their weights has the shape k = {shape:.2f} "
        f"(trusted up to {threshold:.2f}): the flow misses a part of the density. Fit longer, take a more flexible "
        "flow, or more draws.",
        stacklevel=3,
    )

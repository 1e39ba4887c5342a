r"""Are conditional distributions calibrated? Every tool here turns truth and samples into numbers that must be uniform.

Samples have the shape (S, N, D) that ``flow.sample(S, context)`` gives for N contexts, truths the shape (N, D).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bijecta.diagnostics.drawing import Rows, as_array
from bijecta.diagnostics.metrics import Array, kolmogorov_tail
from bijecta.distributions import DiagonalNormal, Normal, UniformBox
from bijecta.errors import InputError, ShapeError
from bijecta.flows import Flow


@dataclass(frozen=True)
class CalibrationRanks:
    """Hold the ranks of simulation-based calibration and how probable they are for a calibrated posterior.

    Args:
        ranks: how many of the S samples lie below the truth, of shape (N, D), each from 0 to S.
        samples: the number S.
        chi_square_p_values: one per column, of the counts in equal bins.
        ks_p_values: one per column, Kolmogorov-Smirnov.

    Example:
        >>> import numpy as np
        >>> from bijecta.diagnostics import simulation_based_calibration
        >>> simulation_based_calibration(np.zeros((9, 50, 1)), np.ones((50, 1))).ks_p_values[0] < 1e-6
        True
    """

    ranks: NDArray[np.int64]
    samples: int
    chi_square_p_values: tuple[float, ...]
    ks_p_values: tuple[float, ...]


@dataclass(frozen=True)
class Coverage:
    """Hold how often credible regions contain the truth.

    Args:
        levels: nominal levels from 0 to 1.
        coverage: the fraction of the truths inside the region of that level.
        p_value: of the largest difference between the two, by Kolmogorov and Smirnov, for a calibrated posterior.

    Example:
        >>> import numpy as np
        >>> from bijecta.diagnostics import expected_coverage
        >>> truths_at_the_mode = expected_coverage(np.zeros((9, 50)), np.ones(50))
        >>> float(truths_at_the_mode.coverage[20])  # regions of level 0.2 contain them all: too wide
        1.0
    """

    levels: Array
    coverage: Array
    p_value: float


def simulation_based_calibration(
    samples: Rows, truths: Rows, *, bins: int | None = None, seed: int = 0
) -> CalibrationRanks:
    r"""Rank every truth among the posterior samples for its own data: uniform, column by column, if calibrated.

    .. math:: r_{nd} = \sum_s \mathbb{1}[\theta^{(s)}_{nd} < \theta_{nd}] \in \{0, \dots, S\}

    A U-shaped histogram of the ranks means too narrow a posterior, a hill too wide a one, a slope a shifted one. Draw
    the truths from the prior and their data from the simulator; test rows of a data set do as well.

    Args:
        samples: of shape (S, N, D).
        truths: of shape (N, D), in the same units.
        bins: of the chi-square test (default: about 20 truths in each, at most S + 1 and 50).
        seed: for ties, and to spread the discrete ranks over [0, 1] for the Kolmogorov-Smirnov test.

    Returns:
        A `CalibrationRanks`.

    Raises:
        ShapeError: the shapes do not fit.
        InputError: a number is not finite, or bins is out of range.

    References:
        S. Talts, M. Betancourt, D. Simpson, A. Vehtari, A. Gelman (2018), Validating Bayesian Inference Algorithms with
        Simulation-Based Calibration.

    Example:
        >>> import numpy as np
        >>> from bijecta.diagnostics import simulation_based_calibration
        >>> draws = np.random.default_rng(0).normal(size=(100, 500, 2))
        >>> min(simulation_based_calibration(draws[1:], draws[0]).ks_p_values) > 0.01
        True
    """
    draws, truth = _checked(samples, truths, 3)
    generator = _generator(seed)
    # A truth that ties with k samples takes any of the k + 1 places among them.
    ranks = (draws < truth).sum(0) + generator.integers(0, (draws == truth).sum(0) + 1)
    spread = (ranks + generator.random(ranks.shape)) / (len(draws) + 1)
    count = bins or max(2, min(len(truth) // 20, len(draws) + 1, 50))
    if not 2 <= count <= len(draws) + 1:
        raise InputError(f"Expected 2 to {len(draws) + 1} bins for {len(draws)} samples per truth, got {count}.")
    return CalibrationRanks(
        ranks,
        len(draws),
        tuple(_chi_square_p_value(column, count) for column in spread.T),
        tuple(_uniform_p_value(column) for column in spread.T),
    )


def expected_coverage(sample_log_probs: Rows, truth_log_probs: Rows, *, seed: int = 0) -> Coverage:
    r"""Measure how often regions of highest density contain the truth.

    .. math:: \mathrm{coverage}(\alpha) = \frac1N \sum_n \mathbb{1}\left[\hat P\{\,p(\theta^{(s)}_n \mid x_n) >
              p(\theta_n \mid x_n)\,\} \le \alpha\right]

    Below the diagonal the posterior is too narrow (overconfident), above it too wide.

    Args:
        sample_log_probs: log-densities of posterior samples under their own posterior, of shape (S, N).
        truth_log_probs: those of the truths, of shape (N,).
        seed: spreads discrete ranks over [0, 1].

    Returns:
        A `Coverage`.

    Raises:
        ShapeError: the shapes do not fit.
        InputError: a number is not finite.

    References:
        J. Hermans et al. (2022), A Crisis in Simulation-Based Inference? Beware, Your Posterior Approximations Can Be
        Unfaithful.

    Example:
        >>> import torch
        >>> from bijecta.diagnostics import expected_coverage
        >>> from bijecta.flows import realnvp
        >>> flow = realnvp(2, context=1).requires_grad_(False)
        >>> context = torch.randn(300, 1)
        >>> truths = flow.sample(context=context)
        >>> samples, log_probs = flow.sample_and_log_prob(100, context)
        >>> expected_coverage(log_probs, flow.log_prob(truths, context)).p_value > 0.01
        True
    """
    draws, truth = _checked(sample_log_probs, truth_log_probs, 2)
    return _coverage((draws > truth).sum(0), len(draws), seed)


def tarp(samples: Rows, truths: Rows, *, seed: int = 0) -> Coverage:
    r"""Measure coverage by the fraction of the samples that are nearer to a random point than the truth.

    .. math:: f_n = \frac1S \sum_s \mathbb{1}[\,|\theta^{(s)}_n - a_n| < |\theta_n - a_n|\,]

    It needs no densities and sees all columns at once; widths better than shifts, which cancel over the points. For
    every n the point :math:`a_n` is uniform in the box of the truths; columns are scaled to that box.

    Args:
        samples: of shape (S, N, D).
        truths: of shape (N, D), in the same units.
        seed: of the points.

    Returns:
        A `Coverage`.

    Raises:
        ShapeError: the shapes do not fit.
        InputError: a number is not finite.

    References:
        P. Lemos, A. Coogan, Y. Hezaveh, L. Perreault-Levasseur (2023), Sampling-Based Accuracy Testing of Posterior
        Estimators for General Inference.

    Example:
        >>> import numpy as np
        >>> from bijecta.diagnostics import tarp
        >>> draws = np.random.default_rng(0).normal(size=(100, 500, 2))
        >>> tarp(draws[1:], draws[0]).p_value > 0.01, tarp(draws[1:] / 2, draws[0]).p_value < 0.01
        (True, True)
    """
    draws, truth = _checked(samples, truths, 3)
    low, high = truth.min(0), truth.max(0)
    points = low + (high - low) * _generator(seed).random(truth.shape)
    scale = np.where(high > low, high - low, 1.0)
    nearer = np.square((draws - points) / scale).sum(-1) < np.square((truth - points) / scale).sum(-1)
    return _coverage(nearer.sum(0), len(draws), seed)


def pit_values(flow: Flow, x: Tensor, context: Tensor | None = None) -> Tensor:
    r"""Compute probability integral transforms: independent and uniform on [0, 1] if the flow is the truth.

    .. math:: u_i = F_i(z_i), \qquad z = f(x; c)

    with :math:`F_i` the distribution function of the base. With one column u is the predicted probability of a value
    below x (or above it, where the map falls); in an autoregressive flow it is that given the columns before; in any
    other flow it is the latent seen through its own distribution.

    Args:
        flow: a flow whose base is `Normal`, `DiagonalNormal` or `UniformBox`.
        x: data of shape (\*B, D).
        context: of shape (\*B, C).

    Returns:
        The values u, of shape (\*B, D).

    Raises:
        InputError: the base has no distribution function here.

    References:
        A. Dawid (1984), Present Position and Potential Developments: the Prequential Approach.

    Example:
        >>> import torch
        >>> from bijecta.diagnostics import pit_values
        >>> from bijecta.flows import realnvp
        >>> pit_values(realnvp(1), torch.zeros(1)).item()
        0.5
    """
    base = flow.base
    with torch.no_grad():
        z = flow.to_latent(x, context)
        if isinstance(base, DiagonalNormal):
            z = (z - base.mean) * (-base.log_scale).exp()
        if isinstance(base, UniformBox):
            return ((z - base.low) / (base.high - base.low)).clamp(0, 1)
        if isinstance(base, Normal | DiagonalNormal):
            return torch.special.ndtr(z)
    raise InputError(
        f"pit_values expects a base Normal, DiagonalNormal or UniformBox, got {type(base).__name__}. Rank the data "
        "among samples instead: simulation_based_calibration."
    )


def _checked(samples: Rows, truths: Rows, dimensions: int) -> tuple[Array, Array]:
    draws, truth = as_array(samples), as_array(truths)
    if draws.ndim != dimensions or draws.shape[1:] != truth.shape or not draws.size:
        names = "(S, N, D) and (N, D)" if dimensions == 3 else "(S, N) and (N,)"
        raise ShapeError(f"Expected samples and truths of shapes {names}, got {draws.shape} and {truth.shape}.")
    if not (np.isfinite(draws).all() and np.isfinite(truth).all()):
        raise InputError("Expected finite numbers. Drop the truths whose samples or densities are NaN or infinite.")
    return draws, truth


def _generator(seed: int) -> np.random.Generator:
    """Make a stream of its own: ``default_rng(seed)`` may be the very one that drew the truths."""
    return np.random.default_rng([seed, 1])


def _coverage(ranks: NDArray[Any], samples: int, seed: int) -> Coverage:
    """Turn ranks from 0 to S into the levels at which the truths enter the region."""
    spread = (ranks + _generator(seed).random(ranks.shape)) / (samples + 1)
    levels = np.linspace(0, 1, 101)
    inside = np.searchsorted(np.sort(spread), levels, side="right") / len(spread)
    return Coverage(levels, inside, _uniform_p_value(spread))


def _chi_square_p_value(values: Array, bins: int) -> float:
    counts = np.histogram(values, bins, (0.0, 1.0))[0]
    expected = len(values) / bins
    statistic = float(np.square(counts - expected).sum() / expected)
    # The upper tail of a chi-square with bins - 1 degrees of freedom.
    half = torch.tensor([(bins - 1) / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def _uniform_p_value(values: Array) -> float:
    ordered, n = np.sort(values), len(values)
    steps = np.arange(n + 1) / n
    distance = float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()))
    # Stephens' correction for small samples, as in the two-sample test.
    return kolmogorov_tail(distance * (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n)))

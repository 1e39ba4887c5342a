"""Numbers that say how good a density or a set of samples is, in plain NumPy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bijecta.errors import InputError, ShapeError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GaussianBaseline:
    """Hold the held-out score of a full-covariance Gaussian.

    Args:
        nll: mean negative log-likelihood of the test rows, in nats per row.
        ridge: what was added to the diagonal of the correlation matrix to make it invertible; 0 for nothing.
        note: why there is a ridge, or empty.

    Example:
        >>> from bijecta.diagnostics import gaussian_nll
        >>> gaussian_nll([[0.0], [2.0]], [[1.0]])
        GaussianBaseline(nll=0.9189385332046727, ridge=0.0, note='')
    """

    nll: float
    ridge: float
    note: str


@dataclass(frozen=True)
class Distance:
    """Hold a distance between samples and data, beside what chance alone gives.

    Args:
        value: the distance between the two sets.
        null_mean: mean distance between two random halves of the pooled rows of the same sizes.
        null_high: the 95 % quantile of that.
        p_value: how often chance alone gives a distance as large.

    Example:
        >>> from bijecta.diagnostics import energy_distance
        >>> energy_distance([[0.0], [1.0], [2.0]], [[0.0], [1.0], [2.0]]).p_value
        1.0
    """

    value: float
    null_mean: float
    null_high: float
    p_value: float


@dataclass(frozen=True)
class KolmogorovSmirnov:
    """Hold the two-sample test of one column.

    Args:
        distance: largest difference of the two empirical distribution functions, between 0 and 1.
        p_value: probability of one as large by chance, asymptotically.

    Example:
        >>> from bijecta.diagnostics import ks_per_column
        >>> ks_per_column([[0.0], [1.0]], [[0.0], [1.0]])
        [KolmogorovSmirnov(distance=0.0, p_value=1.0)]
    """

    distance: float
    p_value: float


def gaussian_nll(train: ArrayLike, test: ArrayLike) -> GaussianBaseline:
    r"""Score test rows under the Gaussian with the mean and covariance of the training rows.

    .. math:: \mathrm{NLL} = \tfrac12\left[D\log 2\pi + \log|\Sigma| + \overline{(x-\mu)^\top\Sigma^{-1}(x-\mu)}\right]

    The baseline that a flow has to beat. :math:`\Sigma` is the maximum-likelihood covariance. Where it is singular,
    a ridge of 1e-6 (or more) goes on the diagonal of the correlation matrix.

    Args:
        train: rows (N, D).
        test: rows (M, D), in the same units.

    Returns:
        A `GaussianBaseline`.

    Raises:
        ShapeError: the two have not the same columns.
        InputError: a column of ``train`` is constant, or a number is not finite.

    References:
        C. Bishop (2006), Pattern Recognition and Machine Learning, section 2.3.

    Example:
        >>> import numpy as np
        >>> from bijecta.diagnostics import gaussian_nll
        >>> round(gaussian_nll([[-1.0], [1.0]], [[0.0]]).nll, 4)  # log(2 pi) / 2
        0.9189
    """
    train, test = same_columns(train, test)
    mean, scale = train.mean(0), train.std(0)
    if not (scale > 0).all():
        constant_columns = np.flatnonzero(scale == 0).tolist()
        raise InputError(f"gaussian_nll expects columns that vary; column {constant_columns} is constant. Drop it.")
    white = (train - mean) / scale
    correlation = white.T @ white / len(white)
    factor, ridge = _cholesky_with_ridge(correlation)
    solved = np.linalg.solve(factor, ((test - mean) / scale).T)
    log_determinant = 2 * np.log(np.diag(factor)).sum() + 2 * np.log(scale).sum()
    constant = train.shape[1] * math.log(2 * math.pi)
    note = f"the covariance is singular: {ridge:g} added to the diagonal of the correlations" if ridge else ""
    return GaussianBaseline(float((constant + log_determinant + np.square(solved).sum(0).mean()) / 2), ridge, note)


def _cholesky_with_ridge(correlation: Array) -> tuple[Array, float]:
    for ridge in (0.0, 1e-6, 1e-4, 1e-2):
        try:
            factor = np.linalg.cholesky(correlation + ridge * np.eye(len(correlation))).astype(np.float64)
        except np.linalg.LinAlgError:
            continue
        # A pivot of rounding size is a singular matrix that happened to pass.
        if np.diag(factor).min() > 1e-6:
            return factor, ridge
    raise InputError("The correlation matrix is far from positive: check the rows for extreme values.")


def effective_sample_size(weights: ArrayLike) -> float:
    r"""Say how many equally weighted points weighted points are worth: :math:`(\sum w)^2 / \sum w^2`.

    Args:
        weights: non-negative importance weights (N,), not necessarily normalised.

    Returns:
        A number between 1 and N.

    Raises:
        InputError: a weight is negative or not finite, or all are zero.

    References:
        A. Kong (1992), A Note on Importance Sampling Using Standardized Weights.

    Example:
        >>> from bijecta.diagnostics import effective_sample_size
        >>> effective_sample_size([1.0, 1.0, 0.0, 0.0])
        2.0
    """
    w = np.asarray(weights, dtype=np.float64).ravel()
    if not (np.isfinite(w).all() and (w >= 0).all() and (w > 0).any()):
        raise InputError(
            "effective_sample_size expects finite weights >= 0, at least one above 0. Check the densities."
        )
    w = w / w.max()  # squares of tiny weights would underflow
    return float(w.sum() ** 2 / np.square(w).sum())


def energy_distance(
    samples: ArrayLike, data: ArrayLike, *, rows: int = 500, permutations: int = 100, seed: int = 0
) -> Distance:
    r"""Measure the energy distance between samples and data, beside what chance alone gives.

    .. math:: \mathcal{E}^2 = 2\,\mathbb{E}|X - Y| - \mathbb{E}|X - X'| - \mathbb{E}|Y - Y'|

    It is zero only for equal distributions. Columns are divided by the standard deviation of the data. The null
    shuffles the pooled rows, so it is the truth against the truth.

    Args:
        samples: rows (N, D) of a model.
        data: rows (M, D), in the same units.
        rows: how many rows of each to use at most; the cost grows with its square.
        permutations: how many shuffles.
        seed: of the choice of rows and of the shuffles.

    Returns:
        A `Distance`; squared energy distance, without unit.

    Raises:
        ShapeError: the two have not the same columns.
        InputError: a number is not finite, or there are fewer than two rows.

    References:
        G. Székely, M. Rizzo (2013), Energy Statistics: A Class of Statistics Based on Distances.

    Example:
        >>> import numpy as np
        >>> from bijecta.diagnostics import energy_distance
        >>> rows = np.random.default_rng(0).normal(size=(400, 2))
        >>> energy_distance(rows[:200], rows[200:] + 1.0).p_value < 0.05
        True
    """
    samples, data = same_columns(samples, data)
    generator = np.random.default_rng(seed)
    scale = np.where(data.std(0) > 0, data.std(0), 1.0)
    first = generator.permutation(samples)[:rows] / scale
    second = generator.permutation(data)[:rows] / scale
    pooled = np.concatenate([first, second])
    squares = np.square(pooled).sum(1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * pooled @ pooled.T, 0))
    np.fill_diagonal(distances, 0)
    member = np.arange(len(pooled)) < len(first)
    value = _energy(distances, member)
    null = np.array([_energy(distances, generator.permutation(member)) for _ in range(permutations)])
    # Shuffles that only rename rows differ from the value by rounding: they count as equal to it.
    p_value = (1 + (null >= value - 1e-12 * distances.mean()).sum()) / (1 + permutations)
    return Distance(value, float(null.mean()), float(np.quantile(null, 0.95)), float(p_value))


def _energy(distances: Array, member: NDArray[np.bool_]) -> float:
    # With weights +1/n on one set and -1/m on the other, all three means are one quadratic form.
    signed = np.where(member, 1 / member.sum(), -1 / (~member).sum())
    return float(-signed @ distances @ signed)


def ks_per_column(samples: ArrayLike, data: ArrayLike) -> list[KolmogorovSmirnov]:
    r"""Compare two sets column by column: :math:`\max_t |F_n(t) - G_m(t)|`, with its asymptotic p-value.

    Args:
        samples: rows (N, D).
        data: rows (M, D), in the same units.

    Returns:
        One `KolmogorovSmirnov` per column.

    Raises:
        ShapeError: the two have not the same columns.
        InputError: a number is not finite.

    References:
        N. Smirnov (1948), Table for Estimating the Goodness of Fit of Empirical Distributions.

    Example:
        >>> from bijecta.diagnostics import ks_per_column
        >>> ks_per_column([[0.0], [1.0]], [[5.0], [6.0]])[0].distance
        1.0
    """
    samples, data = same_columns(samples, data)
    return [_ks(a, b) for a, b in zip(samples.T, data.T, strict=True)]


def _ks(a: Array, b: Array) -> KolmogorovSmirnov:
    a, b = np.sort(a), np.sort(b)
    places = np.concatenate([a, b])
    difference = np.searchsorted(a, places, side="right") / len(a) - np.searchsorted(b, places, side="right") / len(b)
    distance = float(np.abs(difference).max())
    n = len(a) * len(b) / (len(a) + len(b))
    # Stephens' correction makes the asymptotic series good for small sets too.
    scaled = distance * (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n))
    return KolmogorovSmirnov(distance, kolmogorov_tail(scaled))


def kolmogorov_tail(scaled: float) -> float:
    """Sum the tail probability 2 sum (-1)^(k-1) exp(-2 k^2 t^2); below t = 0.3 it is 1 to nine digits."""
    if scaled < 0.3:
        return 1.0
    terms = [(-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101)]
    return min(1.0, max(0.0, 2 * math.fsum(terms)))


def marginal_summary(
    data: ArrayLike,
    samples: ArrayLike,
    names: Sequence[str] | None = None,
    *,
    quantiles: Sequence[float] = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99),
) -> list[dict[str, float | str]]:
    r"""Summarise every column of data and samples side by side: :math:`\mu, \sigma` and quantiles :math:`F^{-1}(q)`.

    Args:
        data: rows (N, D).
        samples: rows (M, D), in the same units.
        names: of the columns.
        quantiles: levels between 0 and 1.

    Returns:
        One dictionary per column, in the units of that column: name, data_mean, samples_mean, data_std, ...,
        data_q0.5, samples_q0.5, ..., and the Kolmogorov-Smirnov distance "ks".

    Raises:
        ShapeError: the two have not the same columns.
        InputError: a number is not finite.

    References:
        R. Hyndman, Y. Fan (1996), Sample Quantiles in Statistical Packages (their definition 7).

    Example:
        >>> from bijecta.diagnostics import marginal_summary
        >>> marginal_summary([[0.0], [2.0]], [[1.0], [5.0]], ["mass"])[0]["samples_mean"]
        3.0
    """
    samples, data = same_columns(samples, data)
    names = column_names(names, data.shape[1])
    distances = ks_per_column(samples, data)
    summary: list[dict[str, float | str]] = []
    for column, name in enumerate(names):
        row: dict[str, float | str] = {"name": name}
        for label, rows in (("data", data[:, column]), ("samples", samples[:, column])):
            row |= {f"{label}_mean": float(rows.mean()), f"{label}_std": float(rows.std())}
            row |= {f"{label}_q{level:g}": float(np.quantile(rows, level)) for level in quantiles}
        summary.append({**row, "ks": distances[column].distance})
    return summary


def column_names(names: Sequence[str] | None, columns: int) -> list[str]:
    """Return one name per column, x1 to xD by default."""
    if names is None:
        return [f"x{column + 1}" for column in range(columns)]
    if len(names) != columns:
        raise InputError(f"Expected {columns} names, one per column; got {len(names)}: {list(names)}.")
    return list(names)


def same_columns(first: ArrayLike, second: ArrayLike) -> tuple[Array, Array]:
    """Return two arrays of rows as float64, after checking that they are comparable."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ShapeError(f"Expected two arrays of rows with the same columns, got shapes {a.shape} and {b.shape}.")
    if not len(a) or not len(b) or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("Expected at least one row in each array and finite numbers. Drop rows with NaN or infinity.")
    return a, b

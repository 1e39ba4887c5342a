"""Distances between two weighted samples of one observable, each with its error and what truth against truth gives.

All replicas of the bootstrap are rows of one array; samples and weights may be of any size and sign.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bijecta.diagnostics.metrics import kolmogorov_tail

FloatArray = NDArray[np.float64]
Weighted = tuple[FloatArray, FloatArray]

BINS = 30
_LEAST_IN_BIN = 20  # effective events, so that chi2 follows its distribution
_LEAST_REPLICAS = 30  # whose mean is good to five per cent
_ELEMENTS = 100_000  # of one block of replicas: it stays in the cache
_KOLMOGOROV_MEAN = np.sqrt(np.pi / 2.0) * np.log(2.0)


@dataclass(frozen=True)
class Number:
    """Hold one measured number beside what truth against truth gives at the same sizes.

    Args:
        value: the number for generated against reference.
        error: its standard deviation over bootstrap replicas; None if not estimated.
        null: its mean for two samples of the reference; None if not computed.
        null_high: the 95 % quantile of that.
        p_value: probability of a number as extreme for equal distributions; None if it is not used as a test.

    Reference:
        Efron, Tibshirani (1993), "An introduction to the bootstrap".

    Example:
        >>> Number(0.05, error=0.01, null=0.02, null_high=0.03).is_above_null
        True
    """

    value: float
    error: float | None = None
    null: float | None = None
    null_high: float | None = None
    p_value: float | None = None

    @property
    def is_above_null(self) -> bool:
        """Whether the number exceeds 95 % of the truth-against-truth replicas."""
        return self.null_high is not None and self.value > self.null_high

    def to_json(self) -> dict[str, float | None]:
        """Return plain values."""
        values: dict[str, Any] = asdict(self)
        return {key: None if value is None or not np.isfinite(value) else float(value) for key, value in values.items()}


def effective_size(weight: FloatArray) -> float:
    r"""Return :math:`(\sum w)^2 / \sum w^2` for weights of any sign."""
    return float(weight.sum() ** 2 / np.square(weight).sum())


def compare_column(
    generated: Weighted, reference: Weighted, *, replicas: int, null: bool, generator: np.random.Generator
) -> dict[str, Number]:
    r"""Measure how far apart two samples of one observable are.

    .. math:: W_1 = \frac1\sigma\int |F - G|\,dx, \quad \mathrm{KS} = \sup|F - G|, \quad
              S^2 = \tfrac12\sum_i\frac{(h_i - g_i)^2}{h_i + g_i}, \quad
              \chi^2 = \min_c \sum_i\frac{(h_i - c\,g_i)^2}{\sigma_{h,i}^2 + \sigma_{g,i}^2}

    The bins hold equal shares of the reference (30, fewer for small samples); errors are :math:`\sum w^2`. The null
    draws both samples from the reference, with the effective sizes of the two. The tail of Kolmogorov is taken in
    units of the mean of the null (of 30 replicas or more), which keeps it right for weighted and discrete observables.

    Args:
        generated: values (n,) and weights (n,).
        reference: values (m,) and weights (m,).
        replicas: how many, for the error and for the null each.
        null: whether to compute the null.
        generator: of the replicas.

    Returns:
        "wasserstein" (in standard deviations of the reference), "ks", "separation", "chi2" (per degree of freedom),
        and "outside": how many generated events lie beyond the extremes of the reference.

    References:
        Kolmogorov-Smirnov, chi2 of weighted histograms: Gagunashvili (2010), "Chi-square tests for comparing weighted
        histograms". Separation: Hocker et al. (2007), "TMVA: Toolkit for multivariate data analysis".
    """
    merged = _Merged(generated, reference)
    observed = {name: found[0] for name, found in merged.statistics(None, None).items()}
    spread = _collect(merged.bootstrap(replicas, generator))
    truth = _collect(merged.truth(generated[1], replicas, generator)) if null else {}
    degrees = max(len(merged.starts) - 1, 1)
    sizes = [effective_size(weight) for weight in (generated[1], reference[1])]
    scale = _KOLMOGOROV_MEAN * np.sqrt(1.0 / sizes[0] + 1.0 / sizes[1])
    if replicas >= _LEAST_REPLICAS and truth and truth["ks"].mean() > 0.0:
        scale = truth["ks"].mean()
    tails = {
        "ks": kolmogorov_tail(_KOLMOGOROV_MEAN * observed["ks"] / scale),
        "chi2": _chi2_tail(observed["chi2"] * degrees, degrees) if len(merged.starts) > 1 else 1.0,
    }
    numbers = {
        name: Number(
            float(value),
            error=float(spread[name].std()) if spread else None,
            null=float(truth[name].mean()) if truth else None,
            null_high=float(np.quantile(truth[name], 0.95)) if truth else None,
            p_value=tails.get(name),
        )
        for name, value in observed.items()
    }
    return numbers | {"outside": _outside(generated, reference)}


class _Merged:
    """Both samples in one sorted column, so that every replica is a row of weights."""

    def __init__(self, generated: Weighted, reference: Weighted) -> None:
        values = np.concatenate([generated[0], reference[0]])
        order = np.argsort(values, kind="stable")
        self.values = values[order]
        self.generated = np.concatenate([generated[1], np.zeros(len(reference[1]))])[order]
        self.reference = np.concatenate([np.zeros(len(generated[1])), reference[1]])[order]
        self.spread = _spread(reference)
        smaller = min(effective_size(generated[1]), effective_size(reference[1]))
        self.edges = inner_edges(reference, int(np.clip(smaller / _LEAST_IN_BIN, 2, BINS)))
        self.starts = _starts(self.values, self.edges)

    def statistics(self, first: FloatArray | None, second: FloatArray | None) -> dict[str, FloatArray]:
        """Compare both samples, each event counted as often as the rows (B, n) say."""
        weights = (self.generated, self.reference)
        return _statistics(self.values, weights, (first, second), self.starts, self.spread)

    def bootstrap(self, replicas: int, generator: np.random.Generator) -> Iterator[dict[str, FloatArray]]:
        for rows in _blocks(replicas, len(self.values)):
            counts = generator.poisson(1.0, (rows, len(self.values))).astype(np.float64)
            yield self.statistics(counts, counts)

    def truth(
        self, weight: FloatArray, replicas: int, generator: np.random.Generator
    ) -> Iterator[dict[str, FloatArray]]:
        """Draw both samples from the reference."""
        chosen = self.reference != 0.0
        values, own = self.values[chosen], self.reference[chosen]
        rate, starts = effective_size(weight) / effective_size(own), _starts(values, self.edges)
        for rows in _blocks(replicas, len(values)):
            first = generator.poisson(rate, (rows, len(values))).astype(np.float64)
            second = generator.poisson(1.0, (rows, len(values))).astype(np.float64)
            yield _statistics(values, (own, own), (first, second), starts, self.spread)


def _statistics(
    values: FloatArray,
    weights: tuple[FloatArray, FloatArray],
    counts: tuple[FloatArray | None, FloatArray | None],
    starts: NDArray[np.intp],
    spread: float,
) -> dict[str, FloatArray]:
    shares, heights, variances = [], [], []
    for weight, count in zip(weights, counts, strict=True):
        rows = weight[None] if count is None else count * weight
        total = rows.sum(axis=1, keepdims=True)
        shares.append(rows / total)
        heights.append(np.add.reduceat(shares[-1], starts, axis=1))
        # The variance of a replica is estimated as that of the sample: a row drawn k times counts k, not k squared.
        variances.append(np.add.reduceat(rows * weight, starts, axis=1) / total**2)
    # The distribution functions differ only between different values: ties are no gap.
    gap, step = np.abs(np.cumsum(shares[0] - shares[1], axis=1)[:, :-1]), np.diff(values)
    return {
        "wasserstein": gap @ step / spread,
        "ks": (gap * (step > 0.0)).max(axis=1, initial=0.0),
        "separation": _separation(*heights),
        "chi2": _chi2(heights[0], heights[1], variances[0] + variances[1]) / max(len(starts) - 1, 1),
    }


def _separation(h: FloatArray, g: FloatArray) -> FloatArray:
    positive = h + g > 0.0
    return 0.5 * np.where(positive, (h - g) ** 2 / np.where(positive, h + g, 1.0), 0.0).sum(axis=1)


def _chi2(h: FloatArray, g: FloatArray, variance: FloatArray) -> FloatArray:
    """Compare shapes: the common scale is fitted, for one heavy event would otherwise shift every bin."""
    inverse = np.where(variance > 0.0, 1.0 / np.where(variance > 0.0, variance, 1.0), 0.0)
    norm = (g * g * inverse).sum(axis=1)
    fitted = (h * g * inverse).sum(axis=1) ** 2 / np.where(norm > 0.0, norm, 1.0)
    return np.maximum((h * h * inverse).sum(axis=1) - fitted, 0.0)


def _chi2_tail(chi2: float, degrees: int) -> float:
    half = torch.tensor([degrees / 2.0, chi2 / 2.0], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def _outside(generated: Weighted, reference: Weighted) -> Number:
    """Count generated events beyond the extremes of the reference.

    That the k highest of both are all generated has the probability (n / (n + m))^k. It is no test for weighted
    samples, whose events cannot be exchanged.
    """
    (values, weight), (truth, truth_weight) = generated, reference
    above, below = int((values > truth.max()).sum()), int((values < truth.min()).sum())
    if np.ptp(weight) > 0.0 or np.ptp(truth_weight) > 0.0:
        return Number(float(above + below))
    share = len(values) / (len(values) + len(truth))
    return Number(
        float(above + below), null=2.0 * len(values) / len(truth), p_value=min(1.0, 2 * share ** max(above, below))
    )


def inner_edges(sample: Weighted, bins: int) -> FloatArray:
    """Return the values that split a sample into bins of equal weight, without repetitions."""
    order = np.argsort(sample[0])
    total = np.cumsum(np.abs(sample[1][order]))
    places = np.searchsorted(total, np.linspace(0.0, total[-1], bins + 1)[1:-1])
    return np.unique(sample[0][order][places])


def _starts(values: FloatArray, edges: FloatArray) -> NDArray[np.intp]:
    """Return where the bins begin in sorted values; a bin that would be empty is left out."""
    found = np.unique(np.concatenate([[0], np.searchsorted(values, edges, side="right")]))
    return found[found < len(values)]


def _spread(sample: Weighted) -> float:
    weight = np.abs(sample[1])
    mean = np.average(sample[0], weights=weight)
    return float(np.sqrt(np.average((sample[0] - mean) ** 2, weights=weight))) or 1.0


def _blocks(replicas: int, rows: int) -> Iterator[int]:
    size = max(1, _ELEMENTS // rows)
    for start in range(0, replicas, size):
        yield min(size, replicas - start)


def _collect(parts: Iterator[Mapping[str, FloatArray]]) -> dict[str, FloatArray]:
    found = list(parts)
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]} if found else {}

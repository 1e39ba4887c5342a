"""Histograms of an evaluation, with the statistical errors of weighted events."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bijecta.hep.evaluation_distances import Weighted, inner_edges

FloatArray = NDArray[np.float64]
_PANEL_BINS = 30
_DISCRETE = 12  # different values up to which an observable gets one bin for each


@dataclass(frozen=True)
class RatioPanel:
    r"""Hold one observable as two histograms: shares per unit, with errors from :math:`\sum w^2`.

    Args:
        edges: (B + 1,), in the units of the observable.
        generated: height in every bin (B,).
        generated_error: its standard deviation (B,).
        reference: (B,).
        reference_error: (B,).
    """

    edges: FloatArray
    generated: FloatArray
    generated_error: FloatArray
    reference: FloatArray
    reference_error: FloatArray

    def to_json(self) -> dict[str, Any]:
        """Return plain lists."""
        return {name: np.asarray(values).tolist() for name, values in asdict(self).items()}


@dataclass(frozen=True)
class WeightHistogram:
    """Hold how often the classifier gives which weight.

    Args:
        edges: of the weights, (B + 1,), in equal steps of their logarithm; the outer bins take what lies beyond.
        generated: shares of generated events (B,).
        truth: the same for reference against reference; None if it was not computed.
    """

    edges: FloatArray
    generated: FloatArray
    truth: FloatArray | None

    def to_json(self) -> dict[str, Any]:
        """Return plain lists."""
        truth = None if self.truth is None else self.truth.tolist()
        return {"edges": self.edges.tolist(), "generated": self.generated.tolist(), "truth": truth}


def ratio_panel(generated: Weighted, reference: Weighted) -> RatioPanel:
    """Fill the histograms of one observable over the central 99 % of the reference."""
    edges = _panel_edges(reference)
    heights = [_histogram(sample, edges) for sample in (generated, reference)]
    return RatioPanel(edges, *heights[0], *heights[1])


def weight_histogram(generated: FloatArray, truth: FloatArray | None) -> WeightHistogram:
    """Fill the histograms of classifier weights."""
    edges = np.geomspace(1e-3, 1e3, 61)
    found = [None if w is None else _shares(w, edges) for w in (generated, truth)]
    return WeightHistogram(edges, _shares(generated, edges), found[1])


def _shares(weight: FloatArray, edges: FloatArray) -> FloatArray:
    clipped = np.clip(weight, edges[0], edges[-1] * (1.0 - 1e-9))
    return np.histogram(clipped, edges)[0] / len(weight)


def _panel_edges(reference: Weighted) -> FloatArray:
    different = np.unique(reference[0])
    if len(different) <= _DISCRETE:
        middle = (different[1:] + different[:-1]) / 2.0
        return np.concatenate([[2.0 * different[0] - middle[0]], middle, [2.0 * different[-1] - middle[-1]]])
    quantiles = inner_edges(reference, 200)
    return np.linspace(quantiles[0], quantiles[-1], _PANEL_BINS + 1)


def _histogram(sample: Weighted, edges: FloatArray) -> tuple[FloatArray, FloatArray]:
    values, weight = sample
    norm = weight.sum() * np.diff(edges)
    return (
        np.histogram(values, edges, weights=weight)[0] / norm,
        np.sqrt(np.histogram(values, edges, weights=weight**2)[0]) / np.abs(norm),
    )

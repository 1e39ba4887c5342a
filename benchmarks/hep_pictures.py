"""Pictures of the studies of collision events: spectra over their ratio to the truth, with statistical errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bijecta.diagnostics.drawing import BLUE, GREEN, GREY, ORANGE, empty_figure, styled
from machine import RESULTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]
Weighted = tuple[FloatArray, FloatArray]  # values and weights, (n,) each
COLOURS = (BLUE, ORANGE, GREEN)


@dataclass(frozen=True)
class Spectrum:
    """One observable of the truth and of each model, in bins, under the label of its axis."""

    label: str
    edges: FloatArray
    truth: Weighted
    models: Mapping[str, Weighted]
    log: bool = False


def equal(values: FloatArray) -> Weighted:
    """Give every event the weight one."""
    return values, np.ones(len(values))


@styled
def draw_spectra(spectra: list[Spectrum]) -> "Figure":
    """Draw spectra side by side, each above its ratio to the truth."""
    figure = empty_figure((3.1 * len(spectra), 3.6))
    panels = figure.subplots(2, len(spectra), squeeze=False, height_ratios=(2.2, 1.0), sharex="col")
    for upper, lower, spectrum in zip(*panels, spectra, strict=True):
        _draw(upper, lower, spectrum)
    panels[0, 0].set_ylabel("share per unit")
    panels[1, 0].set_ylabel("model / truth")
    panels[0, 0].legend(fontsize=7)
    return figure


def keep_picture(figure: "Figure", name: str) -> None:
    """Write results/NAME.png."""
    figure.savefig(RESULTS / f"{name}.png", dpi=150)


def _draw(upper: Any, lower: Any, spectrum: Spectrum) -> None:
    height, error = _heights(spectrum.truth, spectrum.edges)
    filled = height > 0.0
    safe = np.where(filled, height, 1.0)
    upper.stairs(height, spectrum.edges, color=GREY, fill=True, alpha=0.3, label="truth")
    band = np.where(filled, error / safe, 0.0)
    lower.stairs(1.0 + band, spectrum.edges, baseline=1.0 - band, color=GREY, fill=True, alpha=0.35)
    lower.axhline(1.0, color=GREY, linewidth=0.8)
    for (name, sample), colour in zip(spectrum.models.items(), COLOURS, strict=False):
        found, spread = _heights(sample, spectrum.edges)
        upper.stairs(found, spectrum.edges, color=colour, label=name, linewidth=1.1)
        ratio, its_error = (np.where(filled, each / safe, np.nan) for each in (found, spread))
        centres = (spectrum.edges[1:] + spectrum.edges[:-1]) / 2.0
        lower.errorbar(centres, ratio, its_error, fmt=".", markersize=3, linewidth=0.8, color=colour)
    lower.set(ylim=(0.5, 1.5), xlabel=spectrum.label)
    if spectrum.log:
        upper.set_yscale("log")


def _heights(sample: Weighted, edges: FloatArray) -> Weighted:
    """Return the share per unit in every bin, and its standard deviation."""
    values, weight = sample
    norm = weight.sum() * np.diff(edges)
    square = np.histogram(values, edges, weights=weight**2)[0]
    return np.histogram(values, edges, weights=weight)[0] / norm, np.sqrt(square) / np.abs(norm)

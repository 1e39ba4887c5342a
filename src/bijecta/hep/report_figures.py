"""Pictures of an evaluation: ratio panels with statistical bands, and the weights of the classifier."""

from typing import TYPE_CHECKING, Any

import numpy as np

from bijecta.diagnostics.drawing import BLUE, GREY, ORANGE, make_figure, styled
from bijecta.hep.evaluation_histograms import RatioPanel, WeightHistogram

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def plot_ratio(panel: RatioPanel, name: str) -> "Figure":
    """Draw one observable, and below it generated / reference with the error of the reference as a band.

    Args:
        panel: the histograms.
        name: of the observable; masses and momenta are in GeV.

    Returns:
        The figure.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    figure, (upper, lower) = make_figure(2, 1, (3.6, 3.2))
    for height, error, colour, label in (
        (panel.reference, panel.reference_error, GREY, "reference"),
        (panel.generated, panel.generated_error, ORANGE, "generated"),
    ):
        upper.stairs(height, panel.edges, color=colour, label=label, linewidth=1.2)
        upper.stairs(height + error, panel.edges, baseline=height - error, fill=True, color=colour, alpha=0.3)
    positive = np.concatenate([panel.reference, panel.generated])
    positive = positive[positive > 0.0]
    if positive.size and positive.max() > 100.0 * np.median(positive):
        upper.set_yscale("log")
    upper.legend(fontsize=7)
    upper.set(xticklabels=[], ylabel="share per unit")
    _draw_ratio(lower, panel)
    lower.set(xlabel=f"{name}{' (GeV)' if name.startswith(('pt(', 'm(')) else ''}", ylabel="ratio")
    return figure


def _draw_ratio(axes: Any, panel: RatioPanel) -> None:
    filled = panel.reference > 0.0
    safe = np.where(filled, panel.reference, 1.0)
    band = np.where(filled, panel.reference_error / safe, 0.0)
    axes.axhspan(0.95, 1.05, color=BLUE, alpha=0.12, linewidth=0)
    axes.stairs(1.0 + band, panel.edges, baseline=1.0 - band, fill=True, color=GREY, alpha=0.4)
    axes.axhline(1.0, color=GREY, linewidth=0.8)
    centre = (panel.edges[1:] + panel.edges[:-1]) / 2.0
    axes.errorbar(
        centre[filled],
        (panel.generated / safe)[filled],
        (panel.generated_error / safe)[filled],
        fmt=".",
        markersize=3,
        linewidth=0.8,
        color=ORANGE,
    )
    far = np.abs(panel.generated / safe - 1.0)[filled].max(initial=0.0) > 0.5
    axes.set_ylim(*((0.0, 3.0) if far else (0.5, 1.5)))


@styled
def plot_weights(histogram: WeightHistogram) -> "Figure":
    """Draw the histogram of classifier weights, with truth against truth, on logarithmic axes.

    Args:
        histogram: of the weights.

    Returns:
        The figure.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    figure, (axes,) = make_figure(1, 1, (6.0, 3.0))
    axes.stairs(histogram.generated, histogram.edges, color=ORANGE, label="generated against reference")
    if histogram.truth is not None:
        axes.stairs(histogram.truth, histogram.edges, color=GREY, label="reference against reference")
    axes.axvline(1.0, color=GREY, linewidth=0.8, linestyle=":")
    axes.set(xscale="log", yscale="log", xlabel="weight C / (1 - C)", ylabel="share of events")
    axes.legend()
    return figure

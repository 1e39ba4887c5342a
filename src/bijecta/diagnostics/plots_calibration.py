"""Pictures of calibration: histograms of ranks, and coverage against its level."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bijecta.diagnostics.calibration import CalibrationRanks, Coverage
from bijecta.diagnostics.drawing import BLUE, GREY, make_figure, styled, wrapped
from bijecta.diagnostics.metrics import column_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def plot_ranks(ranks: CalibrationRanks, names: Sequence[str] | None = None, *, bins: int = 20) -> "Figure":
    r"""Draw a histogram of the ranks of every column, with the band that a calibrated posterior stays in.

    The band is two standard deviations of a binomial count, :math:`\sqrt{N (1 - 1/B) / B}` for B bins.

    Args:
        ranks: what `simulation_based_calibration` returns.
        names: of the columns.
        bins: B, at most.

    Returns:
        The figure.

    Raises:
        MissingDependencyError: matplotlib is not installed.

    References:
        S. Talts et al. (2018), Validating Bayesian Inference Algorithms with Simulation-Based Calibration.

    Example:
        >>> import numpy as np
        >>> from bijecta.diagnostics import simulation_based_calibration
        >>> from bijecta.diagnostics.plots_calibration import plot_ranks
        >>> draws = np.random.default_rng(0).normal(size=(100, 500, 2))
        >>> len(plot_ranks(simulation_based_calibration(draws[1:], draws[0])).axes)
        2
    """
    count, columns = ranks.ranks.shape
    bins = min(bins, ranks.samples + 1)
    width = min(columns, 4)
    figure, axes = make_figure(-(-columns // width), width, (max(4.0, 2.7 * width), 2.4 * -(-columns // width)))
    expected, spread = count / bins, np.sqrt(count * (1 - 1 / bins) / bins)
    for panel, column, name in zip(axes, ranks.ranks.T, column_names(names, columns), strict=False):
        # Ranks 0 to S are S + 1 values of equal probability: each fills its share of [0, 1].
        panel.hist((column + 0.5) / (ranks.samples + 1), bins=bins, range=(0, 1), color=BLUE, alpha=0.5)
        panel.axhspan(expected - 2 * spread, expected + 2 * spread, color=GREY, alpha=0.3, linewidth=0)
        panel.set(xlabel=f"rank of {wrapped(name, 30)}", ylabel="truths", xlim=(0, 1))
    for panel in axes[columns:]:
        panel.remove()
    return figure


@styled
def plot_coverage(coverages: Mapping[str, Coverage]) -> "Figure":
    r"""Draw the coverage against the level; a calibrated posterior is on the diagonal :math:`y = \alpha`.

    Args:
        coverages: results of `expected_coverage` or `tarp`, by the name to show.

    Returns:
        The figure. A curve below the diagonal is overconfident.

    Raises:
        MissingDependencyError: matplotlib is not installed.

    References:
        J. Hermans et al. (2022), A Crisis in Simulation-Based Inference?

    Example:
        >>> import numpy as np
        >>> from bijecta.diagnostics import tarp
        >>> from bijecta.diagnostics.plots_calibration import plot_coverage
        >>> draws = np.random.default_rng(0).normal(size=(100, 500, 2))
        >>> plot_coverage({"TARP": tarp(draws[1:], draws[0])}).axes[0].get_xlabel()
        'level'
    """
    figure, (panel,) = make_figure(1, 1, (4.0, 4.0))
    panel.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    for name, coverage in coverages.items():
        panel.plot(coverage.levels, coverage.coverage, label=name)
    panel.set(xlabel="level", ylabel="fraction of truths inside", xlim=(0, 1), ylim=(0, 1))
    panel.set_box_aspect(1)
    panel.legend(loc="upper left")
    return figure

"""Pictures of flows: safe for colour-blind eyes and for print, and without any global state of matplotlib."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from bijecta.data.files import write_atomically
from bijecta.diagnostics.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    Rows,
    both,
    empty_figure,
    limits_of,
    make_figure,
    scatter,
    styled,
    wrapped,
)
from bijecta.diagnostics.metrics import Array
from bijecta.diagnostics.plots_2d import (
    plot_density_2d,
    plot_grid_warp,
    plot_latent_2d,
    plot_layers,
    plot_samples_2d,
)
from bijecta.diagnostics.plots_discrete import plot_frequencies
from bijecta.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "plot_density_2d",
    "plot_frequencies",
    "plot_grid_warp",
    "plot_latent_2d",
    "plot_layers",
    "plot_marginals",
    "plot_pairs",
    "plot_samples_2d",
    "plot_training",
    "save_figure",
]


@styled
def plot_training(
    history: Sequence[Mapping[str, float | None]], *, reference: float | None = None, reference_label: str = "entropy"
) -> "Figure":
    r"""Draw the training and the validation loss, :math:`-\overline{\log p(x)}`, against the epoch.

    Args:
        history: one entry per epoch with "epoch", "train_nll", "validation_nll" (nats per row; None is left out).
        reference: a horizontal line, such as the exact entropy or the score of a Gaussian, in nats per row.
        reference_label: what that line is.

    Returns:
        The figure.

    Raises:
        InputError: the history is empty.
        MissingDependencyError: matplotlib is not installed.

    References:
        M. Okabe, K. Ito (2008), Color Universal Design, for the colours of all figures.

    Example:
        >>> from bijecta.diagnostics.plots import plot_training
        >>> history = [{"epoch": 1, "train_nll": 3.0, "validation_nll": 3.1}]
        >>> plot_training(history, reference=2.8).axes[0].get_xlabel()
        'epoch'
    """
    if not history:
        raise InputError("plot_training expects a history of at least one epoch, got none. Train first.")
    figure, axes = make_figure(1, 1, (5.6, 3.4))
    shown = []
    for key, label, colour in (("train_nll", "training", BLUE), ("validation_nll", "validation", ORANGE)):
        pairs = [
            (number if (epoch := entry.get("epoch")) is None else epoch, value)
            for number, entry in enumerate(history, start=1)
            if (value := entry.get(key)) is not None
        ]
        marker = "o" if len(pairs) == 1 else None
        axes[0].plot([p[0] for p in pairs], [p[1] for p in pairs], color=colour, label=label, marker=marker)
        shown += [value for _, value in pairs[len(pairs) // 20 :]]
    if reference is not None:
        axes[0].axhline(reference, color=GREEN, linestyle="--", linewidth=1.2, label=reference_label)
        shown.append(reference)
    # The first epochs of a run can be thousands of nats high and would flatten all that is of interest.
    low, high = min(shown, default=0.0), float(np.quantile(shown, 0.98)) if shown else 1.0
    margin = 0.08 * (high - low) or 0.1
    axes[0].set(xlabel="epoch", ylabel="negative log-likelihood (nats per row)", ylim=(low - margin, high + margin))
    axes[0].locator_params(axis="x", integer=True)
    axes[0].grid(axis="y", color="#dddddd", linewidth=0.6)
    axes[0].legend(loc="upper right")
    return figure


@styled
def plot_marginals(data: Rows, samples: Rows, names: Sequence[str] | None = None, *, bins: int = 50) -> "Figure":
    r"""Draw histograms of every column of data and samples, and below them the ratio samples / data.

    The error of a ratio r of counts a and b is :math:`r\sqrt{1/a + 1/b}`.

    Args:
        data: rows (N, D).
        samples: rows (M, D), in the same units.
        names: of the columns, with units.
        bins: between the 0.2 % and 99.8 % quantiles of the data.

    Returns:
        The figure, at most four columns wide.

    Raises:
        ShapeError: the two have not the same columns.
        MissingDependencyError: matplotlib is not installed.

    References:
        G. Cowan (1998), Statistical Data Analysis, section 2 (the errors of counts).

    Example:
        >>> import torch
        >>> from bijecta.diagnostics.plots import plot_marginals
        >>> len(plot_marginals(torch.randn(99, 2), torch.randn(99, 2)).axes)
        4
    """
    first, second, labels = both(data, samples, names)
    columns = min(4, first.shape[1])
    height = -(-first.shape[1] // columns)
    # Every subfigure holds one column of the data: the histogram, and the ratio below it.
    figure = empty_figure((max(4.0, 2.7 * columns), 2.9 * height))
    parts = figure.subfigures(height, columns, squeeze=False).ravel()
    for column, part in enumerate(parts[: first.shape[1]]):
        top, bottom = part.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        _histograms(top, bottom, first[:, column], second[:, column], bins)
        bottom.set_xlabel(wrapped(labels[column], 30))
        if column % columns == 0:
            top.set_ylabel("density")
            bottom.set_ylabel("ratio")
        if column == 0:
            top.legend(loc="upper right", fontsize=7, handlelength=1.2)
    return figure


@styled
def plot_pairs(data: Rows, samples: Rows, names: Sequence[str] | None = None, *, max_columns: int = 6) -> "Figure":
    """Draw every pair of columns: data below the diagonal, samples above it, ``p(x_i)`` of both on it.

    Args:
        data: rows (N, D).
        samples: rows (M, D), in the same units.
        names: of the columns, with units.
        max_columns: only that many columns, from the first.

    Returns:
        The figure.

    Raises:
        ShapeError: the two have not the same columns.
        MissingDependencyError: matplotlib is not installed.

    References:
        J. Hartigan (1975), Printer Graphics for Clustering (the matrix of scatter plots).

    Example:
        >>> import torch
        >>> from bijecta.diagnostics.plots import plot_pairs
        >>> len(plot_pairs(torch.randn(99, 3), torch.randn(99, 3)).axes)
        9
    """
    first, second, labels = both(data, samples, names)
    size = min(first.shape[1], max_columns)
    figure, axes = make_figure(size, size, (max(4.0, 1.5 * size), max(4.0, 1.5 * size)))
    limits = [(float(low), float(high)) for low, high in limits_of(first)[:size]]
    for panel, (row, column) in zip(axes, np.ndindex(size, size), strict=True):
        if row == column:
            _histograms(panel, None, first[:, row], second[:, row], 40)
        else:
            rows, colour = (first, BLUE) if row > column else (second, ORANGE)
            scatter(panel, rows[:2000][:, [column, row]], colour, size=2.0)
            panel.set_ylim(limits[row])
        panel.set_xlim(limits[column])
        panel.set_xlabel(wrapped(labels[column]) if row == size - 1 else "", fontsize=8)
        panel.set_ylabel(wrapped(labels[row]) if column == 0 else "", fontsize=8)
        panel.locator_params(nbins=3)
        panel.tick_params(
            labelsize=6, labelbottom=row == size - 1, labelleft=column == 0 < row, left=row != column, length=2
        )
    figure.align_labels()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write a figure in one step, in the format that the ending of ``path`` says: .png, .pdf or .svg.

    Args:
        figure: the figure.
        path: where to.

    Raises:
        InputError: another ending, or no such folder.

    Example:
        >>> import tempfile
        >>> from bijecta.diagnostics.plots import plot_training, save_figure
        >>> figure = plot_training([{"epoch": 1, "train_nll": 3.0, "validation_nll": None}])
        >>> save_figure(figure, tempfile.mkdtemp() + "/training.png")
    """
    ending = Path(path).suffix.lower().lstrip(".")
    if ending not in ("png", "pdf", "svg"):
        raise InputError(f"save_figure expects a path that ends in .png, .pdf or .svg; got {Path(path).name!r}.")

    def write(file: BinaryIO) -> None:
        figure.savefig(file, format=ending, dpi=200)

    write_atomically(path, write)


def _histograms(top: "Axes", bottom: "Axes | None", data: Array, samples: Array, bins: int) -> None:
    low, high = np.quantile(data, [0.002, 0.998])
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    counts = [np.histogram(rows, edges)[0] for rows in (data, samples)]
    scale = [1 / (len(rows) * (edges[1] - edges[0])) for rows in (data, samples)]
    top.stairs(counts[0] * scale[0], edges, fill=True, color=BLUE, alpha=0.35, label="data")
    top.stairs(counts[1] * scale[1], edges, color=ORANGE, linewidth=1.3, label="samples")
    top.set_ylim(bottom=0)
    if bottom is None:
        return
    filled = (counts[0] > 0) & (counts[1] > 0)
    a, b = counts[0][filled], counts[1][filled]
    ratio = b * scale[1] / (a * scale[0])
    centres = ((edges[1:] + edges[:-1]) / 2)[filled]
    bottom.errorbar(centres, ratio, ratio * np.sqrt(1 / a + 1 / b), fmt=".", color=ORANGE, markersize=3, linewidth=0.8)
    bottom.axhline(1, color=GREY, linewidth=0.8)
    bottom.set_ylim(0.5, 1.5)

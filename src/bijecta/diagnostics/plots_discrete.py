"""Pictures of columns that hold labels."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bijecta.diagnostics.drawing import BLUE, ORANGE, Rows, as_array, empty_figure, styled, wrapped
from bijecta.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BARS = 20


@styled
def plot_frequencies(columns: Mapping[str, tuple[Rows, Rows, Sequence[str]]]) -> "Figure":
    r"""Draw how often each label occurs in data and samples: the most frequent ones of every column.

    The error of a share p among M samples is :math:`\sqrt{p (1 - p) / M}`.

    Args:
        columns: for every name the codes (N,) of the data, those (M,) of the samples, and the labels that they count.

    Returns:
        The figure, one row of bars per column.

    Raises:
        InputError: there are no columns.
        MissingDependencyError: matplotlib is not installed.

    References:
        W. Cleveland (1985), The Elements of Graphing Data (labels beside horizontal bars).

    Example:
        >>> from bijecta.diagnostics.plots import plot_frequencies
        >>> len(plot_frequencies({"colour": ([0, 1, 1], [1, 1, 0], ("red", "green"))}).axes)
        1
    """
    if not columns:
        raise InputError("plot_frequencies expects at least one column of labels, got none.")
    bars = [min(MOST_BARS, len(labels)) for _, _, labels in columns.values()]
    figure = empty_figure((5.6, 0.9 + sum(0.28 * count + 0.7 for count in bars)))
    panels = figure.subplots(len(bars), 1, squeeze=False, height_ratios=bars).ravel()
    for panel, (name, (data, samples, labels)) in zip(panels, columns.items(), strict=True):
        _bars(panel, as_array(data), as_array(samples), labels)
        panel.set_title(wrapped(name, 60), loc="left")
    panels[-1].set_xlabel("share of the rows")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def _bars(panel: "Axes", data: np.ndarray, samples: np.ndarray, labels: Sequence[str]) -> None:
    codes = np.arange(len(labels))
    share, drawn = ((rows[:, None] == codes).mean(0) for rows in (data, samples))
    shown = share.argsort(kind="stable")[-MOST_BARS:]
    place = np.arange(len(shown))
    panel.barh(place, share[shown], color=BLUE, alpha=0.35, label="data")
    error = np.sqrt(drawn * (1 - drawn) / max(1, len(samples)))
    panel.errorbar(drawn[shown], place, xerr=error[shown], fmt="o", color=ORANGE, markersize=3, label="samples")
    panel.set_yticks(place, [wrapped(labels[code] or "(empty)", 24) for code in shown])
    panel.set_xlim(left=0)

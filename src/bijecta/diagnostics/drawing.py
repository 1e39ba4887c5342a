"""What all pictures share: the style, how rows are read, limits, panels. Nothing here touches matplotlib's globals."""

import functools
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, cast

import numpy as np
import torch
from torch import Tensor

from bijecta.diagnostics.metrics import Array, column_names
from bijecta.errors import ShapeError, require
from bijecta.flows import Flow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Any  # whatever NumPy can read as rows, or a tensor
Parameters = ParamSpec("Parameters")

# The palette of Okabe and Ito (2008), which all common forms of colour vision tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6b6b6b"
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "normal",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.edgecolor": "#333333",
    "axes.grid": False,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "image.cmap": "cividis",
    "savefig.dpi": 200,
    "figure.dpi": 100,
}


def styled(draw: "Callable[Parameters, Figure]") -> "Callable[Parameters, Figure]":
    """Draw with the style of this module, and leave matplotlib's settings as they were."""

    @functools.wraps(draw)
    def drawn(*args: Parameters.args, **kwargs: Parameters.kwargs) -> "Figure":
        with require("matplotlib", extra="plots", purpose="Plotting").rc_context(_STYLE):
            return draw(*args, **kwargs)

    return drawn


def empty_figure(size: tuple[float, float]) -> "Figure":
    """Make a figure that is not registered anywhere, so that it is freed like any other object."""
    make = require("matplotlib.figure", extra="plots", purpose="Plotting").Figure
    return cast("Figure", make(figsize=size, layout="constrained"))


def make_figure(rows: int, columns: int, size: tuple[float, float]) -> "tuple[Figure, list[Axes]]":
    """Make a figure with a grid of panels, and return them row by row."""
    figure = empty_figure(size)
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def as_array(rows: Rows) -> Array:
    """Read rows or a tensor as float64."""
    values = rows.detach().cpu() if isinstance(rows, Tensor) else rows
    return np.asarray(values, dtype=np.float64)


def like(flow: Flow) -> Tensor:
    """Return a tensor of the dtype and on the device of the flow."""
    return next((value for value in flow.state_dict().values() if value.is_floating_point()), torch.zeros(()))


def split_context(context: Tensor | None, count: int) -> Sequence[Tensor | None]:
    """Split a context into pieces of 20,000 rows, or say as often that there is none."""
    return [None] * -(-count // 20_000) if context is None else context.split(20_000)


def two_columns(rows: Rows, names: Sequence[str] | None) -> tuple[Array, list[str]]:
    """Read rows of two columns, with the names of these."""
    found = as_array(rows)
    if found.ndim != 2 or found.shape[1] != 2:
        raise ShapeError(f"This picture needs rows of two columns, (N, 2); got {found.shape}. Choose two columns.")
    return found, column_names(names, 2)


def both(data: Rows, samples: Rows, names: Sequence[str] | None) -> tuple[Array, Array, list[str]]:
    """Read data and samples that have the same columns, with the names of these."""
    first, second = as_array(data), as_array(samples)
    if first.ndim != 2 or first.shape[1:] != second.shape[1:]:
        raise ShapeError(f"Expected data and samples with the same columns, got {first.shape} and {second.shape}.")
    return first, second, column_names(names, first.shape[1])


def limits_of(rows: Array, outliers: float = 0.002) -> Array:
    """Return the low and high end of two or more columns (D, 2), without the outliers, with a margin.

    Two columns of similar width get the same width, so that a square panel shows them to scale.
    """
    low, high = np.quantile(rows, outliers, axis=0), np.quantile(rows, 1 - outliers, axis=0)
    half = 0.58 * np.where(high > low, high - low, 1.0)
    if len(half) == 2 and 1 / 3 < half[0] / half[1] < 3:
        half = np.full(2, half.max())
    centre = (low + high) / 2
    return np.stack([centre - half, centre + half], 1)


def scatter(panel: "Axes", rows: Array, colour: Any, *, size: float = 4.0) -> None:
    """Draw points: in one colour, or shaded by one number each."""
    shade = {"color": colour} if isinstance(colour, str) else {"c": colour, "cmap": "viridis"}
    panel.scatter(rows[:, 0], rows[:, 1], s=size, alpha=0.5, linewidths=0, rasterized=True, **shade)


def frame(panel: "Axes", title: str, limits: Array, labels: Sequence[str]) -> None:
    """Make a panel square, with title, limits and names."""
    panel.set(title=title, xlim=tuple(limits[0]), ylim=tuple(limits[1]), xlabel=labels[0], ylabel=labels[1])
    panel.set_box_aspect(1)


def wrapped(name: str, width: int = 16) -> str:
    """Break a long name into lines."""
    return "\n".join(textwrap.wrap(name, width)) or name


def rings(panel: "Axes") -> None:
    """Draw the radii of one, two and three standard deviations of a standard normal."""
    angle = np.linspace(0, 2 * np.pi, 200)
    for radius in (1, 2, 3):
        panel.plot(radius * np.cos(angle), radius * np.sin(angle), color="#333333", linewidth=0.6, linestyle=":")

"""Pictures of flows of two columns."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bijecta.bijections import Chain
from bijecta.diagnostics.drawing import (
    BLUE,
    GREY,
    ORANGE,
    Rows,
    as_array,
    frame,
    like,
    limits_of,
    make_figure,
    rings,
    scatter,
    split_context,
    styled,
    two_columns,
)
from bijecta.diagnostics.metrics import column_names
from bijecta.distributions import Normal
from bijecta.errors import InputError
from bijecta.flows import Flow

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def plot_density_2d(
    flow: Flow, data: Rows, *, names: Sequence[str] | None = None, context: Tensor | None = None, resolution: int = 300
) -> "Figure":
    r"""Draw the density :math:`p(x)` of a flow of two columns beside the data, on the same axes.

    Args:
        flow: the flow.
        data: rows (N, 2), in the units of the data.
        names: of the two columns, with units.
        context: one context (C,), for conditional flows.
        resolution: pixels per side.

    Returns:
        The figure.

    Raises:
        ShapeError: the data have not two columns.
        MissingDependencyError: matplotlib is not installed.

    References:
        J. Nuñez, C. Anderton, R. Renslow (2018), Optimizing Colormaps with Consideration for Color Vision Deficiency.

    Example:
        >>> import torch
        >>> from bijecta.diagnostics.plots import plot_density_2d
        >>> from bijecta.flows import realnvp
        >>> plot_density_2d(realnvp(2), torch.randn(100, 2), resolution=20).axes[1].get_title()
        'density of the flow'
    """
    rows, labels = two_columns(data, names)
    limits = limits_of(rows)
    ticks = [np.linspace(low, high, resolution + 1) for low, high in limits]
    centres = np.meshgrid(*[(edge[1:] + edge[:-1]) / 2 for edge in ticks])
    points = torch.as_tensor(np.stack(centres, -1).reshape(-1, 2)).to(like(flow))
    contexts = None if context is None else context.expand(len(points), -1)
    with torch.no_grad():
        pieces = zip(points.split(20_000), split_context(contexts, len(points)), strict=True)
        log_prob = torch.cat([flow.log_prob(x, c) for x, c in pieces])
    density = log_prob.double().exp().reshape(resolution, resolution).cpu().numpy()
    figure, (left, right) = make_figure(1, 2, (7.8, 3.6))
    scatter(left, rows, BLUE)
    # One sharp ridge must not leave the rest black.
    picture = right.pcolormesh(*ticks, density, vmin=0, vmax=np.nanquantile(density, 0.999), rasterized=True)
    figure.colorbar(picture, cax=right.inset_axes((1.04, 0, 0.04, 1)), label="density (per unit area)")
    for panel, title in ((left, "data"), (right, "density of the flow")):
        frame(panel, title, limits, labels)
    return figure


@styled
def plot_samples_2d(data: Rows, samples: Rows, *, names: Sequence[str] | None = None) -> "Figure":
    """Draw data beside samples, on the same axes: ``x ~ data`` and ``x ~ flow``.

    Args:
        data: rows (N, 2), in the units of the data.
        samples: rows (M, 2); as many points of each are drawn as the smaller set has.
        names: of the two columns, with units.

    Returns:
        The figure.

    Raises:
        ShapeError: either has not two columns.
        MissingDependencyError: matplotlib is not installed.

    References:
        W. Cleveland (1985), The Elements of Graphing Data, on equal scales for comparison.

    Example:
        >>> import torch
        >>> from bijecta.diagnostics.plots import plot_samples_2d
        >>> plot_samples_2d(torch.randn(50, 2), torch.randn(50, 2)).axes[1].get_title()
        'samples of the flow'
    """
    (first, labels), (second, _) = two_columns(data, names), two_columns(samples, names)
    figure, panels = make_figure(1, 2, (7.2, 3.7))
    count, limits = min(len(first), len(second), 5000), limits_of(first)
    for panel, rows, colour, title in zip(
        panels, (first, second), (BLUE, ORANGE), ("data", "samples of the flow"), strict=True
    ):
        scatter(panel, rows[:count], colour)
        frame(panel, title, limits, labels)
    return figure


@styled
def plot_latent_2d(flow: Flow, data: Rows, *, context: Tensor | None = None) -> "Figure":
    """Draw data, the same data in latent space, and samples of the base, which a good fit makes alike.

    Args:
        flow: a flow of two columns, ``z = f(x)``.
        data: rows (N, 2), in the units of the data.
        context: their contexts (N, C), for conditional flows.

    Returns:
        The figure; the colour of a point tells its place in the first column of the data.

    Raises:
        ShapeError: the data have not two columns.
        MissingDependencyError: matplotlib is not installed.

    References:
        L. Dinh, J. Sohl-Dickstein, S. Bengio (2017), Density estimation using Real NVP, figure 1.

    Example:
        >>> import torch
        >>> from bijecta.diagnostics.plots import plot_latent_2d
        >>> from bijecta.flows import realnvp
        >>> [panel.get_title() for panel in plot_latent_2d(realnvp(2), torch.randn(50, 2)).axes]
        ['data', 'data in latent space', 'base distribution']
    """
    rows, labels = two_columns(data, None)
    rows = rows[:5000]
    contexts = None if context is None else context[: len(rows)]
    with torch.no_grad():
        z = as_array(flow.to_latent(torch.as_tensor(rows).to(like(flow)), contexts))
        base = as_array(flow.base.sample(len(z), generator=torch.Generator(like(flow).device).manual_seed(0)))
    rank = rows[:, 0].argsort().argsort()
    figure, panels = make_figure(1, 3, (10.2, 3.6))
    for panel, points, colour in zip(panels, (rows, z, base), (rank, rank, GREY), strict=True):
        scatter(panel, points, colour)
    limits = limits_of(np.concatenate([z, base]))
    frame(panels[0], "data", limits_of(rows), labels)
    frame(panels[1], "data in latent space", limits, ["z1", "z2"])
    frame(panels[2], "base distribution", limits, ["z1", "z2"])
    if isinstance(flow.base, Normal):
        for panel in panels[1:]:
            rings(panel)
    return figure


@styled
def plot_grid_warp(
    flow: Flow,
    *,
    extent: float = 2.5,
    lines: int = 21,
    context: Tensor | None = None,
    names: Sequence[str] | None = None,
) -> "Figure":
    r"""Draw a regular grid in latent space and its image :math:`f^{-1}(z)` in data space.

    Args:
        flow: a flow of two columns.
        extent: the grid covers [-extent, extent] in both latent columns.
        lines: lines in each direction.
        context: one context (C,), for conditional flows.
        names: of the two columns, with units.

    Returns:
        The figure; where the lines on the right crowd, the density is high.

    Raises:
        MissingDependencyError: matplotlib is not installed.

    References:
        G. Papamakarios et al. (2021), Normalizing Flows for Probabilistic Modeling and Inference, figure 1.

    Example:
        >>> from bijecta.diagnostics.plots import plot_grid_warp
        >>> from bijecta.flows import realnvp
        >>> plot_grid_warp(realnvp(2, layers=2)).axes[1].get_title()
        'its image in data space (4 layers)'
    """
    fine, coarse = np.linspace(-extent, extent, 400), np.linspace(-extent, extent, lines)
    along, across = np.meshgrid(fine, coarse)
    grids = np.stack([np.stack([along, across], -1), np.stack([across, along], -1)])  # (direction, line, point, 2)
    with torch.no_grad():
        z = torch.as_tensor(grids.reshape(-1, 2)).to(like(flow))
        mapped = as_array(flow.to_data(z, None if context is None else context.expand(len(z), -1))).reshape(grids.shape)
    figure, panels = make_figure(1, 2, (7.2, 3.8))
    for panel, pair in zip(panels, (grids, mapped), strict=True):
        for direction, colour in zip(pair, (BLUE, ORANGE), strict=True):
            panel.plot(direction[..., 0].T, direction[..., 1].T, color=colour, linewidth=0.7)
    layers = len(flow.bijection) if isinstance(flow.bijection, Chain) else 1
    frame(panels[0], "a grid in latent space", limits_of(grids.reshape(-1, 2), 0.0), ["z1", "z2"])
    title = f"its image in data space ({layers} layer{'s' * (layers != 1)})"
    frame(panels[1], title, limits_of(mapped.reshape(-1, 2), 0.0), column_names(names, 2))
    return figure


@styled
def plot_layers(flow: Flow, z: Rows, *, context: Tensor | None = None, panels: int = 8) -> "Figure":
    r"""Draw where points are after each layer on their way from latent to data: :math:`f_l^{-1}(\dots f_L^{-1}(z))`.

    Args:
        flow: a flow of two columns whose bijection is a `Chain`.
        z: latent rows (N, 2).
        context: their contexts (N, C), for conditional flows.
        panels: how many of the stages to draw at most, evenly spread; the first and the last always.

    Returns:
        The figure; points keep their colour, their place in the first latent column.

    Raises:
        InputError: the flow is not a chain, or fewer than two panels are asked for.
        ShapeError: z has not two columns.
        MissingDependencyError: matplotlib is not installed.

    References:
        D. Rezende, S. Mohamed (2015), Variational Inference with Normalizing Flows, figure 1.

    Example:
        >>> import torch
        >>> from bijecta.diagnostics.plots import plot_layers
        >>> from bijecta.flows import realnvp
        >>> len(plot_layers(realnvp(2, layers=1), torch.randn(50, 2)).axes)
        4
    """
    if not isinstance(flow.bijection, Chain) or panels < 2:
        raise InputError("plot_layers expects a flow whose bijection is a Chain, and at least 2 panels.")
    start, _ = two_columns(z, None)
    points = torch.as_tensor(start).to(like(flow))
    stages = [points]
    with torch.no_grad():
        embedded = context if flow.embedding is None or context is None else flow.embedding(context)
        for layer in reversed(list(flow.bijection)):
            stages.append(layer.inverse(stages[-1], embedded))
    chosen = sorted({round(stage) for stage in np.linspace(0, len(stages) - 1, min(panels, len(stages)))})
    columns = min(4, len(chosen))
    height = -(-len(chosen) // columns)
    figure, axes = make_figure(height, columns, (2.5 * columns, 2.6 * height))
    rank = start[:, 0].argsort().argsort()
    for panel, stage in zip(axes, chosen, strict=False):
        rows = as_array(stages[stage])
        scatter(panel, rows, rank)
        layer_name = (
            "latent"
            if stage == 0
            else "data"
            if stage == len(stages) - 1
            else f"after {stage} of {len(stages) - 1} layers"
        )
        frame(panel, layer_name, limits_of(rows), ["", ""])
    for panel in axes[len(chosen) :]:
        panel.set_axis_off()
    return figure

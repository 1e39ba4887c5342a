"""Charts of the pages: plotly figures whose lines differ in colour and in dash, and whose text follows the theme."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from bijecta.app.messages import Array
from bijecta.errors import require

# After M. Okabe, K. Ito (2008): four colours that every kind of colour vision tells apart. Their blue is too dim on a
# dark page, and is made lighter.
COLOURS = ("#1f8fd0", "#e69f00", "#009e73", "#cc79a7")
DASHES = ("solid", "dash", "dot", "dashdot")
FLOOR = "#8a93a0"
DATA, SAMPLES = COLOURS[0], COLOURS[1]
BINS, POINTS, LARGEST_LABELS = 40, 600, 20


def show_chart(chart: Any, key: str) -> None:
    """Show a chart as wide as its place; the key keeps it from flickering when it is drawn again."""
    st.plotly_chart(chart, width="stretch", key=key, config={"displayModeBar": False})


def density_chart(shades: Array, box: Sequence[float]) -> Any:
    """Draw a density.

    Args:
        shades: of shape (pixels, pixels), 0 to 255, top row first.
        box: left, bottom, right, top in the units of the data.

    Returns:
        A plotly figure.
    """
    left, bottom, right, top = box
    height, width = shades.shape
    x = left + (np.arange(width) + 0.5) * (right - left) / width
    y = top - (np.arange(height) + 0.5) * (top - bottom) / height
    picture = _plotly().Heatmap(
        z=shades, x=x, y=y, colorscale="Viridis", zmin=0, zmax=255, showscale=False, hovertemplate="%{x:.2f}, %{y:.2f}"
    )
    figure = _figure([picture], height=330)
    figure.update_layout(margin={"t": 4, "b": 4})
    figure.update_xaxes(title="x", range=[left, right], constrain="domain", showgrid=False)
    figure.update_yaxes(title="y", range=[bottom, top], scaleanchor="x", showgrid=False, zeroline=False)
    return figure


def curves_chart(curves: Sequence[Sequence[tuple[int, float]]], names: Sequence[str], floor: float | None) -> Any:
    """Draw validation losses of runs over their steps.

    Args:
        curves: for each run (step, loss in nats per row).
        names: of the runs.
        floor: the exact entropy, the least that is possible; None where it is unknown.

    Returns:
        A plotly figure.
    """
    lines = [
        _plotly().Scatter(
            x=[step for step, _ in curve],
            y=[loss for _, loss in curve],
            name=name,
            mode="lines+markers",
            marker={"size": 4},
            line={"color": COLOURS[k % 4], "dash": DASHES[k % 4], "width": 2},
        )
        for k, (curve, name) in enumerate(zip(curves, names, strict=True))
    ]
    figure = _figure(lines, height=300)
    losses = [loss for curve in curves for _, loss in curve]
    if losses:  # the first epochs may be far above what matters
        low, high = min([*losses, *([] if floor is None else [floor])]), float(np.quantile(losses, 0.9))
        margin = 0.08 * max(high - low, 0.05)
        figure.update_yaxes(range=[low - margin, high + 3 * margin])
    figure.update_xaxes(title="step", rangemode="tozero")
    figure.update_yaxes(title="validation NLL (nats per row)")
    if floor is not None:
        figure.add_hline(floor, line_dash="dot", line_color=FLOOR, annotation_text="entropy: the best possible")
    return figure


def marginal_chart(name: str, data: Array, samples: Array) -> Any:
    """Draw one column of data and of samples as histograms with the same bins; labels as bars.

    Args:
        name: of the column.
        data: its values, of shape (N,).
        samples: values of the same type, of shape (M,).

    Returns:
        A plotly figure.
    """
    bars = _label_bars if data.dtype.kind not in "iuf" else _histograms
    figure = _figure(bars(data, samples), height=230)
    figure.update_layout(title={"text": _plain(name), "font": {"size": 14}}, barmode="group")
    figure.update_yaxes(title="share" if bars is _label_bars else "density")
    return figure


def pair_chart(names: Sequence[str], data: Array, samples: Array) -> Any:
    """Draw two columns against each other, data and samples in two colours and two marks.

    Args:
        names: of the two columns.
        data: of shape (N, 2).
        samples: of shape (M, 2).

    Returns:
        A plotly figure.
    """
    clouds = []
    for points, title, colour, mark in ((data, "data", DATA, "circle"), (samples, "samples", SAMPLES, "x-thin")):
        style = {"color": colour, "size": 4, "symbol": mark, "opacity": 0.6, "line": {"color": colour, "width": 1}}
        x, y = points[:POINTS].T
        clouds.append(_plotly().Scatter(x=x, y=y, name=title, mode="markers", marker=style))
    figure = _figure(clouds, height=320)
    figure.update_xaxes(title=_plain(names[0]))
    figure.update_yaxes(title=_plain(names[1]))
    return figure


def _histograms(data: Array, samples: Array) -> list[Any]:
    data, samples = (values.astype(float)[np.isfinite(values.astype(float))] for values in (data, samples))
    low, high = np.quantile(np.concatenate([data, samples]), [0.002, 0.998])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    if (data == np.round(data)).all() and high - low <= BINS:
        edges = np.arange(np.floor(low), np.ceil(high) + 2) - 0.5
    lines = []
    for values, title, colour, dash in ((data, "data", DATA, "solid"), (samples, "samples", SAMPLES, "dash")):
        heights = np.histogram(values, edges)[0] / max(len(values), 1) / np.diff(edges)
        style = {"color": colour, "dash": dash, "shape": "hv", "width": 2}
        fill = "tozeroy" if title == "data" else None
        lines.append(_plotly().Scatter(x=edges, y=[*heights, 0.0], name=title, mode="lines", line=style, fill=fill))
    return lines


def _label_bars(data: Array, samples: Array) -> list[Any]:
    labels, counts = np.unique(data.astype(str), return_counts=True)
    labels = labels[np.argsort(-counts)][:LARGEST_LABELS]
    bars = []
    for values, title, colour, pattern in ((data, "data", DATA, ""), (samples, "samples", SAMPLES, "/")):
        shares = [float((values.astype(str) == label).mean()) for label in labels]
        style = {"color": colour, "pattern": {"shape": pattern}}
        bars.append(_plotly().Bar(x=[_plain(label) for label in labels], y=shares, name=title, marker=style))
    return bars


def _figure(traces: Sequence[Any], height: int) -> Any:
    return _plotly().Figure(list(traces), layout=_layout(height))


def _layout(height: int) -> dict[str, Any]:
    return {
        "height": height,
        "margin": {"l": 10, "r": 10, "t": 34, "b": 10},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        "uirevision": "kept",  # a redraw must not undo a zoom
    }


def _plain(text: str) -> str:
    """Take away what plotly would read as markup: names come from files of others."""
    return text.replace("&", "&amp;").replace("<", "&lt;")[:40]


def _plotly() -> Any:
    return require("plotly.graph_objects", extra="app", purpose="Charts")

"""Figures of the Learn page."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bijecta.app.charts import COLOURS, DASHES
from bijecta.app.learning.couplings import moved
from bijecta.app.learning.results import Measured
from bijecta.bijections import Chain
from bijecta.errors import require

Array = NDArray[np.float64]
REACH, SIDE = 3.0, 0.3
GREY = "#8a93a0"
PROBE = "#d95f02"


def line_figure(lines: Mapping[str, tuple[Array, Array]], titles: tuple[str, str], *, log: bool = False) -> Any:
    """Draw curves.

    Args:
        lines: x and y by name.
        titles: of the axes.
        log: whether the vertical axis is logarithmic.

    Returns:
        A plotly figure.
    """
    figure = _figure(300)
    for number, (name, (x, y)) in enumerate(lines.items()):
        style = {"color": COLOURS[number % 4], "dash": DASHES[number % 4], "width": 2}
        figure.add_scatter(x=x, y=y, name=name, mode="lines", line=style)
    figure.update_xaxes(title=titles[0])
    figure.update_yaxes(title=titles[1], type="log" if log else "linear", exponentformat="power")
    return figure


def plane_figure(flow: Chain | None, point: Sequence[float]) -> Any:
    """Draw a grid and a small square around a point, as they are or as a flow moves them.

    Args:
        flow: moves them; None leaves them where they are.
        point: the middle of the square.

    Returns:
        A plotly figure.
    """
    figure = _figure(330)
    for line in _grid():
        _add(figure, line, flow, {"color": GREY, "width": 1})
    square = np.array(point) + SIDE * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)])
    sides = np.concatenate([np.linspace(a, b, 20) for a, b in pairwise(square)])
    _add(figure, sides, flow, {"color": PROBE, "width": 2}, fill="toself", fillcolor="rgba(217, 95, 2, 0.45)")
    letter = "x" if flow is None else "z"
    figure.update_xaxes(title=f"{letter}₁", range=[-5, 5], showgrid=False, zeroline=False, constrain="domain")
    figure.update_yaxes(
        title=f"{letter}₂", range=[-5, 5], showgrid=False, zeroline=False, scaleanchor="x", constrain="domain"
    )
    return figure.update_layout(showlegend=False)


def cloud_figure(samples: Any, name: str) -> Any:
    """Draw samples of shape (N, 2)."""
    points = np.asarray(samples)
    figure = _figure(250)
    figure.add_scatter(x=points[:, 0], y=points[:, 1], mode="markers", marker={"size": 4, "color": COLOURS[0]})
    figure.update_xaxes(range=[-4.6, 4.6], constrain="domain", zeroline=False)
    figure.update_yaxes(range=[-4.6, 4.6], scaleanchor="x", constrain="domain", zeroline=False)
    return figure.update_layout(title={"text": name, "font": {"size": 14}}, showlegend=False)


def strip_figure(models: Sequence[Measured], quantity: str, title: str) -> Any:
    """Draw a quantity of every model, one mark per seed."""
    figure = _figure(60 + 45 * len(models))
    for number, model in enumerate(models):
        values = model.values(quantity)
        style = {"size": 12, "symbol": "line-ns", "line": {"width": 2.5, "color": COLOURS[number % 4]}}
        label = model.model if values else f"{model.model} (cannot say)"
        figure.add_scatter(x=values or [0.0], y=[label] * max(len(values), 1), mode="markers", marker=style)
        figure.data[-1].marker.opacity = 1.0 if values else 0.0  # its name keeps its row
    figure.update_xaxes(title=title, rangemode="tozero")
    figure.update_yaxes(autorange="reversed")
    return figure.update_layout(showlegend=False)


def _grid() -> list[Array]:
    along, at = np.linspace(-REACH, REACH, 61), np.linspace(-REACH, REACH, 13)
    rows = [np.stack([along, np.full(61, value)], 1) for value in at]
    return [*rows, *(line[:, ::-1] for line in rows)]


def _add(figure: Any, line: Array, flow: Chain | None, style: dict[str, Any], **more: Any) -> None:
    place = line if flow is None else moved(flow, np.ascontiguousarray(line))
    figure.add_scatter(x=place[:, 0], y=place[:, 1], mode="lines", line=style, hoverinfo="skip", **more)


def _figure(height: int) -> Any:
    graph = require("plotly.graph_objects", extra="app", purpose="Charts")
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0}
    return graph.Figure(layout={"height": height, "margin": {"l": 10, "r": 10, "t": 34, "b": 10}, "legend": legend})

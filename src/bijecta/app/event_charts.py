"""Charts of collision events: observables of a flow over those of the truth, and the asymmetry against the formula."""

from typing import Any

import numpy as np

from bijecta.app.charts import DATA, FLOOR, SAMPLES
from bijecta.app.messages import Array
from bijecta.errors import require
from bijecta.hep.evaluation_histograms import RatioPanel

BAND = "rgba(31, 143, 208, 0.25)"
LEAST_REACH, MOST_REACH = 0.1, 1.0


def truth_chart(title: str, panel: RatioPanel) -> Any:
    """Draw the histogram of an observable of the reference alone.

    Args:
        title: of the observable.
        panel: its histograms.

    Returns:
        A plotly figure.
    """
    figure = _plotly().Figure([_steps(panel.edges, panel.reference, "exact", DATA, "solid", fill="tozeroy")])
    figure.update_yaxes(title="density", rangemode="tozero")
    return _laid_out(figure, title, 230)


def ratio_chart(title: str, panel: RatioPanel) -> Any:
    """Draw an observable of generated and reference events, and below it their ratio with statistical bands.

    Args:
        title: of the observable.
        panel: its histograms.

    Returns:
        A plotly figure.
    """
    subplots = require("plotly.subplots", extra="app", purpose="Charts")
    figure = subplots.make_subplots(2, 1, shared_xaxes=True, row_heights=[0.68, 0.32], vertical_spacing=0.05)
    figure.add_trace(_steps(panel.edges, panel.reference, "exact", DATA, "solid", fill="tozeroy"), 1, 1)
    figure.add_trace(_steps(panel.edges, panel.generated, "flow", SAMPLES, "dash"), 1, 1)
    ratio, error, band = ratios(panel)
    for edge, fill in ((1.0 + band, None), (1.0 - band, "tonexty")):
        figure.add_trace(
            _steps(panel.edges, edge, "", BAND, "solid", fill=fill, fillcolor=BAND, showlegend=False), 2, 1
        )
    middle = (panel.edges[1:] + panel.edges[:-1]) / 2.0
    points = _plotly().Scatter(
        x=middle, y=ratio, mode="markers", showlegend=False, marker={"color": SAMPLES, "size": 4},
        error_y={"array": error, "width": 0, "thickness": 1.2},
    )  # fmt: skip
    figure.add_trace(points, 2, 1)
    seen = np.abs(ratio - 1.0)[np.isfinite(ratio)]
    reach = float(np.clip(1.3 * np.quantile(seen, 0.95) if len(seen) else 0.0, LEAST_REACH, MOST_REACH))
    figure.update_yaxes(title="density", rangemode="tozero", row=1)
    figure.update_yaxes(title="flow / exact", range=[1.0 - reach, 1.0 + reach], row=2)
    return _laid_out(figure, title, 330)


def ratios(panel: RatioPanel) -> tuple[Array, Array, Array]:
    """Return generated over reference, its error from the generated events, and the relative error of the reference.

    Args:
        panel: the histograms, of B bins.

    Returns:
        Three arrays (B,); NaN where the reference is empty.
    """
    below = np.where(panel.reference > 0.0, panel.reference, np.nan)
    return panel.generated / below, panel.generated_error / below, panel.reference_error / below


def asymmetry_chart(energies: Array, flow: Array, formula: Array, chosen: float) -> Any:
    """Draw the forward-backward asymmetry of a flow over the energy, on the line of the formula.

    Args:
        energies: (n,), in GeV.
        flow: asymmetries of the flow (n,).
        formula: those of the formula (n,).
        chosen: an energy to mark, in GeV.

    Returns:
        A plotly figure.
    """
    line = {"color": DATA, "width": 3}
    hollow = {"color": SAMPLES, "size": 6, "symbol": "circle-open"}
    figure = _plotly().Figure(
        [
            _plotly().Scatter(x=energies, y=formula, name="formula", mode="lines", line=line),
            _plotly().Scatter(x=energies, y=flow, name="flow", mode="markers", marker=hollow),
        ]
    )
    figure.add_vline(chosen, line_dash="dot", line_color=FLOOR)
    figure.update_xaxes(title="energy of the collision (GeV)", type="log", tickvals=[40, 60, 80, 100, 150, 200])
    figure.update_yaxes(title="asymmetry", range=[-1.0, 1.0])
    return _laid_out(figure, "", 340)


def _steps(edges: Array, heights: Array, name: str, colour: str, dash: str, **more: Any) -> Any:
    width = 2 if name else 0
    style = {"color": colour, "dash": dash, "shape": "hv", "width": width}
    return _plotly().Scatter(x=edges, y=[*heights, heights[-1]], name=name, mode="lines", line=style, **more)


def _laid_out(figure: Any, title: str, height: int) -> Any:
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1.0, "xanchor": "right"}
    figure.update_layout(height=height, margin={"l": 10, "r": 10, "t": 58, "b": 10}, legend=legend)
    above = {"text": title, "font": {"size": 14}, "y": 0.98, "yanchor": "top"}  # of the legend, on a telephone too
    return figure.update_layout(title=above, uirevision="kept")


def _plotly() -> Any:
    return require("plotly.graph_objects", extra="app", purpose="Charts")

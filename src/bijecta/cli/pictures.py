"""The pictures and the report of a run. Matplotlib is imported only when they are made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bijecta.cli import folder as files
from bijecta.cli.console import tell
from bijecta.data import Schema
from bijecta.data.rows import Array
from bijecta.flows import Flow
from bijecta.persistence import load_table_model, read_header

# The report draws the training curve itself.
CAPTIONS = {
    "density.png": "Density and data",
    "samples.png": "Data and samples",
    "latent.png": "Data in the latent space",
    "warp.png": "A latent grid in data space",
    "layers.png": "Samples on their way from the latent space to the data, layer by layer",
    "marginals.png": "Columns one by one",
    "frequencies.png": "How often each label occurs",
    "pairs.png": "Columns in pairs",
}


@dataclass(frozen=True)
class Run:
    """A run whose pictures are wanted."""

    folder: Path
    flow: Flow | None
    schema: Schema
    contexts: int
    metrics: Mapping[str, Any]

    @property
    def plane(self) -> bool:
        """True if the density can be drawn as an image: two continuous columns and no context."""
        kinds = [column.kind for column in self.schema.columns]
        return len(kinds) == 2 and not {"integer", "category"} & set(kinds) and not self.contexts


def write_pictures(run: Run, data: Array, rows: Array) -> None:
    """Draw everything that suits the run, from data and samples, both as matrices with the codes of labels."""
    from bijecta.diagnostics import plots

    for name, draw in _drawings(plots, run, data, rows).items():
        plots.save_figure(draw(), run.folder / name)


def _drawings(plots: Any, run: Run, data: Array, rows: Array) -> dict[str, Callable[[], Any]]:
    """Choose the pictures: each one is drawn when its turn comes, so that only one is in memory."""
    history, columns = load_history(run.folder), run.schema.columns
    labels = {k: c.categories for k, c in enumerate(columns) if c.categories is not None}
    numeric = [k for k in range(len(columns)) if k not in labels]
    names = [columns[k].name for k in numeric]
    known = "exact_entropy" if run.metrics.get("exact_entropy") is not None else "gaussian_nll"
    label = {"exact_entropy": "exact entropy", "gaussian_nll": "full-covariance Gaussian"}[known]
    chosen: dict[str, Callable[[], Any]] = {
        "training.png": lambda: plots.plot_training(history, reference=run.metrics.get(known), reference_label=label),
    }
    if labels:
        named = {columns[k].name: (data[:, k], rows[:, k], found) for k, found in labels.items()}
        chosen["frequencies.png"] = lambda: plots.plot_frequencies(named)
    if names:
        chosen["marginals.png"] = lambda: plots.plot_marginals(data[:, numeric], rows[:, numeric], names)
    if run.plane:
        return chosen | _drawings_of_a_plane(plots, run, data, rows)
    if len(names) > 1:
        chosen["pairs.png"] = lambda: plots.plot_pairs(data[:, numeric], rows[:, numeric], names)
    return chosen


def _drawings_of_a_plane(plots: Any, run: Run, data: Array, rows: Array) -> dict[str, Callable[[], Any]]:
    names = list(run.schema.names)
    latent = np.random.default_rng(run.metrics["seed"]).normal(size=(2000, 2)).astype(np.float32)
    return {
        "density.png": lambda: plots.plot_density_2d(run.flow, data, names=names),
        "samples.png": lambda: plots.plot_samples_2d(data, rows, names=names),
        "latent.png": lambda: plots.plot_latent_2d(run.flow, data),
        "warp.png": lambda: plots.plot_grid_warp(run.flow, names=names),
        "layers.png": lambda: plots.plot_layers(run.flow, latent),
    }


def write_report_of(folder: Path) -> None:
    """Write report.html from what lies in a run folder."""
    from bijecta.diagnostics.report import write_report

    model, settings = load_table_model(folder), files.read_json(folder / files.SETTINGS)
    metrics = files.read_json(folder / files.METRICS)
    pictures = {caption: folder / name for name, caption in CAPTIONS.items()}
    write_report(
        folder / files.REPORT,
        title=f"{settings.get('data', folder.name)} with {settings.get('recipe', 'a flow')}",
        flow=model.flow,
        schema_text=str(model.schema),
        history=load_history(folder),
        metrics={name: _in_words(value) for name, value in metrics.items() if not isinstance(value, dict)},
        figures={caption: path.read_bytes() for caption, path in pictures.items() if path.exists()},
        settings={name: value for name, value in settings.items() if value not in (None, [])},
    )


def _in_words(value: Any) -> Any:
    return ("no", "yes")[value] if isinstance(value, bool) else value


def load_history(folder: Path) -> list[dict[str, Any]]:
    """Return the history of a run, from its model file: there the numbers have their types."""
    history: list[dict[str, Any]] = read_header(folder / files.MODEL)["metadata"].get("history", [])
    return history


def run_report(folder: Path) -> None:
    """Make the report again."""
    files.read_json(folder / files.METRICS)  # says what is expected if this is no run folder
    write_report_of(folder)
    tell(f"{folder / files.REPORT}")

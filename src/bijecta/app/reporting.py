"""The report of a run in the Lab: the page of `bijecta report`, with the pictures that two columns allow."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bijecta.diagnostics.report import write_report

if TYPE_CHECKING:
    from bijecta.app.lesson import Lesson

ROWS = 1000
NAMES = ("x", "y")


def write_run_report(path: Path, lesson: "Lesson") -> None:
    """Write the report of a run.

    Args:
        path: the file.
        lesson: the run; its flow is in eval mode.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    from bijecta.diagnostics.plots_2d import plot_density_2d, plot_grid_warp, plot_layers, plot_samples_2d

    flow, data = lesson.flow, lesson.scene.data
    samples = flow.sample((ROWS,), generator=torch.Generator().manual_seed(0)).numpy()
    rows = data.rows[:ROWS]
    figures = {
        "Density": plot_density_2d(flow, rows),
        "Data and samples": plot_samples_2d(rows, samples, names=NAMES),
        "A grid of the latent, carried to the data": plot_grid_warp(flow),
        "Layer by layer": plot_layers(flow, lesson.scene.latents),
    }
    settings = {"verdict": lesson.verdict, **lesson.settings.to_json()}
    write_report(
        path,
        title=f"{lesson.settings.recipe} on {lesson.settings.data}",
        flow=flow,
        history=_history(lesson),
        metrics={"test_nll": lesson.curves.best, "exact_entropy": data.truth.entropy if data.truth else None},
        figures=figures,
        settings=settings,
    )


def _history(lesson: "Lesson") -> list[dict[str, float | None]]:
    if lesson.result is None:
        return []
    return [
        {"epoch": p.epoch, "train_nll": p.train_loss, "validation_nll": p.validation_loss, "seconds": p.seconds}
        for p in lesson.result.history
    ]

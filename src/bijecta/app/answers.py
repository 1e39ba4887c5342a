"""Questions that a run answers between two steps: the terms of log p, samples, the model as a file, a report."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bijecta.app.layers import layers_of, probe
from bijecta.app.messages import Array
from bijecta.errors import InputError
from bijecta.persistence import save

if TYPE_CHECKING:
    from bijecta.app.lesson import Lesson

Answer = tuple[dict[str, Any], dict[str, Array]]
LARGEST_SAMPLE = 100_000


@torch.no_grad()
def answer(question: Mapping[str, Any], lesson: "Lesson") -> Answer:
    """Answer a question about the flow of a run.

    Args:
        question: with "ask": "probe" (and "x", a point), "samples" (and "count"), "model", or "report".
        lesson: the run.

    Returns:
        Header and arrays of the answer.

    Raises:
        InputError: there is no such question, or no flow yet.
    """
    kind = str(question.get("ask"))
    if kind not in _ANSWERS:
        raise InputError(f"A run answers {', '.join(_ANSWERS)}; asked was {kind!r}.")
    if not hasattr(lesson, "scene"):
        raise InputError("This run has no flow. Change its settings and start again.")
    lesson.flow.eval()
    return _ANSWERS[kind](question, lesson)


def _probe(question: Mapping[str, Any], lesson: "Lesson") -> Answer:
    flow = lesson.flow
    return {"x": question["x"], **probe(flow, layers_of(flow.bijection), question["x"])}, {}


def _samples(question: Mapping[str, Any], lesson: "Lesson") -> Answer:
    count = min(int(question.get("count", 1000)), LARGEST_SAMPLE)
    generator = torch.Generator().manual_seed(int(question.get("seed", 0)))
    return {}, {"samples": lesson.flow.sample((count,), generator=generator).numpy()}


def _model(_: Mapping[str, Any], lesson: "Lesson") -> Answer:
    metadata = {"lab": lesson.settings.to_json(), "verdict": lesson.verdict}
    return {}, {"file": _file_of(lambda path: save(lesson.flow, path, metadata=metadata), "model.safetensors")}


def _report(_: Mapping[str, Any], lesson: "Lesson") -> Answer:
    from bijecta.app.reporting import write_run_report

    return {}, {"file": _file_of(lambda path: write_run_report(path, lesson), "report.html")}


def _file_of(write: Callable[[Path], None], name: str) -> Array:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return np.frombuffer(path.read_bytes(), np.uint8)


_ANSWERS: Mapping[str, Callable[[Mapping[str, Any], "Lesson"], Answer]] = {
    "probe": _probe,
    "samples": _samples,
    "model": _model,
    "report": _report,
}

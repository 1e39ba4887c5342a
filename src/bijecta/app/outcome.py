"""What came out of the runs of a comparison: the numbers, as a table."""

import io
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from bijecta.app.datasets import make_dataset
from bijecta.app.registry import Run
from bijecta.data import write_table
from bijecta.errors import InputError
from bijecta.flows import Flow
from bijecta.persistence import load

ROWS, DRAWN, REPEATS = 5000, 1000, 3
ANSWER_SECONDS = 60.0


@dataclass(frozen=True)
class Outcome:
    """The numbers of a run that has ended.

    Attributes:
        nll: in nats per row, on fresh rows; on the validation rows where the exact density is unknown.
        gap: how far that is above the exact density on the same rows; NaN where it is unknown.
        parameters: how many numbers were trained.
        seconds: of training.
        sampling: milliseconds for 1000 samples.
        round_trip: the largest distance of a row from itself after to latent and back.
    """

    nll: float
    gap: float
    parameters: int
    seconds: float
    sampling: float
    round_trip: float


MEASURES = {
    "nll": ("NLL (nats per row)", "{:.4f}"),
    "gap": ("gap to the best possible (nats)", "{:.4f}"),
    "parameters": ("parameters", "{:,}"),
    "seconds": ("training (s)", "{:.1f}"),
    "sampling": ("1000 samples (ms)", "{:.1f}"),
    "round_trip": ("round trip, largest error", "{:.1e}"),
}
"""Title and form of every number; less is better in all of them."""


def measure(run: Run) -> Outcome:
    """Measure a run that has ended.

    Args:
        run: the run.

    Returns:
        Its numbers.

    Raises:
        InputError: the run has no flow.
    """
    flow = _flow_of(run)
    trainer, settings = run.trainer, run.settings
    if trainer.scene is None or trainer.latest is None:
        raise InputError("This run has not begun. Press Train.")
    data = make_dataset(settings, run.points)
    rows = data.rows[:ROWS] if data.truth is None else data.truth.sample(ROWS, settings.seed + 10_007)
    x = torch.as_tensor(rows, dtype=torch.float32)
    with torch.no_grad():
        nll = -float(flow.log_prob(x).double().mean())
        round_trip = float((flow.to_data(flow.to_latent(x[:DRAWN])) - x[:DRAWN]).abs().max())
    truth = math.nan if data.truth is None else -float(data.truth.log_prob(rows).mean())
    best = trainer.latest.header.get("best")
    return Outcome(
        nll=best if data.truth is None and best is not None else nll,
        gap=nll - truth,
        parameters=int(trainer.scene.header["parameters"]),
        seconds=float(trainer.latest.header["seconds"]),
        sampling=_sampling_milliseconds(flow),
        round_trip=round_trip,
    )


def best_of(measure: str, outcomes: Sequence[Outcome | None]) -> float:
    """Return the smallest value of a measure among the runs that have one; NaN where none has."""
    values = [value for each in outcomes if each is not None and math.isfinite(value := getattr(each, measure))]
    return min(values, default=math.nan)


def to_csv(names: Sequence[str], outcomes: Sequence[Outcome | None]) -> bytes:
    """Write the table: one row per run, in plain units; a run without numbers has NaN."""
    columns = {"run": np.array(list(names))}
    for measured in MEASURES:
        columns[measured] = np.array([math.nan if each is None else getattr(each, measured) for each in outcomes])
    buffer = io.BytesIO()
    write_table("-", list(columns), columns, stream=buffer)
    return buffer.getvalue()


def _flow_of(run: Run) -> Flow:
    answer = run.trainer.ask("model").result(ANSWER_SECONDS)
    if "error" in answer.header:
        raise InputError(str(answer.header["error"]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(answer.arrays["file"].tobytes())
        flow = load(path)
    if not isinstance(flow, Flow):
        raise InputError("Only a Flow can be compared. Choose another model.")
    return flow


@torch.no_grad()
def _sampling_milliseconds(flow: Flow) -> float:
    """Take the median of several draws, after one that does not count."""
    seconds = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        flow.sample((DRAWN,), generator=torch.Generator().manual_seed(0))
        seconds.append(time.perf_counter() - began)
    return 1000 * median(seconds[1:])

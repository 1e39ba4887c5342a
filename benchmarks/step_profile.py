"""What the training step of a small flow spends its time on.

    python benchmarks/step_profile.py [--rows realnvp2,nsf2] [--steps 3000] [--threads 2]

Parts are timed inside steps, not alone: after a native call Python finds less of its data in the cache. Medians in
microseconds: "native" is the call that goes forwards and back, "around it" the Python that checks the chain and hands
over its tensors, "update" clipping, Adam and the moving average, as `fit` does them.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from bijecta.flows import build
from bijecta.functional.kernels.chain import Program
from bijecta.training import Batch, TrainingStep
from machine import keep, print_table
from speed_rows import BINS, ROWS, Row

RECIPES = {
    ("coupling", "affine"): "realnvp",
    ("coupling", "spline"): "nsf",
    ("autoregressive", "affine"): "maf",
    ("autoregressive", "spline"): "nsf_autoregressive",
}


class Clock:
    """Microseconds that calls took, one list per name."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Make a call that is timed."""

        def timed(*arguments: Any, **more: Any) -> Any:
            began = time.perf_counter()
            result = call(*arguments, **more)
            self.times.setdefault(name, []).append(1e6 * (time.perf_counter() - began))
            return result

        return timed

    def median(self, name: str) -> float:
        """Return the median without the first calls."""
        times = self.times[name]
        return statistics.median(times[len(times) // 10 :])


def profile(row: Row, steps: int) -> dict[str, Any]:
    """Take steps of one model, and say what they were spent on."""
    torch.manual_seed(0)
    more = {"bins": BINS} if row.univariate == "spline" else {}
    flow = build(
        RECIPES[row.kind, row.univariate],
        {"features": row.features, "layers": row.layers, "hidden": row.hidden, **more},
    )
    batch, clock = Batch(row.batch, torch.randn(row.batch, row.features)), Clock()
    step = TrainingStep(flow, gradient_clip=5.0, ema=0.995)
    differentiate, update = clock.timed("differentiate", step.differentiate), clock.timed("update", step.update)
    call, Program.call = Program.call, clock.timed("native", Program.call)  # type: ignore[method-assign]
    for _ in range(steps):
        update(differentiate(batch))
    Program.call = call  # type: ignore[method-assign]
    native, both = clock.median("native"), clock.median("differentiate")
    return {"row": row.name, "native": native, "around it": both - native, "update": clock.median("update")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="realnvp2,nsf2,maf43")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [profile(ROWS[name], options.steps) for name in options.rows.split(",")]
    print_table(rows)
    keep("step_profile", rows)


if __name__ == "__main__":
    main()

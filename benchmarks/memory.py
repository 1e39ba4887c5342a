"""What a training step keeps in memory, mode by mode, as flows get deeper.

    python benchmarks/memory.py --time     # on a machine that does nothing else
    python benchmarks/memory.py            # memory and gradients only
    python benchmarks/memory.py --quick    # does everything work? prints, and keeps nothing

One step is log_prob and backward of one batch, in float32. `saved` is what autograd holds between the two passes, as
`saved_tensors_hooks` sees it, without parameters; `peak` is the largest sum of tensors that are alive at once in both
passes, on top of what was there before (data, parameters and their gradients), as torch.profiler sees it;
`gradient error` is the distance between all gradients and those of the mode that keeps everything, relative to their
norm. Times are medians of turns. Vectors are mapped by coupling splines, whole chains in native code and layer by
layer; images by steps of Glow, whose conditioners are native calls. All weights are random.
"""

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from bijecta.bijections import memory_mode, native
from bijecta.flows import Flow, glow_image, nsf
from machine import RESULTS, keep, print_table

DEPTHS = (8, 16, 32, 64)
MODES = ("keep", "recompute", "rebuild")
MODELS = ("vectors, native", "vectors, plain", "images")
COLOURS = {"keep": "#D55E00", "recompute": "#0072B2", "rebuild": "#009E73"}  # Okabe and Ito
MARKERS = {"keep": "o", "recompute": "s", "rebuild": "^"}
NAMES = {"keep": "keep everything", "recompute": "Recomputed", "rebuild": "Rebuilt"}
TURNS = 5


def build(model: str, depth: int, *, quick: bool) -> tuple[Flow, Tensor]:
    """Make a flow with random weights, and a batch."""
    torch.manual_seed(depth)
    if model == "images":
        flow = glow_image([3, 32, 32], levels=1, steps=depth, hidden=8 if quick else 64)
        x = torch.randn(2 if quick else 16, 3, 32, 32)
    else:
        flow = nsf(20, layers=depth, hidden=(8,) if quick else (128, 128), bins=8)
        x = torch.randn(64 if quick else 1024, 20)
    flow.initialise(x)
    for module in flow.modules():
        last = getattr(module, "last", None)
        if isinstance(last, nn.Module):  # of a network, which begins as zero
            nn.init.normal_(last.weight, std=0.01)
    for parameter in flow.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return flow, x


def step(flow: Flow, x: Tensor) -> None:
    """Compute the gradient of the negative log-likelihood."""
    for parameter in flow.parameters():
        parameter.grad.zero_()
    (-flow.log_prob(x).mean()).backward()


def saved_bytes(flow: Flow, x: Tensor) -> int:
    """Count what autograd holds after the forward pass, every piece of memory once."""
    known = {t.untyped_storage().data_ptr() for t in (*flow.parameters(), *flow.buffers())}
    pieces: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            pieces[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = flow.log_prob(x).mean()  # alive, so that no memory is counted twice or not at all
    del result
    return sum(pieces.values())


def peak_bytes(work: Callable[[], None]) -> int:
    """Follow the sum of all allocations and find where it is largest."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    changes = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    total = largest = 0
    for change in sorted(changes, key=lambda event: event.start_ns()):
        total += change.nbytes()
        largest = max(largest, total)
    return largest


def measure(model: str, depth: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure all modes of one flow; their times in turns."""
    flow, x = build(model, depth, quick=options.quick)
    rows, reference = [], torch.empty(0)
    times: dict[str, list[float]] = {mode: [] for mode in MODES}
    for mode in MODES:
        with memory_mode(flow, mode):
            step(flow, x)
            gradient = torch.cat([p.grad.flatten() for p in flow.parameters()])
            reference = gradient if mode == "keep" else reference
            error = float((gradient - reference).norm() / reference.norm())
            found = {"saved": saved_bytes(flow, x), "peak": peak_bytes(lambda: step(flow, x))}
        row = {"model": model, "layers": depth, "mode": mode, **found}
        rows.append(
            row | {"share of peak": found["peak"] / (rows[0] if rows else found)["peak"], "gradient error": error}
        )
    if options.time:
        for turn in range(TURNS):
            for mode in (*MODES[turn % 3 :], *MODES[: turn % 3]):
                times[mode].append(seconds(flow, x, mode))
        medians = {mode: statistics.median(values) for mode, values in times.items()}
        for row, mode in zip(rows, MODES, strict=True):
            row |= {"milliseconds": 1000 * medians[mode], "times keep": medians[mode] / medians["keep"]}
    return rows


def seconds(flow: Flow, x: Tensor, mode: str) -> float:
    """Time one step, after one that is not timed."""
    with memory_mode(flow, mode):
        step(flow, x)
        begin = time.perf_counter()
        step(flow, x)
        return time.perf_counter() - begin


def running(model: str) -> contextlib.AbstractContextManager[Any]:
    """Switch native chains off for the plain model."""
    return mock.patch.object(native, "can_run_natively", _never) if "plain" in model else contextlib.nullcontext()


def _never(*_: object) -> bool:
    return False  # a mock would remember the tensors that it was called with


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw peak memory against depth, one panel per model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    panels = figure.subplots(1, len(MODELS), sharey=True)
    for axes, model in zip(panels, MODELS, strict=True):
        for mode in MODES:
            line = [(row["layers"], row["peak"] / 1e6) for row in rows if (row["model"], row["mode"]) == (model, mode)]
            axes.plot(*zip(*line, strict=True), marker=MARKERS[mode], color=COLOURS[mode], label=NAMES[mode])
        depths = sorted({row["layers"] for row in rows})
        axes.set(title=model, xlabel="layers", xscale="log", yscale="log")
        axes.set_xticks(depths, map(str, depths))
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(visible=True, color="0.9")
    panels[0].set_ylabel("peak memory of a training step (MB)")
    panels[0].legend(frameon=False)
    figure.savefig(path, dpi=150)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", action="store_true", help="measure times too; for a quiet machine")
    parser.add_argument("--quick", action="store_true", help="small models, two depths, nothing kept")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    rows = []
    for model in MODELS:
        for depth in (2, 4) if options.quick else DEPTHS:
            with running(model):
                rows += measure(model, depth, options)
    print_table(rows)
    if not options.quick:
        keep("memory", rows)
        plot(rows, RESULTS / "memory.png")


if __name__ == "__main__":
    main()

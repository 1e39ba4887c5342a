"""What the times of `speed.py` say: ratios, a table for the README, a plot."""

import math
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from floor import parameters
from speed_rows import NOTES, PEERS, ROWS, Row, why_not

OTHER_SIZE = 0.1  # a model whose number of parameters differs by more is not the same model
COLOURS = {"train": "#0072B2", "log_prob": "#E69F00", "sample": "#009E73", "first": "#CC79A7"}  # Okabe and Ito
NAMES = {"train": "training step", "fit": "step inside `fit`", "first": "first step of a process"}


def compare(
    row: Row,
    work: str,
    size: int,
    answers: dict[str, dict[str, Any]],
    rounds: dict[str, list[float]],
    lower_bound: dict[str, float] | None,
) -> dict[str, Any]:
    """Put together what was measured of one kind of work, with the ratios that count."""
    times = {library: statistics.median(values) for library, values in rounds.items()}
    not_counted = {library: reason for library in times if (reason := objection(row, answers[library]))}
    not_counted |= {library: "it failed while it was timed" for library, ms in times.items() if math.isnan(ms)}
    counted = {library: times[library] for library in PEERS if library in times and library not in not_counted}
    fastest = min(counted, key=lambda library: counted[library], default=None)
    ours = times.get("bijecta")
    result = {
        "row": row.name,
        "work": work,
        "size": size,
        "milliseconds": times,
        "quartiles": {library: _quartiles(values) for library, values in rounds.items()},
        "facts": {library: answers[library] for library in times},
        "missing": {library: answer["error"] for library, answer in answers.items() if library not in times},
        "not_counted": not_counted,
        "notes": NOTES[row.name],
        "fastest_peer": fastest,
        "times_faster": counted[fastest] / ours if fastest and ours else None,
    }
    if lower_bound is not None:
        result |= {"floor": lower_bound, "times_floor": ours / lower_bound["floor"] if ours else None}
    return result


def objection(row: Row, answer: dict[str, Any]) -> str:
    """Say why a figure does not count: the library failed, or computes something else."""
    if "error" in answer:
        return answer["error"]
    if not answer.get("finite", True):
        return "its result is not finite"
    count = answer.get("parameters")
    if count and row.has_floor and abs(count / parameters(row) - 1) > OTHER_SIZE:
        return f"computes something else: {count} parameters, not about {parameters(row)}"
    return ""


def label(result: dict[str, Any]) -> str:
    """Name the work as people would."""
    work, size = result["work"], result["size"]
    what = "images" if ROWS[result["row"]].kind == "image" else "row" if size == 1 else "rows"
    return NAMES.get(work, f"{work} of {size:,} {what}")


def print_row(result: dict[str, Any]) -> None:
    """Print all times of one kind of work, the ratios, and what is missing."""
    times = ", ".join(f"{library} {ms:.3g}" for library, ms in result["milliseconds"].items())
    print(
        f"{result['row']}, {label(result)}: {times} ms; {_ratio(result, 'times_faster')} the fastest peer's speed",
        end="",
    )
    print(f"; {_ratio(result, 'times_floor')} the floor" if "floor" in result else "")
    compiled = result["facts"].get("flowjax", {}).get("compile_seconds")
    print(f"    flowjax compiled for {compiled:.1f} s before" if compiled else "", end="\n" if compiled else "")
    for library, reason in result["not_counted"].items():
        print(f"    {library} is not counted: {reason}")
    for library, reason in result["missing"].items():
        if not why_not(library, result["row"], result["work"]):
            print(f"    {library}: {reason}")


def table(results: Iterable[dict[str, Any]]) -> str:
    """Make the complete Markdown table from the rows of results/speed.json."""
    results = [result for result in results if "row" in result]
    lines = ["| model | work | bijecta (ms) | fastest peer (ms) | times faster | times the floor |"]
    lines += ["|---|---|--:|--:|--:|--:|"]
    steps = {result["row"]: result["milliseconds"].get("bijecta") for result in results if result["work"] == "train"}
    for result in results:
        times, fastest = result["milliseconds"], result["fastest_peer"]
        ours, step = times.get("bijecta"), steps.get(result["row"])
        peer = f"{times[fastest]:.3g} {fastest}" if fastest else "-"
        if result["work"] == "fit" and ours and step:
            peer = f"{100 * (ours / step - 1):+.0f} % on the bare step"
        mine = "-" if ours is None else f"{ours:.3g}"
        ratios = f"{_ratio(result, 'times_faster')} | {_ratio(result, 'times_floor')}"
        lines.append(f"| {result['row']} | {label(result)} | {mine} | {peer} | {ratios} |")
    return "\n".join(lines)


def matrix(results: Iterable[dict[str, Any]]) -> str:
    """Make a small Markdown table: how many times faster than the fastest peer, a line per model."""
    works = {"train": "training step", "log_prob": "log_prob", "sample": "sample"}
    lines = ["| times faster | " + " | ".join(works.values()) + " |", "|---" + "|--:" * len(works) + "|"]
    models: dict[str, dict[str, dict[str, Any]]] = {}
    for result in results:
        if (
            "row" in result and result["work"] in works
        ):  # the first size of a work is that of the model, later ones small
            models.setdefault(result["row"], {}).setdefault(result["work"], result)
    for name, found in models.items():
        cells = [
            f"{_ratio(found[work], 'times_faster')} ({found[work]['fastest_peer']})" for work in works if work in found
        ]
        lines.append(f"| {_describe(ROWS[name])} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _describe(row: Row) -> str:
    if row.kind == "image":
        return f"Glow, {'x'.join(map(str, row.event))} pixels, {row.hidden[0]} channels"
    if row.kind == "continuous":
        return f"continuous flow, {row.features} features"
    widths = f"{len(row.hidden)} x {row.hidden[0]}"
    return f"{row.univariate} {row.kind}, {row.features} features, {row.layers} layers of {widths}"


def plot(results: Iterable[dict[str, Any]], path: Path) -> None:
    """Draw how many times faster than the fastest peer each kind of work is."""
    from matplotlib.figure import Figure

    shown = [result for result in results if result.get("times_faster")][::-1]
    figure = Figure(figsize=(8, 0.8 + 0.24 * len(shown)), layout="constrained")
    axes = figure.add_subplot(xscale="log")
    for height, result in enumerate(shown):
        ratio = result["times_faster"]
        axes.barh(height, ratio - 1, left=1, color=COLOURS[result["work"]])
        axes.annotate(
            f" {ratio:.1f} ", (ratio, height), va="center", ha="left" if ratio >= 1 else "right", fontsize="small"
        )
    names = [f"{result['row']}: {label(result)} (against {result['fastest_peer']})" for result in shown]
    axes.set_yticks(range(len(shown)), names, fontsize="small")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("times faster than the fastest other library")
    axes.margins(x=0.15, y=0.01)
    figure.savefig(path, dpi=150)


def _ratio(result: dict[str, Any], name: str) -> str:
    value = result.get(name)
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"


def _quartiles(values: list[float]) -> list[float]:
    """First and third quartile over the rounds."""
    if len(values) < 2:
        return [values[0], values[0]]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return [first, third]

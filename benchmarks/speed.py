"""Time bijecta and five other libraries at the same work: training steps, densities, samples, small batches.

    python benchmarks/speed.py                      all rows: writes results/speed.json and speed.png
    python benchmarks/speed.py --rows nsf2,nsf20    some rows: only prints, unless --keep is given too
    python benchmarks/speed.py --quick              does everything work? prints figures that mean nothing

Every library runs in a process of its own (`peers.py`) on the same cores with the same rows. They take turns, round
after round, each for a quarter of a second; a figure is the median over rounds of the medians within them. A machine
that slows down or speeds up so does that to all of them.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import floor
from machine import RESULTS, keep
from peers import limit_threads
from speed_report import compare, plot, print_row, table
from speed_rows import LIBRARIES, ROWS, Row, why_not

PAUSE = 0.02  # seconds after which the thread pool of whoever was last sleeps


class Child:
    """The process of one library."""

    def __init__(self, library: str, threads: int) -> None:
        command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("peers.py")), library, str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.hello = self._read()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a line and wait for the answer."""
        if "error" in self.hello:
            return self.hello
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """Let the process end."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _read(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": f"the process ended with {self.process.wait()}"}


def measure(row: Row, work: str, size: int, children: dict[str, Child], options: argparse.Namespace) -> dict[str, Any]:
    """Let all libraries do one kind of work in turn."""
    answers: dict[str, dict[str, Any]] = {}
    for library, child in children.items():
        reason = why_not(library, row.name, work)
        answers[library] = {"error": reason} if reason else child.ask(prepare=row.name, work=work, size=size)
    able = [library for library, answer in answers.items() if "error" not in answer]
    rounds: dict[str, list[float]] = {library: [] for library in able}
    for number in range(options.rounds):
        for library in [*able[number % len(able) :], *able[: number % len(able)]] if able else []:
            answer = children[library].ask(seconds=options.seconds)
            rounds[library].append(statistics.median(answer.get("milliseconds", [float("nan")])))
            time.sleep(PAUSE)
    # A few rows are calls more than arithmetic: no floor.
    lower_bound = floor.floor(row, work, size) if row.has_floor and work != "fit" and size > 32 else None
    return compare(row, work, size, answers, rounds, lower_bound)


def measure_first(row: Row, libraries: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """Time the first training step of new processes, from building the model to the updated weights."""
    answers: dict[str, dict[str, Any]] = {}
    rounds: dict[str, list[float]] = {}
    for _ in range(min(options.rounds, 5)):
        for library in libraries:
            reason = why_not(library, row.name, "first")
            with _children([library] if not reason else [], options.threads) as children:
                for child in children.values():
                    answers[library] = child.hello | child.ask(prepare=row.name, work="train", size=row.batch)
                    rounds.setdefault(library, []).append(1000 * answers[library].get("first_seconds", float("nan")))
            if reason:
                answers[library] = {"error": reason}
    return compare(row, "first", row.batch, answers, rounds, None)


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure all rows, and say how each went."""
    results = []
    with _children(options.libraries, options.threads) as children:
        for name in options.rows:
            for work, size in ROWS[name].works():
                if work == "first":
                    results.append(measure_first(ROWS[name], options.libraries, options))
                else:
                    results.append(measure(ROWS[name], work, size, children, options))
                print_row(results[-1])
    return results


def surroundings(libraries: Sequence[str]) -> dict[str, Any]:
    """Note the versions of all libraries and how busy the machine was."""
    versions = {}
    for library in [*libraries, "jax", "torch"]:
        with contextlib.suppress(PackageNotFoundError):
            versions[library] = version(library)
    return {"versions": versions, "load_at_start": os.getloadavg()[0]}


@contextlib.contextmanager
def _children(libraries: Sequence[str], threads: int) -> Iterator[dict[str, Child]]:
    children = {library: Child(library, threads) for library in libraries}
    try:
        yield children
    finally:
        for child in children.values():
            child.close()


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", help="names separated by commas: " + ", ".join(ROWS))
    parser.add_argument("--libraries", help="names separated by commas: " + ", ".join(LIBRARIES))
    parser.add_argument("--threads", type=int, default=2, help="threads, and cores, of every library")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=0.25, help="time of one library in one round")
    parser.add_argument("--keep", action="store_true", help="write the results of some rows in place of all")
    parser.add_argument("--quick", action="store_true", help="one round of single calls; figures mean nothing")
    options = parser.parse_args(arguments)
    options.keep |= options.rows is None and options.libraries is None
    options.keep &= not options.quick
    options.rows = _choose(parser, "rows", options.rows, list(ROWS))
    options.libraries = _choose(parser, "libraries", options.libraries, list(LIBRARIES))
    if options.quick:
        options.rounds, options.seconds = 1, 0.0
    return options


def _choose(parser: argparse.ArgumentParser, what: str, asked: str | None, known: list[str]) -> list[str]:
    chosen = known if asked is None else asked.split(",")
    unknown = set(chosen) - set(known)
    if unknown:
        parser.error(f"unknown {what} {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return chosen


if __name__ == "__main__":
    options = read_options()
    around = surroundings(options.libraries)
    limit_threads(options.threads)
    torch.set_num_threads(options.threads)
    results = run(options)
    print("\n" + table(results))
    if options.keep:
        keep("speed", [*results, around])
        plot(results, RESULTS / "speed.png")

"""Integrate functions whose integrals are known, by a flow and by VEGAS with as many calls.

    python benchmarks/integrals.py [--calls 20000] [--seeds 20] [--only camel4 circles ...]

Without options each integrand has the calls and seeds of the table below: 20,000 and 20 unless it is expensive.
"pull RMS" is the root mean square of (value - exact) / error over the seeds, 1 for honest errors; "stated" is the root
mean square of error / exact, "actual" that of (value - exact) / exact. VEGAS means ten rounds of the package with its
own average; where its pull RMS is far above 1 its stated error means nothing, and only "actual ratio" compares. The
definitions are those of Gao, Isaacson, Krause (2020), "i-flow".
"""

import argparse
import math
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
import vegas

from bijecta.diagnostics.drawing import BLUE, GREY, ORANGE, empty_figure, styled
from bijecta.hep.integration import integrate
from hep_pictures import keep_picture
from machine import keep, print_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, BAND = 0.2, 0.02  # of Gaussians, and of the band
HOLE, RIM = 0.2, 0.45  # inner and outer radius of the annulus


def gauss(x: np.ndarray, centre: float = 0.5) -> np.ndarray:
    """A Gaussian at the centre of the cube."""
    return np.exp(-(((x - centre) / WIDTH) ** 2).sum(1)) / (WIDTH * math.sqrt(math.pi)) ** x.shape[1]


def camel(x: np.ndarray) -> np.ndarray:
    """Two Gaussians on the diagonal."""
    return (gauss(x, 1 / 3) + gauss(x, 2 / 3)) / 2


def circles(x: np.ndarray) -> np.ndarray:
    """Two thin rings that overlap, each bright on one side."""
    (a, b), first, second = x.T, (0.4, 0.6), (0.6, 0.4)
    rings = [np.abs((b - v) ** 2 + (a - u) ** 2 - 0.25**2) for u, v in (first, second)]
    return b**3 * np.exp(-250 * rings[0]) + (1 - b) ** 3 * np.exp(-250 * rings[1])


def annulus(x: np.ndarray) -> np.ndarray:
    """A quarter of an annulus about the corner: 1 inside, 0 outside."""
    radius = np.hypot(x[:, 0], x[:, 1])
    return ((radius > HOLE) & (radius < RIM)).astype(float)


def band(x: np.ndarray) -> np.ndarray:
    """A thin band along the diagonal, which no product of grids can follow; not of that set."""
    return np.exp(-(((x[:, 0] - x[:, 1]) / BAND) ** 2))


def polynomial(x: np.ndarray) -> np.ndarray:
    """A sum of parabolas."""
    return (x * (1 - x)).sum(1)


def gauss_integral(dimensions: int, centre: float = 0.5) -> float:
    """The integral of a Gaussian over the cube."""
    return ((math.erf((1 - centre) / WIDTH) + math.erf(centre / WIDTH)) / 2) ** dimensions


INTEGRANDS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int, float]] = {
    "gauss2": (gauss, 2, gauss_integral(2)),
    "camel2": (camel, 2, gauss_integral(2, 1 / 3)),
    "gauss4": (gauss, 4, gauss_integral(4)),
    "camel4": (camel, 4, gauss_integral(4, 1 / 3)),
    "gauss8": (gauss, 8, gauss_integral(8)),
    "circles": (circles, 2, 0.0136847723814),
    "annulus": (annulus, 2, math.pi * (RIM**2 - HOLE**2) / 4),
    "polynomial18": (polynomial, 18, 3.0),
    "polynomial54": (polynomial, 54, 9.0),
    "polynomial96": (polynomial, 96, 16.0),
    "band": (band, 2, BAND * math.sqrt(math.pi) * math.erf(1 / BAND) - BAND**2),
    "camel8": (camel, 8, gauss_integral(8, 1 / 3)),
    "gauss16": (gauss, 16, gauss_integral(16)),
    "camel16": (camel, 16, gauss_integral(16, 1 / 3)),
}


CALLS, SEEDS = 20_000, 20
MORE_CALLS = {"gauss16": 100_000, "camel16": 100_000}
FEWER_SEEDS = {"gauss4": 10, "camel4": 10, "band": 6, "camel8": 4, "gauss16": 3, "camel16": 3}


def by_vegas(f: Callable[[np.ndarray], np.ndarray], dimensions: int, calls: int, seed: int) -> tuple[float, float]:
    """Value and error of ten rounds."""
    random = np.random.default_rng(1000 + seed).random
    integrator = vegas.Integrator([[0.0, 1.0]] * dimensions, ran_array_generator=random)
    result = integrator(vegas.lbatchintegrand(f), nitn=10, neval=calls // 10)
    return result.mean, result.sdev


def summary(pairs: list[tuple[float, float]], exact: float) -> tuple[float, float, float]:
    """Pull RMS, stated and actual relative error."""
    value, error = np.array(pairs).T
    squares = ((value - exact) / error) ** 2, (error / exact) ** 2, (value / exact - 1) ** 2
    pull, stated, actual = (math.sqrt(square.mean()) for square in squares)
    return pull, stated, actual


def compare(name: str, calls: int, seeds: int) -> dict[str, object]:
    """Integrate one function with many seeds, both ways."""
    f, dimensions, exact = INTEGRANDS[name]
    start = time.perf_counter()
    results = [integrate(f, dimensions, calls, seed=seed) for seed in range(seeds)]
    seconds = (time.perf_counter() - start) / seeds
    pull, stated, actual = summary([(result.value, result.error) for result in results], exact)
    theirs = summary([by_vegas(f, dimensions, calls, seed) for seed in range(seeds)], exact)
    return {
        "integrand": name,
        "calls": calls,
        "seeds": seeds,
        "chosen": dict(Counter(result.method for result in results)),
        "pull RMS": pull,
        "stated": stated,
        "actual": actual,
        "VEGAS pull RMS": theirs[0],
        "VEGAS stated": theirs[1],
        "VEGAS actual": theirs[2],
        "stated ratio": stated / theirs[1],
        "actual ratio": actual / theirs[2],
        "seconds": seconds,
    }


@styled
def picture(table: list[dict[str, object]]) -> "Figure":
    """Draw pulls, and errors over those of VEGAS."""
    figure = empty_figure((7.0, 0.28 * len(table) + 1.2))
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(table))[::-1]
    left.axvspan(0.7, 1.4, color=GREY, alpha=0.15, linewidth=0)
    right.axvline(1.2, color=GREY, linewidth=0.8, linestyle=":")
    for axes, name, label, colour, marker in (
        (left, "pull RMS", "integrate", BLUE, "o"),
        (left, "VEGAS pull RMS", "VEGAS", ORANGE, "s"),
        (right, "actual ratio", "actual error", BLUE, "o"),
        (right, "stated ratio", "stated error", ORANGE, "s"),
    ):
        axes.plot([row[name] for row in table], places, marker, color=colour, markersize=4, label=label)
    left.set(xscale="log", xlabel="RMS of the pull")
    left.set_yticks(places, [str(row["integrand"]) for row in table])
    right.set(xscale="log", xlabel="error / error of VEGAS at equal calls")
    for axes in (left, right):
        ticks = [
            tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if axes.get_xlim()[0] < tick < axes.get_xlim()[1]
        ]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.legend(fontsize=7)
    return figure


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--only", nargs="*", choices=INTEGRANDS, default=list(INTEGRANDS))
    parser.add_argument("--name", default="integrals", help="of the file of results")
    options = parser.parse_args()
    table: list[dict[str, object]] = []
    for chosen in options.only:
        calls = options.calls or MORE_CALLS.get(chosen, CALLS)
        table.append(compare(chosen, calls, options.seeds or FEWER_SEEDS.get(chosen, SEEDS)))
        keep(options.name, table)  # after each, so that a run that is stopped has what it measured
        keep_picture(picture(table), options.name)
    print_table(table)

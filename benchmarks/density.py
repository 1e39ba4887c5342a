"""Densities beside exact ones, simple ones and published ones.

    python benchmarks/density.py bsds300 --minutes 60 --threads 2
    python benchmarks/density.py toys [--families nsf,maf] [--toys moons] [--seconds 60]
    python benchmarks/density.py matching [--seconds 40]
    python benchmarks/density.py uci [--sets wine,yacht] [--splits 3]

`bsds300`: patches of natural images, see patches.py. `toys`: how close every family comes, with the defaults of its
recipe, to the exact entropy of two-dimensional sets. `matching`: one continuous flow trained by likelihood and by flow
matching. `uci`: inputs and target of regression sets as one table, against a Gaussian, mixtures of Gaussians and
kernels. A call for some rows keeps the others in the results.

Seconds are those of the processor, so that other work on the machine takes nothing away: a few steps of a copy tell
how many there is time for, and the learning rate falls to zero over these.
"""

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KernelDensity
from torch import Tensor

import patches
from bijecta.data import toy
from bijecta.estimators import FlowDensity
from bijecta.flows import RECIPES, Flow, build
from bijecta.nets import Velocity
from bijecta.training import Batch, FitConfig, fit, flow_matching, nll
from bijecta.training.losses import Loss
from machine import RESULTS, keep, print_table
from toys import TOYS, mean_nll

Array = NDArray[np.float64]

POINTS = 100_000
BATCH = 512
UCI = patches.DATA / "uci_regression"
LARGEST = 5000  # rows of a table to train on, and to test on
EPOCHS = 4  # at least: slower families see fewer points, so that a run can end near its time
LEFT_OUT = {
    "circular_nsf": "its columns are angles",
    "glow_image": "for images",
    "sphere": "for points of a sphere",
    "table": "a frame for the recipe of a table's columns",
}
LOSSES: dict[str, Loss] = {"cnf": flow_matching}
# Where the default, 2e-3, is too careful for a minute.
LEARNING_RATES = dict.fromkeys(["naf", "unaf", "sos", "bernstein", "cnf", "glow", "iaf", "sylvester", "nice"], 5e-3)
LEARNING_RATES |= dict.fromkeys(["bnaf", "planar", "radial"], 1e-2)


def config_for(family: str, epochs: int) -> FitConfig:
    rate = LEARNING_RATES.get(family, 2e-3)
    return FitConfig(epochs=epochs, batch_size=BATCH, learning_rate=rate, patience=0, validation_fraction=0.05)


def affordable_rows(flow: Flow, x: Tensor, config: FitConfig, loss: Loss, seconds: float) -> int:
    """Estimate how many rows can be trained on in so many seconds: what a copy takes for its third short epoch."""
    few, ends = x[: 12 * BATCH], []
    config = replace(config, epochs=3)
    fit(copy.deepcopy(flow), few, config=config, loss=loss, on_epoch=lambda _: ends.append(time.process_time()))
    return int(0.9 * seconds / (ends[2] - ends[1]) * len(few))


def train(flow: Flow, x: Tensor, config: FitConfig, loss: Loss, seconds: float) -> dict[str, Any]:
    """Fit within seconds of processor time; return what it took."""
    rows = affordable_rows(flow, x, config, loss, seconds)
    x = x[: max(2 * BATCH, rows // EPOCHS)]
    config = replace(config, epochs=max(EPOCHS, rows // len(x)))
    began = time.process_time()
    ended = fit(flow, x, config=config, loss=loss, on_epoch=lambda _: time.process_time() - began > seconds)
    spent = time.process_time() - began
    return {"CPU seconds": round(spent, 1), "steps": ended.history[-1].step, "points": len(x), "stopped": ended.stopped}


def points_of(name: str, seed: int) -> Tensor:
    return torch.as_tensor(toy(name).sample(POINTS, seed)).float()


def gap(flow: Flow, name: str) -> float:
    """Compare a flow with the exact density on the same points; nats per point."""
    test = points_of(name, 2)
    return mean_nll(flow, test) + float(toy(name).log_prob(test).mean())


def toy_row(family: str, name: str, seconds: float) -> dict[str, Any]:
    """Train a family on a toy and say how close it comes."""
    torch.manual_seed(0)
    flow, config = build(family, {"features": 2}), config_for(family, 1)
    took = train(flow, points_of(name, 1), config, LOSSES.get(family, nll), seconds)
    return {"family": family, "toy": name, "gap": gap(flow, name), **took, "learning rate": config.learning_rate}


def merge(name: str, rows: list[dict[str, Any]], keys: tuple[str, ...]) -> None:
    """Put rows into results/NAME.json, each with its date and command, in the place of those with the same keys."""
    file = RESULTS / f"{name}.json"
    before = json.loads(file.read_text())["rows"] if file.exists() else []
    source = {"date": datetime.now(UTC).date().isoformat(), "command": " ".join(["density.py", *sys.argv[1:]])}
    found = {tuple(row[key] for key in keys): row for row in [*before, *({**row, **source} for row in rows)]}
    keep(name, [found[key] for key in sorted(found)])


def run_toys(options: argparse.Namespace) -> None:
    """Train family after family; what is measured is kept at once."""
    for name in options.toys.split(","):
        for family in options.families.split(","):
            row = toy_row(family, name, options.seconds)
            merge("density_toys", [row], ("family", "toy"))
            print(row, flush=True)


def evaluations(flow: Flow, work: Callable[[], Any]) -> int:
    """Count how often work calls the network of a continuous flow."""
    network = next(part for part in flow.modules() if isinstance(part, Velocity))
    calls: list[None] = []
    hook = network.register_forward_hook(lambda *_: calls.append(None))
    with mock.patch.object(network, "with_products", wraps=network.with_products) as beside_products:
        work()
    hook.remove()
    return len(calls) + beside_products.call_count


def matching_row(way: str, name: str, seconds: float) -> dict[str, Any]:
    """Train the continuous flow in one of two ways, and count the evaluations of its network afterwards."""
    torch.manual_seed(0)
    flow, loss = build("cnf", {"features": 2}), {"likelihood": nll, "flow matching": flow_matching}[way]
    took = train(flow, points_of(name, 1), config_for("cnf", 1), loss, seconds)
    x = points_of(name, 2)[:BATCH]
    step = evaluations(flow, lambda: loss(flow, Batch(BATCH, x)).backward())
    density = evaluations(flow, lambda: flow.log_prob(x))
    counted = {"evaluations, training step": step, "evaluations, log_prob": density}
    return {"loss": way, "toy": name, "gap": gap(flow, name), **took, **counted}


def run_matching(options: argparse.Namespace) -> None:
    """Train one network in both ways, each with the same seconds."""
    ways = ["likelihood", "flow matching"]
    rows = [matching_row(way, name, options.seconds) for name in options.toys.split(",") for way in ways]
    print_table(rows)
    merge("density_matching", rows, ("toy", "loss"))


def read_table(name: str) -> tuple[Array, Array]:
    """Read a regression set, inputs and target side by side, and for each of its splits which rows are for testing.

    A row that occurs again counts once: test rows must not be among those that were learned.
    """
    file = np.load(UCI / f"{name}.npz")
    rows = np.column_stack([file["x"], file["y"]]).astype(float)
    first = np.sort(np.unique(rows, axis=0, return_index=True)[1])
    return rows[first], file["test_mask"][first]


def continuous_columns(x: Array) -> tuple[Array, list[int]]:
    """Leave out columns that have no density or no news; blur rounded ones. Returns the columns and which they are.

    Left out: columns with one value in more than a tenth of the rows (constants, categories, many zeros), and those
    whose correlation with one before is above 0.99. Blurred: columns with values that occur again, by uniform noise
    as wide as the median step between neighbouring values, so that no method gains by finding the steps.
    """
    kept: list[int] = []
    for number, column in enumerate(x.T):
        _, counts = np.unique(column, return_counts=True)
        again = any(abs(np.corrcoef(column, x[:, other])[0, 1]) > 0.99 for other in kept)
        if counts.max() <= 0.1 * len(column) and not again:
            kept.append(number)
    rng = np.random.default_rng(0)
    return np.column_stack([blurred(x[:, number], rng) for number in kept]), kept


def blurred(column: Array, rng: np.random.Generator) -> Array:
    values = np.unique(column)
    step = np.median(np.diff(values)) if len(values) < len(column) else 0.0
    return column + step * rng.uniform(-0.5, 0.5, len(column))


def gaussian_nats(train: Array, test: Array) -> float:
    return float(np.mean(GaussianMixture(1, random_state=0).fit(train).score_samples(test)))


def mixture_nats(train: Array, test: Array) -> float:
    """Fit Gaussian mixtures, and take the number of components with the best Bayesian information criterion."""
    fitted = [GaussianMixture(count, n_init=2, random_state=0).fit(train) for count in (1, 2, 4, 8, 16, 32)]
    return float(min(fitted, key=lambda mixture: mixture.bic(train)).score(test))


def kernel_nats(train: Array, test: Array) -> float:
    """Smooth with a Gaussian kernel; its width is the best one of a grid on a tenth of the training rows."""
    fit_rows, chosen_by = train_test_split(train, test_size=0.1, random_state=0)
    widths = np.geomspace(0.02, 2, 25)
    best = max(widths, key=lambda width: KernelDensity(bandwidth=width).fit(fit_rows).score(chosen_by))
    return float(np.mean(KernelDensity(bandwidth=best).fit(train).score_samples(test)))


def flow_nats(train: Array, test: Array) -> float:
    """Fit the flow that the automatic choice takes, with the estimator's settings."""
    return float(FlowDensity(recipe="auto", random_state=0).fit(train).score(test))


METHODS = {"Gaussian": gaussian_nats, "mixture": mixture_nats, "kernels": kernel_nats, "flow": flow_nats}


def table_row(name: str, splits: int) -> dict[str, Any]:
    """Compare four densities on test rows, in nats per row of columns with unit spread; means over splits."""
    rows, masks = read_table(name)
    x, kept = continuous_columns(rows)
    nats: dict[str, list[float]] = {method: [] for method in METHODS}
    began = time.process_time()
    for mask in masks.T[: splits if len(x) <= LARGEST else 1]:
        train, test = x[~mask][:LARGEST], x[mask][:LARGEST]
        mean, spread = train.mean(0), train.std(0)
        for method, measure in METHODS.items():
            nats[method].append(measure((train - mean) / spread, (test - mean) / spread))
    row = {"set": name, "rows": len(train), "columns": f"{len(kept)} of {rows.shape[1]}"}
    row |= {method: float(np.mean(found)) for method, found in nats.items()}
    seconds = round(time.process_time() - began, 1)
    return row | {"splits": len(nats["flow"]), "CPU seconds": seconds, "kept": kept, "each": nats}


def run_tables(options: argparse.Namespace) -> None:
    """Compare densities of the UCI regression sets, inputs and target together."""
    rows = [table_row(name, options.splits) for name in options.sets.split(",")]
    print_table([{key: value for key, value in row.items() if key not in ("kept", "each")} for row in rows])
    merge("density_uci", rows, ("set",))


def read_options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parsers = parser.add_subparsers(required=True)
    images = parsers.add_parser("bsds300", help="patches of natural images against published figures")
    images.add_argument("--minutes", type=float, default=60)
    images.add_argument("--resume", action="store_true", help="go on from the checkpoint in runs/")
    images.add_argument("--rows", type=int, help="so many patches only: does everything work?")
    images.set_defaults(run=patches.main)
    toys = parsers.add_parser("toys", help="every family on two-dimensional sets")
    toys.add_argument("--families", default=",".join(name for name in RECIPES if name not in LEFT_OUT))
    toys.add_argument("--toys", default=",".join(TOYS))
    toys.add_argument("--seconds", type=float, default=60)
    toys.set_defaults(run=run_toys)
    ways = parsers.add_parser("matching", help="flow matching against likelihood")
    ways.add_argument("--toys", default="moons,8gaussians")
    ways.add_argument("--seconds", type=float, default=40)
    ways.set_defaults(run=run_matching)
    uci = parsers.add_parser("uci", help="tables against simple densities")
    uci.add_argument("--sets", default=",".join(sorted(file.stem for file in UCI.glob("*.npz"))))
    uci.add_argument("--splits", type=int, default=3, help="so many of the ten; one for large sets")
    uci.set_defaults(run=run_tables)
    for each in parsers.choices.values():
        each.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args(arguments)


def main() -> None:
    options = read_options(sys.argv[1:])
    torch.set_num_threads(options.threads)
    options.run(options)


if __name__ == "__main__":
    main()

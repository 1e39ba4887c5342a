"""Compare the few flows that recipe="auto" chooses between, on few and on many rows.

    python benchmarks/automatic.py                   # all sets; minutes on one core
    python benchmarks/automatic.py --sets kin40k --rows 150

Held-out loss in nats per row; the settings of the training are defaults but for the number of epochs.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bijecta.data import toy
from bijecta.diagnostics.metrics import gaussian_nll
from bijecta.flows import build
from bijecta.training import FitConfig, fit
from machine import keep, print_table

DATA = Path(__file__).parents[2] / "shared" / "data" / "uci_regression"
TEST_ROWS = 2_000
SMALL = {"hidden": (32, 32), "bins": 8}
FLOWS: dict[str, tuple[str, dict[str, Any]]] = {
    "coupling": ("nsf", {}),
    "coupling, small": ("nsf", {"layers": 3, **SMALL}),
    "autoregressive": ("nsf_autoregressive", {}),
    "autoregressive, small": ("nsf_autoregressive", {"layers": 2, **SMALL}),
}


def draw(name: str, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return training and test rows of a toy set, or of the inputs and target of a regression set."""
    generator = np.random.default_rng(seed)
    if name == "moons":
        points = toy(name).sample(rows + TEST_ROWS, generator)
    else:
        with np.load(DATA / f"{name}.npz") as file:
            points = np.column_stack([file["x"], file["y"]]).astype(np.float64)
        points = points[generator.permutation(len(points))[: rows + TEST_ROWS]]
    return points[:rows], points[rows:]


def compare(sets: list[str], counts: list[int], epochs: int, seed: int) -> Iterator[dict[str, Any]]:
    """Fit every flow to every set, with every number of rows."""
    for name in sets:
        for rows in counts:
            train, test = draw(name, rows, seed)
            gaussian = gaussian_nll(train, test).nll
            for label, (recipe, arguments) in FLOWS.items():
                torch.manual_seed(seed)
                flow = build(recipe, {"features": train.shape[1], **arguments})
                result = fit(flow, train, config=FitConfig(epochs=epochs, seed=seed))
                with torch.no_grad():
                    loss = -float(flow.log_prob(torch.as_tensor(test, dtype=torch.float32)).mean())
                row = {"set": name, "rows": rows, "flow": label, "NLL": loss, "Gaussian": gaussian}
                print(row, f"{result.seconds:.0f} s", flush=True)
                yield row


def main() -> None:
    """Fit, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=["kin40k", "protein", "moons"])
    parser.add_argument("--rows", nargs="+", type=int, default=[150, 1_000, 4_000])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = list(compare(given.sets, given.rows, given.epochs, given.seed))
    print_table(rows)
    keep("automatic", rows)


if __name__ == "__main__":
    main()

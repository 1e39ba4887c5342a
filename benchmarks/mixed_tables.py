"""Exact probabilities of whole numbers against uniform noise on them: test losses on four tables.

    python benchmarks/mixed_tables.py [power] [wine] [diabetes] [synthetic]

"noise, 64 draws" is the tighter bound log mean exp over 64 draws of the noise: what is left of the difference to the
exact column is the model and not the bound.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import datasets

from bijecta.data import Schema, Table, infer_schema, read_table, split_rows
from bijecta.flows import table
from bijecta.training import FitConfig, fit
from machine import keep, print_table

POWER = Path(__file__).parents[2] / "shared" / "data" / "power_hourly" / "power_hourly.npz"
EPOCHS = {"power": 10, "wine": 150, "diabetes": 150, "synthetic": 40}
SEEDS = {"power": 1, "wine": 3, "diabetes": 3, "synthetic": 1}


def synthetic(rows: int = 6000) -> Table:
    """Draw levels, counts that depend on them, and two numbers that depend on both."""
    rng = np.random.default_rng(0)
    level = rng.integers(0, 4, rows)
    count = rng.poisson(np.array([1, 5, 20, 60])[level])
    x, y = rng.normal(level - 1.5, 0.3 + 0.1 * level), rng.normal(np.sqrt(count), 0.5)
    columns = {"level": level, "count": count, "even": rng.choice([4, 6, 8], rows), "x": x, "y": y}
    return Table(tuple(columns), columns)


def scikit_learn(name: str) -> Table:
    """Take a table of scikit-learn with its target, in the original units."""
    options = {"scaled": False} if name == "diabetes" else {}
    content = getattr(datasets, f"load_{name}")(**options)
    columns = dict(zip(content.feature_names, content.data.T, strict=True)) | {"target": content.target}
    return Table(tuple(columns), columns)


def read(name: str) -> tuple[Schema, NDArray[np.float64]]:
    """Return the inferred schema and the rows."""
    found = read_table(POWER) if name == "power" else synthetic() if name == "synthetic" else scikit_learn(name)
    schema, _ = infer_schema(found, drop=["datetime"] if name == "power" else [])
    return schema, schema.matrix(found)


def losses(name: str, integers: str, seed: int) -> tuple[float, float]:
    """Fit one model; return the test loss in nats per row, and that with 64 draws of noise per row."""
    schema, rows = read(name)
    train, test = split_rows(len(rows), 0.1 if len(rows) > 1000 else 0.25, seed)
    torch.manual_seed(seed)
    flow = table(schema.to_json(), integers=integers, arguments={"layers": 4})
    fit(flow, rows[train], config=FitConfig(epochs=EPOCHS[name], seed=seed))
    x = torch.as_tensor(rows[test], dtype=torch.float32)
    with torch.no_grad():
        draws = torch.stack([flow.log_prob(x).double() for _ in range(1 if integers == "exact" else 64)])
    return -float(draws.mean()), -float((draws.logsumexp(0) - np.log(len(draws))).mean())


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows = []
    for name in sys.argv[1:] or list(EPOCHS):
        found = {kind: [losses(name, kind, s) for s in range(SEEDS[name])] for kind in ("exact", "dequantised")}
        means = {kind: np.mean(values, axis=0) for kind, values in found.items()}
        noisy = means["dequantised"]
        rows.append({"table": name, "exact": means["exact"][0], "noise": noisy[0], "noise, 64 draws": noisy[1]})
        print(rows[-1], flush=True)
    print_table(rows)
    keep("mixed_tables", rows)

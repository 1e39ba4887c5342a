"""Find anomalies in twenty tables of ADBench, beside the published AUROCs of 26 methods.

    python benchmarks/anomaly.py                  # trained on normal rows; 3 seeds
    python benchmarks/anomaly.py --unsupervised   # trained on everything, anomalies included
    python benchmarks/anomaly.py --sets 44_Wilt 40_vowels --seeds 1

The protocol is that of V. Livernoche et al. (2024), On Diffusion Modeling for Anomaly Detection, whose figures (means
of five seeds) stand beside ours: the first half of the normal rows, in the order of the file, is trained on; the rest
and all anomalies are scored; columns are standardised by the training rows. Of more than 50,000 rows 50,000 are drawn.
Of fewer than 1,000 rows, 1,000 are drawn with replacement, so that many test rows of the four small tables are also
training rows: the column "once" has our figures without that. All settings are defaults, the same for every table.
"""

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from bijecta.estimators import FlowAnomalyDetector
from machine import keep, print_table

DATA = Path(__file__).parents[2] / "shared" / "data" / "adbench"
FEW, MANY = 1_000, 50_000
OURS = "bijecta"
Task = tuple[np.ndarray, np.ndarray, np.ndarray]


def names() -> list[str]:
    """List the tables in the order of their numbers."""
    return sorted((path.stem for path in DATA.glob("*.npz")), key=lambda name: int(name.partition("_")[0]))


def published(protocol: str) -> dict[str, dict[str, float]]:
    """Read the published AUROCs in per cent: table -> method -> figure."""
    with (DATA / f"published_auroc_{protocol}_DTE.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {row.pop("Dataset"): {method: float(value) for method, value in row.items()} for row in rows}


def load(name: str, seed: int, *, unsupervised: bool, repeats: bool = True) -> Task:
    """Return training rows, test rows, and labels of the test rows (1 = anomaly)."""
    stored = np.load(DATA / f"{name}.npz")
    x, y = stored["X"].astype(np.float64), stored["y"]
    random = np.random.RandomState(seed)  # the generator of the published figures
    if len(y) < FEW and repeats:
        chosen = random.choice(len(y), FEW, replace=True)
        x, y = x[chosen], y[chosen]
    if len(y) > MANY:
        chosen = random.choice(len(y), MANY, replace=False)
        x, y = x[chosen], y[chosen]
    if unsupervised:
        return standardise(x, x, y, draw=random.choice(len(y), len(y), replace=True))
    normal = np.flatnonzero(y == 0)
    half = round(len(normal) / 2)
    test = np.append(normal[half:], np.flatnonzero(y == 1))
    return standardise(x[normal[:half]], x[test], y[test])


def standardise(train: np.ndarray, test: np.ndarray, label: np.ndarray, draw: np.ndarray | None = None) -> Task:
    """Scale columns by the training rows; then keep those drawn."""
    mean, scale = train.mean(0), train.std(0)
    scale[scale == 0] = 1
    train = (train - mean) / scale
    return train if draw is None else train[draw], (test - mean) / scale, label


def scores(train: np.ndarray, test: np.ndarray, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Score the test rows, higher for anomalies, by our detector and by a full-covariance Gaussian."""
    detector = FlowAnomalyDetector(random_state=seed).fit(train)
    log_density = detector.score_samples(test)
    yield OURS, -log_density
    yield "typicality", np.abs(log_density - detector.typical_)
    # Twice: the Gaussian of the published split, with the ridge that makes its covariance invertible.
    covariance = np.cov(train.T) + 1e-3 * np.eye(train.shape[1])
    yield "gaussian", ((test - train.mean(0)) * np.linalg.solve(covariance, (test - train.mean(0)).T).T).sum(1)


def measure(name: str, seeds: int, *, unsupervised: bool) -> dict[str, object]:
    """Return the mean AUROCs of one table, in per cent, with the standard deviation over seeds."""
    found: dict[str, list[float]] = {}
    began = time.process_time()
    for seed in range(seeds):
        train, test, label = load(name, seed, unsupervised=unsupervised)
        for method, score in scores(train, test, seed):
            found.setdefault(method, []).append(100 * roc_auc_score(label, score))
    seconds = (time.process_time() - began) / seeds
    row: dict[str, object] = {"table": name, "rows": len(train), "columns": train.shape[1]}
    row |= {method: float(np.mean(values)) for method, values in found.items()}
    row |= {"s.d.": float(np.std(found[OURS])), "once": row[OURS], "seconds": seconds}
    if len(np.load(DATA / f"{name}.npz")["y"]) < FEW:
        row["once"] = float(np.mean([once(name, seed, unsupervised=unsupervised) for seed in range(seeds)]))
    print(
        "  ".join(f"{key} {value:.2f}" if isinstance(value, float) else str(value) for key, value in row.items()),
        flush=True,
    )
    return row


def once(name: str, seed: int, *, unsupervised: bool) -> float:
    """Measure a small table without repeated rows."""
    train, test, label = load(name, seed, unsupervised=unsupervised, repeats=False)
    score = -FlowAnomalyDetector(random_state=seed).fit(train).score_samples(test)
    return float(100 * roc_auc_score(label, score))


def summary(rows: list[dict[str, object]], others: dict[str, dict[str, float]]) -> list[dict[str, object]]:
    """Put our column beside the published ones: one line per method, the best mean first."""
    tables = [str(row["table"]).partition("_")[2].lower() for row in rows]
    methods = [OURS, "gaussian", *others[tables[0]]]
    ours = {OURS: [row[OURS] for row in rows], "gaussian": [row["gaussian"] for row in rows]}
    figures = np.array([ours.get(method) or [others[table][method] for table in tables] for method in methods], float)
    ranks = rankdata(-figures.round(2), axis=0).mean(1)
    order = np.argsort(-figures.mean(1))
    return [
        {"method": methods[i], "mean": figures[i].mean(), "mean rank": ranks[i]}
        | {table[:9]: float(value) for table, value in zip(tables, figures[i], strict=True)}
        for i in order
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Anomaly detection on tables of ADBench.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--unsupervised", action="store_true")
    parser.add_argument("--sets", nargs="+", default=names(), help="tables, such as 44_Wilt")
    options = parser.parse_args()
    torch.set_num_threads(1)
    measured = [measure(name, options.seeds, unsupervised=options.unsupervised) for name in options.sets]
    protocol = "unsup" if options.unsupervised else "semi"
    print_table(summary(measured, published(protocol)))
    print("without repeated rows:", float(np.mean([row["once"] for row in measured])))
    if options.sets == names():
        keep(f"anomaly_{protocol}", measured)

"""Fit a density from events with positive and negative weights, and compare with the truth.

    python benchmarks/signed_weights.py

The target is [(1 - f) N(0, 1) - f N(0, s^2)] / (1 - 2 f) in two dimensions with f = 0.15, s = 0.5: a density with a
hole in the middle. Events of the first part weigh +1, of the second -1. KL(truth || flow) is measured on 200,000
points of the truth; the rows "absolute" and "positive only" show what ignoring the signs costs.
"""

import numpy as np
import torch

from bijecta.flows import nsf
from bijecta.training import FitConfig, fit
from machine import keep, print_table

FRACTION, NARROW = 0.15, 0.5


def events(n: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw events with their weights."""
    negative = generator.random(n) < FRACTION
    x = generator.normal(size=(n, 2)) * np.where(negative, NARROW, 1.0)[:, None]
    return x, np.where(negative, -1.0, 1.0)


def log_density(x: np.ndarray) -> np.ndarray:
    """Log of the true density."""
    square = (x**2).sum(-1)
    wide = (1 - FRACTION) * np.exp(-square / 2)
    narrow = FRACTION / NARROW**2 * np.exp(-square / (2 * NARROW**2))
    return np.log((wide - narrow) / (2 * np.pi * (1 - 2 * FRACTION)))


def truth(n: int, generator: np.random.Generator) -> np.ndarray:
    """Draw from the true density by rejection: it is below (1 - f) / (1 - 2 f) times a standard normal."""
    x = generator.normal(size=(4 * n, 2))
    normal = np.exp(-(x**2).sum(-1) / 2) / (2 * np.pi)
    accept = generator.random(len(x)) * (1 - FRACTION) / (1 - 2 * FRACTION) * normal < np.exp(log_density(x))
    return x[accept][:n]


def divergence(kind: str) -> dict[str, object]:
    """Fit with signed, absolute or only positive weights; return the KL divergence from the truth."""
    x, weight = events(200_000, np.random.default_rng(1))
    if kind == "positive only":
        x, weight = x[weight > 0], weight[weight > 0]
    if kind == "absolute":
        weight = np.abs(weight)
    torch.manual_seed(0)
    flow = nsf(2, layers=4)
    result = fit(flow, x, weight=weight, config=FitConfig(epochs=12, batch_size=2000, patience=0))
    test = truth(200_000, np.random.default_rng(2))
    with torch.no_grad():
        log_ratio = log_density(test) - flow.log_prob(torch.as_tensor(test).float()).double().numpy()
    return {
        "weights": kind,
        "KL": log_ratio.mean(),
        "s.e.": log_ratio.std() / len(test) ** 0.5,
        "effective sample size": result.effective_sample_size,
        "rows": result.rows,
        "seconds": result.seconds,
    }


if __name__ == "__main__":
    rows = [divergence(kind) for kind in ("signed", "absolute", "positive only")]
    print_table(rows)
    keep("signed_weights", rows)

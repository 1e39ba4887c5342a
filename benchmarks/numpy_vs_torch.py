"""The same RealNVP in NumPy with hand-written gradients and in PyTorch: quality and speed, side by side.

    python benchmarks/numpy_vs_torch.py

Both train on the same 2,000 moons with the same layers, widths, batches and epochs; both use float64 and as many
threads as there are cores. The PyTorch row in float32 is what one would use.
"""

import time
from collections.abc import Callable

import numpy as np
import torch

from bijecta.data import toy
from bijecta.flows import realnvp
from bijecta.reference.realnvp_training import train_realnvp
from bijecta.training import FitConfig, fit
from machine import keep, print_table

LAYERS, WIDTH, BATCH, RATE = 4, 64, 256, 1e-3
Scorer = Callable[[np.ndarray], np.ndarray]


def with_numpy(x: np.ndarray, epochs: int) -> Scorer:
    """Train the NumPy flow."""
    flow, _ = train_realnvp(
        x, n_layers=LAYERS, n_hidden=WIDTH, n_epochs=epochs, batch_size=BATCH, learning_rate=RATE, seed=0
    )
    return flow.log_prob


def with_torch(dtype: torch.dtype) -> Callable[[np.ndarray, int], Scorer]:
    """Train the PyTorch flow with a given precision."""

    def train(x: np.ndarray, epochs: int) -> Scorer:
        torch.manual_seed(0)
        flow = realnvp(2, layers=LAYERS, hidden=(WIDTH, WIDTH)).to(dtype)
        config = FitConfig(
            epochs=epochs, batch_size=BATCH, learning_rate=RATE, patience=0, validation_fraction=0.0, ema=0.0
        )
        fit(flow, x, config=config)

        def log_prob(points: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return flow.log_prob(torch.as_tensor(points, dtype=dtype)).double().numpy()

        return log_prob

    return train


def measure(name: str, train: Callable[[np.ndarray, int], Scorer]) -> dict[str, object]:
    """Train for 1 epoch to warm up, then for 200 with the clock running."""
    target = toy("sklearn-moons")
    x, test = target.sample(2000, 1), target.sample(20_000, 2)
    train(x, 1)
    began = time.perf_counter()
    log_prob = train(x, 200)
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    scores = log_prob(test)
    score_seconds = time.perf_counter() - began
    return {
        "RealNVP in": name,
        "gap (nats)": float(target.log_prob(test).mean() - scores.mean()),
        "training (s)": seconds,
        "ms per step": 1000 * seconds / (200 * -(-2000 // BATCH)),
        "log_prob, 20,000 rows (ms)": 1000 * score_seconds,
    }


if __name__ == "__main__":
    rows = [
        measure("NumPy float64, hand-written gradients", with_numpy),
        measure("PyTorch float64", with_torch(torch.float64)),
        measure("PyTorch float32", with_torch(torch.float32)),
    ]
    print_table(rows)
    keep("numpy_vs_torch", rows)

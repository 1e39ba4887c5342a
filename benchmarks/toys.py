"""How close the default spline flow comes to the exact entropy of eight toys, and a small RealNVP on two moons.

    python benchmarks/toys.py [toy ...]

Each row trains on 100,000 fresh points with the settings below, then takes the mean negative log-likelihood of
100,000 other points. The gap is that mean minus the mean of the exact negative log-density on the same points, so the
noise of the test points nearly cancels.
"""

import sys
import time
from dataclasses import replace

import torch

from bijecta.data import toy
from bijecta.diagnostics.plots import plot_samples_2d, save_figure
from bijecta.distributions import Distribution
from bijecta.flows import nsf, realnvp
from bijecta.training import FitConfig, fit
from machine import RESULTS, keep, print_table

TOYS = ["moons", "circles", "rings", "8gaussians", "swissroll", "pinwheel", "2spirals", "checkerboard"]
CONFIG = FitConfig(epochs=30, batch_size=512, patience=0, validation_fraction=0.05)


@torch.no_grad()
def mean_nll(flow: Distribution, x: torch.Tensor) -> float:
    """Mean negative log-likelihood in nats per row."""
    return -sum(flow.log_prob(rows).double().sum().item() for rows in x.split(10_000)) / len(x)


def gap(name: str) -> dict[str, object]:
    """Train the default nsf on a toy and compare it with the exact density."""
    target = toy(name)
    torch.manual_seed(0)
    flow = nsf(2)
    began = time.perf_counter()
    result = fit(flow, target.sample(100_000, 1), config=CONFIG)
    seconds = time.perf_counter() - began
    test = target.sample(100_000, 2)
    exact = -target.log_prob(test).mean()
    nll = mean_nll(flow, torch.as_tensor(test).float())
    return {
        "toy": name,
        "entropy": target.entropy,
        "test NLL": nll,
        "gap": nll - exact,
        "seconds": seconds,
        "steps": result.history[-1].step,
    }


def small_realnvp() -> dict[str, object]:
    """Train four alternating couplings on 2,000 moons for 300 epochs, and draw samples beside the data."""
    target = toy("sklearn-moons")
    x = target.sample(2000, 1)
    torch.manual_seed(0)
    flow = realnvp(2, layers=4)
    began = time.perf_counter()
    fit(flow, x, config=replace(CONFIG, epochs=300, batch_size=256, learning_rate=1e-2))
    seconds = time.perf_counter() - began
    samples = flow.sample(2000, generator=torch.Generator().manual_seed(0)).detach().numpy()
    save_figure(plot_samples_2d(x, samples), RESULTS / "realnvp_moons.png")
    test = target.sample(100_000, 2)
    nll = mean_nll(flow, torch.as_tensor(test).float())
    return {
        "realnvp, 4 couplings": "sklearn-moons",
        "test NLL": nll,
        "gap": nll + target.log_prob(test).mean(),
        "seconds": seconds,
    }


if __name__ == "__main__":
    RESULTS.mkdir(exist_ok=True)
    rows = [gap(name) for name in sys.argv[1:] or TOYS]
    print_table(rows)
    if not sys.argv[1:]:
        realnvp_rows = [small_realnvp()]
        print_table(realnvp_rows)
        keep("toys", [*rows, *realnvp_rows])

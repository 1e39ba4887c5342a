"""Neural posterior estimation on tasks of the SBI benchmark, judged by C2ST against its reference posteriors.

    python benchmarks/sbibm.py [task ...] [--sbi task ...]

A conditional spline flow of the parameters given the data is fitted, with default settings, to 10,000 simulations.
For each of the ten observations, 10,000 samples of it (those outside the prior's box are drawn again) meet the 10,000
reference draws in a classifier two-sample test: 0.5 cannot be told apart, 1 is disjoint. The tasks after --sbi train
the same flow inside the package sbi, by sbi's own loop. The reference draws are expected in ../shared/data/sbibm.

J. Lueckmann, J. Boelts, D. Greenberg, P. Gonçalves, J. Macke (2021), Benchmarking Simulation-Based Inference.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bijecta.diagnostics import c2st
from bijecta.distributions import Distribution
from bijecta.flows import nsf
from bijecta.training import fit
from machine import keep, print_table

DATA = Path(__file__).parents[2] / "shared" / "data" / "sbibm"
SIMULATIONS = 10_000
DRAWS = 10_000


def two_moons(theta: Tensor) -> Tensor:
    """Put a crescent of random angle and nearly fixed radius where the parameters say."""
    angle = math.pi * (torch.rand(len(theta)) - 0.5)
    radius = 0.1 + 0.01 * torch.randn(len(theta))
    crescent = torch.stack([radius * angle.cos() + 0.25, radius * angle.sin()], 1)
    return crescent + torch.stack([-theta.sum(1).abs(), theta[:, 1] - theta[:, 0]], 1) / math.sqrt(2)


def slcp(theta: Tensor) -> Tensor:
    """Draw four points of a Gaussian whose mean, spreads and correlation are the parameters."""
    mean, (first, second) = theta[:, :2], theta[:, 2:4].square().T
    correlation = theta[:, 4].tanh()
    noise = torch.randn(len(theta), 4, 2)
    x = first[:, None] * noise[..., 0]
    y = correlation[:, None] * noise[..., 0] + (1 - correlation.square()).sqrt()[:, None] * noise[..., 1]
    return (mean[:, None] + torch.stack([x, second[:, None] * y], -1)).flatten(1)


def gaussian_linear_uniform(theta: Tensor) -> Tensor:
    """Add Gaussian noise of variance 0.1."""
    return theta + math.sqrt(0.1) * torch.randn_like(theta)


# The simulator, the number of parameters, and half the width of the prior's box around zero.
TASKS: dict[str, tuple[Callable[[Tensor], Tensor], int, float]] = {
    "two_moons": (two_moons, 2, 1.0),
    "slcp": (slcp, 5, 3.0),
    "gaussian_linear_uniform": (gaussian_linear_uniform, 10, 1.0),
}


@torch.no_grad()
def posterior_draws(flow: Distribution, observation: Tensor, half_width: float) -> np.ndarray:
    """Draw from the flow until there are enough samples inside the prior's box."""
    kept = torch.empty(0, flow.event_shape[0])
    while len(kept) < DRAWS:
        theta = flow.sample(DRAWS, observation)
        kept = torch.cat([kept, theta[(theta.abs() < half_width).all(1)]])
    return kept[:DRAWS].numpy()


def train_by_fit(theta: Tensor, x: Tensor, half_width: float) -> Distribution:  # noqa: ARG001
    """Fit the default conditional nsf by the package's own loop."""
    flow = nsf(theta.shape[1], context=x.shape[1])
    fit(flow, theta, context=x)
    return flow


def train_by_sbi(theta: Tensor, x: Tensor, half_width: float) -> Distribution:
    """Train the same flow inside sbi."""
    from sbi.inference import NPE
    from sbi.utils import BoxUniform

    from bijecta.adapters import sbi_estimator

    box = half_width * torch.ones(theta.shape[1])
    trainer = NPE(BoxUniform(-box, box), density_estimator=sbi_estimator("nsf"), show_progress_bars=False)
    return trainer.append_simulations(theta, x).train().net


def measure(task: str, way: str, train: Callable[[Tensor, Tensor, float], Distribution]) -> dict[str, Any]:
    """Simulate, train and compare with the reference posteriors of all ten observations."""
    simulate, features, half_width = TASKS[task]
    reference = np.load(DATA / f"{task}.npz")
    torch.manual_seed(0)
    theta = half_width * (2 * torch.rand(SIMULATIONS, features) - 1)
    x = simulate(theta)
    began = time.perf_counter()
    flow = train(theta, x, half_width)
    minutes = (time.perf_counter() - began) / 60
    observations = torch.as_tensor(reference["observation"]).float()
    scores = [
        c2st(posterior_draws(flow, observation, half_width), draws)
        for observation, draws in zip(observations, reference["reference"], strict=True)
    ]
    return {
        "task": task,
        "trained by": way,
        "simulations": SIMULATIONS,
        "C2ST": float(np.mean(scores)),
        "lowest": min(scores),
        "highest": max(scores),
        "minutes": minutes,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="C2ST of neural posterior estimation on tasks of the SBI benchmark.")
    parser.add_argument("tasks", nargs="*", default=["two_moons"], choices=list(TASKS))
    parser.add_argument("--sbi", nargs="*", default=[], choices=list(TASKS), help="tasks to train inside sbi")
    options = parser.parse_args()
    if not DATA.exists():
        sys.exit(f"Expected the reference posteriors of the SBI benchmark in {DATA}. They are not part of the package.")
    jobs = [(task, "bijecta.fit", train_by_fit) for task in options.tasks]
    jobs += [(task, "sbi", train_by_sbi) for task in options.sbi]
    rows: list[dict[str, Any]] = []
    for job in jobs:
        rows.append(measure(*job))
        keep("sbibm", rows)  # at once, as the tasks take long
    print_table(rows)

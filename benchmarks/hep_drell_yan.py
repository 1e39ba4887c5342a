"""Muon pairs of proton and antiproton: density, weights and integral at energies that a flow never saw."""

import json
import time

import numpy as np
import torch

from bijecta.hep import DrellYan, Events, event_flow, measure_coordinates
from bijecta.training import FitConfig, fit
from machine import keep, print_table

HELD_OUT = np.array([800.0, 1300.0, 1960.0, 3500.0, 7000.0, 12000.0])
GAP = 0.03  # no training energy is closer to a held-out one than this share of it
SECONDS = 150.0
TRUTH = DrellYan()
Z_BOSON = {"kind": "breit_wigner", "mass": 91.1876, "width": 2.4952, "low": 40.0, "high": 200.0}


def training_events(n: int, seed: int) -> Events:
    """Draw events evenly in ln E from 600 to 14000 GeV, none near held-out energies."""
    energy = np.exp(np.random.default_rng(seed).uniform(np.log(600.0), np.log(14000.0), 2 * n))
    energy = energy[(np.abs(energy[:, None] / HELD_OUT - 1.0) > GAP).all(axis=1)][:n]
    return TRUTH.sample(n, energy=energy, seed=seed)


@torch.no_grad()
def judge(flow, coordinates, energy: float, n: int = 20_000) -> dict[str, float]:
    """Compare a flow at one energy with the exact density, by fresh events of either."""
    context = coordinates.context_of({"energy": energy}, n).float()
    truth = TRUTH.draw(np.full(n, energy), np.random.default_rng(int(energy)))
    log_q = flow.log_prob(torch.tensor(truth, dtype=torch.float32), context).double().numpy()
    log_p = TRUTH.log_prob(truth, energy)
    drawn = flow.sample((), context, generator=torch.Generator().manual_seed(int(energy)))
    log_ratio = TRUTH.log_prob(drawn.double().numpy(), energy) - flow.log_prob(drawn, context).double().numpy()
    weight = np.exp(log_ratio)
    return {
        "energy": energy,
        "kl": float((log_p - log_q).mean()),
        "effective_fraction": float(weight.sum() ** 2 / n / (weight**2).sum()),
        "largest_weight": float(weight.max()),
        "mean_weight": float(weight.mean()),
        # ∫ q by draws from the truth: independent of how the flow draws.
        "integral": float(np.exp(log_q - log_p).mean()),
    }


def train(events: Events):
    coordinates = measure_coordinates(events, masses={"mass": Z_BOSON})
    torch.manual_seed(0)
    flow = event_flow(json.dumps(coordinates.to_json()), layers=6, hidden=[64, 64], bins=12)
    x, context = coordinates.rows(events)
    started = time.perf_counter()
    fit(flow, x, context=context, config=FitConfig(max_seconds=SECONDS, epochs=200, batch_size=1024, patience=0))
    return flow, coordinates, time.perf_counter() - started


def main() -> None:
    events = training_events(200_000, seed=1)
    flow, coordinates, seconds = train(events)
    found = [judge(flow, coordinates, float(energy)) for energy in HELD_OUT]
    print_table(found)
    summary = {
        "model": "event_flow",
        "events": len(events),
        "train_seconds": seconds,
        "mean_kl": float(np.mean([row["kl"] for row in found])),
        "least_effective_fraction": min(row["effective_fraction"] for row in found),
        "largest_weight": max(row["largest_weight"] for row in found),
        "worst_integral": max(abs(row["integral"] - 1.0) for row in found),
    }
    print_table([summary])
    keep("hep_drell_yan", [{**summary, "unseen_energies": found}])


if __name__ == "__main__":
    main()

"""Muon pairs of e+e- across the Z: does a flow know the asymmetry at energies that it never saw?"""

import json
import time

import numpy as np
import torch

from bijecta.hep import Events, MuonPairs, event_flow, measure_coordinates
from bijecta.training import FitConfig, fit
from machine import keep, print_table

HELD_OUT = np.array([50.0, 70.0, 80.0, 86.0, 89.0, 92.0, 95.0, 102.0, 125.0, 175.0])
GAP = 0.01  # no training energy is closer to a held-out one than this share of it
SECONDS = 140.0
TRUTH = MuonPairs()


def training_events(n: int, seed: int) -> Events:
    """Draw events evenly in ln E from 40 to 200 GeV, half of them near the Z, none near held-out ones."""
    generator = np.random.default_rng(seed)
    wide = np.exp(generator.uniform(np.log(40.0), np.log(200.0), 2 * n))
    near = generator.uniform(82.0, 106.0, 2 * n)
    energy = np.where(generator.random(2 * n) < 0.5, wide, near)
    energy = energy[(np.abs(energy[:, None] / HELD_OUT - 1.0) > GAP).all(axis=1)][:n]
    return TRUTH.sample(len(energy), energy=energy, seed=seed)


def judge(flow, coordinates, energy: float) -> dict[str, float]:
    """Compare a flow at one energy with the formula: asymmetry by quadrature of its density, and KL in nats."""
    points = 2001
    cosine = -1.0 + (2.0 * np.arange(points) + 1.0) / points
    x = np.stack([cosine, np.zeros(points)], axis=1)
    context = coordinates.context_of({"energy": energy}, points).float()
    with torch.no_grad():
        log_q = flow.log_prob(torch.tensor(x, dtype=torch.float32), context).double().numpy()
    log_p = TRUTH.log_prob(x, energy)
    cell = 2.0 / points * 2.0 * np.pi  # the density does not depend on φ
    q = np.exp(log_q) * cell
    asymmetry = float((q * np.sign(cosine)).sum())
    p = np.exp(log_p) * cell
    return {
        "energy": energy,
        "A_FB": asymmetry,
        "formula": float(TRUTH.forward_backward_asymmetry(energy)),
        "kl": float((p * (log_p - log_q)).sum()),
        "integral": float(q.sum()),
    }


def train(events: Events, *, use_condition: bool) -> tuple:
    coordinates = measure_coordinates(events, resonance=(91.1876, 2.4952))
    torch.manual_seed(0)
    flow = event_flow(json.dumps(coordinates.to_json()), layers=1, hidden=[32, 32], bins=4, use_condition=use_condition)
    x, context = coordinates.rows(events)
    started = time.perf_counter()
    fit(flow, x, context=context, config=FitConfig(max_seconds=SECONDS, epochs=40, batch_size=1024, patience=0))
    return flow, coordinates, time.perf_counter() - started


def main() -> None:
    events, rows = training_events(100_000, seed=1), []
    for name, use_condition in (("event_flow", True), ("ignores the energy", False)):
        flow, coordinates, seconds = train(events, use_condition=use_condition)
        found = [judge(flow, coordinates, float(energy)) for energy in HELD_OUT]
        print_table(found)
        rows.append(
            {
                "model": name,
                "events": len(events),
                "train_seconds": seconds,
                "largest_gap_of_A_FB": max(abs(row["A_FB"] - row["formula"]) for row in found),
                "mean_kl": float(np.mean([row["kl"] for row in found])),
                "unseen_energies": found,
            }
        )
    print_table([{key: value for key, value in row.items() if key != "unseen_energies"} for row in rows])
    keep("hep_muon_pairs", rows)


if __name__ == "__main__":
    main()

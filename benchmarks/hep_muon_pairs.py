"""Muon pairs of e+e- across the Z: does a flow know the asymmetry at energies that it never saw?

    python benchmarks/hep_muon_pairs.py

Three seeds of events, weights and batches. All settings were chosen at other energies than those that are judged here.
Energies are drawn evenly in arsinh((E - M) / Γ), so that the asymmetry is about equally well known everywhere.
"""

import json
import time

import numpy as np
import torch

from bijecta.diagnostics.drawing import BLUE, GREY, ORANGE, empty_figure, styled
from bijecta.hep import Events, MuonPairs, event_flow, measure_coordinates
from bijecta.training import FitConfig, fit
from hep_pictures import keep_picture
from machine import keep, print_table

HELD_OUT = np.array([46.0, 63.0, 75.0, 83.0, 87.5, 90.3, 93.5, 98.0, 112.0, 150.0])
GAP = 0.01  # no training energy is closer to a held-out one than this share of it
SEEDS = (11, 12, 13)
Z_MASS, Z_WIDTH = 91.1876, 2.4952
TRUTH = MuonPairs()


def training_events(n: int, seed: int) -> Events:
    """Draw events from 40 to 200 GeV, none near held-out energies."""
    ends = np.arcsinh((np.array([40.0, 200.0]) - Z_MASS) / Z_WIDTH)
    energy = Z_MASS + Z_WIDTH * np.sinh(np.random.default_rng(seed).uniform(*ends, 2 * n))
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


def train(events: Events, seed: int, *, use_condition: bool) -> tuple:
    coordinates = measure_coordinates(events, resonance=(Z_MASS, Z_WIDTH))
    torch.manual_seed(seed)
    flow = event_flow(
        json.dumps(coordinates.to_json()),
        layers=1,
        hidden=[32, 32],
        bins=4,
        activation="tanh",
        use_condition=use_condition,
    )
    x, context = coordinates.rows(events)
    started, processor = time.perf_counter(), time.process_time()
    config = FitConfig(epochs=40, batch_size=1024, learning_rate=1e-2, patience=0, seed=seed)
    fit(flow, x, context=context, config=config)
    return flow, coordinates, time.perf_counter() - started, time.process_time() - processor


def study(name: str, seed: int, *, use_condition: bool) -> tuple[dict[str, object], list[dict[str, float]]]:
    """Train one flow and judge it; also return its asymmetries on a grid of energies, for the picture."""
    events = training_events(100_000, seed)
    flow, coordinates, seconds, cpu_seconds = train(events, seed, use_condition=use_condition)
    found = [judge(flow, coordinates, float(energy)) for energy in HELD_OUT]
    row = {
        "model": name,
        "seed": seed,
        "events": len(events),
        "train_seconds": seconds,
        "CPU seconds": cpu_seconds,
        "largest_gap_of_A_FB": max(abs(each["A_FB"] - each["formula"]) for each in found),
        "mean_kl": float(np.mean([each["kl"] for each in found])),
        "unseen_energies": found,
    }
    return row, [judge(flow, coordinates, float(energy)) for energy in np.geomspace(40.0, 200.0, 100)]


@styled
def picture(rows: list[dict], curves: list[list[dict[str, float]]]):
    figure = empty_figure((5.2, 4.2))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.0, 1.0))
    energy = [each["energy"] for each in curves[0]]
    upper.plot(energy, TRUTH.forward_backward_asymmetry(np.array(energy)), color=GREY, linewidth=3.0, alpha=0.5)
    for row, curve in zip(rows, curves, strict=True):
        blind = row["model"] != "event_flow"
        style = {"color": ORANGE, "linestyle": "--"} if blind else {"color": BLUE, "alpha": 0.6}
        upper.plot(energy, [each["A_FB"] for each in curve], linewidth=1.0, **style)
        if not blind:
            unseen = row["unseen_energies"]
            at, gap = [each["energy"] for each in unseen], [each["A_FB"] - each["formula"] for each in unseen]
            hollow = {"fmt": "o", "markersize": 4, "color": BLUE, "markerfacecolor": "white"}
            upper.errorbar(at, [each["A_FB"] for each in unseen], **hollow)
            lower.plot(energy, [each["A_FB"] - each["formula"] for each in curve], linewidth=0.8, **style)
            lower.errorbar(at, gap, **hollow)
    lower.axhspan(-0.03, 0.03, color=GREY, alpha=0.15, linewidth=0)
    words = "grey: formula\nblue: flow; hollow: energies never trained on\ndashed: blind to the energy"
    upper.text(0.98, 0.2, words, ha="right", fontsize=7, transform=upper.transAxes)
    upper.set(ylabel="A_FB")
    lower.set(ylabel="flow - formula", xlabel="√s (GeV)", ylim=(-0.06, 0.06))
    return figure


def main() -> None:
    torch.set_num_threads(1)
    studies = [study("event_flow", seed, use_condition=True) for seed in SEEDS]
    studies.append(study("ignores the energy", SEEDS[0], use_condition=False))
    rows, curves = [row for row, _ in studies], [curve for _, curve in studies]
    print_table([{key: value for key, value in row.items() if key != "unseen_energies"} for row in rows])
    keep("hep_muon_pairs", rows)
    keep_picture(picture(rows, curves), "hep_muon_pairs")


if __name__ == "__main__":
    main()

"""Top pairs: the same data in coordinates of the decay chain and as raw momenta. Do the resonances survive?

The events are those of a file with momenta of (b, f, f̄, b̄, f, f̄), by default ../shared/data/pythia/ttbar_13tev.npz.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from bijecta.flows import nsf
from bijecta.hep import Events, EventSchema, Particle, event_flow, measure_coordinates, sample_events
from bijecta.hep.kinematics import mass
from bijecta.training import FitConfig, fit
from machine import keep, print_table

DATA = Path(__file__).parents[2] / "shared/data/pythia/ttbar_13tev.npz"
SECONDS = 100.0
MASSES = (4.8, 0.0, 0.0, 4.8, 0.0, 0.0)
NAMES = ("b", "f1", "f2", "bbar", "f3", "f4")
TREE = (("b", ("f1", "f2")), ("bbar", ("f3", "f4")))
RESONANCES = {
    "mass(b+f1+f2)": {"kind": "breit_wigner", "mass": 172.5, "width": 1.4},
    "mass(f1+f2)": {"kind": "breit_wigner", "mass": 80.4, "width": 2.1},
    "mass(bbar+f3+f4)": {"kind": "breit_wigner", "mass": 172.5, "width": 1.4},
    "mass(f3+f4)": {"kind": "breit_wigner", "mass": 80.4, "width": 2.1},
}
SYSTEMS = {"m_W+": [1, 2], "m_W-": [4, 5], "m_t": [0, 1, 2], "m_tbar": [3, 4, 5], "m_tt": [0, 1, 2, 3, 4, 5]}


def on_shell(three: np.ndarray) -> Events:
    """Give momenta (n, 6, 3) the energies of particles with the masses of the schema."""
    energy = np.sqrt((three**2).sum(-1) + np.square(MASSES))
    schema = EventSchema(tuple(Particle(name, 0, m) for name, m in zip(NAMES, MASSES, strict=True)))
    return Events(schema, np.concatenate([energy[..., None], three], -1))


def separation(generated: np.ndarray, reference: np.ndarray) -> float:
    """Compare two samples of a number in 30 bins, equally full of the reference: ½ Σ (h - g)² / (h + g)."""
    edges = np.quantile(reference, np.linspace(0.0, 1.0, 31)[1:-1])
    h, g = (np.bincount(np.searchsorted(edges, x), minlength=30) / len(x) for x in (generated, reference))
    return float(0.5 * ((h - g) ** 2 / (h + g)).sum())


def separations(generated: Events, reference: Events) -> dict[str, float]:
    masses = {name: [mass(e.momenta[:, rows].sum(1)) for e in (generated, reference)] for name, rows in SYSTEMS.items()}
    return {name: separation(*pair) for name, pair in masses.items()}


def decay_chain(train: Events, n: int) -> Events:
    coordinates = measure_coordinates(train, tree=TREE, masses=RESONANCES)
    torch.manual_seed(0)
    flow = event_flow(json.dumps(coordinates.to_json()), layers=10, hidden=[64, 64], bins=10)
    fit(flow, coordinates.rows(train)[0], config=FitConfig(max_seconds=SECONDS, epochs=200))
    return sample_events(flow, n, seed=1)


@torch.no_grad()
def _raw_sample(flow, n: int) -> Events:
    return on_shell(flow.sample(n, generator=torch.Generator().manual_seed(1)).double().numpy().reshape(n, 6, 3))


def raw_momenta(train: Events, n: int) -> Events:
    torch.manual_seed(0)
    flow = nsf(18, layers=8, hidden=[64, 64], bins=10)
    x = torch.tensor(train.momenta[..., 1:].reshape(len(train), 18), dtype=torch.float32)
    fit(flow, x, config=FitConfig(max_seconds=SECONDS, epochs=200))
    return _raw_sample(flow, n)


def main() -> None:
    with np.load(sys.argv[1] if len(sys.argv) > 1 else DATA) as file:
        events = on_shell(file["p4"].astype(np.float64)[..., 1:])
    train, test = events.take(slice(0, 7000)), events.take(slice(7000, None))
    rows = [{"model": "truth against truth", "seconds": 0.0, **separations(train, test)}]
    for name, make in (("decay chain", decay_chain), ("raw momenta", raw_momenta)):
        started = time.perf_counter()
        generated = make(train, 30_000)
        rows.append({"model": name, "seconds": time.perf_counter() - started, **separations(generated, test)})
    print_table(rows)
    keep("hep_top_pairs", rows)


if __name__ == "__main__":
    main()

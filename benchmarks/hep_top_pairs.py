"""Top pairs: the same data in coordinates of the decay chain and as raw momenta. Do the resonances survive?

    python benchmarks/hep_top_pairs.py [file.npz]

The events are those of a file with momenta of (b, f, f̄, b̄, f, f̄), by default ../shared/data/pythia/ttbar_13tev.npz:
7,000 train, 3,000 judge. "AUC" is that of the classifier of `bijecta.hep.evaluate`, which sees masses of all pairs and
triples; "blind AUC" is that without masses. "seam" is the largest jump of the log-density where angles wrap, "turned"
the largest change of it when events are turned about the beam.
"""

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch

from bijecta.flows import Flow, nsf
from bijecta.hep import (
    Events,
    EventSchema,
    Particle,
    coordinates_of,
    evaluate,
    event_flow,
    measure_coordinates,
    sample_events,
)
from bijecta.hep.kinematics import mass
from bijecta.training import FitConfig, fit
from hep_pictures import Spectrum, draw_spectra, equal, keep_picture
from machine import keep, print_table

DATA = Path(__file__).parents[2] / "shared/data/pythia/ttbar_13tev.npz"
EPOCHS = 100
DRAWN = 10_000
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
BLIND = [f"{kind}({name})" for name in NAMES for kind in ("pt", "y", "phi")]


def on_shell(three: np.ndarray) -> Events:
    """Give momenta (n, 6, 3) the energies of particles with the masses of the schema."""
    energy = np.sqrt((three**2).sum(-1) + np.square(MASSES))
    schema = EventSchema(tuple(Particle(name, 0, m) for name, m in zip(NAMES, MASSES, strict=True)))
    return Events(schema, np.concatenate([energy[..., None], three], -1))


def masses_of(events: Events) -> dict[str, np.ndarray]:
    return {name: mass(events.momenta[:, rows].sum(1)) for name, rows in SYSTEMS.items()}


def separation(generated: np.ndarray, reference: np.ndarray) -> float:
    """Compare two samples of a number in 30 bins, equally full of the reference: ½ Σ (h - g)² / (h + g)."""
    edges = np.quantile(reference, np.linspace(0.0, 1.0, 31)[1:-1])
    h, g = (np.bincount(np.searchsorted(edges, x), minlength=30) / len(x) for x in (generated, reference))
    return float(0.5 * ((h - g) ** 2 / (h + g)).sum())


def separations(generated: Events, reference: Events) -> dict[str, float]:
    own, truth = masses_of(generated), masses_of(reference)
    return {name: separation(own[name], truth[name]) for name in SYSTEMS}


def judged(generated: Events, reference: Events) -> dict[str, object]:
    """Ask the evaluation report, with masses and without."""
    report = evaluate(generated, reference, bootstrap=30)
    blind = evaluate(generated, reference, bootstrap=0, observables=BLIND)
    auc = report.whole["AUC"]
    return {
        "AUC": auc.value,
        "AUC of truth": auc.null,
        "blind AUC": blind.whole["AUC"].value,
        "grade": report.grade,
    }


@torch.no_grad()
def symmetries(flow: Flow, events: Events) -> dict[str, float]:
    """Measure how the log-density jumps where angles wrap, and changes when events are turned."""
    coordinates = coordinates_of(flow)
    x, _ = coordinates.rows(events)
    turned = x.clone()
    seams = [column for column, kind in enumerate(coordinates.kinds) if kind == "angle"]
    jumps = []
    for column in seams:
        left, right = x.clone(), x.clone()
        left[:, column], right[:, column] = math.pi - 1e-5, 1e-5 - math.pi
        jumps.append(float((flow.log_prob(left) - flow.log_prob(right)).abs().max()))
    turned[:, coordinates.columns.index("phi")] += 2.0
    return {"seam": max(jumps), "turned": float((flow.log_prob(turned) - flow.log_prob(x)).abs().max())}


def decay_chain(train: Events, test: Events) -> tuple[Events, dict[str, float]]:
    coordinates = measure_coordinates(train, tree=TREE, masses=RESONANCES)
    torch.manual_seed(0)
    flow = event_flow(json.dumps(coordinates.to_json()), layers=10, hidden=[64, 64], bins=10)
    fit(flow, coordinates.rows(train)[0], config=FitConfig(epochs=EPOCHS))
    return sample_events(flow, DRAWN, seed=1), symmetries(flow, test)


@torch.no_grad()
def _raw_sample(flow: Flow, n: int) -> Events:
    return on_shell(flow.sample(n, generator=torch.Generator().manual_seed(1)).double().numpy().reshape(n, 6, 3))


def raw_momenta(train: Events, test: Events) -> tuple[Events, dict[str, None]]:  # noqa: ARG001
    torch.manual_seed(0)
    flow = nsf(18, layers=8, hidden=[64, 64], bins=10)
    x = torch.tensor(train.momenta[..., 1:].reshape(len(train), 18), dtype=torch.float32)
    fit(flow, x, config=FitConfig(epochs=EPOCHS))
    return _raw_sample(flow, DRAWN), {"seam": None, "turned": None}


def picture(models: dict[str, Events], truth: Events) -> None:
    axes = {"m_W+": ("m(W+) (GeV)", 70.0, 91.0), "m_t": ("m(t) (GeV)", 162.0, 183.0), "m_tt": ("m(tt) (GeV)", 340, 900)}
    own = {name: masses_of(events) for name, events in models.items()}
    reference = masses_of(truth)
    keep_picture(
        draw_spectra(
            [
                Spectrum(
                    label,
                    np.linspace(low, high, 29),
                    equal(reference[name]),
                    {model: equal(found[name]) for model, found in own.items()},
                )
                for name, (label, low, high) in axes.items()
            ]
        ),
        "hep_top_pairs",
    )


def main() -> None:
    torch.set_num_threads(1)
    with np.load(sys.argv[1] if len(sys.argv) > 1 else DATA) as file:
        events = on_shell(file["p4"].astype(np.float64)[..., 1:])
    train, test = events.take(slice(0, 7000)), events.take(slice(7000, None))
    rows: list[dict[str, object]] = [{"model": "truth against truth", **separations(train, test)}]
    models = {}
    for name, make in (("decay chain", decay_chain), ("raw momenta", raw_momenta)):
        started, processor = time.perf_counter(), time.process_time()
        models[name], found = make(train, test)
        spent = {"seconds": time.perf_counter() - started, "CPU seconds": time.process_time() - processor}
        rows.append({"model": name, **spent, **separations(models[name], test), **judged(models[name], test), **found})
    print_table(rows[1:])
    keep("hep_top_pairs", rows)
    picture(models, test)


if __name__ == "__main__":
    main()

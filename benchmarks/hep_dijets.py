"""Dijets with weights: does a flow that learns from enhanced, weighted events draw the unweighted spectrum?

    python benchmarks/hep_dijets.py [file.npz]

The file holds two partons of pp at 13 TeV with pT above 50 GeV, enhanced like pT⁴, with weights that undo it;
by default ../shared/data/pythia/dijet_weighted.npz. The judge is Pythia without the enhancement (extra "pythia"). The
flow sees ln(pT - 50 GeV) and both rapidities; the azimuth is uniform.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bijecta.flows import nsf
from bijecta.hep import Events, EventSchema, Particle, evaluate, from_pythia
from bijecta.hep.kinematics import mass, pt, rapidity
from bijecta.hep.pythia import PROCESSES
from bijecta.training import FitConfig, fit
from hep_pictures import Spectrum, draw_spectra, equal, keep_picture
from machine import keep, print_table

DATA = Path(__file__).parents[2] / "shared/data/pythia/dijet_weighted.npz"
THRESHOLD, ENERGY = 50.0, 13_000.0  # GeV
SCHEMA = EventSchema((Particle("parton1", 0, 0.0), Particle("parton2", 0, 0.0)))
OBSERVABLES = ["pt(parton1)", "y(parton1)", "y(parton2)", "m(parton1 parton2)", "dR(parton1 parton2)", "y(all)"]


def rows(momenta: np.ndarray) -> np.ndarray:
    """Return ln(pT - threshold), and the rapidities of both partons, (n, 3)."""
    above = np.maximum(pt(momenta[:, 0]) - THRESHOLD, 1e-3)
    return np.stack([np.log(above), rapidity(momenta[:, 0]), rapidity(momenta[:, 1])], axis=1)


def events_of(x: np.ndarray, seed: int) -> Events:
    """Return massless partons back to back, at uniform azimuths."""
    size, phi = np.exp(x[:, 0]) + THRESHOLD, np.random.default_rng(seed).uniform(-np.pi, np.pi, len(x))
    momenta = np.empty((len(x), 2, 4))
    for k, sign in enumerate((1.0, -1.0)):
        y = x[:, 1 + k]
        momenta[:, k, 0], momenta[:, k, 3] = size * np.cosh(y), size * np.sinh(y)
        momenta[:, k, 1], momenta[:, k, 2] = sign * size * np.cos(phi), sign * size * np.sin(phi)
    return Events(SCHEMA, momenta)


def possible(x: np.ndarray) -> np.ndarray:
    """Say which partons take no more energy from either proton than it has: the flow does not know that."""
    size = np.exp(x[:, 0]) + THRESHOLD
    fractions = [size * (np.exp(sign * x[:, 1]) + np.exp(sign * x[:, 2])) / ENERGY for sign in (1.0, -1.0)]
    return np.maximum(*fractions) < 1.0


def unweighted_truth(n: int) -> Events:
    """Simulate the same process without its enhancement."""
    biased = PROCESSES["dijet"]
    plain = tuple(setting for setting in biased.settings if "bias2Selection" not in setting)
    PROCESSES["plain dijet"] = replace(biased, settings=plain, schema=replace(biased.schema, weight=None))
    return events_of(rows(from_pythia("plain dijet", ENERGY, n, seed=5).momenta), seed=6)


def learned(x: np.ndarray, weight: np.ndarray | None) -> tuple[Events, float]:
    """Fit and draw; also the share of draws that energy forbids, which are dropped."""
    torch.manual_seed(0)
    flow = nsf(3, layers=4, hidden=[48, 48], bins=12)
    given = torch.tensor(x, dtype=torch.float32)
    fit(flow, given, weight=weight, config=FitConfig(epochs=80, batch_size=512, patience=0))
    with torch.no_grad():
        drawn = flow.sample(20_000, generator=torch.Generator().manual_seed(1)).double().numpy()
    kept = possible(drawn)
    return events_of(drawn[kept], seed=2), 1.0 - float(kept.mean())


def row(name: str, generated: Events, truth: Events) -> dict[str, object]:
    report = evaluate(generated, truth, observables=OBSERVABLES, bootstrap=30)
    numbers = report.observables
    return {
        "model": name,
        "grade": report.grade,
        "alarms": list(report.alarms),
        "AUC": report.whole["AUC"].value,
        "AUC of truth": report.whole["AUC"].null,
        **{f"separation of {key}": numbers[key]["separation"].value for key in ("pt(parton1)", "m(parton1 parton2)")},
        "separation of truth": numbers["pt(parton1)"]["separation"].null,
        "mean pT (GeV)": float(pt(generated.momenta[:, 0]).mean()),
        "mean pT of truth (GeV)": float(pt(truth.momenta[:, 0]).mean()),
    }


def picture(models: dict[str, Events], truth: Events) -> None:
    def spectrum(label: str, edges: np.ndarray, measure) -> Spectrum:
        found = {name: equal(measure(events)) for name, events in models.items()}
        return Spectrum(label, edges, equal(measure(truth)), found, log=edges[0] >= THRESHOLD)

    spectra = [
        spectrum("pT (GeV)", np.geomspace(50.0, 250.0, 25), lambda events: pt(events.momenta[:, 0])),
        spectrum("m(jj) (GeV)", np.geomspace(100.0, 1500.0, 25), lambda events: mass(events.momenta.sum(1))),
        spectrum("y", np.linspace(-4.0, 4.0, 25), lambda events: rapidity(events.momenta[:, 0])),
    ]
    keep_picture(draw_spectra(spectra), "hep_dijets")


def main() -> None:
    torch.set_num_threads(1)
    with np.load(sys.argv[1] if len(sys.argv) > 1 else DATA) as file:
        x, weight = rows(file["p4"].astype(np.float64)), file["weight"].astype(np.float64)
    truth, models, found = unweighted_truth(20_000), {}, []
    for name, given in (("with weights", weight), ("ignoring the weights", None)):
        started = time.process_time()
        models[name], dropped = learned(x, given)
        spent = time.process_time() - started
        found.append({**row(name, models[name], truth), "CPU seconds": spent, "forbidden by energy": dropped})
    print_table(found)
    keep("hep_dijets", found)
    picture(models, truth)


if __name__ == "__main__":
    main()

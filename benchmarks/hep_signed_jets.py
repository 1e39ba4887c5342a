"""Z boson and a jet at next-to-leading order: a fifth of the events has negative weights. Does a flow get them right?

    python benchmarks/hep_signed_jets.py [file.npz]

The file holds pp → ℓℓ with up to two partons of three generators (MLM, CKKW-L, FxFx), by default
../shared/data/zjets_lhe/zjets_lhe.npz. The lepton pairs of events with one parton are taken: 2 of 3 train, with the
generator as condition, the others judge. Only FxFx has negative weights and is judged. "absolute" is what ignoring the
signs gives. Leptons count as massless.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bijecta.hep import (
    Condition,
    Events,
    EventSchema,
    Particle,
    evaluate,
    event_flow,
    measure_coordinates,
    sample_events,
)
from bijecta.hep.kinematics import mass, pt, rapidity
from bijecta.training import FitConfig, fit
from hep_pictures import Spectrum, Weighted, draw_spectra, keep_picture
from machine import keep, print_table

DATA = Path(__file__).parents[2] / "shared/data/zjets_lhe/zjets_lhe.npz"
SAMPLES = ("MLM", "CKKW-L", "FxFx")
SCHEMA = EventSchema(
    (Particle("l-", 0, 0.0), Particle("l+", 0, 0.0)),
    condition=(Condition("sample", "one_hot", SAMPLES),),
    weight="weight",
)
MASSES = {"mass": {"kind": "breit_wigner", "mass": 91.19, "width": 2.5}}


def read(path: str | Path) -> Events:
    """Read the events with one parton; all samples get the same mean weight."""
    with np.load(path) as file:
        one = file["njets"] == 1
        three = file["lep"][one, :, :3].astype(np.float64)  # px, py, pz, E
        sample, weight = file["sample"][one], np.sign(file["weight"][one].astype(np.float64))
    momenta = np.concatenate([np.sqrt((three**2).sum(-1, keepdims=True)), three], axis=-1)
    return Events(SCHEMA, momenta, condition={"sample": np.array(SAMPLES)[sample]}, weight=weight)


def learned(train: Events, n: int) -> tuple[Events, float]:
    """Fit and draw events of FxFx; also the CPU seconds that this took."""
    started = time.process_time()
    coordinates = measure_coordinates(train, masses=MASSES)
    torch.manual_seed(0)
    flow = event_flow(json.dumps(coordinates.to_json()), layers=6, hidden=[48, 48], bins=10)
    x, context = coordinates.rows(train)
    fit(flow, x, context=context, weight=train.weight, config=FitConfig(epochs=60, batch_size=256, patience=15))
    return sample_events(flow, n, {"sample": "FxFx"}, seed=1), time.process_time() - started


def row(name: str, generated: Events, reference: Events, cpu_seconds: float) -> dict[str, object]:
    report = evaluate(generated, reference, bootstrap=40)
    boson = report.observables["pt(all)"]
    return {
        "weights": name,
        "CPU seconds": cpu_seconds,
        "grade": report.grade,
        "alarms": list(report.alarms),
        "AUC": report.whole["AUC"].value,
        "AUC of truth": report.whole["AUC"].null,
        "KS of pT": boson["ks"].value,
        "KS of truth": boson["ks"].null,
        "p of pT": min(boson[kind].p_value for kind in ("ks", "chi2")),
        "off shell": max(each.generated for each in report.constraints if "shell" in each.name),
    }


def picture(models: dict[str, Events], truth: Events) -> None:
    def sample(events: Events, measure) -> Weighted:
        return measure(events.momenta), np.ones(len(events)) if events.weight is None else events.weight

    def spectrum(label: str, edges: np.ndarray, measure) -> Spectrum:
        found = {name: sample(events, measure) for name, events in models.items()}
        return Spectrum(label, edges, sample(truth, measure), found)

    spectra = [
        spectrum("pT(ℓℓ) (GeV)", np.geomspace(5.0, 120.0, 15), lambda p: pt(p.sum(1))),
        spectrum("m(ℓℓ) (GeV)", np.linspace(80.0, 102.0, 23), lambda p: mass(p.sum(1))),
        spectrum("|y(ℓℓ)|", np.linspace(0.0, 4.0, 13), lambda p: np.abs(rapidity(p.sum(1)))),
    ]
    keep_picture(draw_spectra(spectra), "hep_signed_jets")


def main() -> None:
    torch.set_num_threads(1)
    events = read(sys.argv[1] if len(sys.argv) > 1 else DATA)
    judging = np.arange(len(events)) % 3 == 0
    train, judge = events.take(~judging), events.take(judging)
    reference = judge.take(judge.condition["sample"] == "FxFx")
    choices = {"signed": train, "absolute": replace(train, weight=np.abs(train.weight))}
    models, found = {}, []
    for name, chosen in choices.items():
        models[name], seconds = learned(chosen, 10_000)
        found.append(row(name, models[name], reference, seconds))
    print_table(found)
    keep("hep_signed_jets", found)
    picture(models, reference)


if __name__ == "__main__":
    main()

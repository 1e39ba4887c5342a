"""The commands about collision events that exist: generate, sample, evaluate, export."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray

from bijecta.cli.console import show, show_json, tell
from bijecta.cli.options import did_you_mean, split_pairs
from bijecta.distributions import Distribution
from bijecta.errors import InputError
from bijecta.hep import (
    Condition,
    DrellYan,
    Events,
    MuonDecay,
    MuonPairs,
    ThreeJets,
    evaluate,
    from_pythia,
    read_events,
    sample_events,
    write_events,
)
from bijecta.hep.deployment import export_events
from bijecta.hep.event_flow import any_coordinates_of
from bijecta.persistence import load, read_header
from bijecta.persistence.tabular import model_path

PYTHIA = "pythia:"
GENERATORS: dict[str, Callable[[], Any]] = {
    "muon-pairs": MuonPairs,
    "drell-yan": DrellYan,
    "three-jets": ThreeJets,
    "muon-decay": MuonDecay,
}
AT_REST = "muon-decay"


def run_generate(name: str, n: int, energy: str | None, level: str | None, seed: int, out: Path) -> None:
    """Draw events from a generator and write them."""
    if not name.startswith(PYTHIA) and name not in GENERATORS:
        raise typer.BadParameter(
            f"there is no generator {name!r}.{did_you_mean(name, GENERATORS)} "
            f"Generators: {', '.join(GENERATORS)}, {PYTHIA}PROCESS.",
            param_hint="GENERATOR",
        )
    if (energy is None) != (name == AT_REST):
        what = "decays at rest: leave --energy out" if name == AT_REST else "needs --energy, in GeV"
        raise typer.BadParameter(f"{name} {what}.", param_hint="--energy")
    if level is not None and not name.startswith(PYTHIA):
        raise typer.BadParameter("only Pythia has levels.", param_hint="--level")
    write(_generated(name, n, energy, level, seed), out)


def _generated(name: str, n: int, energy: str | None, level: str | None, seed: int) -> Events:
    if energy is None:
        return MuonDecay().sample(n, seed=seed)
    if not name.startswith(PYTHIA):
        return GENERATORS[name]().sample(n, energy=read_energies(energy, n, seed), seed=seed)
    if ":" in energy:
        raise typer.BadParameter("Pythia takes one energy or several, no range.", param_hint="--energy")
    values = list(dict.fromkeys(read_energies(energy, n, seed).tolist()))
    events = from_pythia(name.removeprefix(PYTHIA), values, -(-n // len(values)), seed, level=level)
    # Energies stand in blocks: with a rest, the last blocks give up one event each.
    order = np.argsort(np.arange(len(events)) % -(-n // len(values)), kind="stable")[:n]
    return events.take(np.sort(order))


def read_energies(text: str, n: int, seed: int) -> NDArray[np.float64]:
    """Read 91.2, 80,91.2 or 40:200 as n energies in GeV."""
    low, colon, high = text.partition(":")
    try:
        values = [float(low), float(high)] if colon else [float(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"expected 91.2, 80,91.2 or 40:200, got {text!r}.", param_hint="--energy") from error
    if min(values) <= 0.0 or not np.isfinite(values).all() or (colon and values[0] >= values[1]):
        raise typer.BadParameter(f"energies are positive, and ranges rise; got {text!r}.", param_hint="--energy")
    if colon:
        return np.exp(np.random.default_rng([seed, 1]).uniform(np.log(values[0]), np.log(values[1]), n))
    return np.sort(np.resize(values, n))


def run_sample(path: Path, n: int, conditions: Sequence[str], seed: int, out: Path) -> None:
    """Draw events from a model and write them."""
    flow = load_events_model(path)
    given = read_conditions(any_coordinates_of(flow).given, conditions)
    warn_outside(given, read_header(model_path(path))["metadata"].get("condition_ranges", {}))
    write(sample_events(flow, n, given, seed=seed), out)


def load_events_model(path: Path) -> Distribution:
    """Load a flow of events, of any recipe, from a file or the folder of a run."""
    flow = load(model_path(path))
    try:
        any_coordinates_of(flow)
    except InputError as error:
        raise InputError(f"{path} is no model of events. Make one with: bijecta hep fit EVENTS --out FOLDER") from error
    return flow


def read_conditions(needed: Sequence[Condition], words: Sequence[str]) -> dict[str, Any]:
    """Read NAME=VALUE for each condition that is needed; labels stay what they are."""
    given, known = split_pairs(words, "--condition"), [each.name for each in needed]
    if set(given) != set(known):
        wanted = " ".join(f"--condition {name}=VALUE" for name in known) or "none"
        raise typer.BadParameter(
            f"expected {wanted}; got {', '.join(given) or 'none'}.", param_hint="--condition / --energy"
        )
    return {each.name: _read_value(each.name, each.values, given[each.name]) for each in needed}


def _read_value(name: str, labels: Sequence[str | float], text: str) -> str | float:
    if labels and all(isinstance(label, str) for label in labels):
        value: str | float = text
    else:
        try:
            value = float(text)
        except ValueError as error:
            raise typer.BadParameter(f"{name} is a number, got {text!r}.", param_hint="--condition") from error
    if labels and value not in labels:
        listed = ", ".join(map(str, labels))
        raise typer.BadParameter(f"{name} is one of {listed}; got {text!r}.", param_hint="--condition")
    return value


def warn_outside(given: dict[str, Any], ranges: dict[str, Any]) -> None:
    """Say which conditions are outside those of the training: the model has learned nothing there."""
    for name, value in given.items():
        if name in ranges and isinstance(value, float) and not ranges[name][0] <= value <= ranges[name][1]:
            low, high = ranges[name]
            tell(f"{name} {value:g} is outside the training, {low:g} to {high:g}", "yellow")


def run_evaluate(
    files: tuple[Path, Path], out: Path, seed: int, bootstrap: int, *, classifier: bool, json: bool
) -> None:
    """Compare two files of events, or a model with one, and write the report."""
    reference = read_events(files[1])
    found = evaluate(
        _events_of(files[0], reference, seed), reference, seed=seed, bootstrap=bootstrap, classifier=classifier
    )
    found.write(out)
    if json:
        show_json(found.to_json())
        return
    show(found.verdict)
    tell(f"{out}/report.html, {out}/report.json")


def _events_of(path: Path, reference: Events, seed: int) -> Events:
    """Read events, or sample a model at the conditions of the reference."""
    if not path.is_dir() and path.suffix != ".safetensors":
        return read_events(path)
    flow = load_events_model(path)
    names = [each.name for each in any_coordinates_of(flow).given]
    missing = [name for name in names if name not in reference.condition]
    if missing:
        raise InputError(f"The model needs {', '.join(missing)}, which the reference does not have.")
    return sample_events(flow, len(reference), {name: reference.condition[name] for name in names}, seed=seed)


def run_export(path: Path, out: Path) -> None:
    """Write the two ONNX files of a model; those of other recipes than event_flow are refused."""
    recipe = (getattr(load_events_model(path), "recipe", None) or {})["name"].partition(":")[2]
    if recipe != "event_flow":
        raise InputError(
            f"{path} was built by {recipe}, and only models of event_flow can be exported: their events are a fixed "
            "decay chain. Events of any model come from: bijecta hep sample MODEL --out FILE"
        )
    written = export_events(path, out)
    for finding in dict.fromkeys(str(finding) for each in written for finding in each.findings):
        tell(finding, "yellow")
    for each in written:
        show(f"{each.path}: {', '.join(each.inputs)} -> {each.output}, largest difference {each.error:.1e}")


def write(events: Events, out: Path) -> None:
    """Write events and say so."""
    write_events(events, out)
    tell(f"{out}: {len(events):,} events of {', '.join(events.schema.slots)}")

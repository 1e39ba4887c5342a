"""Simulated events from Pythia 8: a thin wrapper around a few processes that are good to learn from."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bijecta.errors import InputError, MissingDependencyError
from bijecta.hep.events import Events
from bijecta.hep.generators import MUON_MASS
from bijecta.hep.schema import Condition, EventSchema, Particle, VariableParticles

LEVELS = {
    "hard": ("PartonLevel:all = off", "HadronLevel:all = off"),
    "parton": ("PartonLevel:MPI = off", "HadronLevel:all = off"),
    "hadron": (),
}
_MOST_FAILURES = 1000  # events in a row that Pythia gives up; it makes nearly all of them where the settings are sane


@dataclass(frozen=True)
class Process:
    """A process: beams by particle number, Pythia's settings, what its events hold and which levels make sense.

    `pick` takes Pythia's event record and returns the particles of the schema in order, or None to drop the event.
    """

    beams: tuple[int, int]
    settings: tuple[str, ...]
    schema: EventSchema
    pick: Callable[[Any], list[Any] | None]
    levels: tuple[str, ...] = tuple(LEVELS)  # the first is the default


def from_pythia(
    process: str,
    energy: float | Sequence[float],
    n: int,
    seed: int,
    *,
    level: str | None = None,
    identities: bool = False,
) -> Events:
    """Simulate events with Pythia 8.

    Processes: "dy_mumu" (p p → γ*/Z → μμ between 60 and 120 GeV), "ee_mumu" (e+e- → γ*/Z → μμ without radiation from
    the beams), "ttbar" (p p → t t̄ → six fermions), "dijet" (p p → two partons, pT above 50 GeV, enhanced by pT⁴ with
    weights that undo it), "ee_hadrons" (e+e- → q q̄, at level "hadron" all final particles).

    Args:
        process: one of these names.
        energy: centre-of-mass energies in GeV, one or several; all events have the condition "energy".
        n: number of events for each energy.
        seed: the same seed gives the same events, with the same version of Pythia.
        level: "hard" (lowest order), "parton" (with showers) or "hadron" (whole events, muons picked from them);
            None for "hadron" where the process is about hadrons and "hard" elsewhere.
        identities: whether particle numbers that differ from event to event become conditions, ``pdg_<slot>``.

    Returns:
        Events, with the cross section in pb for each energy in the metadata.

    Raises:
        InputError: an unknown process, a level that it does not have, or an energy at which Pythia cannot start or
            stops making events, for instance below a threshold.
        MissingDependencyError: Pythia is not installed.

    Reference:
        Bierlich et al. (2022), "A comprehensive guide to the physics and usage of PYTHIA 8.3".

    Example:
        >>> from_pythia("ee_pions", 91.2, n=10, seed=1)
        Traceback (most recent call last):
        bijecta.errors.InputError: Unknown process 'ee_pions'. Expected one of dijet, dy_mumu, ee_hadrons, ...
    """
    chosen = _chosen(process, level)
    level = level or chosen.levels[0]
    energies = np.atleast_1d(np.asarray(energy, dtype=np.float64))
    pythia = _module()
    runs = [_run(pythia, chosen, level, value, n, seed + number) for number, value in enumerate(energies)]
    numbers = np.concatenate([run.numbers for run in runs])
    schema = _with_identities(chosen.schema) if identities else chosen.schema
    condition: dict[str, Any] = {"energy": np.repeat(energies, n)}
    condition |= {
        f"pdg_{slot}": numbers[:, k] for k, slot in enumerate(schema.slots) if identities and not schema.pdg[k]
    }
    metadata = {
        "generator": pythia.__name__,
        "process": process,
        "level": level,
        "seed": seed,
        "beams": list(chosen.beams),
        "cross_section_pb": [run.cross_section for run in runs],
    }
    return Events(
        schema,
        np.concatenate([run.momenta for run in runs]),
        mask=numbers != 0 if schema.variable else None,
        condition=condition,
        weight=np.concatenate([run.weight for run in runs]) if schema.weight else None,
        metadata=metadata,
    )


@dataclass(frozen=True)
class _Run:
    """What one energy gives: momenta (n, k, 4), particle numbers (n, k) with 0 for absent ones, weights, pb."""

    momenta: NDArray[np.float64]
    numbers: NDArray[np.int64]
    weight: NDArray[np.float64]
    cross_section: float


def _chosen(process: str, level: str | None) -> Process:
    if process not in PROCESSES:
        raise InputError(f"Unknown process {process!r}. Expected one of {', '.join(sorted(PROCESSES))}.")
    chosen = PROCESSES[process]
    if level is not None and level not in chosen.levels:
        raise InputError(f"{process} has no level {level!r}. Expected one of {', '.join(chosen.levels)}.")
    return chosen


def _module() -> Any:
    for name in ("pythia8mc", "pythia8"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise MissingDependencyError(
        "Simulating events needs the package pythia8mc. Install it with: "
        'pip install --only-binary :all: "bijecta[pythia]"'
    )


def _with_identities(schema: EventSchema) -> EventSchema:
    added = tuple(
        Condition(f"pdg_{slot}", "one_hot", (0, *_PARTONS))
        for slot, number in zip(schema.slots, schema.pdg, strict=True)
        if number == 0
    )
    return replace(schema, condition=schema.condition + added)


def _run(module: Any, process: Process, level: str, energy: float, n: int, seed: int) -> _Run:
    """Make n events at one energy in GeV."""
    pythia = _started(module, process, level, energy, seed)
    k = len(process.schema.slots)
    run = _Run(np.zeros((n, k, 4)), np.zeros((n, k), dtype=np.int64), np.ones(n), 0.0)
    done = failures = 0
    while done < n:
        particles = process.pick(pythia.process if level == "hard" else pythia.event) if pythia.next() else None
        if particles is None:
            failures += 1
            if failures > _MOST_FAILURES:
                raise InputError(f"Pythia made {done} of {n} events at {energy:g} GeV, then none. Change the energy.")
            continue
        failures = 0
        for slot, particle in enumerate(particles):
            run.momenta[done, slot] = particle.e(), particle.px(), particle.py(), particle.pz()
            run.numbers[done, slot] = particle.id()
        run.weight[done] = pythia.infoPython().weight()
        done += 1
    return replace(run, cross_section=pythia.infoPython().sigmaGen() * _PB_PER_MB)


def _started(module: Any, process: Process, level: str, energy: float, seed: int) -> Any:
    pythia = module.Pythia("", False)  # noqa: FBT003 - no banner
    settings = (
        "Print:quiet = on",
        "Random:setSeed = on",
        # Pythia takes 0 to mean the time of day.
        f"Random:seed = {1 + seed % 900_000_000}",
        f"Beams:idA = {process.beams[0]}",
        f"Beams:idB = {process.beams[1]}",
        f"Beams:eCM = {float(energy)!r}",
        *process.settings,
        *LEVELS[level],
    )
    refused = [setting for setting in settings if not pythia.readString(setting)]
    if refused or not pythia.init():
        raise InputError(f"Pythia cannot start at {energy:g} GeV{_listed(refused)}. Change the energy.")
    return pythia


def _listed(refused: list[str]) -> str:
    return f"; it refused {', '.join(refused)}" if refused else ""


# ---------------------------------------------------------------- what is taken from the event record


def _final(record: Any) -> list[Any]:
    return [record[row] for row in range(record.size()) if record[row].isFinal()]


def _muons(record: Any) -> list[Any] | None:
    """Return the hardest negative and the hardest positive muon."""
    hardest: dict[int, Any] = {}
    for particle in _final(record):
        number = particle.id()
        if abs(number) == 13 and (number not in hardest or particle.pT() > hardest[number].pT()):
            hardest[number] = particle
    return [hardest[13], hardest[-13]] if len(hardest) == 2 else None


def _outgoing(record: Any) -> list[Any] | None:
    """Return the two final particles of a two-to-two process."""
    final = _final(record)
    return final if len(final) == 2 else None


def _six_fermions(record: Any) -> list[Any] | None:
    """Return b and the decay of the W+, then the anti-b and the decay of the W-; each W gives fermion, antifermion."""
    found = {}
    for particle in _final(record):
        mother = record[particle.mother1()].id()
        if abs(mother) in (6, 24):
            found[(mother > 0, abs(mother) == 24, particle.id() < 0)] = particle
    top, antitop = ((True, False, False),), ((False, False, True),)
    order = (*top, (True, True, False), (True, True, True), *antitop, (False, True, False), (False, True, True))
    return [found[key] for key in order] if set(order) <= set(found) else None


def _everything(record: Any) -> list[Any] | None:
    """Return all final particles by falling transverse momentum."""
    final = sorted(_final(record), key=lambda particle: -particle.pT())
    return final if len(final) <= _MOST_HADRONS else None


# ---------------------------------------------------------------- the processes

_MOST_HADRONS = 200
_PB_PER_MB = 1e9
_FERMIONS = (*range(1, 7), *range(11, 17))
_PARTONS = (21, 22, *_FERMIONS, *(-number for number in _FERMIONS))
_ENERGY = (Condition("energy"),)
_MUONS = EventSchema((Particle("mu-", 13, MUON_MASS), Particle("mu+", -13, MUON_MASS)), condition=_ENERGY)
TTBAR_SLOTS = ("b", "W+_fermion", "W+_antifermion", "bbar", "W-_fermion", "W-_antifermion")
_VIA_Z = ("WeakSingleBoson:ffbar2gmZ = on", "23:onMode = off", f"13:m0 = {MUON_MASS}")

PROCESSES = {
    "dy_mumu": Process(
        (2212, 2212),
        (*_VIA_Z, "23:onIfAny = 13", "PhaseSpace:mHatMin = 60.", "PhaseSpace:mHatMax = 120."),
        _MUONS,
        _muons,
    ),
    "ee_mumu": Process(
        (11, -11), (*_VIA_Z, "23:onIfAny = 13", "PDF:lepton = off"), _MUONS, _muons, levels=("hard", "parton")
    ),
    "ttbar": Process(
        (2212, 2212),
        ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", "24:onMode = off", "24:onIfAny = 11 13 1 2 3 4"),
        EventSchema(
            # Now and then a top decays to s or d, so even the number of the b is not fixed.
            tuple(Particle(name, 0) for name in TTBAR_SLOTS),
            condition=_ENERGY,
        ),
        _six_fermions,
        levels=("hard",),
    ),
    "dijet": Process(
        (2212, 2212),
        (
            "HardQCD:all = on",
            "PhaseSpace:pTHatMin = 50.",
            "PhaseSpace:bias2Selection = on",
            "PhaseSpace:bias2SelectionPow = 4.",
            "PhaseSpace:bias2SelectionRef = 50.",
        ),
        EventSchema((Particle("parton1", 0), Particle("parton2", 0)), condition=_ENERGY, weight="weight"),
        _outgoing,
        levels=("hard",),
    ),
    "ee_hadrons": Process(
        (11, -11),
        (*_VIA_Z, "23:onIfAny = 1 2 3 4 5", "PDF:lepton = off"),
        EventSchema((), (VariableParticles("hadron", 0, None, most=_MOST_HADRONS),), condition=_ENERGY),
        _everything,
        levels=("hadron",),
    ),
}

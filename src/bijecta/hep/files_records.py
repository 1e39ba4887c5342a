"""Events from lists of particles, such as other programs write: which schema do they fit?"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bijecta.errors import FileFormatError
from bijecta.hep.events import Events
from bijecta.hep.schema import Condition, EventSchema, Particle, VariableParticles

_PARTONS = (*range(1, 7), 9, 21)
_NAMES = {
    5: "b", -5: "bbar", 6: "t", -6: "tbar", 11: "e-", -11: "e+", 12: "nu_e", -12: "nubar_e", 13: "mu-", -13: "mu+",
    14: "nu_mu", -14: "nubar_mu", 15: "tau-", -15: "tau+", 16: "nu_tau", -16: "nubar_tau", 21: "gluon", 22: "gamma",
    23: "Z", 24: "W+", -24: "W-", 25: "H",
}  # fmt: skip
_FAMILIES = ({11, 13, 15}, "l-"), ({-11, -13, -15}, "l+"), ({12, 14, 16}, "nu"), ({-12, -14, -16}, "nubar")


@dataclass(frozen=True)
class Records:
    """The final particles of n events, one after the other.

    Args:
        counts: particles per event, shape (n,).
        pdg: particle numbers, shape (N,) with N the sum of the counts.
        momenta: (E, px, py, pz) in GeV, shape (N, 4).
        weight: weight per event, shape (n,).
    """

    counts: NDArray[np.int64]
    pdg: NDArray[np.int64]
    momenta: NDArray[np.float64]
    weight: NDArray[np.float64]


def events_from_records(records: Records, metadata: Mapping[str, Any], path: str) -> Events:
    """Return events with a schema made from the particles.

    Where all events have the same number of particles, each gets a slot of its own, in the order of the file. Where
    only the number of partons differs, the others get slots, by particle number, and the partons become variable
    particles "parton" by falling transverse momentum. Otherwise all particles are variable. Particle numbers that
    differ from event to event become conditions, ``pdg_<slot>``; masses are left free.
    """
    if not len(records.counts):
        raise FileFormatError(f"{path} holds no events.")
    fixed = _fixed(records)
    event = np.repeat(np.arange(len(records.counts)), records.counts)
    alone = np.bincount(event[fixed], minlength=len(records.counts))
    most = int((records.counts - alone).max())
    slots = np.empty(len(event), dtype=np.int64)
    slots[fixed] = _ranks(event[fixed], _order_of_fixed(records, fixed))
    size = np.hypot(records.momenta[:, 1], records.momenta[:, 2])
    slots[~fixed] = _ranks(event[~fixed], -size[~fixed]) + alone[0]
    k = int(alone[0]) + most
    momenta, pdg = np.zeros((len(alone), k, 4)), np.zeros((len(alone), k), dtype=np.int64)
    mask = np.zeros(pdg.shape, dtype=bool)
    momenta[event, slots], pdg[event, slots], mask[event, slots] = records.momenta, records.pdg, True
    group = "parton" if alone[0] else "particle"
    schema, condition = _schema(pdg, int(alone[0]), group, most)
    return Events(schema, momenta, mask if most else None, condition, records.weight, metadata)


def _fixed(records: Records) -> NDArray[np.bool_]:
    """Return which particles have a slot of their own: all, all but the partons, or none."""
    everything = np.ones(len(records.pdg), dtype=bool)
    event = np.repeat(np.arange(len(records.counts)), records.counts)
    for fixed in (everything, ~np.isin(np.abs(records.pdg), _PARTONS)):
        if len(set(np.bincount(event[fixed], minlength=len(records.counts)))) == 1:
            return fixed
    return ~everything


def _order_of_fixed(records: Records, fixed: NDArray[np.bool_]) -> NDArray[Any]:
    """Return what to sort fixed particles by: the order of the file, or particles before antiparticles."""
    position = np.arange(len(records.pdg))
    return position[fixed] if fixed.all() else -np.sign(records.pdg[fixed]).astype(np.float64)


def _ranks(event: NDArray[np.int64], key: NDArray[Any]) -> NDArray[np.int64]:
    """Return the rank of every particle within its event, by rising key."""
    order = np.lexsort((key, event))
    ranks = np.empty(len(event), dtype=np.int64)
    first = np.searchsorted(event[order], event[order])
    ranks[order] = np.arange(len(event)) - first
    return ranks


def _schema(
    pdg: NDArray[np.int64], fixed: int, group: str, most: int
) -> tuple[EventSchema, dict[str, NDArray[np.int64]]]:
    seen = [sorted({int(number) for number in pdg[:, k]}) for k in range(pdg.shape[1])]
    names = _distinct([_name(numbers) for numbers in seen[:fixed]])
    particles = tuple(
        Particle(name, numbers[0] if len(numbers) == 1 else 0)
        for name, numbers in zip(names, seen[:fixed], strict=True)
    )
    variable = (VariableParticles(group, 0, None, most),) if most else ()
    slots = EventSchema(particles, variable).slots
    varying = [k for k, numbers in enumerate(seen) if k >= fixed or len(numbers) > 1]
    conditions = tuple(Condition(f"pdg_{slots[k]}", "one_hot", tuple(seen[k])) for k in varying)
    schema = EventSchema(particles, variable, conditions, weight="weight")
    return schema, {f"pdg_{slots[k]}": pdg[:, k] for k in varying}


def _name(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return _NAMES.get(numbers[0], f"pdg{numbers[0]}")
    return next((name for family, name in _FAMILIES if set(numbers) <= family), "particle")


def _distinct(names: list[str]) -> list[str]:
    """Number names that occur more than once."""
    total, seen, distinct = Counter(names), Counter[str](), []
    for name in names:
        seen[name] += 1
        distinct.append(name if total[name] == 1 else f"{name}_{seen[name]}")
    return distinct

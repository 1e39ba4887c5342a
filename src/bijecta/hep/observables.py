"""Numbers that one measures in an event: what samples of events are compared by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bijecta.errors import InputError, ShapeError
from bijecta.hep import kinematics
from bijecta.hep.events import Events
from bijecta.hep.schema import Condition, EventSchema

FloatArray = NDArray[np.float64]
Observable = Callable[[Events], FloatArray]
Sample = Events | Mapping[str, ArrayLike]

_TRIPLES_UP_TO = 8  # slots: 56 triples; more would drown the table
_LARGEST_RAPIDITY = 20.0  # stands for the infinite one of a massless particle along the beam


@dataclass(frozen=True)
class Columns:
    """Observables of one sample: a column (n,) per name, NaN where a particle is absent, and the weights (n,)."""

    values: Mapping[str, FloatArray]
    weight: FloatArray

    def __len__(self) -> int:
        return len(self.weight)

    def take(self, rows: NDArray[np.intp]) -> "Columns":
        """Return some of the rows."""
        return Columns({name: column[rows] for name, column in self.values.items()}, self.weight[rows])


def standard_observables(schema: EventSchema) -> dict[str, Observable]:
    r"""List what events of a schema are compared by.

    .. math:: p_T,\; y,\; \phi,\; m_{ij},\; m_{ijk},\; \Delta R_{ij}

    of all particles, pairs and triples (triples of at most 8 slots), the mass of a free particle, mass, transverse
    momentum and rapidity of the whole event, the number of each variable particle, and the conditions. Masses of
    composites matter most: resonances are invisible in the momenta of single particles.

    Args:
        schema: of the events.

    Returns:
        Functions from n events to (n,) numbers in GeV or radians, NaN where a particle is absent, by name.

    Reference:
        Butter et al. (2021), "Generative networks for precision enthusiasts".

    Example:
        >>> from bijecta.hep import Particle
        >>> schema = EventSchema((Particle("mu-", 13, 0.1057), Particle("mu+", -13, 0.1057)))
        >>> [*standard_observables(schema)][-4:]
        ['m(mu- mu+)', 'dR(mu- mu+)', 'pt(all)', 'y(all)']
    """
    slots = schema.slots
    found: dict[str, Observable] = {}
    for name, mass in zip(slots, schema.masses, strict=True):
        found |= {f"pt({name})": _of(kinematics.pt, name), f"y({name})": _of(_rapidity, name)}
        found[f"phi({name})"] = _of(kinematics.azimuth, name)
        if mass is None:
            found[f"m({name})"] = _of(kinematics.mass, name)
    sizes = (2, 3) if len(slots) <= _TRIPLES_UP_TO else (2,)
    for group in (group for size in sizes for group in combinations(slots, size)):
        found[f"m({' '.join(group)})"] = _of(kinematics.mass, *group)
    for pair in combinations(slots, 2):
        found[f"dR({' '.join(pair)})"] = _distance(*pair)
    if len(slots) > 1:
        found |= {"pt(all)": _of(kinematics.pt, *slots, every=False), "y(all)": _of(_rapidity, *slots, every=False)}
    if len(slots) > max(sizes) or (schema.variable and len(slots) > 1):
        found["m(all)"] = _of(kinematics.mass, *slots, every=False)
    found |= {f"n({group.name})": _number(group.slots) for group in schema.variable}
    return found | {condition.name: _condition(condition) for condition in schema.condition}


def columns_of(sample: Sample, observables: Mapping[str, Observable] | Sequence[str] | None, label: str) -> Columns:
    """Measure the observables of a sample, or read them from a dictionary of arrays (its weights under "weight")."""
    if isinstance(sample, Events):
        chosen = _chosen(sample.schema, observables)
        values = {name: np.asarray(measure(sample), dtype=np.float64) for name, measure in chosen.items()}
        weight = np.ones(len(sample)) if sample.weight is None else sample.weight
    else:
        names = [name for name in (sample if observables is None else observables) if name != "weight"]
        if missing := [name for name in names if name not in sample]:
            raise InputError(f"The {label} sample has no {', '.join(missing)}. It has {', '.join(sample)}.")
        values = {name: np.asarray(sample[name], dtype=np.float64) for name in names}
        rows = len(next(iter(values.values()), ()))
        weight = np.asarray(sample.get("weight", np.ones(rows)), dtype=np.float64)
    _check(values, weight, label)
    return Columns(values, weight)


def feature_matrix(columns: Columns, reference: Columns) -> FloatArray:
    r"""Return the observables as columns of comparable size for a network, (n, D).

    .. math:: u = \operatorname{arsinh}\frac{x - \text{median}}{\text{half the central 68 \% interval}}

    in which a sharp resonance stays wide and long tails stay finite; azimuths enter by cosine and sine. Median and
    interval are those of the reference; an absent particle becomes 0.
    """
    found = []
    for name, values in columns.values.items():
        base = reference.values[name]
        parts = ((np.cos(values), np.cos(base)), (np.sin(values), np.sin(base)))
        for column, truth in parts if name.startswith("phi(") else ((values, base),):
            low, middle, high = np.quantile(truth[np.isfinite(truth)], [0.16, 0.5, 0.84])
            found.append(np.nan_to_num(np.arcsinh((column - middle) / max((high - low) / 2.0, 1e-6))))
    return np.stack(found, axis=1)


def _of(quantity: Callable[[FloatArray], FloatArray], *slots: str, every: bool = True) -> Observable:
    """Measure a quantity of the sum of particles, where every one of them is there (or whichever are)."""

    def measure(events: Events) -> FloatArray:
        index = [events.schema.slots.index(slot) for slot in slots]
        values = quantity(events.momenta[:, index].sum(axis=1))
        return np.where(events.present()[:, index].all(axis=1), values, np.nan) if every else values

    return measure


def _distance(first: str, second: str) -> Observable:
    def measure(events: Events) -> FloatArray:
        index = [events.schema.slots.index(slot) for slot in (first, second)]
        p, q = events.momenta[:, index[0]], events.momenta[:, index[1]]
        # The difference of two infinite pseudorapidities has no value.
        eta = _finite(kinematics.pseudorapidity(p)) - _finite(kinematics.pseudorapidity(q))
        values = np.hypot(eta, kinematics.delta_phi(p, q))
        return np.where(events.present()[:, index].all(axis=1), values, np.nan)

    return measure


def _rapidity(p: FloatArray) -> FloatArray:
    return _finite(kinematics.rapidity(p))


def _finite(rapidity: FloatArray) -> FloatArray:
    return np.clip(rapidity, -_LARGEST_RAPIDITY, _LARGEST_RAPIDITY)


def _number(slots: tuple[str, ...]) -> Observable:
    def measure(events: Events) -> FloatArray:
        index = [events.schema.slots.index(slot) for slot in slots]
        return events.present()[:, index].sum(axis=1).astype(np.float64)

    return measure


def _condition(condition: Condition) -> Observable:
    """Read a condition; a label becomes its place among the possible ones."""

    def measure(events: Events) -> FloatArray:
        values = events.condition[condition.name]
        if condition.kind != "one_hot":
            return np.asarray(values, dtype=np.float64)
        return np.argmax(values[:, None] == np.array(condition.values), axis=1).astype(np.float64)

    return measure


def _chosen(
    schema: EventSchema, observables: Mapping[str, Observable] | Sequence[str] | None
) -> Mapping[str, Observable]:
    if isinstance(observables, Mapping):
        return observables
    known = standard_observables(schema)
    if observables is None:
        return known
    if missing := [name for name in observables if name not in known]:
        raise InputError(f"There is no observable {', '.join(missing)}. There are {', '.join(known)}.")
    return {name: known[name] for name in observables}


def _check(values: Mapping[str, FloatArray], weight: FloatArray, label: str) -> None:
    if not values:
        raise InputError(f"The {label} sample has no observables. Give at least one.")
    for name, column in {**values, "weight": weight}.items():
        if column.shape != weight.shape or column.ndim != 1:
            raise ShapeError(f"{label}: {name} must have one value per event, {weight.shape}; got {column.shape}.")
        if np.isinf(column).any():
            raise InputError(f"{label}: {name} is infinite in {int(np.isinf(column).sum())} events. Remove them.")
    if not np.isfinite(weight).all() or not weight.sum() > 0.0:
        raise InputError(f"{label}: the weights must be finite with a positive sum; their sum is {weight.sum():g}.")

"""Events in memory: four-momenta after a schema, what they depend on, and the checks that they should pass."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bijecta.data import Finding
from bijecta.errors import InputError, ShapeError
from bijecta.hep import kinematics
from bijecta.hep.schema import Condition, EventSchema

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_ON_SHELL = 1e-6  # largest |E² - p² - m²| / E²: ten times the rounding of momenta that were stored in float32
_UNEXPLAINED = 1e-6  # share of a variance below which a column counts as determined by others
_COMPONENTS = {"E": 0, "px": 1, "py": 2, "pz": 3}
_QUANTITIES = {
    "pt": kinematics.pt,
    "y": kinematics.rapidity,
    "eta": kinematics.pseudorapidity,
    "phi": kinematics.azimuth,
    "mass": kinematics.mass,
}


@dataclass(frozen=True, eq=False)
class Events:
    """Events of one process: n rows of k four-momenta.

    Args:
        schema: what the events hold.
        momenta: (E, px, py, pz) in GeV, shape (n, k, 4); kept as float64, and as zeros where the mask is False.
        mask: which particles are there, shape (n, k); None if all are.
        condition: a value per event for each condition of the schema, name -> (n,).
        weight: weight per event, shape (n,), of either sign; None if all count the same.
        metadata: anything about the sample as a whole that JSON can hold: generator, beams, cuts, cross section.

    Raises:
        ShapeError: arrays whose shapes do not fit the schema or each other.
        InputError: conditions that are not those of the schema, or weights without a name in it.

    Reference:
        Verbytskyi et al. (2021), "The HepMC3 event record library for Monte Carlo event generators".

    Example:
        >>> from bijecta.hep.schema import Particle
        >>> schema = EventSchema((Particle("gamma", 22, 0.0),))
        >>> events = Events(schema, np.array([[[5.0, 3.0, 0.0, 4.0]]]))
        >>> len(events), events.column("gamma.pt").tolist()
        (1, [3.0])
    """

    schema: EventSchema
    momenta: FloatArray
    mask: BoolArray | None = None
    condition: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    weight: FloatArray | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        momenta = np.asarray(self.momenta, dtype=np.float64)
        if momenta.ndim != 3 or momenta.shape[1:] != (len(self.schema.slots), 4):
            raise ShapeError(
                f"momenta: expected shape (n, {len(self.schema.slots)}, 4) for {', '.join(self.schema.slots)}; "
                f"got {momenta.shape}."
            )
        if self.mask is not None:
            mask = _shaped("mask", np.asarray(self.mask, dtype=bool), momenta.shape[:2])
            object.__setattr__(self, "mask", mask)
            momenta = np.where(mask[..., None], momenta, 0.0)
        object.__setattr__(self, "momenta", momenta)
        self._set_columns(len(momenta))

    def _set_columns(self, n: int) -> None:
        names = self.schema.condition_names
        if set(self.condition) != set(names):
            raise InputError(f"condition: expected {_listed(names)}; got {_listed(tuple(self.condition))}.")
        columns = {name: _shaped(name, np.asarray(self.condition[name]), (n,)) for name in names}
        object.__setattr__(self, "condition", columns)
        if self.weight is not None and self.schema.weight is None:
            raise InputError("The events have weights but their schema names none: EventSchema(..., weight='weight').")
        if self.weight is not None:
            weight = _shaped("weight", np.asarray(self.weight, dtype=np.float64), (n,))
            object.__setattr__(self, "weight", weight)

    def __len__(self) -> int:
        return len(self.momenta)

    def take(self, index: slice | ArrayLike) -> "Events":
        """Return some of the events.

        Args:
            index: row numbers, a mask of shape (n,), or a slice.

        Returns:
            The chosen events, with the same schema and metadata.
        """
        rows: Any = index if isinstance(index, slice) else np.asarray(index)
        return replace(
            self,
            momenta=self.momenta[rows],
            mask=None if self.mask is None else self.mask[rows],
            condition={name: values[rows] for name, values in self.condition.items()},
            weight=None if self.weight is None else self.weight[rows],
        )

    def present(self) -> BoolArray:
        """Return which particles are there, shape (n, k)."""
        return np.ones(self.momenta.shape[:2], dtype=bool) if self.mask is None else self.mask

    def particle(self, slot: str) -> FloatArray:
        """Return the four-momenta of one slot in GeV, shape (n, 4)."""
        if slot not in self.schema.slots:
            raise InputError(f"There is no particle {slot!r}. There are {_listed(self.schema.slots)}.")
        return self.momenta[:, self.schema.slots.index(slot)]

    def column(self, name: str) -> NDArray[Any]:
        """Return one number per event, shape (n,).

        Args:
            name: a condition, the weight, or "<slot>.<quantity>" with one of E, px, py, pz, pt, y, eta, phi, mass,
                such as "mu-.pt"; GeV and radians.

        Returns:
            The values; 0 for a particle that is absent.

        Raises:
            InputError: there is no such column.
        """
        if name in self.condition:
            return self.condition[name]
        if name == self.schema.weight:
            return np.ones(len(self)) if self.weight is None else self.weight
        slot, _, quantity = name.rpartition(".")
        if quantity in _COMPONENTS:
            return self.particle(slot)[:, _COMPONENTS[quantity]]
        if quantity in _QUANTITIES:
            return _QUANTITIES[quantity](self.particle(slot))
        raise InputError(
            f"There is no column {name!r}. Expected a condition, the weight, or <slot>.<quantity> with one of "
            f"{_listed((*_COMPONENTS, *_QUANTITIES))}."
        )

    def features(self) -> tuple[tuple[str, ...], FloatArray]:
        """Return the independent components of the fixed particles: px, py, pz, and E where the mass is free.

        Returns:
            Names such as "mu-.px", and the matrix of shape (n, D) in GeV.
        """
        names = [
            f"{particle.name}.{component}"
            for particle in self.schema.particles
            for component in ("px", "py", "pz", *(("E",) if particle.mass is None else ()))
        ]
        columns = [self.column(name) for name in names]
        return tuple(names), np.stack(columns, axis=1) if columns else np.empty((len(self), 0))


def check_events(events: Events) -> list[Finding]:
    r"""Check what events should fulfil before something is fitted to them.

    On the mass shell: :math:`|E^2 - \mathbf p^2 - m^2| \le 10^{-6} E^2`.

    Args:
        events: the events; not changed.

    Returns:
        What was found, empty if nothing: errors (values that are not finite, E <= 0, off the mass shell, holes or a
        wrong order among variable particles, conditions outside their range, weights that are all zero), warnings
        (directions in which the raw momenta do not vary, named) and notes (negative weights).

    Reference:
        Bothmann et al. (2020), "Exploring phase space with neural importance sampling".

    Example:
        >>> from bijecta.hep.schema import Particle
        >>> events = Events(EventSchema((Particle("mu-", 13, 0.1057),)), np.array([[[5.0, 3.0, 0.0, 0.0]]]))
        >>> print(*check_events(events))
        error: mu- is off its mass shell in 1 of 1 events (first: row 0): expected mass 0.1057 GeV, got 4 GeV...
    """
    findings = _not_finite(events)
    if findings:
        return findings
    return [*_energies(events), *_orders(events), *_conditions(events), *_weights(events), *_degenerate(events)]


def _shaped(name: str, values: Any, shape: tuple[int, ...]) -> Any:
    if values.shape != shape:
        raise ShapeError(f"{name}: expected shape {shape}, one value per event (and particle); got {values.shape}.")
    return values


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def _rows(bad: Any) -> str:
    return f"{int(bad.sum())} of {len(bad)} events (first: row {int(bad.argmax())})"


def _not_finite(events: Events) -> list[Finding]:
    columns = {slot: np.isfinite(events.particle(slot)).all(axis=1) for slot in events.schema.slots}
    numbers = {name: values for name, values in events.condition.items() if values.dtype.kind in "fiu"}
    if events.weight is not None:
        numbers[str(events.schema.weight)] = events.weight
    columns |= {name: np.isfinite(values) for name, values in numbers.items()}
    return [
        Finding("error", (name,), f"{name} is NaN or infinite in {_rows(~good)}. Remove these events.")
        for name, good in columns.items()
        if not good.all()
    ]


def _energies(events: Events) -> Iterator[Finding]:
    for k, (slot, mass) in enumerate(zip(events.schema.slots, events.schema.masses, strict=True)):
        p, there = events.momenta[:, k], events.present()[:, k]
        bad = there & (p[:, 0] <= 0.0)
        if bad.any():
            message = f"{slot} has no positive energy in {_rows(bad)}. Expected (E, px, py, pz), energy first, in GeV."
            yield Finding("error", (slot,), message)
            continue
        square = p[:, 0] ** 2 - (p[:, 1:] ** 2).sum(axis=1)
        off = np.minimum(square, 0.0) if mass is None else square - mass**2
        bad = there & (np.abs(off) > _ON_SHELL * p[:, 0] ** 2)
        if bad.any():
            first = square[bad.argmax()]
            wanted = "a mass" if mass is None else f"mass {mass:g} GeV"
            got = f"{np.sqrt(first):g} GeV" if first >= 0.0 else f"E² - p² = {first:g} GeV²"
            message = (
                f"{slot} is off its mass shell in {_rows(bad)}: expected {wanted}, got {got}. Correct the schema or E."
            )
            yield Finding("error", (slot,), message)


def _orders(events: Events) -> Iterator[Finding]:
    start = len(events.schema.particles)
    for group in events.schema.variable:
        block = slice(start, start + group.most)
        start += group.most
        there = events.present()[:, block]
        bad = (there[:, 1:] & ~there[:, :-1]).any(axis=1)
        if bad.any():
            message = (
                f"{group.name}: an absent one stands before a present one in {_rows(bad)}. Put present ones first."
            )
            yield Finding("error", group.slots, message)
        sizes = kinematics.pt(events.momenta[:, block])
        bad = (there[:, 1:] & (sizes[:, 1:] > sizes[:, :-1])).any(axis=1)
        if group.order == "pt" and bad.any():
            message = f"{group.name}: not ordered by falling transverse momentum in {_rows(bad)}. Sort them."
            yield Finding("error", group.slots, message)


def _conditions(events: Events) -> Iterator[Finding]:
    for condition in events.schema.condition:
        bad, expected = _outside(condition, events.condition[condition.name])
        if bad.any():
            yield Finding("error", (condition.name,), f"{condition.name} is not {expected} in {_rows(bad)}.")


def _outside(condition: Condition, values: NDArray[Any]) -> tuple[BoolArray, str]:
    if condition.kind == "one_hot":
        return ~np.isin(values, condition.values), f"one of {_listed(tuple(map(str, condition.values)))}"
    if values.dtype.kind not in "fiu":
        return np.ones(len(values), dtype=bool), "a number"
    if condition.kind == "log_energy":
        return values <= 0.0, "a positive energy"
    return np.zeros(len(values), dtype=bool), "a number"


def _weights(events: Events) -> Iterator[Finding]:
    name, weight = str(events.schema.weight), events.weight
    if weight is None or not weight.size:
        return
    if not weight.any():
        yield Finding("error", (name,), f"{name} is zero in all {len(weight)} events.")
    elif (weight < 0.0).any():
        share = (weight < 0.0).mean()
        message = f"{name} is negative in {share:.1%} of the events. Keep the signs: densities come out wrong without."
        yield Finding("note", (name,), message)


def _degenerate(events: Events) -> Iterator[Finding]:
    """Name components that are constant or that others determine, as momentum conservation makes them."""
    names, matrix = events.features()
    if len(matrix) <= len(names):
        return
    spread = matrix.std(axis=0)
    scale = np.abs(matrix).max(axis=0)
    varies = spread > np.sqrt(_UNEXPLAINED) * np.where(scale > 0.0, scale, 1.0)
    for name in np.array(names)[~varies]:
        yield Finding("warning", (str(name),), f"{name} is constant. {_PLANE}")
    yield from _constant_masses(events)
    kept: list[int] = []
    centred = (matrix - matrix.mean(axis=0)) / np.where(varies, spread, 1.0)
    for k in np.flatnonzero(varies):
        slopes = np.linalg.lstsq(centred[:, kept], centred[:, k], rcond=None)[0]
        if np.mean((centred[:, k] - centred[:, kept] @ slopes) ** 2) > _UNEXPLAINED:
            kept.append(int(k))
            continue
        others = tuple(names[j] for j, slope in zip(kept, slopes, strict=True) if abs(slope) > 1e-2)
        yield Finding("warning", (*others, names[k]), f"{names[k]} is determined by {_listed(others)}. {_PLANE}")


def _constant_masses(events: Events) -> Iterator[Finding]:
    for particle in events.schema.particles:
        p = events.particle(particle.name)
        square = p[:, 0] ** 2 - (p[:, 1:] ** 2).sum(axis=1)
        typical = np.median(square)
        if particle.mass is None and (np.abs(square - typical) <= _ON_SHELL * p[:, 0] ** 2).all():
            value = np.sqrt(max(typical, 0.0))
            message = f"{particle.name} has the constant mass {value:g} GeV. {_PLANE} Give the mass in the schema."
            yield Finding("warning", (f"{particle.name}.E",), message)


_PLANE = "A flow on raw momenta has no maximum of the likelihood here: use coordinates that respect it."

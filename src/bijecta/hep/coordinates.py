"""From events to rows that a flow can learn, and back: which coordinates, and how each column is mapped to its box."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from bijecta.bijections import Bijection, Indexed, Log, Wrap
from bijecta.errors import FileFormatError, InputError
from bijecta.hep import kinematics
from bijecta.hep.coordinates_collider import BoundedRapidity
from bijecta.hep.coordinates_context import columns_of, context_of, energy_column, per_event
from bijecta.hep.coordinates_mass import BreitWigner, MassExcess, PowerLaw
from bijecta.hep.coordinates_mass_mixture import PeakAndContinuum
from bijecta.hep.decay import describe, realise
from bijecta.hep.decay_tree import Decay, column_names, read_tree
from bijecta.hep.events import Events
from bijecta.hep.rambo_on_diet import RamboMasses
from bijecta.hep.schema import Condition, EventSchema

_STILL = 1e-5  # a total momentum below this share of the energies is none
_SHAPES = {"breit_wigner": BreitWigner, "power_law": PowerLaw, "peak_and_continuum": PeakAndContinuum}


@dataclass(frozen=True)
class EventCoordinates:
    r"""The coordinates of events of fixed particles: a decay chain, and the shapes of its masses.

    Args:
        schema: the events, without variable particles. A mass that differs from event to event (None) is a coordinate:
            "excess", its logarithm, or one of the shapes below.
        tree: nested pairs of the names of the particles: who decays into whom.
        root: how the whole system moves: "free", "along_beam" (no transverse momentum) or "at_rest" (at the energy of
            the condition).
        masses: a shape per mass, such as {"mass": {"kind": "breit_wigner", "mass": 91.19, "width": 2.5, "low": 40,
            "high": 200}}, {"kind": "power_law", "power": 3, "low": 40, "high": 200} or {"kind":
            "peak_and_continuum", ...} with the numbers of both; the others are "excess", the log of what they have
            above their daughters.
        resonance: mass M and width Γ in GeV of a resonance in the energy of the collision; networks then see
            :math:`\operatorname{arsinh}((E - M) / \Gamma)` as well.
        pt_min: threshold of the transverse momentum of the system in GeV.

    Raises:
        InputError: a schema, tree, root or shape that does not fit.

    Reference:
        Byckling, Kajantie (1973), "Particle kinematics".

    Example:
        >>> from bijecta.hep import MuonPairs
        >>> events = MuonPairs().sample(100, energy=91.2, seed=0)
        >>> coordinates = measure_coordinates(events)
        >>> coordinates.root, coordinates.columns
        ('at_rest', ('cos_theta', 'phi'))
        >>> EventCoordinates.from_json(coordinates.to_json()) == coordinates
        True
    """

    schema: EventSchema
    tree: Any
    root: str = "free"
    masses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    resonance: tuple[float, float] | None = None
    pt_min: float = 0.0

    def __post_init__(self) -> None:
        if self.schema.variable or (self.free and self.root == "at_rest"):
            what = ", ".join([*(group.name for group in self.schema.variable), *self.free])
            raise InputError(
                "EventCoordinates describe particles that are always there and, in a system at rest, whose mass is "
                f"known; not so: {what}. ObjectCoordinates describe particles in varying number."
            )
        object.__setattr__(self, "tree", as_tuples(self.tree))
        unknown = sorted(set(self.masses) - set(self.columns))
        if unknown:
            raise InputError(f"There is no mass {', '.join(unknown)}. Columns: {', '.join(self.columns)}.")
        if self.energy_column is None and (self.root == "at_rest" or self.resonance is not None):
            raise InputError("A system at rest and a resonance need the energy: a Condition of kind log_energy.")

    @property
    def decay(self) -> Decay:
        """The decay of the whole system."""
        return read_tree(self.tree, self.schema.slots)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the coordinates."""
        return (*column_names(self.decay, self.root), *(f"mass({slot})" for slot in self.free))

    @property
    def free(self) -> tuple[str, ...]:
        """The particles whose mass differs from event to event."""
        return tuple(p.name for p in self.schema.particles if p.mass is None)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each column for a flow: box, angle or real; the azimuth of the event is "turn"."""
        return tuple(self._kind(column) for column in self.columns)

    @property
    def context(self) -> int:
        """The number of context features."""
        return sum(map(columns_of, self.schema.condition))

    @property
    def energy_column(self) -> int | None:
        """The column of the context that holds ln(√s / GeV), None if no condition is an energy."""
        return energy_column(self.schema.condition)

    def rows(self, events: Events) -> tuple[Tensor, Tensor | None]:
        """Compute what `fit` takes.

        Args:
            events: events of this schema.

        Returns:
            The coordinates (n, D) in GeV and radians, and the contexts (n, C), None without conditions; float32.
        """
        momenta = torch.as_tensor(events.momenta)
        context = self.context_of(events.condition, len(events))
        x = self.described(momenta).float()
        return x, None if context is None else context.float()

    def context_of(self, condition: Mapping[str, ArrayLike], n: int) -> Tensor | None:
        """Compute the contexts (n, C) of conditions, each one value or n, in float64; None without conditions."""
        return context_of(self.schema.condition, condition, n)

    def described(self, momenta: Tensor) -> Tensor:
        """Compute the coordinates (n, D) of four-momenta (n, k, 4) in GeV."""
        free = [slot for slot, mass in enumerate(self.schema.masses) if mass is None]
        return describe(self.decay, momenta, self.root, free)

    def momenta(self, rows: Tensor, context: Tensor | None = None) -> Tensor:
        """Compute four-momenta.

        Args:
            rows: coordinates (..., D).
            context: contexts (..., C), needed for a system at rest.

        Returns:
            (E, px, py, pz) in GeV, on their mass shells, shape (..., k, 4).
        """
        energy = None
        if self.root == "at_rest" and context is not None:
            energy = context[..., self.energy_column].to(rows.dtype).exp().expand(rows.shape[:-1])
        return realise(self.decay, rows, self.schema.masses, energy)

    @property
    def given(self) -> tuple[Condition, ...]:
        """The conditions that a flow is told: all of them."""
        return self.schema.condition

    def events(self, rows: Tensor, condition: Mapping[str, ArrayLike], metadata: Mapping[str, Any]) -> Events:
        """Turn rows (n, D) back into events, given the values of their conditions; `momenta` in float64."""
        rows = rows.double()
        momenta = self.momenta(rows, self.context_of(condition, len(rows)))
        values = per_event(condition, len(rows))
        return Events(self.schema, momenta.numpy(), condition=values, metadata=metadata)

    def maps(self) -> list[Bijection]:
        """Build the exact maps from the coordinates to their boxes, in the order in which data pass them."""
        places, width = {name: i for i, name in enumerate(self.columns)}, len(self.columns)
        return [Indexed(change, [places[name] for name in names], width) for change, names in self.steps()]

    def steps(self) -> list[tuple[Bijection, list[str]]]:
        """Build the same maps, each beside the names of the columns that it sees."""
        places = self.columns
        steps: list[tuple[Bijection, list[str]]] = []
        if "rapidity" in places and self.energy_column is not None:
            seen = ["rapidity", "mass", *(["pt"] if "pt" in places else [])]
            steps.append((BoundedRapidity(transverse="pt" in places, energy_column=self.energy_column), seen))
        steps += self._mass_maps()
        steps += [(Log(self.pt_min), [name]) for name in places if name == "pt"]
        angles = [name for name, kind in zip(self.columns, self.kinds, strict=True) if kind in ("angle", "turn")]
        return [*steps, (Wrap(), angles)]

    def to_json(self) -> dict[str, Any]:
        """Return the coordinates as a dictionary that ``json.dumps`` takes."""
        names = ("tree", "root", "masses", "resonance", "pt_min")
        plain = {name: getattr(self, name) for name in names}
        content: dict[str, Any] = json.loads(json.dumps({"schema": self.schema.to_json(), **plain}))
        return content

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "EventCoordinates":
        """Return the coordinates that `to_json` wrote; anything else raises FileFormatError."""
        try:
            resonance = None if content["resonance"] is None else (content["resonance"][0], content["resonance"][1])
            schema = EventSchema.from_json(content["schema"])
            others = {name: content[name] for name in ("tree", "root", "masses", "pt_min")}
            return EventCoordinates(schema, resonance=resonance, **others)
        except (InputError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise FileFormatError(f"These are no event coordinates ({error}). Expected what to_json gives.") from error

    def _kind(self, column: str) -> str:
        if column == "phi":
            return "turn"
        if column.startswith("phi"):
            return "angle"
        if column.startswith("mass"):
            return "real" if self._shape(column)["kind"] == "excess" else "box"
        bounded = column.startswith("cos_theta") or (column == "rapidity" and self.energy_column is not None)
        return "box" if bounded else "real"

    def _shape(self, column: str) -> Mapping[str, Any]:
        if column not in self.masses and self.root == "at_rest":
            return {"kind": "rambo"}
        return self.masses.get(column, {"kind": "excess"})

    def _mass_maps(self) -> list[tuple[Bijection, list[str]]]:
        """Map the masses, mothers before daughters: the threshold of a mother needs her daughters' masses in GeV."""
        if self.root == "at_rest" and len(self.schema.slots) > 2 and not self.masses:
            return [self._rambo_map()]
        steps: list[tuple[Bijection, list[str]]] = []
        tree, slots = self.decay, self.schema.slots
        for decay in tree.walk():
            name = "mass" if decay is tree else f"mass({decay.name})"
            if name in self.columns:
                names = [each.name if isinstance(each, Decay) else slots[each] for each in decay.daughters]
                daughters = [f"mass({each})" for each in names if f"mass({each})" in self.columns]
                stable = sum(self.schema.masses[each] or 0.0 for each in decay.daughters if isinstance(each, int))
                steps.append(_mass_map(self._shape(name), name, stable, daughters))
        return [*steps, *(_mass_map(self._shape(name), name, 0.0, []) for name in map("mass({})".format, self.free))]

    def _rambo_map(self) -> tuple[Bijection, list[str]]:
        names = [name for name in self.columns if name.startswith("mass")]
        chain = all(sum(isinstance(each, Decay) for each in decay.daughters) <= 1 for decay in self.decay.walk())
        if not chain or any(self.schema.masses):
            raise InputError(
                "Three or more particles at rest need massless particles in a chain like (a, (b, (c, d))), "
                f"or a shape with a range for each of {', '.join(names)}."
            )
        return RamboMasses(len(self.schema.slots), self.energy_column or 0), names


def _mass_map(shape: Mapping[str, Any], name: str, stable: float, daughters: list[str]) -> tuple[Bijection, list[str]]:
    options = {key: value for key, value in shape.items() if key != "kind"}
    try:
        if shape["kind"] in _SHAPES:
            return _SHAPES[shape["kind"]](**options), [name]
        if shape["kind"] == "excess":
            # Without daughters as columns it is a logarithm, which exporters understand better than empty slices.
            return (MassExcess(stable, len(daughters)) if daughters else Log(stable)), [name, *daughters]
    except TypeError as error:
        raise InputError(f"{name}: {error}.") from error
    raise InputError(f"{name}: expected kind to be excess or one of {', '.join(_SHAPES)}; got {shape['kind']!r}.")


def measure_coordinates(
    events: Events,
    *,
    tree: Any = None,
    masses: Mapping[str, Mapping[str, Any]] | None = None,
    resonance: tuple[float, float] | None = None,
) -> EventCoordinates:
    """Choose the coordinates of events: how the system moves, and the ranges of the masses.

    Args:
        events: events like those that the flow shall learn.
        tree: nested pairs of names (default: the first particle, and what decays into the others).
        masses: as in `EventCoordinates`; a range that is missing is that of the events and 1 % more.
        resonance: as in `EventCoordinates`.

    Returns:
        The coordinates: "at_rest" where the momenta add up to zero and the energies to the condition, "along_beam"
        where they have no transverse part, else "free".

    Raises:
        InputError: there are no events or fewer than two particles, or what `EventCoordinates` raises.

    Reference:
        Byckling, Kajantie (1973), "Particle kinematics".

    Example:
        >>> from bijecta.hep import DrellYan
        >>> shape = {"kind": "breit_wigner", "mass": 91.19, "width": 2.5, "low": 40.0, "high": 200.0}
        >>> events = DrellYan().sample(100, energy=1960.0, seed=0)
        >>> measure_coordinates(events, masses={"mass": shape}).columns
        ('mass', 'rapidity', 'cos_theta', 'phi')
    """
    if not len(events) or len(events.schema.slots) < 2:
        raise InputError(
            f"Coordinates are measured on events of at least two particles; got {len(events)} events of "
            f"{', '.join(events.schema.slots)}."
        )
    tree = _nested(events.schema.slots) if tree is None else tree
    root = _motion(events)
    plain = EventCoordinates(events.schema, tree, root)
    columns, values = plain.columns, plain.described(torch.as_tensor(events.momenta))
    return EventCoordinates(events.schema, tree, root, ranged(masses or {}, columns, values), resonance)


def ranged(
    masses: Mapping[str, Mapping[str, Any]], columns: Sequence[str], values: Tensor
) -> dict[str, dict[str, Any]]:
    """Complete shapes of masses by their ranges in the columns of values (n, D), and 1 % more."""
    shapes = {}
    for name, shape in masses.items():
        if name not in columns:
            raise InputError(f"There is no mass {name}. Columns: {', '.join(columns)}.")
        seen = values[:, columns.index(name)]
        ranges = {"low": 0.99 * float(seen.min()), "high": 1.01 * float(seen.max())}
        shapes[name] = {**(ranges if shape["kind"] != "excess" else {}), **shape}
    return shapes


def _motion(events: Events) -> str:
    total = events.momenta.sum(axis=1)
    scale = _STILL * total[:, 0]
    energy = next((each.name for each in events.schema.condition if each.kind == "log_energy"), None)
    if (kinematics.pt(total) > scale).any():
        return "free"
    rests = energy is not None and (np.abs(total[:, 0] - events.condition[energy]) < scale).all()
    return "at_rest" if rests and (np.abs(total[:, 3]) < scale).all() else "along_beam"


def _nested(names: tuple[str, ...]) -> Any:
    return names if len(names) == 2 else (names[0], _nested(names[1:]))


def as_tuples(tree: Any) -> Any:
    """Read a tree of nested lists or tuples, as JSON brings it, as one of tuples."""
    return tuple(map(as_tuples, tree)) if isinstance(tree, list | tuple) else tree

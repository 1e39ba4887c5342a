"""What an event holds: its particles, what it depends on, and its units. No momenta here."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bijecta.errors import FileFormatError, InputError

CONDITION_KINDS = ("log_energy", "one_hot", "number")
ORDERS = ("pt", "none")


@dataclass(frozen=True)
class Particle:
    """A particle that every event has.

    Args:
        name: what it is called, such as "mu-".
        pdg: its number in the scheme of the Particle Data Group; 0 if it differs from event to event.
        mass: mass in GeV; None if it differs from event to event.

    Raises:
        InputError: an empty name, or a mass that is negative or not finite.

    Reference:
        Particle Data Group (2024), "Review of particle physics", section "Monte Carlo particle numbering scheme".

    Example:
        >>> Particle("mu-", 13, 0.1056583755).pdg
        13
    """

    name: str
    pdg: int
    mass: float | None = None

    def __post_init__(self) -> None:
        _check_particle(self.name, self.mass)


@dataclass(frozen=True)
class VariableParticles:
    """Particles of one sort of which an event has between none and `most`.

    They take the slots ``name1``, ``name2``, ... of an event, present ones first.

    Args:
        name: what one of them is called, such as "jet".
        pdg: its number in the scheme of the Particle Data Group; 0 if it differs, or if there is none, as for a jet.
        mass: mass in GeV; None if it differs.
        most: the largest number of them in one event.
        order: "pt", by falling transverse momentum, or "none".

    Raises:
        InputError: an empty name, an impossible mass, `most` below 1 or an unknown order.

    Reference:
        Particle Data Group (2024), "Review of particle physics", section "Monte Carlo particle numbering scheme".

    Example:
        >>> VariableParticles("jet", 0, None, most=2).slots
        ('jet1', 'jet2')
    """

    name: str
    pdg: int
    mass: float | None
    most: int
    order: str = "pt"

    def __post_init__(self) -> None:
        _check_particle(self.name, self.mass)
        if self.most < 1:
            raise InputError(f"{self.name}: most must be at least 1; got {self.most}.")
        if self.order not in ORDERS:
            raise InputError(f"{self.name}: order must be one of {', '.join(ORDERS)}; got {self.order!r}.")

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of its slots."""
        return tuple(f"{self.name}{number}" for number in range(1, self.most + 1))


@dataclass(frozen=True)
class Condition:
    """A number or label per event that the density is conditioned on.

    Args:
        name: what it is called, such as "energy".
        kind: "log_energy" (an energy in GeV that enters by its logarithm), "one_hot" (one of `values`) or "number".
        values: the possible labels or numbers of a one_hot condition, in order.

    Raises:
        InputError: an empty name, an unknown kind, or values that do not fit the kind.

    Reference:
        Cranmer, Brehmer, Louppe (2020), "The frontier of simulation-based inference".

    Example:
        >>> Condition("process", "one_hot", ("ttbar", "dijet")).values
        ('ttbar', 'dijet')
    """

    name: str
    kind: str = "log_energy"
    values: tuple[str | float, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise InputError("A condition needs a name.")
        if self.kind not in CONDITION_KINDS:
            raise InputError(f"{self.name}: kind must be one of {', '.join(CONDITION_KINDS)}; got {self.kind!r}.")
        if (self.kind == "one_hot") != bool(self.values) or len(set(self.values)) != len(self.values):
            raise InputError(
                f"{self.name}: a one_hot condition lists its values, each once, and others list none; "
                f"got kind {self.kind} with values {self.values}."
            )


@dataclass(frozen=True)
class EventSchema:
    """What the events of one process look like.

    An event is a row of four-momenta, one per slot: first `particles`, then the slots of each of `variable`.
    Where the number of a particle differs from event to event (pdg 0), a condition called ``pdg_<slot>`` may hold it.

    Args:
        particles: what every event has, in order.
        variable: what events have in varying number.
        condition: what the density depends on, such as the energy of the collision.
        weight: name of the event weight; None if there is none.
        units: unit of energies, momenta and masses; GeV is the only one.

    Raises:
        InputError: no particles, names that occur twice, or another unit.

    Reference:
        Particle Data Group (2024), "Review of particle physics".

    Example:
        >>> schema = EventSchema((Particle("mu-", 13, 0.1057), Particle("mu+", -13, 0.1057)))
        >>> schema.slots
        ('mu-', 'mu+')
        >>> EventSchema.from_json(schema.to_json()) == schema
        True
    """

    particles: tuple[Particle, ...]
    variable: tuple[VariableParticles, ...] = ()
    condition: tuple[Condition, ...] = ()
    weight: str | None = None
    units: str = "GeV"

    def __post_init__(self) -> None:
        for name in ("particles", "variable", "condition"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        names = [*self.slots, *self.condition_names, *([self.weight] if self.weight is not None else [])]
        if not self.slots:
            raise InputError("An event schema needs at least one particle.")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"Names must be different within a schema; these occur twice: {', '.join(twice)}.")
        if self.units != "GeV":
            raise InputError(f"units must be GeV; got {self.units!r}. Convert the momenta first.")

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of the k rows of an event, fixed particles first."""
        return tuple(p.name for p in self.particles) + tuple(slot for group in self.variable for slot in group.slots)

    @property
    def masses(self) -> tuple[float | None, ...]:
        """The mass in GeV of every slot, None where it is free."""
        return tuple(p.mass for p in self.particles) + tuple(g.mass for g in self.variable for _ in g.slots)

    @property
    def pdg(self) -> tuple[int, ...]:
        """The particle number of every slot, 0 where it differs from event to event."""
        return tuple(p.pdg for p in self.particles) + tuple(g.pdg for g in self.variable for _ in g.slots)

    @property
    def condition_names(self) -> tuple[str, ...]:
        """The names of the conditions, in order."""
        return tuple(condition.name for condition in self.condition)

    def to_json(self) -> dict[str, Any]:
        """Return the schema as a dictionary that ``json.dumps`` takes."""
        content = asdict(self)
        content["condition"] = [{**row, "values": list(row["values"])} for row in content["condition"]]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in content.items()}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "EventSchema":
        """Return the schema that `to_json` wrote; anything else raises FileFormatError."""
        try:
            return EventSchema(
                particles=tuple(Particle(**row) for row in content["particles"]),
                variable=tuple(VariableParticles(**row) for row in content["variable"]),
                condition=tuple(Condition(**{**row, "values": tuple(row["values"])}) for row in content["condition"]),
                weight=content["weight"],
                units=content["units"],
            )
        except (InputError, TypeError, KeyError, AttributeError) as error:
            raise FileFormatError(
                f"This is not an event schema ({error}). Expected what EventSchema.to_json gives."
            ) from error


def _check_particle(name: str, mass: float | None) -> None:
    if not name:
        raise InputError("A particle needs a name.")
    if mass is not None and not 0.0 <= mass < float("inf"):
        raise InputError(f"{name}: the mass must be a number of GeV that is not negative, or None; got {mass!r}.")

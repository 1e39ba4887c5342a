"""Coordinates of particles in varying number, of columns with limits, and of whole numbers beside the momenta."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from bijecta.bijections import Bijection, Wrap
from bijecta.data import Column
from bijecta.distributions import CategoricalHead, Head
from bijecta.errors import FileFormatError, InputError
from bijecta.flows.tabular import column_head
from bijecta.hep.coordinates import EventCoordinates, as_tuples
from bijecta.hep.coordinates_context import columns_of, context_of, energy_column, per_event
from bijecta.hep.coordinates_ordered import AzimuthFrom, OrderedBelow
from bijecta.hep.coordinates_patterns import Patterns, list_patterns
from bijecta.hep.coordinates_slots import (
    Range,
    Slot,
    as_pair,
    cut_to,
    describe_slot,
    line_map,
    list_slots,
    momenta_of,
)
from bijecta.hep.events import Events
from bijecta.hep.schema import Condition, EventSchema

DISCRETE = ("label", "integer")
CONTINUOUS = ("real", "positive", "interval", "periodic")


@dataclass(frozen=True)
class ObjectCoordinates:
    r"""The coordinates of events with particles in varying number, saturated columns and whole numbers.

    A row holds n(group) for every group of variable particles, the drawn labels and whole numbers, the coordinates of
    the decay chain of the fixed particles, the drawn continuous columns, and pt, y, phi (and mass, where it is free) of
    each other particle; zeros stand for what is absent. Ordered transverse momenta pass as

    .. math:: \log(p_{T,1} - p_{min}), \qquad \frac{p_{T,i} - p_{min}}{p_{T,i-1} - p_{min}} \in (0, 1),

    azimuths relative to that of the chain (or of the first particle).

    Args:
        schema: the events.
        tree: the decay chain of the fixed particles, as in `EventCoordinates`; None to describe each by itself.
        masses: shapes of the masses of the chain, as in `EventCoordinates`.
        resonance: mass and width in GeV of a resonance in the energy of the collision.
        pt_min: threshold of pT in GeV by the name of the particle or group; 0 where it is missing.
        rapidity_max: largest \|y\| by the name of the particle or group; none where it is missing.
        drawn: which conditions the flow draws instead of being told: name -> {"kind": "label"} (a one_hot condition),
            {"kind": "integer", "low": 0, "high": 9} or {"kind": "real"}, "positive", "interval", "periodic".
        limits: columns that are cut off, name -> (lower, upper) or None where there is no limit: a value at or beyond a
            limit has a probability, one inside has a density.

    Raises:
        InputError: names, kinds or limits that do not fit the schema.

    Reference:
        Verheyen (2022), "Event generation and density estimation with surjective normalizing flows"; Butter et al.
        (2023), "Generative networks for precision enthusiasts".

    Example:
        >>> from bijecta.hep.schema import VariableParticles
        >>> jets = EventSchema((), (VariableParticles("jet", 0, None, most=2),))
        >>> ObjectCoordinates(jets, pt_min={"jet": 20.0}).columns[:5]
        ('n(jet)', 'jet1.pt', 'jet1.y', 'jet1.phi', 'jet1.mass')
    """

    schema: EventSchema
    tree: Any = None
    masses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    resonance: tuple[float, float] | None = None
    pt_min: Mapping[str, float] = field(default_factory=dict)
    rapidity_max: Mapping[str, float] = field(default_factory=dict)
    drawn: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    limits: Mapping[str, Range] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tree", as_tuples(self.tree))
        self._check_drawn()
        if self.resonance is not None and self.energy_column is None:
            raise InputError("A resonance needs the energy: a Condition of kind log_energy that is not drawn.")
        names = sorted({slot.option for slot in self.slots})
        for option, values in (("pt_min", self.pt_min), ("rapidity_max", self.rapidity_max)):
            if not set(values) <= set(names):
                raise InputError(f"{option}: expected names among {', '.join(names)}; got {', '.join(values)}.")
        if not set(self.limits) <= set(self.limitable):
            can = ", ".join(self.limitable)
            raise InputError(f"limits: expected columns among {can}; got {', '.join(self.limits)}.")
        object.__setattr__(self, "limits", {name: as_pair(name, pair) for name, pair in self.limits.items()})

    def _check_drawn(self) -> None:
        stored = {each.name: each.kind for each in self.schema.condition}
        for name, options in self.drawn.items():
            allowed = ("label",) if stored.get(name) == "one_hot" else ("integer", *CONTINUOUS)
            if name not in stored or options.get("kind") not in allowed:
                raise InputError(
                    f"drawn: expected conditions of the schema, each with a kind: label for one_hot ones, for others "
                    f"one of integer, {', '.join(CONTINUOUS)}; got {name}: {dict(options)}."
                )

    @property
    def given(self) -> tuple[Condition, ...]:
        """The conditions that the flow is told."""
        return tuple(each for each in self.schema.condition if each.name not in self.drawn)

    @property
    def context(self) -> int:
        """The number of context features."""
        return sum(map(columns_of, self.given))

    @property
    def energy_column(self) -> int | None:
        """The column of the context that holds ln(√s / GeV), None if no given condition is an energy."""
        return energy_column(self.given)

    @cached_property
    def system(self) -> EventCoordinates | None:
        """The coordinates of the fixed particles as a decay chain; None without a tree."""
        if self.tree is None:
            return None
        fixed = EventSchema(self.schema.particles, condition=self.given)
        return EventCoordinates(fixed, self.tree, "free", self.masses, self.resonance)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """The particles that are described each by itself."""
        return list_slots(self.schema, fixed=self.tree is None)

    @property
    def discrete(self) -> tuple[str, ...]:
        """The drawn labels and whole numbers."""
        return tuple(name for name, options in self.drawn.items() if options["kind"] in DISCRETE)

    @cached_property
    def continuous(self) -> tuple[str, ...]:
        """The columns that have a density."""
        system = () if self.system is None else self.system.columns
        drawn = [name for name in self.drawn if name not in self.discrete]
        return (*system, *drawn, *(name for slot in self.slots for name in slot.columns))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns of a row."""
        return (*(f"n({group.name})" for group in self.schema.variable), *self.discrete, *self.continuous)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each continuous column for a flow: box, angle or real; the azimuth of the event is "turn"."""
        known = {} if self.system is None else dict(zip(self.system.columns, self.system.kinds, strict=True))
        if self.system is None and self.slots:
            known[f"{self.slots[0].name}.phi"] = "turn"
        return tuple(known.get(name) or self._kind(name) for name in self.continuous)

    def heads(self) -> list[Head]:
        """Build the distributions of the drawn labels and whole numbers."""
        labels = {each.name: len(each.values) for each in self.schema.condition}
        return [
            CategoricalHead(labels[name]) if self.drawn[name]["kind"] == "label" else column_head(self._column(name))
            for name in self.discrete
        ]

    def patterns(self) -> Patterns:
        """List everything that may be present."""
        return list_patterns(self.schema.variable, self.slots, self.continuous, self.limits)

    def steps(self) -> list[tuple[Bijection, list[str]]]:
        """Build the exact maps of the continuous columns, each beside the columns that it sees, first what it changes.

        Maps see other columns in their own units, so a column that others need is mapped after them.
        """
        steps = [step for slot in reversed(self.slots) for step in self._maps_of(slot)]
        steps += [(change, [name]) for name in self.drawn if (change := self._map(name)) is not None]
        for change, names in [] if self.system is None else self.system.steps():
            steps += [(Wrap(), [name]) for name in names] if isinstance(change, Wrap) else [(change, names)]
        return steps

    def rows(self, events: Events) -> tuple[Tensor, Tensor | None]:
        """Compute what `fit` takes.

        Args:
            events: events of this schema, variable particles in order.

        Returns:
            The rows (n, D) in GeV and radians, with what lies beyond a limit moved to it, and the contexts (n, C), None
            without conditions; float32.
        """
        there, fixed = events.present(), len(self.schema.particles)
        parts = [there[:, [events.schema.slots.index(name) for name in g.slots]].sum(1) for g in self.schema.variable]
        parts += [self._codes(name, events.condition[name]) for name in self.discrete]
        parts = [part[:, None] for part in parts]
        if self.system is not None:
            parts.append(self.system.described(torch.as_tensor(events.momenta[:, :fixed])).numpy())
        parts += [events.condition[name][:, None] for name in self.drawn if name not in self.discrete]
        for slot in self.slots:
            parts.append(
                describe_slot(slot, events.particle(slot.name), there[:, events.schema.slots.index(slot.name)])
            )
        x = torch.tensor(np.concatenate(parts, 1), dtype=torch.float32)
        context = context_of(self.given, events.condition, len(events))
        return self._cut_off(x), None if context is None else context.float()

    def events(self, rows: Tensor, condition: Mapping[str, ArrayLike], metadata: Mapping[str, Any]) -> Events:
        """Turn rows back into events.

        Args:
            rows: rows (n, D) as `rows` gives them.
            condition: the values (n,) of the conditions that were given.
            metadata: about the sample as a whole.

        Returns:
            Events of the schema; absent particles are masked.
        """
        columns = dict(zip(self.columns, rows.double().unbind(-1), strict=True))
        parts, mask = [], torch.ones(len(rows), len(self.schema.slots), dtype=torch.bool)
        if self.system is not None:
            parts.append(self.system.momenta(torch.stack([columns[name] for name in self.system.columns], -1)))
        for slot in self.slots:
            parts.append(momenta_of(slot, columns).unsqueeze(1))
            if slot.group is not None:
                mask[:, self.schema.slots.index(slot.name)] = columns[f"n({slot.group.name})"] > slot.number
        values = per_event(condition, len(rows))
        values |= {name: self._values(name, columns[name].numpy()) for name in self.drawn}
        return Events(
            self.schema,
            torch.cat(parts, 1).numpy(),
            mask.numpy() if self.schema.variable else None,
            values,
            metadata=metadata,
        )

    @property
    def limitable(self) -> tuple[str, ...]:
        """The columns with ends, but for momenta that the one before bounds."""
        ordered = {f"{slot.name}.pt" for slot in self.slots if slot.ordered}
        return tuple(name for name in self._ranges if name not in ordered)

    def present(self, name: str, rows: Tensor) -> Tensor:
        """Say in which rows (n, D) a column is present, at a limit or not: shape (n,)."""
        slot = next((each for each in self.slots if name in each.columns), None)
        if slot is None or slot.group is None:
            return torch.ones(len(rows), dtype=torch.bool)
        return rows[:, self.columns.index(f"n({slot.group.name})")] > slot.number

    def to_json(self) -> dict[str, Any]:
        """Return the coordinates as a dictionary that ``json.dumps`` takes."""
        names = ("tree", "masses", "resonance", "pt_min", "rapidity_max", "drawn", "limits")
        plain = {name: getattr(self, name) for name in names}
        content: dict[str, Any] = json.loads(json.dumps({"schema": self.schema.to_json(), **plain}))
        return content

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "ObjectCoordinates":
        """Return the coordinates that `to_json` wrote; anything else raises FileFormatError."""
        try:
            resonance = None if content["resonance"] is None else (content["resonance"][0], content["resonance"][1])
            others = {name: content[name] for name in ("tree", "masses", "pt_min", "rapidity_max", "drawn")}
            limits = {name: (pair[0], pair[1]) for name, pair in content["limits"].items()}
            schema = EventSchema.from_json(content["schema"])
            return ObjectCoordinates(schema, resonance=resonance, limits=limits, **others)
        except (InputError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise FileFormatError(f"These are no object coordinates ({error}). Expected what to_json gives.") from error

    @cached_property
    def _ranges(self) -> dict[str, Range]:
        """The natural ends of every column that is no angle and not of the decay chain."""
        found: dict[str, Range] = {}
        for name, options in self.drawn.items():
            if options["kind"] in ("real", "positive", "interval"):
                column = self._column(name)
                found[name] = (column.low, column.high)
        for slot in self.slots:
            found |= slot.ranges(self.pt_min.get(slot.option, 0.0), self.rapidity_max.get(slot.option))
        return found

    def _column(self, name: str) -> Column:
        options = {key: self.drawn[name][key] for key in self.drawn[name] if key in ("kind", "low", "high", "period")}
        return Column(name, **options)

    def _support(self, name: str) -> Range:
        return cut_to(self._ranges[name], self.limits.get(name, (None, None)))

    def _kind(self, name: str) -> str:
        if name not in self._ranges:
            return "angle"
        ordered = any(slot.ordered and name == f"{slot.name}.pt" for slot in self.slots)
        return "box" if ordered or None not in self._support(name) else "real"

    def _map(self, name: str) -> Bijection | None:
        if name in self.discrete:
            return None
        if name in self._ranges:
            return line_map(self._support(name))
        column = self._column(name)
        return Wrap(column.low or 0.0, column.high or 0.0)

    def _maps_of(self, slot: Slot) -> list[tuple[Bijection, list[str]]]:
        """Build the maps of one particle; what it needs of others is still in GeV and radians."""
        reference = "phi" if self.system is not None else f"{self.slots[0].name}.phi"
        phi, first = f"{slot.name}.phi", f"{slot.name}.pt"
        steps: list[tuple[Bijection, list[str]]] = [
            (Wrap(), [phi]) if phi == reference else (AzimuthFrom(), [phi, reference])
        ]
        if slot.ordered and slot.group is not None:
            before = f"{slot.group.slots[slot.number - 1]}.pt"
            steps.append((OrderedBelow(self.pt_min.get(slot.option, 0.0)), [first, before]))
        rest = [name for name in slot.columns if name != phi and not (name == first and slot.ordered)]
        return steps + [(change, [name]) for name in rest if (change := self._map(name)) is not None]

    def _codes(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """Number the labels of a column; whole numbers stay as they are."""
        if self.drawn[name]["kind"] != "label":
            return values
        labels = next(each.values for each in self.schema.condition if each.name == name)
        known = np.stack([values == label for label in labels], 1)
        if not known.any(1).all():
            raise InputError(
                f"{name}: expected one of {', '.join(map(str, labels))}; got {values[~known.any(1)][0]!r}."
            )
        return known.argmax(1)

    def _values(self, name: str, codes: NDArray[np.float64]) -> NDArray[Any]:
        if self.drawn[name]["kind"] == "label":
            labels = next(each.values for each in self.schema.condition if each.name == name)
            return np.array(labels)[codes.round().astype(int)]
        return codes.round().astype(np.int64) if self.drawn[name]["kind"] == "integer" else codes

    def _cut_off(self, rows: Tensor) -> Tensor:
        """Move what lies beyond a limit to it, where the column is present."""
        for name, (low, high) in self.limits.items():
            column = self.columns.index(name)
            rows[:, column] = torch.where(self.present(name, rows), rows[:, column].clamp(low, high), 0.0)
        return rows

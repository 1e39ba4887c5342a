"""Momenta as they are: the coordinates of the simple baseline."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from bijecta.errors import FileFormatError, InputError
from bijecta.hep.coordinates_context import columns_of, context_of, energy_column, per_event
from bijecta.hep.decay import on_shell
from bijecta.hep.events import Events
from bijecta.hep.schema import Condition, EventSchema


@dataclass(frozen=True)
class PlainCoordinates:
    """Describe events by px, py, pz of their particles, and by the mass where it is free.

    Args:
        schema: the events, without variable particles.

    Raises:
        InputError: there are variable particles.

    Reference:
        Gao et al. (2020), "Event generation with normalizing flows".

    Example:
        >>> from bijecta.hep.schema import Particle
        >>> PlainCoordinates(EventSchema((Particle("mu-", 13, 0.1057), Particle("jet", 0)))).columns
        ('mu-.px', 'mu-.py', 'mu-.pz', 'jet.px', 'jet.py', 'jet.pz', 'jet.mass')
    """

    schema: EventSchema

    def __post_init__(self) -> None:
        if self.schema.variable:
            raise InputError("PlainCoordinates describe fixed particles. Use ObjectCoordinates for those that vary.")

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        parts = [(p.name, ("px", "py", "pz", *(("mass",) if p.mass is None else ()))) for p in self.schema.particles]
        return tuple(f"{name}.{part}" for name, own in parts for part in own)

    @property
    def given(self) -> tuple[Condition, ...]:
        """The conditions that the flow is told."""
        return self.schema.condition

    @property
    def context(self) -> int:
        """The number of context features."""
        return sum(map(columns_of, self.given))

    @property
    def energy_column(self) -> int | None:
        """The column of the context that holds ln(√s / GeV), None if no condition is an energy."""
        return energy_column(self.given)

    def rows(self, events: Events) -> tuple[Tensor, Tensor | None]:
        """Compute what `fit` takes: the columns (n, D) in GeV and the contexts (n, C), None without conditions."""
        x = np.stack([events.column(name) for name in self.columns], 1)
        context = context_of(self.given, events.condition, len(events))
        return torch.tensor(x, dtype=torch.float32), None if context is None else context.float()

    def events(self, rows: Tensor, condition: Mapping[str, ArrayLike], metadata: Mapping[str, Any]) -> Events:
        """Turn rows (n, D) back into events, given the values of their conditions."""
        columns = dict(zip(self.columns, rows.double().unbind(-1), strict=True))
        momenta = []
        for p in self.schema.particles:
            three = torch.stack([columns[f"{p.name}.{part}"] for part in ("px", "py", "pz")], -1)
            # A flow on the line draws masses below zero too: nothing tells it what is impossible.
            mass = columns[f"{p.name}.mass"].clamp(min=0.0) if p.mass is None else torch.full_like(three[:, 0], p.mass)
            momenta.append(on_shell(three.unsqueeze(-2), mass.unsqueeze(-1)))
        values = per_event(condition, len(rows))
        return Events(self.schema, torch.cat(momenta, 1).numpy(), condition=values, metadata=metadata)

    def to_json(self) -> dict[str, Any]:
        """Return the coordinates as a dictionary that ``json.dumps`` takes."""
        return {"schema": self.schema.to_json()}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "PlainCoordinates":
        """Return the coordinates that `to_json` wrote; anything else raises FileFormatError."""
        try:
            return PlainCoordinates(EventSchema.from_json(content["schema"]))
        except (InputError, TypeError, KeyError) as error:
            raise FileFormatError(f"These are no plain coordinates ({error}). Expected what to_json gives.") from error

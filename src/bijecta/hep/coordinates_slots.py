"""Particles described each by itself: transverse momentum, rapidity, azimuth, and the mass where it is free."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bijecta.bijections import Affine, Bijection, Chain, Log
from bijecta.errors import InputError
from bijecta.hep import kinematics
from bijecta.hep.decay import on_shell
from bijecta.hep.schema import EventSchema, VariableParticles

Range = tuple[float | None, float | None]


class Slot(NamedTuple):
    """A particle that is described by itself.

    Attributes:
        name: what it is called.
        mass: its mass in GeV, None if it is free.
        group: the variable particles that it belongs to, None for one that is always there.
        number: its place among them, from 0.
    """

    name: str
    mass: float | None
    group: VariableParticles | None
    number: int

    @property
    def option(self) -> str:
        """The name under which its threshold and its largest rapidity are looked up."""
        return self.name if self.group is None else self.group.name

    @property
    def ordered(self) -> bool:
        """Whether its transverse momentum is below that of the particle before it."""
        return self.group is not None and self.group.order == "pt" and self.number > 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its coordinates."""
        names = ("pt", "y", "phi") if self.mass is not None else ("pt", "y", "phi", "mass")
        return tuple(f"{self.name}.{name}" for name in names)

    def ranges(self, pt_min: float, rapidity_max: float | None) -> dict[str, Range]:
        """Say between what its coordinates lie, but for the azimuth; None where there is no end."""
        sides = (None, None) if rapidity_max is None else (-rapidity_max, rapidity_max)
        found: dict[str, Range] = {f"{self.name}.pt": (pt_min, None), f"{self.name}.y": sides}
        return found if self.mass is not None else {**found, f"{self.name}.mass": (0.0, None)}


def list_slots(schema: EventSchema, *, fixed: bool) -> tuple[Slot, ...]:
    """List the variable particles of a schema, before them the fixed ones if wanted."""
    alone = [Slot(each.name, each.mass, None, 0) for each in schema.particles if fixed]
    groups = [Slot(name, g.mass, g, number) for g in schema.variable for number, name in enumerate(g.slots)]
    return (*alone, *groups)


def describe_slot(slot: Slot, momenta: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Compute the coordinates of a particle.

    Args:
        slot: the particle.
        momenta: (E, px, py, pz) in GeV, shape (n, 4).
        there: where it is present, shape (n,).

    Returns:
        What `Slot.columns` lists, in GeV and radians, shape (n, 3 or 4); zeros where it is absent.

    Reference:
        Particle Data Group (2024), "Review of particle physics", section "Kinematics".
    """
    p = np.where(there[:, None], momenta, [1.0, 1.0, 0.0, 0.0])  # some momentum, so that nothing is divided by zero
    columns = [kinematics.pt(p), kinematics.rapidity(p), kinematics.azimuth(p), kinematics.mass(p)]
    return np.where(there[:, None], np.stack(columns[: len(slot.columns)], 1), 0.0)


def momenta_of(slot: Slot, columns: Mapping[str, Tensor]) -> Tensor:
    r"""Compute four-momenta from coordinates: :math:`p_z = m_T \sinh y`.

    Args:
        slot: the particle.
        columns: its coordinates by their names, each (n,).

    Returns:
        (E, px, py, pz) in GeV, on the mass shell, shape (n, 4).

    Reference:
        Particle Data Group (2024), "Review of particle physics", section "Kinematics".
    """
    pt, y, phi = (columns[f"{slot.name}.{name}"] for name in ("pt", "y", "phi"))
    mass = torch.full_like(pt, slot.mass) if slot.mass is not None else columns[f"{slot.name}.mass"]
    three = torch.stack([pt * phi.cos(), pt * phi.sin(), torch.hypot(pt, mass) * y.sinh()], -1)
    return on_shell(three.unsqueeze(-2), mass.unsqueeze(-1)).squeeze(-2)


def line_map(ends: Range) -> Bijection | None:
    """Choose the map of a column between two ends: to [-1, 1], to the line by a logarithm, or none.

    Args:
        ends: lower and upper end, None where there is none.

    Returns:
        The map; None for the identity.

    Example:
        >>> line_map((None, 3.0)).inverse(torch.tensor([0.0]))  # one below the upper end
        tensor([2.])
    """
    low, high = ends
    if low is not None and high is not None:
        return Affine(torch.tensor([(low + high) / 2.0]), torch.tensor([(high - low) / 2.0]))
    if low is not None:
        return Log(low)
    if high is not None:
        return Chain([Affine(torch.zeros(1), -torch.ones(1)), Log(-high)])
    return None


def cut_to(ends: Range, limits: Sequence[float | None]) -> Range:
    """Replace the ends of a column by the limits that it has."""
    low, high = limits
    return (ends[0] if low is None else low, ends[1] if high is None else high)


def as_pair(name: str, values: Sequence[Any]) -> Range:
    """Read the limits of a column, as JSON brings them; raise an InputError unless there is one, or two in order."""
    low, high = (None if value is None else float(value) for value in values)
    if (low is None and high is None) or (low is not None and high is not None and not low < high):
        raise InputError(
            f"limits: expected a lower or an upper limit of {name}, or both in order; got {tuple(values)}."
        )
    return (low, high)

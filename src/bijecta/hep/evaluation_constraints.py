"""What physics demands of every event: mass shells, conserved momentum, and what is constant in the reference."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bijecta.hep.events import Events
from bijecta.hep.observables import Columns, FloatArray

TOLERANCE = 1e-6  # relative: ten times the rounding of momenta in float32
_CONSERVED = 1e-5  # of the reference: what varies by less is taken as a law, whatever rounding left of it
_COMPONENTS = ("E", "px", "py", "pz")


@dataclass(frozen=True)
class Constraint:
    """Hold how well a condition that every event should fulfil is kept.

    Args:
        name: the condition.
        generated: its largest violation in the generated events, relative to the energy or scale.
        reference: the same in the reference: truth against truth.
        limit: the largest violation that passes.

    Reference:
        Butter et al. (2021), "Generative networks for precision enthusiasts".

    Example:
        >>> Constraint("sum of px", generated=1e-3, reference=1e-7, limit=1e-6).passed
        False
    """

    name: str
    generated: float
    reference: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the generated events keep it."""
        return self.generated <= self.limit

    def to_json(self) -> dict[str, Any]:
        """Return plain values, with the verdict."""
        return {**asdict(self), "passed": self.passed}


def event_constraints(generated: Events, reference: Events) -> Iterator[Constraint]:
    r"""Measure :math:`|E^2 - p^2 - m^2| / E^2`, and :math:`|\sum_i p_i| / \sum_i E_i` where it is conserved."""
    for slot, mass in zip(reference.schema.slots, reference.schema.masses, strict=True):
        if mass is not None:
            found = [_off_shell(events, slot, mass) for events in (generated, reference)]
            yield _constraint(f"{slot} on its mass shell", *found)
    for axis in (1, 2, 3):
        found = [_imbalance(events, axis) for events in (generated, reference)]
        if found[1] <= _CONSERVED:
            yield _constraint(f"sum of {_COMPONENTS[axis]}", *found)


def constant_columns(generated: Columns, reference: Columns) -> Iterator[Constraint]:
    """Measure how far the generated events are from what does not vary in the reference, such as a fixed mass."""
    for name, truth in reference.values.items():
        if is_constant(truth):
            centre = float(np.nanmedian(truth)) if np.isfinite(truth).any() else 0.0
            scale = max(abs(centre), 1.0)
            found = [_largest(np.abs(sample - centre) / scale) for sample in (generated.values[name], truth)]
            yield _constraint(f"{name} is constant", *found)


def _constraint(name: str, generated: float, reference: float) -> Constraint:
    """Allow what rounding allows, or a few times what the reference itself has."""
    return Constraint(name, generated, reference, max(TOLERANCE, 4.0 * reference))


def is_constant(values: FloatArray) -> bool:
    """Whether a column varies by no more than the rounding of its inputs."""
    finite = values[np.isfinite(values)]
    return not finite.size or float(np.ptp(finite)) <= _CONSERVED * max(float(np.abs(finite).max()), 1.0)


def _off_shell(events: Events, slot: str, mass: float) -> float:
    p = events.particle(slot)[events.present()[:, events.schema.slots.index(slot)]]
    square = p[:, 0] ** 2 - (p[:, 1:] ** 2).sum(axis=1)
    return _largest(np.abs(square - mass**2) / np.maximum(p[:, 0] ** 2, 1e-300))


def _imbalance(events: Events, axis: int) -> float:
    total = events.momenta.sum(axis=1)
    return _largest(np.abs(total[:, axis]) / np.maximum(np.abs(total[:, 0]), 1e-300))


def _largest(values: FloatArray) -> float:
    return float(np.nanmax(values)) if np.isfinite(values).any() else 0.0

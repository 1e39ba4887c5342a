"""Coordinates of events in varying number, chosen by looking at events."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bijecta.hep.coordinates import ranged
from bijecta.hep.coordinates_objects import ObjectCoordinates
from bijecta.hep.coordinates_slots import Range, list_slots
from bijecta.hep.events import Events

_REPEATED = 0.005  # a share of values at an end that no density gives so close together
_FEW = 5  # values that may lie together by chance
_TOGETHER = 1e-4  # how close, relative to the spread


def measure_objects(
    events: Events,
    *,
    tree: Any = None,
    masses: Mapping[str, Mapping[str, Any]] | None = None,
    resonance: tuple[float, float] | None = None,
    pt_min: Mapping[str, float] | None = None,
    rapidity_max: Mapping[str, float] | None = None,
    drawn: Mapping[str, Mapping[str, Any]] | None = None,
    limits: Mapping[str, Range] | None = None,
) -> ObjectCoordinates:
    """Choose coordinates of events of which some things vary in number: thresholds, ranges, and what is cut off.

    Args:
        events: events like those that the flow shall learn.
        tree: as in `ObjectCoordinates`.
        masses: as in `EventCoordinates`; a range that is missing is that of the events and 1 % more.
        resonance: as in `ObjectCoordinates`.
        pt_min: as in `ObjectCoordinates`; a threshold that is missing is 99 % of the smallest pT.
        rapidity_max: as in `ObjectCoordinates`.
        drawn: as in `ObjectCoordinates`.
        limits: as in `ObjectCoordinates`; None to take every end at which more than 0.5 % of the values lie together,
            such as masses of zero.

    Returns:
        The coordinates.

    Raises:
        InputError: what `ObjectCoordinates` raises.

    Reference:
        Verheyen (2022), "Event generation and density estimation with surjective normalizing flows".

    Example:
        >>> from bijecta.hep.schema import EventSchema, VariableParticles
        >>> photons = EventSchema((), (VariableParticles("gamma", 22, 0.0, most=1),))
        >>> momenta = np.array([[[500.0, 300.0, 0.0, 400.0]], [[1300.0, 500.0, 0.0, 1200.0]]])
        >>> measure_objects(Events(photons, momenta)).pt_min
        {'gamma': 297.0}
    """
    schema, there = events.schema, events.present()
    found: dict[str, float] = {}
    for slot in list_slots(schema, fixed=tree is None):
        sizes = events.column(f"{slot.name}.pt")[there[:, schema.slots.index(slot.name)]]
        found[slot.option] = min([0.99 * float(sizes.min(initial=np.inf)), found.get(slot.option, np.inf)])
    thresholds = {name: value for name, value in found.items() if np.isfinite(value)} | dict(pt_min or {})
    plain = ObjectCoordinates(schema, tree, {}, resonance, thresholds, rapidity_max or {}, drawn or {})
    rows, columns = plain.rows(events)[0], plain.columns
    shapes = ranged(masses or {}, columns, rows)
    ends = _ends(plain, rows) if limits is None else limits
    return replace(plain, masses=shapes, limits=ends)


def _ends(coordinates: ObjectCoordinates, rows: Tensor) -> dict[str, Range]:
    """Find the columns of rows (n, D) of which many values lie together at an end, and these ends.

    Particles of one group are looked at together: the last of them are rare.
    """
    alike: dict[str, list[str]] = {}
    groups = {name: f"{slot.option}.{name.rpartition('.')[2]}" for slot in coordinates.slots for name in slot.columns}
    for name in coordinates.limitable:
        alike.setdefault(groups.get(name, name), []).append(name)
    found: dict[str, Range] = {}
    for names in alike.values():
        pool = [rows[coordinates.present(name, rows), coordinates.columns.index(name)] for name in names]
        ends = _ends_of(torch.cat(pool))
        if ends != (None, None):
            found |= dict.fromkeys(names, ends)
    return found


def _ends_of(values: Tensor) -> Range:
    if len(values) < _FEW or float(values.std()) == 0.0:
        return (None, None)
    close = _TOGETHER * float(values.std())
    low, high = values <= values.min() + close, values >= values.max() - close
    many = [int(side.sum()) >= max(_FEW, _REPEATED * len(values)) for side in (low, high)]
    return (float(values[low].max()) if many[0] else None, float(values[high].min()) if many[1] else None)

"""Events in ROOT files: collections of particles as in NanoAOD, in a TTree or an RNTuple, by uproot."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bijecta.data import write_atomically
from bijecta.data.formats import damage_named
from bijecta.errors import FileFormatError, InputError, require
from bijecta.hep import kinematics
from bijecta.hep.events import Events
from bijecta.hep.files_layout import (
    header_of,
    labelled_conditions,
    numbered_conditions,
    particle_numbers,
    read_header,
)
from bijecta.hep.schema import EventSchema

FloatArray = NDArray[np.float64]

_TREE, _HEADER = "Events", "bijecta"
_COLLECTIONS = {11: "Electron", 13: "Muon", 15: "Tau", 22: "Photon"}
_COORDINATES = {
    "pt": kinematics.pt,
    "eta": kinematics.pseudorapidity,
    "phi": kinematics.azimuth,
    "mass": kinematics.mass,
}


def write_root(events: Events, path: str | os.PathLike[str], *, rntuple: bool) -> None:
    """Write events as Muon_pt, Muon_eta, Muon_phi, Muon_mass, ... per collection, and scalars per event."""
    uproot = require("uproot", extra="hep", purpose="Writing ROOT files")
    awkward = require("awkward", extra="hep", purpose="Writing ROOT files")
    _check_directions(events)
    columns: dict[str, Any] = {_branch(name): values for name, values in numbered_conditions(events).items()}
    if events.weight is not None:
        columns[_branch(str(events.schema.weight))] = events.weight
    pdg, present = particle_numbers(events), events.present()
    for collection, slots in _slots_of(events.schema).items():
        there = present[:, slots]
        fields = _fields(events.momenta[:, slots], pdg[:, slots], np.array(slots))
        columns[collection] = {
            name: awkward.unflatten(values[there], there.sum(axis=1)) for name, values in fields.items()
        }
    with tempfile.TemporaryDirectory() as folder:  # uproot writes to a name
        temporary = Path(folder) / "events.root"
        with uproot.recreate(temporary) as file:
            _fill(awkward, file, columns, rntuple=rntuple)
            file[_HEADER] = header_of(events)
        content = temporary.read_bytes()
    write_atomically(path, lambda target: target.write(content))


def _fill(awkward: Any, file: Any, columns: Mapping[str, Any], *, rntuple: bool) -> None:
    if rntuple:
        flat: dict[str, Any] = {}
        for name, values in columns.items():
            flat |= (
                {f"{name}_{field}": each for field, each in values.items()}
                if isinstance(values, dict)
                else {name: values}
            )
        file.mkrntuple(_TREE, flat)
        return
    zipped = {name: awkward.zip(values) if isinstance(values, dict) else values for name, values in columns.items()}
    file.mktree(
        _TREE,
        {name: values.dtype if isinstance(values, np.ndarray) else values.type for name, values in zipped.items()},
    )
    file[_TREE].extend(zipped)


def _check_directions(events: Events) -> None:
    along = (kinematics.pt(events.momenta) == 0.0) & (events.momenta[..., 3] != 0.0)
    if along.any():
        row, slot = np.argwhere(along)[0]
        raise InputError(
            f"ROOT files hold pseudorapidities, which are infinite along the beam: {events.schema.slots[slot]} in row "
            f"{row}. Write another format."
        )


def _branch(name: str) -> str:
    """Return a name that ROOT's own formulas can use."""
    return name.replace("-", "minus").replace("+", "plus").replace(" ", "_")


def _slots_of(schema: EventSchema) -> dict[str, list[int]]:
    """Return which slots each collection holds: Muon, Electron, ..., GenPart, or a group of variable particles."""
    names = [_COLLECTIONS.get(abs(particle.pdg), "GenPart") for particle in schema.particles]
    names += [_branch(group.name) for group in schema.variable for _ in group.slots]
    return {name: [k for k, other in enumerate(names) if other == name] for name in dict.fromkeys(names)}


def _fields(momenta: FloatArray, pdg: NDArray[np.int64], slots: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    fields: dict[str, NDArray[Any]] = {name: function(momenta) for name, function in _COORDINATES.items()}
    # With the energy and the slot besides, what is read back is what was written.
    fields["energy"] = momenta[..., 0]
    fields["pdgId"] = pdg.astype(np.int32)
    fields["slot"] = np.broadcast_to(slots, pdg.shape).astype(np.int32)
    return fields


def read_root(path: str | os.PathLike[str], schema: EventSchema | None) -> Events:
    """Return the events of a ROOT file of ours, or of a NanoAOD file by the names in a schema."""
    uproot = require("uproot", extra="hep", purpose="Reading ROOT files")
    awkward = require("awkward", extra="hep", purpose="Reading ROOT files")
    with damage_named(str(path), "ROOT"), uproot.open(path) as file:
        if file.file.fEND > os.path.getsize(path):
            raise FileFormatError(f"{path} is truncated: {file.file.fEND} bytes were written. Download it again.")
        if _TREE not in file:
            raise FileFormatError(f"{path} holds {', '.join(file.keys()) or 'nothing'}; expected a tree {_TREE}.")
        tree = file[_TREE]
        own = _HEADER in file
        if own:
            schema, metadata = read_header(str(file[_HEADER]), str(path))
        elif schema is None:
            raise InputError(
                f"{path} was not written here. Say what to read: read_events(path, schema=EventSchema((), variable="
                "(VariableParticles('Muon', 13, 0.1057, most=4),)))."
            )
        else:
            metadata = {}
            _check_foreign(schema)
        _check_branches(tree, schema, str(path))
        momenta, mask = _particles(awkward, tree, schema, exact=own)
        condition = {name: tree[_branch(name)].array(library="np") for name in schema.condition_names}
        weight = schema.weight and _branch(schema.weight)
        return Events(
            schema,
            momenta,
            mask if schema.variable or not mask.all() else None,
            labelled_conditions(schema, condition),
            tree[weight].array(library="np") if weight in tree.keys() else None,  # noqa: SIM118 - a tree is no dict
            metadata,
        )


def _check_foreign(schema: EventSchema) -> None:
    if schema.particles:
        raise InputError(
            "The collections of NanoAOD have any number of particles: describe them by "
            "variable=(VariableParticles(...),)."
        )


def _check_branches(tree: Any, schema: EventSchema, path: str) -> None:
    wanted = [f"{name}_{field}" for name in _slots_of(schema) for field in ("pt", "eta", "phi")]
    wanted += [_branch(name) for name in schema.condition_names]
    missing = [name for name in wanted if name not in tree.keys()]  # noqa: SIM118
    if missing:
        raise FileFormatError(
            f"{path}: {_TREE} has no branches {', '.join(missing)}. It has {', '.join(tree.keys()[:20])}."
        )


def _particles(awkward: Any, tree: Any, schema: EventSchema, *, exact: bool) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return momenta (n, k, 4) and mask (n, k)."""
    shape = tree.num_entries, len(schema.slots)
    momenta, mask = np.zeros((*shape, 4)), np.zeros(shape, dtype=bool)
    for collection, slots in _slots_of(schema).items():
        jagged = {
            field: tree[f"{collection}_{field}"].array()
            for field in (*_COORDINATES, "energy", "slot")
            if f"{collection}_{field}" in tree.keys()  # noqa: SIM118
        }
        # NanoAOD orders particles by falling transverse momentum; those beyond the last slot are left out.
        jagged = jagged if exact else {field: values[:, : len(slots)] for field, values in jagged.items()}
        rows = awkward.to_numpy(awkward.flatten(awkward.broadcast_arrays(np.arange(shape[0]), jagged["pt"])[0]))
        place = awkward.to_numpy(awkward.flatten(awkward.local_index(jagged["pt"]))) + slots[0]
        flat = {name: awkward.to_numpy(awkward.flatten(values)).astype(np.float64) for name, values in jagged.items()}
        where = rows, flat["slot"].astype(np.int64) if exact else place
        mass = flat.get("mass", np.full(len(rows), schema.masses[slots[0]] or 0.0))
        momenta[where] = kinematics.four_momentum(flat["pt"], flat["eta"], flat["phi"], mass)
        if exact:
            momenta[(*where, 0)] = flat["energy"]
        mask[where] = True
    return momenta, mask

"""How events become named arrays and a line of JSON, which every file format stores in its own way."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bijecta.errors import FileFormatError, InputError
from bijecta.hep.events import Events
from bijecta.hep.schema import EventSchema

FloatArray = NDArray[np.float64]

FORMAT = "bijecta events 1"
CONDITION = "condition/"


def header_of(events: Events) -> str:
    """Return schema and metadata as one line of JSON."""
    content = {"format": FORMAT, "schema": events.schema.to_json(), "metadata": dict(events.metadata)}
    try:
        return json.dumps(content, ensure_ascii=True)
    except (TypeError, ValueError) as error:
        raise InputError(f"The metadata cannot be written as JSON ({error}). Use numbers, texts and lists.") from error


def read_header(text: str | bytes, path: str) -> tuple[EventSchema, dict[str, Any]]:
    """Return schema and metadata from what `header_of` gave."""
    try:
        content = json.loads(text)
        known, metadata = content["format"] == FORMAT, dict(content["metadata"])
    except (ValueError, TypeError, KeyError) as error:
        raise FileFormatError(f"{path} has a damaged header ({error}). Write the events again.") from error
    if not known:
        raise FileFormatError(f"{path} has the format {content['format']!r}; expected {FORMAT!r}.")
    return EventSchema.from_json(content["schema"]), metadata


def arrays_of(events: Events) -> dict[str, NDArray[Any]]:
    """Return the arrays of events by name: momenta, mask, weight and "condition/<name>", labels as numbers."""
    arrays: dict[str, NDArray[Any]] = {"momenta": events.momenta}
    if events.mask is not None:
        arrays["mask"] = events.mask
    if events.weight is not None:
        arrays["weight"] = events.weight
    return arrays | {CONDITION + name: values for name, values in numbered_conditions(events).items()}


def events_of(schema: EventSchema, metadata: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Events:
    """Return the events that `arrays_of` took apart."""
    condition = {name: arrays[CONDITION + name] for name in schema.condition_names}
    return Events(
        schema,
        arrays["momenta"],
        mask=arrays.get("mask"),
        condition=labelled_conditions(schema, condition),
        weight=arrays.get("weight"),
        metadata=metadata,
    )


def notes_of(events: Events) -> list[str]:
    """Return a line of JSON per event: which slots are present, and the conditions; for formats that list particles."""
    columns = {name: values.tolist() for name, values in numbered_conditions(events).items()}
    return [
        json.dumps(
            {"slots": np.flatnonzero(present).tolist(), "condition": {name: columns[name][row] for name in columns}}
        )
        for row, present in enumerate(events.present())
    ]


def events_of_notes(
    header: str, path: str, notes: Sequence[Mapping[str, Any]], momenta: Sequence[FloatArray], weight: FloatArray
) -> Events:
    """Return the events whose particles (E, px, py, pz) were listed, one array (present, 4) per event, with notes."""
    schema, metadata = read_header(header, path)
    shape = len(notes), len(schema.slots)
    filled, mask = np.zeros((*shape, 4)), np.zeros(shape, dtype=bool)
    for row, (note, listed) in enumerate(zip(notes, momenta, strict=True)):
        filled[row, note["slots"]], mask[row, note["slots"]] = listed, True
    arrays: dict[str, NDArray[Any]] = {"momenta": filled}
    arrays |= {
        CONDITION + name: np.array([note["condition"][name] for note in notes]) for name in schema.condition_names
    }
    if schema.variable or not mask.all():
        arrays["mask"] = mask
    if schema.weight is not None:
        arrays["weight"] = weight
    return events_of(schema, metadata, arrays)


def particle_numbers(events: Events) -> NDArray[np.int64]:
    """Return the particle number of every slot of every event, from the schema or from the condition pdg_<slot>."""
    pdg = np.tile(np.array(events.schema.pdg, dtype=np.int64), (len(events), 1))
    for k, slot in enumerate(events.schema.slots):
        if f"pdg_{slot}" in events.condition:
            pdg[:, k] = events.condition[f"pdg_{slot}"]
    return pdg


def beams_of(events: Events) -> tuple[int, int]:
    """Return the particle numbers of the beams from the metadata; two protons if there are none."""
    beams = [int(number) for number in events.metadata.get("beams", ())]
    return (beams[0], beams[1]) if len(beams) == 2 else (2212, 2212)


def numbered_conditions(events: Events) -> dict[str, NDArray[Any]]:
    """Return the conditions with texts replaced by their position among the values of the schema."""
    numbered = {}
    for condition in events.schema.condition:
        values = events.condition[condition.name]
        if values.dtype.kind in "OUS":
            positions = {str(value): k for k, value in enumerate(condition.values)}
            unknown = sorted({str(value) for value in values} - set(positions))
            if unknown:
                raise InputError(f"{condition.name} holds {', '.join(unknown)}, which the schema does not list.")
            values = np.array([positions[str(value)] for value in values], dtype=np.int64)
        numbered[condition.name] = values
    return numbered


def labelled_conditions(schema: EventSchema, numbered: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the conditions with positions replaced by texts, where the values of the schema are texts."""
    labelled = dict(numbered)
    for condition in schema.condition:
        if condition.values and all(isinstance(value, str) for value in condition.values):
            labelled[condition.name] = np.array(condition.values)[numbered[condition.name].astype(np.int64)]
    return labelled

"""The schema of events: what it refuses, its slots, and the way to JSON and back."""

import json

import pytest

from bijecta.errors import FileFormatError, InputError
from bijecta.hep import Condition, EventSchema, Particle, VariableParticles

MUON = Particle("mu-", 13, 0.1056583755)
SCHEMA = EventSchema(
    (MUON, Particle("Z", 23)),
    (VariableParticles("jet", 0, None, most=2),),
    (Condition("energy"), Condition("process", "one_hot", ("dijet", "ttbar")), Condition("scale", "number")),
    weight="genWeight",
)


def test_slots_name_every_row_of_an_event():
    assert SCHEMA.slots == ("mu-", "Z", "jet1", "jet2")
    assert SCHEMA.masses == (0.1056583755, None, None, None)
    assert SCHEMA.pdg == (13, 23, 0, 0)
    assert SCHEMA.condition_names == ("energy", "process", "scale")


def test_the_schema_survives_json():
    assert EventSchema.from_json(json.loads(json.dumps(SCHEMA.to_json()))) == SCHEMA


@pytest.mark.parametrize(
    "build",
    [
        lambda: Particle("", 13),
        lambda: Particle("mu-", 13, -0.1),
        lambda: Particle("mu-", 13, float("nan")),
        lambda: VariableParticles("jet", 0, None, most=0),
        lambda: VariableParticles("jet", 0, None, most=2, order="mass"),
        lambda: Condition("energy", "logarithm"),
        lambda: Condition("process", "one_hot"),
        lambda: Condition("process", "one_hot", ("a", "a")),
        lambda: Condition("energy", "log_energy", (91.2,)),
        lambda: EventSchema(()),
        lambda: EventSchema((MUON, MUON)),
        lambda: EventSchema((MUON,), condition=(Condition("mu-"),)),
        lambda: EventSchema((MUON,), condition=(Condition("energy"),), weight="energy"),
        lambda: EventSchema((MUON,), units="MeV"),
    ],
)
def test_impossible_schemas_are_refused(build):
    with pytest.raises(InputError):
        build()


@pytest.mark.parametrize("content", [{}, {"particles": 3}, [], {**SCHEMA.to_json(), "particles": [{"mass": 1.0}]}])
def test_other_json_is_refused(content):
    with pytest.raises(FileFormatError, match="not an event schema"):
        EventSchema.from_json(content)

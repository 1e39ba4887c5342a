"""HepMC3: the event record that generators and detector simulations exchange."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bijecta.data.formats import damage_named
from bijecta.errors import FileFormatError, InputError, require
from bijecta.hep.events import Events
from bijecta.hep.files_layout import beams_of, events_of_notes, header_of, notes_of, particle_numbers
from bijecta.hep.files_records import Records, events_from_records

_END = b"HepMC::Asciiv3-END_EVENT_LISTING"
_FINAL, _BEAM = 1, 4  # status of a particle


def write_hepmc(events: Events) -> bytes:
    """Return events as HepMC3 text: one vertex each, from two beams along z to the particles."""
    hepmc = require("pyhepmc", extra="hep", purpose="Writing HepMC files")
    if not len(events):
        raise InputError("There are no events to write: HepMC files keep the schema with the first event.")
    run = hepmc.GenRunInfo()
    run.attributes = {"bijecta": header_of(events)}
    run.weight_names = [events.schema.weight or "weight"]
    weight = np.ones(len(events)) if events.weight is None else events.weight
    pdg, present, beams = particle_numbers(events), events.present(), beams_of(events)
    with tempfile.TemporaryDirectory() as folder:  # the writer takes a name, no stream
        path = Path(folder) / "events.hepmc"
        with hepmc.io.WriterAscii(str(path), run) as writer:
            writer.precision = 16  # digits after the point: seventeen in all make float64 exact
            for row, note in enumerate(notes_of(events)):
                event = _event(hepmc, events.momenta[row, present[row]], pdg[row, present[row]].tolist(), beams)
                event.run_info, event.event_number, event.weights = run, row, [float(weight[row])]
                event.attributes["bijecta"] = note
                writer.write(event)
        return path.read_bytes()


def _event(hepmc: Any, momenta: NDArray[np.float64], pdg: list[int], beams: tuple[int, int]) -> Any:
    event = hepmc.GenEvent(hepmc.Units.GEV, hepmc.Units.MM)
    vertex = hepmc.GenVertex()
    total = momenta.sum(axis=0)
    for number, sign in zip(beams, (1.0, -1.0), strict=True):
        energy = (total[0] + sign * total[3]) / 2.0
        vertex.add_particle_in(hepmc.GenParticle((0.0, 0.0, sign * energy, energy), number, _BEAM))
    for number, (energy, x, y, z) in zip(pdg, momenta.tolist(), strict=True):
        vertex.add_particle_out(hepmc.GenParticle((x, y, z, energy), number, _FINAL))
    event.add_vertex(vertex)
    return event


def read_hepmc(path: str) -> Events:
    """Return the final particles of a file of HepMC3 events, ours or another program's, in GeV."""
    hepmc = require("pyhepmc", extra="hep", purpose="Reading HepMC files")
    with damage_named(path, "HepMC3 text"):
        _check_whole(path)
        events = []
        run: dict[str, Any] = {}
        with hepmc.io.ReaderAscii(path) as reader:
            for event in reader:
                event.set_units(hepmc.Units.GEV, hepmc.Units.MM)
                run = event.run_info.attributes if event.run_info else {}
                events.append(_final(event))
        momenta, pdg, weights, notes = zip(*events, strict=True) if events else ((), (), (), ())
        weight = np.array(weights, dtype=np.float64)
        if "bijecta" in run:
            header = run["bijecta"].astype(str)
            return events_of_notes(header, path, [json.loads(note) for note in notes], momenta, weight)
        counts = np.array([len(each) for each in pdg], dtype=np.int64)
        flat = Records(
            counts, np.concatenate([[], *pdg]).astype(np.int64), np.concatenate([np.empty((0, 4)), *momenta]), weight
        )
        return events_from_records(flat, {}, path)


def _check_whole(path: str) -> None:
    content = Path(path).read_bytes()
    if not content.lstrip().startswith(b"HepMC::"):
        raise FileFormatError(f"{path} holds no HepMC3 text: it does not begin with HepMC::Version.")
    if _END not in content[-1000:]:
        raise FileFormatError(f"{path} is truncated: {_END.decode()} is missing. Write or download it again.")


def _final(event: Any) -> tuple[NDArray[np.float64], NDArray[np.int64], float, str]:
    particles = event.numpy.particles
    final = particles.status == _FINAL
    momenta = np.stack([particles.e, particles.px, particles.py, particles.pz], axis=1)[final]
    weight = event.weights[0] if event.weights else 1.0
    note = event.attributes["bijecta"].astype(str) if "bijecta" in event.attributes else "{}"
    return momenta, particles.pid[final].astype(np.int64), weight, note

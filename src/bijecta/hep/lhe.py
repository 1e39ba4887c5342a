"""Les Houches events: the XML text by which programs for hard collisions hand their events to a parton shower."""

import gzip
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bijecta.data.formats import damage_named, read_bytes
from bijecta.errors import FileFormatError, InputError
from bijecta.hep.events import Events
from bijecta.hep.files_layout import beams_of, events_of_notes, header_of, notes_of, particle_numbers
from bijecta.hep.files_records import Records, events_from_records

_BALANCE = 1e-4  # largest transverse momentum of an event over its energy: what float32 and rounding may leave
_COLOURED = (*range(1, 7), 21)
_THIRDS = {1: -1, 2: 2, 3: -1, 4: 2, 5: -1, 6: 2, 11: -3, 13: -3, 15: -3, 24: 3, 37: 3}  # charge of a particle, e / 3
_CANDIDATES = (21, 2, 1, -2, -1)
_INCOMING = ((21, 21), (2, -2), *((first, second) for first in _CANDIDATES for second in _CANDIDATES))
_HEADER = re.compile(r"<!-- bijecta (.*?) -->")
# Not <initrwgt> and not <eventgroup>, which files have as well.
_INIT = re.compile(r"<init\b[^>]*>(.*?)</init>", re.DOTALL)
_EVENT = re.compile(r"<event\b[^>]*>(.*?)</event>", re.DOTALL)


# ---------------------------------------------------------------- writing


def write_lhe(events: Events, *, compressed: bool = False) -> bytes:
    """Return events as Les Houches events 3.0, which Pythia reads and showers.

    The incoming partons carry what the final state needs along the beams. Files do not know which ones they were, nor
    how colours flowed: they are chosen so that charge and colour are conserved. The energy of the
    beams comes from the condition or the metadata "energy", which beams they are from the metadata "beams".
    """
    pdg = _checked_numbers(events)
    if len(events):
        _check_balance(events)
    text = io.StringIO()
    # A comment of XML must not hold two dashes in a row.
    header = header_of(events).replace("--", "-\\u002d")
    text.write(f'<LesHouchesEvents version="3.0">\n<!-- bijecta {header} -->\n{_init(events)}')
    weight = np.ones(len(events)) if events.weight is None else events.weight
    for row, (there, note) in enumerate(zip(events.present(), notes_of(events), strict=True)):
        numbers, momenta = pdg[row, there].tolist(), events.momenta[row, there]
        text.write(_event(numbers, momenta, float(weight[row]), beams_of(events)))
        text.write(f"# bijecta {note}\n</event>\n")
    text.write("</LesHouchesEvents>\n")
    content = text.getvalue().encode("ascii")
    return gzip.compress(content, mtime=0) if compressed else content


def _checked_numbers(events: Events) -> NDArray[np.int64]:
    pdg = particle_numbers(events)
    unknown = ((pdg == 0) & events.present()).any(axis=0)
    if unknown.any():
        slot = events.schema.slots[int(unknown.argmax())]
        raise InputError(
            f"Les Houches events need a particle number for {slot}: give it in the schema, or per event as the "
            f"condition pdg_{slot}."
        )
    return pdg


def _check_balance(events: Events) -> None:
    total = events.momenta.sum(axis=1)
    bad = np.hypot(total[:, 1], total[:, 2]) > _BALANCE * total[:, 0]
    if bad.any():
        raise InputError(
            f"Les Houches events hold hard collisions, whose transverse momenta add up to zero; they do not in "
            f"{int(bad.sum())} of {len(bad)} events (first: row {int(bad.argmax())}). Write another format."
        )


def _init(events: Events) -> str:
    total = events.momenta.sum(axis=1)
    least = total[:, 0] + np.abs(total[:, 3])
    energy = events.condition.get("energy", events.metadata.get("energy", least))
    beam = float(np.max(energy, initial=0.0)) / 2.0
    first, second = beams_of(events)
    section = np.atleast_1d(events.metadata.get("cross_section_pb", 1.0))
    # Strategy 3 is unit weights, -4 weights of either sign.
    strategy = 3 if events.weight is None else -4
    return (
        f"<init>\n{first} {second} {beam!r} {beam!r} 0 0 0 0 {strategy} 1\n{float(section[0])!r} 0.0 1.0 1\n"
        "<generator name='bijecta'>bijecta</generator>\n</init>\n"
    )


def _event(pdg: list[int], momenta: NDArray[np.float64], weight: float, beams: tuple[int, int]) -> str:
    total = momenta.sum(axis=0)
    incoming = _incoming(pdg, beams)
    energies = (total[0] + total[3]) / 2.0, (total[0] - total[3]) / 2.0
    colours = _colours(incoming, pdg)
    scale = float(np.sqrt(max(total[0] ** 2 - total[3] ** 2, 0.0)))
    lines = ["<event>", f"{len(pdg) + 2} 1 {weight!r} {scale!r} -1.0 -1.0"]
    for number, energy, sign, (colour, anticolour) in zip(incoming, energies, (1.0, -1.0), colours[:2], strict=True):
        momentum = f"0.0 0.0 {float(sign * energy)!r} {float(energy)!r} 0.0"
        lines.append(f"{number} -1 0 0 {colour} {anticolour} {momentum} 0.0 9.0")
    for number, (energy, x, y, z), (colour, anticolour) in zip(pdg, momenta.tolist(), colours[2:], strict=True):
        mass = float(np.sqrt(max(energy**2 - x**2 - y**2 - z**2, 0.0)))
        lines.append(f"{number} 1 1 2 {colour} {anticolour} {x!r} {y!r} {z!r} {energy!r} {mass!r} 0.0 9.0")
    return "\n".join(lines) + "\n"


def _incoming(pdg: list[int], beams: tuple[int, int]) -> tuple[int, int]:
    """Choose partons that conserve charge and the number of quarks; gluons first where there are colours."""
    candidates = _INCOMING if any(abs(number) in _COLOURED for number in pdg) else _INCOMING[1:]
    if abs(beams[0]) < 20:  # leptons collide as they are
        candidates = (beams,)
    wanted = _charge(pdg), _quarks(pdg)
    found = next((pair for pair in candidates if (_charge(pair), _quarks(pair)) == wanted), None)
    if found is None:
        raise InputError(
            f"No two incoming particles give {pdg}, which has charge {wanted[0]}/3 and {wanted[1]} more "
            "quarks than antiquarks. Correct the particle numbers."
        )
    return found


def _charge(pdg: list[int] | tuple[int, ...]) -> int:
    return sum(_THIRDS.get(abs(number), 0) * (1 if number > 0 else -1) for number in pdg)


def _quarks(pdg: list[int] | tuple[int, ...]) -> int:
    return sum((1 if number > 0 else -1) for number in pdg if abs(number) <= 6)


def _colours(incoming: tuple[int, int], outgoing: list[int]) -> list[tuple[int, int]]:
    """Return a colour and an anticolour for each particle, 0 for none, so that every line has two ends.

    Among more than two coloured particles a quark directly before an antiquark forms a singlet, as from a W; the rest
    is joined in turn, so that no gluon is joined to itself.
    """
    pdg = [*incoming, *outgoing]
    quark = [abs(number) <= 6 for number in pdg]
    # Of an incoming particle the colour goes in, so it ends where an outgoing anticolour would.
    positive = [(number > 0) == (k > 1) for k, number in enumerate(pdg)]
    has_colour = [k for k, number in enumerate(pdg) if number == 21 or (quark[k] and positive[k])]
    has_anticolour = [k for k, number in enumerate(pdg) if number == 21 or (quark[k] and not positive[k])]
    neighbours = [(k, k + 1) for k in range(2, len(pdg) - 1)]
    singlets = [(k, j) for k, j in neighbours if quark[k] and quark[j] and positive[k] and not positive[j]]
    several = sum(abs(number) in _COLOURED for number in outgoing) > 2
    lines = _joined(has_colour, has_anticolour, singlets if several else [])
    tags = [[0, 0] for _ in pdg]
    for tag, (start, end) in enumerate(lines, 501):
        tags[start][start < 2] = tag
        tags[end][end > 1] = tag
    return [(colour, anticolour) for colour, anticolour in tags]


def _joined(starts: list[int], ends: list[int], singlets: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return lines from starts to ends: the singlets, and the rest in turn, if that leaves no gluon alone."""
    free = [k for k in starts if k not in {start for start, _ in singlets}]
    open_ends = [k for k in ends if k not in {end for _, end in singlets}]
    for shift in range(max(len(open_ends), 1)):
        rest = list(zip(free, open_ends[shift:] + open_ends[:shift], strict=True))
        if all(start != end for start, end in rest):
            return singlets + rest
    if not singlets:
        raise InputError("A single gluon cannot carry colour away from particles without colour.")
    return _joined(starts, ends, [])


# ---------------------------------------------------------------- reading


def read_lhe(path: str) -> Events:
    """Return the events of a file of Les Houches events, compressed or not, ours or another program's."""
    with damage_named(path, "Les Houches events"):
        text = read_bytes(path, compressed=path.lower().endswith(".gz")).decode("utf-8", errors="replace")
        if "<LesHouchesEvents" not in text[:10000]:
            raise FileFormatError(f"{path} holds no Les Houches events: it does not begin with <LesHouchesEvents>.")
        if "</LesHouchesEvents>" not in text[-10000:]:
            raise FileFormatError(f"{path} is truncated: </LesHouchesEvents> is missing. Write or download it again.")
        header = _HEADER.search(text)
        blocks = [_block(lines) for lines in _blocks(text)]
        weight = np.array([each[0] for each in blocks])
        if header is None:
            return events_from_records(_records(blocks, weight), _metadata(text), path)
        notes, momenta = [note for _, _, note in blocks], [rows[:, [4, 1, 2, 3]] for _, rows, _ in blocks]
        return events_of_notes(header[1], path, notes, momenta, weight)


_Block = tuple[float, NDArray[np.float64], dict[str, Any]]


def _blocks(text: str) -> Iterator[list[str]]:
    """Yield the lines of each event that are not blank."""
    for body in _EVENT.findall(text):
        yield [line for line in body.splitlines() if line.strip()]


def _block(lines: list[str]) -> _Block:
    """Return the weight, the final particles as rows (number, px, py, pz, E) and our note."""
    count, _, weight, *_ = lines[0].split()
    rows = np.array([[float(word) for word in _fortran(line).split()[:11]] for line in lines[1 : 1 + int(count)]])
    note = next((line[len("# bijecta ") :] for line in lines if line.startswith("# bijecta ")), "{}")
    final = rows[rows[:, 1] == 1]
    return float(_fortran(weight)), final[:, [0, 6, 7, 8, 9]], json.loads(note)


def _fortran(text: str) -> str:
    return text.replace("D", "E").replace("d", "e")


def _records(blocks: list[_Block], weight: NDArray[np.float64]) -> Records:
    counts = np.array([len(rows) for _, rows, _ in blocks], dtype=np.int64)
    rows = np.concatenate([np.empty((0, 5)), *(rows for _, rows, _ in blocks)])
    return Records(counts, rows[:, 0].astype(np.int64), rows[:, [4, 1, 2, 3]], weight)


def _metadata(text: str) -> dict[str, Any]:
    """Return beams and cross section from the block <init>."""
    block = _INIT.search(text)
    if block is None:
        return {}
    words, section = (line.split() for line in _fortran(block[1].strip()).splitlines()[:2])
    return {
        "beams": [int(words[0]), int(words[1])],
        "beam_energies": [float(words[2]), float(words[3])],
        "cross_section_pb": [float(section[0])],
    }

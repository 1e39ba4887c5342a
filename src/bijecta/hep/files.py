"""Events in files: one reader and one writer, which choose the format by the extension."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bijecta.data import write_atomically
from bijecta.data.formats import damage_named
from bijecta.errors import FileFormatError, InputError, require
from bijecta.hep.events import Events
from bijecta.hep.files_hdf5 import read_hdf5, write_hdf5
from bijecta.hep.files_layout import CONDITION, arrays_of, events_of, header_of, read_header
from bijecta.hep.hepmc import read_hepmc, write_hepmc
from bijecta.hep.lhe import read_lhe, write_lhe
from bijecta.hep.root_files import read_root, write_root
from bijecta.hep.schema import EventSchema

_COMPONENTS = ("E", "px", "py", "pz")


def write_events(events: Events, path: str | os.PathLike[str], *, rntuple: bool = False) -> None:
    r"""Write events to a file whose extension says the format.

    ======================  ==========================================================================================
    .npz, .h5, .hdf5        arrays; exact
    .parquet                a column for each component of each particle; exact
    .root                   TTree or RNTuple "Events" with collections like those of NanoAOD, Muon_pt, ...; 1e-12 of E
    .lhe, .lhe.gz           Les Houches events 3.0, which Pythia reads and showers; exact
    .hepmc, .hepmc3         HepMC3 text; exact
    ======================  ==========================================================================================

    The file appears complete or not at all. Schema and metadata travel along in each format. Les Houches events and
    HepMC3 name the beams too: from the metadata "beams" (two particle numbers, else protons) and "energy" (GeV).

    Args:
        events: what to write; energies in GeV.
        path: the file.
        rntuple: whether a ROOT file holds an RNTuple instead of a TTree.

    Raises:
        InputError: an unknown extension, metadata that JSON cannot hold, or events that the format cannot hold:
            particles along the beam in ROOT, unknown particle numbers or unbalanced momenta in Les Houches events.
        MissingDependencyError: ROOT, HepMC3, HDF5 and Parquet need a package each.

    Reference:
        Andersen et al. (2014), "Les Houches 2013: Physics at TeV colliders: Standard Model working group report".

    Example:
        >>> import tempfile
        >>> from bijecta.hep.generators import MuonPairs
        >>> events = MuonPairs().sample(3, energy=91.2, seed=0)
        >>> path = Path(tempfile.mkdtemp()) / "muons.npz"
        >>> write_events(events, path)
        >>> np.array_equal(read_events(path).momenta, events.momenta)
        True
    """
    suffix = _suffix(path)
    if suffix == ".root":
        write_root(events, path, rntuple=rntuple)
        return
    content = _WRITERS[suffix](events)
    write_atomically(path, lambda file: file.write(content))


def read_events(path: str | os.PathLike[str], *, schema: EventSchema | None = None) -> Events:
    """Read events from a file whose extension says the format; see `write_events`.

    Files of others are read too: Les Houches events and HepMC3, from whose particles a schema is made, JetNet files,
    and NanoAOD, for which the schema says what to read: a group of variable particles called "Muon" comes from
    nMuon, Muon_pt, Muon_eta, Muon_phi and Muon_mass, conditions and weight from branches of their names.

    Args:
        path: the file.
        schema: what a NanoAOD file holds; other files say it themselves.

    Returns:
        The events, in GeV.

    Raises:
        FileFormatError: the file is truncated, damaged or holds something else.
        InputError: an unknown extension, or no schema for a file that needs one.
        MissingDependencyError: ROOT, HepMC3, HDF5 and Parquet need a package each.

    Reference:
        Andersen et al. (2014), "Les Houches 2013: Physics at TeV colliders: Standard Model working group report".

    Example:
        >>> read_events("muons.txt")
        Traceback (most recent call last):
        bijecta.errors.InputError: muons.txt: the extension must be one of .npz, .h5, .hdf5, .parquet, .root, .lhe, ...
    """
    suffix = _suffix(path)
    if not Path(path).is_file():
        raise InputError(f"There is no file {path}.")
    if suffix == ".root":
        return read_root(path, schema)
    return _READERS[suffix](str(path))


def _suffix(path: str | os.PathLike[str]) -> str:
    name = Path(path).name.lower()
    suffix = ".lhe.gz" if name.endswith(".lhe.gz") else Path(name).suffix
    known = (*_WRITERS, ".root")
    if suffix not in known:
        listed = ".npz, .h5, .hdf5, .parquet, .root, .lhe, .lhe.gz, .hepmc, .hepmc3"
        raise InputError(f"{path}: the extension must be one of {listed}; got {suffix or 'none'}.")
    return suffix


# ---------------------------------------------------------------- NumPy


def _to_npz(events: Events) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, values in {**arrays_of(events), "header": np.array(header_of(events))}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, values, allow_pickle=False)
    return buffer.getvalue()


def _from_npz(path: str) -> Events:
    with damage_named(path, "a NumPy archive of events"), open(path, "rb") as file:
        archive = np.load(file, allow_pickle=False)
        if "header" not in archive or "momenta" not in archive:
            raise FileFormatError(
                f"{path} holds {', '.join(archive.files) or 'nothing'}, not events. Expected what write_events writes; "
                "make Events(schema, momenta) from other arrays."
            )
        schema, metadata = read_header(str(archive["header"]), path)
        return events_of(schema, metadata, {name: archive[name] for name in archive.files})


# ---------------------------------------------------------------- Parquet


def _to_parquet(events: Events) -> bytes:
    pyarrow = require("pyarrow", extra="hep", purpose="Writing Parquet files")
    parquet = require("pyarrow.parquet", extra="hep", purpose="Writing Parquet files")
    arrays = arrays_of(events)
    momenta, mask = arrays.pop("momenta"), arrays.pop("mask", None)
    columns: dict[str, NDArray[Any]] = {}
    for k, slot in enumerate(events.schema.slots):
        columns |= {f"{slot}.{component}": momenta[:, k, j] for j, component in enumerate(_COMPONENTS)}
        if mask is not None:
            columns[f"{slot}.present"] = mask[:, k]
    columns |= arrays
    table = pyarrow.table({name: pyarrow.array(np.ascontiguousarray(values)) for name, values in columns.items()})
    buffer = io.BytesIO()
    parquet.write_table(table.replace_schema_metadata({"bijecta": header_of(events)}), buffer)
    return buffer.getvalue()


def _from_parquet(path: str) -> Events:
    parquet = require("pyarrow.parquet", extra="hep", purpose="Reading Parquet files")
    with damage_named(path, "Parquet"), open(path, "rb") as file:
        table = parquet.read_table(file)
        header = (table.schema.metadata or {}).get(b"bijecta")
        if header is None:
            raise FileFormatError(f"{path} is a table, not events: it has no header. Expected what write_events gives.")
        schema, metadata = read_header(header, path)
        columns = {name: table.column(name).to_numpy() for name in table.column_names}
        slots = schema.slots
        arrays = {name: columns[name] for name in columns if name == "weight" or name.startswith(CONDITION)}
        arrays["momenta"] = np.stack(
            [np.stack([columns[f"{slot}.{component}"] for component in _COMPONENTS], axis=1) for slot in slots], axis=1
        )
        if f"{slots[0]}.present" in columns:
            arrays["mask"] = np.stack([columns[f"{slot}.present"] for slot in slots], axis=1)
        return events_of(schema, metadata, arrays)


_WRITERS: dict[str, Callable[[Events], bytes]] = {
    ".npz": _to_npz,
    ".h5": write_hdf5,
    ".hdf5": write_hdf5,
    ".parquet": _to_parquet,
    ".lhe": write_lhe,
    ".lhe.gz": lambda events: write_lhe(events, compressed=True),
    ".hepmc": write_hepmc,
    ".hepmc3": write_hepmc,
}
_READERS: dict[str, Callable[[str], Events]] = {
    ".npz": _from_npz,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".parquet": _from_parquet,
    ".lhe": read_lhe,
    ".lhe.gz": read_lhe,
    ".hepmc": read_hepmc,
    ".hepmc3": read_hepmc,
}

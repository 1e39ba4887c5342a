"""Events in HDF5: our own layout, that of JetNet, and the showers of the CaloChallenge."""

import io
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bijecta.data.formats import damage_named
from bijecta.errors import FileFormatError, require
from bijecta.hep.events import Events
from bijecta.hep.files_layout import CONDITION, arrays_of, events_of, header_of, read_header
from bijecta.hep.kinematics import four_momentum
from bijecta.hep.schema import Condition, EventSchema, VariableParticles

FloatArray = NDArray[np.float64]

_JET_COLUMNS = ("pt", "eta", "mass")


def write_hdf5(events: Events) -> bytes:
    """Return events as the content of an HDF5 file; labels of conditions are stored as numbers."""
    h5py = require("h5py", extra="hep", purpose="Writing HDF5 files")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["bijecta"] = header_of(events)
        for name, values in arrays_of(events).items():
            file[name] = values
    return buffer.getvalue()


def read_hdf5(path: str) -> Events:
    """Return the events of an HDF5 file of our own or of JetNet's layout."""
    h5py = require("h5py", extra="hep", purpose="Reading HDF5 files")
    with damage_named(path, "HDF5"), h5py.File(path, "r") as file:
        if "bijecta" in file.attrs:
            schema, metadata = read_header(file.attrs["bijecta"], path)
            names = ["momenta", "mask", "weight", *(CONDITION + name for name in schema.condition_names)]
            return events_of(schema, metadata, {name: file[name][()] for name in names if name in file})
        if {"particle_features", "jet_features"} <= set(file):
            return _jets(path, file["particle_features"][()], file["jet_features"][()])
        hint = " Read it with read_showers." if {"incident_energies", "showers"} <= set(file) else ""
        raise FileFormatError(
            f"{path} holds {', '.join(file) or 'nothing'}. Expected events of ours, or JetNet's particle_features and "
            f"jet_features.{hint}"
        )


def _jets(path: str, particles: NDArray[Any], jets: NDArray[Any]) -> Events:
    """Return the constituents of jets from coordinates relative to the jet.

    JetNet gives particles as (η - η_jet, φ - φ_jet, pT / pT_jet, mask) and jets as (pT, η, m, number of particles),
    in GeV. Azimuths of jets are not kept: here they are 0.
    """
    if particles.ndim != 3 or particles.shape[2] < 4 or jets.ndim != 2 or jets.shape[1] != 4:
        raise FileFormatError(
            f"{path}: expected particle_features of shape (n, k, 4) and jet_features of shape (n, 4); "
            f"got {particles.shape} and {jets.shape}."
        )
    relative = particles.astype(np.float64)
    jet_pt, jet_eta, jet_mass = jets[:, :3].astype(np.float64).T
    mask = relative[..., 3] > 0.5
    momenta = four_momentum(
        relative[..., 2] * jet_pt[:, None],
        relative[..., 0] + jet_eta[:, None],
        relative[..., 1],
        np.zeros(mask.shape),
    )
    schema = EventSchema(
        (),
        (VariableParticles("constituent", 0, 0.0, most=mask.shape[1]),),
        condition=tuple(Condition(f"jet_{name}", "number") for name in _JET_COLUMNS),
    )
    condition = dict(zip(schema.condition_names, (jet_pt, jet_eta, jet_mass), strict=True))
    return Events(schema, momenta, mask, condition, metadata={"layout": "JetNet"})


def read_showers(path: str | os.PathLike[str]) -> tuple[FloatArray, FloatArray]:
    """Read the showers of a calorimeter in the layout of the CaloChallenge.

    Showers are energies in voxels, no four-momenta, so they come as a matrix.

    Args:
        path: an HDF5 file with incident_energies (n, 1) and showers (n, number of voxels), in MeV.

    Returns:
        Energies of the incoming particles (n,) and energies of the voxels (n, number of voxels), in GeV.

    Raises:
        FileFormatError: the file is damaged or has another layout.
        MissingDependencyError: h5py is not installed.

    Reference:
        Krause et al. (2024), "CaloChallenge 2022: a community challenge for fast calorimeter simulation".

    Example:
        >>> import h5py, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "showers.hdf5")
        >>> with h5py.File(path, "w") as file:
        ...     file["incident_energies"], file["showers"] = np.full((2, 1), 1000.0), np.ones((2, 368))
        >>> incident, voxels = read_showers(path)
        >>> incident.tolist(), voxels.shape
        ([1.0, 1.0], (2, 368))
    """
    h5py = require("h5py", extra="hep", purpose="Reading HDF5 files")
    with damage_named(str(path), "HDF5"), h5py.File(path, "r") as file:
        if not {"incident_energies", "showers"} <= set(file):
            raise FileFormatError(
                f"{path} holds {', '.join(file) or 'nothing'}; expected incident_energies and showers."
            )
        incident, voxels = (file[name][()].astype(np.float64) / 1000.0 for name in ("incident_energies", "showers"))
    if incident.size != len(voxels) or voxels.ndim != 2:
        raise FileFormatError(
            f"{path}: expected incident_energies (n, 1) and showers (n, voxels); got {incident.shape}, {voxels.shape}."
        )
    return incident.ravel(), voxels

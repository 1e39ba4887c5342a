"""What the analytic generators do with their arrays: energies and coordinates come in, log-densities go out."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bijecta.errors import InputError, ShapeError

FloatArray = NDArray[np.float64]


def energies_of(n: int, energy: ArrayLike, low: float, high: float) -> FloatArray:
    """Return n energies in GeV from one or n, after checking that they lie between low and high."""
    given = np.asarray(energy, dtype=np.float64)
    if given.shape not in ((), (n,)):
        raise ShapeError(f"energy: expected one number or shape ({n},); got {given.shape}.")
    if not ((given >= low) & (given <= high)).all():
        raise InputError(f"energy: expected {low:g} to {high:g} GeV; got {given.min():g} to {given.max():g}.")
    return np.broadcast_to(given, (n,)).copy()


def columns_of(x: ArrayLike, d: int) -> FloatArray:
    """Return the d columns of a matrix (n, d), shape (d, n)."""
    given = np.asarray(x, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] != d:
        raise ShapeError(f"x: expected shape (n, {d}); got {given.shape}.")
    return given.T


def log_density(density: FloatArray, inside: NDArray[np.bool_]) -> FloatArray:
    """Return the logarithm where a density is positive and inside its support, minus infinity elsewhere."""
    positive = inside & (density > 0.0)
    return np.where(positive, np.log(np.where(positive, density, 1.0)), -np.inf)


def random_source(seed: int) -> np.random.Generator:
    """Return a source of randomness that differs from ``default_rng(seed)``, with which people draw the energies."""
    return np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])


def random_angles(n: int, generator: np.random.Generator) -> FloatArray:
    """Draw n angles from the whole circle, in radians."""
    return generator.uniform(-np.pi, np.pi, n)


def provenance(generator: object, seed: int, beams: tuple[int, ...]) -> dict[str, Any]:
    """Return what the events of a generator say about where they come from."""
    return {"generator": repr(generator), "seed": seed, "beams": list(beams)}

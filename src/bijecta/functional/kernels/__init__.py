"""Fused native versions of some formulas, optional: the plain versions define them, and compute the same without them.

Everything that chooses between the two is in `dispatch.py`; `BIJECTA_NATIVE=0` in the environment always chooses plain.
"""

from bijecta.functional.kernels.affine import AffineSettings, map_by_affine
from bijecta.functional.kernels.convolution import three_convolutions
from bijecta.functional.kernels.library import status
from bijecta.functional.kernels.mixture import MixtureSettings, map_by_mixture
from bijecta.functional.kernels.spline import SplineSettings, map_by_spline

__all__ = [
    "AffineSettings",
    "MixtureSettings",
    "SplineSettings",
    "map_by_affine",
    "map_by_mixture",
    "map_by_spline",
    "status",
    "three_convolutions",
]

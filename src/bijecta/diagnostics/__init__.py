"""Is this flow what it claims to be, and how good is it? Plots and the HTML report are imported on their own."""

from bijecta.diagnostics.calibration import (
    CalibrationRanks,
    Coverage,
    expected_coverage,
    pit_values,
    simulation_based_calibration,
    tarp,
)
from bijecta.diagnostics.checking import check
from bijecta.diagnostics.measurement import CheckReport, Measurement
from bijecta.diagnostics.metrics import (
    Distance,
    GaussianBaseline,
    KolmogorovSmirnov,
    effective_sample_size,
    energy_distance,
    gaussian_nll,
    ks_per_column,
    marginal_summary,
)
from bijecta.diagnostics.two_sample import c2st

__all__ = [
    "CalibrationRanks",
    "CheckReport",
    "Coverage",
    "Distance",
    "GaussianBaseline",
    "KolmogorovSmirnov",
    "Measurement",
    "c2st",
    "check",
    "effective_sample_size",
    "energy_distance",
    "expected_coverage",
    "gaussian_nll",
    "ks_per_column",
    "marginal_summary",
    "pit_values",
    "simulation_based_calibration",
    "tarp",
]

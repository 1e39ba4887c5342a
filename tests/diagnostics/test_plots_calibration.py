"""Pictures of calibration hold the numbers that they were given."""

import numpy as np

from bijecta.diagnostics import expected_coverage, simulation_based_calibration
from bijecta.diagnostics.plots_calibration import plot_coverage, plot_ranks

DRAWS = np.random.default_rng(0).normal(size=(100, 500, 5))


def test_ranks_fill_one_histogram_per_column():
    ranks = simulation_based_calibration(DRAWS[1:], DRAWS[0])
    axes = plot_ranks(ranks, list("abcde"), bins=10).axes
    assert [panel.get_xlabel() for panel in axes] == [f"rank of {name}" for name in "abcde"]
    for panel, column in zip(axes, ranks.ranks.T, strict=True):
        heights = [bar.get_height() for bar in panel.containers[0]]
        assert heights == np.bincount(column // 10, minlength=10).tolist()


def test_few_ranks_have_few_bins():
    ranks = simulation_based_calibration(DRAWS[1:5, :, :1], DRAWS[0, :, :1])
    assert len(plot_ranks(ranks).axes[0].containers[0]) == 5


def test_coverage_is_drawn_beside_the_diagonal():
    coverage = expected_coverage(DRAWS[1:, :, 0], DRAWS[0, :, 0])
    diagonal, curve = plot_coverage({"narrow": coverage}).axes[0].get_lines()
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    np.testing.assert_array_equal(curve.get_ydata(), coverage.coverage)
    assert curve.get_label() == "narrow"

"""Integrals against exact values, by flow and by VEGAS; what is refused."""

import math
import sys

import numpy as np
import pytest

from bijecta.errors import InputError, MissingDependencyError, ShapeError
from bijecta.hep.integration import integrate
from bijecta.hep.unweighting import unweight


def gauss(x, centre=0.5, width=0.2):
    return np.exp(-(((x - centre) / width) ** 2).sum(1)) / (width * math.sqrt(math.pi)) ** x.shape[1]


def gauss_integral(dimensions, centre=0.5, width=0.2):
    return ((math.erf((1 - centre) / width) + math.erf(centre / width)) / 2) ** dimensions


def band(x):
    """A thin diagonal band, which no product of grids can follow."""
    return np.exp(-(((x[:, 0] - x[:, 1]) / 0.02) ** 2))


BAND = 2 * (0.02 * math.sqrt(math.pi) / 2 * math.erf(50.0) - 0.02**2 / 2 * (1 - math.exp(-(50.0**2))))


def agrees(result, exact):
    return abs(result.value - exact) < 4.0 * result.error


def test_a_smooth_integrand_is_left_to_vegas():
    pytest.importorskip("vegas", reason="a warm start needs vegas")
    result = integrate(gauss, 2, 10_000, seed=1)
    assert result.method == "vegas"
    assert agrees(result, gauss_integral(2))
    assert result.error < 0.003
    assert len(result.weights) / result.calls > 0.5
    assert result.calls <= 10_000


def test_vegas_goes_on_while_its_error_falls():
    """In eight dimensions and with few calls a grid still learns in every round, and a flow would come too early."""
    pytest.importorskip("vegas", reason="a warm start needs vegas")
    results = [integrate(gauss, 8, 20_000, seed=seed) for seed in (100, 101)]
    assert [result.method for result in results] == ["vegas", "vegas"]
    assert all(agrees(result, gauss_integral(8)) and result.error < 0.011 for result in results)


def test_a_flow_learns_what_a_grid_cannot():
    pytest.importorskip("vegas", reason="a warm start needs vegas")
    result = integrate(band, 2, 5000, seed=0)
    assert result.method == "flow"
    assert agrees(result, BAND)
    assert result.calls == 5000
    assert result.relative_deviation < 2.0  # of uniform draws: 4.3


def test_without_a_warm_start_vegas_is_not_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "vegas", None)
    result = integrate(lambda x: gauss(x, 1 / 3), ([0.0, 0.0], [1.0, 1.0]), 4000, warm_start=None)
    assert result.method == "flow"
    assert agrees(result, gauss_integral(2, 1 / 3))
    with pytest.raises(MissingDependencyError, match=r'pip install "bijecta\[hep\]"'):
        integrate(gauss, 2, 4000)


def test_a_box_has_its_own_units():
    """The integral of exp(-x) over [0, 5] GeV, and its weights at points of the box."""
    result = integrate(lambda x: np.exp(-x[:, 0]), ([0.0], [5.0]), 4000, warm_start=None)
    assert agrees(result, 1.0 - math.exp(-5.0))
    assert result.points.min() >= 0.0
    assert 4.0 < result.points.max() <= 5.0
    assert result.weights.mean() == pytest.approx(result.value, abs=4.0 * result.error)


@pytest.mark.parametrize("warm_start", ["vegas", None])
def test_signed_integrands_keep_their_signs(warm_start):
    if warm_start:
        pytest.importorskip("vegas", reason="a warm start needs vegas")

    def difference(x):
        return 2.0 * gauss(x, 0.3, 0.1) - gauss(x, 0.6, 0.1)

    exact = 2.0 * gauss_integral(2, 0.3, 0.1) - gauss_integral(2, 0.6, 0.1)
    result = integrate(difference, 2, 4000, signed=True, warm_start=warm_start)
    assert agrees(result, exact)
    assert (result.weights < 0.0).any()
    with pytest.raises(InputError, match="signed=True"):
        integrate(difference, 2, 4000, warm_start=warm_start)


def test_weighted_points_unweight_to_the_integrand():
    """The mean of x under 3x² is 3/4."""
    result = integrate(lambda x: 3.0 * x[:, 0] ** 2, 1, 20_000, warm_start=None)
    kept = unweight(result.weights, seed=0)
    mean = np.average(result.points[kept.index, 0], weights=kept.weights)
    assert mean == pytest.approx(0.75, abs=4.0 * math.sqrt(3.0 / 80.0 / len(kept.index)))
    assert kept.efficiency > 0.3


def test_the_seed_decides():
    results = [integrate(gauss, 2, 1000, seed=seed, warm_start=None).value for seed in (1, 1, 2)]
    assert results[0] == results[1] != results[2]


@pytest.mark.parametrize("warm_start", ["vegas", None])
def test_zero_integrates_to_zero(warm_start):
    if warm_start:
        pytest.importorskip("vegas", reason="a warm start needs vegas")
    result = integrate(lambda x: np.zeros(len(x)), 2, 1000, warm_start=warm_start)
    assert (result.value, result.error) == (0.0, pytest.approx(0.0, abs=1e-100))


def test_a_hundred_dimensions():
    """The sum of x (1 - x) over the directions, which integrates to 1/6 each."""
    pytest.importorskip("vegas", reason="a warm start needs vegas")
    result = integrate(lambda x: (x * (1.0 - x)).sum(1), 100, 2000)
    assert agrees(result, 100.0 / 6.0)


@pytest.mark.parametrize(
    ("f", "box", "calls", "error", "message"),
    [
        (gauss, 2, 10, InputError, "at least 1000 calls"),
        (gauss, ([0.0], [0.0]), 1000, InputError, "low < high"),
        (gauss, 0, 1000, InputError, "low < high"),
        (lambda x: x, 2, 1000, ShapeError, "has to return"),
        (lambda x: np.full(len(x), np.nan), 2, 1000, InputError, "finite"),
    ],
)
def test_what_cannot_be_integrated_is_refused(f, box, calls, error, message):
    with pytest.raises(error, match=message):
        integrate(f, box, calls, warm_start=None)


def test_an_unknown_start_is_refused():
    with pytest.raises(InputError, match="warm_start"):
        integrate(gauss, 2, 1000, warm_start="foam")


@pytest.mark.slow
@pytest.mark.parametrize("dimensions", [2, 4])
def test_pulls_have_unit_size(dimensions):
    pytest.importorskip("vegas", reason="a warm start needs vegas")

    def camel(x):
        return (gauss(x, 1 / 3) + gauss(x, 2 / 3)) / 2

    results = [integrate(camel, dimensions, 5000, seed=seed) for seed in range(20)]
    pulls = [(result.value - gauss_integral(dimensions, 1 / 3)) / result.error for result in results]
    assert 0.7 < np.sqrt(np.mean(np.square(pulls))) < 1.4

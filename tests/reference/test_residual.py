"""The reference of residual maps against central differences, and its series against their sums."""

import doctest

import numpy as np
import pytest

from bijecta.reference import residual

rng = np.random.default_rng(3)
Q = np.linalg.qr(rng.normal(size=(3, 2)))[0]
OUTER, INNER = np.triu(rng.normal(size=(2, 2)) * 0.3), np.triu(rng.normal(size=(2, 2)))
MAPS = {
    "planar": lambda x: residual.planar(x, np.array([1.0, -2.0, 0.5]), np.array([0.8, 0.1, 0.3]), 0.4),
    "radial": lambda x: residual.radial(x, np.array([0.3, -0.2, 0.1]), 0.7, 2.5),
    "radial/contracting": lambda x: residual.radial(x, np.array([0.3, -0.2, 0.1]), 0.7, -0.6),
    "sylvester": lambda x: residual.sylvester(x, Q, OUTER, INNER, np.array([0.2, -0.7])),
}


@pytest.mark.parametrize("name", MAPS)
def test_ladj_is_the_determinant_of_central_differences(name, jacobian):
    for x in np.random.default_rng(0).normal(size=(5, 3)):
        expected = np.linalg.slogdet(jacobian(lambda x: MAPS[name](x)[0], x)).logabsdet
        assert MAPS[name](x)[1] == pytest.approx(expected, abs=1e-7)


def test_the_fixed_point_iteration_inverts():
    x = np.random.default_rng(0).normal(size=(5, 3))
    z = x + 0.9 * np.sin(x)
    np.testing.assert_allclose(residual.residual_inverse(lambda x: 0.9 * np.sin(x), z, 400), x, atol=1e-12)


def test_the_roulette_is_unbiased():
    generator = np.random.default_rng(0)
    terms = 0.6 ** np.arange(1, 60)
    estimates = np.array([residual.roulette_sum(terms, 2, 0.5, generator) for _ in range(20_000)])
    error = estimates.std(ddof=1) / len(estimates) ** 0.5
    assert error > 1e-4
    assert abs(estimates.mean() - terms.sum()) < 3.5 * error


def test_examples():
    results = doctest.testmod(residual)
    assert results.attempted > 0
    assert results.failed == 0

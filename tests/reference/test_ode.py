"""The solvers of the reference against SciPy and closed forms."""

import doctest
import math

import numpy as np
import pytest

from bijecta.reference import ode


def pendulum(t, y):
    return np.array([y[1], -math.sin(y[0]) + 0.3 * math.cos(t)])


def test_examples():
    results = doctest.testmod(ode)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4), ("dopri5", 5)])
def test_orders(method, order):
    errors = [
        abs(ode.solve_fixed_steps(lambda t, y: y * math.cos(t), np.ones(1), 0, 2, n, method)[0] - math.exp(math.sin(2)))
        for n in (64, 128)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize(("start", "end"), [(0.0, 5.0), (5.0, 0.0)])
def test_adaptive_steps_agree_with_scipy(start, end):
    integrate = pytest.importorskip("scipy.integrate")
    expected = integrate.solve_ivp(pendulum, (start, end), [1.0, 0.0], rtol=1e-12, atol=1e-12).y[:, -1]
    ours, sizes = ode.solve_adaptive_steps(pendulum, np.array([1.0, 0.0]), start, end, 1e-10)
    np.testing.assert_allclose(ours, expected, atol=1e-8)
    assert sum(sizes) == pytest.approx(end - start)

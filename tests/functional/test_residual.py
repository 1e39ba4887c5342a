"""Planar, radial and Sylvester maps against NumPy, against another library, and at the edge of invertibility."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bijecta.errors import NotConvergedError
from bijecta.functional import residual
from bijecta.reference import residual as reference

X = torch.linspace(-3, 3, 60, dtype=torch.float64).reshape(20, 3).flip(-1) * torch.tensor([1.0, -0.5, 2.0]).double()


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def admissible(w, u):
    """The same v from its definition: u, with its part along w replaced."""
    wanted = residual.positive_slope(w @ u) - 1
    return u + (wanted - w @ u) * w / (w @ w)


def test_planar_is_that_of_numpy():
    w, u, b = draw(3), draw(3, seed=1), 0.3
    y, ladj = residual.planar(X, w, u, torch.tensor(b))
    expected, expected_ladj = reference.planar(X.numpy(), w.numpy(), admissible(w, u).numpy(), b)
    np.testing.assert_allclose(y, expected, atol=1e-13)
    np.testing.assert_allclose(ladj, expected_ladj, atol=1e-13)


@pytest.mark.parametrize("slope", [0.01, 1.0, 7.0])
def test_radial_is_that_of_numpy(slope):
    center, radius = draw(3), 0.7
    y, ladj = residual.radial(X, center, torch.tensor(radius).double(), torch.tensor(slope).double())
    expected, expected_ladj = reference.radial(X.numpy(), center.numpy(), radius, (slope - 1) * radius)
    np.testing.assert_allclose(y, expected, atol=1e-6)
    np.testing.assert_allclose(ladj, expected_ladj, atol=1e-6)


def test_sylvester_is_that_of_numpy():
    q = residual.orthonormal_columns(draw(2, 3), 2)
    outer, inner, b = draw(2, 2).triu() / 3, draw(2, 2, seed=1).triu(), draw(2, seed=2)
    y, ladj = residual.sylvester(X, q, outer, inner, b)
    expected, expected_ladj = reference.sylvester(X.numpy(), q.numpy(), outer.numpy(), inner.numpy(), b.numpy())
    np.testing.assert_allclose(y, expected, atol=1e-13)
    np.testing.assert_allclose(ladj, expected_ladj, atol=1e-13)


def test_sylvester_with_one_unit_is_planar():
    w, u, b = draw(3), draw(3, seed=1), torch.tensor(0.3).double()
    length, v = w.norm(), admissible(w, u)
    parallel = (v @ w / length) * w / length  # what a single column of Q can do
    expected = reference.planar(X.numpy(), w.numpy(), parallel.numpy(), float(b))
    steep, strength = length.reshape(1, 1), (v @ w / length).reshape(1, 1)
    y, ladj = residual.sylvester(X, (w / length)[:, None], strength, steep, b.reshape(1))
    np.testing.assert_allclose(y, expected[0], atol=1e-13)
    np.testing.assert_allclose(ladj, expected[1], atol=1e-13)


@pytest.mark.parametrize(("mirrors", "features", "columns"), [(0, 1, 1), (1, 2, 2), (2, 5, 3), (5, 5, 5)])
def test_columns_are_orthonormal(mirrors, features, columns):
    q = residual.orthonormal_columns(draw(4, mirrors, features), columns)
    assert q.shape == (4, features, columns)
    torch.testing.assert_close(q.mT @ q, torch.eye(columns).double().expand(4, columns, columns))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_equation_is_solved_to_rounding(dtype):
    """Slopes from the smallest that a parameter can ask for to far beyond any that was ever trained."""
    slopes = torch.logspace(-3, 10, 200, dtype=dtype)[:, None]
    bends = (slopes - 1).abs()
    values = torch.cat(
        [torch.logspace(-30, 12, 200, dtype=dtype).expand(200, -1), bends * torch.linspace(0, 3, 300)], 1
    )
    for sign in (1, -1):
        c = sign * values.to(dtype)
        a = residual.solve_tanh_shift(c, slopes)
        back = residual.tanh_shift(a, slopes)[0]
        assert ((back - c).abs() <= 16 * torch.finfo(dtype).eps * (1 + c.abs() + slopes)).all()


@given(st.floats(1e-3, 1e6), st.floats(-1e6, 1e6))
@settings(max_examples=60, deadline=None)
def test_the_solution_is_that_of_bisection(slope, c):
    low, high = min(c, c - (slope - 1), c + (slope - 1)), max(c, c - (slope - 1), c + (slope - 1))
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if middle + (slope - 1) * np.tanh(middle) < c else (low, middle)
    a = residual.solve_tanh_shift(torch.tensor(c, dtype=torch.float64), torch.tensor(slope, dtype=torch.float64))
    assert float(a) == pytest.approx(low, rel=1e-9, abs=1e-9)


def test_an_equation_that_is_not_solved_is_an_error(monkeypatch):
    monkeypatch.setattr(residual, "NEWTON_STEPS", 1)
    with pytest.raises(NotConvergedError, match=r"expected an error of rounding, got .*lower the learning rate"):
        residual.solve_tanh_shift(torch.tensor([101.0]), torch.tensor(100.0))


def test_derivatives_of_the_solution_to_second_order():
    def solve(c, raw):
        return residual.solve_tanh_shift(c, raw.exp())

    inputs = (draw(5).requires_grad_(), draw(5, seed=1).requires_grad_())
    assert torch.autograd.gradcheck(solve, inputs)
    assert torch.autograd.gradgradcheck(solve, inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("raw", [-1e4, -20.0])
def test_the_ladj_keeps_its_digits_at_the_edge_of_invertibility(raw, dtype):
    """At the plane itself 1 + w.v sech^2 would be a difference of nearly equal numbers: the slope is known directly."""
    w, u = torch.tensor([1.0, 0.0], dtype=dtype), torch.tensor([raw, 0.0], dtype=dtype)
    _, ladj = residual.planar(torch.zeros(2, dtype=dtype), w, u, torch.zeros((), dtype=dtype))
    expected = np.log(residual.MIN_SLOPE + np.log1p(np.expm1(1 - residual.MIN_SLOPE) * np.exp(raw)))
    assert float(ladj) == pytest.approx(expected, rel=4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("inverse", [False, True])
def test_degenerate_parameters_have_finite_values_and_gradients(inverse):
    """No plane (w = 0), and a point at the very center."""
    x = torch.zeros(2, requires_grad=True)
    w, u = torch.zeros(2, requires_grad=True), torch.ones(2, requires_grad=True)
    y, ladj = residual.planar(x, w, u, torch.tensor(0.5), inverse=inverse)
    z, other = residual.radial(x, torch.zeros(2), torch.tensor(1.0), torch.tensor(0.2), inverse=inverse)
    (y.sum() + ladj + z.sum() + other).backward()
    assert torch.equal(z, torch.zeros(2))
    assert all(torch.isfinite(tensor.grad).all() for tensor in (x, w, u))


def test_planar_and_radial_are_those_of_normflows():
    """Another library's forward maps, whose constraint on u is not shifted; it has no inverse to compare with."""
    flows, x = pytest.importorskip("normflows").flows, draw(6, 3)
    theirs = flows.Planar((3,)).double()
    w, u, b = (parameter.detach().flatten() for parameter in (theirs.w, theirs.u, theirs.b))
    raw = torch.log(torch.expm1(torch.nn.functional.softplus(w @ u) - residual.MIN_SLOPE))
    raw = raw - np.log(np.expm1(1 - residual.MIN_SLOPE))  # the number whose slope in our constraint is theirs
    shifted = u + (raw - w @ u) * w / (w @ w)
    compare(theirs(x), residual.planar(x, w, shifted, b[0]))
    theirs = flows.Radial((3,)).double()
    center, radius = theirs.z_0.detach().flatten(), theirs.alpha.detach().abs()
    slope = torch.nn.functional.softplus(theirs.beta.detach()) / radius
    compare(theirs(x), residual.radial(x, center, radius[0], slope[0]))


def compare(theirs, ours):
    torch.testing.assert_close(theirs[0].detach(), ours[0])
    torch.testing.assert_close(theirs[1].detach(), ours[1])

"""Linear maps against dense matrices and numpy.linalg."""

import numpy as np
import pytest

from bijecta.errors import InputError, ShapeError
from bijecta.reference import linear

RNG = np.random.default_rng(4)


def lu_parameters(n_features):
    shapes = (n_features, n_features), (n_features, n_features), (n_features,), (n_features,)
    return [0.5 * RNG.normal(size=shape) for shape in shapes]


@pytest.mark.parametrize("n_features", [1, 2, 5])
@pytest.mark.parametrize("batch", [(), (3, 7)])
def test_lu_map_is_the_dense_map(n_features, batch):
    x, parameters = RNG.normal(size=(*batch, n_features)), lu_parameters(n_features)
    z, ladj = linear.lu_forward(x, *parameters)
    L, U = linear.lu_factors(*parameters[:3])
    np.testing.assert_allclose(z, (L @ U @ x[..., None])[..., 0] + parameters[3], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ladj, np.broadcast_to(np.linalg.slogdet(L @ U)[1], batch), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("n_features", [1, 2, 5])
def test_lu_round_trip(n_features):
    x, parameters = RNG.normal(size=(3, 7, n_features)), lu_parameters(n_features)
    z, ladj = linear.lu_forward(x, *parameters)
    back, inverse_ladj = linear.lu_inverse(z, *parameters)
    np.testing.assert_allclose(back, x, atol=1e-12)
    np.testing.assert_array_equal(inverse_ladj, -ladj)


def test_substitutions_solve_and_ignore_the_other_triangle():
    matrix, right = RNG.normal(size=(6, 6)) + 4 * np.eye(6), RNG.normal(size=(4, 6))
    forward = linear.forward_substitution(matrix, right)
    np.testing.assert_allclose(forward, np.linalg.solve(np.tril(matrix), right.T).T, rtol=1e-10)
    back = linear.back_substitution(matrix, right)
    np.testing.assert_allclose(back, np.linalg.solve(np.triu(matrix), right.T).T, rtol=1e-10)


def test_permutation_is_its_matrix_and_its_determinant_is_one():
    order, x = RNG.permutation(6).tolist(), RNG.normal(size=(3, 6))
    matrix = np.eye(6)[order]
    z, ladj = linear.permutation_forward(x, order)
    np.testing.assert_array_equal(z, x @ matrix.T)
    np.testing.assert_allclose(ladj, np.linalg.slogdet(matrix)[1], atol=1e-15)
    np.testing.assert_array_equal(linear.permutation_inverse(z, order)[0], x)


@pytest.mark.parametrize("order", [[0, 0], [1, 2], [0], [0, 1, 2]])
@pytest.mark.parametrize("function", [linear.permutation_forward, linear.permutation_inverse])
def test_what_is_no_permutation_is_refused(function, order):
    with pytest.raises(InputError, match=r"each of 0\.\.1 once"):
        function(np.zeros((3, 2)), order)


def test_actnorm_starts_standardised():
    x = RNG.normal(size=(50, 3)) * [1e-3, 1.0, 1e4] + [5.0, 0.0, -1e5]
    parameters = linear.actnorm_start(x)
    z, ladj = linear.actnorm_forward(x, *parameters)
    np.testing.assert_allclose(z.mean(0), 0.0, atol=1e-10)
    np.testing.assert_allclose(z.std(0), 1.0, rtol=1e-10)
    np.testing.assert_allclose(ladj, np.linalg.slogdet(np.diag(np.exp(parameters[0])))[1], rtol=1e-12)
    back, inverse_ladj = linear.actnorm_inverse(z, *parameters)
    np.testing.assert_allclose(back, x, rtol=1e-10)
    np.testing.assert_array_equal(inverse_ladj, -ladj)


def test_actnorm_refuses_what_it_cannot_standardise():
    with pytest.raises(InputError, match=r"Columns \[1\] are constant"):
        linear.actnorm_start(np.array([[0.0, 1.0], [1.0, 1.0]]))
    with pytest.raises(ShapeError, match=r"\(N, D\) with N > 0, got \(3,\)"):
        linear.actnorm_start(np.zeros(3))

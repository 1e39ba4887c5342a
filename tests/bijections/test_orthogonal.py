"""Turns, reflections and low-rank maps against matrices of NumPy."""

import numpy as np
import pytest
import torch

from bijecta.bijections import Bijection, Householder, LowRank, Orthogonal
from bijecta.errors import InputError


def moved(layer: Bijection) -> Bijection:
    for parameter in layer.double().parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer


def matrix_of(layer: Bijection, features: int) -> np.ndarray:
    """The images of the axes, beside that of the origin."""
    with torch.no_grad():
        origin = layer.forward(torch.zeros(features).double())
        return (layer.forward(torch.eye(features).double()) - origin).T.numpy()


@pytest.mark.parametrize("features", [1, 2, 5])
@pytest.mark.parametrize("reflections", [1, 2, 5])
def test_mirrors_multiply(features, reflections):
    layer = moved(Householder(features, reflections))
    expected = np.eye(features)
    for n in layer.normals.detach().numpy():
        expected = expected @ (np.eye(features) - 2 * np.outer(n, n) / (n @ n))
    np.testing.assert_allclose(matrix_of(layer, features), expected, atol=1e-12)
    assert np.linalg.det(expected) == pytest.approx((-1) ** reflections)


@pytest.mark.parametrize("features", [1, 2, 5])
def test_the_exponential_is_a_rotation(features):
    layer = moved(Orthogonal(features))
    above = np.triu(layer.upper.detach().numpy(), 1)
    values, vectors = np.linalg.eig(above - above.T)
    expected = (vectors * np.exp(values) @ np.linalg.inv(vectors)).real
    np.testing.assert_allclose(matrix_of(layer, features), expected, atol=1e-10)
    assert np.linalg.det(matrix_of(layer, features)) == pytest.approx(1)


@pytest.mark.parametrize(("features", "rank"), [(1, 1), (2, 1), (5, 2), (5, 5)])
def test_low_rank_changes_as_many_directions_as_its_rank(features, rank):
    layer = moved(LowRank(features, rank))
    matrix = matrix_of(layer, features)
    assert np.linalg.matrix_rank(matrix - np.eye(features), tol=1e-10) == rank
    sign, determinant = np.linalg.slogdet(matrix)
    _, ladj = layer.forward_and_ladj(torch.zeros(features).double())
    assert sign == 1
    assert float(ladj.detach()) == pytest.approx(determinant)
    z = torch.randn(3, features).double()
    expected = np.linalg.solve(matrix, (z - layer.bias).detach().numpy().T).T
    np.testing.assert_allclose(layer.inverse(z).detach().numpy(), expected, atol=1e-10)


def test_low_rank_learns_directions_that_differ_between_input_and_output():
    """A shear, whose two directions are orthogonal, is among them."""
    layer = LowRank(2, 1).double()
    with torch.no_grad():
        layer.normals.copy_(torch.tensor([[1.0, -1.0]]))  # V = (0, 1)
        layer.outside.copy_(torch.tensor([[3.0], [0.0]]))
    np.testing.assert_allclose(matrix_of(layer, 2), [[1, 3], [0, 1]], atol=1e-12)


@pytest.mark.parametrize("make", [lambda: Householder(3, 0), lambda: LowRank(3, 4), lambda: LowRank(3, 0)])
def test_impossible_counts_are_named(make):
    with pytest.raises(InputError, match=r"at least one reflection, got 0|between 1 and .* 3, got [04]"):
        make()

"""Every way to a log-determinant against numpy.linalg.slogdet."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from bijecta.reference import determinants
from bijecta.reference.densities import standard_normal_log_prob

RNG = np.random.default_rng(1)
MATRIX = RNG.normal(size=(5, 5))
CONTRACTION = 0.6 * MATRIX / np.linalg.norm(MATRIX, ord=2)


def slogdet(matrix):
    return np.linalg.slogdet(matrix)[1]


def test_dense_is_the_product_of_singular_values():
    expected = np.log(np.linalg.svd(MATRIX, compute_uv=False)).sum()
    np.testing.assert_allclose(determinants.dense_log_det(MATRIX), expected, rtol=1e-12)


@pytest.mark.parametrize("triangle", [np.tril, np.triu])
def test_triangular(triangle):
    matrix = triangle(RNG.normal(size=(3, 5, 5)))
    np.testing.assert_allclose(determinants.triangular_log_det(matrix), slogdet(matrix), rtol=1e-12)


@pytest.mark.parametrize("sizes", [(1,), (2, 3), (1, 3, 2)])
def test_block_triangular(sizes):
    matrix, blocks, start = RNG.normal(size=(sum(sizes), sum(sizes))), [], 0
    for size in sizes:
        block = slice(start, start + size)
        blocks.append(matrix[block, block])
        matrix[block, start + size :] = 0.0
        start += size
    np.testing.assert_allclose(determinants.block_triangular_log_det(blocks), slogdet(matrix), rtol=1e-11, atol=1e-12)


def test_rank_one_update():
    u, v = RNG.normal(size=(2, 3, 7, 5))
    expected = slogdet(MATRIX + u[..., :, None] * v[..., None, :])
    np.testing.assert_allclose(determinants.rank_one_log_det(MATRIX, u, v), expected, rtol=1e-10, atol=1e-12)


def test_change_of_variables_gives_the_full_covariance_normal():
    bias, x = RNG.normal(size=5), RNG.normal(size=(4, 5))
    inverse = np.linalg.inv(MATRIX)  # x = W^-1 (z - b) with z standard normal
    expected = multivariate_normal(-inverse @ bias, inverse @ inverse.T).logpdf(x)
    result = determinants.change_of_variables_log_prob(x, MATRIX, bias, standard_normal_log_prob)
    np.testing.assert_allclose(result, expected, rtol=1e-8)


def test_power_series_and_its_error_bound():
    truth = slogdet(np.eye(5) + CONTRACTION)
    np.testing.assert_allclose(determinants.power_series_log_det(CONTRACTION, 80), truth, rtol=1e-12)
    for n_terms in range(1, 12):
        error = abs(determinants.power_series_log_det(CONTRACTION, n_terms) - truth)
        assert 0.0 < error <= 5 * 0.6 ** (n_terms + 1) / ((n_terms + 1) * (1 - 0.6))


def test_hutchinson_is_exact_in_the_mean_over_all_signs():
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 5)).reshape(5, -1).T  # all 32 probes
    mean = np.einsum("si,ij,sj->s", signs, MATRIX, signs).mean()
    np.testing.assert_allclose(mean, np.trace(MATRIX), rtol=1e-12)


def test_hutchinson_agrees_within_its_error_and_the_error_is_right():
    estimate, error = determinants.hutchinson_trace(lambda v: v @ MATRIX.T, 5, 20000, np.random.default_rng(2))
    assert abs(estimate - np.trace(MATRIX)) < 4 * error
    symmetric = (MATRIX + MATRIX.T) / 2
    variance = 2 * (np.sum(symmetric**2) - np.sum(np.diag(symmetric) ** 2))
    np.testing.assert_allclose(error, np.sqrt(variance / 20000), rtol=0.05)


def test_stochastic_power_series_agrees_with_slogdet():
    estimate, error = determinants.stochastic_power_series_log_det(
        lambda v: v @ CONTRACTION.T, 5, 40, 20000, np.random.default_rng(3)
    )
    assert error < 0.01
    assert abs(estimate - slogdet(np.eye(5) + CONTRACTION)) < 4 * error

"""Autoregressive maps and the masks of MADE."""

from functools import reduce

import numpy as np
import pytest

from bijecta.errors import InputError
from bijecta.reference import autoregressive

RNG = np.random.default_rng(6)


def functions(n_features):
    masks = autoregressive.made_masks(autoregressive.made_degrees(n_features, [8]))
    weights = [[RNG.normal(size=mask.shape) * mask for mask in masks] for _ in range(2)]
    return [lambda x, pair=pair: np.sin(np.tanh(x @ pair[0].T) @ pair[1].T + 0.5) for pair in weights]


@pytest.mark.parametrize("batch", [(), (3, 7)])
@pytest.mark.parametrize("n_features", [1, 2, 5])
def test_round_trip(n_features, batch):
    x, (log_scale, shift) = RNG.normal(size=(*batch, n_features)), functions(n_features)
    z, ladj = autoregressive.autoregressive_forward(x, log_scale, shift)
    back, inverse_ladj = autoregressive.autoregressive_inverse(z, log_scale, shift)
    assert ladj.shape == batch
    np.testing.assert_allclose(back, x, atol=1e-12)
    np.testing.assert_allclose(inverse_ladj, -ladj, atol=1e-12)


@pytest.mark.parametrize("n_features", [1, 2, 5])
def test_jacobian_is_lower_triangular_and_ladj_is_its_log_determinant(n_features, jacobian):
    x, (log_scale, shift) = RNG.normal(size=n_features), functions(n_features)
    numeric = jacobian(lambda point: autoregressive.autoregressive_forward(point, log_scale, shift)[0], x)
    np.testing.assert_array_equal(np.triu(numeric, 1), 0.0)
    _, ladj = autoregressive.autoregressive_forward(x, log_scale, shift)
    np.testing.assert_allclose(ladj, np.linalg.slogdet(numeric)[1], atol=1e-8)


@pytest.mark.parametrize("hidden_sizes", [[], [1], [9], [4, 11], [16, 3, 16]])
@pytest.mark.parametrize("n_features", [1, 2, 3, 6])
def test_product_of_masks_is_strictly_lower_triangular(n_features, hidden_sizes):
    masks = autoregressive.made_masks(autoregressive.made_degrees(n_features, hidden_sizes))
    assert all(set(np.unique(mask)) <= {0.0, 1.0} for mask in masks)
    paths = reduce(lambda product, mask: mask @ product, masks)
    assert paths.shape == (n_features, n_features)
    np.testing.assert_array_equal(np.triu(paths), 0.0)


@pytest.mark.parametrize("n_features", [2, 3, 6])
def test_wide_enough_masks_lose_no_allowed_connection(n_features):
    masks = autoregressive.made_masks(autoregressive.made_degrees(n_features, [n_features, n_features]))
    paths = reduce(lambda product, mask: mask @ product, masks)
    np.testing.assert_array_equal(paths > 0, np.tri(n_features, k=-1, dtype=bool))


@pytest.mark.parametrize("n_features", [2, 3, 6])
def test_no_hidden_unit_is_wasted(n_features):
    first, last = autoregressive.made_masks(autoregressive.made_degrees(n_features, [2 * n_features]))
    assert np.all(first.sum(axis=1) > 0)
    assert np.all(last.sum(axis=0) > 0)


def test_no_features_are_refused():
    with pytest.raises(InputError, match="must be 1 or more, got 0"):
        autoregressive.made_degrees(0, [4])

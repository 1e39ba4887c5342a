"""Coupling layers: round trips, and the ladj against slogdet of a finite-difference Jacobian."""

import numpy as np
import pytest

from bijecta.reference import coupling

RNG = np.random.default_rng(5)
MASKS = [[True], [False], [True, False], [False, True, False], [True, True, False, False, True]]


def functions(keep):
    weights = RNG.normal(size=(2, sum(keep), len(keep) - sum(keep)))
    return [lambda kept, weight=weight: np.sin(kept @ weight + 1.0) for weight in weights]


@pytest.mark.parametrize("batch", [(), (3, 7)])
@pytest.mark.parametrize("mask", MASKS)
def test_affine_round_trip(mask, batch):
    keep, x = np.array(mask), RNG.normal(size=(*batch, len(mask)))
    log_scale, shift = functions(mask)
    z, ladj = coupling.affine_coupling_forward(x, keep, log_scale, shift)
    back, inverse_ladj = coupling.affine_coupling_inverse(z, keep, log_scale, shift)
    assert ladj.shape == batch
    np.testing.assert_allclose(back, x, atol=1e-13)
    np.testing.assert_allclose(inverse_ladj, -ladj, atol=1e-13)


@pytest.mark.parametrize("mask", MASKS)
def test_affine_ladj(mask, jacobian):
    keep, x = np.array(mask), RNG.normal(size=len(mask))
    log_scale, shift = functions(mask)
    _, ladj = coupling.affine_coupling_forward(x, keep, log_scale, shift)
    numeric = jacobian(lambda point: coupling.affine_coupling_forward(point, keep, log_scale, shift)[0], x)
    np.testing.assert_allclose(ladj, np.linalg.slogdet(numeric)[1], atol=1e-8)


@pytest.mark.parametrize("mask", MASKS)
def test_additive_preserves_volume(mask, jacobian):
    keep, x = np.array(mask), RNG.normal(size=(4, len(mask)))
    _, shift = functions(mask)
    z, ladj = coupling.additive_coupling_forward(x, keep, shift)
    numeric = jacobian(lambda point: coupling.additive_coupling_forward(point, keep, shift)[0], x[0])
    np.testing.assert_allclose(np.linalg.slogdet(numeric)[1], 0.0, atol=1e-8)
    np.testing.assert_array_equal(ladj, np.zeros(4))
    np.testing.assert_allclose(coupling.additive_coupling_inverse(z, keep, shift)[0], x, atol=1e-14)


def test_the_input_is_left_alone():
    x, keep = RNG.normal(size=(4, 2)), np.array([True, False])
    before = x.copy()
    coupling.additive_coupling_forward(x, keep, np.exp)
    coupling.affine_coupling_forward(x, keep, np.sin, np.exp)
    np.testing.assert_array_equal(x, before)

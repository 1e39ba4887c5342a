"""Scalar maps against NumPy, autograd and their own extremes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bijecta.functional import affine, log_map, logit_map, soft_clip, wrap
from bijecta.reference import scalar as reference

X = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
MAPS = {
    "affine": (
        lambda x, **k: affine(x, torch.tensor(2.0), torch.tensor(-0.5), **k),
        lambda x: reference.affine(x, 2, -0.5),
    ),
    "log": (lambda x, **k: log_map(x, -1.0, **k), lambda x: reference.log_map(x, -1.0)),
    "logit": (lambda x, **k: logit_map(x, -1.0, 3.0, **k), lambda x: reference.logit_map(x, -1.0, 3.0)),
}


@pytest.mark.parametrize("name", list(MAPS))
def test_matches_numpy_and_autograd_and_inverts(name):
    ours, theirs = MAPS[name]
    x = X.clone().requires_grad_()
    y, ladj = ours(x)
    np.testing.assert_allclose(y.detach(), theirs(X)[0], atol=1e-14)
    np.testing.assert_allclose(ladj.detach(), theirs(X)[1], atol=1e-14)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(slope.log(), ladj)
    back, back_ladj = ours(y, inverse=True)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(back_ladj, -ladj)


@pytest.mark.parametrize("name", list(MAPS))
@pytest.mark.parametrize("inverse", [False, True])
def test_second_derivatives(name, inverse):
    x = X[::10].clone().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: MAPS[name][0](x, inverse=inverse), (x,))


def test_soft_clip_is_odd_with_slope_one_and_bounded():
    a = torch.tensor([-1e30, -40.0, 0.0, 40.0, 1e30], requires_grad=True)
    y = soft_clip(a, 3.0)
    assert torch.equal(y, -y.flip(0))
    assert y.abs().max() <= 3
    (slope,) = torch.autograd.grad(y.sum(), a)
    assert slope[2] == 1
    assert torch.isfinite(slope).all()
    np.testing.assert_allclose(soft_clip(X, 3.0), reference.soft_clip(X, 3.0), atol=1e-15)


def test_logit_is_precise_at_both_ends():
    distance = torch.tensor([1e-300, 1e-16, 1e-3], dtype=torch.float64)
    y, ladj = logit_map(distance)
    torch.testing.assert_close(y, distance.log() - torch.log1p(-distance))
    torch.testing.assert_close(ladj, -distance.log() - torch.log1p(-distance))
    # At an upper end of zero, floats resolve the distance to it as finely as at the lower end.
    y, _ = logit_map(-distance, -1.0, 0.0)
    torch.testing.assert_close(y, torch.log1p(-distance) - distance.log())


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_logit_inverse_is_finite_far_out(low):
    y = torch.tensor([-1e30, -200.0, -50.0, 0.0, 50.0, 200.0, 1e30], requires_grad=True)
    x, ladj = logit_map(y, low, low + 1.0, inverse=True)
    assert x[0] == low
    assert x[-1] == low + 1
    torch.testing.assert_close(ladj[[1, 5]], torch.tensor([-200.0, -200.0]))
    for gradient in torch.autograd.grad(x.sum() + ladj.sum(), y):
        assert torch.isfinite(gradient).all()


@given(st.floats(-1e6, 1e6), st.sampled_from([math.pi, 0.5, 5.0]))
def test_wrap_lands_in_the_interval_and_moves_by_whole_periods(value, half):
    x = torch.tensor(value, dtype=torch.float64)
    y = wrap(x, -half, half)
    assert -half <= y < half
    turns = (x - y) / (2 * half)
    assert abs(turns - turns.round()) < 1e-9
    assert not -half <= value < half or y == x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wrap_at_its_edges(dtype):
    high = torch.tensor(math.pi, dtype=dtype)
    below = torch.nextafter(-high, -high * 2)
    y = wrap(torch.stack([-high, high, below, torch.tensor(1e30, dtype=dtype)]), -math.pi, math.pi)
    assert ((y >= -high) & (y < high)).all()
    assert y[:2].tolist() == [-high, -high]


def test_wrap_has_slope_one_and_tensor_edges():
    x = torch.tensor([[-9.0, 0.3, 9.0]], requires_grad=True)
    y = wrap(x, -torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 4.0]))
    np.testing.assert_allclose(y.detach(), [[-1.0, 0.3, 1.0]], rtol=1e-6)
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], torch.ones(1, 3))


def test_tensor_edges_of_the_logit():
    low, high = torch.tensor([0.0, -1.0]), torch.tensor([1.0, 5.0])
    y, ladj = logit_map(torch.tensor([0.5, 2.0]), low, high)
    torch.testing.assert_close(y, torch.zeros(2))
    torch.testing.assert_close(ladj, torch.log(4 / (high - low)))
    assert torch.equal(logit_map(y, low, high, inverse=True)[0], torch.tensor([0.5, 2.0]))

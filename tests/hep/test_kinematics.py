"""Kinematics against explicit formulas, boosts composed by matrices, and another frame construction."""

import numpy as np
import pytest
import torch

from bijecta.hep import kinematics

MASS = 0.1056583755


def momenta(n=500, mass=MASS, seed=0):
    three = np.random.default_rng(seed).normal(size=(n, 3)) * [20.0, 20.0, 60.0]
    return np.concatenate([np.sqrt((three**2).sum(1, keepdims=True) + mass**2), three], axis=1)


def boost_matrix(velocity):
    """The Lorentz transformation as exp of its generator: independent of the closed form."""
    speed = np.linalg.norm(velocity)
    generator = np.zeros((4, 4))
    generator[0, 1:] = generator[1:, 0] = velocity / speed * np.arctanh(speed)
    return torch.linalg.matrix_exp(torch.from_numpy(generator)).numpy()


def test_formulas_of_one_momentum():
    p = momenta()
    energy, x, y, z = p.T
    theta = np.arccos(z / np.sqrt(x**2 + y**2 + z**2))
    np.testing.assert_allclose(kinematics.pt(p), np.hypot(x, y), rtol=1e-14)
    np.testing.assert_allclose(kinematics.rapidity(p), 0.5 * np.log((energy + z) / (energy - z)), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(kinematics.pseudorapidity(p), -np.log(np.tan(theta / 2.0)), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(kinematics.azimuth(p), np.angle(x + 1j * y))
    np.testing.assert_allclose(kinematics.mass(momenta(mass=91.0)), 91.0, rtol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_and_arrays_agree(dtype):
    p, q = momenta(seed=1), momenta(seed=2)
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-12}
    a, b = torch.from_numpy(p).to(dtype), torch.from_numpy(q).to(dtype)
    for function in (kinematics.pt, kinematics.azimuth, kinematics.rapidity, kinematics.pseudorapidity):
        assert function(a).dtype == dtype
        np.testing.assert_allclose(function(a).numpy(), function(p), **tolerance)
    for function in (kinematics.delta_r, kinematics.delta_phi):
        np.testing.assert_allclose(function(a, b).numpy(), function(p, q), **tolerance)
    for ours, theirs in zip(kinematics.collins_soper_angles(a, b), kinematics.collins_soper_angles(p, q), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, **tolerance)


def test_four_momentum_undoes_its_coordinates():
    p = momenta(mass=5.0)
    made = kinematics.four_momentum(
        kinematics.pt(p), kinematics.pseudorapidity(p), kinematics.azimuth(p), kinematics.mass(p)
    )
    np.testing.assert_allclose(made, p, rtol=1e-10)


def test_boosts_are_lorentz_transformations():
    p = momenta(20, seed=3)
    velocity = np.array([0.3, -0.5, 0.7])
    np.testing.assert_allclose(
        kinematics.boost(p, np.broadcast_to(velocity, (20, 3))), p @ boost_matrix(velocity).T, rtol=1e-12
    )
    q = momenta(20, mass=80.0, seed=4)
    rest = kinematics.boost(q, -q[:, 1:] / q[:, :1])
    np.testing.assert_allclose(rest, np.broadcast_to([80.0, 0.0, 0.0, 0.0], (20, 4)), atol=1e-10)


def test_angles_wrap_around_the_seam():
    p, q = momenta(seed=5), momenta(seed=6)
    difference = kinematics.delta_phi(p, q)
    assert (np.abs(difference) <= np.pi).all()
    np.testing.assert_allclose(np.exp(1j * difference), np.exp(1j * (kinematics.azimuth(p) - kinematics.azimuth(q))))
    eta = kinematics.pseudorapidity(p) - kinematics.pseudorapidity(q)
    np.testing.assert_allclose(kinematics.delta_r(p, q), np.hypot(eta, difference))


def collins_soper_by_boosts(lepton, antilepton):
    """The frame built from its definition: boost the beams into the rest frame and halve the angle between them."""
    pair = lepton + antilepton
    velocity = -pair[:, 1:] / pair[:, :1]
    beam = np.broadcast_to([1.0, 0.0, 0.0, 1.0], pair.shape)
    other = beam * [1.0, 1.0, 1.0, -1.0]
    first, second = (kinematics.boost(p, velocity)[:, 1:] for p in (beam, other))
    first, second = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (first, second))
    z, x = first - second, -(first + second)
    z, x = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (z, x))
    k = kinematics.boost(lepton, velocity)[:, 1:]
    k /= np.linalg.norm(k, axis=1, keepdims=True)
    return (k * z).sum(1), np.arctan2((k * np.cross(z, x)).sum(1), (k * x).sum(1))


@pytest.mark.parametrize("mass", [0.0, MASS, 1.77])
def test_collins_soper_angles_follow_their_definition(mass):
    lepton, antilepton = momenta(mass=mass, seed=7), momenta(mass=mass, seed=8)
    cosine, phi = kinematics.collins_soper_angles(lepton, antilepton)
    expected_cosine, expected_phi = collins_soper_by_boosts(lepton, antilepton)
    np.testing.assert_allclose(cosine, expected_cosine, atol=1e-9)
    np.testing.assert_allclose(np.exp(1j * phi), np.exp(1j * expected_phi), atol=1e-7)


def test_a_pair_at_rest_has_the_angles_of_the_laboratory():
    lepton = momenta(seed=9)
    cosine, phi = kinematics.collins_soper_angles(lepton, lepton * [1.0, -1.0, -1.0, -1.0])
    np.testing.assert_allclose(cosine, lepton[:, 3] / np.linalg.norm(lepton[:, 1:], axis=1), atol=1e-12)
    np.testing.assert_allclose(phi, kinematics.azimuth(lepton))


def test_vanishing_momenta_have_finite_values_and_derivatives():
    functions = (
        kinematics.pt, kinematics.mass, kinematics.azimuth, kinematics.rapidity, kinematics.pseudorapidity,
    )  # fmt: skip
    for function in functions:
        p = torch.zeros(4, dtype=torch.float64, requires_grad=True)
        value = function(p)
        assert value.item() == 0.0
        (gradient,) = torch.autograd.grad(value, p)
        assert gradient.isfinite().all(), function.__name__
    zeros = np.zeros((3, 4))
    assert np.isfinite(kinematics.collins_soper_angles(zeros, zeros)).all()
    along = np.array([5.0, 0.0, 0.0, -5.0])
    assert kinematics.rapidity(along) == kinematics.pseudorapidity(along) == -np.inf


@pytest.mark.parametrize("function", [kinematics.pt, kinematics.mass, kinematics.rapidity, kinematics.pseudorapidity])
def test_derivatives(function):
    p = torch.from_numpy(momenta(5, mass=3.0)).requires_grad_()
    assert torch.autograd.gradcheck(function, (p,))

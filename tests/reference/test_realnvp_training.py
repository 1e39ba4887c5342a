"""Adam against torch, and training on two moons."""

import numpy as np
import pytest
import torch

from bijecta.errors import InputError, ShapeError, TrainingDivergedError
from bijecta.reference.realnvp_training import Adam, flatten, minibatches, train_realnvp


def two_moons(n_points, seed):
    generator = np.random.default_rng(seed)
    angle = generator.uniform(0.0, np.pi, size=n_points)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1.0 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    moons = np.where(generator.random((n_points, 1)) < 0.5, upper, lower)
    return moons + 0.1 * generator.normal(size=(n_points, 2))


def gaussian_nll(train, test):
    """The best that a normal distribution with full covariance can do."""
    covariance, centred = np.cov(train.T), test - train.mean(0)
    squares = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred)
    return 0.5 * (squares.mean() + np.linalg.slogdet(2 * np.pi * covariance)[1])


@pytest.fixture(scope="module")
def trained():
    return train_realnvp(two_moons(2000, seed=0), n_epochs=60)


def test_adam_is_torch_adam_step_by_step():
    generator = np.random.default_rng(0)
    start = [generator.normal(size=shape) for shape in ((3, 4), (4,), (0, 2))]
    ours, theirs = [array.copy() for array in start], [torch.tensor(array, requires_grad=True) for array in start]
    adam = Adam(ours, learning_rate=0.02, mean_decay=0.8, square_decay=0.95, epsilon=1e-6)
    reference = torch.optim.Adam(theirs, lr=0.02, betas=(0.8, 0.95), eps=1e-6)
    for _ in range(50):
        gradients = [generator.normal(size=array.shape) * 10.0 ** generator.integers(-4, 3) for array in start]
        adam.step(gradients)
        for tensor, gradient in zip(theirs, gradients, strict=True):
            tensor.grad = torch.tensor(gradient)
        reference.step()
        for array, tensor in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(array, tensor.detach().numpy(), rtol=0, atol=1e-12)


def test_minibatches_deal_every_row_once_in_a_new_order():
    x, generator = np.arange(10.0)[:, None], np.random.default_rng(0)
    first, second = (np.concatenate(list(minibatches(x, 4, generator))) for _ in range(2))
    np.testing.assert_array_equal(np.sort(first, axis=0), x)
    np.testing.assert_array_equal(np.sort(second, axis=0), x)
    assert np.any(first != second)


def test_two_moons_are_learned(trained):
    flow, history = trained
    train, test = two_moons(2000, seed=0), two_moons(2000, seed=1)
    assert len(history) == 60
    assert history[-1] < history[0]
    assert -flow.log_prob(test).mean() < gaussian_nll(train, test) - 0.5


@pytest.fixture(scope="module")
def log_prob_on_grid(trained):
    """Log-densities on a square that holds all but 1e-3 of the mass, and the area of a cell."""
    axis = np.linspace(-5.0, 6.0, 501)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)  # (501, 501, 2)
    return trained[0].log_prob(grid), (axis[1] - axis[0]) ** 2


def test_trained_density_integrates_to_one(log_prob_on_grid):
    log_prob, area = log_prob_on_grid
    np.testing.assert_allclose(np.exp(log_prob).sum() * area, 1.0, atol=2e-3)


def test_trained_flow_still_inverts(trained):
    flow, _ = trained
    x = two_moons(500, seed=2)
    np.testing.assert_allclose(flow.to_data(flow.to_latent(x)), x, atol=1e-10)


def test_samples_follow_the_density(trained, log_prob_on_grid):
    """The mean log-density of samples is minus the entropy, which the grid gives independently."""
    log_prob, area = log_prob_on_grid
    minus_entropy = (np.exp(log_prob) * log_prob).sum() * area
    values = trained[0].log_prob(trained[0].sample(20000, np.random.default_rng(3)))
    assert abs(values.mean() - minus_entropy) < 4 * values.std() / np.sqrt(len(values))


def test_an_odd_number_of_features_trains():
    x = np.random.default_rng(4).normal(size=(500, 3))
    x[:, 2] = x[:, 0] ** 2 + 0.1 * x[:, 2]
    flow, history = train_realnvp(x, n_layers=4, n_hidden=16, n_epochs=40, batch_size=100)
    assert -flow.log_prob(x).mean() < gaussian_nll(x, x) - 0.5
    assert history[-1] < history[0] - 0.5


def test_a_single_feature_trains_to_its_normal_distribution():
    x = np.random.default_rng(4).exponential(size=(500, 1))
    flow, history = train_realnvp(x, n_layers=3, n_hidden=8, n_epochs=20, batch_size=100)
    best = 0.5 * np.log(2 * np.pi * np.e * x.var())  # a chain of affine maps can do no better
    assert np.all(np.isfinite(history))
    assert best - 1e-9 <= -flow.log_prob(x).mean() < best + 0.05


def test_the_seed_decides_everything():
    x = two_moons(200, seed=0)
    runs = [train_realnvp(x, n_layers=2, n_hidden=4, n_epochs=3, seed=seed) for seed in (5, 5, 6)]
    assert runs[0][1] == runs[1][1] != runs[2][1]
    for first, second in zip(flatten(runs[0][0].layers), flatten(runs[1][0].layers), strict=True):
        np.testing.assert_array_equal(first, second)


def test_divergence_is_reported():
    with np.errstate(all="ignore"), pytest.raises(TrainingDivergedError, match="Lower learning_rate"):
        train_realnvp(two_moons(100, seed=0), n_epochs=5, batch_size=10, learning_rate=1e200)


def test_unusable_arguments_are_refused():
    with pytest.raises(InputError, match="batch_size must be 1 or more, got 0"):
        train_realnvp(two_moons(10, seed=0), batch_size=0)
    with pytest.raises(ShapeError, match=r"got \(10,\)"):
        train_realnvp(np.zeros(10))

"""The NumPy RealNVP as a flow: round trips, ladj, shapes, bounds."""

import numpy as np
import pytest

from bijecta.errors import InputError, ShapeError
from bijecta.reference.realnvp import run_conditioner, start_realnvp

FEATURES = [1, 2, 3, 6]


def random_flow(n_features, n_layers=4, seed=0):
    """A flow far from the identity, which the fresh one would be."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(50, n_features)) * 3.0 + 5.0
    flow = start_realnvp(x, n_layers=n_layers, n_hidden=8, limit=2.0, generator=generator)
    for layer in flow.layers:
        for array in layer:
            array += 0.3 * generator.normal(size=array.shape)
    return flow, x


@pytest.mark.parametrize("batch", [(), (1,), (0,), (3, 7)])
@pytest.mark.parametrize("n_features", FEATURES)
def test_round_trip_both_ways(n_features, batch):
    flow, _ = random_flow(n_features)
    points = np.random.default_rng(1).normal(size=(*batch, n_features)) * 2.0
    x, inverse_ladj = flow.inverse_and_ladj(points)
    z, ladj = flow.forward_and_ladj(x)
    assert ladj.shape == batch
    np.testing.assert_allclose(z, points, atol=1e-10)
    np.testing.assert_allclose(inverse_ladj, -ladj, atol=1e-10)
    np.testing.assert_allclose(flow.to_data(flow.to_latent(points)), points, atol=1e-10)


@pytest.mark.parametrize("n_features", FEATURES)
def test_ladj_is_slogdet_of_the_jacobian(n_features, jacobian):
    flow, x = random_flow(n_features)
    for point in x[:5]:
        expected = np.linalg.slogdet(jacobian(flow.to_latent, point))[1]
        np.testing.assert_allclose(flow.forward_and_ladj(point)[1], expected, atol=1e-7)


@pytest.mark.parametrize("n_features", FEATURES)
def test_every_feature_is_moved_and_mixed(n_features, jacobian):
    flow, x = random_flow(n_features)
    assert np.all(jacobian(flow.to_latent, x[0]) != 0.0)


@pytest.mark.parametrize("n_features", FEATURES)
def test_a_fresh_flow_is_the_normal_distribution_of_the_data(n_features):
    generator = np.random.default_rng(2)
    x = generator.normal(size=(50, n_features)) * 3.0 + 5.0
    flow = start_realnvp(x, generator=generator)
    z = flow.to_latent(x)
    np.testing.assert_allclose(z.mean(0), 0.0, atol=1e-12)
    np.testing.assert_allclose(z.std(0), 1.0, rtol=1e-12)
    expected = -0.5 * np.sum(((x - x.mean(0)) / x.std(0)) ** 2 + np.log(2 * np.pi * x.var(0)), axis=1)
    np.testing.assert_allclose(flow.log_prob(x), expected, rtol=1e-12)


def test_log_scale_is_bounded_and_unbent_at_zero():
    flow, _ = random_flow(2)
    weights = flow.layers[0]
    for factor in (1e-6, 1.0, 1e6):
        scaled = weights._replace(W3=weights.W3 * factor, b3=weights.b3 * factor)
        log_scale = run_conditioner(scaled, np.linspace(-9, 9, 40)[:, None], 2.0)[0]
        assert np.all(np.abs(log_scale) <= 2.0)
    tiny = weights._replace(W3=weights.W3 * 1e-6, b3=weights.b3 * 1e-6)
    log_scale, _, _, hidden_2 = run_conditioner(tiny, np.ones((1, 1)), 2.0)
    np.testing.assert_allclose(log_scale, (hidden_2 @ tiny.W3 + tiny.b3)[:, :1], rtol=1e-9)


def test_samples_are_the_inverse_of_normal_numbers_and_repeat_by_seed():
    flow, _ = random_flow(3)
    samples = flow.sample(100, np.random.default_rng(3))
    np.testing.assert_allclose(flow.to_latent(samples), np.random.default_rng(3).normal(size=(100, 3)), atol=1e-10)
    np.testing.assert_array_equal(samples, flow.sample(100, np.random.default_rng(3)))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros(3), ShapeError, r"got \(3,\)"),
        (np.zeros((0, 2)), ShapeError, r"got \(0, 2\)"),
        (np.array([[0.0, 1.0], [np.nan, 2.0]]), InputError, "NaN"),
        (np.array([[0.0, 1.0], [0.0, 2.0]]), InputError, r"Columns \[0\] are constant"),
    ],
)
def test_unusable_data_are_refused(x, error, message):
    with pytest.raises(error, match=message):
        start_realnvp(x, generator=np.random.default_rng(0))

"""Toy sets: exact densities against quadrature, Monte Carlo, independent constructions and stored entropies."""

import json
from pathlib import Path

import numpy as np
import pytest

from bijecta.data.densities import grid_points
from bijecta.data.toys import TOYS, image, toy
from bijecta.errors import InputError, ShapeError

ORACLES = Path(__file__).parents[3] / "shared" / "data" / "toy_oracles.json"
FFJORD = ("moons", "circles", "rings", "2spirals", "checkerboard", "8gaussians", "pinwheel", "swissroll")
SMOOTH = [name for name in TOYS if TOYS[name].noise > 0]


@pytest.mark.parametrize("name", TOYS)
def test_density_integrates_to_one(name):
    chosen = TOYS[name]
    # The sharp-edged sets are constant on the cells of any grid that is a multiple of 96.
    spacing = 0.5 * chosen.noise if chosen.noise else 8.0 / 96
    points, area = grid_points(*chosen.box(), spacing)
    assert area * np.exp(chosen.log_prob(points)).sum() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("name", TOYS)
def test_samples_have_the_stated_entropy(name):
    chosen = TOYS[name]
    loss = -chosen.log_prob(chosen.sample(10_000, seed=5))
    assert abs(loss.mean() - chosen.entropy) < 4.5 * loss.std() / 100 + 1e-9


@pytest.mark.parametrize("name", TOYS)
def test_samples_follow_the_density_bin_by_bin(name):
    """A chi-square test: counts in coarse cells against the density integrated over them."""
    chosen, n = TOYS[name], 10_000
    low, high = chosen.box()
    edges = [np.linspace(low[k], high[k], 7) for k in (0, 1)]
    # A whole number of midpoint cells in each coarse cell, 16 per coarse cell where the density is piecewise constant.
    per_axis = (6 * np.ceil((high - low) / 6 / (0.5 * chosen.noise or 1 / 12) - 1e-9)).astype(int)
    axes = [low[k] + (np.arange(m) + 0.5) * (high[k] - low[k]) / m for k, m in enumerate(per_axis)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    mass = np.exp(chosen.log_prob(points)) * np.prod((high - low) / per_axis)
    expected = n * np.histogram2d(*points.T, bins=edges, weights=mass)[0]
    counts = np.histogram2d(*chosen.sample(n, seed=11).T, bins=edges)[0]
    used = expected > 20
    chi2 = np.sum((counts - expected)[used] ** 2 / expected[used]) / used.sum()
    assert chi2 < 1.0 + 5.0 * np.sqrt(2.0 / used.sum())


@pytest.mark.parametrize("name", FFJORD)
def test_entropy_agrees_with_the_reference_values(name):
    if not ORACLES.exists():
        pytest.skip(f"{ORACLES} is not here: the reference entropies are not part of the repository")
    reference = json.loads(ORACLES.read_text())[name]
    tolerance = 4.0 * max(reference["mc_se"], 1e-4)
    assert abs(TOYS[name].entropy - reference["entropy_nats"]) < tolerance


def _ffjord_moons(n, rng):
    t = np.pi * rng.random(n)
    outer = rng.random(n) < 0.5
    x = np.where(outer, np.cos(t), 1 - np.cos(t))
    y = np.where(outer, np.sin(t), 0.5 - np.sin(t))
    return 2 * (np.stack([x, y], 1) + 0.1 * rng.standard_normal((n, 2))) + [-1.0, -0.2]


def _ffjord_spirals(n, rng):
    r = np.sqrt(rng.random(n)) * 540 * 2 * np.pi / 360
    x = np.stack([-np.cos(r) * r + 0.5 * rng.random(n), np.sin(r) * r + 0.5 * rng.random(n)], 1)
    return np.where(rng.random((n, 1)) < 0.5, 1, -1) * x / 3 + 0.1 * rng.standard_normal((n, 2))


def _ffjord_pinwheel(n, rng):
    features = rng.standard_normal((n, 2)) * [0.3, 0.1] + [1.0, 0.0]
    angle = 2 * np.pi * rng.integers(5, size=n) / 5 + 0.25 * np.exp(features[:, 0])
    rotation = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], 1).reshape(n, 2, 2)
    return 2 * np.einsum("ti,tij->tj", features, rotation)


def _ffjord_checkerboard(n, rng):
    x = rng.random(n) * 4 - 2
    y = rng.random(n) - rng.integers(0, 2, n) * 2 + np.floor(x) % 2
    return 2 * np.stack([x, y], 1)


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("moons", _ffjord_moons),
        ("2spirals", _ffjord_spirals),
        ("pinwheel", _ffjord_pinwheel),
        ("checkerboard", _ffjord_checkerboard),
    ],
)
def test_density_is_that_of_the_published_recipe(name, recipe):
    """Gibbs: the mean loss on foreign samples equals the entropy only if the densities agree."""
    loss = -TOYS[name].log_prob(recipe(10_000, np.random.default_rng(2)))
    assert abs(loss.mean() - TOYS[name].entropy) < 4.5 * loss.std() / 100 + 1e-9


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_moons_agree_with_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    points, _ = datasets.make_moons(20_000, noise=0.1, random_state=0)
    loss = -TOYS["sklearn-moons"].log_prob(points)
    assert abs(loss.mean() - TOYS["sklearn-moons"].entropy) < 4.5 * loss.std() / np.sqrt(20_000)


def test_moons_have_equal_shares():
    nearly_clean = toy("sklearn-moons", noise=1e-6).sample(1000, seed=3)
    on_outer = np.abs(np.hypot(*nearly_clean.T) - 1.0) < 1e-4
    assert 500 <= on_outer.sum() <= 504  # the arcs cross at two points


def test_ring_density_matches_the_bessel_form():
    special = pytest.importorskip("scipy.special")
    x = np.random.default_rng(0).uniform(-4, 4, (500, 2))
    r, noise = np.hypot(*x.T), 0.24
    terms = [special.i0e(r * R / noise**2) * np.exp(-((r - R) ** 2) / (2 * noise**2)) for R in (3.0, 1.5)]
    expected = np.log(sum(terms) / 2 / (2 * np.pi * noise**2))
    np.testing.assert_allclose(TOYS["circles"].log_prob(x), expected, atol=1e-8)


def test_pinwheel_density_matches_a_finite_difference_jacobian():
    """Push features forward through an independent map whose Jacobian is differenced numerically."""
    rng = np.random.default_rng(4)
    features = rng.standard_normal((50, 2)) * [0.2, 0.1] + [1.0, 0.0]

    def push(f):
        angle = 0.25 * np.exp(f[:, 0])
        z = 2 * (f[:, 0] + 1j * f[:, 1]) * np.exp(-1j * angle)
        return np.stack([z.real, z.imag], 1)

    h = 1e-6
    columns = [(push(features + h * np.eye(2)[k]) - push(features - h * np.eye(2)[k])) / (2 * h) for k in (0, 1)]
    determinant = np.abs(columns[0][:, 0] * columns[1][:, 1] - columns[0][:, 1] * columns[1][:, 0])
    normal = np.exp(-0.5 * ((features[:, 0] - 1) / 0.3) ** 2 - 0.5 * (features[:, 1] / 0.1) ** 2) / (2 * np.pi * 0.03)
    one_arm = np.log(normal / determinant / 5)
    total = TOYS["pinwheel"].log_prob(push(features))
    assert (total > one_arm - 1e-5).all()  # the other arms only add
    assert np.median(total - one_arm) < 1e-6


def test_spiral_density_matches_brute_force():
    """A fine mixture of Gaussians with the jitter square resolved by 40 x 40 points."""
    u = (np.arange(20_000) + 0.5) / 20_000
    n = 3 * np.pi * np.sqrt(u)
    offsets = (np.arange(40) + 0.5) / 40 * 0.5
    x = TOYS["2spirals"].sample(8, seed=1)
    expected = np.zeros(8)
    for sign in (1, -1):
        for axis_mean in [(-n * np.cos(n), n * np.sin(n))]:
            kernels = [
                np.exp(
                    -0.5 * ((x[:, k, None, None] - sign * (axis_mean[k][None, :, None] + offsets) / 3) / 0.1) ** 2
                ).mean(2)
                for k in (0, 1)
            ]
            expected += 0.5 * (kernels[0] * kernels[1]).mean(1) / (2 * np.pi * 0.01)
    np.testing.assert_allclose(TOYS["2spirals"].log_prob(x), np.log(expected), atol=2e-4)


def test_far_points_have_finite_log_density():
    far = np.array([[1e3, -1e3], [0.0, 50.0], [-30.0, 0.0]])
    for name in SMOOTH:
        logs = TOYS[name].log_prob(far)
        assert not np.isnan(logs).any()
        assert (logs < -100).all()


def test_image_is_piecewise_constant():
    picture = image([[0.0, 1.0], [3.0, 0.0]], low=(0.0, 0.0), high=(2.0, 2.0))
    points = [[0.5, 0.5], [1.5, 1.5], [0.5, 1.5], [5.0, 5.0]]
    np.testing.assert_allclose(picture.log_prob(points), [np.log(0.75), np.log(0.25), -np.inf, -np.inf])
    assert picture.entropy == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))


def test_sampling_is_reproducible_and_takes_a_generator():
    one, same = TOYS["moons"].sample(7, seed=3), TOYS["moons"].sample(7, seed=3)
    np.testing.assert_array_equal(one, same)
    generator = np.random.default_rng(3)
    np.testing.assert_array_equal(TOYS["moons"].sample(7, generator), one)
    assert not np.array_equal(TOYS["moons"].sample(7, generator), one)
    assert TOYS["moons"].sample(0).shape == (0, 2)
    assert TOYS["moons"].log_prob(np.empty((0, 2))).shape == (0,)


def test_other_noise_levels_change_density_and_entropy():
    blurred = toy("8gaussians", noise=0.1)
    assert blurred.entropy == pytest.approx(np.log(8) + np.log(2 * np.pi * np.e * 0.01), abs=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: toy("moon"), "Did you mean"),
        (lambda: toy("moons", noise=-1.0), "positive"),
        (lambda: toy("heart", noise=0.1), "no noise"),
        (lambda: TOYS["moons"].sample(-1), "0 or more"),
        (lambda: TOYS["moons"].log_prob([[np.nan, 0.0]]), "NaN"),
        (lambda: image([[-1.0, 2.0]]), "non-negative"),
        (lambda: image([[1.0]], low=(1.0, 0.0), high=(0.0, 1.0)), "low < high"),
    ],
)
def test_wrong_input_is_explained(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("call", [lambda: TOYS["moons"].log_prob([1.0, 2.0]), lambda: image([1.0, 2.0])])
def test_wrong_shapes_are_explained(call):
    with pytest.raises(ShapeError, match=r"shape"):
        call()

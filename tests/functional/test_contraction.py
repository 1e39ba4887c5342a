"""Contractions: bounds that hold, estimates without bias, and inverses that keep their promise."""

import numpy as np
import pytest
import torch

from bijecta.errors import NotConvergedError
from bijecta.functional import contraction
from bijecta.nets import LipschitzMLP
from bijecta.reference import residual as reference
from bijecta.reference.determinants import power_series_log_det

ESTIMATES = 20_000


def network(features, seed=0, coefficient=0.97):
    """A contraction that uses its bound up: large weights, scaled down."""
    torch.manual_seed(seed)
    net = LipschitzMLP(features, hidden=(16,), coefficient=coefficient).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter))
    return net


def estimate(net, x, exact=2, keep=0.5):
    noise, weights = torch.randn_like(x), contraction.roulette_weights(x[..., 0], exact, keep)
    return contraction.estimated_ladj(net.linearise(x)[1], noise, weights)


@pytest.mark.parametrize("shape", [(1, 1), (3, 8), (64, 64), (128, 5), (2, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_bound_is_above_the_spectral_norm_and_close(shape, dtype):
    for matrix in (torch.randn(shape, dtype=dtype), torch.ones(shape, dtype=dtype), 1e4 * torch.eye(*shape).to(dtype)):
        bound = contraction.log_spectral_bound(matrix).double().exp()
        norm = torch.linalg.matrix_norm(matrix.double(), 2)
        assert norm * (1 - 1e-6) <= bound <= 1.003 * norm


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_bound_of_a_zero_matrix_has_finite_derivatives(dtype):
    matrix = torch.zeros(4, 4, dtype=dtype, requires_grad=True)
    (first,) = torch.autograd.grad(contraction.log_spectral_bound(matrix), matrix, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), matrix)
    assert torch.isfinite(first).all()
    assert torch.isfinite(second).all()


def test_the_activation_never_lengthens_a_change():
    a = torch.linspace(-40, 40, 100_001, dtype=torch.float64, requires_grad=True)
    for beta in (0.01, 1.0, 30.0):
        values, slopes = contraction.concatenated_lipswish(a[:, None], torch.tensor(beta).double())
        assert slopes.norm(dim=-1).max() <= 1
        for column in (0, 1):
            (slope,) = torch.autograd.grad(values[:, column].sum(), a, retain_graph=True)
            torch.testing.assert_close(slopes[:, column], slope)


def test_weights_of_the_roulette_have_mean_one():
    weights = contraction.roulette_weights(torch.zeros(200_000, dtype=torch.float64), 3, 0.5)
    assert torch.equal(weights[:3], torch.ones(3, 200_000, dtype=torch.float64))
    for k in range(3, 9):
        kept = weights[k][weights[k] > 0]
        assert torch.equal(kept, torch.full_like(kept, 2.0 ** (k - 2)))
        assert float(weights[k].mean()) == pytest.approx(1, abs=3.5 * (2.0 ** (k - 2) / 200_000) ** 0.5)


@pytest.mark.parametrize("features", [2, 8, 32])
def test_the_estimate_is_unbiased(features):
    """The mean of what is returned, not only its gradient, is the log-determinant."""
    net, x = network(features), torch.randn(features).double()
    exact = contraction.exact_ladj(net.linearise(x)[1]).detach()
    assert float(exact) == pytest.approx(power_series_log_det(net.linearise(x)[1].dense().detach().numpy(), 400))
    estimates = estimate(net, x.expand(ESTIMATES, features)).detach()
    error = estimates.std() / ESTIMATES**0.5
    assert 0 < error < 0.02
    assert (estimates.mean() - exact).abs() < 3.5 * error


@pytest.mark.parametrize("features", [2, 8])
def test_the_gradient_of_the_estimate_is_unbiased(features):
    net, x = network(features), torch.randn(features).double()
    leaf = x.clone().requires_grad_()
    (exact,) = torch.autograd.grad(contraction.exact_ladj(net.linearise(leaf)[1]), leaf)
    leaf = x.expand(ESTIMATES, features).clone().requires_grad_()
    (each,) = torch.autograd.grad(estimate(net, leaf).sum(), leaf)
    error = each.std(0) / ESTIMATES**0.5
    assert ((each.mean(0) - exact).abs() < 4 * error).all()


def test_every_row_keeps_its_weight():
    """Weighted losses: the gradient belongs to the row, also where the rows weigh differently."""
    net, x = network(3), torch.randn(4, 3).double()
    noise, roulette = torch.randn_like(x), contraction.roulette_weights(x[..., 0], 2, 0.5)
    importance = torch.tensor([0.0, 1.0, -2.0, 10.0]).double()

    def gradient(rows):
        _, derivative = net.linearise(x[rows])
        ladj = contraction.estimated_ladj(derivative, noise[rows], roulette[:, rows])
        return torch.autograd.grad((importance[rows] * ladj).sum(), net.layers[0].weight)[0]

    together = gradient([0, 1, 2, 3])
    apart = sum(gradient([row]) for row in range(4))
    torch.testing.assert_close(together, apart)


def test_the_estimate_of_many_terms_is_the_series_of_numpy():
    net, x = network(4), torch.randn(4).double()
    derivative = net.linearise(x)[1]
    basis = 2 * torch.eye(4).double()  # the mean over sqrt(D) e_i is the trace
    linearise = net.linearise(x.expand(4, 4))[1]
    value = contraction.estimated_ladj(linearise, basis, torch.ones(6, 4).double()).mean().detach()
    assert float(value) == pytest.approx(power_series_log_det(derivative.dense().detach().numpy(), 6))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("newton", [False, True])
def test_the_inverse_is_really_within_its_tolerance(dtype, newton):
    """The distance from the true solution, not the last step divided by a tolerance."""
    net = network(3).to(dtype)
    x = 3 * torch.randn(200, 3, dtype=dtype)
    z = (x.double() + net.double()(x.double())).to(dtype)
    found = contraction.invert_shifted(net.to(dtype).linearise, z, newton=newton).double()
    residual = (found + net.double()(found) - z.double()).abs().amax(-1) / (1 + z.double().abs().amax(-1))
    assert residual.max() <= 2 * contraction.TOLERANCE[dtype]
    assert (found - x.double()).abs().max() <= 200 * contraction.TOLERANCE[dtype]


def test_the_inverse_is_that_of_numpy():
    net, z = network(3), torch.randn(5, 3).double()
    found = contraction.invert_shifted(net.linearise, z, newton=True)
    expected = reference.residual_inverse(lambda x: net(torch.from_numpy(x)).detach().numpy(), z.numpy(), 1500)
    np.testing.assert_allclose(found, expected, atol=1e-11)


class Linear:
    """The map g(x) = -factor x."""

    def __init__(self, factor):
        self.factor, self.calls = factor, 0

    def __call__(self, x):
        self.calls += 1
        return -self.factor * x, self

    def dense(self):
        return -self.factor * torch.eye(2)


@pytest.mark.parametrize(("newton", "most"), [(True, 6), (False, 400)])
def test_newton_steps_save_evaluations(newton, most):
    shrink = Linear(0.95)
    found = contraction.invert_shifted(shrink, torch.ones(1, 2), newton=newton)
    torch.testing.assert_close(found, torch.full((1, 2), 20.0), atol=5e-4, rtol=0)
    assert most / 4 < shrink.calls <= most


@pytest.mark.parametrize("factor", [2.0, 1.0])
def test_what_is_no_contraction_is_an_error(factor):
    """One whose iterates overflow, and one whose iterates run away slowly."""
    with pytest.raises(NotConvergedError, match=r"relative residual of 1e-06, got .* after 2000 steps.*contraction"):
        contraction.invert_shifted(Linear(factor), torch.ones(1, 2), newton=False)


def test_rows_that_are_not_numbers_stop_no_other():
    net, z = network(3), torch.randn(4, 3).double()
    spoiled = z.clone()
    spoiled[1, 0] = torch.nan
    found = contraction.invert_shifted(net.linearise, spoiled, newton=True)
    assert found[1].isnan().any()
    torch.testing.assert_close(found[[0, 2, 3]], contraction.invert_shifted(net.linearise, z, newton=True)[[0, 2, 3]])

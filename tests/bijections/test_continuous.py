"""Continuous flows against closed forms: linear fields, whose ladj is trace times time."""

import pytest
import torch
from torch import nn

from bijecta.bijections import Chain, Continuous, Standardise
from bijecta.errors import NotConvergedError, ShapeError
from bijecta.functional import Solver
from bijecta.nets import Velocity, VelocityMLP

MATRIX = torch.tensor([[0.4, -2.0, 0.1], [1.0, 0.3, 0.0], [0.5, 0.2, -1.5]], dtype=torch.float64)


class Linear(Velocity):
    """dz/dt = A z."""

    def __init__(self, matrix):
        super().__init__()
        self.features, self.context = len(matrix), 0
        self.matrix = nn.Parameter(matrix.clone())

    def forward(self, z, time, context=None):  # noqa: ARG002
        return z @ self.matrix.T


def moved(features=3, *, tolerance=1e-9, seed=0, **options):
    torch.manual_seed(seed)
    layer = Continuous(VelocityMLP(features, hidden=(16,)), Solver(tolerance=tolerance), **options).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return layer


@pytest.mark.parametrize("solver", [Solver(tolerance=1e-11), Solver("rk4", steps=200), Solver("midpoint", steps=500)])
def test_a_linear_field_is_the_matrix_exponential_and_its_ladj_the_trace(solver):
    """Also the sign: data flow forward in time, the ladj is plus the integral of the divergence."""
    layer, x = Continuous(Linear(MATRIX), solver), torch.randn(5, 3, dtype=torch.float64)
    z, ladj = layer.forward_and_ladj(x)
    torch.testing.assert_close(z, x @ torch.linalg.matrix_exp(MATRIX).T, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(ladj, MATRIX.trace().expand(5))
    back, ladj_back = layer.inverse_and_ladj(x)
    torch.testing.assert_close(back, x @ torch.linalg.matrix_exp(-MATRIX).T, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(ladj_back, -MATRIX.trace().expand(5))


def test_energies_of_a_linear_field():
    """A rotation keeps the speed of every point: the kinetic energy is |A x|^2, the Jacobian's |A|^2."""
    rotation = torch.tensor([[0.0, -2.0], [2.0, 0.0]], dtype=torch.float64)
    layer, x = Continuous(Linear(rotation), Solver(tolerance=1e-11)), torch.randn(5, 2, dtype=torch.float64)
    for start, end in ((0.0, 1.0), (1.0, 0.0), (0.0, 0.5)):
        path, length = layer.transport(x, start=start, end=end), abs(end - start)
        torch.testing.assert_close(path.kinetic, 4 * length * x.square().sum(-1))
        torch.testing.assert_close(path.jacobian, torch.full_like(path.jacobian, 8 * length))
        assert path.evaluations > 0
        assert (path.error < 1e-8).all()


def test_moving_in_two_parts_is_moving_at_once():
    layer, x = moved(), torch.randn(5, 3, dtype=torch.float64)
    half = layer.transport(x, end=0.4)
    rest = layer.transport(half.z, start=0.4)
    z, ladj = layer.forward_and_ladj(x)
    torch.testing.assert_close(rest.z, z)
    torch.testing.assert_close(half.ladj + rest.ladj, ladj)


def test_without_the_ladj_the_points_are_the_same():
    layer, x = moved(), torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(layer.forward(x), layer.forward_and_ladj(x)[0])
    torch.testing.assert_close(layer.inverse(x), layer.inverse_and_ladj(x)[0])
    with pytest.raises(ShapeError, match=r"\(\*batch, 3\)"):
        layer.forward(torch.zeros(5, 2))


def test_samples_of_a_chain_cost_no_trace(monkeypatch):
    layer, z = moved(), torch.randn(5, 3, dtype=torch.float64)
    chain = Chain([Standardise(3).double(), layer])
    expected = chain.forward_and_ladj(z)[0], chain.inverse_and_ladj(z)[0]
    monkeypatch.setattr(layer, "forward_and_ladj", None)
    monkeypatch.setattr(layer, "inverse_and_ladj", None)
    torch.testing.assert_close((chain.forward(z), chain.inverse(z)), expected)


def test_the_trace_is_exact_up_to_sixteen_features():
    assert [Continuous(VelocityMLP(d)).random_probes for d in (1, 16, 17)] == [0, 0, 1]
    assert Continuous(VelocityMLP(40), random_probes=0).random_probes == 0


def test_random_probes_are_unbiased():
    exact, estimated = moved(seed=5), moved(seed=5, random_probes=1, tolerance=1e-6)
    x = torch.randn(3, dtype=torch.float64)
    with torch.no_grad():
        expected = exact.forward_and_ladj(x)[1]
        ladj = estimated.forward_and_ladj(x.expand(4000, 3))[1]
    spread = float(ladj.std()) / len(ladj) ** 0.5
    assert spread > 1e-4  # otherwise nothing was estimated
    assert float(ladj.mean() - expected) == pytest.approx(0, abs=4 * spread)


def test_one_noise_per_row_and_solution():
    """Under one seed the estimate is a deterministic function; rows differ; accuracy does not change the noise."""
    layer, accurate = (moved(seed=5, random_probes=1, tolerance=t) for t in (1e-6, 1e-10))
    x = torch.randn(3, dtype=torch.float64).expand(64, 3)
    ladj = []
    for each in (layer, layer, accurate):
        torch.manual_seed(1)
        ladj.append(each.forward_and_ladj(x)[1])
    assert torch.equal(ladj[0], ladj[1])
    assert len(ladj[0].detach().unique()) > 1
    torch.testing.assert_close(ladj[0], ladj[2], atol=1e-4, rtol=1e-4)


def test_the_ladj_of_random_probes_is_consistent_with_its_gradient():
    """The gradient of the estimate is the gradient under that same noise."""
    layer = moved(seed=5, random_probes=1, tolerance=1e-11)

    def ladj(x):
        torch.manual_seed(1)
        return layer.forward_and_ladj(x)[1]

    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ladj, x, fast_mode=True)


@torch.no_grad()
def test_tighter_tolerances_come_closer():
    x = torch.randn(20, 3, dtype=torch.float64)
    exact = moved(tolerance=1e-12).forward_and_ladj(x)[1]
    errors = [float((moved(tolerance=t).forward_and_ladj(x)[1] - exact).abs().max()) for t in (1e-3, 1e-5, 1e-7)]
    assert errors[0] < 1e-2
    assert errors[2] < errors[1] < errors[0]


def test_a_field_too_steep_for_the_solver_says_so():
    layer = Continuous(Linear(1e6 * MATRIX), Solver(max_steps=50))
    with pytest.raises(NotConvergedError, match="Raise max_steps"):
        layer.forward(torch.ones(2, 3, dtype=torch.float64))


@torch.no_grad()
@pytest.mark.parametrize("solver", [Solver(tolerance=1e-4), Solver(tolerance=1e-8), Solver("rk4", steps=8)])
def test_there_and_back_is_as_close_as_the_solver_allows(solver):
    layer, x = moved(), torch.randn(50, 3, dtype=torch.float64)
    layer.solver = solver
    z, ladj = layer.forward_and_ladj(x)
    back, ladj_back = layer.inverse_and_ladj(z)
    allowed = 300 * solver.tolerance if solver.method == "dopri5" else 1e-3
    assert float((back - x).abs().max()) < allowed
    assert float((ladj + ladj_back).abs().max()) < allowed

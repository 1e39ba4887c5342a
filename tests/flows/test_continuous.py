"""The recipe of the continuous flow, and the report of its solver's error."""

import pytest
import torch

from bijecta.bijections import Continuous
from bijecta.errors import InputError
from bijecta.flows import cnf, solver_error


def moved(**options):
    torch.manual_seed(0)
    flow = cnf(options.pop("features", 2), hidden=(16,), **options).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.25 * torch.randn_like(parameter))
    return flow


@pytest.mark.parametrize("solver", ["dopri5", "euler", "midpoint", "rk4"])
def test_the_solver_error_is_the_error(solver):
    """Against a solution that is far more accurate than both that are compared."""
    flow, x = moved(solver=solver, steps=20, tolerance=1e-4), torch.randn(50, 2, dtype=torch.float64)
    exact = moved(solver="dopri5", tolerance=1e-12)
    with torch.no_grad():
        error = (flow.log_prob(x) - exact.log_prob(x)).abs()
    torch.testing.assert_close(solver_error(flow, x), error, atol=2e-8, rtol=0.5)


def test_euler_is_far_from_what_the_default_reaches():
    x = torch.randn(50, 2, dtype=torch.float64)
    assert float(solver_error(moved(), x).max()) < 1e-3
    assert float(solver_error(moved(solver="euler", steps=20), x).max()) > 1e-2


def test_random_probes_are_no_solver_error_and_the_generator_stays_where_it_was():
    flow, x = moved(features=17, tolerance=1e-7), torch.randn(5, 17, dtype=torch.float64)
    assert not torch.equal(flow.log_prob(x), flow.log_prob(x))
    state = torch.random.get_rng_state()
    assert float(solver_error(flow, x).max()) < 1e-3
    assert torch.equal(torch.random.get_rng_state(), state)


def test_arguments_reach_their_places():
    flow = cnf(2, solver="rk4", steps=3, tolerance=1e-3, activation="tanh", hidden=(5, 7), base="student")
    layer = next(layer for layer in flow.modules() if isinstance(layer, Continuous))
    assert (layer.solver.method, layer.solver.steps, layer.solver.tolerance) == ("rk4", 3, 1e-3)
    assert [linear.out_features for linear in layer.velocity.layers] == [5, 7]
    with pytest.raises(InputError, match="among dopri5"):
        cnf(2, solver="adams")
    with pytest.raises(InputError, match="among tanh"):
        cnf(2, activation="relu")


def test_the_density_of_a_conditional_flow_integrates_to_one():
    flow = moved(context=1).float()
    axis = torch.linspace(-9, 9, 250)
    with torch.no_grad():
        for context in (-1.0, 2.0):
            density = flow.log_prob(torch.cartesian_prod(axis, axis), torch.tensor([context])).exp()
            assert float(density.sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1, abs=1e-3)

"""Solvers against the matrix exponential, measured orders, the NumPy reference, and finite differences."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from bijecta.errors import InputError, NotConvergedError
from bijecta.functional import Solver, solve_adaptive, solve_fixed
from bijecta.reference import ode as reference

MATRIX = torch.tensor([[0.0, -2.0], [1.0, 0.3]], dtype=torch.float64)
START = torch.tensor([[1.0, 0.5], [-0.2, 2.0], [3.0, 0.0]], dtype=torch.float64)
ORDERS = {"euler": 1, "midpoint": 2, "rk4": 4}


def linear(time, state):
    return state @ MATRIX.T


def curved(time, state):
    """A field that depends on the time and not linearly on the state."""
    return torch.stack([torch.sin(state[..., 1] + 3 * time[..., 0]), torch.cos(state[..., 0]) - state[..., 1]], -1)


def curved_numpy(t, y):
    return np.array([np.sin(y[1] + 3 * t), np.cos(y[0]) - y[1]])


def exact(time):
    return START @ torch.linalg.matrix_exp(MATRIX * time).T


@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (1.0, 0.0), (-0.5, 2.0)])
def test_linear_equations_end_at_the_matrix_exponential(start, end):
    expected = exact(end - start)
    for tolerance in (1e-4, 1e-7, 1e-10):
        solution = solve_adaptive(linear, START, start, end, tolerance=tolerance)
        assert (solution.state - expected).abs().max() < 50 * tolerance
    fixed = solve_fixed(linear, START, start, end, method="rk4", steps=100)
    torch.testing.assert_close(fixed.state, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", ORDERS)
def test_every_fixed_solver_has_its_order(method):
    """Halving the step divides the error by 2^order."""
    errors = [
        float((solve_fixed(linear, START, 0.0, 1.0, method=method, steps=n).state - exact(1.0)).norm())
        for n in (32, 64, 128)
    ]
    measured = [math.log2(a / b) for a, b in pairwise(errors)]
    assert measured == pytest.approx([ORDERS[method]] * 2, abs=0.1)


def test_adaptive_steps_have_order_five():
    """The error per unit of time goes as the tolerance, the steps as tolerance^(-1/5)."""
    counts = [solve_adaptive(curved, START[:1], 0.0, 3.0, tolerance=t).evaluations / 12 for t in (1e-6, 1e-11)]
    assert math.log10(counts[1] / counts[0]) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("method", ORDERS)
def test_fixed_steps_match_numpy(method):
    ours = solve_fixed(curved, START, 0.2, 1.7, method=method, steps=7)
    theirs = [reference.solve_fixed_steps(curved_numpy, row, 0.2, 1.7, 7, method) for row in START.numpy()]
    np.testing.assert_allclose(ours.state, theirs, rtol=1e-13)
    assert ours.evaluations == 7 * {"euler": 1, "midpoint": 2, "rk4": 4}[method]
    assert ours.error is None


@pytest.mark.parametrize(("start", "end"), [(0.0, 2.0), (2.0, -1.0)])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-8])
def test_adaptive_steps_match_numpy_row_by_row(start, end, tolerance):
    """The same accepted steps and the same state as the reference, which solves every row alone."""
    ours = solve_adaptive(curved, START, start, end, tolerance=tolerance)
    theirs = [reference.solve_adaptive_steps(curved_numpy, row, start, end, tolerance)[0] for row in START.numpy()]
    np.testing.assert_allclose(ours.state, theirs, rtol=1e-11, atol=1e-12)


def test_evaluations_are_counted():
    calls = []

    def counted(time, state):
        calls.append(1)
        return curved(time, state)

    for solver in (Solver(), Solver("midpoint", steps=3), Solver(checkpoint=True)):
        for grad in (False, True):
            calls.clear()
            with torch.set_grad_enabled(grad):
                assert solver.solve(counted, START, 0.0, 1.0).evaluations == len(calls)


def test_the_error_estimate_is_of_the_size_of_the_error():
    solution = solve_adaptive(linear, START, 0.0, 3.0, tolerance=1e-6)
    error = (solution.state - exact(3.0)).abs().amax(-1)
    assert solution.error.shape == (3,)
    assert (solution.error > error / 30).all()
    assert (solution.error < 30 * error).all()


def test_with_and_without_a_graph_the_values_are_the_same():
    solver = Solver(tolerance=1e-6)
    graph = solver.solve(curved, START, 0.0, 2.0).state
    with torch.no_grad():
        assert torch.equal(solver.solve(curved, START, 0.0, 2.0).state, graph)


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_gradients_are_those_of_finite_differences(method, checkpoint):
    solver = Solver(method, steps=5, tolerance=1e-11, checkpoint=checkpoint)

    def end(state, strength):
        return solver.solve(lambda t, y: strength * curved(t, y), state, 0.0, 1.0).state

    arguments = (START[:2].clone().requires_grad_(), torch.tensor(1.3, dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(end, arguments, fast_mode=True)
    assert torch.autograd.gradgradcheck(end, arguments, fast_mode=True)


def test_checkpoints_change_no_gradient():
    gradients = []
    for checkpoint in (False, True):
        state = START.clone().requires_grad_()
        Solver(checkpoint=checkpoint).solve(curved, state, 0.0, 1.0).state.sum().backward()
        gradients.append(state.grad)
    assert torch.equal(*gradients)


def test_a_row_is_solved_as_if_it_were_alone():
    """A stiff row takes many steps: the others keep theirs."""
    rates = torch.tensor([[0.1], [200.0], [1.0]], dtype=torch.float64)

    def solve(rates):
        return solve_adaptive(
            lambda t, y, rate: -rate * (y - t.cos()), torch.ones_like(rates), 0.0, 1.0, tolerance=1e-5, given=[rates]
        )

    together = solve(rates)
    for row in range(3):
        alone = solve(rates[row : row + 1])
        assert torch.equal(alone.state[0], together.state[row])
        assert torch.equal(alone.error[0], together.error[row])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_bad_row_neither_stops_nor_spoils_the_others(bad):
    state = START.clone()
    state[1, 0] = bad
    fine, spoiled = (solve_adaptive(curved, s, 0.0, 1.0, tolerance=1e-6) for s in (START, state))
    assert torch.equal(spoiled.state[[0, 2]], fine.state[[0, 2]])
    assert not spoiled.state[1].isfinite().all()


def test_a_step_that_overflows_is_tried_again_smaller():
    """y' = -y^5 from y = 10^7: the first step leaves the range of float32, the solution falls gently."""
    solution = solve_adaptive(lambda _, y: -(y**5), torch.tensor([[1e7]]), 0.0, 1.0, tolerance=1e-5, max_steps=2000)
    assert float(solution.state) == pytest.approx(4**-0.25, rel=1e-3)


def test_a_step_that_overflows_spoils_no_gradient():
    """The rejected step is infinite; what comes back is the gradient of a solution that never tried it."""
    strength = torch.ones((), dtype=torch.float64, requires_grad=True)
    start = torch.tensor([[0.5], [1e20]], dtype=torch.float64)
    state = solve_adaptive(lambda _, y: -strength * y**5, start, 0.0, 1.0, tolerance=1e-6, max_steps=2000).state
    # y(1) = (y(0)^-4 + 4 strength)^(-1/4), and its derivative by the strength
    expected = -(((start**-4 + 4) ** -1.25).sum())
    (gradient,) = torch.autograd.grad(state.sum(), strength)
    assert float(gradient) == pytest.approx(float(expected), rel=1e-3)


def test_rows_that_have_arrived_are_left_out_with_what_is_given_of_them():
    seen = []

    def field(time, state, rate):
        seen.append(len(state))
        assert len(time) == len(state) == len(rate)
        return -rate * state

    rates = torch.tensor([[0.01, 100.0, 1.0], [0.02, 1.0, 50.0]], dtype=torch.float64)[..., None]
    solution = solve_adaptive(field, torch.ones_like(rates), 0.0, 1.0, tolerance=1e-8, given=[rates])
    torch.testing.assert_close(solution.state, (-rates).exp(), atol=1e-7, rtol=1e-4)
    assert seen[0] == 6
    assert seen[-1] == 1
    assert seen == sorted(seen, reverse=True)


def test_too_many_steps_is_an_error_that_says_where_and_what_to_do():
    with pytest.raises(NotConvergedError, match=r"after 20 steps 3 rows .* the slowest is at \d\S*\. Raise max_steps"):
        solve_adaptive(lambda _, y: 1e5 * torch.sin(1e3 * y), START, 0.0, 1.0, tolerance=1e-8, max_steps=20)


@pytest.mark.parametrize("shape", [(2,), (0, 2), (3, 7, 2), (2, 0, 2)])
@pytest.mark.parametrize("method", ["dopri5", "midpoint"])
def test_any_batch_shape(shape, method):
    solution = Solver(method).solve(curved, torch.randn(shape), 0.0, 1.0)
    assert solution.state.shape == shape
    assert solution.error is None or solution.error.shape == shape[:-1]


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_the_time_has_the_precision_of_the_state(method):
    """A time that was rounded to float32 is wrong in the eighth digit, and so is the integral of t^2."""
    seen = []

    def field(time, state):
        seen.append(time.dtype)
        return 3 * time**2 + 0 * state

    solution = Solver(method, steps=100, tolerance=1e-13).solve(field, torch.zeros(1, 1).double(), 0.0, 1.0)
    assert set(seen) == {torch.float64}
    assert float(solution.state) == pytest.approx(1, rel=1e-13)


def test_float32_stops_at_what_float32_can_see():
    """A tolerance of 1e-12 would have float32 search for a step without rounding errors, forever."""
    solution = Solver(tolerance=1e-12).solve(linear_in_float32, START.float(), 0.0, 1.0)
    torch.testing.assert_close(solution.state.double(), exact(1.0), atol=2e-5, rtol=2e-5)


def linear_in_float32(time, state):
    return state @ MATRIX.float().T


@pytest.mark.parametrize("method", ["dopri5", "euler", "midpoint", "rk4"])
def test_a_tightened_solver_is_a_hundred_times_better(method):
    solver = Solver(method, steps=50, tolerance=1e-5)
    errors = [
        float((s.solve(linear, START, 0.0, 3.0).state - exact(3.0)).norm()) for s in (solver, solver.tightened(100))
    ]
    assert 30 < errors[0] / errors[1] < 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "heun"}, "among dopri5, euler, midpoint, rk4; got 'heun'"),
        ({"steps": 0}, "at least 1"),
        ({"max_steps": 0}, "at least 1"),
        ({"tolerance": 0.0}, "positive tolerance"),
        ({"tolerance": math.nan}, "positive tolerance"),
    ],
)
def test_impossible_settings_are_explained(arguments, message):
    with pytest.raises(InputError, match=message):
        Solver(**arguments)

r"""Solve ordinary differential equations :math:`dy/dt = f(t, y)` by explicit Runge-Kutta steps.

One step of size h takes slopes :math:`k_i = f(t + c_i h, y + h \sum_{j<i} a_{ij} k_j)` and goes to
:math:`y + h \sum_i b_i k_i`. What is differentiated is the steps themselves (discretise, then optimise): gradients
belong exactly to the values that came out. Adaptive steps are first found without a graph and then followed with one;
their sizes count as constants, so neither rejected steps nor the control of the error enter a gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as recompute

from bijecta.errors import InputError, NotConvergedError

Field = Callable[[Tensor, Tensor], Tensor]
r"""The slope: from a time (\*B, 1) and a state (\*B, S) to dy/dt (\*B, S); rows do not see each other."""


class Solution(NamedTuple):
    r"""What a solver returns.

    Attributes:
        state: y at the end, of shape (\*B, S).
        evaluations: how often the field was evaluated, on the whole batch each time.
        error: estimate of the error of every row, the sum of its steps' largest errors, of shape (\*B,); None for
            fixed steps, which have no estimate.
    """

    state: Tensor
    evaluations: int
    error: Tensor | None


class Tableau(NamedTuple):
    """The numbers of a Runge-Kutta method: times c_i, rows a_ij (of the second slope and on), weights b_i."""

    times: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]


FIXED: dict[str, Tableau] = {
    "euler": Tableau((), (), (1.0,)),
    "midpoint": Tableau((1 / 2,), ((1 / 2,),), (0.0, 1.0)),
    "rk4": Tableau((1 / 2, 1 / 2, 1.0), ((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}

DORMAND_PRINCE = Tableau(
    (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0),
    (
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    ),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
# Weights of order 5 minus weights of order 4; the seventh slope is the first one of the next step.
DORMAND_PRINCE_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


@dataclass(frozen=True)
class Solver:
    r"""How to solve a differential equation, as data.

    Args:
        method: "dopri5" (adaptive steps) or "euler", "midpoint", "rk4" (fixed steps; of order 1, 2, 4).
        steps: number of fixed steps.
        tolerance: largest error of an adaptive step, absolute and relative to the state. What is below ten times the
            rounding error of the state's dtype is raised to that: smaller errors cannot be seen.
        max_steps: most adaptive steps that are tried.
        checkpoint: keep only the states between steps for the backward pass and compute the rest again.

    Raises:
        InputError: a setting is out of its range.

    References:
        J. Dormand, P. Prince (1980), A family of embedded Runge-Kutta formulae.

    Example:
        >>> import torch
        >>> from bijecta.functional import Solver
        >>> solution = Solver("rk4", steps=10).solve(lambda t, y: -y, torch.ones(1), 0.0, 1.0)
        >>> solution.state, solution.evaluations  # exp(-1)
        (tensor([0.3679]), 40)
    """

    method: str = "dopri5"
    steps: int = 16
    tolerance: float = 1e-5
    max_steps: int = 1000
    checkpoint: bool = False

    def __post_init__(self) -> None:
        if self.method != "dopri5" and self.method not in FIXED:
            raise InputError(f"Expected a solver among dopri5, {', '.join(FIXED)}; got {self.method!r}.")
        if min(self.steps, self.max_steps) < 1 or not self.tolerance > 0:
            raise InputError(
                f"Solver expects steps and max_steps of at least 1 and a positive tolerance, "
                f"got {self.steps}, {self.max_steps} and {self.tolerance}."
            )

    def solve(self, field: Field, state: Tensor, start: float, end: float) -> Solution:
        """Follow the field from the time `start` to the time `end`, which may be the earlier one."""
        if self.method == "dopri5":
            tolerance = max(self.tolerance, 10 * torch.finfo(state.dtype).eps)
            solve = partial(solve_adaptive, absolute=tolerance, relative=tolerance, max_steps=self.max_steps)
        else:
            solve = partial(solve_fixed, method=self.method, steps=self.steps)
        return solve(field, state, start, end, checkpoint=self.checkpoint)

    def tightened(self, factor: int = 100) -> "Solver":
        """Return a solver whose error is smaller by about `factor` (fixed steps: of the order that the method has)."""
        order = {"euler": 1, "midpoint": 2}.get(self.method, 4)
        steps = self.steps * max(2, round(factor ** (1 / order)))
        return replace(self, steps=steps, tolerance=self.tolerance / factor, max_steps=self.max_steps * 10)


def solve_fixed(
    field: Field, state: Tensor, start: float, end: float, *, method: str, steps: int, checkpoint: bool = False
) -> Solution:
    r"""Solve dy/dt = f(t, y) with steps of equal size.

    The error falls like steps^-1 (euler), steps^-2 (midpoint) or steps^-4 (rk4). No control flow depends on data.

    Args:
        field: the slope f.
        state: y at the start, of shape (\*B, S).
        start: first time.
        end: last time; an earlier one integrates backwards.
        method: "euler", "midpoint" or "rk4".
        steps: number of steps.
        checkpoint: whether to compute each step again in the backward pass instead of keeping what it needs.

    Returns:
        The state at the end, and how often f was evaluated.

    Reference:
        Hairer, Nørsett, Wanner (1993), "Solving Ordinary Differential Equations I", chapter II.1.

    Example:
        >>> solve_fixed(lambda t, y: 2 * t, torch.zeros(1), 0.0, 3.0, method="midpoint", steps=1).state
        tensor([9.])
    """
    tableau, size = FIXED[method], (end - start) / steps
    step = _step_function(tableau, field, checkpoint=checkpoint)
    for number in range(steps):
        # The time is made in the dtype of the state: a float32 time inside a float64 solution costs nine digits.
        time = torch.full_like(state[..., :1], start + number * size)
        state = step(time, torch.full_like(time, size), state)
    return Solution(state, steps * len(tableau.weights), None)


def solve_adaptive(
    field: Field,
    state: Tensor,
    start: float,
    end: float,
    *,
    absolute: float,
    relative: float,
    max_steps: int = 1000,
    checkpoint: bool = False,
) -> Solution:
    r"""Solve dy/dt = f(t, y) with steps of order 5, as large as the error allows.

    Every row has its own steps: its solution does not depend on the other rows of the batch. A step is accepted where
    :math:`\max_s |e_s| / (\mathrm{absolute} + \mathrm{relative}\,\max(|y_s|, |y'_s|)) \le 1`.

    Args:
        field: the slope f.
        state: y at the start, of shape (\*B, S).
        start: first time.
        end: last time; an earlier one integrates backwards.
        absolute: tolerance of a step, in the units of the state.
        relative: tolerance of a step, relative to the state.
        max_steps: most steps that are tried.
        checkpoint: whether to compute each step again in the backward pass instead of keeping what it needs.

    Returns:
        The state at the end, how often f was evaluated, and the estimated error of each row.

    Raises:
        NotConvergedError: a row needs more steps. Rows that are not finite are carried along and need none.

    Reference:
        Dormand, Prince (1980), "A family of embedded Runge-Kutta formulae".

    Example:
        >>> solve_adaptive(lambda t, y: -y, torch.ones(1), 0.0, 1.0, absolute=1e-6, relative=1e-6).state
        tensor([0.3679])
    """
    with torch.no_grad():
        plan = _Plan(field, state.detach(), start, end, (absolute, relative))
        while plan.attempts < max_steps and bool(plan.unfinished.any()):
            plan.attempt()
        if bool(plan.unfinished.any()):
            raise NotConvergedError(plan.complaint())
    if not torch.is_grad_enabled():
        return Solution(plan.state, plan.evaluations, plan.error.squeeze(-1))
    steps = plan.accepted_steps()
    step = _step_function(DORMAND_PRINCE, field, checkpoint=checkpoint)
    for time, size in steps:
        state = step(time, size, state)
    evaluations = plan.evaluations + len(steps) * len(DORMAND_PRINCE.weights)
    return Solution(state, evaluations, plan.error.squeeze(-1))


class _Plan:
    """The search for the steps of every row, without a graph."""

    def __init__(self, field: Field, state: Tensor, start: float, end: float, tolerances: tuple[float, float]) -> None:
        self.field, self.state, self.end = field, state, end
        self.absolute, self.relative = tolerances
        self.time = torch.full_like(state[..., :1], start)
        # A step of order 5 has an error of about size^5; from there the control finds the right size in a few steps.
        self.size = torch.full_like(self.time, (end - start) * min(1.0, max(tolerances)) ** 0.2)
        self.error = torch.zeros_like(self.time)
        self.unfinished = torch.ones_like(self.time, dtype=torch.bool)
        self.slope = field(self.time, state)
        self.attempts, self.evaluations = 0, 1
        self.tried: list[tuple[Tensor, Tensor, Tensor]] = []

    def attempt(self) -> None:
        """Try one step on every row; keep it where its error is small enough, and choose the next size."""
        rest = self.end - self.time
        # Slopes that are not finite do not become so in smaller steps: such rows go to the end at once.
        hopeless = ~self.slope.isfinite().all(-1, keepdim=True)
        last = hopeless | (self.size.abs() >= rest.abs())
        size = torch.where(last, rest, self.size)
        state, slope, error = self._step(size)
        scale = self.absolute + self.relative * torch.maximum(self.state.abs(), state.abs())
        ratio = (error / scale).amax(-1, keepdim=True)
        accepted = self.unfinished & (hopeless | (ratio <= 1))
        self.tried.append((self.time, size, accepted))
        self.error = torch.where(accepted, self.error + error.amax(-1, keepdim=True), self.error)
        self.state, self.slope = torch.where(accepted, state, self.state), torch.where(accepted, slope, self.slope)
        self.time = torch.where(accepted, self.time + size, self.time)
        self.unfinished = self.unfinished & ~(accepted & last)
        # The error goes as size^5, 0.9 is for safety. A step that overflowed (NaN) becomes five times smaller.
        self.size = size * (0.9 * ratio.nan_to_num(nan=torch.inf) ** -0.2).clamp(0.2, 5.0)

    def _step(self, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the state after a step, the slope there, and the size of the error."""
        self.attempts, self.evaluations = self.attempts + 1, self.evaluations + len(DORMAND_PRINCE.weights)
        slopes = _slopes(DORMAND_PRINCE, self.field, self.time, size, self.state, self.slope)
        state = self.state + size * _combine(DORMAND_PRINCE.weights, slopes)
        slopes.append(self.field(self.time + size, state))
        return state, slopes[-1], (size * _combine(DORMAND_PRINCE_ERROR, slopes)).abs()

    def accepted_steps(self) -> list[tuple[Tensor, Tensor]]:
        """List the accepted steps as (time, size); rows with fewer steps than others end with steps of size zero."""
        if not self.tried:
            return []
        time, size, accepted = (torch.stack(column) for column in zip(*self.tried, strict=True))
        first_accepted = (~accepted).to(torch.uint8).argsort(dim=0, stable=True)
        count = int(accepted.sum(0).max()) if accepted.numel() else 0
        time, size = (values.gather(0, first_accepted)[:count] for values in (time, size * accepted))
        return list(zip(time, size, strict=True))

    def complaint(self) -> str:
        where = self.time[self.unfinished]
        return (
            f"The solver was to reach the time {self.end:g} within the tolerance {self.absolute:g}; after "
            f"{self.attempts} steps {len(where)} rows are not there, the slowest is at {_slowest(where, self.end):g}. "
            "Raise max_steps or the tolerance. A field that has become this steep in training needs a smaller "
            "learning rate or a penalty on its path (bijecta.training.regularised_nll)."
        )


def _slowest(times: Tensor, end: float) -> float:
    return float(times[(times - end).abs().argmax()])


def _step_function(tableau: Tableau, field: Field, *, checkpoint: bool) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the function (time, size, state) -> state of one step."""
    step = partial(_advance, tableau, field)
    return partial(recompute, step, use_reentrant=False) if checkpoint else step


def _advance(tableau: Tableau, field: Field, time: Tensor, size: Tensor, state: Tensor) -> Tensor:
    slopes = _slopes(tableau, field, time, size, state, field(time, state))
    return state + size * _combine(tableau.weights, slopes)


def _slopes(tableau: Tableau, field: Field, time: Tensor, size: Tensor, state: Tensor, first: Tensor) -> list[Tensor]:
    slopes = [first]
    for fraction, row in zip(tableau.times, tableau.rows, strict=True):
        slopes.append(field(time + fraction * size, state + size * _combine(row, slopes)))
    return slopes


def _combine(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    """Sum the slopes with weights, passing over the zeros."""
    terms = [weight * slope for weight, slope in zip(weights, slopes, strict=True) if weight]
    return sum(terms[1:], start=terms[0])

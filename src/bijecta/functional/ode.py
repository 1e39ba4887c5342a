r"""Solve ordinary differential equations :math:`dy/dt = f(t, y)` by explicit Runge-Kutta steps.

One step of size h takes slopes :math:`k_i = f(t + c_i h, y + h \sum_{j<i} a_{ij} k_j)` and goes to
:math:`y + h \sum_i b_i k_i`. What is differentiated is the steps themselves (discretise, then optimise): gradients
belong exactly to the values that came out. The sizes of adaptive steps count as constants, so that neither rejected
steps nor the control of the error enter a gradient.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as recompute

from bijecta.errors import InputError, NotConvergedError

Field = Callable[..., Tensor]
r"""The slope: from a time (\*B, 1), a state (\*B, S) and what was given of each row to dy/dt (\*B, S).

Rows do not see each other, and those that have arrived are left out: what else belongs to a row has to be given.
"""


Kept = TypeVar("Kept")
Step = Callable[..., tuple[Tensor, Tensor, Tensor]]


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

    def solve(self, field: Field, state: Tensor, start: float, end: float, given: Sequence[Tensor] = ()) -> Solution:
        """Follow the field from the time `start` to the time `end`, which may be the earlier one."""
        if self.method == "dopri5":
            tolerance = max(self.tolerance, 10 * torch.finfo(state.dtype).eps)
            solve = partial(solve_adaptive, tolerance=tolerance, max_steps=self.max_steps)
        else:
            solve = partial(solve_fixed, method=self.method, steps=self.steps)
        return solve(field, state, start, end, given=given, checkpoint=self.checkpoint)

    def tightened(self, factor: int = 100) -> "Solver":
        """Return a solver whose error is smaller by about `factor` (fixed steps: of the order that the method has)."""
        order = {"euler": 1, "midpoint": 2}.get(self.method, 4)
        steps = self.steps * max(2, round(factor ** (1 / order)))
        return replace(self, steps=steps, tolerance=self.tolerance / factor, max_steps=self.max_steps * 10)


def solve_fixed(
    field: Field,
    state: Tensor,
    start: float,
    end: float,
    *,
    method: str,
    steps: int,
    given: Sequence[Tensor] = (),
    checkpoint: bool = False,
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
        given: what else belongs to each row, of shapes (\*B, ...): f takes it behind the state.
        checkpoint: whether to compute each step again in the backward pass instead of keeping what it needs.

    Returns:
        The state at the end, and how often f was evaluated.

    Reference:
        Hairer, Nørsett, Wanner (1993), "Solving Ordinary Differential Equations I", chapter II.1.

    Example:
        >>> solve_fixed(lambda t, y: 2 * t, torch.zeros(1), 0.0, 3.0, method="midpoint", steps=1).state
        tensor([9.])
    """
    size = (end - start) / steps
    step = _with_checkpoint(partial(_fixed_step, FIXED[method], field), checkpoint=checkpoint)
    for number in range(steps):
        # The time is made in the dtype of the state: a float32 time inside a float64 solution costs nine digits.
        time = torch.full_like(state[..., :1], start + number * size)
        state = step(time, torch.full_like(time, size), state, *given)
    return Solution(state, steps * len(FIXED[method].weights), None)


def solve_adaptive(
    field: Field,
    state: Tensor,
    start: float,
    end: float,
    *,
    tolerance: float,
    max_steps: int = 1000,
    given: Sequence[Tensor] = (),
    checkpoint: bool = False,
) -> Solution:
    r"""Solve dy/dt = f(t, y) with steps of order 5, as large as the error allows.

    Every row has its own steps: its solution does not depend on the other rows of the batch. A step is accepted where
    :math:`\max_s |e_s| / (1 + \max(|y_s|, |y'_s|)) \le \mathrm{tolerance}`.

    Args:
        field: the slope f.
        state: y at the start, of shape (\*B, S).
        start: first time.
        end: last time; an earlier one integrates backwards.
        tolerance: largest error of a step, absolute in the units of the state and relative to it.
        max_steps: most steps that are tried.
        given: what else belongs to each row, of shapes (\*B, ...): f takes it behind the state.
        checkpoint: whether to compute each step again in the backward pass instead of keeping what it needs.

    Returns:
        The state at the end, how often f was evaluated, and the estimated error of each row.

    Raises:
        NotConvergedError: a row needs more steps. Rows that are not finite are carried along and need none.

    Reference:
        Dormand, Prince (1980), "A family of embedded Runge-Kutta formulae".

    Example:
        >>> solve_adaptive(lambda t, y: -y, torch.ones(1), 0.0, 1.0, tolerance=1e-6).state
        tensor([0.3679])
    """
    batch = state.shape[:-1]
    rows = [tensor.reshape(math.prod(batch), *tensor.shape[len(batch) :]) for tensor in (state, *given)]
    search = _Search(_with_checkpoint(partial(_adaptive_step, field), checkpoint=checkpoint), end, tolerance, max_steps)
    search.begin(start, rows[0], field(torch.full_like(rows[0][:, :1], start), *rows), rows[1:])
    end_state, error = search.finish()
    evaluations = 1 + search.attempts * len(DORMAND_PRINCE.weights)
    return Solution(end_state.reshape(state.shape), evaluations, error.reshape(batch))


class _Search:
    """The rows on their way, each with a time and a step of its own; those that arrive are put aside."""

    def __init__(self, step: Step, end: float, tolerance: float, max_steps: int) -> None:
        self.step, self.end, self.tolerance, self.max_steps = step, end, tolerance, max_steps
        self.attempts = 0
        self.arrived: list[tuple[Tensor, ...]] = []

    def begin(self, start: float, state: Tensor, slope: Tensor, given: Sequence[Tensor]) -> None:
        self.state, self.slope, self.given = state, slope, given
        self.time = torch.full_like(state[:, :1], start)
        # A step of order 5 has an error of about size^5; from there the control finds the right size in a few steps.
        self.size = torch.full_like(self.time, (self.end - start) * min(1.0, 1.5 * self.tolerance**0.2))
        self.error = torch.zeros_like(self.time)
        self.number = torch.arange(len(state), device=state.device)

    def finish(self) -> tuple[Tensor, Tensor]:
        """Go on until every row has arrived; return states and errors in the order of the rows."""
        while len(self.number):
            if self.attempts == self.max_steps:
                raise NotConvergedError(self._complaint())
            self._attempt()
        if not self.arrived:
            return self.state, self.error
        number, state, error = (torch.cat(column) for column in zip(*self.arrived, strict=True))
        order = number.argsort()
        return state[order], error[order]

    def _attempt(self) -> None:
        """Try one step on every row; keep it where its error is small enough, and choose the next size."""
        self.attempts += 1
        rest = self.end - self.time
        # Slopes that are not finite do not become so in smaller steps: such rows go to the end at once.
        hopeless = ~self.slope.isfinite().all(-1, keepdim=True)
        # The rest in equal parts: no more steps than without, and smaller ones. A tenth more is no step of its own.
        parts = (rest / self.size - 0.1).ceil()
        last = hopeless | ~(parts > 1)
        size = torch.where(last, rest, rest / parts)
        state, slope, error = self.step(self.time, size, self.state, self.slope, *self.given)
        scale = 1 + torch.maximum(self.state.detach().abs(), state.detach().abs())
        ratio = (error / scale).amax(-1, keepdim=True) / self.tolerance
        accepted = hopeless | (ratio <= 1)
        # The error goes as size^5, 0.8 is for safety. A step that overflowed (NaN) becomes five times smaller.
        self.size = size * (0.8 * ratio.nan_to_num(nan=torch.inf) ** -0.2).clamp(0.2, 5.0)
        overflowed = ~(accepted | ratio.isfinite())
        # On the way back zero times infinity is not zero: with a graph all rows have to try again.
        if state.requires_grad and bool(overflowed.any()):
            self.size = torch.where(overflowed, self.size, size)
            return
        self.error = torch.where(accepted, self.error + error.amax(-1, keepdim=True), self.error)
        self.state, self.slope = torch.where(accepted, state, self.state), torch.where(accepted, slope, self.slope)
        self.time = torch.where(accepted, self.time + size, self.time)
        self._select(accepted & last)

    def _select(self, arrived: Tensor) -> None:
        """Put the rows aside that have arrived, and go on with the others."""
        there, on_the_way = (which.squeeze(-1).nonzero().squeeze(-1) for which in (arrived, ~arrived))
        if len(there) == 0:
            return
        self.arrived.append((self.number[there], self.state[there], self.error[there]))
        rows = (self.number, self.time, self.size, self.error, self.state, self.slope, *self.given)
        self.number, self.time, self.size, self.error, self.state, self.slope, *self.given = (
            tensor[on_the_way] for tensor in rows
        )

    def _complaint(self) -> str:
        slowest = self.time[(self.time - self.end).abs().argmax()]
        return (
            f"The solver was to reach the time {self.end:g} within the tolerance {self.tolerance:g}; after "
            f"{self.attempts} steps {len(self.time)} rows are not there, the slowest is at {float(slowest):g}. "
            "Raise max_steps or the tolerance. A field that has become this steep in training needs a smaller "
            "learning rate or a penalty on its path (bijecta.training.regularised_nll)."
        )


def _with_checkpoint(step: Callable[..., Kept], *, checkpoint: bool) -> Callable[..., Kept]:
    """Return the step, or one that is computed again in the backward pass."""
    return partial(recompute, step, use_reentrant=False) if checkpoint else step


def _fixed_step(tableau: Tableau, field: Field, time: Tensor, size: Tensor, state: Tensor, *given: Tensor) -> Tensor:
    return _advance(tableau, partial(_at_rows, field, given), time, size, state, field(time, state, *given))[0]


def _adaptive_step(
    field: Field, time: Tensor, size: Tensor, state: Tensor, slope: Tensor, *given: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the state after a step, the slope there, and the size of the error."""
    here = partial(_at_rows, field, given)
    state, slopes = _advance(DORMAND_PRINCE, here, time, size, state, slope)
    slopes.append(here(time + size, state))
    with torch.no_grad():
        error = (size * _combine(DORMAND_PRINCE_ERROR, slopes)).abs()
    return state, slopes[-1], error


def _at_rows(field: Field, given: Sequence[Tensor], time: Tensor, state: Tensor) -> Tensor:
    return field(time, state, *given)


def _advance(
    tableau: Tableau, field: Field, time: Tensor, size: Tensor, state: Tensor, slope: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Return the state after a step, and the slopes that were computed on the way."""
    slopes = [slope]
    for fraction, row in zip(tableau.times, tableau.rows, strict=True):
        moved = torch.addcmul(state, size, _combine(row, slopes))
        slopes.append(field(torch.add(time, size, alpha=fraction), moved))
    return torch.addcmul(state, size, _combine(tableau.weights, slopes)), slopes


def _combine(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    """Sum the slopes with weights, passing over the zeros."""
    (first, slope), *others = ((weight, slope) for weight, slope in zip(weights, slopes, strict=True) if weight)
    total = first * slope
    for weight, slope in others:
        total = torch.add(total, slope, alpha=weight)
    return total

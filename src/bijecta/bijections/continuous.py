"""Continuous flows: points move along a velocity field from data to latent."""

from typing import NamedTuple

import torch
from torch import Tensor

from bijecta.bijections.base import Bijection
from bijecta.functional.ode import Solution, Solver
from bijecta.functional.trace import probed_norm, probed_trace, random_probes, unit_probes
from bijecta.nets.inputs import check_context, check_features
from bijecta.nets.velocity import Velocity

LARGEST_EXACT = 16


class Transport(NamedTuple):
    r"""Where points have moved, and what is known of their paths.

    Attributes:
        z: the points at the end, of shape (\*B, D).
        ladj: log |det dz(end)/dz(start)| of shape (\*B,).
        kinetic: :math:`\int \|v\|^2 dt` along each path, of shape (\*B,).
        jacobian: :math:`\int \|\partial v/\partial z\|_F^2 dt` along each path, of shape (\*B,).
        evaluations: how often the solver evaluated the field.
        error: the solver's estimate of the error of each row, of shape (\*B,); None for fixed steps.
    """

    z: Tensor
    ladj: Tensor
    kinetic: Tensor
    jacobian: Tensor
    evaluations: int
    error: Tensor | None


class Continuous(Bijection):
    r"""Move points along a velocity field for one unit of time, from data at t = 0 to latent at t = 1.

    .. math:: \frac{dz}{dt} = v(z, t, c), \quad z(0) = x, \qquad
              \log|\det\partial z(1)/\partial x| = \int_0^1 \mathrm{tr}\,\frac{\partial v}{\partial z}\,dt

    The inverse moves backwards with the same solver: both directions are exact up to the solver's tolerance. Without
    random probes the trace is exact, at the cost of D directional derivatives. With them it is estimated without bias,
    from probes that every row draws from torch's global generator once per solution: only then is the integrand smooth.

    Args:
        velocity: the field v.
        solver: how to solve (default: ``Solver()``, adaptive steps with tolerance 1e-5).
        random_probes: number of random probes of the trace; 0 for the exact trace. By default 0 up to 16 features,
            1 above.

    Raises:
        NotConvergedError: at the call, when the adaptive solver needs more steps than it may take.

    References:
        R. Chen, Y. Rubanova, J. Bettencourt, D. Duvenaud (2018), Neural Ordinary Differential Equations.
        W. Grathwohl, R. Chen, J. Bettencourt, I. Sutskever, D. Duvenaud (2019), FFJORD.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Continuous
        >>> from bijecta.nets import VelocityMLP
        >>> z, ladj = Continuous(VelocityMLP(3)).forward_and_ladj(torch.ones(5, 3))
        >>> z.shape, ladj.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    def __init__(self, velocity: Velocity, solver: Solver | None = None, *, random_probes: int | None = None) -> None:
        super().__init__()
        self.velocity, self.solver = velocity, solver or Solver()
        automatic = 0 if velocity.features <= LARGEST_EXACT else 1
        self.random_probes = automatic if random_probes is None else random_probes

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._with_ladj(x, context, 0.0, 1.0)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._with_ladj(z, context, 1.0, 0.0)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map data to latent, without the cost of the trace."""
        return self._move(x, context, 0.0, 1.0)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Map latent to data, without the cost of the trace."""
        return self._move(z, context, 1.0, 0.0)

    def transport(self, z: Tensor, context: Tensor | None = None, *, start: float = 0.0, end: float = 1.0) -> Transport:
        r"""Move points from one time to another, and measure their paths.

        Args:
            z: points of shape (\*B, D) at the time `start`.
            context: as in `forward_and_ladj`.
            start: 0 for data, 1 for latent, or anything between.
            end: as `start`.

        Returns:
            The points at the time `end`, their ladj, the energies that regularise training, and the solver's account.
        """
        solution = self._solve(z, context, start, end, integrals=3)
        moved, (ladj, kinetic, jacobian) = self._parts(solution.state)
        sign = 1 if end >= start else -1  # an energy does not become negative on the way back
        return Transport(moved, ladj, sign * kinetic, sign * jacobian, solution.evaluations, solution.error)

    def _with_ladj(self, z: Tensor, context: Tensor | None, start: float, end: float) -> tuple[Tensor, Tensor]:
        moved, (ladj,) = self._parts(self._solve(z, context, start, end, integrals=1).state)
        return moved, ladj

    def _move(self, z: Tensor, context: Tensor | None, start: float, end: float) -> Tensor:
        def field(time: Tensor, z: Tensor, *context: Tensor) -> Tensor:
            return self.velocity(z, time, *context)

        return self.solver.solve(field, z, start, end, self._contexts(z, context)).state

    def _solve(self, z: Tensor, context: Tensor | None, start: float, end: float, *, integrals: int) -> Solution:
        """Solve for the points and, in further columns of the state, for the integrals of trace and energies."""
        check_features(z, self.velocity.features)
        given = self._contexts(z, context)
        if self.random_probes:
            given.append(random_probes(z, self.random_probes).movedim(0, -2))

        def field(time: Tensor, state: Tensor, *given: Tensor) -> Tensor:
            position = state[..., : z.shape[-1]]
            probes = given[-1].movedim(-2, 0) if self.random_probes else unit_probes(position)
            context = given[0] if self.velocity.context else None
            velocity, products = self.velocity.with_products(position, time, context, probes)
            integrands = [probed_trace(probes, products)]
            if integrals == 3:
                integrands += [velocity.square().sum(-1), probed_norm(products)]
            return torch.cat([velocity, torch.stack(integrands, -1)], -1)

        state = torch.cat([z, z.new_zeros(*z.shape[:-1], integrals)], -1)
        return self.solver.solve(field, state, start, end, given)

    def _contexts(self, z: Tensor, context: Tensor | None) -> list[Tensor]:
        context = check_context(context, self.velocity.context, z.shape[:-1])
        return [] if context is None else [context]

    def _parts(self, state: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        features = self.velocity.features
        return state[..., :features], state[..., features:].unbind(-1)

"""Flat phase space of massless particles on a cube."""

import math

import torch
from torch import Tensor

from bijecta.bijections import Bijection
from bijecta.bijections.base import check_features
from bijecta.errors import InputError
from bijecta.functional.inversion import invert_monotone
from bijecta.hep.coordinates_collider import log_energy


class RamboMasses(Bijection):
    r"""Map the masses of a chain of massless particles to the cube [-1, 1], flat in phase space ("RAMBO on diet").

    The chain is :math:`\sqrt s = M_1 > M_2 > \dots > M_{n-1} > 0`, where M_i is the mass of what is left when i - 1
    particles have been split off. With :math:`u_i = M_i / M_{i-1}` and :math:`k = n - i`,

    .. math:: \tfrac12 (1 + z_i) = (k + 1)\, u_i^{2k} - k\, u_i^{2(k + 1)}, \qquad i = 2, \dots, n - 1.

    Together with cos θ and φ of every splitting the cube has one and the same phase-space weight everywhere.

    Args:
        particles: number n of massless particles, at least 3.
        energy_column: the column of the context that holds ln(√s / GeV).

    Raises:
        InputError: fewer than three particles.

    Reference:
        Plätzer (2013), "RAMBO on diet".

    Example:
        >>> RamboMasses(3).inverse(torch.tensor([0.5]), torch.tensor([91.2]).log())
        tensor([64.4881])
    """

    def __init__(self, particles: int, energy_column: int = 0) -> None:
        super().__init__()
        if particles < 3:
            raise InputError(f"RamboMasses expects at least 3 particles; got {particles}.")
        self.particles, self.energy_column = particles, energy_column

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_features(x, self.particles - 2)
        log_mass = torch.cat([log_energy(context, self.energy_column, x), torch.log(x)], -1)
        log_ratio = log_mass.diff(dim=-1)
        share, log_slope = self._share(log_ratio)
        # dz/dx = 2 (dv/d ln u) / x, and the Jacobian is triangular.
        return 2.0 * share - 1.0, (math.log(2.0) + log_slope - log_mass[..., 1:]).sum(-1)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_features(z, self.particles - 2)
        # On the logit scale the function covers the whole line, as the search needs.
        target = torch.logit((z + 1.0) / 2.0)
        position, _ = invert_monotone(self._logit_share, target)
        log_ratio = torch.nn.functional.logsigmoid(position)
        energy = log_energy(context, self.energy_column, z)
        log_mass = energy + log_ratio.cumsum(-1)
        _, log_slope = self._share(log_ratio)
        return log_mass.exp(), -(math.log(2.0) + log_slope - log_mass).sum(-1)

    def _powers(self, like: Tensor) -> Tensor:
        return torch.arange(self.particles - 2, 0, -1, dtype=like.dtype, device=like.device)

    def _share(self, log_ratio: Tensor) -> tuple[Tensor, Tensor]:
        """Return v(u) and log dv/d ln u of ln u."""
        k = self._powers(log_ratio)
        share = torch.exp(2.0 * k * log_ratio) * (1.0 - k * torch.expm1(2.0 * log_ratio))
        return share, torch.log(-2.0 * k * (k + 1.0) * torch.expm1(2.0 * log_ratio)) + 2.0 * k * log_ratio

    def _logit_share(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Return logit v and its log-slope, as functions of logit u."""
        log_ratio = torch.nn.functional.logsigmoid(position)
        share, log_slope = self._share(log_ratio)
        log_complement = torch.log1p(-share)
        value = share.log() - log_complement
        return value, log_slope + torch.nn.functional.logsigmoid(-position) - share.log() - log_complement

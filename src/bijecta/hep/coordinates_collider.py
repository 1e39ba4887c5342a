"""Coordinates of what flies away from colliding beams: rapidities, azimuths and parton fractions."""

import math

import torch
from torch import Tensor

from bijecta.bijections import Bijection
from bijecta.bijections.base import check_features
from bijecta.errors import InputError
from bijecta.functional.scalar import wrap


class BoundedRapidity(Bijection):
    r"""Divide the rapidity of a system by the largest that energy and momentum allow.

    .. math:: z_y = \frac{y}{Y}, \qquad Y = \operatorname{arcosh}\frac{s + m^2}{2 \sqrt s\, m_T}, \qquad
        m_T^2 = m^2 + p_T^2, \qquad \log|\det| = -\log Y

    The bound is reached against a massless recoil; without transverse momentum it is Y = ln(√s / m). Events are
    columns (y, m) or (y, m, pT), masses and momenta in GeV; only y changes.

    Args:
        transverse: whether there is a column pT.
        energy_column: the column of the context that holds ln(√s / GeV).

    Raises:
        InputError: at the call, without such a context.

    Reference:
        Particle Data Group (2024), "Review of particle physics", section "Kinematics".

    Example:
        >>> x = torch.tensor([1.0, 91.19])
        >>> BoundedRapidity(transverse=False).forward(x, torch.tensor([13000.0]).log())
        tensor([ 0.2016, 91.1900])
    """

    def __init__(self, *, transverse: bool, energy_column: int = 0) -> None:
        super().__init__()
        self.features, self.energy_column = 3 if transverse else 2, energy_column

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        bound = self._bound(x, context)
        return torch.cat([x[..., :1] / bound, x[..., 1:]], -1), -bound.log().squeeze(-1)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        bound = self._bound(z, context)
        return torch.cat([z[..., :1] * bound, z[..., 1:]], -1), bound.log().squeeze(-1)

    def _bound(self, x: Tensor, context: Tensor | None) -> Tensor:
        check_features(x, self.features)
        energy, mass = log_energy(context, self.energy_column, x).exp(), x[..., 1:2]
        square = mass**2 if self.features == 2 else mass**2 + x[..., 2:] ** 2
        # cosh Y - 1 = ((√s - m)² - 2 √s (m_T - m)) / (2 √s m_T), without the difference of nearly equal numbers.
        transverse = square.sqrt()
        raised = torch.zeros_like(mass) if self.features == 2 else x[..., 2:] ** 2 / (transverse + mass)
        above = ((energy - mass) ** 2 - 2.0 * energy * raised) / (2.0 * energy * transverse)
        # arcosh(1 + a) = log1p(a + √(a (a + 2))); what the energy forbids gets a tiny range instead of NaN.
        above = above.clamp(min=1e-6)
        return torch.log1p(above + (above * (above + 2.0)).sqrt())


class RelativeAzimuth(Bijection):
    r"""Split the common rotation off: keep the first azimuth, and measure the others from it.

    .. math:: z_1 = \operatorname{wrap}\phi_1, \qquad z_i = \operatorname{wrap}(\phi_i - \phi_1), \qquad
        \log|\det| = 0

    With unpolarised beams z₁ is uniform and independent of everything else. All angles are in radians, in [-π, π).

    Args:
        features: number of azimuths, at least 1.

    Reference:
        Rezende et al. (2020), "Normalizing flows on tori and spheres".

    Example:
        >>> RelativeAzimuth(2).forward(torch.tensor([3.0, -3.0]))
        tensor([3.0000, 0.2832])
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(x, self.features)
        turned = torch.cat([x[..., :1], x[..., 1:] - x[..., :1]], -1)
        return wrap(turned, -math.pi, math.pi), x.new_zeros(x.shape[:-1])

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(z, self.features)
        turned = torch.cat([z[..., :1], z[..., 1:] + z[..., :1]], -1)
        return wrap(turned, -math.pi, math.pi), z.new_zeros(z.shape[:-1])


class PartonFractions(Bijection):
    r"""Map the momentum fractions of two partons to what their collision produces.

    .. math:: \tau = x_1 x_2 = \frac{m^2}{s}, \qquad y = \tfrac12 \ln\frac{x_1}{x_2}, \qquad
        dx_1\, dx_2 = d\tau\, dy

    Example:
        >>> PartonFractions().forward(torch.tensor([0.5, 0.125]))
        tensor([0.0625, 0.6931])

    Reference:
        Drell, Yan (1970), "Massive lepton-pair production in hadron-hadron collisions at high energies".
    """

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(x, 2)
        first, second = x[..., 0], x[..., 1]
        return torch.stack([first * second, 0.5 * torch.log(first / second)], -1), x.new_zeros(x.shape[:-1])

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(z, 2)
        root, y = z[..., 0].sqrt(), z[..., 1]
        return torch.stack([root * y.exp(), root * (-y).exp()], -1), z.new_zeros(z.shape[:-1])


def log_energy(context: Tensor | None, column: int, x: Tensor) -> Tensor:
    """Take ln(√s / GeV) out of the context, as a column beside the events x."""
    if context is None or context.shape[-1] <= column:
        shape = "no context" if context is None else f"a context of shape {tuple(context.shape)}"
        raise InputError(f"The energy is expected in column {column} of the context, as ln(√s / GeV); got {shape}.")
    return context[..., column : column + 1].to(x.dtype).expand(*x.shape[:-1], 1)

"""Angles: bring them into one period, and turn them."""

import math

import torch
from torch import Tensor, nn

from bijecta.bijections.base import Bijection, check_features
from bijecta.bijections.preprocessing import check_interval
from bijecta.functional.scalar import wrap


class Wrap(Bijection):
    r"""Map a periodic coordinate of any period to an angle in :math:`[-\pi, \pi)`.

    .. math:: z = \mathrm{wrap}\left(2\pi\,\frac{x - a}{b - a} - \pi\right), \qquad
              \log|\det| = D \log\frac{2\pi}{b - a}

    Values outside [a, b) are equivalent to one inside; the inverse returns that one.

    Args:
        low: the start a of the period, in the units of the data.
        high: the end b.

    Raises:
        InputError: ``low`` is not below ``high``.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Wrap
        >>> Wrap(0.0, 360.0).forward(torch.tensor([180.0, 540.0]))
        tensor([0., 0.])
    """

    def __init__(self, low: float = -math.pi, high: float = math.pi) -> None:
        super().__init__()
        check_interval("Wrap", low, high)
        self.low, self.high = low, high

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        turns = (x - self.low) / (self.high - self.low)
        z = 2 * math.pi * (turns - turns.floor()) - math.pi
        return z, self._ladj(x)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        x = wrap(self.low + (z + math.pi) * ((self.high - self.low) / (2 * math.pi)), self.low, self.high)
        return x, -self._ladj(z)

    def _ladj(self, x: Tensor) -> Tensor:
        return x.new_full(x.shape[:-1], x.shape[-1] * math.log(2 * math.pi / (self.high - self.low)))


class Turn(Bijection):
    r"""Turn every angle by a learned amount: :math:`z_i = \mathrm{wrap}(x_i + \varphi_i)`, ladj 0.

    A periodic spline keeps the point :math:`\pm\pi` where it is; with a turn after every layer no point is special.

    Args:
        features: number D of angles, in radians.

    References:
        D. Rezende et al. (2020), Normalizing Flows on Tori and Spheres.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Turn
        >>> Turn(2).forward(torch.tensor([1.0, 4.0])).detach()
        tensor([ 1.0000, -2.2832])
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.angle = nn.Parameter(torch.zeros(features))

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(x, len(self.angle))
        return wrap(x + self.angle, -math.pi, math.pi), x.new_zeros(x.shape[:-1])

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(z, len(self.angle))
        return wrap(z - self.angle, -math.pi, math.pi), z.new_zeros(z.shape[:-1])

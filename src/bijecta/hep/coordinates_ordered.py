"""Coordinates of a particle relative to another one: below its transverse momentum, and turned away from it."""

import math

import torch
from torch import Tensor

from bijecta.bijections import Bijection
from bijecta.bijections.base import check_features
from bijecta.functional.scalar import wrap

_LEAST = 1e-6  # GeV that are left below a momentum at the threshold, so that nothing is divided by zero


class OrderedBelow(Bijection):
    r"""Map a momentum below another one to its share of what is above the threshold, on [-1, 1].

    .. math:: z = 2\,\frac{p - p_{min}}{q - p_{min}} - 1, \qquad \log|\det| = \log 2 - \log(q - p_{min})

    Rows are columns (p, q) in GeV; only p changes. No latent in the box breaks the order :math:`p_{min} < p < q`.

    Args:
        threshold: p_min in GeV.

    Reference:
        Butter et al. (2023), "Generative networks for precision enthusiasts".

    Example:
        >>> OrderedBelow(20.0).forward(torch.tensor([30.0, 60.0]))
        tensor([-0.5000, 60.0000])
    """

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        half = self._half_range(x)
        return torch.cat([(x[..., :1] - self.threshold) / half - 1.0, x[..., 1:]], -1), -half.log().squeeze(-1)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        half = self._half_range(z)
        return torch.cat([self.threshold + (z[..., :1] + 1.0) * half, z[..., 1:]], -1), half.log().squeeze(-1)

    def _half_range(self, x: Tensor) -> Tensor:
        check_features(x, 2)
        return (x[..., 1:] - self.threshold).clamp(min=_LEAST) / 2.0


class AzimuthFrom(Bijection):
    r"""Measure an azimuth from another one: :math:`z = \operatorname{wrap}(\phi - \psi)`, ladj 0.

    Rows are columns (φ, ψ) in radians; only φ changes, and lies in [-π, π).

    Reference:
        Rezende et al. (2020), "Normalizing flows on tori and spheres".

    Example:
        >>> AzimuthFrom().forward(torch.tensor([3.0, -3.0]))
        tensor([-0.2832, -3.0000])
    """

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return _turned(x, -1.0)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return _turned(z, 1.0)


def _turned(x: Tensor, sign: float) -> tuple[Tensor, Tensor]:
    check_features(x, 2)
    angle = wrap(x[..., :1] + sign * x[..., 1:], -math.pi, math.pi)
    return torch.cat([angle, x[..., 1:]], -1), x.new_zeros(x.shape[:-1])

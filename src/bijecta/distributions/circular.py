"""Bases for angles in [-pi, pi)."""

import math

import torch
from torch import Tensor, nn

from bijecta.distributions.base import Distribution, SampleShape, full_shape
from bijecta.distributions.normal import LOG_2_PI
from bijecta.errors import InputError


class CircularUniform(Distribution):
    r"""Uniform angles: :math:`\log p(x) = -D \log 2\pi`.

    The density is with respect to the angle and has the same value everywhere, also outside :math:`[-\pi, \pi)`,
    where an angle means the same point as one inside.

    Args:
        features: number D of angles.

    Example:
        >>> import torch
        >>> from bijecta.distributions import CircularUniform
        >>> CircularUniform(1).log_prob(torch.zeros(3, 1))
        tensor([-1.8379, -1.8379, -1.8379])
    """

    anchor: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("anchor", torch.empty(0), persistent=False)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: ARG002
        return (0 * x).sum(-1) - self.features * LOG_2_PI

    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        size = (*full_shape(shape, context), self.features)
        unit = torch.rand(size, generator=generator, dtype=self.anchor.dtype, device=self.anchor.device)
        return (2 * unit - 1) * math.pi


class VonMises(Distribution):
    r"""Learned von Mises angles, the normal distribution of the circle.

    .. math:: \log p(x) = \sum_i \kappa_i [\cos(x_i - \mu_i) - 1] - \log[2\pi\, e^{-\kappa_i} I_0(\kappa_i)]

    Args:
        features: number D of angles.
        concentration: :math:`\kappa` at the start, positive.

    Raises:
        InputError: ``concentration`` is not positive.

    References:
        D. Best, N. Fisher (1979), Efficient Simulation of the von Mises Distribution (the rejection sampler).

    Example:
        >>> import torch
        >>> from bijecta.distributions import VonMises
        >>> VonMises(2).sample(5).abs().max() <= torch.pi
        tensor(True)
    """

    def __init__(self, features: int, concentration: float = 1.0) -> None:
        super().__init__()
        if not concentration > 0:
            raise InputError(f"VonMises expects a positive concentration, got {concentration}.")
        self.mean = nn.Parameter(torch.zeros(features))
        self.log_concentration = nn.Parameter(torch.full((features,), math.log(concentration)))

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:  # noqa: ARG002
        columns = x.reshape(-1, x.shape[-1])
        cosine, sine = columns.cos().mean(0), columns.sin().mean(0)
        length = torch.hypot(cosine, sine).clamp(1e-3, 0.999)
        self.mean.copy_(torch.atan2(sine, cosine))
        # Banerjee et al. (2005): a good closed-form approximation of the maximum-likelihood concentration.
        self.log_concentration.copy_((length * (2 - length**2) / (1 - length**2)).log())

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: ARG002
        kappa = self.log_concentration.exp()
        normaliser = LOG_2_PI + torch.special.i0e(kappa).log()
        return (kappa * ((x - self.mean).cos() - 1) - normaliser).sum(-1)

    @torch.no_grad()
    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        size = (*full_shape(shape, context), len(self.mean))
        kappa = self.log_concentration.exp().double().expand(size)
        angle = _sample_centred(kappa, generator).to(self.mean.dtype)
        return torch.remainder(angle + self.mean + math.pi, 2 * math.pi) - math.pi


def _sample_centred(kappa: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw von Mises angles with mean 0 by the rejection of Best and Fisher; they accept at least 65 %."""
    tau = 1 + (1 + 4 * kappa**2).sqrt()
    rho = (tau - (2 * tau).sqrt()) / (2 * kappa)
    r = (1 + rho**2) / (2 * rho)
    angle = torch.full_like(kappa, torch.nan)
    while bool((missing := angle.isnan()).any()):
        u = torch.rand((3, *kappa.shape), generator=generator, dtype=kappa.dtype, device=kappa.device)
        z = torch.cos(math.pi * u[0])
        f = (1 + r * z) / (r + z)
        c = kappa * (r - f)
        accept = (c * (2 - c) > u[1]) | ((c / u[1]).log() + 1 - c >= 0)
        proposal = torch.sign(u[2] - 0.5) * f.clamp(-1, 1).acos()
        angle = torch.where(missing & accept, proposal, angle)
    return angle

"""Normal, Student-t and uniform bases: independent features."""

import math

import torch
from torch import Tensor, nn

from bijecta.distributions.base import Distribution, SampleShape, full_shape
from bijecta.errors import InputError

LOG_2_PI = math.log(2 * math.pi)


class Normal(Distribution):
    r"""Standard normal: :math:`\log p(x) = -\tfrac12 \|x\|^2 - \tfrac{D}{2}\log 2\pi`.

    Args:
        features: number D of features.

    Example:
        >>> import torch
        >>> from bijecta.distributions import Normal
        >>> Normal(2).log_prob(torch.zeros(2))
        tensor(-1.8379)
    """

    anchor: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        # An empty buffer that follows .to(): it says on which device and with which dtype to sample.
        self.register_buffer("anchor", torch.empty(0), persistent=False)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: ARG002
        return -0.5 * (x.square().sum(-1) + self.features * LOG_2_PI)

    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        return standard_normal((*full_shape(shape, context), self.features), self.anchor, generator)


class DiagonalNormal(Distribution):
    r"""Normal with a learned mean and spread for every feature.

    .. math:: \log p(x) = -\sum_i \left[\tfrac12 (x_i - \mu_i)^2 e^{-2 s_i} + s_i\right] - \tfrac{D}{2}\log 2\pi

    Args:
        features: number D of features.

    Example:
        >>> import torch
        >>> from bijecta.distributions import DiagonalNormal
        >>> DiagonalNormal(2).sample(5).shape
        torch.Size([5, 2])
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(features))
        self.log_scale = nn.Parameter(torch.zeros(features))

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:  # noqa: ARG002
        columns = x.reshape(-1, x.shape[-1])
        self.mean.copy_(columns.mean(0))
        self.log_scale.copy_(columns.std(0, correction=0).clamp_min(1e-6).log())

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: ARG002
        z = (x - self.mean) * (-self.log_scale).exp()
        return -(0.5 * z.square() + self.log_scale + 0.5 * LOG_2_PI).sum(-1)

    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        noise = standard_normal((*full_shape(shape, context), len(self.mean)), self.mean, generator)
        return self.mean + self.log_scale.exp() * noise


class UniformBox(Distribution):
    r"""Uniform on a box: :math:`\log p(x) = -\sum_i \log(b_i - a_i)` inside, :math:`-\infty` outside.

    The base of data with a bounded support.

    Args:
        low: lower corner a of shape (D,).
        high: upper corner b of shape (D,).

    Raises:
        InputError: the box is empty in some direction.

    Example:
        >>> import torch
        >>> from bijecta.distributions import UniformBox
        >>> UniformBox(torch.zeros(2), 2 * torch.ones(2)).log_prob(torch.tensor([[1.0, 1.0], [3.0, 1.0]]))
        tensor([-1.3863,    -inf])
    """

    low: Tensor
    high: Tensor

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        if low.shape != high.shape or low.ndim != 1 or not bool((low < high).all()):
            raise InputError(f"UniformBox expects two vectors with low < high, got {low.tolist()} and {high.tolist()}.")
        self.register_buffer("low", low.clone())
        self.register_buffer("high", high.clone())

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: ARG002
        density = -(self.high - self.low).log().sum()
        inside = ((x >= self.low) & (x <= self.high)).all(-1)
        # Adding 0 * x would spread NaN to where it belongs: a NaN point has a NaN density, not a density of 0.
        missing = x.isnan().any(-1)
        outside = torch.where(missing, x.new_tensor(torch.nan), x.new_tensor(-torch.inf))
        return torch.where(inside, density.to(x.dtype), outside)

    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        size = (*full_shape(shape, context), len(self.low))
        unit = torch.rand(size, generator=generator, dtype=self.low.dtype, device=self.low.device)
        return self.low + (self.high - self.low) * unit


class StudentT(Distribution):
    r"""Independent Student-t features, for data with heavy tails.

    .. math:: \log p(x) = \sum_i \log\Gamma(\tfrac{\nu_i+1}{2}) - \log\Gamma(\tfrac{\nu_i}{2})
              - \tfrac12\log(\nu_i\pi) - \tfrac{\nu_i+1}{2}\log(1 + x_i^2/\nu_i)

    Args:
        features: number D of features.
        degrees: degrees of freedom :math:`\nu` at the start, at least 1; the smaller, the heavier the tail.
        learn: whether :math:`\nu` is trained, one per feature.

    Raises:
        InputError: ``degrees`` is below 1.

    References:
        P. Jaini, I. Kobyzev, Y. Yu, M. Brubaker (2020), Tails of Lipschitz Triangular Flows.

    Example:
        >>> import torch
        >>> from bijecta.distributions import StudentT
        >>> StudentT(1, degrees=1.0).log_prob(torch.zeros(1)).exp()  # Cauchy: 1 / pi
        tensor(0.3183, grad_fn=<ExpBackward0>)
    """

    def __init__(self, features: int, degrees: float = 5.0, *, learn: bool = True) -> None:
        super().__init__()
        if degrees < 1:
            raise InputError(f"StudentT expects at least 1 degree of freedom, got {degrees}.")
        # nu = 1 + softplus(raw) stays above 1, where sampling and gradients are well-behaved.
        excess = max(degrees - 1, 1e-4)
        raw = torch.full((features,), excess + math.log(-math.expm1(-excess)))
        self.raw_degrees = nn.Parameter(raw, requires_grad=learn)

    @property
    def degrees(self) -> Tensor:
        """The degrees of freedom of every feature, of shape (D,)."""
        return 1 + torch.nn.functional.softplus(self.raw_degrees)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: ARG002
        nu = self.degrees
        constant = torch.lgamma((nu + 1) / 2) - torch.lgamma(nu / 2) - 0.5 * (nu * math.pi).log()
        # hypot keeps the square of a large x from overflowing: log(1 + x^2/nu) = 2 log hypot(1, x/sqrt(nu)).
        tail = 2 * torch.hypot(torch.ones_like(x), x / nu.sqrt()).log()
        return (constant - (nu + 1) / 2 * tail).sum(-1)

    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        nu = self.degrees
        size = (*full_shape(shape, context), len(nu))
        normal = standard_normal(size, nu, generator)
        # chi^2_nu = 2 Gamma(nu/2); torch's gamma sampler takes a generator only in this form.
        gamma = torch._standard_gamma((nu / 2).expand(size).contiguous(), generator=generator)
        return normal * (nu / (2 * gamma)).sqrt()


def standard_normal(size: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw standard normal numbers on the device and with the dtype of ``like``."""
    return torch.randn(size, generator=generator, dtype=like.dtype, device=like.device)

"""A normal base from which a learned test rejects: it can tear one blob into several, with an exact form of density."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from torch.quasirandom import SobolEngine

from bijecta.distributions.base import Distribution, SampleShape, full_shape
from bijecta.distributions.normal import Normal
from bijecta.errors import InputError
from bijecta.nets import MLP

_PROBES = 4096  # points that estimate the normaliser outside of training
_CHUNK = 100_000  # proposals at a time, in a measurement of the normaliser
_FORGET = 0.05  # weight of the newest batch in the running average of the normaliser


class Resampled(Distribution):
    r"""Standard normal proposals, kept with a learned probability, the T-th one always.

    .. math:: p(z) = \pi(z)\left[\frac{a(z)}{Z}\left(1 - (1 - Z)^{T-1}\right) + (1 - Z)^{T-1}\right], \qquad
              Z = \mathbb{E}_\pi[a]

    with the normal density :math:`\pi` and the acceptance a between 0 and 1. Where a is small the base has a hole. A
    flow, which is continuous, stretches a hole to a gap of the data; from a normal base it would have to leave a bridge
    there. Since the T-th proposal is taken unseen, no point has density zero, and sampling ends.

    Z is an integral that is estimated. While training (``train()``) every call draws proposals of its own for the
    gradient and keeps a running average for the value; otherwise Z is the mean over fixed points of a Sobol sequence,
    which no training has seen, and the density is a function again. `normaliser` measures it, with its error.

    Samples have no derivative with respect to the acceptance: train by `nll`, not by reverse KL.

    Args:
        features: number D of features.
        proposals: T, at most so many proposals per sample.
        hidden: widths of the hidden layers of the network of a.
        draws: proposals per call in training.

    Raises:
        InputError: fewer than 2 proposals or draws.

    References:
        M. Bauer, A. Mnih (2019), Resampled Priors for Variational Autoencoders; V. Stimper, B. Schölkopf, J. M.
        Hernández-Lobato (2022), Resampling Base Distributions of Normalizing Flows.

    Example:
        >>> import torch
        >>> from bijecta.distributions import Resampled
        >>> base = Resampled(2).eval()
        >>> base.log_prob(torch.zeros(2)).detach()  # it begins as the normal distribution
        tensor(-1.8379)
        >>> base.sample(5).shape
        torch.Size([5, 2])
    """

    running: Tensor
    probes: Tensor

    def __init__(
        self, features: int, *, proposals: int = 100, hidden: Sequence[int] = (64, 64), draws: int = 1024
    ) -> None:
        super().__init__()
        if proposals < 2 or draws < 2:
            raise InputError(f"Resampled expects at least 2 proposals and draws, got {proposals} and {draws}.")
        self.proposals, self.draws = proposals, draws
        self.proposal, self.net = Normal(features), MLP(features, 1, hidden=hidden, activation="silu")
        self.register_buffer("running", torch.tensor(0.5))  # what the untrained acceptance is
        uniform = SobolEngine(features, scramble=True, seed=0).draw(_PROBES, dtype=torch.float64)
        probes = torch.special.ndtri(uniform.clamp(1e-9, 1 - 1e-9)).to(torch.get_default_dtype())
        self.register_buffer("probes", probes, persistent=False)

    def log_acceptance(self, z: Tensor) -> Tensor:
        r"""Compute :math:`\log a` at points (\*B, D), of shape (\*B,)."""
        return logsigmoid(self.net(z)).squeeze(-1)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: ARG002
        accepted = self._acceptance()
        unseen = (1 - accepted).clamp(0, 1).pow(self.proposals - 1)
        # One addition of positive terms: a / Z may underflow where a is small, and the rest stays.
        kept = self.log_acceptance(x) + torch.log1p(-unseen) - accepted.log()
        return self.proposal.log_prob(x) + torch.logaddexp(kept, unseen.log().expand_as(kept))

    @torch.no_grad()
    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        z = self.proposal.sample(full_shape(shape, context), generator=generator)
        rows = z.reshape(-1, z.shape[-1])
        waiting = torch.arange(len(rows), device=rows.device)
        for _ in range(self.proposals - 1):
            chance = torch.rand(len(waiting), generator=generator, dtype=rows.dtype, device=rows.device)
            waiting = waiting[chance > self.log_acceptance(rows[waiting]).exp()]
            if not len(waiting):
                break
            rows[waiting] = self.proposal.sample(len(waiting), generator=generator)
        return rows.reshape(z.shape)

    @torch.no_grad()
    def normaliser(self, size: int = 1_000_000, *, generator: torch.Generator | None = None) -> tuple[float, float]:
        """Measure the normaliser with independent proposals.

        Args:
            size: number of proposals.
            generator: source of randomness (default: the global one of torch).

        Returns:
            Z and its standard deviation.
        """
        sums = torch.zeros(2, dtype=torch.float64)
        for first in range(0, size, _CHUNK):
            z = self.proposal.sample(min(_CHUNK, size - first), generator=generator)
            accepted = self.log_acceptance(z).exp().double()
            sums += torch.stack([accepted.sum(), accepted.square().sum()]).cpu()
        mean, square = (sums / size).tolist()
        return mean, max(0.0, (square - mean**2) / size) ** 0.5

    def _acceptance(self) -> Tensor:
        """Estimate Z: from fixed points, or in training by the running average with the gradient of fresh draws."""
        if not self.training:
            return self.log_acceptance(self.probes).exp().mean()
        fresh = self.log_acceptance(self.proposal.sample(self.draws)).exp().mean()
        self.running.lerp_(fresh.detach().to(self.running.dtype), _FORGET)
        return self.running.clone() + fresh - fresh.detach()

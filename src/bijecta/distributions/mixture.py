"""A mixture of Gaussians as base: a flow cannot tear one blob into several, but it can start from several."""

import torch
from torch import Tensor, nn

from bijecta.distributions.base import Distribution, SampleShape, full_shape
from bijecta.distributions.normal import LOG_2_PI, standard_normal
from bijecta.errors import InputError


class GaussianMixture(Distribution):
    r"""Mixture of K Gaussians with diagonal covariances, all learned.

    .. math:: p(x) = \sum_k w_k \prod_i \mathcal{N}(x_i; \mu_{ki}, \sigma_{ki}^2)

    `initialise` places the centres on the data by k-means.

    Args:
        features: number D of features.
        components: number K of Gaussians.

    Raises:
        InputError: there is no component; or, in `initialise`, fewer rows than components.

    Example:
        >>> import torch
        >>> from bijecta.distributions import GaussianMixture
        >>> GaussianMixture(2, components=8).sample(5).shape
        torch.Size([5, 2])
    """

    def __init__(self, features: int, components: int = 8) -> None:
        super().__init__()
        if components < 1:
            raise InputError(f"GaussianMixture expects at least one component, got {components}.")
        self.logits = nn.Parameter(torch.zeros(components))
        self.mean = nn.Parameter(torch.randn(components, features))
        self.log_scale = nn.Parameter(torch.zeros(components, features))

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:  # noqa: ARG002
        rows = x.reshape(-1, x.shape[-1])[:10_000]
        if len(rows) < len(self.logits):
            raise InputError(
                f"GaussianMixture expects at least {len(self.logits)} rows to start from, got {len(rows)}."
            )
        centres = _k_means(rows, len(self.logits))
        nearest = torch.cdist(rows, centres).argmin(1)
        member = torch.nn.functional.one_hot(nearest, len(centres)).to(rows.dtype)
        count = member.sum(0).clamp_min(1)
        variance = (member.T @ rows.square()) / count[:, None] - ((member.T @ rows) / count[:, None]).square()
        floor = 1e-2 * rows.std(0, correction=0).clamp_min(1e-6)
        self.mean.copy_(centres)
        self.log_scale.copy_(variance.clamp_min(0).sqrt().maximum(floor).log())
        self.logits.copy_((count / count.sum()).log())

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: ARG002
        z = (x.unsqueeze(-2) - self.mean) * (-self.log_scale).exp()
        component = -(0.5 * z.square() + self.log_scale + 0.5 * LOG_2_PI).sum(-1)
        return (component + self.logits.log_softmax(-1)).logsumexp(-1)

    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        size = full_shape(shape, context)
        count = max(1, int(torch.Size(size).numel()))
        chosen = torch.multinomial(self.logits.softmax(-1), count, replacement=True, generator=generator)
        noise = standard_normal((count, self.mean.shape[-1]), self.mean, generator)
        samples = self.mean[chosen] + self.log_scale[chosen].exp() * noise
        return samples[: torch.Size(size).numel()].reshape(*size, self.mean.shape[-1])


def _k_means(rows: Tensor, clusters: int, rounds: int = 25) -> Tensor:
    """Find cluster centres by Lloyd's algorithm from farthest-point seeds; deterministic."""
    centres = rows[:1]
    for _ in range(clusters - 1):
        farthest = torch.cdist(rows, centres).amin(1).argmax()
        centres = torch.cat([centres, rows[farthest : farthest + 1]])
    for _ in range(rounds):
        member = torch.nn.functional.one_hot(torch.cdist(rows, centres).argmin(1), clusters).to(rows.dtype)
        count = member.sum(0)[:, None]
        centres = torch.where(count > 0, (member.T @ rows) / count.clamp_min(1), centres)
    return centres

"""A normal base whose mean and spread the context moves."""

import torch
from torch import Tensor, nn

from bijecta.distributions.base import Distribution, SampleShape, full_shape
from bijecta.distributions.normal import LOG_2_PI, standard_normal
from bijecta.nets.inputs import check_context


class ConditionalNormal(Distribution):
    r"""Normal whose mean and log-spread are linear in the context: with one-hot contexts, one normal per class.

    .. math:: \log p(x \mid c) = -\sum_i \left[\tfrac12 (x_i - \mu_i(c))^2 e^{-2 s_i(c)} + s_i(c)\right]
              - \tfrac{D}{2}\log 2\pi, \qquad \mu = \mu_0 + M c, \quad s = s_0 + S c

    Args:
        features: number D of features.
        context: number C of context features.

    Raises:
        ShapeError: at the call, when the context has the wrong shape.

    References:
        D. Kingma, P. Dhariwal (2018), Glow: Generative Flow with Invertible 1x1 Convolutions (the prior of classes).

    Example:
        >>> import torch
        >>> from bijecta.distributions import ConditionalNormal
        >>> ConditionalNormal(2, context=10).sample(5, torch.eye(10)).shape
        torch.Size([5, 10, 2])
    """

    def __init__(self, features: int, context: int) -> None:
        super().__init__()
        self.features, self.context = features, context
        self.start = nn.Parameter(torch.zeros(2 * features))
        self.slope = nn.Parameter(torch.zeros(2 * features, context))

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:  # noqa: ARG002
        columns = x.reshape(-1, self.features)
        spread = columns.std(0, correction=0).clamp_min(1e-6)
        self.start.copy_(torch.cat([columns.mean(0), spread.log()]))

    def mean_and_log_scale(self, context: Tensor | None) -> tuple[Tensor, Tensor]:
        r"""Return the mean and the log-spread, each (\*B, D), of contexts (\*B, C)."""
        batch = torch.Size() if context is None else context.shape[:-1]
        given = check_context(context, self.context, batch)
        moments = self.start if given is None else nn.functional.linear(given, self.slope, self.start)
        mean, log_scale = moments.chunk(2, -1)
        return mean, log_scale

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        mean, log_scale = self.mean_and_log_scale(context)
        z = (x - mean) * (-log_scale).exp()
        return -(0.5 * z.square() + log_scale + 0.5 * LOG_2_PI).sum(-1)

    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        mean, log_scale = self.mean_and_log_scale(context)
        noise = standard_normal((*full_shape(shape, context), self.features), mean, generator)
        return mean + log_scale.exp() * noise

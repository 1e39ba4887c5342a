"""Integers under a continuous density, by adding uniform noise: a bound, and it says so."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bijecta.distributions.base import Distribution, SampleShape
from bijecta.errors import InputError


class Dequantised(Distribution):
    r"""Give integer columns a probability through a density of noisy values.

    .. math:: \log P(n) = \log \int_{[0,1)} p(n + u)\, du \;\ge\; \mathbb{E}_u \log p(n + u)

    `log_prob` draws the noise u once per row, so its mean is the lower bound on the right, in nats per unit cell.
    Samples are rounded down.

    Args:
        distribution: a continuous distribution of all columns.
        columns: which columns hold integers.

    Raises:
        InputError: no column is given.

    References:
        L. Theis, A. van den Oord, M. Bethge (2016), A note on the evaluation of generative models.

    Example:
        >>> import torch
        >>> from bijecta.distributions import Dequantised, Normal
        >>> Dequantised(Normal(2), columns=[1]).sample(3)[:, 1].frac().abs().sum()
        tensor(0.)
    """

    is_bound = True
    discrete: Tensor

    def __init__(self, distribution: Distribution, columns: Sequence[int]) -> None:
        super().__init__()
        if not columns:
            raise InputError("Dequantised expects at least one integer column, got none.")
        self.distribution = distribution
        self.context, self.event_shape = distribution.context, distribution.event_shape
        self.register_buffer("discrete", torch.tensor(list(columns)))

    def log_prob(self, x: Tensor, context: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        return self.distribution.log_prob(self.noisy(x, generator), context)

    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        x = self.distribution.sample(shape, context, generator=generator)
        return x.index_copy(-1, self.discrete, x.index_select(-1, self.discrete).floor())

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        # The middle of each cell: starting values need no noise, and stay reproducible.
        middle = x.index_select(-1, self.discrete) + 0.5
        self.distribution.initialise(x.index_copy(-1, self.discrete, middle), context)

    def noisy(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Add uniform noise from [0, 1) to the integer columns."""
        cells = x.index_select(-1, self.discrete)
        noise = torch.rand(cells.shape, generator=generator, dtype=x.dtype, device=x.device)
        return x.index_copy(-1, self.discrete, cells + noise)

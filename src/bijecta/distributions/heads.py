"""The distributions of one discrete column: parameters in, probabilities and draws out."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from bijecta.errors import InputError
from bijecta.functional import soft_clip

LIMIT = 20.0  # of a log-scale: exp(20) standard deviations are more than any table has


class Head(nn.Module, ABC):
    """The distribution of one discrete column, whose parameters come from outside.

    Attributes:
        n_params: how many parameters it takes.
        width: how many numbers `embed` shows a value as.
        shifted: whether the last parameter is added to the value that `embed` shows, so that others can predict it.
    """

    n_params: int
    width: int
    shifted: bool = False

    @abstractmethod
    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        r"""Compute log P(x) of values (\*B,) under parameters (\*B, n_params); -inf outside the support."""

    @abstractmethod
    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        r"""Draw one value (\*B,) for each of the parameters (\*B, n_params)."""

    @abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        r"""Show values (\*B,) to a network as (\*B, width) numbers of order one."""

    @abstractmethod
    def start(self, x: Tensor) -> Tensor:
        """Return the parameters (n_params,) that describe a column of data (N,) by itself."""

    def measure(self, x: Tensor) -> None:
        """Measure the scale of a column of data (N,); to be called before all else."""


class CategoricalHead(Head):
    r"""Give each of K values a probability of its own: :math:`P(k) = \mathrm{softmax}(\theta)_k`.

    Args:
        count: number K of values.
        low: the first value; the others are the whole numbers above it.

    Raises:
        InputError: there is no value.

    Example:
        >>> import torch
        >>> from bijecta.distributions import CategoricalHead
        >>> CategoricalHead(4).log_prob(torch.tensor(2.0), torch.zeros(4)).exp()
        tensor(0.2500)
    """

    values: Tensor

    def __init__(self, count: int, low: float = 0.0) -> None:
        super().__init__()
        if count < 1:
            raise InputError(f"CategoricalHead expects at least one value, got {count}.")
        self.n_params = self.width = count
        self.register_buffer("values", low + torch.arange(float(count)), persistent=False)

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        chosen = x.unsqueeze(-1) == self.values
        log_prob = torch.where(chosen, params.log_softmax(-1), 0.0).sum(-1)
        return torch.where(chosen.any(-1), log_prob, -torch.inf)

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.values[pick(params, generator)]

    def embed(self, x: Tensor) -> Tensor:
        return (x.unsqueeze(-1) == self.values).to(self.values.dtype)

    def start(self, x: Tensor) -> Tensor:
        """Return the logarithms of the frequencies after Laplace: every value counts once more than it was seen."""
        seen = self.embed(x.reshape(-1)).sum(0)
        return ((seen + 1) / (seen + 1).sum()).log()


class CountHead(Head):
    r"""Give whole numbers of any range the probabilities of a mixture of logistics, cut into bins.

    .. math:: P(n) = \sum_k w_k \left[F\!\left(\frac{n + 1/2 - m_k}{s_k}\right)
              - F\!\left(\frac{n - 1/2 - m_k}{s_k}\right)\right], \qquad F(t) = \frac{1}{1 + e^{-t}}

    The first and the last number take all that lies beyond them. Inside, numbers are centred and scaled by the mean
    and the spread of the data; a last parameter moves all means together.

    Args:
        low: the smallest number, if there is one.
        high: the largest number, if there is one.
        components: how many logistics.

    Raises:
        InputError: there is no component, or no number between ``low`` and ``high``.

    References:
        T. Salimans, A. Karpathy, X. Chen, D. Kingma (2017), PixelCNN++ (discretised logistic mixtures).

    Example:
        >>> import torch
        >>> from bijecta.distributions import CountHead
        >>> head, data = CountHead(low=0, components=3), torch.arange(500.0)
        >>> head.measure(data)
        >>> numbers, params = torch.arange(5000.0), head.start(data)
        >>> head.log_prob(numbers, params.expand(5000, -1)).exp().sum().round(decimals=3)
        tensor(1.)
    """

    centre: Tensor
    spread: Tensor
    shifted = True

    def __init__(self, low: float | None = None, high: float | None = None, *, components: int = 10) -> None:
        super().__init__()
        self.low, self.high = -torch.inf if low is None else low, torch.inf if high is None else high
        if components < 1 or self.low > self.high:
            raise InputError(f"CountHead expects components >= 1 and low <= high; got {components}, {low}, {high}.")
        self.n_params, self.width = 3 * components + 1, 1
        self.register_buffer("centre", torch.tensor(0.0))
        self.register_buffer("spread", torch.tensor(1.0))

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        logits, mean, log_scale = self._components(params)
        first, last = (x == self.low).unsqueeze(-1), (x == self.high).unsqueeze(-1)
        rate = (-log_scale).exp()
        component = log_bin((self.embed(x) - mean) * rate, rate / self.spread, first, last)
        allowed = (x >= self.low) & (x <= self.high) & (x == x.round())
        return torch.where(allowed, (logits.log_softmax(-1) + component).logsumexp(-1), -torch.inf)

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        logits, mean, log_scale = self._components(params)
        chosen = pick(logits, generator).unsqueeze(-1)
        mean, log_scale = (each.take_along_dim(chosen, -1).squeeze(-1) for each in (mean, log_scale))
        z = mean + log_scale.exp() * _uniform(mean, generator).logit()
        return (self.centre + self.spread * z).round().clamp(self.low, self.high)

    def embed(self, x: Tensor) -> Tensor:
        return ((x - self.centre) / self.spread).unsqueeze(-1)

    def measure(self, x: Tensor) -> None:
        self.centre.copy_(x.mean())
        self.spread.copy_(x.std(correction=0) if x.min() < x.max() else torch.ones_like(self.spread))

    def start(self, x: Tensor) -> Tensor:
        """Return equal weights, means at quantiles, scales as the quantiles lie apart, and no shift."""
        x = x.reshape(-1)
        components = self.n_params // 3
        rank = (torch.arange(components + 2, device=x.device) - 0.5) / components * (len(x) - 1)
        quantile = self.embed(x.sort().values[rank.clamp(0, len(x) - 1).round().long()]).squeeze(-1)
        apart = (quantile[2:] - quantile[:-2]) / 4
        log_scale = apart.maximum(0.1 / self.spread).log()  # not below the width of one number
        return torch.cat([torch.zeros_like(apart), quantile[1:-1], log_scale, torch.zeros_like(apart[:1])])

    @staticmethod
    def _components(params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, mean, log_scale = params[..., :-1].chunk(3, -1)
        return logits, mean + params[..., -1:], soft_clip(log_scale, LIMIT)


def log_bin(middle: Tensor, width: Tensor, first: Tensor, last: Tensor) -> Tensor:
    r"""Compute the logarithm of what the standard logistic has in a bin.

    .. math:: \log[F(b) - F(a)] = \log F(b) + \log F(-a) + \log(1 - e^{a - b}), \qquad a, b = t \mp w/2

    No difference of nearly equal numbers, and no logarithm of zero: both tails are as exact as the middle.

    Args:
        middle: the middle t of each bin.
        width: its width w, positive.
        first: whether the bin reaches down to minus infinity.
        last: whether it reaches up to infinity.

    Returns:
        The logarithms, of the broadcast shape.
    """
    below = torch.where(last, 0.0, logsigmoid(middle + width / 2))
    above = torch.where(first, 0.0, logsigmoid(width / 2 - middle))
    return below + above + torch.where(first | last, 0.0, (-torch.expm1(-width)).log())


def pick(logits: Tensor, generator: torch.Generator | None) -> Tensor:
    r"""Draw an index (\*B,) with the probabilities softmax(logits), (\*B, K), by the inverse of their running sum."""
    reached = logits.softmax(-1).cumsum(-1)[..., :-1]
    return (_uniform(logits[..., 0], generator).unsqueeze(-1) > reached).sum(-1)


def _uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw from the open interval (0, 1): neither end has a logit."""
    limit = torch.finfo(like.dtype).eps
    drawn = torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device)
    return drawn.clamp(limit, 1 - limit)

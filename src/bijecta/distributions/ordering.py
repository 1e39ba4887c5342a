"""Sets of objects in rows of numbers: distributions of sorted objects, and of objects without an order."""

import math

import torch
from torch import Tensor

from bijecta.distributions.base import Distribution, SampleShape
from bijecta.errors import InputError, ShapeError


class Sorted(Distribution):
    r"""Describe the sorted objects of an exchangeable distribution: order statistics.

    .. math:: \log p_{sorted}(x) = \log p(x) + \log n! \quad \text{where } x_1 \le x_2 \le \dots \le x_n,
              \qquad -\infty \text{ elsewhere}

    This is exact where p is the same for every order of the objects, as independent equal ones are, or `set_flow`.
    For other distributions it is not the density of what is drawn here.

    Args:
        distribution: the exchangeable p of n objects.
        coordinates: numbers per object, side by side in a row; the first of them decides the order, ascending.

    Raises:
        InputError: ``coordinates`` is below 1.
        ShapeError: at the call, when the columns are not those of whole objects.

    References:
        H. David, H. Nagaraja (2003), Order Statistics, section 2.2.

    Example:
        >>> import torch
        >>> from bijecta.distributions import Sorted, UniformBox
        >>> smallest_first = Sorted(UniformBox(torch.zeros(3), torch.ones(3)))
        >>> smallest_first.log_prob(torch.tensor([[0.1, 0.2, 0.3], [0.2, 0.1, 0.3]])).exp()  # 3! and 0
        tensor([6., 0.])
    """

    def __init__(self, distribution: Distribution, coordinates: int = 1) -> None:
        super().__init__()
        self.distribution, self.coordinates = distribution, _counted(coordinates)
        self.is_bound = distribution.is_bound
        self.context, self.event_shape = distribution.context, distribution.event_shape

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        keys = _objects(x, self.coordinates)[..., 0]
        log_prob = self.distribution.log_prob(x, context) + math.lgamma(keys.shape[-1] + 1)
        unsorted = (keys.diff(dim=-1) < 0).any(-1)
        return log_prob.masked_fill(unsorted & ~log_prob.isnan(), -torch.inf)

    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        return _sort(self.distribution.sample(shape, context, generator=generator), self.coordinates)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        self.distribution.initialise(x, context)


class Shuffled(Distribution):
    r"""Describe a set by the smallest of its objects and the gaps between them: every order has the same density.

    .. math:: \log p_{set}(x) = \log p(u) - \sum_{i > 1} \log(x_{(i)} - x_{(i-1)}) - \log n!, \qquad
              u = (x_{(1)}, \log(x_{(2)} - x_{(1)}), \dots, \log(x_{(n)} - x_{(n-1)}))

    with the objects in ascending order, :math:`x_{(1)} \le \dots \le x_{(n)}`. Any distribution p of n numbers will do:
    every u belongs to one ascending order, so that the density is exact. Samples of p become ascending numbers and are
    shuffled. Gaps too small for the precision of the numbers count as the smallest ones that are not.

    With several coordinates per object the first one decides the order, and only that one is replaced by gaps; the
    density is not continuous where two objects trade places. For these compare the recipe `set_flow`.

    Args:
        distribution: p of n objects.
        coordinates: numbers per object, side by side in a row; the first of them decides the order.

    Raises:
        InputError: ``coordinates`` is below 1.
        ShapeError: at the call, when the columns are not those of whole objects.

    References:
        D. Nielsen, P. Jaini, E. Hoogeboom, O. Winther, M. Welling (2020), SurVAE Flows: Surjections to Bridge the Gap
        between VAEs and Flows (sort surjections).

    Example:
        >>> import torch
        >>> from bijecta.distributions import Normal, Shuffled
        >>> Shuffled(Normal(2)).log_prob(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        tensor([-2.5310, -2.5310])
    """

    def __init__(self, distribution: Distribution, coordinates: int = 1) -> None:
        super().__init__()
        self.distribution, self.coordinates = distribution, _counted(coordinates)
        self.is_bound = distribution.is_bound
        self.context, self.event_shape = distribution.context, distribution.event_shape

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        u, ladj = self._to_gaps(x)
        return self.distribution.log_prob(u, context) + ladj - math.lgamma(x.shape[-1] // self.coordinates + 1)

    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        objects = _objects(self.distribution.sample(shape, context, generator=generator), self.coordinates)
        first, log_gaps, others = objects[..., :1, 0], objects[..., 1:, 0], objects[..., 1:]
        keys = torch.cat([first, log_gaps.exp()], -1).cumsum(-1)
        chance = torch.rand(keys.shape, generator=generator, dtype=keys.dtype, device=keys.device)
        return _arrange(torch.cat([keys.unsqueeze(-1), others], -1), chance)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        self.distribution.initialise(self._to_gaps(x)[0], context)

    def _to_gaps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Sort, and replace the first coordinates by the smallest and the logarithms of the gaps; with the ladj."""
        objects = _objects(_sort(x, self.coordinates), self.coordinates)
        keys, others = objects[..., 0], objects[..., 1:]
        precision = torch.finfo(x.dtype)
        # Rounding makes neighbours equal, whose logarithm would be infinite.
        least = (precision.eps * keys.abs().amax(-1, keepdim=True)).clamp_min(precision.tiny)
        log_gaps = torch.maximum(keys.diff(dim=-1), least).log()
        u = torch.cat([keys[..., :1], log_gaps], -1)
        return torch.cat([u.unsqueeze(-1), others], -1).flatten(-2), -log_gaps.sum(-1)


def _counted(coordinates: int) -> int:
    if coordinates < 1:
        raise InputError(f"Expected at least 1 coordinate per object, got {coordinates}.")
    return coordinates


def _sort(x: Tensor, coordinates: int) -> Tensor:
    objects = _objects(x, coordinates)
    return _arrange(objects, objects[..., 0])


def _arrange(objects: Tensor, keys: Tensor) -> Tensor:
    r"""Bring objects (\*B, n, k) into the ascending order of keys (\*B, n), and into rows again."""
    order = keys.argsort(dim=-1, stable=True).unsqueeze(-1)
    return objects.gather(-2, order.expand_as(objects)).flatten(-2)


def _objects(x: Tensor, coordinates: int) -> Tensor:
    if x.ndim == 0 or x.shape[-1] % coordinates:
        raise ShapeError(f"Expected objects of shape (*batch, objects * {coordinates}), got {tuple(x.shape)}.")
    return x.unflatten(-1, (x.shape[-1] // coordinates, coordinates))

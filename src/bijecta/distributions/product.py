"""Independent groups of features, each with a distribution of its own."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from bijecta.distributions.base import Distribution, SampleShape
from bijecta.errors import InputError


class Product(Distribution):
    r"""Combine independent distributions of groups of columns: :math:`\log p(x) = \sum_g \log p_g(x_g)`.

    The base of mixed tables, such as uniform angles beside normal numbers.

    Args:
        distributions: one per group.
        columns: the columns of each group; together they are all columns, each once.

    Raises:
        InputError: the groups do not partition the columns.

    Example:
        >>> import torch
        >>> from bijecta.distributions import CircularUniform, Normal, Product
        >>> Product([Normal(2), CircularUniform(1)], columns=[[0, 2], [1]]).sample(5).shape
        torch.Size([5, 3])
    """

    restore: Tensor

    def __init__(self, distributions: Iterable[Distribution], columns: Iterable[Sequence[int]]) -> None:
        super().__init__()
        self.parts: Sequence[Distribution] = nn.ModuleList(distributions)  # type: ignore[assignment]
        groups = [list(group) for group in columns]
        flat = [column for group in groups for column in group]
        if len(groups) != len(self.parts) or sorted(flat) != list(range(len(flat))):
            raise InputError(
                f"Product expects one group of columns per distribution and every column once; got {groups} "
                f"for {len(self.parts)} distributions."
            )
        for number, group in enumerate(groups):
            self.register_buffer(f"columns{number}", torch.tensor(group))
        self.register_buffer("restore", torch.tensor(flat).argsort())

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        for distribution, part in zip(self.parts, self._split(x), strict=True):
            distribution.initialise(part, context)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        parts = zip(self.parts, self._split(x), strict=True)
        return torch.stack([distribution.log_prob(part, context) for distribution, part in parts]).sum(0)

    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        parts = [distribution.sample(shape, context, generator=generator) for distribution in self.parts]
        return torch.cat(parts, -1).index_select(-1, self.restore)

    def _split(self, x: Tensor) -> list[Tensor]:
        return [x.index_select(-1, self.get_buffer(f"columns{n}")) for n in range(len(self.parts))]

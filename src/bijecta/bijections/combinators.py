"""Bijections made of bijections."""

from collections.abc import Iterable, Iterator, Sequence
from math import prod

import torch
from torch import Tensor, nn

from bijecta.bijections.base import Bijection, check_features
from bijecta.bijections.native import NativeChain
from bijecta.errors import InputError, ShapeError


class Chain(Bijection):
    r"""Apply bijections one after the other, in the order in which data pass through them.

    .. math:: z = f_L(\dots f_2(f_1(x))), \qquad
              \log|\det\partial z/\partial x| = \sum_l \log|\det\partial f_l|

    Args:
        layers: the bijections, first applied first.

    Raises:
        InputError: there is no layer.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Chain, Permute
        >>> swap_twice = Chain([Permute([1, 0]), Permute([1, 0])])
        >>> swap_twice.forward(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """

    def __init__(self, layers: Iterable[Bijection]) -> None:
        super().__init__()
        self.layers, self.native = nn.ModuleList(layers), NativeChain()
        if not len(self.layers):
            raise InputError("Chain expects at least one bijection, got none. An empty chain would be the identity.")
        self.event_ndim = self.layers[0].event_ndim  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Bijection]:
        return iter(self.layers)  # type: ignore[arg-type]

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if (native := self.native.forward_and_ladj(self, x, context, self._forward_plainly)) is not None:
            return native
        return self._forward_plainly(x, context)

    def _forward_plainly(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        first, *others = self
        z, total = first.forward_and_ladj(x, context)
        for layer in others:
            z, ladj = layer.forward_and_ladj(z, context)
            total = total + ladj
        return z, total

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if (native := self.native.inverse_and_ladj(self, z, context)) is not None:
            return native
        *others, last = self
        x, total = last.inverse_and_ladj(z, context)
        for layer in reversed(others):
            x, ladj = layer.inverse_and_ladj(x, context)
            total = total + ladj
        return x, total

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map data to latent, where a layer can save the cost of its ladj."""
        if (native := self.native.forward_and_ladj(self, x, context, self._forward_plainly)) is not None:
            return native[0]
        for layer in self:
            x = layer.forward(x, context)
        return x

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Map latent to data, where a layer can save the cost of its ladj."""
        if (native := self.native.inverse_and_ladj(self, z, context)) is not None:
            return native[0]
        for layer in reversed(list(self)):
            z = layer.inverse(z, context)
        return z

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        for layer in self:
            x = layer.initialise(x, context)
        return x


class Inverse(Bijection):
    r"""Swap the two directions of a bijection: :math:`z = f^{-1}(x)`.

    An inverse autoregressive flow (IAF) is ``Inverse(Autoregressive(...))``.

    Args:
        bijection: the map to turn around.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Affine, Inverse
        >>> double = Inverse(Affine(shift=torch.zeros(1), scale=2 * torch.ones(1)))
        >>> double.forward(torch.tensor([3.0]))
        tensor([6.])
    """

    def __init__(self, bijection: Bijection) -> None:
        super().__init__()
        self.bijection = bijection
        self.event_ndim = bijection.event_ndim

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.inverse_and_ladj(x, context)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.forward_and_ladj(z, context)


class Indexed(Bijection):
    """Apply a bijection to some feature columns and leave the others as they are.

    Args:
        bijection: a map of vectors of length ``len(index)``.
        index: the columns it acts on, in the order in which it sees them.
        features: length D of the whole vector.

    Raises:
        InputError: an index is out of range or occurs twice.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Indexed, Log
        >>> log_second = Indexed(Log(), index=[1], features=2)
        >>> log_second.forward(torch.tensor([5.0, 1.0]))
        tensor([5., 0.])
    """

    index: Tensor

    def __init__(self, bijection: Bijection, index: Sequence[int], features: int) -> None:
        super().__init__()
        if len(set(index)) != len(index) or not all(0 <= i < features for i in index):
            raise InputError(f"Indexed expects distinct columns between 0 and {features - 1}, got {list(index)}.")
        self.bijection, self.features = bijection, features
        self.register_buffer("index", torch.tensor(list(index), dtype=torch.long))

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_features(x, self.features)
        z, ladj = self.bijection.forward_and_ladj(x.index_select(-1, self.index), context)
        return x.index_copy(-1, self.index, z), ladj

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_features(z, self.features)
        x, ladj = self.bijection.inverse_and_ladj(z.index_select(-1, self.index), context)
        return z.index_copy(-1, self.index, x), ladj

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        try:
            z = self.bijection.initialise(x.index_select(-1, self.index), context)
        except InputError as error:
            raise InputError(f"Counted from 0 among the columns {self.index.tolist()}: {error}") from error
        return x.index_copy(-1, self.index, z)


class Reshape(Bijection):
    """Give events another shape; the volume does not change.

    Args:
        shape_in: shape of one event on the data side, such as (1, 28, 28).
        shape_out: shape of one event on the latent side, such as (784,).

    Raises:
        InputError: the two shapes hold different numbers of elements.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Reshape
        >>> Reshape((1, 2, 2), (4,)).forward(torch.ones(3, 1, 2, 2)).shape
        torch.Size([3, 4])
    """

    def __init__(self, shape_in: Sequence[int], shape_out: Sequence[int]) -> None:
        super().__init__()
        if prod(shape_in) != prod(shape_out):
            raise InputError(f"Reshape expects two shapes of equal size, got {tuple(shape_in)} and {tuple(shape_out)}.")
        self.shape_in, self.shape_out = tuple(shape_in), tuple(shape_out)
        self.event_ndim = len(self.shape_in)

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return _reshape_events(x, self.shape_in, self.shape_out)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return _reshape_events(z, self.shape_out, self.shape_in)


def _reshape_events(x: Tensor, old: tuple[int, ...], new: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    batch = x.shape[: x.ndim - len(old)]
    if tuple(x.shape[len(batch) :]) != old:
        raise ShapeError(f"Reshape expects events of shape {old}, got an input of shape {tuple(x.shape)}.")
    return x.reshape(*batch, *new), x.new_zeros(batch)

"""Linear maps whose determinant is cheap: permutations, LU, ActNorm."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from bijecta.bijections.base import Bijection, check_features
from bijecta.errors import InputError


class Permute(Bijection):
    r"""Reorder the features (channels, for images); the volume does not change.

    Args:
        index: feature ``index[i]`` of x becomes feature i of z. It is a buffer, so that it is saved with the model.
        event_ndim: 1 for vectors (\*B, D), 3 for images (\*B, C, H, W).

    Raises:
        InputError: ``index`` is not a permutation.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Permute
        >>> Permute([2, 0, 1]).forward(torch.tensor([10.0, 20.0, 30.0]))
        tensor([30., 10., 20.])
    """

    index: Tensor

    def __init__(self, index: Sequence[int], *, event_ndim: int = 1) -> None:
        super().__init__()
        if sorted(index) != list(range(len(index))):
            raise InputError(f"Permute expects each of 0 to {len(index) - 1} once, got {list(index)}.")
        self.event_ndim = event_ndim
        self.register_buffer("index", torch.tensor(list(index)))

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(x, len(self.index), self.event_ndim)
        return x.index_select(-self.event_ndim, self.index), x.new_zeros(x.shape[: -self.event_ndim])

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(z, len(self.index), self.event_ndim)
        return z.index_select(-self.event_ndim, self.index.argsort()), z.new_zeros(z.shape[: -self.event_ndim])


class LULinear(Bijection):
    r"""Mix the features by a matrix that is kept as a product of triangular ones.

    .. math:: z = P L U x + b, \qquad \log|\det| = \sum_i \log|U_{ii}|

    L is lower triangular with ones on the diagonal, U upper triangular with a positive diagonal
    :math:`e^{d_i}`, P a fixed permutation. It starts as the identity (times P). For images the same matrix acts
    at every pixel, an invertible 1x1 convolution.

    Args:
        features: number D of features, or channels.
        permutation: the fixed permutation P (default: none).
        event_ndim: 1 for vectors (\*B, D), 3 for images (\*B, C, H, W).

    Raises:
        InputError: ``permutation`` is not one.

    References:
        D. Kingma, P. Dhariwal (2018), Glow: Generative Flow with Invertible 1x1 Convolutions.

    Example:
        >>> import torch
        >>> from bijecta.bijections import LULinear
        >>> LULinear(3).forward(torch.tensor([1.0, 2.0, 3.0])).detach()
        tensor([1., 2., 3.])
    """

    index: Tensor

    def __init__(self, features: int, permutation: Sequence[int] | None = None, *, event_ndim: int = 1) -> None:
        super().__init__()
        permutation = list(range(features)) if permutation is None else list(permutation)
        if sorted(permutation) != list(range(features)):
            raise InputError(f"LULinear expects each of 0 to {features - 1} once, got {permutation}.")
        self.event_ndim = event_ndim
        self.register_buffer("index", torch.tensor(permutation))
        self.lower = nn.Parameter(torch.zeros(features, features))
        self.upper = nn.Parameter(torch.zeros(features, features))
        self.log_diagonal = nn.Parameter(torch.zeros(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(x, len(self.bias), self.event_ndim)
        lower, upper = self._factors()
        matrix = (lower @ upper).index_select(0, self.index)
        if self.event_ndim == 1:
            return torch.nn.functional.linear(x, matrix, self.bias), self._ladj(x)
        columns = x.movedim(-self.event_ndim, 0)
        z = torch.addmm(self.bias[:, None], matrix, columns.flatten(1)).reshape(columns.shape)
        return z.movedim(0, -self.event_ndim), self._ladj(x)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(z, len(self.bias), self.event_ndim)
        lower, upper = self._factors()
        rows = z.movedim(-self.event_ndim, 0)
        columns = (rows.reshape(len(rows), -1) - self.bias[:, None]).index_select(0, self.index.argsort())
        columns = torch.linalg.solve_triangular(lower, columns, upper=False, unitriangular=True)
        columns = torch.linalg.solve_triangular(upper, columns, upper=True)
        return columns.reshape(rows.shape).movedim(0, -self.event_ndim), -self._ladj(z)

    def _factors(self) -> tuple[Tensor, Tensor]:
        identity = torch.eye(len(self.bias), dtype=self.bias.dtype, device=self.bias.device)
        return self.lower.tril(-1) + identity, self.upper.triu(1) + torch.diag(self.log_diagonal.exp())

    def _ladj(self, x: Tensor) -> Tensor:
        return _every_pixel(self.log_diagonal, x, self.event_ndim)


class ActNorm(Bijection):
    r"""Scale and shift every feature (channel), starting from the mean and spread of the first data.

    .. math:: z = e^{s} (x + b), \qquad \log|\det| = \sum_i s_i

    `initialise` sets b and s so that z has mean 0 and standard deviation 1, once: a buffer remembers that it was
    done, and the buffer is saved, so a loaded model keeps its values.

    Args:
        features: number of features, or channels.
        event_ndim: 1 for vectors (\*B, D), 3 for images (\*B, C, H, W).

    References:
        D. Kingma, P. Dhariwal (2018), Glow: Generative Flow with Invertible 1x1 Convolutions.

    Example:
        >>> import torch
        >>> from bijecta.bijections import ActNorm
        >>> layer = ActNorm(1)
        >>> layer.initialise(torch.tensor([[1.0], [3.0]]))
        tensor([[-1.],
                [ 1.]])
    """

    initialised: Tensor

    def __init__(self, features: int, *, event_ndim: int = 1) -> None:
        super().__init__()
        self.event_ndim = event_ndim
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("initialised", torch.tensor(False))  # noqa: FBT003 (a value, not a flag)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if not self.initialised:
            columns = x.movedim(-self.event_ndim, -1).flatten(0, -2).double()
            spread = columns.std(0, correction=0).clamp_min(1e-6)
            self.bias.copy_(-columns.mean(0))
            self.log_scale.copy_(-spread.log())
            self.initialised.fill_(True)  # noqa: FBT003
        return self.forward(x, context)

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(x, len(self.bias), self.event_ndim)
        z = (x + self._per_feature(self.bias)) * self._per_feature(self.log_scale).exp()
        return z, self._ladj(x)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(z, len(self.bias), self.event_ndim)
        x = z * self._per_feature(-self.log_scale).exp() - self._per_feature(self.bias)
        return x, -self._ladj(z)

    def _per_feature(self, parameter: Tensor) -> Tensor:
        return parameter.reshape(-1, *[1] * (self.event_ndim - 1))

    def _ladj(self, x: Tensor) -> Tensor:
        return _every_pixel(self.log_scale, x, self.event_ndim)


def _every_pixel(log_scale: Tensor, x: Tensor, event_ndim: int) -> Tensor:
    """Sum the logarithms of scales, which every pixel contributes once, for a batch of x."""
    batch = x.shape[: x.ndim - event_ndim]
    pixels = prod(x.shape[len(batch) + 1 :])
    return (pixels * log_scale.sum()).expand(batch)

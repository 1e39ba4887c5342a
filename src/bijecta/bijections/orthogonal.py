"""Turns and reflections: linear maps that leave every volume as it is."""

import torch
from torch import Tensor, nn

from bijecta.bijections.base import Bijection, check_features
from bijecta.errors import InputError
from bijecta.functional.residual import orthonormal_columns


class Householder(Bijection):
    r"""Reflect space at one mirror after the other.

    .. math:: z = H_1 H_2 \cdots H_K x, \qquad H_k = I - 2 \frac{n_k n_k^T}{|n_k|^2}, \qquad \log|\det| = 0

    D mirrors reach every orthogonal matrix of determinant :math:`(-1)^D`; fewer keep a subspace as it is, and are
    cheaper to make. The normals :math:`n_k` start at random.

    Args:
        features: number D of features.
        reflections: number K of mirrors (default: D).

    Raises:
        InputError: there is no mirror.

    References:
        J. Tomczak, M. Welling (2016), Improving Variational Auto-Encoders using Householder Flow.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Householder
        >>> layer = Householder(3)
        >>> torch.allclose(layer.forward(torch.ones(3)).norm(), torch.tensor(3.0).sqrt())
        True
    """

    def __init__(self, features: int, reflections: int | None = None) -> None:
        super().__init__()
        reflections = features if reflections is None else reflections
        if reflections < 1:
            raise InputError(f"Householder expects at least one reflection, got {reflections}.")
        self.normals = nn.Parameter(torch.randn(reflections, features))

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return _turn(x, orthonormal_columns(self.normals, self.normals.shape[-1]))

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return _turn(z, orthonormal_columns(self.normals, self.normals.shape[-1]).mT)


class Orthogonal(Bijection):
    r"""Turn space by the exponential of a skew-symmetric matrix.

    .. math:: z = \exp(A - A^T)\, x, \qquad \log|\det| = 0

    The exponential reaches every rotation, and is smooth: no mirror that could point nowhere, but a cost of
    :math:`D^3`. A is strictly upper triangular and starts at zero, the map as the identity.

    Args:
        features: number D of features.

    References:
        M. Lezcano-Casado, D. Martínez-Rubio (2019), Cheap Orthogonal Constraints in Neural Networks.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Orthogonal
        >>> layer = Orthogonal(2)
        >>> _ = torch.nn.init.constant_(layer.upper, torch.pi / 2)  # a quarter of a turn
        >>> layer.forward(torch.tensor([1.0, 0.0])).round().detach()
        tensor([ 0., -1.])
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.upper = nn.Parameter(torch.zeros(features, features))

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return _turn(x, self._matrix())

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return _turn(z, self._matrix().mT)

    def _matrix(self) -> Tensor:
        above = self.upper.triu(1)
        return torch.linalg.matrix_exp(above - above.mT)


def _turn(x: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    check_features(x, len(matrix))
    return x @ matrix.mT, x.new_zeros(x.shape[:-1])

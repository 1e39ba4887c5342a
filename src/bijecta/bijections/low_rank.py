"""A linear map that differs from the identity in a few directions only."""

import torch
from torch import Tensor, nn

from bijecta.bijections.base import Bijection, check_features
from bijecta.errors import InputError
from bijecta.functional.residual import orthonormal_columns


class LowRank(Bijection):
    r"""Mix the features by the identity plus a matrix of rank M.

    .. math:: z = x + U V^T x + b, \qquad \log|\det| = \log\det(I + V^T U) = \sum_i d_i

    The determinant lemma makes the determinant one of M rows, and Woodbury's identity the inverse,
    :math:`x = y - U P^{-1} V^T y` with :math:`y = z - b` and :math:`P = I + V^T U`: a row costs D M multiplications
    where a full matrix costs D². For the map to be invertible whatever the parameters are, P is what is learned, as a
    product of triangular matrices with the diagonal :math:`e^{d_i}`: V has orthonormal columns (nothing is lost, U
    takes up the rest), and :math:`U = V (P - I) + (I - V V^T) W` for any W. It starts as the identity.

    Args:
        features: number D of features.
        rank: number M of directions, at most D.

    Raises:
        InputError: the rank is not between 1 and the number of features.

    References:
        M. Woodbury (1950), Inverting Modified Matrices.

    Example:
        >>> import torch
        >>> from bijecta.bijections import LowRank
        >>> LowRank(3, rank=1).forward(torch.tensor([1.0, 2.0, 3.0])).detach()
        tensor([1., 2., 3.])
    """

    def __init__(self, features: int, rank: int) -> None:
        super().__init__()
        if not 1 <= rank <= features:
            raise InputError(f"LowRank expects a rank between 1 and the number of features {features}, got {rank}.")
        self.rank = rank
        self.normals = nn.Parameter(torch.randn(min(rank, features - 1), features))
        self.outside = nn.Parameter(torch.zeros(features, rank))
        self.lower = nn.Parameter(torch.zeros(rank, rank))
        self.upper = nn.Parameter(torch.zeros(rank, rank))
        self.log_diagonal = nn.Parameter(torch.zeros(rank))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(x, len(self.bias))
        u, v, _, _ = self._matrices()
        return x + (x @ v) @ u.mT + self.bias, self.log_diagonal.sum().expand(x.shape[:-1])

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(z, len(self.bias))
        u, v, lower, upper = self._matrices()
        shifted = z - self.bias
        columns = (shifted @ v).reshape(-1, self.rank).T
        columns = torch.linalg.solve_triangular(lower, columns, upper=False, unitriangular=True)
        columns = torch.linalg.solve_triangular(upper, columns, upper=True)
        seen = columns.T.reshape(*z.shape[:-1], self.rank)
        return shifted - seen @ u.mT, -self.log_diagonal.sum().expand(z.shape[:-1])

    def _matrices(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute U, V, and the two factors of P."""
        v = orthonormal_columns(self.normals, self.rank)
        identity = torch.eye(self.rank, dtype=v.dtype, device=v.device)
        lower = self.lower.tril(-1) + identity
        upper = self.upper.triu(1) + torch.diag(self.log_diagonal.exp())
        u = self.outside + v @ (lower @ upper - identity - v.mT @ self.outside)
        return u, v, lower, upper

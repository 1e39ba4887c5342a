"""The Sylvester map: a layer of hyperbolic tangents along orthonormal directions."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bijecta.bijections.base import Bijection
from bijecta.errors import InputError
from bijecta.functional.residual import orthonormal_columns, positive_slope, sylvester
from bijecta.functional.scalar import soft_clip
from bijecta.nets.inputs import check_features
from bijecta.nets.parameters import ParameterVector

STEEPNESS_LIMIT = 5.0  # of log S_ii, so that no tangent becomes a step


class Sylvester(Bijection):
    r"""Stretch space along M directions at once, a planar map with M hidden units.

    .. math:: z = x + Q R \tanh(S Q^T x + b), \qquad
              \log|\det| = \sum_i \log(1 + S_{ii} R_{ii}\,\mathrm{sech}^2(v_i)), \quad v = S Q^T x + b

    Q has orthonormal columns, a product of Householder reflections; R and S are upper triangular. A positive
    diagonal of S and :math:`R_{ii} = (s_i - 1) / S_{ii}` with slopes :math:`s_i > 0` make the map invertible. The
    inverse is a triangular substitution with one equation of one number per unit. It starts as the identity (R = 0).

    Args:
        features: number D of features.
        rank: number M of hidden units, at most D (default: D).
        context: number C of context features that all matrices depend on.
        hidden: widths of the hidden layers of the network that reads the context.

    Raises:
        InputError: the rank is not between 1 and the number of features.
        ShapeError: at the call, when data or context have the wrong shape.
        NotConvergedError: at the call of the inverse, when a slope left the range of numbers.

    References:
        R. van den Berg, L. Hasenclever, J. Tomczak, M. Welling (2018), Sylvester Normalizing Flows for Variational
        Inference.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Sylvester
        >>> layer = Sylvester(3, rank=2)
        >>> z, ladj = layer.forward_and_ladj(torch.ones(5, 3))
        >>> torch.allclose(layer.inverse(z), torch.ones(5, 3))
        True
    """

    above: Tensor

    def __init__(
        self, features: int, rank: int | None = None, *, context: int = 0, hidden: Sequence[int] = (64, 64)
    ) -> None:
        super().__init__()
        rank = features if rank is None else rank
        if not 1 <= rank <= features:
            raise InputError(f"Sylvester expects a rank between 1 and the number of features {features}, got {rank}.")
        self.features, self.rank = features, rank
        self.mirrors = min(rank, features - 1)  # more reflections only change signs, which R and S can do as well
        row, column = torch.triu_indices(rank, rank, 1).unbind()
        self.register_buffer("above", row * rank + column, persistent=False)
        self.sizes = [self.mirrors * features, len(row), len(row), rank, rank, rank]
        scales = (1.0, 0.0, 1.0, 0.0, 0.0, 1.0)
        start = torch.cat([scale * torch.randn(size) for size, scale in zip(self.sizes, scales, strict=True)])
        self.parameter_vector = ParameterVector(start, context=context, hidden=hidden)

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return sylvester(x, *self._matrices(x, context))

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return sylvester(z, *self._matrices(z, context), inverse=True)

    def _matrices(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute Q, R, S and b from the parameter vector."""
        check_features(x, self.features)
        parts = self.parameter_vector(x, context).split(self.sizes, -1)
        normals, outer, inner, raw, log_steepness, b = parts
        steepness = soft_clip(log_steepness, STEEPNESS_LIMIT).exp()
        q = orthonormal_columns(normals.unflatten(-1, (self.mirrors, self.features)), self.rank)
        outer = self._upper(outer) + torch.diag_embed((positive_slope(raw) - 1) / steepness)
        return q, outer, self._upper(inner) + torch.diag_embed(steepness), b

    def _upper(self, values: Tensor) -> Tensor:
        """Fill the triangle above the diagonal."""
        flat = values.new_zeros(*values.shape[:-1], self.rank * self.rank).index_copy(-1, self.above, values)
        return flat.unflatten(-1, (self.rank, self.rank))

"""The planar map: a hyperbolic tangent along one direction."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bijecta.bijections.base import Bijection
from bijecta.functional.residual import planar
from bijecta.nets.inputs import check_features
from bijecta.nets.parameters import ParameterVector


class Planar(Bijection):
    r"""Stretch or squeeze space between parallel planes.

    .. math:: z = x + v \tanh(w \cdot x + b), \qquad \log|\det| = \log(1 + w \cdot v\,\mathrm{sech}^2(w \cdot x + b))

    v is made of a free vector u such that :math:`w \cdot v > -1`, hence the map is invertible. Its inverse solves one
    equation of one number per row, so that it can be fitted and sampled in both directions. It starts as the identity
    (u = 0) with random planes.

    Args:
        features: number D of features.
        context: number C of context features that w, u and b depend on.
        hidden: widths of the hidden layers of the network that reads the context.

    Raises:
        ShapeError: at the call, when data or context have the wrong shape.
        NotConvergedError: at the call of the inverse, when a slope left the range of numbers.

    References:
        D. Rezende, S. Mohamed (2015), Variational Inference with Normalizing Flows.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Planar
        >>> layer = Planar(3)
        >>> z, ladj = layer.forward_and_ladj(torch.ones(5, 3))
        >>> torch.allclose(layer.inverse(z), torch.ones(5, 3))
        True
    """

    def __init__(self, features: int, *, context: int = 0, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        self.features = features
        start = torch.cat([torch.randn(features), torch.zeros(features), torch.randn(1)])
        self.parameter_vector = ParameterVector(start, context=context, hidden=hidden)

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._map(x, context, inverse=False)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._map(z, context, inverse=True)

    def _map(self, x: Tensor, context: Tensor | None, *, inverse: bool) -> tuple[Tensor, Tensor]:
        check_features(x, self.features)
        w, u, b = self.parameter_vector(x, context).split([self.features, self.features, 1], -1)
        return planar(x, w, u, b[..., 0], inverse=inverse)

"""The radial map: space blown up around a center, or contracted."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bijecta.bijections.base import Bijection
from bijecta.functional.residual import positive_slope, radial
from bijecta.nets.inputs import check_features
from bijecta.nets.parameters import ParameterVector


class Radial(Bijection):
    r"""Blow space up around a center, or contract it.

    .. math:: z = x + \beta\,\frac{x - x_0}{a + r}, \qquad r = |x - x_0|, \qquad
              \log|\det| = (D - 1) \log\left(1 + \frac{\beta}{a + r}\right)
              + \log\left(1 + \frac{a \beta}{(a + r)^2}\right)

    :math:`\beta = (s - 1) a` with a slope s > 0 at the center makes it invertible; the inverse is the root of a
    quadratic equation. It starts as the identity (s = 1) with a random center.

    Args:
        features: number D of features.
        context: number C of context features that the center, a and s depend on.
        hidden: widths of the hidden layers of the network that reads the context.

    Raises:
        ShapeError: at the call, when data or context have the wrong shape.

    References:
        D. Rezende, S. Mohamed (2015), Variational Inference with Normalizing Flows.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Radial
        >>> layer = Radial(3)
        >>> z, ladj = layer.forward_and_ladj(torch.ones(5, 3))
        >>> torch.allclose(layer.inverse(z), torch.ones(5, 3))
        True
    """

    def __init__(self, features: int, *, context: int = 0, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        self.features = features
        start = torch.cat([torch.randn(features), torch.zeros(2)])
        self.parameter_vector = ParameterVector(start, context=context, hidden=hidden)

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._map(x, context, inverse=False)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._map(z, context, inverse=True)

    def _map(self, x: Tensor, context: Tensor | None, *, inverse: bool) -> tuple[Tensor, Tensor]:
        check_features(x, self.features)
        center, log_radius, raw = self.parameter_vector(x, context).split([self.features, 1, 1], -1)
        return radial(x, center, log_radius[..., 0].exp(), positive_slope(raw[..., 0]), inverse=inverse)

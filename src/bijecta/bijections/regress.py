"""The map that takes away what a context predicts linearly."""

import torch
from torch import Tensor

from bijecta.bijections.base import Bijection
from bijecta.nets import Regression
from bijecta.nets.inputs import check_context, check_features


class Regress(Bijection):
    r"""Subtract a linear prediction from the context: :math:`z = x - W c` with ladj 0.

    `initialise` finds W by ridge regression, so that a conditional flow starts from the Gaussian that data and
    context have together.

    Args:
        features: number D of features.
        context: number C of context features, of order one.

    Raises:
        ShapeError: at the call, when data or context have the wrong shape.

    References:
        A. Hoerl, R. Kennard (1970), Ridge Regression: Biased Estimation for Nonorthogonal Problems.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Regress
        >>> layer, context = Regress(2, 3), torch.randn(50, 3)
        >>> z = layer.initialise(context[:, :2], context)
        >>> bool(z.std() < 0.1)
        True
    """

    def __init__(self, features: int, context: int) -> None:
        super().__init__()
        self.features, self.context = features, context
        self.line = Regression(context, features)

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x - self._predicted(x, context), torch.zeros_like(x[..., 0])

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z + self._predicted(z, context), torch.zeros_like(z[..., 0])

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        given = check_context(context, self.context, x.shape[:-1])
        if given is not None:
            self.line.initialise(given, x)
        return self.forward(x, context)

    def _predicted(self, x: Tensor, context: Tensor | None) -> Tensor:
        check_features(x, self.features)
        given = check_context(context, self.context, x.shape[:-1])
        return torch.zeros_like(x) if given is None else self.line(given)

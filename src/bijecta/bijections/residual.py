"""The residual block: the identity plus a contraction."""

import torch
from torch import Tensor

from bijecta.bijections.base import Bijection
from bijecta.errors import InputError
from bijecta.functional.contraction import (
    Derivative,
    attach_derivatives,
    estimated_ladj,
    exact_ladj,
    invert_shifted,
    roulette_weights,
)
from bijecta.nets.lipschitz import LipschitzMLP

EXACT_FEATURES = 16  # up to here a determinant costs less than a series


class ResidualBlock(Bijection):
    r"""Add a contraction to the identity.

    .. math:: z = x + g(x; c), \qquad \log|\det| = \log\det(I + J) = \sum_{k \ge 1} \frac{(-1)^{k+1}}{k} \mathrm{tr} J^k

    Every network whose Lipschitz constant is below 1 will do. The inverse is numerical, to a relative residual of 1e-6
    in float32 and 1e-12 in float64, and differentiable twice. Up to 16 features the ladj is exact; beyond, every call
    draws an unbiased estimate of the series (and of its gradient) from torch's global generator, as
    `torch.manual_seed` makes repeatable.

    Args:
        net: the contraction g.
        estimate: whether to estimate the ladj (default: for more than 16 features).
        exact_terms: of the estimate, the terms of the series that are always there.
        keep: of the estimate, the probability to go on after each further term. The variance is finite where the
            spectral radius of J is below its square root.

    Raises:
        InputError: ``exact_terms`` is below 1, or ``keep`` not between 0 and 1.
        ShapeError: at the call, when data or context have the wrong shape.
        NotConvergedError: at the call of the inverse, when it missed its tolerance.

    References:
        J. Behrmann, W. Grathwohl, R. Chen, D. Duvenaud, J.-H. Jacobsen (2019), Invertible Residual Networks. R. Chen,
        J. Behrmann, D. Duvenaud, J.-H. Jacobsen (2019), Residual Flows for Invertible Generative Modeling.

    Example:
        >>> import torch
        >>> from bijecta.bijections import ResidualBlock
        >>> from bijecta.nets import LipschitzMLP
        >>> layer = ResidualBlock(LipschitzMLP(3))
        >>> z, ladj = layer.forward_and_ladj(torch.ones(5, 3))
        >>> torch.allclose(layer.inverse(z), torch.ones(5, 3))
        True
    """

    def __init__(
        self, net: LipschitzMLP, *, estimate: bool | None = None, exact_terms: int = 10, keep: float = 0.5
    ) -> None:
        super().__init__()
        if exact_terms < 1 or not 0 < keep < 1:
            raise InputError(
                "ResidualBlock expects exact_terms of at least 1 and keep between 0 and 1, "
                f"got exact_terms={exact_terms} and keep={keep}."
            )
        self.net, self.exact_terms, self.keep = net, exact_terms, keep
        self.estimate = net.features > EXACT_FEATURES if estimate is None else estimate

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        change, derivative = self.net.linearise(x, context)
        return x + change, self._ladj(derivative, x)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        linearise = self.net.prepare(z, context).linearise
        few = self.net.features <= EXACT_FEATURES
        x = invert_shifted(linearise, z, newton=few)
        if few or torch.is_grad_enabled():
            x = attach_derivatives(linearise, x, z)
        return x, -self._ladj(linearise(x)[1], x)

    def _ladj(self, derivative: Derivative, x: Tensor) -> Tensor:
        if not self.estimate:
            return exact_ladj(derivative)
        noise = torch.randn_like(x)
        return estimated_ladj(derivative, noise, roulette_weights(x[..., 0], self.exact_terms, self.keep))

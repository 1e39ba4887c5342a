"""Shift and scale: the univariates of NICE, RealNVP, Glow and MAF."""

from torch import Tensor

from bijecta.bijections.univariate.base import Univariate
from bijecta.functional.scalar import bounded_affine


class AdditiveUnivariate(Univariate):
    r"""Shift a number: :math:`z = x + \beta`, ladj 0.

    Volume preserving, the univariate of NICE.

    References:
        L. Dinh, D. Krueger, Y. Bengio (2014), NICE: Non-linear Independent Components Estimation.

    Example:
        >>> import torch
        >>> z, ladj = AdditiveUnivariate().forward_and_ladj(torch.ones(1), torch.full((1, 1), 2.0))
        >>> z, ladj
        (tensor([3.]), tensor([0.]))
    """

    n_params = 1

    def forward_and_ladj(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        z = x + params[..., 0]
        return z, z.new_zeros(z.shape)

    def inverse_and_ladj(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        x = z - params[..., 0]
        return x, x.new_zeros(x.shape)


class AffineUnivariate(Univariate):
    r"""Scale and shift a number, with a bounded log-scale.

    .. math:: z = x\,e^{s} + \beta, \qquad s = c\,\tanh(a / c), \qquad \log|dz/dx| = s

    The bound :math:`|s| < c` keeps the map and its inverse Lipschitz, so that float32 round trips stay exact
    and training cannot overflow (Behrmann et al. 2021, Understanding and mitigating exploding inverses).

    Args:
        limit: the bound c on the log-scale.

    References:
        L. Dinh, J. Sohl-Dickstein, S. Bengio (2017), Density estimation using Real NVP.

    Example:
        >>> import torch
        >>> z, ladj = AffineUnivariate().forward_and_ladj(torch.ones(1), torch.zeros(1, 2))
        >>> z, ladj
        (tensor([1.]), tensor([0.]))
    """

    n_params = 2

    def __init__(self, limit: float = 3.0) -> None:
        super().__init__()
        self.limit = limit

    def forward_and_ladj(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return bounded_affine(x, params, limit=self.limit)

    def inverse_and_ladj(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return bounded_affine(z, params, limit=self.limit, inverse=True)

"""Exact maps between a column's own units and the real line; their ladj is part of the flow.

With them inside the model, densities are per unit of the data (per GeV, per centimetre) and samples come out in
the support of the data.
"""

import torch
from torch import Tensor

from bijecta.bijections.base import Bijection, check_features
from bijecta.errors import InputError
from bijecta.functional.scalar import log_map, logit_map


class Affine(Bijection):
    r"""Shift and scale by fixed numbers: :math:`z = (x - \beta) / \sigma`, :math:`\log|\det| = -\sum_i\log|\sigma_i|`.

    Args:
        shift: :math:`\beta` of shape (D,), in the units of the data.
        scale: :math:`\sigma` of shape (D,), not zero, in the units of the data.

    Raises:
        InputError: a scale is zero or not finite.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Affine
        >>> Affine(shift=torch.ones(1), scale=2 * torch.ones(1)).forward(torch.tensor([5.0]))
        tensor([2.])
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, shift: Tensor, scale: Tensor) -> None:
        super().__init__()
        if not bool((torch.isfinite(scale) & (scale != 0)).all()):
            raise InputError(f"Affine expects finite scales that are not zero, got {scale.tolist()}.")
        self.register_buffer("shift", shift.clone())
        self.register_buffer("scale", scale.clone())

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return (x - self.shift) / self.scale, -self._ladj(x)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return z * self.scale + self.shift, self._ladj(z)

    def _ladj(self, x: Tensor) -> Tensor:
        check_features(x, len(self.scale))
        return self.scale.abs().log().sum().to(x.dtype).expand(x.shape[:-1])


class Standardise(Bijection):
    r"""Centre and scale every feature: :math:`z = (x - \mu) / \sigma`, :math:`\log|\det| = -\sum_i\log\sigma_i`.

    `initialise` measures :math:`\mu` and :math:`\sigma` in float64; before that the map is the identity. They are
    buffers, not trained, and saved with the model.

    Args:
        features: number D of features.

    Raises:
        InputError: in `initialise`, when a column does not vary or is not finite.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Standardise
        >>> Standardise(1).initialise(torch.tensor([[10.0], [30.0]]))
        tensor([[-1.],
                [ 1.]])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        check_features(x, len(self.scale))
        columns = x.reshape(-1, x.shape[-1]).double()
        mean, scale = columns.mean(0), columns.std(0, correction=0)
        # Rounding leaves a constant column a tiny spread: compare with what its own magnitude can resolve.
        bad = ~(scale > 1e-12 * columns.abs().amax(0))
        if bool(bad.any()):
            raise InputError(
                f"Standardise expects columns that vary and are finite; column {bad.nonzero().flatten().tolist()} "
                "does not. A constant column has no density: drop it. Remove rows with NaN or infinity."
            )
        self.mean.copy_(mean)
        self.scale.copy_(scale)
        return self.forward(x, context)

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(x, len(self.scale))
        return (x - self.mean) / self.scale, -self.scale.log().sum().expand(x.shape[:-1])

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(z, len(self.scale))
        return z * self.scale + self.mean, self.scale.log().sum().expand(z.shape[:-1])


class Whiten(Bijection):
    r"""Remove linear correlations: :math:`z = L^{-1} x`, :math:`\log|\det| = -\sum_i \log L_{ii}`.

    `initialise` measures the covariance :math:`C = L L^T` of centred data; before that the map is the identity. A flow
    that begins with `Standardise` and `Whiten` begins as the full-covariance Gaussian of its data, however few rows
    there are: the correlations are shrunk by (D + 1) / (N + D + 1), which keeps C positive definite.

    Args:
        features: number D of features.

    References:
        A. Kessy, A. Lewin, K. Strimmer (2018), Optimal Whitening and Decorrelation (the Cholesky variant).

    Example:
        >>> import torch
        >>> from bijecta.bijections import Whiten
        >>> rows = torch.randn(5000, 2, generator=torch.Generator().manual_seed(0))
        >>> x = rows @ torch.tensor([[1.0, 0.9], [0.0, 0.4]])
        >>> torch.corrcoef(Whiten(2).initialise(x).T)[0, 1].abs() < 0.01
        tensor(True)
    """

    matrix: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        # Only the inverse factor is kept: two rounded matrices would be inverse to each other in no precision.
        self.register_buffer("matrix", torch.eye(features))

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        check_features(x, len(self.matrix))
        columns = x.reshape(-1, x.shape[-1]).double()
        features = columns.shape[-1]
        covariance = torch.atleast_2d(torch.cov(columns.T, correction=0))
        variances = torch.diag(covariance.diagonal())
        shrinkage = (features + 1) / (len(columns) + features + 1)
        factor = torch.linalg.cholesky((1 - shrinkage) * covariance + shrinkage * variances)
        self.matrix.copy_(torch.linalg.solve_triangular(factor, torch.eye(features).to(factor), upper=False))
        return self.forward(x, context)

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(x, len(self.matrix))
        return torch.nn.functional.linear(x, self.matrix), self._ladj(x)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(z, len(self.matrix))
        columns = torch.linalg.solve_triangular(self.matrix, z.reshape(-1, z.shape[-1]).T, upper=False)
        return columns.T.reshape(z.shape), -self._ladj(z)

    def _ladj(self, x: Tensor) -> Tensor:
        return self.matrix.diagonal().log().sum().expand(x.shape[:-1])


class Log(Bijection):
    r"""Map positive numbers to the real line: :math:`z = \log(x - a)`, :math:`\log|\det| = -\sum_i z_i`.

    Args:
        lower: the lower end a of the support, in the units of the data.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Log
        >>> Log(lower=1.0).forward(torch.tensor([2.0]))
        tensor([0.])
    """

    def __init__(self, lower: float = 0.0) -> None:
        super().__init__()
        self.lower = lower

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        z, ladj = log_map(x, self.lower)
        return z, ladj.sum(-1)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        x, ladj = log_map(z, self.lower, inverse=True)
        return x, ladj.sum(-1)


class Logit(Bijection):
    r"""Map an interval to the real line: :math:`z = \log u - \log(1 - u)` with :math:`u = (x - a) / (b - a)`.

    .. math:: \log|\det| = -\sum_i [\log u_i + \log(1 - u_i) + \log(b - a)]

    Args:
        low: the lower end a, in the units of the data.
        high: the upper end b.

    Raises:
        InputError: ``low`` is not below ``high``.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Logit
        >>> Logit(0.0, 10.0).forward(torch.tensor([5.0]))
        tensor([0.])
    """

    def __init__(self, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        check_interval("Logit", low, high)
        self.low, self.high = low, high

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        z, ladj = logit_map(x, self.low, self.high)
        return z, ladj.sum(-1)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        x, ladj = logit_map(z, self.low, self.high, inverse=True)
        return x, ladj.sum(-1)


def check_interval(name: str, low: float, high: float) -> None:
    """Raise an InputError unless low < high."""
    if not low < high:
        raise InputError(f"{name} expects low < high, got low={low} and high={high}.")

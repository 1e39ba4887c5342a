"""Bernstein polynomials as a univariate map."""

from torch import Tensor

from bijecta.bijections.univariate.base import Univariate
from bijecta.errors import InputError
from bijecta.functional.monotone import bernstein


class Bernstein(Univariate):
    r"""Map numbers by a polynomial with increasing Bernstein coefficients, and by its tangents outside of the domain.

    .. math:: \frac{dz}{dx} = \sum_{k=0}^{M-1} v_k \binom{M-1}{k} t^k (1 - t)^{M-1-k}, \qquad
              t = \frac{x + \text{bound}}{2\,\text{bound}}, \qquad v_k = e^{c \tanh(a_k / c)}

    The slope is a weighted mean of the :math:`v_k`, so :math:`|\text{ladj}| < c`. The inverse is a search.

    Args:
        degree: M.
        bound: half-width of the polynomial's domain, in the units of the data.
        limit: the bound c on the log-slope.

    Raises:
        InputError: the degree, the bound or the limit is not positive.

    References:
        S. Ramasinghe, K. Fernando, S. Khan, N. Barnes (2021), Robust normalizing flows using Bernstein-type
        polynomials.

    Example:
        >>> import torch
        >>> univariate = Bernstein(degree=8)
        >>> univariate.forward_and_ladj(torch.tensor([[0.5, -7.0]]), torch.zeros(1, 2, univariate.n_params))[0]
        tensor([[ 0.5000, -7.0000]])
    """

    def __init__(self, degree: int = 16, bound: float = 5.0, limit: float = 3.0) -> None:
        super().__init__()
        if degree < 1 or not bound > 0 or not limit > 0:
            raise InputError(f"Bernstein expects positive numbers, got degree={degree}, bound={bound}, limit={limit}.")
        self.degree, self.bound, self.limit, self.n_params = degree, bound, limit, degree + 1

    def forward_and_ladj(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return bernstein(x, params, bound=self.bound, limit=self.limit)

    def inverse_and_ladj(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return bernstein(z, params, bound=self.bound, limit=self.limit, inverse=True)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"degree={self.degree}, bound={self.bound}, limit={self.limit}"

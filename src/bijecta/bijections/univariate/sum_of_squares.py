"""Integrals of sums of squared polynomials as a univariate map."""

from torch import Tensor

from bijecta.bijections.univariate.base import Univariate
from bijecta.errors import InputError
from bijecta.functional.monotone import gauss_legendre, sum_of_squares


class SumOfSquares(Univariate):
    r"""Map numbers by the integral of a sum of squares, and by its tangents outside of the domain.

    .. math:: z = \beta + \int_0^x S, \qquad
              S(x) = m + (1 - m) \sum_j \Big(w_j + \sum_{l=0}^{r} a_{jl} (x / \text{bound})^l\Big)^2

    Every polynomial that is positive on the whole line is a sum of two squares. The integral is a sum over r + 1 nodes,
    exact for polynomials. The inverse is a search.

    Args:
        squares: how many polynomials are squared.
        degree: their degree r; the map has degree 2r + 1.
        bound: half-width of the polynomial's domain, in the units of the data.

    Raises:
        InputError: a setting is not positive.

    References:
        P. Jaini, K. Selby, Y. Yu (2019), Sum-of-Squares Polynomial Flow.

    Example:
        >>> import torch
        >>> univariate = SumOfSquares(squares=2, degree=3)
        >>> univariate.forward_and_ladj(torch.tensor([[0.5, -7.0]]), torch.zeros(1, 2, univariate.n_params))[0]
        tensor([[ 0.5000, -7.0000]])
    """

    def __init__(self, squares: int = 2, degree: int = 4, bound: float = 5.0) -> None:
        super().__init__()
        if squares < 1 or degree < 1 or not bound > 0:
            raise InputError(
                f"SumOfSquares expects positive numbers, got squares={squares}, degree={degree}, bound={bound}."
            )
        self.squares, self.degree, self.bound = squares, degree, bound
        self.rule = gauss_legendre(degree + 1)
        self.n_params = 1 + squares * (degree + 1)

    def forward_and_ladj(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return sum_of_squares(x, params, rule=self.rule, squares=self.squares, bound=self.bound)

    def inverse_and_ladj(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return sum_of_squares(z, params, rule=self.rule, squares=self.squares, bound=self.bound, inverse=True)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"squares={self.squares}, degree={self.degree}, bound={self.bound}"

"""Small monotone networks as univariate maps, whose weights are the parameters that the host supplies."""

from torch import Tensor

from bijecta.bijections.univariate.base import Univariate
from bijecta.errors import InputError
from bijecta.functional.monotone import gauss_legendre, integrated_network, sigmoidal


class NeuralMonotone(Univariate):
    r"""Map numbers by the logit of a mixture of sigmoids: the deep sigmoidal flow of NAF.

    .. math:: z = \beta + m x + (1 - m)\,\mathrm{logit} \sum_j w_j\, \sigma\big(e^{b_j} (x - c_j)\big)

    Computed with logarithms only, from the tail where both the mixture and its complement are tiny to the other one.
    The inverse is a search.

    Args:
        components: how many sigmoids are mixed.
        bound: bound on the centres :math:`c_j`, in the units of the data.
        limit: bound on the log-scales :math:`b_j`.

    Raises:
        InputError: a setting is not positive.

    References:
        C.-W. Huang, D. Krueger, A. Lacoste, A. Courville (2018), Neural Autoregressive Flows.

    Example:
        >>> import torch
        >>> univariate = NeuralMonotone(components=4)
        >>> univariate.forward_and_ladj(torch.tensor([[0.5, -7.0]]), torch.zeros(1, 2, univariate.n_params))[0]
        tensor([[ 0.5000, -7.0000]])
    """

    def __init__(self, components: int = 8, bound: float = 5.0, limit: float = 3.0) -> None:
        super().__init__()
        if components < 1 or not bound > 0 or not limit > 0:
            raise InputError(
                f"NeuralMonotone expects positive numbers, got components={components}, bound={bound}, limit={limit}."
            )
        self.components, self.bound, self.limit, self.n_params = components, bound, limit, 1 + 3 * components

    def forward_and_ladj(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return sigmoidal(x, params, components=self.components, bound=self.bound, limit=self.limit)

    def inverse_and_ladj(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return sigmoidal(z, params, components=self.components, bound=self.bound, limit=self.limit, inverse=True)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"components={self.components}, bound={self.bound}, limit={self.limit}"


class UnconstrainedMonotone(Univariate):
    r"""Map numbers by the integral of a positive network, and by its tangents outside of the domain (UMNN).

    .. math:: z = \beta + \int_0^x g, \qquad g(x) = \exp\Big(v + \sum_k v_k \tanh(s_k (x - c_k))\Big), \qquad
              \log|dz/dx| = \log g(x)

    The exponent is bounded smoothly, so :math:`|\text{ladj}| < 3`. The integral is a fixed Gauss-Legendre sum; the
    network is kept so smooth that 32 nodes leave a relative error of the slope below 2e-6. The inverse is a search.

    Args:
        units: hidden units of the network.
        nodes: nodes of the quadrature.
        bound: half-width of the network's domain, in the units of the data.

    Raises:
        InputError: a setting is not positive.

    References:
        A. Wehenkel, G. Louppe (2019), Unconstrained Monotonic Neural Networks.

    Example:
        >>> import torch
        >>> univariate = UnconstrainedMonotone(units=4)
        >>> univariate.forward_and_ladj(torch.tensor([[0.5, -7.0]]), torch.zeros(1, 2, univariate.n_params))[0]
        tensor([[ 0.5000, -7.0000]])
    """

    def __init__(self, units: int = 8, nodes: int = 32, bound: float = 5.0) -> None:
        super().__init__()
        if units < 1 or nodes < 1 or not bound > 0:
            raise InputError(
                f"UnconstrainedMonotone expects positive numbers, got units={units}, nodes={nodes}, bound={bound}."
            )
        self.units, self.nodes, self.bound, self.n_params = units, nodes, bound, 2 + 3 * units
        self.rule = gauss_legendre(nodes)

    def forward_and_ladj(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return integrated_network(x, params, rule=self.rule, bound=self.bound)

    def inverse_and_ladj(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return integrated_network(z, params, rule=self.rule, bound=self.bound, inverse=True)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"units={self.units}, nodes={self.nodes}, bound={self.bound}"

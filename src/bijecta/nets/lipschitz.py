"""Contractions: perceptrons that bring any two points closer together, and their derivatives."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear as apply_linear

from bijecta.errors import InputError
from bijecta.functional.contraction import concatenated_lipswish, log_spectral_bound
from bijecta.nets.inputs import check_context, check_features
from bijecta.nets.mlp import zero_linear

SHARPNESS = 20.0  # bends within the small range that weights of norm 1 give to the sum of many units


@dataclass(frozen=True)
class Linearised:
    r"""The derivative J of a `LipschitzMLP` at every row of a batch, as a product of matrices and diagonals.

    .. math:: J = W_L \Phi_{L-1} W_{L-1} \cdots \Phi_1 W_1

    A product with J costs as much as an evaluation of the network, without its activations.

    Args:
        weights: the matrices :math:`W_l`, normalised.
        slopes: the diagonals of :math:`\Phi_l`, each (\*B, units); twice as many as rows of :math:`W_l`, where an
            activation is followed by its mirror image.

    Example:
        >>> import torch
        >>> from bijecta.nets.lipschitz import LipschitzMLP
        >>> _, jacobian = LipschitzMLP(2).linearise(torch.ones(5, 2))
        >>> jacobian.apply(torch.ones(5, 2)).shape, jacobian.dense().shape
        (torch.Size([5, 2]), torch.Size([5, 2, 2]))
    """

    weights: Sequence[Tensor]
    slopes: Sequence[Tensor]

    def apply(self, v: Tensor) -> Tensor:
        r"""Multiply: J v of v (\*B, D)."""
        v = apply_linear(v, self.weights[0])
        for slope, weight in zip(self.slopes, self.weights[1:], strict=True):
            v = apply_linear(slope * torch.cat([v, v], -1), weight)
        return v

    def apply_transposed(self, v: Tensor) -> Tensor:
        r"""Multiply by the transposed matrix: J^T v of v (\*B, D)."""
        for slope, weight in zip(reversed(self.slopes), reversed(self.weights[1:]), strict=True):
            upper, lower = (slope * (v @ weight)).chunk(2, -1)
            v = upper + lower
        return v @ self.weights[0]

    def dense(self) -> Tensor:
        r"""Compute the matrix itself, (\*B, D, D), by its products with the D unit vectors."""
        features = self.weights[0].shape[-1]
        basis = torch.eye(features, dtype=self.weights[0].dtype, device=self.weights[0].device)
        by_column = Linearised(self.weights, [slope[..., None, :] for slope in self.slopes])
        return by_column.apply(basis).mT

    def detach(self) -> "Linearised":
        """Cut the derivative off the graph."""
        return Linearised([w.detach() for w in self.weights], [slope.detach() for slope in self.slopes])


class LipschitzMLP(nn.Module):
    r"""Compute a perceptron whose Lipschitz constant in x stays below a bound, for every value of its weights.

    .. math:: h_{l+1} = \frac{1}{1.004}[\phi(a_l), \phi(-a_l)], \quad a_l = \bar W_l h_l + V_l c + b_l, \quad
              \phi(a) = \frac{a\,\sigma(\beta_l a)}{1.1}, \qquad |\bar W_l| \le k^{1/L}

    Each of the L matrices is scaled down to spectral norm :math:`k^{1/L}` where it is larger; the norm is bounded from
    above by `log_spectral_bound`, so the constant k holds at every step of a training, without a state that has to
    follow the weights. The context enters without a limit. The last layer starts at zero.

    Args:
        features: number D of inputs and of outputs.
        context: number C of context features.
        hidden: units of the hidden layers, at least one layer; an activation makes two numbers of each unit.
        coefficient: the bound k on the Lipschitz constant, between 0 and 1.

    Raises:
        InputError: there is no hidden layer, or the coefficient is not between 0 and 1.
        ShapeError: at the call, when data or context have the wrong shape.

    References:
        R. Chen, J. Behrmann, D. Duvenaud, J.-H. Jacobsen (2019), Residual Flows for Invertible Generative Modeling
        (LipSwish). Y. Perugachi-Diaz, J. Tomczak, S. Bhulai (2021), Invertible DenseNets with Concatenated LipSwish.

    Example:
        >>> import torch
        >>> from bijecta.nets import LipschitzMLP
        >>> LipschitzMLP(3, context=2)(torch.ones(5, 3), torch.ones(5, 2)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self, features: int, *, context: int = 0, hidden: Sequence[int] = (64, 64), coefficient: float = 0.97
    ) -> None:
        super().__init__()
        if not hidden or not 0 < coefficient < 1:
            raise InputError(
                "LipschitzMLP expects at least one hidden layer and a coefficient between 0 and 1, "
                f"got hidden={list(hidden)} and coefficient={coefficient}."
            )
        self.features, self.context, self.coefficient = features, context, coefficient
        widths = [features, *(2 * units for units in hidden)]
        layers = [_evenly_stretching(seen, units) for seen, units in zip(widths, hidden, strict=False)]
        self.layers: Sequence[nn.Linear] = nn.ModuleList(layers)  # type: ignore[assignment]
        self.last = zero_linear(widths[-1], features)
        self.context_map = nn.Linear(context, sum(hidden), bias=False) if context else None
        self.log_sharpness = nn.Parameter(torch.full((sum(hidden),), math.log(SHARPNESS)))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Compute the outputs (\*B, D) of x (\*B, D) and a context (\*B, C)."""
        return self.linearise(x, context)[0]

    def linearise(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Linearised]:
        r"""Compute the outputs (\*B, D), and the derivative with respect to x at every row."""
        return self.prepare(x, context).linearise(x)

    def prepare(self, x: Tensor, context: Tensor | None = None) -> "PreparedMLP":
        """Compute all that does not depend on x, once for the many evaluations of an inverse."""
        check_features(x, self.features)
        context = check_context(context, self.context, x.shape[:-1])
        weights = [self._normalised(layer.weight) for layer in (*self.layers, self.last)]
        biases = [layer.bias for layer in self.layers]
        units = [len(bias) for bias in biases]
        if self.context_map is not None and context is not None:
            shifts = self.context_map(context.to(x.dtype)).split(units, -1)
            biases = [bias + shift for bias, shift in zip(biases, shifts, strict=True)]
        return PreparedMLP(weights, [*biases, self.last.bias], self.log_sharpness.exp().split(units))

    def _normalised(self, weight: Tensor) -> Tensor:
        log_limit = math.log(self.coefficient) / (len(self.layers) + 1)
        return weight * (log_limit - log_spectral_bound(weight)).clamp(max=0).exp()


def _evenly_stretching(features: int, out_features: int) -> nn.Linear:
    """Make a linear layer of equal singular values: one that is large would scale all the others down."""
    layer = nn.Linear(features, out_features)
    with torch.no_grad():
        torch.nn.init.orthogonal_(layer.weight)
        layer.bias.uniform_(-1, 1).mul_(2 * layer.weight.norm(dim=-1))  # kinks all over standardised data
    return layer


@dataclass(frozen=True)
class PreparedMLP:
    r"""A `LipschitzMLP` with normalised weights and a fixed context.

    Args:
        weights: the matrices :math:`\bar W_l`.
        biases: :math:`V_l c + b_l`, and the bias of the last layer.
        sharpness: :math:`\beta_l`, one number per hidden unit.

    Example:
        >>> import torch
        >>> from bijecta.nets import LipschitzMLP
        >>> LipschitzMLP(2).prepare(torch.ones(5, 2))(torch.ones(5, 2)).shape
        torch.Size([5, 2])
    """

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    sharpness: Sequence[Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        r"""Compute the outputs (\*B, D) of x (\*B, D)."""
        return self.linearise(x)[0]

    def linearise(self, x: Tensor) -> tuple[Tensor, Linearised]:
        r"""Compute the outputs (\*B, D), and the derivative with respect to x at every row."""
        h, slopes = x, []
        for weight, bias, beta in zip(self.weights[:-1], self.biases[:-1], self.sharpness, strict=True):
            h, slope = concatenated_lipswish(apply_linear(h, weight) + bias, beta)
            slopes.append(slope)
        return apply_linear(h, self.weights[-1]) + self.biases[-1], Linearised(self.weights, slopes)

"""Are the estimates of a residual block free of bias? 100,000 of them against the exact log-determinant.

    python benchmarks/residual_unbiased.py

In 2, 8 and 32 dimensions, with 10 terms of the series that are always there (the default) and with 2, where chance does
most of the work: the mean of the estimates, and of their gradients with respect to x and all weights along the exact
gradient. The exact values come from autograd's Jacobian. z is the distance in standard errors; that of the first terms
alone, without the weights of the further ones, stands beside it.
"""

import torch
from torch import Tensor

from bijecta.bijections import ResidualBlock
from bijecta.nets import LipschitzMLP
from machine import keep, print_table

ESTIMATES, PART = 100_000, 1000


def block(features: int, terms: int) -> ResidualBlock:
    """Make a strong contraction, whose last layer takes back what the first one does: J = -W^T diag(slopes) W."""
    torch.manual_seed(1)
    # The variance of the estimates is finite, for the bound is below the root of `keep`, one half.
    net = LipschitzMLP(features, hidden=(2 * features,), coefficient=0.7).double()
    with torch.no_grad():
        weight = net.layers[0].weight
        net.last.weight.copy_(-torch.cat([weight.T, torch.zeros_like(weight.T)], 1))
    return ResidualBlock(net, estimate=True, exact_terms=terms)


def jacobian(made: ResidualBlock, x: Tensor) -> Tensor:
    """Compute the matrix J of the contraction, with a graph."""
    matrix: Tensor = torch.autograd.functional.jacobian(made.net, x, create_graph=True)
    return matrix


def along(value: Tensor, leaves: list[Tensor], direction: Tensor | None = None) -> Tensor:
    """Return the gradient as one vector, or its part along a direction."""
    gradient = torch.cat([part.flatten() for part in torch.autograd.grad(value, leaves, materialize_grads=True)])
    return gradient if direction is None else gradient @ direction


def estimates(made: ResidualBlock, x: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Draw all estimates, and the gradient of the mean of every thousand of them."""
    values, gradients = [], []
    for _ in range(ESTIMATES // PART):
        ladj = made.forward_and_ladj(x.expand(PART, -1))[1]
        values.append(ladj.detach())
        gradients.append(along(ladj.mean(), [x, *made.parameters()], direction))
    return torch.cat(values), torch.stack(gradients)


def row(features: int, terms: int) -> dict[str, object]:
    """Compare one block with the exact values."""
    made = block(features, terms)
    x = torch.randn(features, dtype=torch.float64).requires_grad_()
    matrix = jacobian(made, x)
    exact = torch.logdet(torch.eye(features) + matrix)
    gradient = along(exact, [x, *made.parameters()])
    values, gradients = estimates(made, x, gradient / gradient.norm())
    powers = [torch.linalg.matrix_power(matrix.detach(), k).trace() for k in range(1, terms + 1)]
    first = sum(-((-1) ** k) * float(trace) / k for k, trace in enumerate(powers, start=1))
    answer = measured(values, float(exact.detach()))
    radius = float(torch.linalg.eigvals(matrix.detach()).abs().max())
    return {
        "features": features,
        "terms": terms,
        "spectral radius": radius,
        **answer,
        "z of the first terms": (first - answer["exact"]) / answer["error"],
        **{f"gradient {name}": value for name, value in measured(gradients, float(gradient.norm())).items()},
    }


def measured(draws: Tensor, exact: float) -> dict[str, float]:
    """Return a mean, its standard error, the exact value, and the distance in standard errors."""
    mean, error = float(draws.mean()), float(draws.std()) / len(draws) ** 0.5
    return {"estimate": mean, "error": error, "exact": exact, "z": (mean - exact) / error}


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows = [row(features, terms) for features in (2, 8, 32) for terms in (10, 2)]
    print_table(rows)
    keep("residual_unbiased", rows)

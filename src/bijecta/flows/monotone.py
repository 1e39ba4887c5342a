"""Recipes of monotone networks and polynomials: one pass for the density, a numerical inverse for samples."""

from collections.abc import Sequence

from bijecta.bijections import Bijection, LULinear, Univariate
from bijecta.bijections.block import BlockAutoregressive
from bijecta.bijections.univariate.bernstein import Bernstein
from bijecta.bijections.univariate.neural import NeuralMonotone, UnconstrainedMonotone
from bijecta.bijections.univariate.sum_of_squares import SumOfSquares
from bijecta.flows.flow import Flow
from bijecta.flows.parts import assemble, autoregressive
from bijecta.flows.registry import recipe


@recipe
def naf(
    features: int,
    *,
    context: int = 0,
    layers: int = 3,
    hidden: Sequence[int] = (64, 64),
    components: int = 8,
    base: str = "normal",
) -> Flow:
    """Build a neural autoregressive flow: logits of mixtures of sigmoids.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        layers: how many of these layers follow each other.
        hidden: widths of the hidden layers of every conditioner.
        components: sigmoids in every mixture.
        base: "normal", "diagonal" (learned mean and spread), "student" (heavy tails) or "mixture".

    Returns:
        The flow.

    References:
        C.-W. Huang, D. Krueger, A. Lacoste, A. Courville (2018), Neural Autoregressive Flows.

    Example:
        >>> from bijecta.flows import naf
        >>> naf(3, layers=1).sample(5).shape
        torch.Size([5, 3])
    """
    return assemble(features, context, _steps(NeuralMonotone(components), features, context, layers, hidden), base)


@recipe
def unaf(
    features: int,
    *,
    context: int = 0,
    layers: int = 3,
    hidden: Sequence[int] = (64, 64),
    units: int = 8,
    nodes: int = 32,
    base: str = "normal",
) -> Flow:
    """Build an unconstrained neural autoregressive flow: integrals of positive networks.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        layers: how many of these layers follow each other.
        hidden: widths of the hidden layers of every conditioner.
        units: hidden units of every integrated network.
        nodes: nodes of the quadrature.
        base: "normal", "diagonal" (learned mean and spread), "student" (heavy tails) or "mixture".

    Returns:
        The flow.

    References:
        A. Wehenkel, G. Louppe (2019), Unconstrained Monotonic Neural Networks.

    Example:
        >>> from bijecta.flows import unaf
        >>> unaf(3, layers=1).sample(5).shape
        torch.Size([5, 3])
    """
    univariate = UnconstrainedMonotone(units, nodes)
    return assemble(features, context, _steps(univariate, features, context, layers, hidden), base)


@recipe
def sos(
    features: int,
    *,
    context: int = 0,
    layers: int = 4,
    hidden: Sequence[int] = (64, 64),
    squares: int = 2,
    degree: int = 4,
    base: str = "normal",
) -> Flow:
    """Build a sum-of-squares polynomial flow.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        layers: how many of these layers follow each other.
        hidden: widths of the hidden layers of every conditioner.
        squares: squared polynomials in every sum.
        degree: their degree.
        base: "normal", "diagonal" (learned mean and spread), "student" (heavy tails) or "mixture".

    Returns:
        The flow.

    References:
        P. Jaini, K. Selby, Y. Yu (2019), Sum-of-Squares Polynomial Flow.

    Example:
        >>> from bijecta.flows import sos
        >>> sos(3, layers=1).sample(5).shape
        torch.Size([5, 3])
    """
    univariate = SumOfSquares(squares, degree)
    return assemble(features, context, _steps(univariate, features, context, layers, hidden), base)


@recipe
def bernstein(
    features: int,
    *,
    context: int = 0,
    layers: int = 4,
    hidden: Sequence[int] = (64, 64),
    degree: int = 16,
    bound: float = 5.0,
    base: str = "normal",
) -> Flow:
    """Build a Bernstein polynomial flow.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        layers: how many of these layers follow each other.
        hidden: widths of the hidden layers of every conditioner.
        degree: degree of every polynomial.
        bound: the polynomials act on [-bound, bound], in standard deviations; outside are their tangents.
        base: "normal", "diagonal" (learned mean and spread), "student" (heavy tails) or "mixture".

    Returns:
        The flow.

    References:
        S. Ramasinghe et al. (2021), Robust normalizing flows using Bernstein-type polynomials.

    Example:
        >>> from bijecta.flows import bernstein
        >>> bernstein(3, layers=1).sample(5).shape
        torch.Size([5, 3])
    """
    univariate = Bernstein(degree, bound)
    return assemble(features, context, _steps(univariate, features, context, layers, hidden), base)


@recipe
def bnaf(
    features: int,
    *,
    context: int = 0,
    layers: int = 3,
    hidden: Sequence[int] = (16, 16),
    base: str = "normal",
) -> Flow:
    """Build a block neural autoregressive flow: networks with a triangular Jacobian, without a conditioner.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        layers: how many of these layers follow each other.
        hidden: units per column in the hidden layers of every network.
        base: "normal", "diagonal" (learned mean and spread), "student" (heavy tails) or "mixture".

    Returns:
        The flow.

    References:
        N. De Cao, I. Titov, W. Aziz (2019), Block Neural Autoregressive Flow.

    Example:
        >>> from bijecta.flows import bnaf
        >>> bnaf(3, layers=1).sample(5).shape
        torch.Size([5, 3])
    """
    backwards = list(range(features))[::-1]
    steps: list[Bijection] = []
    for _ in range(layers):
        steps += [BlockAutoregressive(features, context=context, hidden=hidden), LULinear(features, backwards)]
    return assemble(features, context, steps, base)


def _steps(univariate: Univariate, features: int, context: int, layers: int, hidden: Sequence[int]) -> list[Bijection]:
    """Alternate autoregressive layers and learned linear maps."""
    steps: list[Bijection] = []
    for layer in range(layers):
        steps += [autoregressive(univariate, features, layer, context, hidden), LULinear(features)]
    return steps

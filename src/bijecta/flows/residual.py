"""Recipes of maps that add a correction to the identity: planar, radial, Sylvester, residual networks."""

from collections.abc import Sequence

from bijecta.bijections import ActNorm, Bijection, Planar, Radial, ResidualBlock, Sylvester
from bijecta.flows.flow import Flow
from bijecta.flows.parts import assemble
from bijecta.flows.registry import recipe
from bijecta.nets import LipschitzMLP


@recipe
def planar(
    features: int, *, context: int = 0, layers: int = 32, hidden: Sequence[int] = (64, 64), base: str = "normal"
) -> Flow:
    """Build a planar flow: one hyperbolic tangent per layer, with an inverse, so that it can be fitted to data.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        layers: how many planar maps follow each other.
        hidden: widths of the hidden layers of every network that reads the context.
        base: "normal", "diagonal" (learned mean and spread), "student" (heavy tails) or "mixture".

    Returns:
        The flow.

    References:
        D. Rezende, S. Mohamed (2015), Variational Inference with Normalizing Flows.

    Example:
        >>> from bijecta.flows import planar
        >>> planar(3).sample(5).shape
        torch.Size([5, 3])
    """
    steps = [Planar(features, context=context, hidden=hidden) for _ in range(layers)]
    return assemble(features, context, steps, base)


@recipe
def radial(
    features: int, *, context: int = 0, layers: int = 32, hidden: Sequence[int] = (64, 64), base: str = "normal"
) -> Flow:
    """Build a radial flow: every layer blows space up around a center, or contracts it.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        layers: how many radial maps follow each other.
        hidden: widths of the hidden layers of every network that reads the context.
        base: as in the other recipes.

    Returns:
        The flow.

    References:
        D. Rezende, S. Mohamed (2015), Variational Inference with Normalizing Flows.

    Example:
        >>> from bijecta.flows import radial
        >>> radial(3).sample(5).shape
        torch.Size([5, 3])
    """
    steps = [Radial(features, context=context, hidden=hidden) for _ in range(layers)]
    return assemble(features, context, steps, base)


@recipe
def sylvester(
    features: int,
    *,
    context: int = 0,
    layers: int = 16,
    hidden: Sequence[int] = (64, 64),
    rank: int | None = None,
    base: str = "normal",
) -> Flow:
    """Build a Sylvester flow: several hyperbolic tangents per layer, along orthonormal directions.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        layers: how many Sylvester maps follow each other.
        hidden: widths of the hidden layers of every network that reads the context.
        rank: tangents per layer, at most D (default: D, but at most 16).
        base: as in the other recipes.

    Returns:
        The flow.

    Raises:
        InputError: the rank is larger than the number of columns.

    References:
        R. van den Berg, L. Hasenclever, J. Tomczak, M. Welling (2018), Sylvester Normalizing Flows for Variational
        Inference.

    Example:
        >>> from bijecta.flows import sylvester
        >>> sylvester(3).sample(5).shape
        torch.Size([5, 3])
    """
    rank = min(features, 16) if rank is None else rank
    steps = [Sylvester(features, rank, context=context, hidden=hidden) for _ in range(layers)]
    return assemble(features, context, steps, base)


@recipe
def residual_flow(
    features: int,
    *,
    context: int = 0,
    layers: int = 8,
    hidden: Sequence[int] = (64, 64),
    coefficient: float = 0.97,
    base: str = "normal",
) -> Flow:
    """Build a residual flow: blocks x + g(x) with a contracting network g that sees all columns, ActNorm in between.

    Up to 16 columns log_prob is exact; beyond, it is an unbiased estimate with noise from torch's global generator.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        layers: how many blocks follow each other.
        hidden: units of the hidden layers of every network.
        coefficient: bound on the Lipschitz constant of every network, between 0 and 1.
        base: as in the other recipes.

    Returns:
        The flow.

    Raises:
        InputError: the coefficient is not between 0 and 1.

    References:
        R. Chen, J. Behrmann, D. Duvenaud, J.-H. Jacobsen (2019), Residual Flows for Invertible Generative Modeling.

    Example:
        >>> from bijecta.flows import residual_flow
        >>> residual_flow(3).sample(5).shape
        torch.Size([5, 3])
    """
    steps: list[Bijection] = []
    for _ in range(layers):
        net = LipschitzMLP(features, context=context, hidden=hidden, coefficient=coefficient)
        steps += [ActNorm(features), ResidualBlock(net)]
    return assemble(features, context, [*steps, ActNorm(features)], base)

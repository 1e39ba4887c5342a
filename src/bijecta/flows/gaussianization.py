"""The recipe of a Gaussianization flow."""

from collections.abc import Sequence

from bijecta.bijections import Bijection, Gaussianise, Householder
from bijecta.flows.flow import Flow
from bijecta.flows.parts import assemble
from bijecta.flows.registry import recipe


@recipe
def gaussianization(
    features: int,
    *,
    context: int = 0,
    layers: int = 8,
    hidden: Sequence[int] = (64, 64),
    components: int = 8,
    base: str = "normal",
) -> Flow:
    """Build a Gaussianization flow: rotations, and every feature made normal by itself.

    Features meet in the rotations only, which are products of mirrors and the same for every context: many small layers
    do what a network does elsewhere.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        layers: how many of these layers follow each other.
        hidden: widths of the hidden layers of every network that reads the context.
        components: normals in the mixture of every feature.
        base: "normal", "diagonal" (learned mean and spread), "student" (heavy tails) or "mixture".

    Returns:
        The flow.

    References:
        C. Meng, Y. Song, J. Song, S. Ermon (2020), Gaussianization Flows.

    Example:
        >>> from bijecta.flows import gaussianization
        >>> gaussianization(3, layers=2).sample(5).shape
        torch.Size([5, 3])
    """
    steps: list[Bijection] = []
    for _ in range(layers):
        # Before the univariate maps: a rotation right before a normal base would change no density.
        steps += [Householder(features)] if features > 1 else []
        steps.append(Gaussianise(features, components, context=context, hidden=hidden))
    return assemble(features, context, steps, base)

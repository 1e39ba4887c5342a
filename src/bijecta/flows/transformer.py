"""Recipes of transformer flows."""

from collections.abc import Callable, Sequence

from bijecta.bijections import (
    AffineUnivariate,
    Bijection,
    Permute,
    RationalQuadraticSpline,
    TokenAutoregressive,
    Univariate,
)
from bijecta.errors import InputError
from bijecta.flows.flow import Flow
from bijecta.flows.parts import assemble, choose
from bijecta.flows.registry import recipe
from bijecta.nets import CausalTransformer

UPDATES: dict[str, Callable[[], Univariate]] = {
    "spline": lambda: RationalQuadraticSpline(8, 5.0),
    "affine": AffineUnivariate,
}


@recipe
def transformer_flow(
    features: int,
    *,
    context: int = 0,
    layers: int = 4,
    hidden: Sequence[int] = (64,),
    width: int = 32,
    token: int = 1,
    update: str = "spline",
    base: str = "normal",
) -> Flow:
    """Build a transformer flow: autoregressive maps whose parameters come from causal attention.

    Every second layer sees the features in reverse. The density takes one pass; a sample is made token by token. With
    affine updates this is the flow of the paper, made for many tokens; with few columns splines need fewer layers.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        layers: how many of these layers follow each other.
        hidden: units of the feed-forward network of every attention layer; as many attention layers as entries.
        width: numbers that stand for a token inside of the network; 16 of them make one attention head.
        token: neighbouring columns that make one token, a divisor of D.
        update: "spline" or "affine", the map of every number.
        base: "normal", "diagonal" (learned mean and spread), "student" (heavy tails) or "mixture".

    Returns:
        The flow.

    Raises:
        InputError: the tokens do not fill the columns.

    References:
        S. Zhai et al. (2024), Normalizing Flows are Capable Generative Models.

    Example:
        >>> from bijecta.flows import transformer_flow
        >>> transformer_flow(3, layers=2).sample(5).shape
        torch.Size([5, 3])
    """
    if features % token:
        raise InputError(f"transformer_flow expects tokens that fill {features} columns, got {token} per token.")
    steps = token_layers(features, token, update, context=context, layers=layers, hidden=hidden, width=width)
    return assemble(features, context, steps, base)


def token_layers(
    features: int, token: int, update: str, *, context: int, layers: int, hidden: Sequence[int], width: int
) -> list[Bijection]:
    """Make autoregressive maps of tokens, every second one of which sees the features in reverse."""
    univariate = choose("update", update, UPDATES)()
    outputs = token * univariate.n_params
    heads = width // 16 if width % 16 == 0 else 1
    steps: list[Bijection] = []
    for layer in range(layers):
        # No reversal after the last block: a base has no order.
        steps += [Permute(range(features)[::-1])] if layer and features > 1 else []
        net = CausalTransformer(
            features // token, token, outputs, context=context, width=width, heads=heads, hidden=hidden
        )
        steps.append(TokenAutoregressive(univariate, net))
    return steps

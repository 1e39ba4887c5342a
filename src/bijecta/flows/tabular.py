"""The recipe of tables: every column according to its kind."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bijecta.bijections import Bijection, Chain, Indexed, Log, Logit, Regress, Wrap
from bijecta.data.schema import Column, Schema
from bijecta.distributions import CategoricalHead, CountHead, Dequantised, Discrete, Distribution, Head, Mixed
from bijecta.errors import InputError
from bijecta.flows.automatic import AUTO, choose_recipe
from bijecta.flows.flow import Flow
from bijecta.flows.parts import choose
from bijecta.flows.registry import build, recipe

MOST_LEVELS = 64  # whole numbers in a range up to this one get a probability each
DISCRETE = {"exact": ("category", "integer"), "dequantised": ("category",)}


@recipe
def table(
    schema: Mapping[str, Any],
    *,
    context: int = 0,
    recipe: str = "nsf",
    arguments: Mapping[str, Any] | None = None,
    integers: str = "exact",
) -> Distribution:
    r"""Build a flow of a table whose columns have kinds: real, positive, interval, periodic, integer, category.

    .. math:: \log p(x \mid c) = \sum_k \log P(d_k \mid d_1, \dots, d_{k-1}, c) + \log p(y \mid d, c)

    Categories and integers d get exact probabilities. The other columns y pass through the exact map of their kind
    (log, logit, wrap) and a flow that has d as context. Densities are per unit of the columns, samples in their
    support; categories are their position among the labels.

    Args:
        schema: the columns, as `Schema.to_json` gives them.
        context: number of context features.
        recipe: name of the recipe for the continuous columns together, or "auto": `choose_recipe` for many rows.
            Periodic columns take circular_nsf.
        arguments: further arguments of that recipe; its ``hidden`` holds for the discrete columns too.
        integers: "exact", or "dequantised": among the continuous columns, with uniform noise, which makes log_prob
            a bound.

    Returns:
        A `Mixed` distribution; a `Flow` where nothing is discrete (`Dequantised` with noisy integers), a `Discrete`
        distribution where nothing is continuous.

    Raises:
        InputError: a category without labels; or periodic columns with a recipe that has no periodic form.

    Example:
        >>> from bijecta.data import Column, Schema
        >>> from bijecta.flows import table
        >>> columns = Schema((Column("mass", "positive"), Column("sort", "category", categories=("up", "down"))))
        >>> bool((table(columns.to_json()).sample(100)[:, 0] > 0).all())
        True
    """
    if recipe == AUTO:
        chosen = choose_recipe(schema, None, context=context)
        options = {**chosen.arguments, **(arguments or {})}
        return table(schema, context=context, recipe=chosen.recipe, arguments=options, integers=integers)
    columns = Schema.from_json(dict(schema)).columns
    kinds = choose("integers", integers, DISCRETE)
    discrete = [number for number, column in enumerate(columns) if column.kind in kinds]
    others = [number for number in range(len(columns)) if number not in discrete]
    options = dict(arguments or {})
    if not discrete:
        return _continuous(columns, context, recipe, options)
    hidden = options.get("hidden", (64, 64))
    heads = Discrete([column_head(columns[number]) for number in discrete], context=context, hidden=hidden)
    if not others:
        return heads
    given = heads.width + context
    return Mixed(
        heads, _continuous([columns[n] for n in others], given, recipe, options, predict=True), (discrete, others)
    )


def _continuous(
    columns: Sequence[Column], context: int, recipe: str, options: dict[str, Any], *, predict: bool = False
) -> Distribution:
    """Put the maps of the columns before a flow, and noise on those of integers.

    With ``predict`` the context is of order one already, and what it predicts linearly is taken away first.
    """
    circular = [column.kind == "periodic" for column in columns]
    if any(circular):
        recipe = _circular_recipe(recipe)
        options["circular"] = circular
    flow = build(recipe, {"features": len(columns), "context": context, **options})
    if not isinstance(flow, Flow):
        raise InputError(f"The recipe {recipe} does not build a Flow of columns; choose another one.")
    maps = [
        Indexed(change, [number], len(columns))
        for number, column in enumerate(columns)
        if (change := column_map(column)) is not None
    ]
    numbers = [number for number, angle in enumerate(circular) if not angle]
    if predict and numbers:
        maps.append(Indexed(Regress(len(numbers), context), numbers, len(columns)))
    whole = Flow(
        Chain([*maps, flow.bijection]),
        flow.base,
        event_shape=(len(columns),),
        context=context,
        embedding=None if predict else flow.embedding,
    )
    integers = [number for number, column in enumerate(columns) if column.kind == "integer"]
    return Dequantised(whole, integers) if integers else whole


def column_head(column: Column) -> Head:
    """Choose the distribution of a discrete column: a probability for each of a few values, or a mixture of bins."""
    if column.kind == "category":
        if column.categories is None:
            raise InputError(f"The category column {column.name!r} has no labels. Let infer_schema list them.")
        return CategoricalHead(len(column.categories))
    if column.low is None or column.high is None or column.high - column.low >= MOST_LEVELS:
        return CountHead(column.low, column.high)
    return CategoricalHead(int(column.high - column.low) + 1, column.low)


def column_map(column: Column) -> Bijection | None:
    """Choose the exact map of a continuous column to the real line (or the circle); None for the identity."""
    if column.kind == "positive":
        return Log(0.0 if column.low is None else column.low)
    if column.kind in ("interval", "periodic"):
        if column.low is None or column.high is None:
            raise InputError(f"The {column.kind} column {column.name!r} needs its low and high end.")
        return (Logit if column.kind == "interval" else Wrap)(column.low, column.high)
    return None


def _circular_recipe(name: str) -> str:
    if name not in ("nsf", "circular_nsf"):
        raise InputError(f"The recipe {name} has no form for periodic columns. Use nsf, or declare the column as real.")
    return "circular_nsf"


def inner_flow(distribution: Distribution) -> Flow | None:
    """Return the flow of the continuous columns inside a distribution of a table.

    Args:
        distribution: a `Flow`, or one inside `Dequantised` or `Mixed`.

    Returns:
        The flow; None where there is none, as in a table of categories alone.

    Example:
        >>> from bijecta.distributions import Dequantised
        >>> from bijecta.flows import inner_flow, realnvp
        >>> flow = realnvp(2)
        >>> inner_flow(Dequantised(flow, columns=[1])) is flow
        True
    """
    if isinstance(distribution, Dequantised):
        return inner_flow(distribution.distribution)
    if isinstance(distribution, Mixed):
        return inner_flow(distribution.continuous)
    return distribution if isinstance(distribution, Flow) else None


def inner_rows(
    distribution: Distribution, x: Tensor, context: Tensor | None = None, *, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor | None]:
    r"""Return rows as the `inner_flow` sees them: with noise on integers, without the discrete columns.

    Args:
        distribution: a `Flow`, or one inside `Dequantised` or `Mixed`.
        x: rows (\*B, D).
        context: of shape (\*B, C).
        generator: of the noise.

    Returns:
        The rows and the contexts that the flow takes.

    Example:
        >>> import torch
        >>> from bijecta.flows import inner_rows, table
        >>> columns = [{"name": "n", "kind": "integer"}, {"name": "x", "kind": "real"}]
        >>> rows, context = inner_rows(table({"columns": columns}), torch.tensor([[3.0, 0.5]]))
        >>> rows, context
        (tensor([[0.5000]]), tensor([[3.]]))
    """
    if isinstance(distribution, Dequantised):
        return inner_rows(distribution.distribution, distribution.noisy(x, generator), context, generator=generator)
    if isinstance(distribution, Mixed):
        _, x, context = distribution.split(x, context)
        return inner_rows(distribution.continuous, x, context, generator=generator)
    return x, context

"""Say where a loss became NaN or infinite, and what to try."""

import torch
from torch import Tensor

from bijecta.bijections import Bijection, Chain
from bijecta.distributions import Distribution
from bijecta.flows import inner_flow, inner_rows
from bijecta.training.rows import Rows


@torch.no_grad()
def explain_divergence(flow: Distribution, rows: Rows, learning_rate: float) -> str:
    """Find the first layer and the rows that stop being finite, and the rows that are far from the others.

    Args:
        flow: the flow with the weights that gave the loss.
        rows: the batch that gave it.
        learning_rate: of the step.

    Returns:
        Two or three sentences.
    """
    where = _bad_parameters(flow) or _first_bad_layer(flow, rows) or "No single layer stands out."
    return f"{where}{_outliers(rows)} The learning rate was {learning_rate:.2g}; try {learning_rate / 10:.1g}."


def _bad_parameters(flow: Distribution) -> str | None:
    for name, parameter in flow.named_parameters():
        if not bool(parameter.isfinite().all()):
            return f"The weights {name} are not finite: an earlier step was too large."
    return None


def _first_bad_layer(flow: Distribution, rows: Rows) -> str | None:
    inner = inner_flow(flow)
    if inner is None or rows.x is None:
        return None
    x, context = inner_rows(flow, rows.x, rows.context)
    context = context if inner.embedding is None or context is None else inner.embedding(context)
    for number, layer in enumerate(flat_layers(inner.bijection)):
        x, ladj = layer.forward_and_ladj(x, context)
        bad = ~(x.flatten(1).isfinite().all(1) & ladj.isfinite())
        if bool(bad.any()):
            return f"Layer {number} ({_title(layer)}) stops being finite for {_named(rows, bad)}."
    bad = ~inner.base.log_prob(x, context).isfinite()
    return f"The base density is not finite for {_named(rows, bad)}." if bool(bad.any()) else None


def flat_layers(bijection: Bijection) -> list[Bijection]:
    """List the layers of nested chains in the order of the data."""
    if not isinstance(bijection, Chain):
        return [bijection]
    return [inner for layer in bijection for inner in flat_layers(layer)]


def _title(layer: Bijection) -> str:
    inner = next((m for m in layer.children() if isinstance(m, Bijection)), None)
    name = type(layer).__name__
    return f"{name} of {_title(inner)}" if inner is not None else name


def _outliers(rows: Rows) -> str:
    if rows.x is None:
        return ""
    x = rows.x.flatten(1).double()
    middle = x.median(0).values
    spread = (x - middle).abs().median(0).values.clamp_min(1e-300) * 1.4826
    far = ((x - middle).abs() > 12 * spread).any(1)
    return f" Far from the rest (more than 12 robust sigma): {_named(rows, far)}." if bool(far.any()) else ""


def _named(rows: Rows, mask: Tensor) -> str:
    numbers = rows.number[mask].tolist()
    return f"{len(numbers)} of {len(rows)} rows of the batch, data rows {', '.join(map(str, numbers[:5]))}"

"""The flow under check, with everything that the measurements share: copies, rows, scales, the domain of the data."""

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from bijecta.bijections import Bijection, Chain, Indexed, Log, Logit, Wrap
from bijecta.distributions import Distribution, Mixed
from bijecta.errors import InputError, ShapeError
from bijecta.flows import Flow, inner_flow, inner_rows


@dataclass(frozen=True)
class Subject:
    r"""Hold a flow under check.

    Args:
        whole: what the caller passed, unchanged (a `Dequantised` or `Mixed` one, for example).
        flow: a copy of the flow itself, in its own dtype, in evaluation mode.
        precise: the same in float64.
        x: rows of data (N, \*event), in the dtype of ``flow``.
        context: their contexts (N, C), or None.
        seed: of everything random.
    """

    whole: Distribution
    flow: Flow
    precise: Flow
    x: Tensor
    context: Tensor | None
    seed: int

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one event."""
        return tuple(self.x.shape[1:])

    @property
    def dimensions(self) -> int:
        """Number D of coordinates of one event."""
        return math.prod(self.event_shape)

    @property
    def scale(self) -> Tensor:
        r"""Spread of every coordinate (\*event), in the units of the data, half the width of the central 68 %."""
        return spread(self.x.double())

    def generator(self, stream: int) -> torch.Generator:
        """Start a source of randomness of its own for each measurement, so that none depends on the others."""
        return torch.Generator(self.x.device).manual_seed(1000 * self.seed + stream)

    def rows(self, count: int) -> tuple[Tensor, Tensor | None]:
        """Return the first rows in float64, with their contexts."""
        context = None if self.context is None else self.context[:count].double()
        return self.x[:count].double(), context

    def one_context(self, count: int) -> Tensor | None:
        """Repeat the first context, for measurements of one conditional density."""
        return None if self.context is None else self.context[:1].expand(count, -1)


def make_subject(flow: Distribution, x: Tensor | None, context: Tensor | None, *, samples: int, seed: int) -> Subject:
    """Copy the flow and find rows of data and contexts to measure it on."""
    inner = inner_flow(flow)
    if inner is None:
        raise InputError(f"check expects a Flow, or a table with continuous columns; got {type(flow).__name__}.")
    own = deepcopy(inner).eval()
    like = next((t for t in own.state_dict().values() if t.is_floating_point()), torch.zeros(()))
    generator = torch.Generator(like.device).manual_seed(1000 * seed)
    contexts = _contexts(flow, context, samples if x is None else len(x), like, generator)
    if x is None:
        # A continuous flow can be sampled by itself; one that is given discrete columns needs these first.
        whole = flow if isinstance(flow, Mixed) else own
        rows, contexts = inner_rows(whole, draw(whole, samples, contexts, generator), contexts, generator=generator)
    else:
        if context is not None and len(context) not in (1, len(x)):
            raise ShapeError(f"check expects one context per row, or one for all {len(x)}; got {len(context)}.")
        rows, contexts = inner_rows(flow, x.to(like), contexts, generator=generator)
    if own.event_shape is not None and tuple(rows.shape[1:]) != own.event_shape:
        raise ShapeError(f"check expects rows of shape (N, *{own.event_shape}), got {tuple(rows.shape)}.")
    if len(rows) < 2:
        raise InputError(f"check needs at least 2 rows to measure a spread, got {len(rows)}. 1000 are enough.")
    # Evenly spread rows: the first ones of a sorted file would be special.
    chosen = torch.linspace(0, len(rows) - 1, min(samples, len(rows)), device=rows.device).round().long()
    contexts = None if contexts is None else contexts[chosen]
    return Subject(flow, own, deepcopy(own).double(), rows[chosen].detach(), contexts, seed)


def _contexts(
    flow: Distribution, context: Tensor | None, count: int, like: Tensor, generator: torch.Generator
) -> Tensor | None:
    """Use the given contexts, in turn, or standard normal ones."""
    if not flow.context:
        return None
    if context is None:
        return torch.randn(count, flow.context, generator=generator, dtype=like.dtype, device=like.device)
    rows = context.to(like).reshape(-1, context.shape[-1])
    return rows[torch.arange(count, device=like.device) % len(rows)]


@torch.no_grad()
def draw(flow: Distribution, count: int, context: Tensor | None, generator: torch.Generator) -> Tensor:
    r"""Draw samples (count, \*event), one for each context where there are contexts."""
    return flow.sample(count, generator=generator) if context is None else flow.sample((), context, generator=generator)


@torch.no_grad()
def draw_latent(flow: Flow, count: int, context: Tensor | None, generator: torch.Generator) -> Tensor:
    """Draw from the base, one for each context where there are contexts."""
    embedded = embed(flow, context)
    return flow.base.sample(count if embedded is None else (), embedded, generator=generator)


def embed(flow: Flow, context: Tensor | None) -> Tensor | None:
    """Return what the bijection sees of a context."""
    if context is None or flow.embedding is None:
        return context
    embedded: Tensor = flow.embedding(context)
    return embedded


def spread(rows: Tensor) -> Tensor:
    """Return half the width of the central 68 % of every coordinate: finite for heavy tails too, never zero."""
    width = (torch.quantile(rows, 0.84, dim=0) - torch.quantile(rows, 0.16, dim=0)) / 2
    return width.clamp_min(1e-12 * rows.abs().amax(0).clamp_min(1e-12))


def domain(flow: Flow, dimensions: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the low end, the high end and the period (NaN: none) of every column, from the maps that declare them."""
    low, high, period = (
        torch.full((dimensions,), value, dtype=torch.float64) for value in (-math.inf, math.inf, math.nan)
    )
    for change, columns in _column_maps(flow.bijection, dimensions):
        if isinstance(change, Log):
            low[columns] = change.lower
        elif isinstance(change, Logit | Wrap):
            low[columns], high[columns] = change.low, change.high
        if isinstance(change, Wrap):
            period[columns] = change.high - change.low
    return low, high, period


def undo_column_maps(flow: Flow, rows: Tensor) -> Tensor:
    """Map rows (N, D) of real numbers back into the domain of the data, through the maps that begin the flow."""
    for change, columns in reversed(list(_column_maps(flow.bijection, rows.shape[-1]))):
        index = torch.tensor(columns, device=rows.device)
        rows = rows.index_copy(-1, index, change.inverse(rows.index_select(-1, index)))
    return rows


def _column_maps(bijection: Bijection, dimensions: int) -> Iterator[tuple[Bijection, list[int]]]:
    """Walk over the maps of single columns with which a flow begins."""
    for layer in bijection if isinstance(bijection, Chain) else [bijection]:
        inner = layer.bijection if isinstance(layer, Indexed) else layer
        columns = layer.index.tolist() if isinstance(layer, Indexed) else list(range(dimensions))
        if not isinstance(inner, Log | Logit | Wrap):
            return
        yield inner, columns

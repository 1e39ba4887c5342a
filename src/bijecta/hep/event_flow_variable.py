"""The recipe of events with particles in varying number: what is present first, then the density of what is."""

import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bijecta.bijections import Bijection, Chain, Coupling, Indexed
from bijecta.bijections.base import check_features
from bijecta.distributions import CategoricalHead, Discrete, Distribution
from bijecta.distributions.base import SampleShape
from bijecta.errors import FileFormatError, InputError
from bijecta.flows import Flow
from bijecta.flows.parts import choose
from bijecta.flows.registry import recipe
from bijecta.hep.box_spline import BoxSpline
from bijecta.hep.coordinates_objects import ObjectCoordinates
from bijecta.hep.coordinates_patterns import Patterns
from bijecta.hep.coordinates_presence import IfPresent, Layout, PresentBase, PresentNet, TurnIfPresent
from bijecta.hep.event_flow import STARTS, ConditionFeatures, KeepInBox, base_of, binary_mask
from bijecta.nets import MLP
from bijecta.nets.inputs import check_context

_LOG_AT_ZERO = {
    "box": -math.log(2.0),
    "angle": -math.log(2.0 * math.pi),
    "turn": -math.log(2.0 * math.pi),
    "real": -0.5 * math.log(2.0 * math.pi),
}


@recipe
def variable_event_flow(
    coordinates: str,
    *,
    layers: int = 6,
    hidden: Sequence[int] = (64, 64),
    bins: int = 16,
    activation: str = "relu",
    start: str = "moments",
) -> "PatternFlow":
    r"""Build a density of events with particles in varying number, columns at limits, and whole numbers.

    .. math:: p(x \mid c) = P(k \mid c)\; \prod_j P(d_j \mid d_{<j}, k, c)\; p(y_k \mid k, d, c)

    The pattern k says how many particles there are and which columns are at a limit; d are the labels and whole
    numbers; y_k are the coordinates that are present under k. Heads give exact probabilities to k and d. One flow
    serves all patterns: a column that is absent passes every layer as zero, is seen by no network and counts in no
    density, so what is left is the exact density of the present ones, and patterns learn from each other. The whole is
    one density per GeV and radian of what is present and per value of what is counted; it sums and integrates to one.

    Args:
        coordinates: the JSON text of `ObjectCoordinates`.
        layers: number of coupling layers.
        hidden: widths of the hidden layers of every network.
        bins: bins of every spline.
        activation: as in `event_flow`.
        start: as in `event_flow`.

    Returns:
        The distribution of rows that `ObjectCoordinates.rows` gives.

    Raises:
        InputError: a text that holds no coordinates, or an unknown start.

    Reference:
        Verheyen (2022), "Event generation and density estimation with surjective normalizing flows".

    Example:
        >>> from bijecta.hep import EventSchema, VariableParticles, sample_events
        >>> jets = EventSchema((), (VariableParticles("jet", 0, 0.0, most=2),))
        >>> flow = variable_event_flow(json.dumps(ObjectCoordinates(jets, pt_min={"jet": 20.0}).to_json()), layers=1)
        >>> events = sample_events(flow, 50, seed=0)
        >>> bool((events.column("jet1.pt") >= events.column("jet2.pt")).all())
        True
    """
    chosen = _read(coordinates)
    layout = Layout(chosen.context, len(chosen.continuous))
    patterns = chosen.patterns()
    discrete = Discrete(
        [CategoricalHead(len(patterns.states)), *chosen.heads()], context=chosen.context, hidden=tuple(hidden)
    )
    embedding = PatternFeatures(chosen, patterns, discrete.width)
    steps = [*_maps(chosen, patterns, layout), *_starts(chosen.kinds, patterns, layout, choose("start", start, STARTS))]
    net = partial(MLP, context=layout.features + embedding.more, hidden=hidden, activation=activation)
    for layer in range(layers):
        steps += _coupling(chosen.kinds, layer, bins, layout, net)
    base = PresentBase(base_of(chosen.kinds), [_LOG_AT_ZERO[kind] for kind in chosen.kinds], layout)
    flow = Flow(
        Chain(steps),
        base,
        event_shape=(layout.features,),
        context=discrete.width + layout.conditions,
        embedding=embedding,
    )
    return PatternFlow(patterns, discrete, flow, counts=len(chosen.schema.variable))


class PatternFlow(Distribution):
    r"""Draw what is present, then labels and whole numbers, then the columns that are present.

    .. math:: \log p(x \mid c) = \log P(k, d \mid c) + \log p(y_k \mid k, d, c)

    Rows are [counts | labels and whole numbers | continuous columns], with what is absent at zero and what is at a
    limit there.

    Args:
        patterns: what may be present.
        discrete: the distribution of the number of the pattern and of the labels and whole numbers.
        flow: that of the continuous columns. Its context are the numbers as which ``discrete`` shows a row, then the
            conditions.
        counts: the number G of columns of counts.

    Reference:
        Verheyen (2022), "Event generation and density estimation with surjective normalizing flows".
    """

    states: Tensor
    initialised: Tensor

    def __init__(self, patterns: Patterns, discrete: Discrete, flow: Flow, *, counts: int) -> None:
        super().__init__()
        self.discrete, self.flow, self.counts = discrete, flow, counts
        self.context = discrete.context
        self.numbers = len(discrete.heads) - 1
        self.event_shape = (counts + self.numbers + patterns.flags.shape[-1],)
        self.recipe: dict[str, Any] | None = None
        for name, table in patterns._asdict().items():
            self.register_buffer(name, table, persistent=False)
        self.register_buffer("initialised", torch.tensor(False))  # noqa: FBT003 (a value, not a flag)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        discrete, continuous, given = self.split(x, context)
        return self.discrete.log_prob(discrete, context) + self.flow.log_prob(continuous, given)

    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        discrete = self.discrete.sample(shape, context, generator=generator)
        continuous = self.flow.sample((), self._given(discrete, context), generator=generator)
        counts = self.states[discrete[..., 0].long(), : self.counts].to(continuous.dtype)
        return torch.cat([counts, discrete[..., 1:], continuous], -1)

    def split(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        r"""Return number of the pattern and whole numbers of rows (\*B, D), the rest, and the context of the rest."""
        check_features(x, self.event_shape[0] if self.event_shape else 0)
        counts, numbers, continuous = x.tensor_split((self.counts, self.counts + self.numbers), -1)
        patterns = Patterns(*(self.get_buffer(name) for name in Patterns._fields))
        pattern = patterns.index_of(counts, continuous)
        discrete = torch.cat([pattern.unsqueeze(-1), numbers], -1)
        return discrete, continuous, self._given(discrete, context)

    def _given(self, discrete: Tensor, context: Tensor | None) -> Tensor:
        context = check_context(context, self.context, discrete.shape[:-1])
        shown = self.discrete.embed(discrete)
        return shown if context is None else torch.cat([shown, context.to(shown.dtype)], -1)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        if self.initialised:
            return
        self.initialised.fill_(True)  # noqa: FBT003
        # First the discrete part: it measures the scales with which the flow sees its columns.
        discrete, _, _ = self.split(x, context)
        unknown = int((discrete[..., 0] == len(self.states)).sum())
        if unknown:
            raise InputError(
                f"{unknown} of {discrete[..., 0].numel()} rows have more particles than the coordinates allow, or a "
                "number of them that is not whole. Raise `most` in the schema."
            )
        self.discrete.initialise(discrete, context)
        if isinstance(self.flow.embedding, PatternFeatures):
            self.flow.embedding.initialise(context)
        _, continuous, given = self.split(x, context)
        self.flow.initialise(continuous, given)


class PatternFeatures(nn.Module):
    """Compute what the maps and networks of a flow see: conditions, flags, values at rest, and features.

    Args:
        coordinates: which conditions there are.
        patterns: what may be present.
        discrete: the width of what stands before the conditions: the pattern as zeros and a one, and the other numbers.
    """

    table: Tensor

    def __init__(self, coordinates: ObjectCoordinates, patterns: Patterns, discrete: int) -> None:
        super().__init__()
        self.discrete = discrete
        self.features = ConditionFeatures(coordinates) if coordinates.context else None
        self.more = discrete + (0 if self.features is None else self.features.width)
        self.register_buffer("table", torch.cat([patterns.flags, patterns.rest], -1), persistent=False)

    def initialise(self, context: Tensor | None) -> None:
        r"""Measure mean and spread of conditions (\*B, C)."""
        if context is not None and self.features is not None:
            self.features.initialise(context)

    def forward(self, given: Tensor) -> Tensor:
        r"""Return [conditions | flags | rest | discrete numbers | features] of [discrete numbers | conditions]."""
        shown, conditions = given[..., : self.discrete], given[..., self.discrete :]
        presence = shown[..., : len(self.table)] @ self.table
        features = [] if self.features is None else [self.features(conditions)]
        return torch.cat([conditions, presence, shown, *features], -1)


def _read(text: str) -> ObjectCoordinates:
    try:
        return ObjectCoordinates.from_json(json.loads(text))
    except (ValueError, TypeError, FileFormatError) as error:
        raise InputError(f"variable_event_flow expects the JSON text of ObjectCoordinates: {error}") from error


def _maps(chosen: ObjectCoordinates, patterns: Patterns, layout: Layout) -> list[Bijection]:
    """Place the maps of the coordinates: plainly for columns that are always present."""
    places = {name: i for i, name in enumerate(chosen.continuous)}
    steps = [(change, [places[name] for name in names]) for change, names in chosen.steps()]
    return [_placed(change, columns, patterns, layout) for change, columns in steps]


def _starts(
    kinds: Sequence[str], patterns: Patterns, layout: Layout, scaled: Callable[[int], Bijection]
) -> list[Bijection]:
    box, real = ([column for column, kind in enumerate(kinds) if kind == wanted] for wanted in ("box", "real"))
    steps: list[Bijection] = [Indexed(KeepInBox(), box, len(kinds))] if box else []
    return [*steps, *(_placed(scaled(1), [column], patterns, layout) for column in real)]


def _placed(change: Bijection, columns: list[int], patterns: Patterns, layout: Layout) -> Bijection:
    if bool((patterns.flags[:, columns[0]] > 0.0).all()):
        return Indexed(change, columns, layout.features)
    return IfPresent(change, columns, layout)


def _coupling(kinds: Sequence[str], layer: int, bins: int, layout: Layout, net: Callable[..., MLP]) -> list[Bijection]:
    """Couple half of the learned columns to the others; the azimuth of the event takes no part."""
    learned = [column for column, kind in enumerate(kinds) if kind != "turn"]
    halves = dict(zip(learned, binary_mask(len(learned), layer), strict=True))
    mask = [halves.get(column, False) for column in range(len(kinds))]
    changed = [column for column in learned if mask[column]]
    kept = [column for column in range(len(kinds)) if not mask[column]]
    spline = BoxSpline([kinds[column] for column in changed], bins)
    circular = [kinds[column] in ("angle", "turn") for column in kept]
    params = net(len(kept), len(changed) * spline.n_params, circular=circular)
    turn = [column for column, kind in enumerate(kinds) if kind == "turn"]
    step: list[Bijection] = [Coupling(spline, mask, PresentNet(params, kept, changed, layout, turn))]
    angles = [column for column, kind in enumerate(kinds) if kind == "angle"]
    return [*step, *([TurnIfPresent(angles, layout)] if angles else [])]

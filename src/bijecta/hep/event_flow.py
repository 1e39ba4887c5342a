"""The recipe of collision events: exact coordinates, splines on their own supports, a uniform base."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from bijecta.bijections import Bijection, Chain, Coupling, Indexed, Standardise, Turn
from bijecta.distributions import CircularUniform, Distribution, Normal, Product, UniformBox
from bijecta.errors import FileFormatError, InputError
from bijecta.flows import Flow
from bijecta.flows.parts import choose
from bijecta.flows.registry import recipe
from bijecta.hep.box_spline import BoxSpline
from bijecta.hep.coordinates import EventCoordinates
from bijecta.hep.coordinates_context import context_of
from bijecta.hep.coordinates_objects import ObjectCoordinates
from bijecta.hep.coordinates_plain import PlainCoordinates
from bijecta.hep.coordinates_quantile import QuantileStart
from bijecta.hep.events import Events
from bijecta.nets import MLP, ContextScaler

Coordinates: TypeAlias = EventCoordinates | ObjectCoordinates | PlainCoordinates

_KINDS: dict[str, type[Coordinates]] = {
    "bijecta.hep:event_flow": EventCoordinates,
    "bijecta.hep:variable_event_flow": ObjectCoordinates,
    "bijecta.hep:plain_event_flow": PlainCoordinates,
}
STARTS: dict[str, Callable[[int], Bijection]] = {"moments": Standardise, "quantiles": QuantileStart}
_EDGE = 1e-5  # how far rounding in float32 may carry a coordinate over the end of its box


@recipe
def event_flow(
    coordinates: str,
    *,
    layers: int = 6,
    hidden: Sequence[int] = (64, 64),
    bins: int = 16,
    activation: str = "relu",
    use_condition: bool = True,
    start: str = "moments",
) -> Flow:
    r"""Build a flow of collision events on their exact supports.

    Angles stay on circles and bounded coordinates in their intervals in every layer, with uniform bases, so densities
    end where physics ends: no event comes out that energy and momentum forbid, and weights stay bounded. The azimuth of
    the event as a whole is uniform, which is exact for beams that are not polarised: turning an event about the beam
    changes nothing. Networks see the condition scaled, and how far it is from a resonance.

    Args:
        coordinates: the JSON text of `EventCoordinates`.
        layers: number of coupling layers; at least 2 log₂ of the columns lets each depend on every other.
        hidden: widths of the hidden layers of every network.
        bins: bins of every spline.
        activation: of the networks: "relu", "tanh", "silu", "gelu" or "elu".
        use_condition: False builds a model that ignores the condition, to compare with.
        start: what columns without ends begin with: "moments", scaled by their mean and spread, or "quantiles", made
            roughly normal by a smooth map.

    Returns:
        The flow of rows that `EventCoordinates.rows` gives, with densities per GeV and radian.

    Raises:
        InputError: a text that holds no coordinates, or an unknown start.

    Reference:
        Gao et al. (2020), "Event generation with normalizing flows"; Rezende et al. (2020), "Normalizing flows on tori
        and spheres".

    Example:
        >>> import json
        >>> from bijecta.hep import MuonPairs
        >>> from bijecta.hep.coordinates import measure_coordinates
        >>> events = MuonPairs().sample(100, energy=91.2, seed=0)
        >>> flow = event_flow(json.dumps(measure_coordinates(events).to_json()), layers=1)
        >>> sample_events(flow, 5, {"energy": 200.0}, seed=0).momenta.sum(axis=1)[0].round(3).tolist()
        [200.0, 0.0, 0.0, 0.0]
    """
    chosen = _read(coordinates)
    kinds, width = chosen.kinds, len(chosen.columns)
    learned = [column for column, kind in enumerate(kinds) if kind != "turn"]
    own = [kinds[column] for column in learned]
    features = ConditionFeatures(chosen) if chosen.context and use_condition else None
    net = partial(MLP, context=0 if features is None else features.width, hidden=hidden, activation=activation)
    spline_layers: list[Bijection] = []
    for layer in range(layers):
        spline_layers += _coupling(own, layer, bins, net)
    inner = Chain(spline_layers)
    steps = [*chosen.maps(), *_start(kinds, choose("start", start, STARTS))]
    steps.append(Indexed(inner if features is None else WithFeatures(inner, features), learned, width))
    return Flow(Chain(steps), base_of(kinds), event_shape=(width,), context=chosen.context)


def coordinates_of(flow: Distribution) -> EventCoordinates:
    """Return the coordinates that a flow of events was built with.

    Args:
        flow: what `event_flow` returned, also after saving and loading.

    Returns:
        Its coordinates.

    Raises:
        InputError: the flow was not built by `event_flow`.

    Example:
        >>> import json
        >>> from bijecta.hep import Condition, EventSchema, Particle
        >>> schema = EventSchema((Particle("e-", 11, 0.0), Particle("e+", -11, 0.0)), condition=(Condition("energy"),))
        >>> chosen = EventCoordinates(schema, ("e-", "e+"), "at_rest")
        >>> coordinates_of(event_flow(json.dumps(chosen.to_json()))) == chosen
        True
    """
    found = any_coordinates_of(flow)
    if not isinstance(found, EventCoordinates):
        raise InputError("This flow was not built by event_flow, so its columns are no decay chain.")
    return found


def any_coordinates_of(flow: Distribution) -> Coordinates:
    """Return the coordinates of a flow that any recipe of events built; raise an InputError for others."""
    record = getattr(flow, "recipe", None) or {}
    if record.get("name") not in _KINDS:
        raise InputError("This flow was not built by a recipe of events, so its columns are no coordinates of events.")
    return _KINDS[record["name"]].from_json(json.loads(record["arguments"]["coordinates"]))


@torch.no_grad()
def sample_events(flow: Distribution, n: int, condition: Mapping[str, ArrayLike] | None = None, *, seed: int) -> Events:
    """Draw events from a flow.

    Args:
        flow: what `event_flow`, `variable_event_flow` or `plain_event_flow` returned, fitted.
        n: how many.
        condition: for each condition that the flow does not draw itself one value for all, or n values.
        seed: the same seed gives the same events.

    Returns:
        Events of the schema, on their mass shells; momenta add up where the process demands it.

    Raises:
        InputError: a condition is missing, or the flow was not built by a recipe of events.

    Example:
        >>> import json
        >>> from bijecta.hep import Condition, EventSchema, Particle
        >>> schema = EventSchema((Particle("e-", 11, 0.0), Particle("e+", -11, 0.0)), condition=(Condition("energy"),))
        >>> flow = event_flow(json.dumps(EventCoordinates(schema, ("e-", "e+"), "at_rest").to_json()), layers=1)
        >>> sample_events(flow, 3, {"energy": [10.0, 20.0, 30.0]}, seed=0).momenta.sum(axis=1)[:, 0].round(6).tolist()
        [10.0, 20.0, 30.0]
    """
    coordinates, given = any_coordinates_of(flow), dict(condition or {})
    names = [each.name for each in coordinates.given]
    if set(given) != set(names):
        raise InputError(
            f"Expected values of the conditions {', '.join(names) or 'none'}; got {', '.join(given) or 'none'}."
        )
    context = context_of(coordinates.given, given, n)
    like, generator = next(flow.parameters()), torch.Generator().manual_seed(seed)
    rows = (
        flow.sample(n, generator=generator)
        if context is None
        else flow.sample((), context.to(like), generator=generator)
    )
    metadata = {"generator": (getattr(flow, "recipe", None) or {})["name"].partition(":")[2], "seed": seed}
    return coordinates.events(rows.cpu(), given, metadata)


class ConditionFeatures(nn.Module):
    r"""Scale a context, and add the distance from a resonance, :math:`\operatorname{arsinh}\frac{E - M}{\Gamma}`.

    It is linear at the resonance and a logarithm far from it on either side, where interference varies slowly.

    Args:
        coordinates: which column is the energy, and which resonance there is.
    """

    def __init__(self, coordinates: EventCoordinates | ObjectCoordinates) -> None:
        super().__init__()
        self.resonance, self.energy_column = coordinates.resonance, coordinates.energy_column
        self.width = coordinates.context + (self.resonance is not None)
        self.scaler = ContextScaler(self.width)

    def initialise(self, context: Tensor) -> None:
        r"""Measure mean and spread of contexts (\*B, C)."""
        self.scaler.initialise(self._extended(context))

    def forward(self, context: Tensor) -> Tensor:
        r"""Compute the features of a context (\*B, C)."""
        scaled: Tensor = self.scaler(self._extended(context))
        return scaled

    def _extended(self, context: Tensor) -> Tensor:
        if self.resonance is None or self.energy_column is None:
            return context
        distance = (
            context[..., self.energy_column : self.energy_column + 1].exp() - self.resonance[0]
        ) / self.resonance[1]
        return torch.cat([context, torch.asinh(distance)], -1)


class WithFeatures(Bijection):
    """Apply a bijection whose context is computed from the one given.

    Coordinates need the energy itself, networks its features: so these are computed here and not for the whole flow.

    Args:
        bijection: the map, conditioned on the features.
        features: computes them.
    """

    def __init__(self, bijection: Bijection, features: ConditionFeatures) -> None:
        super().__init__()
        self.bijection, self.features = bijection, features

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.forward_and_ladj(x, None if context is None else self.features(context))

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.inverse_and_ladj(z, None if context is None else self.features(context))

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if context is None:
            return self.bijection.initialise(x)
        self.features.initialise(context)
        return self.bijection.initialise(x, self.features(context))


class KeepInBox(Bijection):
    """Move what rounding carried over the ends of [-1, 1] back to them; what is farther out stays impossible."""

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return torch.where(x.abs() <= 1.0 + _EDGE, x.clamp(-1.0, 1.0), x), x.new_zeros(x.shape[:-1])

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return z, z.new_zeros(z.shape[:-1])


def _read(text: str) -> EventCoordinates:
    try:
        return EventCoordinates.from_json(json.loads(text))
    except (ValueError, TypeError, FileFormatError) as error:
        raise InputError(f"event_flow expects the JSON text of EventCoordinates: {error}") from error


def _start(kinds: Sequence[str], scaled: Callable[[int], Bijection]) -> list[Bijection]:
    box, real = ([column for column, kind in enumerate(kinds) if kind == wanted] for wanted in ("box", "real"))
    steps: list[Bijection] = [Indexed(KeepInBox(), box, len(kinds))] if box else []
    return [*steps, *([Indexed(scaled(len(real)), real, len(kinds))] if real else [])]


def base_of(kinds: Sequence[str]) -> Product:
    """Build the base of columns of these kinds: uniform on circles and intervals, normal on lines."""
    groups: list[tuple[Distribution, list[int]]] = []
    angles = [column for column, kind in enumerate(kinds) if kind in ("angle", "turn")]
    box, real = ([column for column, kind in enumerate(kinds) if kind == wanted] for wanted in ("box", "real"))
    groups.append((CircularUniform(len(angles)), angles))
    groups.append((UniformBox(-torch.ones(len(box)), torch.ones(len(box))), box))
    groups += [(Normal(len(real)), real)] if real else []
    return Product([base for base, _ in groups], [columns for _, columns in groups])


def _coupling(kinds: Sequence[str], layer: int, bins: int, make_net: Callable[..., MLP]) -> list[Bijection]:
    """Couple half of the columns to the others, then turn the angles so that no direction is special."""
    mask = binary_mask(len(kinds), layer)
    changed = [kind for kind, transformed in zip(kinds, mask, strict=True) if transformed]
    kept = [kind == "angle" for kind, transformed in zip(kinds, mask, strict=True) if not transformed]
    spline = BoxSpline(changed, bins)
    net = make_net(len(kept), len(changed) * spline.n_params, circular=kept)
    angles = [column for column, kind in enumerate(kinds) if kind == "angle"]
    step: list[Bijection] = [Coupling(spline, mask, net)]
    return [*step, *([Indexed(Turn(len(angles)), angles, len(kinds))] if angles else [])]


def binary_mask(features: int, layer: int) -> list[bool]:
    """Choose the columns whose number has a certain binary digit: after all digits every two columns were apart."""
    if features == 1:
        return [True]
    digit, other = divmod(layer, 2)
    digit %= (features - 1).bit_length()
    return [(column >> digit) % 2 == other for column in range(features)]

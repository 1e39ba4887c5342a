"""The simple baseline: momenta, normalised, and affine couplings."""

import json
from collections.abc import Sequence

from bijecta.errors import FileFormatError, InputError
from bijecta.flows import Flow, realnvp
from bijecta.flows.registry import recipe
from bijecta.hep.coordinates_plain import PlainCoordinates


@recipe
def plain_event_flow(coordinates: str, *, layers: int = 8, hidden: Sequence[int] = (64, 64)) -> Flow:
    r"""Build a RealNVP of standardised momenta, to compare with.

    It knows nothing of masses, thresholds and conserved momenta: resonances come out smeared, and momenta that others
    determine give it a likelihood without a maximum. See `event_flow` for what to use instead.

    Args:
        coordinates: the JSON text of `PlainCoordinates`.
        layers: number of coupling layers.
        hidden: widths of the hidden layers of every network.

    Returns:
        The flow of rows that `PlainCoordinates.rows` gives, with densities per GeV.

    Raises:
        InputError: a text that holds no coordinates.

    Reference:
        Dinh, Sohl-Dickstein, Bengio (2017), "Density estimation using Real NVP".

    Example:
        >>> from bijecta.hep import EventSchema, Particle, sample_events
        >>> schema = EventSchema((Particle("mu-", 13, 0.1057), Particle("mu+", -13, 0.1057)))
        >>> flow = plain_event_flow(json.dumps(PlainCoordinates(schema).to_json()))
        >>> sample_events(flow, 5, seed=0).momenta.shape
        (5, 2, 4)
    """
    try:
        chosen = PlainCoordinates.from_json(json.loads(coordinates))
    except (ValueError, TypeError, FileFormatError) as error:
        raise InputError(f"plain_event_flow expects the JSON text of PlainCoordinates: {error}") from error
    flow = realnvp(len(chosen.columns), context=chosen.context, layers=layers, hidden=tuple(hidden))
    flow.recipe = None  # the record shall be that of this recipe, which knows the schema
    return flow

"""What leptons of opposite charge tell: the forward-backward asymmetry, and where the Z boson peaks."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bijecta.hep import kinematics
from bijecta.hep.evaluation_distances import Number, effective_size
from bijecta.hep.events import Events
from bijecta.hep.schema import EventSchema

FloatArray = NDArray[np.float64]

MEANINGS = {
    "A_FB": "forward-backward asymmetry of the lepton in the Collins-Soper frame; after the bar: the reference",
    "Z peak": "fitted mass of the Z in GeV; after the bar: the reference",
    "Z width": "fitted width of the Z in GeV; after the bar: the reference",
}
_LEPTONS = (11, 13, 15)
_Z_MASS, _Z_WIDTH = 91.1876, 2.4952  # GeV: where the fit begins
_WINDOW, _BINS = 10.0, 40  # GeV on either side of the Z, and bins in it
_FEWEST = 200.0  # effective events in the window
_CLEAR = 5.0  # standard deviations of its height from which a peak is one
_STEPS = 25


@dataclass(frozen=True)
class Peak:
    """Hold a fitted resonance.

    Args:
        mass: of the resonance in GeV.
        width: its full width at half maximum in GeV.
        mass_error: standard deviation in GeV.
        width_error: standard deviation in GeV.
    """

    mass: float
    width: float
    mass_error: float
    width_error: float


def lepton_numbers(generated: Events, reference: Events) -> dict[str, Number]:
    r"""Compare what pairs of leptons of opposite charge have: asymmetry, mass and width of the Z.

    .. math:: A_{FB} = \frac{\sum_i w_i \operatorname{sign}\cos\theta_i}{\sum_i w_i}, \qquad
        z = \frac{a - b}{\sqrt{\sigma_a^2 + \sigma_b^2}}

    θ is that of the lepton in the Collins-Soper frame; between two protons it is counted from the direction in which
    the pair moves, which is mostly that of the quark. The width is shown and not tested: the mass is the sharper test.

    Args:
        generated: events of a model.
        reference: the truth, of the same schema; its metadata name the beams.

    Returns:
        For each pair the numbers of the generated events, those of the reference as "null"; none without such pairs,
        and no peak where none is seen in both.

    Reference:
        Collins, Soper (1977), "Angular distribution of dileptons in high-energy hadron collisions".

    Example:
        >>> from bijecta.hep import MuonPairs
        >>> samples = [MuonPairs().sample(2000, energy=80.0, seed=seed) for seed in (1, 2)]
        >>> found = lepton_numbers(*samples)
        >>> list(found), abs(found["A_FB(mu- mu+)"].value + 0.7276) < 0.06
        (['A_FB(mu- mu+)'], True)
    """
    found: dict[str, Number] = {}
    between_protons = _between_protons(reference)
    for lepton, antilepton in _pairs(reference.schema):
        name = f"{lepton} {antilepton}"
        sides = [_asymmetry(events, lepton, antilepton, between_protons) for events in (generated, reference)]
        found[f"A_FB({name})"] = _compared(*sides)
        peaks = [
            fit_peak(kinematics.mass(events.particle(lepton) + events.particle(antilepton)), _weight(events))
            for events in (generated, reference)
        ]
        if peaks[0] is not None and peaks[1] is not None:
            own, truth = peaks[0], peaks[1]
            found[f"m({name}): Z peak"] = _compared((own.mass, own.mass_error), (truth.mass, truth.mass_error))
            found[f"m({name}): Z width"] = Number(own.width, own.width_error, truth.width)
    return found


def fit_peak(mass: FloatArray, weight: FloatArray) -> Peak | None:
    r"""Fit a Breit-Wigner resonance on a straight background near the mass of the Z.

    .. math:: h(m) = \frac{a}{1 + u^2} + b + c\,\frac{m - m_Z}{10}, \qquad u = \frac{2(m - M)}{\Gamma}

    Bins are weighted with the variance that the fit expects, which makes this the maximum of the likelihood and free of
    the bias of few events per bin; errors take the variance that the weights in each bin have.

    Args:
        mass: in GeV, (n,).
        weight: (n,), of any sign.

    Returns:
        The peak; None where fewer than 200 effective events are near, or no peak is seen at five standard deviations.

    Reference:
        Baker, Cousins (1984), "Clarification of the use of chi-square and likelihood functions in fits to histograms".

    Example:
        >>> angles = np.random.default_rng(0).uniform(-1.5, 1.5, 20_000)
        >>> peak = fit_peak(91.0 + 1.25 * np.tan(angles), np.ones(20_000))
        >>> abs(peak.mass - 91.0) < 0.05, abs(peak.width - 2.5) < 0.2
        (True, True)
    """
    near = np.abs(mass - _Z_MASS) < _WINDOW
    if not near.any() or weight[near].sum() <= 0.0 or effective_size(weight[near]) < _FEWEST:
        return None
    edges = np.linspace(_Z_MASS - _WINDOW, _Z_MASS + _WINDOW, _BINS + 1)
    height, variance = (np.histogram(mass[near], edges, weights=weight[near] ** power)[0] for power in (1, 2))
    scale = variance.sum() / height.sum()
    centre, start = (edges[1:] + edges[:-1]) / 2.0, height.mean()
    values = np.array([_Z_MASS, _Z_WIDTH, 2.0 * start, 0.3 * start, 0.0])
    for _ in range(_STEPS):
        model, slopes = _resonance(centre, values)
        pulling = slopes / (scale * np.maximum(model, 0.05 * start))
        response = np.linalg.pinv(pulling @ slopes.T) @ pulling
        values = values + response @ (height - model)
        values[:2] = np.clip(values[:2], [_Z_MASS - _WINDOW, 0.5], [_Z_MASS + _WINDOW, _WINDOW])
    errors = np.sqrt(response**2 @ variance)
    seen = values[2] > _CLEAR * errors[2] and abs(values[0] - _Z_MASS) < _WINDOW / 2.0
    return Peak(float(values[0]), float(values[1]), float(errors[0]), float(errors[1])) if seen else None


def _resonance(m: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the model (B,) and its derivatives by mass, width, height and background (5, B)."""
    mass, width, height, level, slope = values
    u, away = 2.0 * (m - mass) / width, (m - _Z_MASS) / _WINDOW
    shape = 1.0 / (1.0 + u**2)
    steep = 2.0 * height * u * shape**2
    slopes = np.stack([steep * 2.0 / width, steep * u / width, shape, np.ones_like(m), away])
    return height * shape + level + slope * away, slopes


def _pairs(schema: EventSchema) -> Iterator[tuple[str, str]]:
    """List the leptons that have exactly one partner of opposite charge."""
    for number in _LEPTONS:
        sides = [[each.name for each in schema.particles if each.pdg == sign * number] for sign in (1, -1)]
        if len(sides[0]) == len(sides[1]) == 1:
            yield sides[0][0], sides[1][0]


def _between_protons(events: Events) -> bool:
    beams = events.metadata.get("beams")
    return beams is not None and list(beams) == [2212, 2212]


def _asymmetry(events: Events, lepton: str, antilepton: str, between_protons: bool) -> tuple[float, float]:  # noqa: FBT001
    """Return the asymmetry and its standard deviation."""
    first, second = events.particle(lepton), events.particle(antilepton)
    side, weight = np.sign(kinematics.collins_soper_angles(first, second)[0]), _weight(events)
    if between_protons:
        side = side * np.sign(kinematics.rapidity(first + second))
    value = float(weight @ side / weight.sum())
    return value, float(np.sqrt(np.square(weight * (side - value)).sum()) / abs(weight.sum()))


def _weight(events: Events) -> FloatArray:
    return np.ones(len(events)) if events.weight is None else events.weight


def _compared(own: tuple[float, float], truth: tuple[float, float]) -> Number:
    """Give the probability of a difference as large, two-sided."""
    distance = abs(own[0] - truth[0]) / max(math.hypot(own[1], truth[1]), 1e-300)
    return Number(own[0], own[1], truth[0], p_value=math.erfc(distance / math.sqrt(2.0)))

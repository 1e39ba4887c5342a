r"""Why a flow cannot tear a connected base: a limit on its stretch leaves a bridge between two modes."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]
SPREAD = 0.5  # of each of the two modes


@dataclass(frozen=True)
class Bridge:
    """A map g from the base to two modes that never stretches more than a limit.

    Attributes:
        z: latents, of shape (N,).
        x: where they go, of shape (N,).
        density: of x, of shape (N,).
        truth: the density of the two modes at x, of shape (N,).
        needed: the stretch that the exact map needs in the middle.
        inside: probability between the modes: at least one of them four spreads away from either centre.
        truth_inside: the same for the two modes.
        bound: what no map with this limit can go below.
    """

    z: Array
    x: Array
    density: Array
    truth: Array
    needed: float
    inside: float
    truth_inside: float
    bound: float


def build_bridge(distance: float, limit: float) -> Bridge:
    r"""Follow the exact map :math:`g = F^{-1} \circ \Phi` as closely as a limit on the stretch allows.

    .. math:: P(|x| < w/2) \ge P(|z| < w / 2L) = 2\,\Phi(w / 2L) - 1 \quad\text{for } g(0) = 0, \ |g'| \le L

    Args:
        distance: of the centres.
        limit: the largest stretch L.

    Returns:
        The map and what it does; the gap of width w is what lies two spreads away from both centres.

    Example:
        >>> from bijecta.app.learning.tearing import build_bridge
        >>> bridge = build_bridge(6.0, 5.0)
        >>> bridge.truth_inside < bridge.bound <= bridge.inside
        True
    """
    z = 4.0 * np.linspace(-1.0, 1.0, 8000) ** 3  # densest around the middle, where the stretch is, but not at it
    exact = _exact_map(z, distance)
    wanted = _bell(z) / _two_modes(exact, distance)
    straight = limit * np.abs(z) < np.abs(exact)  # from the middle as steep as can be, until it meets the exact map
    stretch = np.where(straight, limit, wanted)
    x = np.where(straight, limit * z, exact)
    half = distance / 2 - 2 * SPREAD
    # g is odd and increasing, so |x| < half is an interval of z around 0.
    edge = float(np.interp(half, x, z))
    return Bridge(
        z=z,
        x=x,
        density=_bell(z) / stretch,
        truth=_two_modes(x, distance),
        needed=float(_bell(np.array(0.0)) / _two_modes(np.array(0.0), distance)),
        inside=least_bridge(2 * edge, 1.0),
        truth_inside=float(_cumulative(np.array(half), distance) - _cumulative(np.array(-half), distance)),
        bound=least_bridge(2 * half, limit),
    )


def least_bridge(width: float, limit: float) -> float:
    """Return the least probability inside a gap of this width for a map that stretches by at most the limit."""
    return math.erf(width / (2 * limit) / math.sqrt(2))


def _exact_map(z: Array, distance: float) -> Array:
    x = np.linspace(-distance - 3, distance + 3, 40_001)
    below = _cumulative(x, distance)
    # Only the lower half, mirrored: above the middle the cumulative probability loses the digits that its tail needs.
    lower = np.interp(_phi(-np.abs(z)), below, x)
    return np.asarray(-np.sign(z) * lower)


def _cumulative(x: Array, distance: float) -> Array:
    return np.asarray(sum(_phi((x - centre) / SPREAD) for centre in (-distance / 2, distance / 2)) / 2)


def _two_modes(x: Array, distance: float) -> Array:
    return np.asarray(sum(_bell((x - centre) / SPREAD) for centre in (-distance / 2, distance / 2)) / (2 * SPREAD))


def _bell(z: Array) -> Array:
    return np.asarray(np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi))


def _phi(z: Array) -> Array:
    return np.asarray(torch.special.ndtr(torch.as_tensor(z)))

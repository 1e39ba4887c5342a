"""Toy sets in two dimensions, each with its exact density and entropy.

The entropy is the lowest mean negative log-likelihood that any model can reach, so that a fit can report its distance
from the optimum. The eight sets with names from the FFJORD paper (Grathwohl et al., 2019) follow its definitions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from bijecta.data.curves import Curve, NoisyCurves, Pinwheel
from bijecta.data.densities import CosineBand, Density, FloatArray, GaussianMixture, PixelDensity
from bijecta.errors import InputError, ShapeError

_EVERYWHERE = "standard deviation of the Gaussian noise around the curve"
_CLUSTER = "standard deviation of each Gaussian"


@dataclass(frozen=True)
class Toy:
    """A two-dimensional toy set: samples, exact log-density and entropy.

    Samples are independent draws from the density p with entropy H = -∫ p log p.

    Args:
        name: key in `TOYS`.
        title: what the set shows, in a few words.
        noise: noise level; what it measures stands in ``noise_meaning``. 0 for sets without noise.
        noise_meaning: meaning of ``noise``; empty for sets without noise.
        build: makes the density for a noise level.

    Reference:
        Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud (2019), "FFJORD".

    Example:
        >>> moons = toy("moons")
        >>> moons.sample(5, seed=0).shape
        (5, 2)
        >>> round(moons.entropy, 2)
        2.39
    """

    name: str
    title: str
    noise: float
    noise_meaning: str
    build: Callable[[float], Density]

    def sample(self, n: int, seed: int | np.random.Generator = 0) -> FloatArray:
        """Draw n points.

        Args:
            n: number of points, 0 or more.
            seed: seed, or a NumPy generator that is advanced.

        Returns:
            Points of shape (n, 2).

        Raises:
            InputError: n is negative.
        """
        if n < 0:
            raise InputError(f"The number of points must be 0 or more; got {n}.")
        return self.build(self.noise).sample(n, np.random.default_rng(seed))

    def log_prob(self, x: ArrayLike) -> FloatArray:
        """Evaluate the exact log-density.

        Args:
            x: points of shape (n, 2).

        Returns:
            Log-density in nats, shape (n,); minus infinity outside the support.

        Raises:
            ShapeError: x does not have shape (n, 2).
            InputError: a coordinate is NaN or infinite.
        """
        points = np.asarray(x, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2:
            raise ShapeError(f"The toy {self.name} expects points of shape (n, 2); got shape {points.shape}.")
        if not np.isfinite(points).all():
            raise InputError(f"The toy {self.name} got points that are NaN or infinite; remove these rows first.")
        return self.build(self.noise).log_prob(points)

    @cached_property
    def entropy(self) -> float:
        """Return -∫ p log p in nats, in closed form or by quadrature of the exact density, to 1e-4 or better."""
        return self.build(self.noise).entropy()

    def box(self) -> tuple[FloatArray, FloatArray]:
        """Return the corners of a box outside which the density is negligible; two arrays of shape (2,)."""
        return self.build(self.noise).box()


def toy(name: str, noise: float | None = None) -> Toy:
    """Look up a toy set, with another noise level if wanted.

    Args:
        name: one of the keys of `TOYS`.
        noise: positive noise level in units of the coordinates; left out, the default of the set.

    Returns:
        The toy set.

    Raises:
        InputError: unknown name, a noise level that is not positive, or a set that has no noise.

    Reference:
        Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud (2019), "FFJORD".

    Example:
        >>> toy("rings", noise=0.1).noise
        0.1
    """
    if name not in TOYS:
        near = get_close_matches(name, TOYS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise InputError(f"There is no toy set called {name!r}.{hint} Known: {', '.join(TOYS)}.")
    if noise is None:
        return TOYS[name]
    return _with_noise(TOYS[name], noise)


def image(
    brightness: ArrayLike,
    *,
    low: tuple[float, float] = (-4.0, -4.0),
    high: tuple[float, float] = (4.0, 4.0),
    name: str = "image",
) -> Toy:
    """Turn a picture into a density that is constant within each pixel.

    p(x) = brightness(pixel of x) / (Σ brightness · pixel area), and 0 outside the picture.

    Args:
        brightness: non-negative numbers of shape (rows, columns), first row on top.
        low: lower-left corner of the picture in the plane.
        high: upper-right corner.
        name: name of the toy set.

    Returns:
        A toy set without noise.

    Raises:
        ShapeError: brightness is not two-dimensional.
        InputError: negative or non-finite brightness, an all-black picture, or a box of no size.

    Reference:
        Silverman (1986), "Density estimation for statistics and data analysis": the histogram as a density.

    Example:
        >>> cross = image([[0, 1, 0], [1, 1, 1], [0, 1, 0]], low=(0, 0), high=(3, 3))
        >>> round(cross.entropy, 4)  # log 5
        1.6094
    """
    picture = np.array(brightness, dtype=np.float64)
    if picture.ndim != 2 or picture.size == 0:
        raise ShapeError(f"A picture has shape (rows, columns); got {picture.shape}. Average colours to grey first.")
    if not np.isfinite(picture).all() or picture.min() < 0 or picture.max() == 0:
        raise InputError("Brightness must be finite and non-negative, with at least one pixel that is not black.")
    if not (low[0] < high[0] and low[1] < high[1]):
        raise InputError(f"The picture's box must have low < high on both axes; got low={low}, high={high}.")
    return Toy(name, "A picture as a density", 0.0, "", lambda _: PixelDensity(picture, low, high))


def _with_noise(chosen: Toy, noise: float) -> Toy:
    if not chosen.noise_meaning:
        raise InputError(f"The toy set {chosen.name} has no noise level; leave out noise={noise}.")
    if not (np.isfinite(noise) and noise > 0):
        raise InputError(f"The noise level must be positive and finite; got {noise}. Default: {chosen.noise}.")
    return replace(chosen, noise=float(noise))


# ---------------------------------------------------------------- curves


def _stack(x: FloatArray, y: FloatArray) -> FloatArray:
    return np.stack([x, y], axis=1)


def _ring(radius: float) -> Curve:
    return Curve(lambda t: radius * _stack(np.cos(t), np.sin(t)), 0.0, 2.0 * np.pi)


def _rings(*radii: float) -> Callable[[float], Density]:
    return lambda noise: NoisyCurves(tuple(_ring(radius) for radius in radii), noise)


def _half_moons(scale: float, shift: tuple[float, float]) -> tuple[Curve, ...]:
    return (
        Curve(lambda t: scale * _stack(np.cos(t), np.sin(t)) + shift, 0.0, np.pi),
        Curve(lambda t: scale * _stack(1.0 - np.cos(t), 0.5 - np.sin(t)) + shift, 0.0, np.pi),
    )


def _moons(noise: float) -> Density:
    return NoisyCurves(_half_moons(2.0, (-1.0, -0.2)), noise)


def _sklearn_moons(noise: float) -> Density:
    return NoisyCurves(_half_moons(1.0, (0.0, 0.0)), noise, equal_shares=True)


def _spiral_arm(sign: float) -> Curve:
    # The radius n/3 grows as the square root of a uniform number, so n has the density 2n/turn² on [0, turn].
    turn = 3.0 * np.pi
    # The jitter ½u/3 of the definition has mean 1/12; the shift is here, the centred rest is in `NoisyCurves`.
    return Curve(
        lambda n: sign * (_stack(-n * np.cos(n), n * np.sin(n)) / 3.0 + 1.0 / 12.0),
        0.0,
        turn,
        weight=lambda n: 2.0 * n / turn**2,
        quantile=lambda u: turn * np.sqrt(u),
    )


def _two_spirals(noise: float) -> Density:
    return NoisyCurves((_spiral_arm(1.0), _spiral_arm(-1.0)), noise, jitter=1.0 / 6.0)


def _swissroll(noise: float) -> Density:
    return NoisyCurves((Curve(lambda t: _stack(t * np.cos(t), t * np.sin(t)) / 5.0, 1.5 * np.pi, 4.5 * np.pi),), noise)


def _scurve(noise: float) -> Density:
    # Two arcs that meet with a jump in curvature: quadrature panels must not straddle it.
    upper = Curve(lambda t: _stack(np.sin(t), np.cos(t) - 1.0), 0.0, 1.5 * np.pi)
    lower = Curve(lambda t: _stack(-np.sin(t), 1.0 - np.cos(t)), 0.0, 1.5 * np.pi)
    return NoisyCurves((upper, lower), noise)


# ---------------------------------------------------------------- clusters and pictures


def _eight_gaussians(noise: float) -> Density:
    angle = np.arange(8) * np.pi / 4.0
    return GaussianMixture(4.0 / 1.414 * _stack(np.cos(angle), np.sin(angle)), noise)


def _two_gaussians(noise: float) -> Density:
    return GaussianMixture(np.array([[-2.0, 0.0], [2.0, 0.0]]), noise)


def _grid(noise: float) -> Density:
    ticks = np.linspace(-4.0, 4.0, 5)
    return GaussianMixture(_stack(np.repeat(ticks, 5), np.tile(ticks, 5)), noise)


def _checkerboard(_: float) -> Density:
    row, column = np.indices((4, 4))
    return PixelDensity(((row + column) % 2).astype(np.float64))


def _square(_: float) -> Density:
    frame = np.ones((4, 4))
    frame[1:3, 1:3] = 0.0
    return PixelDensity(frame)


def _uniform(_: float) -> Density:
    return PixelDensity(np.ones((1, 1)))


def _heart(_: float) -> Density:
    """Shade the inside of the sextic (x² + y² - 1)³ = x² y³ from dark at the left to bright at the right."""
    ticks = (np.arange(96) + 0.5) / 96 * 2.8 - 1.4
    x, y = np.meshgrid(ticks, ticks[::-1])
    inside = (x**2 + y**2 - 1.0) ** 3 <= x**2 * y**3
    return PixelDensity(inside * (2.0 + x))


def _registry(*toys: Toy) -> Mapping[str, Toy]:
    return MappingProxyType({each.name: each for each in toys})


TOYS: Mapping[str, Toy] = _registry(
    Toy("moons", "Two interleaved half circles", 0.2, _EVERYWHERE, _moons),
    Toy("circles", "Two concentric circles", 0.24, _EVERYWHERE, _rings(3.0, 1.5)),
    Toy("rings", "Four thin concentric circles", 0.08, _EVERYWHERE, _rings(3.0, 2.25, 1.5, 0.75)),
    Toy("2spirals", "Two spirals, denser outside", 0.1, _EVERYWHERE + ", besides its uniform jitter", _two_spirals),
    Toy("checkerboard", "Eight squares of a chess board", 0.0, "", _checkerboard),
    Toy("8gaussians", "Eight Gaussians on a circle", 0.5 / 1.414, _CLUSTER, _eight_gaussians),
    Toy("2gaussians", "Two well separated Gaussians", 0.5, _CLUSTER, _two_gaussians),
    Toy("grid", "Twenty-five Gaussians on a grid", 0.2, _CLUSTER, _grid),
    Toy("pinwheel", "Five curved arms", 0.1, "relative width of the arms", Pinwheel),
    Toy("swissroll", "One spiral, a rolled-up sheet seen from its end", 0.2, _EVERYWHERE, _swissroll),
    Toy("scurve", "The letter S, a bent sheet seen from its end", 0.1, _EVERYWHERE, _scurve),
    Toy("cosine", "A wave of Gaussian width", 0.3, "standard deviation of the height above the wave", CosineBand),
    Toy("square", "A square ring with sharp edges", 0.0, "", _square),
    Toy("uniform", "A square of constant density", 0.0, "", _uniform),
    Toy("heart", "A shaded heart: a picture as a density", 0.0, "", _heart),
    Toy("sklearn-moons", "Half moons as in scikit-learn, equal shares", 0.1, _EVERYWHERE, _sklearn_moons),
)

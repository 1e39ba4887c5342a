"""Densities of points on curves with Gaussian noise, and the pinwheel."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bijecta.data.densities import (
    Density,
    FloatArray,
    entropy_on_grid,
    log_gaussian_mixture,
    map_in_chunks,
)

IntArray = NDArray[np.intp]

# Gauss-Legendre rule for each panel of the curve. A panel is five noise widths long, so a Gaussian seen along the
# curve is resolved by about three nodes per standard deviation. Measured against three times as many nodes, log p of
# samples is right to 1e-12, and to 4e-4 where a point is so far off that log p is about -250.
_NODES_PER_PANEL = 16
_PANEL_IN_NOISE_WIDTHS = 5.0


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve t -> c(t) for t between ``low`` and ``high``, on which t has the density ``weight(t)``.

    ``quantile`` maps a uniform number on [0, 1] to t; with it left out, t is uniform.
    """

    point: Callable[[FloatArray], FloatArray]
    low: float
    high: float
    weight: Callable[[FloatArray], FloatArray] | None = None
    quantile: Callable[[FloatArray], FloatArray] | None = None

    def sample(self, n: int, generator: np.random.Generator) -> FloatArray:
        """Draw n points on the curve."""
        u = generator.random(n)
        return self.point(self.low + u * (self.high - self.low) if self.quantile is None else self.quantile(u))

    def nodes(self, panel_length: float) -> tuple[FloatArray, FloatArray]:
        """Return points (m, 2) and weights (m,) of a quadrature over the curve, in panels of equal arc length."""
        t = np.linspace(self.low, self.high, 4001)
        steps = np.linalg.norm(np.diff(self.point(t), axis=0), axis=1)
        length = np.concatenate([[0.0], np.cumsum(steps)])
        n_panels = int(np.ceil(length[-1] / panel_length))
        edges = np.interp(np.linspace(0.0, length[-1], n_panels + 1), length, t)
        abscissae, weights = np.polynomial.legendre.leggauss(_NODES_PER_PANEL)
        half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
        nodes = (middle[:, None] + half[:, None] * abscissae).ravel()
        density = 1.0 / (self.high - self.low) if self.weight is None else self.weight(nodes)
        return self.point(nodes), (half[:, None] * weights).ravel() * density


@dataclass(frozen=True, eq=False)
class NoisyCurves(Density):
    """Points on one of several curves, all equally likely, plus Gaussian noise.

    The density is the line integral p(x) = (1/K) Σ_k ∫ w(t) N(x; c_k(t), noise²) dt, computed by fixed quadrature.
    ``jitter`` adds, before the noise, uniform numbers on [-jitter/2, jitter/2] to both coordinates. With
    ``equal_shares`` every sample has the same number of points on each curve, give or take one.
    """

    curves: tuple[Curve, ...]
    noise: float
    jitter: float = 0.0
    equal_shares: bool = False

    def sample(self, n: int, generator: np.random.Generator) -> FloatArray:
        """Draw n points."""
        which = self._which_curve(n, generator)
        points = np.empty((n, 2))
        for k, curve in enumerate(self.curves):
            points[which == k] = curve.sample(int(np.sum(which == k)), generator)
        points += self.jitter * (generator.random((n, 2)) - 0.5)
        return np.asarray(points + self.noise * generator.standard_normal((n, 2)))

    def log_prob(self, x: FloatArray) -> FloatArray:
        """Evaluate the line integral."""
        points, weights = self._nodes()

        def rows(part: FloatArray) -> FloatArray:
            if self.jitter:
                return _log_jittered_mixture(part, points, weights, self.noise, self.jitter)
            return log_gaussian_mixture(part, points, weights, self.noise)

        return map_in_chunks(rows, x, len(weights))

    def entropy(self) -> float:
        """Integrate on a grid of half the noise width: about eight correct digits."""
        return entropy_on_grid(self, 0.5 * self.noise)

    def box(self) -> tuple[FloatArray, FloatArray]:
        """Return the curves' box widened by eight noise widths."""
        points, _ = self._nodes()
        margin = 0.5 * self.jitter + 8.0 * self.noise
        return points.min(axis=0) - margin, points.max(axis=0) + margin

    def _which_curve(self, n: int, generator: np.random.Generator) -> IntArray:
        if not self.equal_shares:
            return generator.integers(len(self.curves), size=n).astype(np.intp)
        # The random start keeps every single row fair, also when n is not a multiple of the number of curves.
        start = generator.integers(len(self.curves))
        return generator.permutation((start + np.arange(n)) % len(self.curves)).astype(np.intp)

    def _nodes(self) -> tuple[FloatArray, FloatArray]:
        parts = [curve.nodes(_PANEL_IN_NOISE_WIDTHS * self.noise) for curve in self.curves]
        points, weights = zip(*parts, strict=True)
        return np.concatenate(points), np.concatenate(weights) / len(self.curves)


def _log_jittered_mixture(
    x: FloatArray, centres: FloatArray, weights: FloatArray, noise: float, jitter: float
) -> FloatArray:
    """Return log Σ_k w_k (N * U)(x - c_k), the Gaussian smeared by a square of side ``jitter``."""
    half_width = 0.5 * jitter / noise
    distance = np.abs(x[:, None, :] - centres) / noise
    exponents = np.log(weights) + (half_width * distance - 0.5 * distance**2).sum(axis=2)
    largest = exponents.max(axis=1)
    # Of the pairs (point, node) only the near ones count; the rest is below e⁻⁶⁰ of the sum.
    row, node = np.nonzero(exponents > largest[:, None] - 60.0)
    logs = exponents[row, node]
    for axis in (0, 1):
        logs += _log_smearing(distance[row, node, axis], half_width)
    return np.asarray(_log_sum_exp_by_row(logs, row, len(x)) - np.log(2.0 * np.pi * noise**2))


def _log_smearing(distance: FloatArray, half_width: float) -> FloatArray:
    """Return log F in: mean of exp(-(distance - b)²/2) over |b| <= a = exp(a distance - distance²/2) · F.

    F = Σ_j w_j exp((b_j - a) distance - b_j²/2) by a Gauss-Legendre rule, for distance >= 0. No exponent is positive
    and no term is negative; a difference of error functions would lose all digits in the tails.
    """
    abscissae, weights = np.polynomial.legendre.leggauss(6)
    total = np.zeros_like(distance)
    for a, w in zip(abscissae, weights, strict=True):
        total += 0.5 * w * np.exp((a - 1.0) * half_width * distance - 0.5 * (a * half_width) ** 2)
    return np.asarray(np.log(total))


def _log_sum_exp_by_row(logs: FloatArray, row: IntArray, n_rows: int) -> FloatArray:
    """Return log Σ exp over the entries of each row, where rows have different numbers of entries."""
    largest = np.full(n_rows, -np.inf)
    np.maximum.at(largest, row, logs)
    total = np.bincount(row, weights=np.exp(logs - largest[row]), minlength=n_rows)
    return np.asarray(np.log(total) + largest)


@dataclass(frozen=True)
class Pinwheel(Density):
    """Five arms that wind around the origin: x = 2 R(-α) f, with two normal features f.

    f₀ = 1 + 0.3 g₀ runs along the arm, f₁ = noise g₁ across it; the rotation by α = 2πk/5 + ¼ exp(min(f₀, 4)) is
    clockwise and k is one of 0..4. The minimum, ten standard deviations out, only bounds the number of turns.
    """

    noise: float

    def sample(self, n: int, generator: np.random.Generator) -> FloatArray:
        """Draw n points."""
        features = np.array([1.0, 0.0]) + generator.standard_normal((n, 2)) * np.array([0.3, self.noise])
        angle = 2.0 * np.pi / 5.0 * generator.integers(5, size=n) + _twist(features[:, 0])
        cosine, sine = np.cos(angle), np.sin(angle)
        along, across = features.T
        return 2.0 * np.stack([along * cosine + across * sine, across * cosine - along * sine], axis=1)

    def log_prob(self, x: FloatArray) -> FloatArray:
        """Sum over all features that lead to x: p(x) = Σ p(f) / (5 · 4 · |1 + f₁ ∂α/∂f₀|)."""
        return map_in_chunks(self._log_prob_of_few, x, _N_ANGLES)

    def entropy(self) -> float:
        """Integrate on a grid of half the noise level: about six correct digits."""
        return entropy_on_grid(self, 0.5 * self.noise)

    def box(self) -> tuple[FloatArray, FloatArray]:
        """Return a square that holds eight standard deviations along the arms."""
        edge = 2.0 * np.hypot(1.0 + 8.0 * 0.3, 8.0 * self.noise)
        return np.full(2, -edge), np.full(2, edge)

    def _log_prob_of_few(self, x: FloatArray) -> FloatArray:
        radius, row, feature_angle = _pinwheel_preimages(x)
        along, across = radius[row] * np.cos(feature_angle), radius[row] * np.sin(feature_angle)
        logs = -0.5 * ((along - 1.0) / 0.3) ** 2 - 0.5 * (across / self.noise) ** 2
        stretch = np.abs(1.0 + across * np.where(along < 4.0, _twist(along), 0.0))
        logs -= np.log(np.maximum(stretch, 1e-12)) + np.log(2.0 * np.pi * 0.3 * self.noise * 20.0)
        return _log_sum_exp_by_row(logs, row, len(x))


_N_ANGLES = 256


def _twist(along: FloatArray) -> FloatArray:
    return 0.25 * np.exp(np.minimum(along, 4.0))


def _pinwheel_preimages(x: FloatArray) -> tuple[FloatArray, IntArray, FloatArray]:
    """Find every angle φ of f = r (cos φ, sin φ) that leads to a point x of some arm.

    The angle of x is φ - ¼ exp(min(r cos φ, 4)) - 2πk/5. Arms and full turns together are multiples of 2π/5, so the
    preimages are where h(φ) = (φ - ¼ exp(min(r cos φ, 4)) - angle(x)) · 5/2π is an integer. Integers passed between
    neighbouring nodes of a fixed grid are counted, and each one is then located by bisection.

    Returns:
        The radius of f per point (n,), and for every preimage the row of x it belongs to and its angle φ.
    """
    radius, angle = 0.5 * np.hypot(x[:, 0], x[:, 1]), np.arctan2(x[:, 1], x[:, 0])

    def turns(phi: FloatArray, rows: IntArray) -> FloatArray:
        return np.asarray((phi - _twist(radius[rows] * np.cos(phi)) - angle[rows]) * 5.0 / (2.0 * np.pi))

    grid = np.linspace(-np.pi, np.pi, _N_ANGLES + 1)
    floors = np.floor(turns(grid[None, :], np.arange(len(x))[:, None]))
    passed = np.diff(floors, axis=1)
    point, cell = np.nonzero(passed)
    count = np.abs(passed[point, cell]).astype(int)
    row, start = np.repeat(point, count), np.repeat(cell, count)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    target = np.minimum(floors[row, start], floors[row, start + 1]) + 1.0 + nth
    low, high = grid[start], grid[start + 1]
    rising = turns(high, row) >= target
    for _ in range(45):  # halves 2π/256 down to below the spacing of float64
        middle = 0.5 * (low + high)
        go_right = (turns(middle, row) < target) == rising
        low, high = np.where(go_right, middle, low), np.where(go_right, high, middle)
    return radius, row, 0.5 * (low + high)

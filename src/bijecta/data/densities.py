"""Planar densities that can be sampled and evaluated exactly: the building blocks of the toy sets."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Pairs (point, node) that are held at once: 2 MB of float64 stay in the processor's cache.
_PAIRS_AT_ONCE = 2**18


class Density(ABC):
    """A probability density on the plane with exact samples, exact log-density and known entropy."""

    @abstractmethod
    def sample(self, n: int, generator: np.random.Generator) -> FloatArray:
        """Draw n points, shape (n, 2)."""

    @abstractmethod
    def log_prob(self, x: FloatArray) -> FloatArray:
        """Evaluate the log-density at points of shape (n, 2); minus infinity outside the support."""

    @abstractmethod
    def entropy(self) -> float:
        """Return the differential entropy -∫ p log p in nats."""

    @abstractmethod
    def box(self) -> tuple[FloatArray, FloatArray]:
        """Return the lower-left and upper-right corner of a box outside which the density is negligible."""


def map_in_chunks(function: Callable[[FloatArray], FloatArray], x: FloatArray, n_nodes: int) -> FloatArray:
    """Apply a row-wise function to a few rows at a time, so that (rows, n_nodes) work arrays stay small."""
    size = max(1, _PAIRS_AT_ONCE // n_nodes)
    return np.concatenate([np.empty(0), *(function(x[start : start + size]) for start in range(0, len(x), size))])


def log_sum_exp(values: FloatArray) -> FloatArray:
    """Return log Σ exp over the last axis; subtracting the maximum first makes overflow impossible."""
    largest = values.max(axis=-1, keepdims=True)
    safe = np.where(np.isfinite(largest), largest, 0.0)
    # Terms below e⁻¹⁰⁰ of the largest count for nothing, and an exponential that underflows is fifteen times slower.
    terms = np.maximum(values - safe, -100.0)
    return np.asarray(np.log(np.exp(terms, out=terms).sum(axis=-1)) + largest[..., 0])


def log_gaussian_mixture(x: FloatArray, centres: FloatArray, weights: FloatArray, noise: float) -> FloatArray:
    """Return log Σ_k w_k N(x; c_k, noise²) for points (n, 2) and centres (m, 2)."""
    # |x - c|² is expanded so that the (n, m) part is one matrix product. What cancels is at most |x|²/noise²,
    # about 10⁴ for these sets, so the exponent keeps eleven digits after the point.
    offsets = np.log(weights) - 0.5 * (centres**2).sum(axis=1) / noise**2
    exponents = x @ (centres.T / noise**2) + offsets
    scale = np.log(2.0 * np.pi * noise**2)
    return np.asarray(log_sum_exp(exponents) - 0.5 * (x**2).sum(axis=1) / noise**2 - scale)


def grid_points(low: FloatArray, high: FloatArray, spacing: float) -> tuple[FloatArray, float]:
    """Return the midpoints of a grid over a box, shape (n, 2), and the area of one cell."""
    counts = np.ceil((high - low) / spacing).astype(int)
    steps = (high - low) / counts
    axes = [low[k] + steps[k] * (np.arange(counts[k]) + 0.5) for k in (0, 1)]
    grid = np.meshgrid(*axes, indexing="ij")
    return np.stack([axis.ravel() for axis in grid], axis=1), float(steps.prod())


def entropy_on_grid(density: Density, spacing: float) -> float:
    """Integrate -p log p with the midpoint rule, which converges exponentially for smooth densities."""
    points, area = grid_points(*density.box(), spacing)
    logs = density.log_prob(points)
    return float(-area * np.sum(np.exp(logs) * np.where(np.isfinite(logs), logs, 0.0)))


@dataclass(frozen=True, eq=False)
class GaussianMixture(Density):
    """Equally weighted round Gaussians of standard deviation ``noise`` at ``centres`` (m, 2)."""

    centres: FloatArray
    noise: float

    def sample(self, n: int, generator: np.random.Generator) -> FloatArray:
        """Draw n points."""
        chosen = self.centres[generator.integers(len(self.centres), size=n)]
        return np.asarray(chosen + self.noise * generator.standard_normal((n, 2)))

    def log_prob(self, x: FloatArray) -> FloatArray:
        """Evaluate log (1/m) Σ N(x; c_k, noise²)."""
        weights = np.full(len(self.centres), 1.0 / len(self.centres))
        return map_in_chunks(
            lambda rows: log_gaussian_mixture(rows, self.centres, weights, self.noise), x, len(weights)
        )

    def entropy(self) -> float:
        """Integrate on a grid of half the standard deviation: about ten correct digits."""
        return entropy_on_grid(self, 0.5 * self.noise)

    def box(self) -> tuple[FloatArray, FloatArray]:
        """Return the centres' box widened by eight standard deviations."""
        return self.centres.min(axis=0) - 8.0 * self.noise, self.centres.max(axis=0) + 8.0 * self.noise


@dataclass(frozen=True, eq=False)
class PixelDensity(Density):
    """A picture as a density: constant within each pixel, in proportion to its brightness.

    ``brightness`` has shape (rows, columns), first row on top; the picture fills the box from ``low`` to ``high``.
    """

    brightness: FloatArray
    low: tuple[float, float] = (-4.0, -4.0)
    high: tuple[float, float] = (4.0, 4.0)

    def sample(self, n: int, generator: np.random.Generator) -> FloatArray:
        """Choose a pixel by its brightness, then a point in it uniformly."""
        pixels = generator.choice(self.brightness.size, size=n, p=self._probabilities().ravel())
        row, column = np.divmod(pixels, self.brightness.shape[1])
        cell = np.stack([column, self.brightness.shape[0] - 1 - row], axis=1)
        return np.asarray(self.low + (cell + generator.random((n, 2))) * self._pixel_size())

    def log_prob(self, x: FloatArray) -> FloatArray:
        """Evaluate log (pixel probability / pixel area)."""
        cell = np.floor((x - self.low) / self._pixel_size())
        n_rows, n_columns = self.brightness.shape
        inside = np.all((cell >= 0) & (cell < (n_columns, n_rows)), axis=1)
        column, up = np.where(inside.reshape(-1, 1), cell, 0).astype(int).T
        probability = np.where(inside, self._probabilities()[n_rows - 1 - up, column], 0.0)
        with np.errstate(divide="ignore"):  # log 0 = -inf is the answer where the picture is black
            return np.asarray(np.log(probability) - np.log(self._pixel_size().prod()))

    def entropy(self) -> float:
        """Return log (pixel area) - Σ P log P, in closed form."""
        probabilities = self._probabilities()
        lit = probabilities[probabilities > 0]
        return float(np.log(self._pixel_size().prod()) - np.sum(lit * np.log(lit)))

    def box(self) -> tuple[FloatArray, FloatArray]:
        """Return the corners of the picture."""
        return np.array(self.low), np.array(self.high)

    def _probabilities(self) -> FloatArray:
        return np.asarray(self.brightness / self.brightness.sum())

    def _pixel_size(self) -> FloatArray:
        return np.asarray((np.array(self.high) - self.low) / self.brightness.shape[::-1])


@dataclass(frozen=True)
class CosineBand(Density):
    """x uniform on [-4, 4], y = 2 cos(πx/2) plus Gaussian noise: log p = -log 8 + log N(y; 2 cos(πx/2), noise²)."""

    noise: float

    def sample(self, n: int, generator: np.random.Generator) -> FloatArray:
        """Draw n points."""
        x = generator.uniform(-4.0, 4.0, n)
        return np.stack([x, self._middle(x) + self.noise * generator.standard_normal(n)], axis=1)

    def log_prob(self, x: FloatArray) -> FloatArray:
        """Evaluate the closed form."""
        pull = (x[:, 1] - self._middle(x[:, 0])) / self.noise
        logs = -0.5 * pull**2 - 0.5 * np.log(2.0 * np.pi * self.noise**2) - np.log(8.0)
        return np.where(np.abs(x[:, 0]) <= 4.0, logs, -np.inf)

    def entropy(self) -> float:
        """Return log 8 + ½ log(2πe noise²)."""
        return float(np.log(8.0) + 0.5 * np.log(2.0 * np.pi * np.e * self.noise**2))

    def box(self) -> tuple[FloatArray, FloatArray]:
        """Return the band's box, eight standard deviations above and below."""
        edge = np.array([4.0, 2.0 + 8.0 * self.noise])
        return -edge, edge

    @staticmethod
    def _middle(x: FloatArray) -> FloatArray:
        return np.asarray(2.0 * np.cos(0.5 * np.pi * x))

"""Measure whether log_prob is a normalised density, and the one that samples follow."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bijecta.diagnostics.measurement import Measurement
from bijecta.diagnostics.metrics import ks_per_column
from bijecta.diagnostics.subject import Subject, domain, draw, draw_latent, embed

SAMPLES = 8000
CELLS = {1: 4000, 2: 200}
P_LIMIT = 1e-6


@dataclass(frozen=True)
class WeightedPoints:
    """Hold random points whose weights stand for the density: weighted sums over them are integrals.

    Args:
        points: (M, D), in the units of the data.
        log_prob: the log-density at the points (M,).
        weights: density times volume per point (M,).
        standard_error: of the sum of the weights; NaN where it cannot be trusted.
        beyond: the part of the samples that lies where there are no points.
        samples: samples of the flow where there are points (N, D).
    """

    points: Tensor
    log_prob: Tensor
    weights: Tensor
    standard_error: float
    beyond: float
    samples: Tensor

    @property
    def effective_size(self) -> float:
        """How many equally weighted points these are worth."""
        return float(self.weights.sum().square() / self.weights.square().sum())

    @property
    def uncertainty(self) -> float:
        """Five standard errors, or NaN where a few points decide: the standard error is then itself too small."""
        few = not self.effective_size > 100 or float(self.weights.max() / self.weights.sum()) > 0.05
        return math.nan if few else 5 * self.standard_error

    @property
    def is_precise(self) -> bool:
        """Whether a judgement can be built on the points."""
        return self.uncertainty < 0.15


def density_measurements(subject: Subject) -> list[Measurement]:
    """Integrate the density, and compare it with samples, of one context if there are contexts."""
    weighted = _grid(subject) if subject.dimensions <= 2 else _importance(subject)
    return [_normalisation(subject, weighted), _samples_against_density(subject, weighted)]


def _normalisation(subject: Subject, weighted: WeightedPoints) -> Measurement:
    name, integral = "integral of the density", float(weighted.weights.sum()) + weighted.beyond
    limit = 0.005 + weighted.uncertainty
    values = {"|integral - 1|": abs(integral - 1), "integral": integral, "standard error": weighted.standard_error}
    size = f"effective size {weighted.effective_size:.0f} of {len(weighted.points)}"
    way = f"{'grid' if subject.dimensions <= 2 else 'importance sampling'}, {size}"
    if not weighted.is_precise:
        return Measurement(name, values, math.nan, None, f"{way}: too uncertain to judge")
    return Measurement(name, values, limit, values["|integral - 1|"] <= limit, way)


def _samples_against_density(subject: Subject, weighted: WeightedPoints) -> Measurement:
    """Compare means of smooth steps, in every column and in log_prob, under the weights and under the samples."""
    name = "samples against density"
    if not weighted.is_precise:
        return Measurement(name, {}, P_LIMIT, None, "the density could not be integrated well enough")
    context = subject.one_context(len(weighted.samples))
    with torch.no_grad():
        log_prob = subject.flow.log_prob(_events(subject, weighted.samples), context).double()
    samples = torch.cat([weighted.samples, log_prob.unsqueeze(1)], 1)
    points = torch.cat([weighted.points, weighted.log_prob.unsqueeze(1)], 1)
    share = weighted.weights / weighted.weights.sum()
    deviations = [
        _deviation(level, samples[:, column], points[:, column], share)
        for column in range(samples.shape[1])
        for level in (0.05, 0.25, 0.5, 0.75, 0.95)
    ]
    largest = max(deviations)
    p_value = min(1.0, len(deviations) * math.erfc(largest / math.sqrt(2)))
    values = {"p": p_value, "largest deviation": largest}
    return Measurement(name, values, P_LIMIT, p_value >= P_LIMIT, f"in standard errors, {len(samples)} samples")


def _deviation(level: float, samples: Tensor, points: Tensor, share: Tensor) -> float:
    """Return the difference of two means of a smooth step at a quantile, in standard errors."""
    at = torch.quantile(samples, level)
    width = (torch.quantile(samples, 0.84) - torch.quantile(samples, 0.16)).clamp_min(1e-6) / 10
    seen, expected = torch.sigmoid((samples - at) / width), torch.sigmoid((points - at) / width)
    mean = (share * expected).sum()
    variance = seen.var() / len(seen) + (share * (expected - mean)).square().sum()
    # float32 densities are themselves only good to about 1e-4.
    return float((seen.mean() - mean).abs() / (variance + 1e-8).sqrt())


def _events(subject: Subject, points: Tensor) -> Tensor:
    return points.reshape(-1, *subject.event_shape).to(subject.x)


@torch.no_grad()
def _log_density(subject: Subject, points: Tensor) -> Tensor:
    """Evaluate log_prob in pieces, minus infinity outside the domain of the data."""
    pieces = [
        subject.flow.log_prob(_events(subject, part), subject.one_context(len(part))) for part in points.split(20_000)
    ]
    low, high, _ = (end.to(points) for end in domain(subject.flow, subject.dimensions))
    inside = ((points > low) & (points < high)).all(1)
    return torch.where(inside, torch.cat(pieces).double(), -torch.inf)


def _two_sets(subject: Subject) -> tuple[Tensor, Tensor]:
    """Draw two independent sets of samples, flat: one to choose the points by, one to compare with."""
    context = subject.one_context(SAMPLES)
    first, second = (draw(subject.flow, SAMPLES, context, subject.generator(stream)) for stream in (4, 5))
    return first.double().flatten(1), second.double().flatten(1)


def _grid(subject: Subject) -> WeightedPoints:
    """Lay cells over the central 99.8 % of every column, and two random points into every cell.

    Two points per cell make the sum unbiased and tell its standard error, where a fixed grid would miss a thin ridge
    without noticing.
    """
    first, second = _two_sets(subject)
    edges = [_edges(column, CELLS[subject.dimensions]) for column in first.T]
    low, size = (_cells(part, subject.dimensions) for part in ([e[:-1] for e in edges], [e.diff() for e in edges]))
    unit = torch.rand((2, *low.shape), generator=subject.generator(6), dtype=low.dtype, device=low.device)
    points = (low + unit * size).flatten(0, 1)
    log_prob = _log_density(subject, points)
    weights = log_prob.exp() * size.prod(1).repeat(2) / 2
    pairs = weights.reshape(2, -1)
    inside = torch.stack([(e[0] < x) & (x < e[-1]) for e, x in zip(edges, second.T, strict=True)]).all(0)
    beyond = 1 - float(inside.double().mean())
    variance = float((pairs[0] - pairs[1]).square().sum()) + max(beyond, 1 / SAMPLES) / SAMPLES
    return WeightedPoints(points, log_prob, weights, math.sqrt(variance), beyond, second[inside])


def _edges(column: Tensor, cells: int) -> Tensor:
    levels = torch.linspace(0.001, 0.999, cells // 2 + 1, dtype=column.dtype, device=column.device)
    quantiles = torch.quantile(column, levels)
    span = quantiles[-1] - quantiles[0]
    even = quantiles[0] + span * torch.linspace(0, 1, cells // 2 + 1, dtype=column.dtype, device=column.device)[1:-1]
    return torch.cat([quantiles, even, quantiles[-1:]]).sort().values


def _cells(columns: list[Tensor], dimensions: int) -> Tensor:
    """Combine one number per cell and column into one row per cell (M, D)."""
    return torch.cartesian_prod(*columns).reshape(-1, dimensions)


def _importance(subject: Subject) -> WeightedPoints:
    """Draw points from a wide mixture of Student-t around samples, and weight them with the density."""
    first, second = _two_sets(subject)
    propose, log_proposal = _proposal(first, subject.generator(6))
    points = propose(2 * SAMPLES)
    log_prob = _log_density(subject, points)
    weights = (log_prob - log_proposal(points)).exp() / len(points)
    return WeightedPoints(points, log_prob, weights, float(weights.std() * math.sqrt(len(points))), 0.0, second)


def _proposal(
    samples: Tensor, generator: torch.Generator, centres: int = 400, degrees: float = 4.0
) -> tuple[Callable[[int], Tensor], Callable[[Tensor], Tensor]]:
    """Fit a mixture: narrow Student-t kernels around some samples, and one wide Student-t around all.

    Every component has the covariance of the samples (without their far tails), scaled. Returns its sampler and its
    log-density.
    """
    size = samples.shape[1]
    low, high = torch.quantile(samples, 0.01, dim=0), torch.quantile(samples, 0.99, dim=0)
    central = samples.clamp(low, high)
    ridge = 1e-6 * torch.diag(central.var(0).clamp_min(1e-12))
    factor = torch.linalg.cholesky(torch.cov(central.T).reshape(size, size) + ridge)
    kernel = (4 / ((size + 2) * centres)) ** (1 / (size + 4))
    places = torch.cat([samples[:centres], central.mean(0, keepdim=True)])
    widths = torch.full((len(places),), kernel, dtype=samples.dtype, device=samples.device)
    widths[-1] = 1.5
    shares = torch.full_like(widths, 0.8 / (len(places) - 1))
    shares[-1] = 0.2
    whitened = torch.linalg.solve_triangular(factor, places.T, upper=False).T

    def propose(count: int) -> Tensor:
        chosen = torch.multinomial(shares, count, replacement=True, generator=generator)
        normal = torch.randn((count, size), generator=generator, dtype=samples.dtype, device=samples.device)
        # A sum of `degrees` squared normals is chi-squared: torch's gamma sampler takes no generator.
        squares = torch.randn((count, int(degrees)), generator=generator, dtype=samples.dtype, device=samples.device)
        student = normal * (degrees / squares.square().sum(1, keepdim=True)).sqrt()
        return places[chosen] + (widths[chosen, None] * student) @ factor.T

    constant = math.lgamma((degrees + size) / 2) - math.lgamma(degrees / 2) - size / 2 * math.log(degrees * math.pi)
    constant -= float(factor.diagonal().log().sum())

    def log_proposal(points: Tensor) -> Tensor:
        white = torch.linalg.solve_triangular(factor, points.T, upper=False).T
        squared = (torch.cdist(white, whitened) / widths).square()
        log_kernel = constant - size * widths.log() - (degrees + size) / 2 * torch.log1p(squared / degrees)
        return torch.logsumexp(log_kernel + shares.log(), 1)

    return propose, log_proposal


@torch.no_grad()
def samples_against_latent(subject: Subject) -> Measurement:
    """Map samples to latent and compare them with the base, by Kolmogorov-Smirnov, column by column and in density."""
    flow, count = subject.flow, len(subject.x)
    context = subject.context
    samples = draw(flow, count, context, subject.generator(7))
    z = flow.to_latent(samples, context)
    fresh = draw_latent(flow, count, context, subject.generator(8))
    embedded = embed(flow, context)
    columns = [
        torch.cat([latent.flatten(1)[:, :50], flow.base.log_prob(latent, embedded).unsqueeze(1)], 1).double()
        for latent in (z, fresh)
    ]
    found = ks_per_column(columns[0].cpu().numpy(), columns[1].cpu().numpy())
    p_value = min(1.0, len(found) * min(result.p_value for result in found))
    values = {"p": p_value, "largest distance": max(result.distance for result in found)}
    return Measurement("samples against latent", values, P_LIMIT, p_value >= P_LIMIT, f"{count} samples")

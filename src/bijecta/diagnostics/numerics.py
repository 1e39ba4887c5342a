"""Measure how a flow behaves in floating point: hidden float32, drift, and gradients far from the data."""

import math
from copy import deepcopy

import torch
from torch import Tensor

from bijecta.bijections import Standardise
from bijecta.diagnostics.measurement import Measurement
from bijecta.diagnostics.subject import Subject, domain, draw, undo_column_maps
from bijecta.flows import Flow

STEPS = (1e-8, 1e-10)
DISTANCES = (0.0, 1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6)


def float64_is_kept(subject: Subject) -> Measurement:
    """Look for float32 inside a float64 copy: in the dtype of every output, and in how finely outputs respond.

    A tiny step must move z, x and log_prob by that step times their derivative. Numbers that pass through float32
    move in jumps of 6e-8 of their size, and miss it at every step size. The better of two step sizes counts: the
    larger suffers from curvature, the smaller from the rounding of float64.
    """
    flow = subject.precise
    x, context = subject.rows(64)
    z = flow.to_latent(x, context).detach()
    sample = draw(flow, len(x), context, subject.generator(2))
    outputs = {"z": z, "x": flow.to_data(z, context), "log_prob": flow.log_prob(x, context), "samples": sample}
    wrong = [name for name, output in outputs.items() if output.dtype != torch.float64]
    values = {
        "response": max(map(min, *(_misses(flow, x, context, step * subject.scale, step) for step in STEPS))),
        "outputs of another dtype": float(len(wrong)),
    }
    passed = values["response"] <= 1e-3 and not wrong
    return Measurement("float64 is kept", values, 1e-3, passed, f"not float64: {', '.join(wrong)}" if wrong else "")


def _misses(flow: Flow, x: Tensor, context: Tensor | None, by: Tensor, step: float) -> tuple[float, ...]:
    """Compare a small step with its derivative: of z, of log_prob, and of x."""
    z = flow.to_latent(x, context).detach()

    def moved(time: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c = None if context is None else context + step * time.unsqueeze(-1)
        x_moved = x + by * time.reshape(-1, *[1] * (x.ndim - 1))
        z_moved = z + step * time.reshape(-1, *[1] * (z.ndim - 1))
        return flow.to_latent(x_moved, c), flow.log_prob(x_moved, c), step / by * flow.to_data(z_moved, c)

    start = torch.zeros(len(x), dtype=x.dtype, device=x.device, requires_grad=True)
    before, after = moved(start), moved(torch.ones_like(start))
    return tuple(_miss(a, b, start, step) for a, b in zip(before, after, strict=True))


def _miss(before: Tensor, after: Tensor, time: Tensor, step: float) -> float:
    """Return how far the difference is from the derivative, relative to it: the value that 90 % of rows keep."""
    before, after = before.reshape(len(time), -1).sum(1).double(), after.reshape(len(time), -1).sum(1).double()
    (slope,) = torch.autograd.grad(before.sum(), time, retain_graph=True, materialize_grads=True)
    size = slope.abs() + slope.abs().median() + 1e-3 * step
    error = ((after - before - slope) / size).detach().abs()
    return float(torch.quantile(error.nan_to_num(nan=math.inf), 0.9))


@torch.no_grad()
def drift(subject: Subject) -> Measurement:
    """Compare log_prob in float32 with log_prob in float64, in nats."""
    x, context = subject.x.float(), None if subject.context is None else subject.context.float()
    single = deepcopy(subject.flow).float().log_prob(x, context).double()
    double = subject.precise.log_prob(x.double(), None if context is None else context.double())
    error = (single - double).abs()
    error = torch.where(error.isnan(), torch.inf, error).sort().values
    limit = 1e-2 * max(1.0, subject.dimensions / 100)
    values = {
        "99 %": float(error[int(0.99 * (len(error) - 1))]),
        "median": float(error[len(error) // 2]),
        "max": float(error[-1]),
    }
    return Measurement("float32 against float64 log_prob", values, limit, values["99 %"] <= limit, "nats")


def gradients(subject: Subject) -> Measurement:
    """Count log-densities and gradients that are not finite, from the data's centre to a million spreads away.

    A log_prob of minus infinity is correct outside a bounded support; NaN, plus infinity, and gradients in x or in
    the weights that are not finite are not.
    """
    flow, bad = deepcopy(subject.flow), []
    for distance in DISTANCES:
        points = _points_at(subject, distance)
        if not _is_finite(flow, points, subject.one_context(len(points))):
            bad.append(f"{distance:g}")
    edges = _spline_edges(subject)
    if len(edges) and not _is_finite(flow, edges, subject.one_context(len(edges))):
        bad.append("the edge of a spline")
    values = {"not finite": float(len(bad)), "distances": float(len(DISTANCES) + bool(len(edges)))}
    note = f"at {', '.join(bad)} spreads" if bad else "up to 1e6 spreads"
    return Measurement("finite gradients", values, 0.0, not bad, note)


def _is_finite(flow: Flow, points: Tensor, context: Tensor | None) -> bool:
    points = points.detach().requires_grad_()
    log_prob = flow.log_prob(points, context)
    if bool((log_prob.isnan() | (log_prob == torch.inf)).any()):
        return False
    inputs = [points, *(weight for weight in flow.parameters() if weight.requires_grad)]
    found = torch.autograd.grad(log_prob.sum(), inputs, allow_unused=True) if log_prob.requires_grad else ()
    return all(bool(gradient.isfinite().all()) for gradient in found if gradient is not None)


def _points_at(subject: Subject, distance: float) -> Tensor:
    """Return points that far from the centre: both diagonals, axes, random signs; inside the domain of the data."""
    size = subject.dimensions
    signs = torch.randint(0, 2, (8, size), generator=subject.generator(3), device=subject.x.device) * 2.0 - 1
    axes = torch.eye(size, device=signs.device)[: min(size, 8)]
    direction = torch.cat([torch.ones_like(signs[:1]), -torch.ones_like(signs[:1]), axes, -axes, signs]).double()
    centre, scale = subject.x.double().median(0).values.flatten(), subject.scale.flatten()
    free = centre + distance * direction * scale
    low, high, _ = (end.to(free) for end in domain(subject.flow, size))
    # Towards an end of the domain the gap to the end shrinks by the same factor by which free columns go away.
    below = torch.where(low.isfinite(), low + (centre - low) / (1 + distance), free)
    above = torch.where(high.isfinite(), high - (high - centre) / (1 + distance), free)
    points = torch.where(direction < 0, below, torch.where(direction > 0, above, centre)).to(subject.x)
    inside_low = torch.nextafter(low.to(points), torch.full_like(points[0], torch.inf))
    inside_high = torch.nextafter(high.to(points), torch.full_like(points[0], -torch.inf))
    return points.clamp(inside_low, inside_high).reshape(-1, *subject.event_shape)


def _spline_edges(subject: Subject) -> Tensor:
    """Return the points that standardisation maps onto the two ends of the splines; none without both."""
    modules = list(subject.flow.modules())
    scalers = [m for m in modules if isinstance(m, Standardise) and m.mean.shape == subject.event_shape]
    found = [getattr(m, "bound", None) for m in modules]
    bounds = sorted({float(bound) for bound in found if isinstance(bound, float | int)})
    if not scalers or not bounds:
        return subject.x[:0]
    sides = torch.tensor([side * bound for bound in bounds for side in (-1, 1)]).to(subject.x)
    edges = scalers[0].inverse(sides.unsqueeze(-1).expand(-1, subject.dimensions))
    return undo_column_maps(subject.flow, edges).detach()

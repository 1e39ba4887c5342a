"""Measure whether the map of a flow can be inverted, and whether its ladj is that of its Jacobian."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor

from bijecta.diagnostics.measurement import Measurement
from bijecta.diagnostics.subject import Subject, domain, draw_latent, embed, spread
from bijecta.flows import Flow

LIMIT_FLOAT64 = 1e-8
LIMIT_FLOAT32 = 1e-3
Map = Callable[[Tensor], Tensor]


@torch.no_grad()
def round_trips(subject: Subject) -> list[Measurement]:
    """Go from data to latent and back, and from latent to data and back, in float64 and in float32.

    An error is the largest over the columns, relative to the spread of the column plus the size of the number. In
    float64 it is divided by the amplification of the second map where that exceeds 1: what no exact map could avoid.
    """
    found = []
    for name, flow, limit in (
        ("float64", subject.precise, LIMIT_FLOAT64),
        ("float32", deepcopy(subject.flow).float(), LIMIT_FLOAT32),
    ):
        dtype = torch.float64 if name == "float64" else torch.float32
        context = None if subject.context is None else subject.context.to(dtype)
        x = subject.x.to(dtype)
        z = draw_latent(flow, len(x), context, subject.generator(1))
        to_latent, to_data = _maps(flow, context)
        period = domain(flow, subject.dimensions)[2].to(x).reshape(subject.event_shape)
        found.append(_round_trip(f"round trip of data, {name}", x, to_latent, to_data, limit, period))
        found.append(_round_trip(f"round trip of latent, {name}", z, to_data, to_latent, limit, None))
    return found


def _maps(flow: Flow, context: Tensor | None) -> tuple[Map, Map]:
    return (lambda x: flow.to_latent(x, context)), (lambda z: flow.to_data(z, context))


def _round_trip(name: str, start: Tensor, there: Map, back: Map, limit: float, period: Tensor | None) -> Measurement:
    middle = there(start)
    end = back(middle)
    error = _relative(end - start, start, period)
    judged = error / _amplification(back, middle, end, start) if start.dtype == torch.float64 else error
    values = {
        "99.9 %": _quantile(judged, 0.999),
        "median": _quantile(error, 0.5),
        "99 %": _quantile(error, 0.99),
        "max": float(error.max()),
    }
    return Measurement(name, values, limit, values["99.9 %"] <= limit, "relative to the spread")


def _relative(difference: Tensor, rows: Tensor, period: Tensor | None) -> Tensor:
    r"""Reduce differences (N, \*event) to one relative error per row; NaN counts as infinite."""
    if period is not None:
        turns = torch.nan_to_num((difference / period).round())
        difference = difference - torch.where(period.isnan(), 0.0, period.nan_to_num() * turns)
    error = (difference / (spread(rows.double()).to(rows) + rows.abs())).abs()
    return torch.where(error.isnan(), torch.inf, error).flatten(1).amax(1).double()


def _amplification(back: Map, middle: Tensor, end: Tensor, start: Tensor, step: float = 1e-7) -> Tensor:
    """Measure by how much the second map enlarges a relative change of its input, at least 1."""
    signs = 2.0 * (torch.arange(middle[0].numel(), device=middle.device) % 2) - 1
    change = step * (spread(middle) + middle.abs()) * signs.reshape(middle.shape[1:]).to(middle)
    ratio = _relative(back(middle + change) - end, start, None) / step
    # A map that tears its input would excuse itself: at 1e6 it would still fail if it were off by 1 %.
    return ratio.clamp(1, 1e6)


def _quantile(values: Tensor, level: float) -> float:
    return float(values.sort().values[min(len(values) - 1, int(level * len(values)))])


def log_determinants(subject: Subject) -> list[Measurement]:
    """Compare both ladj, and the log-density, with the determinant of the Jacobian that autograd finds, in float64."""
    flow, dimensions = subject.precise, subject.dimensions
    x, context = subject.rows(min(64, max(1, 1024 // dimensions)))
    embedded = embed(flow, context)
    z, forward_ladj, exact, condition = _both(lambda x: flow.bijection.forward_and_ladj(x, embedded), x)
    _, inverse_ladj, inverse_exact, inverse_condition = _both(lambda z: flow.bijection.inverse_and_ladj(z, embedded), z)
    log_prob = flow.log_prob(x, context)
    return [
        _agreement("ladj against autograd", forward_ladj, exact, condition),
        _agreement("inverse ladj against autograd", inverse_ladj, inverse_exact, inverse_condition),
        _agreement("log_prob against autograd", log_prob, flow.base.log_prob(z, embedded) + exact, condition),
    ]


def _both(change: Callable[[Tensor], tuple[Tensor, Tensor]], x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return z, its claimed ladj, the log-determinant of the Jacobian, and the Jacobian's condition number."""
    x = x.detach().requires_grad_()
    z, ladj = change(x)
    jacobian = jacobian_of(z, x)
    return z.detach(), ladj.detach(), torch.linalg.slogdet(jacobian).logabsdet, torch.linalg.cond(jacobian)


def jacobian_of(z: Tensor, x: Tensor) -> Tensor:
    """Return the Jacobians (N, D, D) of a batch, one backward pass per coordinate of z."""
    columns = z.flatten(1).sum(0)
    rows = [
        torch.autograd.grad(column, x, retain_graph=True, materialize_grads=True)[0].flatten(1) for column in columns
    ]
    return torch.stack(rows, 1)


def _agreement(name: str, claimed: Tensor, exact: Tensor, condition: Tensor) -> Measurement:
    error = ((claimed - exact) / (1 + exact.abs())).abs().detach()
    error = torch.where(error.isnan(), torch.inf, error)
    # The determinant of an ill-conditioned matrix is itself rounded: allow for that, but never for a visible error.
    judged = float((error / (1 + 1e-6 * condition.clamp(max=1e10))).max())
    values = {"judged": judged, "max": float(error.max()), "median": float(error.median())}
    return Measurement(name, values, LIMIT_FLOAT64, judged <= LIMIT_FLOAT64, f"relative, {len(error)} rows")

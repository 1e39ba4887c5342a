"""Samples of some columns given the others, for any choice of columns, from a flow of all of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import biject_to

from bijecta.bijections import (
    ActNorm,
    Affine,
    Autoregressive,
    Bijection,
    Chain,
    Elementwise,
    Indexed,
    Log,
    Logit,
    Standardise,
    Whiten,
    Wrap,
)
from bijecta.data.schema import Schema
from bijecta.distributions import DiagonalNormal, Normal, StudentT, UniformBox
from bijecta.distributions.normal import standard_normal
from bijecta.errors import InputError, NotConvergedError
from bijecta.flows.flow import Flow

POOL, NEIGHBOURS = 20_000, 400
ROUNDS, ADAPTING = 2, 5_000
KERNELS = 999
WIDTHS = (2.0, 0.5, 0.125)  # of the kernels, times Scott's rule, which is too wide for several narrow modes
_COLUMNWISE = (ActNorm, Affine, Elementwise, Log, Logit, Standardise, Wrap)
_INDEPENDENT = (Normal, DiagonalNormal, StudentT, UniformBox)


@dataclass(frozen=True)
class ConditionalSamples:
    """Hold weighted samples of all columns, those that were given at their values.

    Args:
        x: rows (N, D).
        log_weight: logarithms of their weights (N,), which sum to 1; all the same where the samples are exact.

    Example:
        >>> import torch
        >>> from bijecta.flows import ConditionalSamples
        >>> equal = ConditionalSamples(torch.zeros(4, 1), torch.full((4,), 0.25).log())
        >>> round(equal.effective_sample_size, 3)
        4.0
    """

    x: Tensor
    log_weight: Tensor

    @property
    def effective_sample_size(self) -> float:
        """How many samples of equal weight they are worth."""
        return 1 / float(self.log_weight.double().exp().square().sum())

    def resample(self, size: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw rows of equal weight, with repetitions."""
        return self.x[torch.multinomial(self.log_weight.exp(), size, replacement=True, generator=generator)]


@torch.no_grad()
def conditional_sample(
    flow: Flow,
    given: Mapping[int | str, float],
    size: int,
    *,
    context: Tensor | None = None,
    generator: torch.Generator | None = None,
    smallest_share: float = 0.05,
) -> ConditionalSamples:
    r"""Sample :math:`p(x_F \mid x_G = v)`, the free columns F given values of any others G.

    .. math:: w_n \propto p(v, x_F^{(n)}) / q(x_F^{(n)}), \qquad
              \mathrm{ESS} = \left(\sum_n w_n\right)^2 / \sum_n w_n^2

    Where column i of the latent depends on the columns up to i only (`made`, or any chain of maps of single columns,
    `Whiten` and `Autoregressive` layers in the natural order, on a base of independent columns) and G are the first
    columns, the samples are exact. Otherwise they come from an adapted mixture of Gaussians q, and are weighted. It
    starts from those samples of the flow that are nearest to v in G, so conditions in far tails, or many free columns
    of a complicated shape, end in the error. A mode that none of these samples is near to can be missed.

    Args:
        flow: a flow of vectors.
        given: values by column, in the units of the data; a flow of the recipe `table` knows its columns by name too.
        size: number N of samples.
        context: of shape (C,), for a conditional flow.
        generator: source of randomness (default: the global one of torch).
        smallest_share: the smallest effective sample size that is accepted, as a fraction of N.

    Returns:
        `ConditionalSamples`.

    Raises:
        InputError: no column is given, or none is free, or one does not exist, or a value is impossible.
        NotConvergedError: the effective sample size is too small.

    References:
        O. Cappé, A. Guillin, J. Marin, C. Robert (2004), Population Monte Carlo.

    Example:
        >>> import torch
        >>> from bijecta.flows import conditional_sample, made
        >>> samples = conditional_sample(made(3), {0: 1.5}, 100)
        >>> samples.x.shape, samples.x[:, 0].unique(), round(samples.effective_sample_size)
        (torch.Size([100, 3]), tensor([1.5000]), 100)
    """
    numbered = _by_number(flow, given, size)
    known = sorted(numbered)
    rows = flow.sample(max(POOL, size), context, generator=generator)
    pool = rows.clone()
    rows[:, known] = rows.new_tensor([numbered[column] for column in known])
    if not bool(flow.condition(context).support.check(rows[0])):
        raise InputError(f"Expected values inside the support of their columns, got {dict(given)}.")
    if known == list(range(len(known))) and _is_triangular(flow.bijection) and isinstance(flow.base, _INDEPENDENT):
        x = _exact(flow, rows[:size], known, context, generator)
        return ConditionalSamples(x, x.new_full((size,), -math.log(size)))
    found = _weighted(flow, pool, rows[:size], known, context, generator)
    if not found.effective_sample_size >= smallest_share * size:
        raise _collapsed(found, smallest_share)
    return found


def _by_number(flow: Flow, given: Mapping[int | str, float], size: int) -> dict[int, float]:
    """Check the request, and number the columns."""
    if flow.event_shape is None or len(flow.event_shape) != 1:
        raise InputError(f"conditional_sample expects a flow of vectors, got events of shape {flow.event_shape}.")
    features = flow.event_shape[0]
    recipe = flow.recipe or {"name": ""}
    names = Schema.from_json(recipe["arguments"]["schema"]).names if recipe["name"] == "table" else ()
    numbers: dict[int | str, int] = {name: number for number, name in enumerate(names)}
    found = {numbers.get(column, column): value for column, value in given.items()}
    if not 0 < len(found) < features or not set(found) <= set(range(features)) or size < 1:
        known = f" ({', '.join(names)})" if names else ""
        raise InputError(
            f"conditional_sample expects values for 1 to {features - 1} of the columns 0 to {features - 1}{known}, "
            f"and a positive size; got values for {list(given)} and size {size}."
        )
    return {int(column): value for column, value in found.items()}


def _is_triangular(bijection: Bijection) -> bool:
    """Whether column i of the latent depends on the columns up to i only, by construction."""
    match bijection:
        case Chain():
            return all(_is_triangular(layer) for layer in bijection)
        case Indexed():
            return len(bijection.index) == 1
        case Autoregressive():
            return bijection.conditioner.sequence == list(range(len(bijection.columns)))
    return isinstance(bijection, (*_COLUMNWISE, Whiten))


def _exact(
    flow: Flow, rows: Tensor, known: list[int], context: Tensor | None, generator: torch.Generator | None
) -> Tensor:
    """Map the given values to their latent, draw the rest of the latent, and map back."""
    contexts = _rows_of(context, rows)
    latent = flow.base.sample(len(rows), generator=generator)
    latent[:, known] = flow.to_latent(rows, contexts)[:, known]
    x = flow.to_data(latent, contexts)
    x[:, known] = rows[:, known]
    return x


def _weighted(
    flow: Flow,
    pool: Tensor,
    rows: Tensor,
    known: list[int],
    context: Tensor | None,
    generator: torch.Generator | None,
) -> ConditionalSamples:
    """Adapt a mixture of kernels to the condition in a few rounds; the last round is the result."""
    # Positive numbers, intervals and angles become real numbers, so that no proposal leaves the support.
    to_data = biject_to(flow.condition(context).support)
    line = to_data.inv(rows[:1])
    free = [column for column in range(rows.shape[1]) if column not in known]
    centres = _neighbours(to_data.inv(pool), line[0, known], known, free)
    for size in [ADAPTING] * ROUNDS + [len(rows)]:
        proposal = _Kernels(centres)
        points = line.repeat(size, 1)
        points[:, free] = proposal.sample(size, generator)
        x = to_data(points)
        x[:, known] = rows[0, known]
        log_prob = flow.log_prob(x, _rows_of(context, x)) + to_data.log_abs_det_jacobian(points, x)
        log_weight = log_prob - proposal.log_prob(points[:, free])
        # At the very ends of a bounded column a density can be undefined.
        found = ConditionalSamples(x, torch.where(log_weight.isnan(), -torch.inf, log_weight).log_softmax(0))
        if not found.effective_sample_size >= 1:
            raise _collapsed(found, 0.0)
        chosen = torch.multinomial(found.log_weight.exp(), KERNELS, replacement=True, generator=generator)
        centres = points[chosen][:, free]
    return found


def _neighbours(pool: Tensor, values: Tensor, known: list[int], free: list[int]) -> Tensor:
    """Take the samples that are nearest to the values, and move them there along a linear regression."""
    offset = (pool[:, known] - values) / pool[:, known].std(0)
    nearest = offset.square().sum(1).topk(NEIGHBOURS, largest=False).indices
    offset, others = offset[nearest], pool[nearest][:, free]
    centred = offset - offset.mean(0)
    # A little of the identity keeps neighbours that lie in a plane from being extrapolated.
    normal = centred.T @ centred + 1e-3 * NEIGHBOURS * torch.eye(len(known)).to(pool)
    return others - offset @ torch.linalg.solve(normal, centred.T @ (others - others.mean(0)))


def _rows_of(context: Tensor | None, x: Tensor) -> Tensor | None:
    return None if context is None else context.expand(len(x), -1)


def _collapsed(found: ConditionalSamples, smallest_share: float) -> NotConvergedError:
    least = max(1.0, smallest_share * len(found.x))
    return NotConvergedError(
        f"The {len(found.x)} conditional samples are worth only {found.effective_sample_size:.1f} (their effective "
        f"sample size); expected at least {least:.0f}. Are the given values possible? With many free columns, train a "
        "flow that has the given columns as context, or as the first columns of `made`; or lower smallest_share."
    )


class _Kernels:
    """A mixture of Gaussians: one on every centre, of three widths, and a broad one for all of them together."""

    def __init__(self, centres: Tensor) -> None:
        # In double precision the ridge is enough, also where few different centres are left.
        self.dtype, centres = centres.dtype, centres.double()
        count, features = centres.shape
        mean = centres.mean(0)
        covariance = torch.atleast_2d(torch.cov(centres.T))
        ridge = 1e-6 * covariance.diagonal().clamp_min(1e-30)
        self.factor = torch.linalg.cholesky(covariance + torch.diag(ridge))
        self.centres = self._whiten(torch.cat([centres, mean[None]]))
        widths = centres.new_tensor(WIDTHS).repeat(-(-count // len(WIDTHS)))[:count]
        self.width = torch.cat([widths * count ** (-1 / (features + 4)), widths.new_tensor([1.2])])
        self.log_share = torch.cat(
            [widths.new_full((count,), math.log(0.8 / count)), widths.new_tensor([math.log(0.2)])]
        )

    def _whiten(self, x: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(self.factor, x.T, upper=False).T

    def sample(self, size: int, generator: torch.Generator | None) -> Tensor:
        chosen = torch.multinomial(self.log_share.exp(), size, replacement=True, generator=generator)
        noise = standard_normal((size, self.centres.shape[1]), self.centres, generator)
        return ((self.centres[chosen] + self.width[chosen, None] * noise) @ self.factor.T).to(self.dtype)

    def log_prob(self, x: Tensor) -> Tensor:
        """Evaluate the mixture, up to a constant."""
        height = self.log_share - x.shape[1] * self.width.log()
        # In parts: the distances of all points to all centres would need much memory.
        parts = self._whiten(x.double()).split(4096)
        logs = [
            (height - 0.5 * (torch.cdist(part, self.centres) / self.width).square()).logsumexp(-1) for part in parts
        ]
        return torch.cat(logs).to(self.dtype)

"""Variational inference: fit a flow to an unnormalised density, by gradients along the paths of its samples."""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn

from bijecta.distributions import Distribution
from bijecta.errors import InputError, NotConvergedError
from bijecta.training.config import FitConfig
from bijecta.training.loop import FitResult, Progress, fit
from bijecta.training.losses import Batch, Loss
from bijecta.training.variational_weights import LogDensity, effective_sample_size, evaluate, sample_importance

_FINAL_DRAWS = 10_000  # that measure the fitted flow
_START_ROWS = 1000  # per column, that tell a flow where to begin


@dataclass(frozen=True)
class VariationalProgress(Progress):
    """One line of the history of `fit_variational`: a `Progress`, and what draws of the flow were worth.

    Attributes:
        effective_fraction: effective sample size over number of the draws that validated this epoch, at most 1.
        log_evidence: logarithm of the integral of the density, estimated from the same draws.
    """

    effective_fraction: float
    log_evidence: float


@dataclass(frozen=True)
class VariationalResult:
    """What `fit_variational` returns.

    Attributes:
        fit: how the run ended.
        history: one `VariationalProgress` per epoch of this call; epochs before a resumed checkpoint are in ``fit``.
        effective_fraction: effective sample size over number of fresh draws of the fitted flow.
        log_evidence: logarithm of the integral of the density, from the same draws.
        log_evidence_error: its standard deviation.
        tail_shape: shape k of the tail of their weights; the two numbers before can be trusted for k below 0.7.
    """

    fit: FitResult
    history: tuple[VariationalProgress, ...]
    effective_fraction: float
    log_evidence: float
    log_evidence_error: float
    tail_shape: float


def variational_bound(log_density: LogDensity, *, samples: int = 1) -> Loss:
    r"""Make the loss of variational inference with gradients along the paths of the samples only.

    .. math:: \mathcal{L} = -\mathbb{E}_{x_k \sim q} \log \frac1K \sum_k w_k, \qquad
              w_k = \tilde p(x_k) / q(x_k), \qquad
              \nabla_\theta\mathcal{L} = -\mathbb{E} \sum_k \tilde w_k^2
              \frac{\partial \log w_k}{\partial x_k} \frac{\partial x_k}{\partial\theta}

    with :math:`\tilde w_k = w_k / \sum_l w_l`. K = 1 is the reverse KL divergence, up to log Z, by "sticking the
    landing": the derivative of log q with respect to its parameters at fixed x, which is zero on average and noise in
    every sample, is left out. Where the flow has reached the density the gradient of every single sample is zero, and
    the steps stop trembling. For K > 1 the doubly reparameterised gradient is used, the same idea, because the plain
    gradient of the importance-weighted bound drowns in noise as K grows. A larger K tightens the bound, and forgives
    the flow a density that is too wide, so that it covers more of a density with several wells.

    Which component of a mixture, or which proposal of a resampled base, a sample comes from has no derivative: flows
    with such bases learn everything but these choices.

    Args:
        log_density: maps points (N, D) to :math:`\log\tilde p` of shape (N,), differentiable, and finite where the flow
            has mass.
        samples: K, samples per bound; a batch of `fit` holds size / K bounds.

    Returns:
        A loss for `fit`, in nats: minus a lower bound of log Z. It takes one pass more through the flow than
        `reverse_kl`. A flow that has no exact density is trained by the total derivative of the same bound.

    Raises:
        InputError: ``samples`` is below 1.

    References:
        G. Roeder, Y. Wu, D. Duvenaud (2017), Sticking the Landing; Y. Burda, R. Grosse, R. Salakhutdinov (2016),
        Importance Weighted Autoencoders; G. Tucker, D. Lawson, S. Gu, C. Maddison (2019), Doubly Reparameterized
        Gradient Estimators for Monte Carlo Objectives; L. Vaitl et al. (2022), Gradients Should Stay on Path.

    Example:
        >>> import torch
        >>> from bijecta.flows import realnvp
        >>> from bijecta.training import Batch, variational_bound
        >>> loss = variational_bound(lambda x: -x.square().sum(-1) / 2)
        >>> bool((loss(realnvp(2), Batch(100)) + 1.8379).abs() < 1e-3)  # the flow begins as the density: -log Z
        True
    """
    if samples < 1:
        raise InputError(f"variational_bound expects samples to be at least 1, got {samples}.")

    def loss(flow: Distribution, batch: Batch) -> Tensor:
        context = batch.context if flow.context else None
        shape = (samples,) if context is not None else (samples, max(1, batch.size // samples))
        return negative_bound(log_weights(flow, log_density, shape, context), exact=not flow.is_bound)

    return loss


def log_weights(flow: Distribution, log_density: LogDensity, shape: tuple[int, ...], context: Tensor | None) -> Tensor:
    """Draw samples and return log p - log q, whose derivative runs along the paths of the samples only."""
    if flow.is_bound or not torch.is_grad_enabled():
        x, log_prob = flow.sample_and_log_prob(shape, context)
    else:
        x = flow.sample(shape, context)
        with _frozen(flow):
            log_prob = flow.log_prob(x, context)
    return evaluate(log_density, x, log_prob) - log_prob


def negative_bound(log_weight: Tensor, *, exact: bool = True) -> Tensor:
    """Return minus the bound of weights (K, ...), with the doubly reparameterised gradient where paths are exact."""
    bound = log_weight.logsumexp(0) - math.log(len(log_weight))
    if not exact:
        return -bound.mean()
    share = log_weight.detach().softmax(0)
    along_paths = (share.square() * log_weight).sum(0)
    return -(bound.detach() + along_paths - along_paths.detach()).mean()


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Take the parameters as constants for a block."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)  # noqa: FBT003
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)  # noqa: FBT003


def fit_variational(
    flow: Distribution,
    log_density: LogDensity,
    *,
    samples: int = 1,
    start: Tensor | None = None,
    config: FitConfig | None = None,
    on_epoch: Callable[[VariationalProgress], bool | None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> VariationalResult:
    r"""Fit a flow to an unnormalised density without data, and measure how well it fits.

    .. math:: \min_\theta\; -\mathbb{E}_{x \sim q_\theta}\left[\log\tilde p(x) - \log q_\theta(x)\right]
              = \min_\theta\, \mathrm{KL}(q_\theta \| p) - \log Z

    This is `fit` with the loss `variational_bound`: all its settings, its averaged weights, its checkpoints. Every
    epoch is judged by draws of the same noise; they give its validation loss, its effective sample size and its
    evidence. The divergence forgives a flow that misses a well of the density, and no number that is computed from
    draws of the flow can see it: begin wide, or compare runs with several seeds.

    Args:
        flow: an unconditional flow; trained in place.
        log_density: maps points (N, D) to :math:`\log\tilde p` of shape (N,), differentiable.
        samples: samples per bound; more than 1 fits the importance-weighted bound.
        start: a point of shape (D,) from which to climb to a maximum of the density: the flow then begins as the normal
            distribution of the same maximum and curvature (Laplace). Without it the flow begins as it is.
        config: settings; ``batch_size`` (default 256) counts draws per step, ``validation_fraction`` draws that judge,
            as a part of all draws of an epoch.
        on_epoch: called with a `VariationalProgress` after every epoch; returns True to stop.
        checkpoint: as for `fit`. The density is not part of it.

    Returns:
        The history, and what fresh draws of the fitted flow are worth. `sample_importance` draws from the density.

    Raises:
        InputError: the flow is conditional, no draws are left to judge by, or settings cannot be used.
        NotConvergedError: with ``start``, no maximum with a curvature in every direction was found.
        ShapeError: the density has not one number per point.
        TrainingDivergedError: the density is infinite or NaN where the flow has mass.

    References:
        D. Rezende, S. Mohamed (2015), Variational Inference with Normalizing Flows; G. Roeder, Y. Wu, D. Duvenaud
        (2017), Sticking the Landing.

    Example:
        >>> import torch
        >>> from bijecta.flows import realnvp
        >>> from bijecta.training import FitConfig, fit_variational
        >>> settings = FitConfig(epochs=2, steps_per_epoch=10)
        >>> found = fit_variational(realnvp(2, layers=2), lambda x: -x.square().sum(-1) / 2, config=settings)
        >>> round(found.effective_fraction, 2), abs(found.log_evidence - 1.8379) < 0.01
        (1.0, True)
    """
    config = _settings(flow, config or FitConfig())
    judge = _Judged(log_density, samples)
    if start is not None:
        start_at_mode(flow, log_density, start, config.seed)
    history: list[VariationalProgress] = []

    def note(progress: Progress) -> bool | None:
        history.append(judge.report(progress))
        return None if on_epoch is None else on_epoch(history[-1])

    draws = config.steps_per_epoch * (config.batch_size or 1)
    # `fit` counts, shuffles and holds out rows: these are rows without content, one per draw of an epoch.
    rows = torch.zeros(math.ceil(draws / (1 - config.validation_fraction)), 1)
    ended = fit(flow, context=rows, config=config, loss=judge, on_epoch=note, checkpoint=checkpoint)
    return _measured(flow, log_density, ended, tuple(history), config.seed)


def _settings(flow: Distribution, config: FitConfig) -> FitConfig:
    if flow.context:
        raise InputError(
            f"fit_variational expects a flow without context, got one with {flow.context} context features. "
            "Use fit(flow, context=..., loss=variational_bound(...))."
        )
    if config.validation_fraction == 0:
        raise InputError("fit_variational judges every epoch by draws; it expects a validation_fraction above 0.")
    return replace(config, batch_size=config.batch_size or 256)


def _measured(
    flow: Distribution, log_density: LogDensity, ended: FitResult, history: tuple[VariationalProgress, ...], seed: int
) -> VariationalResult:
    """Judge the fitted flow by draws that chose nothing."""
    device = next(flow.parameters()).device
    # Another seed than the one that judged the epochs: those draws chose the best one.
    generator = torch.Generator(device).manual_seed((seed + 2**32) % 2**63)
    found = sample_importance(flow, log_density, 1, draws=_FINAL_DRAWS, generator=generator)
    fraction = found.effective_sample_size / _FINAL_DRAWS
    return VariationalResult(ended, history, fraction, found.log_evidence, found.log_evidence_error, found.tail_shape)


class _Judged:
    """The loss of a run, which keeps the weights of the draws that judged its last epoch."""

    def __init__(self, log_density: LogDensity, samples: int) -> None:
        self.log_density, self.samples = log_density, samples
        self.loss = variational_bound(log_density, samples=samples)
        self.kept: list[Tensor] = []

    def __call__(self, flow: Distribution, batch: Batch) -> Tensor:
        if flow.training:
            self.kept.clear()
            return self.loss(flow, Batch(batch.size))
        shape = (self.samples, max(1, batch.size // self.samples))
        log_weight = log_weights(flow, self.log_density, shape, None)
        self.kept.append(log_weight.detach().flatten().double())
        return negative_bound(log_weight)

    def report(self, progress: Progress) -> VariationalProgress:
        """Add what the kept weights say to the progress of an epoch."""
        log_weight = torch.cat(self.kept)
        fraction = effective_sample_size(log_weight) / len(log_weight)
        evidence = float(log_weight.logsumexp(0)) - math.log(len(log_weight))
        return VariationalProgress(**asdict(progress), effective_fraction=fraction, log_evidence=evidence)


def start_at_mode(flow: Distribution, log_density: LogDensity, start: Tensor, seed: int = 0) -> None:
    r"""Let a flow begin as the Laplace approximation of a density: the normal of the same maximum and curvature.

    .. math:: x^* = \arg\max \tilde p, \qquad \Sigma^{-1} = -\nabla\nabla^T \log\tilde p(x^*)

    Args:
        flow: a flow that starts from data, as those of recipes do; it is given draws of the normal.
        log_density: maps points (N, D) to :math:`\log\tilde p`, twice differentiable.
        start: where to begin the search, of shape (D,).
        seed: of the draws.

    Raises:
        NotConvergedError: no maximum with a curvature in every direction was found.

    References:
        L. Tierney, J. Kadane (1986), Accurate Approximations for Posterior Moments and Marginal Densities.

    Example:
        >>> import torch
        >>> from bijecta.flows import realnvp
        >>> from bijecta.training import start_at_mode
        >>> flow = realnvp(2)
        >>> start_at_mode(flow, lambda x: -8 * (x - 5).square().sum(-1), torch.zeros(2))
        >>> flow.sample(1000).mean(0).round()
        tensor([5., 5.], grad_fn=<RoundBackward0>)
    """
    mode = _climb(log_density, start)
    precision = -torch.autograd.functional.hessian(lambda x: log_density(x[None]).sum(), mode)
    factor, failed = torch.linalg.cholesky_ex(precision)
    if bool(failed) or not bool(mode.isfinite().all()):
        raise NotConvergedError(
            f"No maximum with a curvature in every direction was found from the start {start.tolist()}; the search "
            f"ended at {mode.tolist()}. Start elsewhere, change the coordinates, or fit without a start."
        )
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(_START_ROWS * len(mode), len(mode), generator=generator, dtype=torch.float64).to(mode)
    rows = mode + torch.linalg.solve_triangular(factor.T, noise.T, upper=True).T
    flow.initialise(rows.to(next(flow.parameters())))


def _climb(log_density: LogDensity, start: Tensor) -> Tensor:
    """Climb to a maximum by L-BFGS in float64."""
    x = start.detach().double().clone().requires_grad_()
    search = torch.optim.LBFGS([x], max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def downhill() -> Tensor:
        search.zero_grad()
        loss = -log_density(x[None]).sum()
        loss.backward()
        return loss

    search.step(downhill)
    return x.detach()

"""Stochastic flows: bijections and random steps in turn, with weights of whole paths."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from bijecta.bijections import Bijection
from bijecta.distributions import Distribution
from bijecta.distributions.base import SampleShape
from bijecta.distributions.normal import standard_normal
from bijecta.errors import InputError

LogDensity = Callable[[Tensor], Tensor]


class StochasticStep(nn.Module, ABC):
    """A random move whose way back is known.

    A subclass says how probable the way back was, compared with the way that was taken. That is all that weights of
    paths need.
    """

    @abstractmethod
    def move(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        r"""Move every point.

        Args:
            x: points of shape (N, D).
            generator: source of randomness.

        Returns:
            Points y and :math:`\log k(y \to x) - \log k(x \to y)` of shape (N,), k the density of the move.
        """


class Metropolis(StochasticStep):
    r"""Move by a random walk, and stay where the density would fall too much.

    .. math:: y = x + \sigma\varepsilon, \qquad P(\text{accept}) = \min\left(1, \frac{\tilde p(y)}{\tilde p(x)}\right),
              \qquad \log\frac{k(y \to x)}{k(x \to y)} = \log\tilde p(x) - \log\tilde p(y)

    The density stays as it is under such moves, and the second line holds for every path from x to y, however many
    proposals were rejected on the way. Rejections have no derivative: gradients see the proposals that were accepted.

    Args:
        log_density: maps points (N, D) to :math:`\log\tilde p` of shape (N,).
        scale: :math:`\sigma`, in the units of the points.
        steps: how many proposals.

    Raises:
        InputError: ``scale`` or ``steps`` is not positive.

    References:
        N. Metropolis et al. (1953), Equation of State Calculations by Fast Computing Machines.

    Example:
        >>> import torch
        >>> from bijecta.flows import Metropolis
        >>> walk = Metropolis(lambda x: -x.square().sum(-1) / 2, scale=0.5, steps=10)
        >>> y, log_ratio = walk.move(torch.zeros(4, 2))
        >>> torch.allclose(log_ratio, y.square().sum(-1) / 2)
        True
    """

    def __init__(self, log_density: LogDensity, scale: float = 0.5, steps: int = 10) -> None:
        super().__init__()
        _check_positive("Metropolis", scale, steps)
        self.log_density, self.scale, self.steps = log_density, scale, steps

    def move(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        before = now = self.log_density(x)
        for _ in range(self.steps):
            proposal = x + self.scale * standard_normal(tuple(x.shape), x, generator)
            there = self.log_density(proposal)
            chance = torch.rand(now.shape, generator=generator, dtype=now.dtype, device=now.device)
            accepted = chance.log() < there - now
            x, now = torch.where(accepted[:, None], proposal, x), torch.where(accepted, there, now)
        return x, before - now


class Langevin(StochasticStep):
    r"""Move up the gradient of a density, with noise: discretised Langevin dynamics without rejections.

    .. math:: y = x + \frac{\sigma^2}{2} \nabla\log\tilde p(x) + \sigma\varepsilon, \qquad
              \log\frac{k(y \to x)}{k(x \to y)} = \tfrac12\left(\|\varepsilon\|^2 - \|\varepsilon'\|^2\right), \qquad
              \varepsilon' = \frac{x - y}{\sigma} - \frac{\sigma}{2} \nabla\log\tilde p(y)

    Steps of any size give exact weights, large ones uneven weights; where the density is steep, too large ones throw
    points out of the range of numbers. All is differentiable.

    Args:
        log_density: maps points (N, D) to :math:`\log\tilde p` of shape (N,), differentiable.
        scale: :math:`\sigma`, in the units of the points.
        steps: how many moves.

    Raises:
        InputError: ``scale`` or ``steps`` is not positive.

    References:
        J. Nilmeier et al. (2011), Nonequilibrium Candidate Monte Carlo.

    Example:
        >>> import torch
        >>> from bijecta.flows import Langevin
        >>> y, log_ratio = Langevin(lambda x: -x.square().sum(-1) / 2, scale=0.1).move(torch.zeros(4, 2))
        >>> y.shape, log_ratio.shape
        (torch.Size([4, 2]), torch.Size([4]))
    """

    def __init__(self, log_density: LogDensity, scale: float = 0.1, steps: int = 10) -> None:
        super().__init__()
        _check_positive("Langevin", scale, steps)
        self.log_density, self.scale, self.steps = log_density, scale, steps

    def move(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        ratio = x.new_zeros(len(x))
        drift = self._drift(x)
        for _ in range(self.steps):
            noise = standard_normal(tuple(x.shape), x, generator)
            y = x + drift + self.scale * noise
            drift_back = self._drift(y)
            noise_back = (x - y - drift_back) / self.scale
            ratio = ratio + 0.5 * (noise.square() - noise_back.square()).sum(-1)
            x, drift = y, drift_back
        return x, ratio

    def _drift(self, x: Tensor) -> Tensor:
        """Return half the squared scale times the gradient; differentiable where the points depend on parameters."""
        trained = torch.is_grad_enabled() and x.requires_grad
        with torch.enable_grad():
            at = x if x.requires_grad else x.detach().requires_grad_()
            gradient: Tensor = torch.autograd.grad(self.log_density(at).sum(), at, create_graph=trained)[0]
        return 0.5 * self.scale**2 * gradient


class StochasticFlow(Distribution):
    r"""Sample by bijections and random steps in turn, with the weight of every path.

    .. math:: \log w = \log\tilde p(x_T) - \log q(x_0)
              + \sum_t \begin{cases} \log|\det \partial x_{t+1} / \partial x_t| & \text{bijection} \\
              \log k_t(x_{t+1} \to x_t) - \log k_t(x_t \to x_{t+1}) & \text{random step} \end{cases}

    Its samples follow no density that could be computed; a path does. Weights of paths are as good: their mean is an
    unbiased estimate of the integral of :math:`\tilde p`, and weighted samples follow :math:`\tilde p`. Random steps
    carry points over where a continuous map leaves a bridge or misses a well; each needs a density that it moves in,
    and a sequence of them from the base to the target (`interpolate`) anneals.

    `sample_and_log_prob` returns the log-density of the path, what is to be subtracted from :math:`\log\tilde p`:
    `sample_importance` takes the flow as it is, and `reverse_kl` and `fit_variational` train its bijections.
    `log_prob` runs a path backwards: a random lower bound of the log-likelihood, in the mean.

    Args:
        base: where paths begin: any unconditional distribution of vectors, for example a trained flow.
        layers: bijections, whose ``inverse`` is applied, and steps, in the order from the base to the data.

    Raises:
        InputError: there is no layer, or the base is conditional.

    References:
        H. Wu, J. Köhler, F. Noé (2020), Stochastic Normalizing Flows; R. Neal (2001), Annealed Importance Sampling.

    Example:
        >>> import torch
        >>> from bijecta.distributions import Normal, double_well
        >>> from bijecta.flows import Metropolis, StochasticFlow, interpolate
        >>> base = Normal(2)
        >>> steps = [Metropolis(interpolate(base, double_well, share)) for share in (0.25, 0.5, 0.75, 1.0)]
        >>> x, log_weight = StochasticFlow(base, steps).sample_and_log_weight(double_well, 1000)
        >>> x.shape, log_weight.shape
        (torch.Size([1000, 2]), torch.Size([1000]))
    """

    is_bound = True

    def __init__(self, base: Distribution, layers: Sequence[Bijection | StochasticStep]) -> None:
        super().__init__()
        if not layers or base.context:
            raise InputError(
                f"StochasticFlow expects layers and a base without context, got {len(layers)} layers "
                f"and {base.context} context features."
            )
        self.base = base
        self.layers: Sequence[Bijection | StochasticStep] = nn.ModuleList(layers)  # type: ignore[assignment]

    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        return self.sample_and_log_prob(shape, context, generator=generator)[0]

    def sample_and_log_prob(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw paths; return their ends, and the log-density of each path, to weigh it by."""
        start, log_prob = self.base.sample_and_log_prob(shape, context, generator=generator)
        x, change = start.reshape(log_prob.numel(), start.shape[-1]), log_prob.flatten()
        for layer in self.layers:
            x, gain = layer.move(x, generator) if isinstance(layer, StochasticStep) else layer.inverse_and_ladj(x)
            change = change - gain
        return x.reshape(start.shape), change.reshape(log_prob.shape)

    def sample_and_log_weight(
        self, log_density: LogDensity, size: int, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        r"""Draw samples with the logarithms of their weights.

        Args:
            log_density: the target, maps points (N, D) to :math:`\log\tilde p` of shape (N,).
            size: number N of paths.
            generator: source of randomness (default: the global one of torch).

        Returns:
            The ends of the paths of shape (N, D), and :math:`\log w` of shape (N,).
        """
        x, log_prob = self.sample_and_log_prob((size,), generator=generator)
        return x, log_density(x) - log_prob

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Estimate a lower bound of the log-likelihood from one random path back to the base."""
        rows, change = x.reshape(-1, x.shape[-1]), x.new_zeros(x.shape[:-1].numel())
        for layer in reversed(self.layers):
            # A step is its own way back: k(back) / k(forth) of the move that is made here.
            rows, gain = layer.move(rows) if isinstance(layer, StochasticStep) else layer.forward_and_ladj(rows)
            change = change + gain
        return (self.base.log_prob(rows, context) + change).reshape(x.shape[:-1])


def interpolate(base: Distribution, log_density: LogDensity, share: float) -> LogDensity:
    r"""Make a density on the way from a base to a target.

    .. math:: \log\tilde p_s(x) = (1 - s) \log q(x) + s \log\tilde p(x)

    Args:
        base: q, with an exact density.
        log_density: the target :math:`\log\tilde p`.
        share: s, from 0 (the base) to 1 (the target).

    Returns:
        The log-density, a function of points (N, D).

    Raises:
        InputError: ``share`` is not between 0 and 1.

    References:
        R. Neal (2001), Annealed Importance Sampling.

    Example:
        >>> import torch
        >>> from bijecta.distributions import Normal
        >>> from bijecta.flows import interpolate
        >>> interpolate(Normal(1), lambda x: -2 * x.square().sum(-1), 1.0)(torch.ones(1, 1))
        tensor([-2.])
    """
    if not 0 <= share <= 1:
        raise InputError(f"interpolate expects a share between 0 and 1, got {share}.")

    def between(x: Tensor) -> Tensor:
        # A density of zero times nothing is nothing, not NaN: the ends are the two densities themselves.
        if share in (0, 1):
            return log_density(x) if share else base.log_prob(x)
        return torch.lerp(base.log_prob(x), log_density(x), share)

    return between


def _check_positive(name: str, scale: float, steps: int) -> None:
    if not scale > 0 or steps < 1:
        raise InputError(f"{name} expects a positive scale and at least one step, got {scale} and {steps}.")

"""Recipe of the continuous flow, and the error that its solver makes."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from bijecta.bijections.continuous import Continuous
from bijecta.flows.flow import Flow
from bijecta.flows.parts import assemble
from bijecta.flows.registry import recipe
from bijecta.functional.ode import Solver
from bijecta.nets.velocity import VelocityMLP


@recipe
def cnf(
    features: int,
    *,
    context: int = 0,
    hidden: Sequence[int] = (64, 64, 64),
    activation: str = "silu",
    solver: str = "dopri5",
    steps: int = 16,
    tolerance: float = 1e-5,
    base: str = "normal",
) -> Flow:
    """Build a continuous flow: one velocity field, followed from data to latent.

    Two losses train it: `nll` (every step solves the equation) and `flow_matching` (no step does, which is many times
    faster). Density and samples are the same functions after either. Up to 16 features the density is exact up to the
    solver's tolerance, above it is an estimate without bias in log_prob; `solver_error` measures the solver.

    Args:
        features: number D of columns.
        context: number C of context features; 0 for an unconditional flow.
        hidden: widths of the hidden layers of the velocity network.
        activation: "tanh", "silu" or "softplus".
        solver: "dopri5" (adaptive steps) or "euler", "midpoint", "rk4" (fixed steps).
        steps: number of fixed steps; without meaning for "dopri5".
        tolerance: error of an adaptive step; without meaning for fixed steps.
        base: "normal", "diagonal" (learned mean and spread), "student" (heavy tails) or "mixture".

    Returns:
        The flow.

    References:
        W. Grathwohl, R. Chen, J. Bettencourt, I. Sutskever, D. Duvenaud (2019), FFJORD.
        Y. Lipman, R. Chen, H. Ben-Hamu, M. Nickel, M. Le (2023), Flow Matching for Generative Modeling.

    Example:
        >>> from bijecta.flows import cnf
        >>> cnf(3).sample(5).shape
        torch.Size([5, 3])
    """
    velocity = VelocityMLP(features, context=context, hidden=hidden, activation=activation)
    layer = Continuous(velocity, Solver(solver, steps=steps, tolerance=tolerance))
    return assemble(features, context, [layer], base)


@torch.no_grad()
def solver_error(flow: Flow, x: Tensor, context: Tensor | None = None, *, factor: int = 100) -> Tensor:
    r"""Measure how much log_prob changes when every solver of a flow becomes more accurate.

    .. math:: |\log p_{\tau}(x) - \log p_{\tau / \mathrm{factor}}(x)|

    Random probes of the trace are the same in both, so that only the solver makes a difference.

    Args:
        flow: a flow with `Continuous` layers.
        x: data of shape (\*B, D).
        context: as in `Flow.log_prob`.
        factor: how much smaller the tolerance is; fixed steps become as many more as it takes.

    Returns:
        The change in nats, of shape (\*B,).

    References:
        E. Hairer, S. Nørsett, G. Wanner (1993), Solving Ordinary Differential Equations I, chapter II.4.

    Example:
        >>> import torch
        >>> from bijecta.flows import cnf, solver_error
        >>> solver_error(cnf(2), torch.zeros(5, 2))  # nothing moves at the start
        tensor([0., 0., 0., 0., 0.])
    """
    accurate = copy.deepcopy(flow)
    for layer in accurate.modules():
        if isinstance(layer, Continuous):
            layer.solver = layer.solver.tightened(factor)
    devices = [x.device] if x.device.type == "cuda" else []
    log_prob = []
    with torch.random.fork_rng(devices):
        for model in (flow, accurate):
            torch.manual_seed(0)
            log_prob.append(model.log_prob(x, context))
    return (log_prob[0] - log_prob[1]).abs()

"""A step of Adam on weights that lie in one piece of memory, in one native call."""

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam
from torch.optim import optimizer as hooks

from bijecta.functional.kernels.dispatch import can_run_natively
from bijecta.functional.kernels.library import SUFFIX, call


def adam_step(
    optimiser: Adam,
    weights: Tensor,
    average: Tensor | None = None,
    *,
    largest: float = float("inf"),
    decay: float = 0.0,
) -> float | None:
    r"""Clip the gradient of weights, take the step of their optimiser, and let a moving average follow.

    .. math:: g \leftarrow g \min(1, c / \lVert g \rVert), \quad
        \theta \leftarrow \theta - \eta\, \hat m / (\sqrt{\hat v} + \epsilon), \quad
        \bar\theta \leftarrow d\,\bar\theta + (1 - d)\,\theta

    The state of the optimiser is that of torch's own step, which could take the next one. A gradient that is not finite
    changes nothing, and the gradient itself stays as it is.

    Args:
        optimiser: a fused Adam or AdamW with these weights only.
        weights: contiguous, with a gradient.
        average: of the weights, of the same shape.
        largest: norm c that the gradient may have.
        decay: d of the average.

    Returns:
        The norm of the gradient before it was clipped; None where the step can't be taken natively, and was not.

    Reference:
        Kingma and Ba, "Adam: a method for stochastic optimization" (2015).

    Example:
        >>> weights = torch.nn.Parameter(torch.zeros(2))
        >>> weights.grad = torch.tensor([3.0, 4.0])
        >>> adam_step(torch.optim.Adam([weights], lr=0.1, fused=True), weights) in (5.0, None)
        True
    """
    gradient = weights.grad
    if gradient is None or not can_run_natively(weights, gradient):
        return None
    _call_hooks(optimiser, hooks._global_optimizer_pre_hooks, optimiser._optimizer_step_pre_hooks)
    state, group = optimiser.state[weights], optimiser.param_groups[0]
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
    described = _NativeAdam(
        weights.numel(),
        torch.get_num_threads(),
        group["decoupled_weight_decay"],
        group["lr"],
        *group["betas"],
        group["eps"],
        group["weight_decay"],
        largest,
        decay,
        state["step"].data_ptr(),
    )
    moments = state["exp_avg"], state["exp_avg_sq"]
    norm: float = call(f"adam{SUFFIX[weights.dtype]}", ctypes.byref(described), weights, gradient, *moments, average)
    _call_hooks(optimiser, hooks._global_optimizer_post_hooks, optimiser._optimizer_step_post_hooks)
    return norm


def _call_hooks(optimiser: Adam, *registered: Mapping[int, Callable[..., Any]]) -> None:
    """Call who wants to hear of steps, as torch does; a hook may change the settings of the step."""
    for hook in [hook for each in registered for hook in each.values()]:
        hook(optimiser, (), {})


class _NativeAdam(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("count", "threads", "decoupled")),
        *((name, ctypes.c_double) for name in ("rate", "beta1", "beta2", "epsilon", "weight_decay", "largest", "keep")),
        ("steps", ctypes.c_void_p),
    )

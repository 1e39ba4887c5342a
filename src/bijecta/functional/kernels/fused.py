"""Maps of numbers in one kernel each, as an operation of autograd that saves nothing but its inputs."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from bijecta.functional.kernels.plainly import differentiate_plainly

Pair: TypeAlias = tuple[Tensor, Tensor]
Upstream: TypeAlias = tuple[Tensor | None, ...]


class Kernels(NamedTuple):
    """A map of (x, params, settings) on one kind of device, and what pulls gradients of (y, ladj) back through it."""

    map: Callable[[Tensor, Tensor, Any], Pair]
    differentiate: Callable[[Tensor, Tensor, Any, Upstream], Pair]


def apply_kernels(
    kernels: Kernels, plain: Callable[[Tensor, Tensor, Any], Pair], x: Tensor, params: Tensor, settings: Any
) -> Pair:
    """Map numbers by a kernel, with gradients by another one.

    Args:
        kernels: the two.
        plain: the same map by tensor operations, which is differentiated twice.
        x: elements of shape (*B,).
        params: raw parameters in x's dtype, of shape (*B, P), broadcastable against x[..., None].
        settings: whatever the kernels need beside these.

    Returns:
        y and ladj, both of the broadcast shape (*B,).

    Example:
        >>> shift = Kernels(lambda x, params, _: (x + params[..., 0], torch.zeros_like(x)), None)
        >>> apply_kernels(shift, None, torch.zeros(2), torch.ones(1), None)[0]
        tensor([1., 1.])
    """
    if x.shape != params.shape[:-1]:
        shape = torch.broadcast_shapes(x.shape, params.shape[:-1])
        x, params = x.expand(shape), params.expand(*shape, params.shape[-1])
    if torch.is_grad_enabled() and (x.requires_grad or params.requires_grad):
        y, ladj = _Fused.apply(x, params, settings, plain, kernels)
        return y, ladj
    return kernels.map(x, params, settings)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        params: Tensor,
        settings: Any,
        plain: Callable[[Tensor, Tensor, Any], Pair],
        kernels: Kernels,
    ) -> Pair:
        ctx.save_for_backward(x, params)
        ctx.settings, ctx.plain, ctx.kernels = settings, plain, kernels
        ctx.set_materialize_grads(False)
        return kernels.map(x, params, settings)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        x, params = ctx.saved_tensors
        if torch.is_grad_enabled():
            plain = partial(ctx.plain, settings=ctx.settings)
            return *differentiate_plainly(plain, (x, params), ctx.needs_input_grad[:2], gradients), None, None, None
        return *ctx.kernels.differentiate(x, params, ctx.settings, gradients), None, None, None

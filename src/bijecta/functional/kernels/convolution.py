"""Three convolutions with ReLU between them in one native call: an operation of autograd that saves only its input."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from bijecta.functional.kernels.dispatch import can_run_natively
from bijecta.functional.kernels.library import SUFFIX, call, in_memory
from bijecta.functional.kernels.plainly import Pair, differentiate_plainly

Plain: TypeAlias = Callable[[Tensor, Tensor | None], Tensor]


def three_convolutions(plain: Plain, x: Tensor, added: Tensor | None, weights: Sequence[Tensor]) -> Tensor:
    r"""Compute a network of a 3x3, a 1x1 and a 3x3 convolution, natively where that is possible.

    What is between the convolutions stays in the cache: nothing of it is saved, the backward pass computes it again.

    Args:
        plain: the same by tensor operations, of x and what is added: the definition, the fallback, and what is
            differentiated twice.
        x: images of shape (N, C, H, W).
        added: what is added before the first ReLU, broadcastable to (N, hidden, H, W).
        weights: weight and bias of every convolution, in their order.

    Returns:
        Images of shape (N, O, H, W).

    Reference:
        Kingma and Dhariwal, "Glow: Generative flow with invertible 1x1 convolutions" (2018).

    Example:
        >>> weights = [torch.ones(shape) for shape in [(2, 1, 3, 3), (2,), (2, 2, 1, 1), (2,), (3, 2, 3, 3), (3,)]]
        >>> plain = lambda x, added: torch.full((4, 3, 1, 1), 7.0)
        >>> three_convolutions(plain, torch.zeros(4, 1, 1, 1), None, weights)[0].flatten()
        tensor([7., 7., 7.])
    """
    if not (_pays(x, added, weights) and can_run_natively(x, added, *weights)):
        return plain(x, added)
    if added is not None:
        added = added.expand(1 if added.dim() < 4 or len(added) == 1 else len(x), len(weights[1]), *x.shape[2:])
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, added, *weights) if tensor is not None):
        y: Tensor = _ThreeConvolutions.apply(plain, x, added, *weights)
        return y
    return _map(x, added, weights)


def _pays(x: Tensor, added: Tensor | None, weights: Sequence[Tensor]) -> bool:
    """Tell whether this is such a network, with so few channels that torch, which pads the last to 16, is slower."""
    (hidden, channels), outputs = weights[0].shape[:2], len(weights[-1])
    shapes = [
        (hidden, channels, 3, 3),
        (hidden,),
        (hidden, hidden, 1, 1),
        (hidden,),
        (outputs, hidden, 3, 3),
        (outputs,),
    ]
    if x.dim() != 4 or x.shape[1] != channels or [tuple(weight.shape) for weight in weights] != shapes:
        return False
    alike = all(tensor.dtype is x.dtype for tensor in (*weights, *([] if added is None else [added])))
    return hidden <= 128 and outputs < 16 and alike and all(weight.is_contiguous() for weight in weights)


class _ThreeConvolutions(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plain: Plain, x: Tensor, added: Tensor | None, *weights: Tensor) -> Tensor:
        ctx.save_for_backward(x, added, *weights)
        ctx.plain = plain
        return _map(x, added, weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, added, *weights = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return None, *_differentiate(x, added, weights, *gradients)

        def pair(x: Tensor, added: Tensor | None) -> Pair:  # that is what `differentiate_plainly` expects
            return ctx.plain(x, added), x

        return None, *differentiate_plainly(pair, (x, added, *weights), ctx.needs_input_grad[1:], (*gradients, None))


def _map(x: Tensor, added: Tensor | None, weights: Sequence[Tensor]) -> Tensor:
    x, added = in_memory(x), None if added is None else in_memory(added)
    y = x.new_empty(len(x), len(weights[-1]), *x.shape[2:])
    _call("convolution", x, added, weights, y)
    return y


def _differentiate(x: Tensor, added: Tensor | None, weights: Sequence[Tensor], gradient: Tensor) -> list[Tensor | None]:
    x, added, gradient = in_memory(x), None if added is None else in_memory(added), in_memory(gradient)
    sizes = [weight.numel() for weight in weights]
    g_x, g_added, flat = (
        torch.empty_like(x),
        None if added is None else torch.empty_like(added),
        x.new_empty(sum(sizes)),
    )
    _call("convolution_gradient", x, added, weights, gradient, g_x, g_added, flat)
    return [g_x, g_added, *(part.view_as(weight) for part, weight in zip(flat.split(sizes), weights, strict=True))]


def _call(name: str, x: Tensor, added: Tensor | None, weights: Sequence[Tensor], *others: Tensor | None) -> None:
    images, channels, height, width = x.shape
    outputs, hidden = weights[-2].shape[:2]
    # `struct ConvNet` of csrc/convolution.cpp
    sizes = (
        images,
        channels,
        hidden,
        outputs,
        height,
        width,
        torch.get_num_threads(),
        0 if added is None else len(added),
    )
    addresses = (ctypes.c_void_p * len(weights))(*map(Tensor.data_ptr, weights))
    call(f"{name}{SUFFIX[x.dtype]}", (ctypes.c_int64 * len(sizes))(*sizes), addresses, x, added, *others)

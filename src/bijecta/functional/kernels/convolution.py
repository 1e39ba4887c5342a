"""Three convolutions with ReLU between them in one native call: an operation of autograd that saves only its input."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from bijecta.functional.kernels.dispatch import can_run_natively
from bijecta.functional.kernels.library import SUFFIX, call, in_memory
from bijecta.functional.kernels.plainly import differentiate_plainly


def three_convolutions(plain: Callable[[Tensor], Tensor], x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    r"""Compute a network of a 3x3, a 1x1 and a 3x3 convolution, natively where that is possible.

    What is between the convolutions stays in the cache: nothing of it is saved, the backward pass computes it again.

    Args:
        plain: the same by tensor operations: the definition, the fallback, and what is differentiated twice.
        x: images of shape (N, C, H, W).
        weights: weight and bias of every convolution, in their order.

    Returns:
        Images of shape (N, O, H, W).

    Reference:
        Kingma and Dhariwal, "Glow: Generative flow with invertible 1x1 convolutions" (2018).

    Example:
        >>> weights = [torch.ones(shape) for shape in [(2, 1, 3, 3), (2,), (2, 2, 1, 1), (2,), (3, 2, 3, 3), (3,)]]
        >>> three_convolutions(lambda x: torch.full((4, 3, 1, 1), 7.0), torch.zeros(4, 1, 1, 1), weights)[0].flatten()
        tensor([7., 7., 7.])
    """
    if not (_pays(x, weights) and can_run_natively(x, *weights)):
        return plain(x)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *weights)):
        y: Tensor = _ThreeConvolutions.apply(plain, x, *weights)
        return y
    return _map(x, weights)


def _pays(x: Tensor, weights: Sequence[Tensor]) -> bool:
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
    return hidden <= 128 and outputs < 16 and all(w.dtype is x.dtype and w.is_contiguous() for w in weights)


class _ThreeConvolutions(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plain: Callable[[Tensor], Tensor], x: Tensor, *weights: Tensor) -> Tensor:
        ctx.save_for_backward(x, *weights)
        ctx.plain = plain
        return _map(x, weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return None, *_differentiate(x, weights, *gradients)
        wanted = ctx.needs_input_grad[1:]
        # It knows operations of two inputs with two results.
        inputs, both = (x, None, *weights), (wanted[0], False, *wanted[1:])
        g_x, _, *others = differentiate_plainly(lambda x, _: (ctx.plain(x), x), inputs, both, (*gradients, None))
        return None, g_x, *others


def _map(x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    x = in_memory(x)
    y = x.new_empty(len(x), len(weights[-1]), *x.shape[2:])
    _call("convolution", x, weights, y)
    return y


def _differentiate(x: Tensor, weights: Sequence[Tensor], gradient: Tensor) -> list[Tensor]:
    x, gradient, sizes = in_memory(x), in_memory(gradient), [weight.numel() for weight in weights]
    g_x, flat = torch.empty_like(x), x.new_empty(sum(sizes))
    _call("convolution_gradient", x, weights, gradient, g_x, flat)
    return [g_x, *(part.view_as(weight) for part, weight in zip(flat.split(sizes), weights, strict=True))]


def _call(name: str, x: Tensor, weights: Sequence[Tensor], *others: Tensor) -> None:
    images, channels, height, width = x.shape
    # `struct ConvNet` of csrc/convolution.cpp
    outputs, hidden = weights[-2].shape[:2]
    sizes = (ctypes.c_int64 * 7)(images, channels, hidden, outputs, height, width, torch.get_num_threads())
    addresses = (ctypes.c_void_p * len(weights))(*map(Tensor.data_ptr, weights))
    call(f"{name}{SUFFIX[x.dtype]}", sizes, addresses, x, *others)

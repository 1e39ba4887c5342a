"""A smooth perceptron with tangents in one native call: an operation of autograd that saves only its inputs."""

import ctypes
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bijecta.functional.kernels.library import SUFFIX, call, in_memory
from bijecta.functional.kernels.plainly import Pair, differentiate_plainly

KINDS = ("tanh", "silu", "softplus")
Plain = Callable[[str, Tensor, Tensor, Sequence[Tensor]], Pair]


def tangents(plain: Plain, activation: str, inputs: Tensor, probes: Tensor, parameters: Sequence[Tensor]) -> Pair:
    """Push values and tangents through a perceptron natively: see `bijecta.functional.tangents`.

    Args:
        plain: the same by tensor operations: the definition, and what is differentiated twice.
        activation: one of KINDS.
        inputs: of shape (N, I).
        probes: of shape (K, N, D) or (K, 1, D).
        parameters: weights and biases of the layers by turns.

    Returns:
        The outputs, of shape (N, O), and their tangents, of shape (K, N, O).

    Example:
        >>> tangents.__name__  # without a native library there is nothing to call
        'tangents'
    """
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (inputs, *parameters)):
        values, products = _NativeTangents.apply(plain, activation, inputs, probes, *parameters)
        return values, products
    return _map(activation, inputs, probes, parameters)


class _NativeTangents(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plain: Plain, activation: str, inputs: Tensor, probes: Tensor, *parameters: Tensor) -> Pair:
        ctx.save_for_backward(inputs, probes, *parameters)
        ctx.plain, ctx.activation = plain, activation
        ctx.set_materialize_grads(False)
        return _map(activation, inputs, probes, parameters)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs, probes, *parameters = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        if torch.is_grad_enabled():
            again = partial(_again, ctx.plain, ctx.activation, parameters)
            needed = [wanted[2], False, *wanted[4:]]
            found = differentiate_plainly(again, (inputs, probes, *parameters), needed, gradients)
        else:
            found = _differentiate(ctx.activation, inputs, probes, parameters, gradients, inputs_wanted=wanted[2])
        return None, None, *found


def _again(plain: Plain, activation: str, parameters: list[Tensor], inputs: Tensor, probes: Tensor | None) -> Pair:
    return plain(activation, inputs, probes, parameters)  # type: ignore[arg-type]


def _map(activation: str, inputs: Tensor, probes: Tensor, parameters: Sequence[Tensor]) -> Pair:
    outputs = len(parameters[-1])
    values = inputs.new_empty(len(inputs), outputs)
    products = inputs.new_empty(len(probes), len(inputs), outputs)
    _call("tangents", activation, inputs, probes, parameters, [], values, products)
    return values, products


def _differentiate(
    activation: str,
    inputs: Tensor,
    probes: Tensor,
    parameters: Sequence[Tensor],
    gradients: tuple[Tensor | None, ...],
    *,
    inputs_wanted: bool,
) -> list[Tensor | None]:
    # One piece of memory for all: the gradients of parameters lie behind each other.
    sizes = [tensor.numel() for tensor in parameters]
    parts = inputs.new_zeros(sum(sizes)).split(sizes)
    of_inputs = inputs.new_empty(inputs.shape) if inputs_wanted else None
    upstream = [None if gradient is None else in_memory(gradient) for gradient in gradients]
    _call("tangents_gradient", activation, inputs, probes, parameters, parts, *upstream, of_inputs)
    return [of_inputs, None, *(part.view_as(tensor) for part, tensor in zip(parts, parameters, strict=True))]


def _call(
    name: str,
    activation: str,
    inputs: Tensor,
    probes: Tensor,
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    *others: Tensor | None,
) -> None:
    inputs, probes, parameters = in_memory(inputs), in_memory(probes), [in_memory(tensor) for tensor in parameters]
    count = len(parameters) // 2
    layers = (_NativeLayer * count)()
    for number, layer in enumerate(layers):
        weight, bias = parameters[2 * number : 2 * number + 2]
        layer.outputs, layer.inputs = weight.shape
        layer.weight, layer.bias = weight.data_ptr(), bias.data_ptr()
        if gradients:
            layer.weight_gradient, layer.bias_gradient = map(Tensor.data_ptr, gradients[2 * number : 2 * number + 2])
    described = _NativePerceptron(
        ctypes.addressof(layers),
        count,
        len(inputs),
        probes.shape[-1],
        len(probes),
        probes.shape[1] * probes.shape[2],
        probes.shape[2] if probes.shape[1] > 1 else 0,
        KINDS.index(activation),
        torch.get_num_threads(),
    )
    call(f"{name}{SUFFIX[inputs.dtype]}", ctypes.byref(described), inputs, probes, *others)


class _NativeLayer(ctypes.Structure):
    """`struct Layer` of csrc/network.hpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("inputs", "outputs")),
        *((name, ctypes.c_void_p) for name in ("weight", "bias", "weight_gradient", "bias_gradient")),
        *((name, ctypes.c_void_p) for name in ("columns", "rows", "seen")),
    )


class _NativePerceptron(ctypes.Structure):
    """`struct Perceptron` of csrc/tangents.cpp."""

    _fields_ = (
        ("layers", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("n_layers", "rows", "moved", "probes")),
        *((name, ctypes.c_int64) for name in ("next_probe", "next_row", "activation", "threads")),
    )

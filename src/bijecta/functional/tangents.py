r"""A smooth perceptron together with tangents: what a change of its inputs does to its outputs.

.. math:: a_l = W_l h_{l-1} + b_l, \quad h_l = \phi(a_l), \qquad p_l = W_l t_{l-1}, \quad t_l = \phi'(a_l) \, p_l

and :math:`v = W_L h_{L-1} + b_L` behind the last hidden layer. With g for gradients, what comes back through an
activation is :math:`g_p = \phi'(a) \, g_t` and :math:`g_a = \phi'(a) \, g_h + \phi''(a) \sum_k g_{t_k} p_k`.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from bijecta.functional.kernels import tangents as native
from bijecta.functional.kernels.dispatch import can_run_natively

Pair: TypeAlias = tuple[Tensor, Tensor]


def perceptron_tangents(activation: str, inputs: Tensor, probes: Tensor, parameters: Sequence[Tensor]) -> Pair:
    r"""Push values and tangents through a perceptron: formulas at the head of this file.

    Args:
        activation: :math:`\phi`, one of `SMOOTH_ACTIVATIONS`.
        inputs: :math:`h_0` of shape (\*B, I).
        probes: the first tangents, of shape (K, \*B, D) or broadcastable to it. They move the first D inputs; K may
            be 0.
        parameters: weights (H, I) and biases (H,) of the layers by turns.

    Returns:
        The outputs, of shape (\*B, O), and their tangents, of shape (K, \*B, O).

    Reference:
        Griewank, Walther (2008), "Evaluating Derivatives", chapters 3 and 5.

    Example:
        >>> one = torch.ones(1, 1)  # the slope of 3 tanh(2 x) at 0
        >>> perceptron_tangents("tanh", 0 * one, one[None], [2 * one, 0 * one[0], 3 * one, 0 * one[0]])
        (tensor([[0.]]), tensor([[[6.]]]))
    """
    # First whether something traces: to an exported program the number of rows is unknown.
    free = can_run_natively(inputs, probes, *parameters) and not probes.requires_grad
    if free and inputs.ndim == 2 and probes.ndim == 3 and len(inputs):
        return native.tangents(_plainly, activation, inputs, probes, parameters)
    return _plainly(activation, inputs, probes, parameters)


def _plainly(activation: str, inputs: Tensor, probes: Tensor, parameters: Sequence[Tensor]) -> Pair:
    h, tangents = inputs, probes
    for number in range(0, len(parameters), 2):
        weight, bias = parameters[number : number + 2]
        if number:
            h, slope = SMOOTH_ACTIVATIONS[activation](h)
            tangents = slope * tangents if len(probes) else tangents
        h = functional.linear(h, weight, bias)
        # Probes move the first inputs only.
        tangents = functional.linear(tangents, weight[:, : tangents.shape[-1]]) if len(probes) else tangents
    return h, tangents.expand(-1, *h.shape) if len(probes) else h.new_empty(0, *h.shape)


def _tanh(a: Tensor) -> Pair:
    value = torch.tanh(a)
    return value, 1 - value.square()


def _silu(a: Tensor) -> Pair:
    gate = torch.sigmoid(a)
    return a * gate, gate * (1 + a * (1 - gate))


def _softplus(a: Tensor) -> Pair:
    return functional.softplus(a), torch.sigmoid(a)


SMOOTH_ACTIVATIONS: dict[str, Callable[[Tensor], Pair]] = {"tanh": _tanh, "silu": _silu, "softplus": _softplus}
"""Activations by name, each returning its value and its derivative."""

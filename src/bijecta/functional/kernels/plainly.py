"""The gradients of a kernel by tensor operations, for who wants to differentiate them again."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

Pair: TypeAlias = tuple[Tensor, Tensor]
Plain: TypeAlias = Callable[[Tensor, Tensor | None], Pair]


def differentiate_plainly(
    plain: Plain, inputs: Sequence[Tensor | None], wanted: Sequence[bool], gradients: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Differentiate the plain version of an operation, with a graph.

    Args:
        plain: the operation by tensor operations, of the first two inputs; it reads the others by itself.
        inputs: everything that the operation depends on.
        wanted: which inputs need a gradient.
        gradients: those with respect to its two outputs; None for zero.

    Returns:
        A gradient for every input, None where there is none.

    Example:
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> (slope, _) = differentiate_plainly(lambda x, _: (x**3, x), (x, None), [True, False], [x.new_ones(()), None])
        >>> torch.autograd.grad(slope, x)
        (tensor(18.),)
    """
    gate = _Gate()
    given: list[Any] = [None if tensor is None else _Gated.apply(tensor, gate) for tensor in inputs[:2]]
    pairs = [(y, g) for y, g in zip(plain(given[0], given[1]), gradients, strict=True) if g is not None]
    if not pairs:  # a gate behind this operation was shut
        return [None] * len(wanted)
    outputs, upstream = zip(*pairs, strict=True)
    chosen: list[Any] = [tensor for tensor, want in zip([*given, *inputs[2:]], wanted, strict=True) if want]
    gate.shut = True
    found = iter(torch.autograd.grad(outputs, chosen, upstream, create_graph=True, allow_unused=True))
    gate.shut = False
    return [next(found) if want else None for want in wanted]


class _Gate:
    """Whether gradients go on to what x was computed from: perhaps to the same parameters, which would count twice."""

    shut = False


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: _Gate) -> Tensor:
        ctx.gate = gate
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None]:
        return None if ctx.gate.shut else gradient, None

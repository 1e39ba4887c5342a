"""What every conditioner does with its inputs: check them, embed angles, append the context."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from bijecta.errors import InputError, ShapeError

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "tanh": torch.tanh,
    "silu": functional.silu,
    "gelu": functional.gelu,
    "elu": functional.elu,
}


def activation_named(name: str) -> Callable[[Tensor], Tensor]:
    """Look an activation function up by name."""
    if name not in ACTIVATIONS:
        raise InputError(f"Expected an activation among {', '.join(ACTIVATIONS)}, got {name!r}.")
    return ACTIVATIONS[name]


def check_context(context: Tensor | None, expected: int, batch: torch.Size) -> Tensor | None:
    r"""Check a context against the batch and broadcast it to one context per row.

    Args:
        context: tensor of shape (\*B, C) or broadcastable to it, or None.
        expected: the number C of context features that the map was built for; with 0 the context is ignored.
        batch: the batch shape \*B of the data.

    Returns:
        The context of shape (\*B, C), or None when none is expected.

    Raises:
        ShapeError: the context is missing or its shape does not fit.
    """
    if expected == 0:
        return None
    if context is None:
        raise ShapeError(
            f"This map is conditional: it expects a context of shape {(*batch, expected)}, got none. "
            "Pass context=..., one row per data row."
        )
    if context.shape[-1:] != (expected,) or context.ndim - 1 > len(batch):
        raise _context_error(context, expected, batch)
    try:
        return context.expand(*batch, expected)
    except RuntimeError:
        raise _context_error(context, expected, batch) from None


def _context_error(context: Tensor, expected: int, batch: torch.Size) -> ShapeError:
    return ShapeError(
        f"Expected a context of shape {(*batch, expected)} (or broadcastable to it) for data of batch shape "
        f"{tuple(batch)}, got a context of shape {tuple(context.shape)}."
    )


def check_features(x: Tensor, expected: int) -> None:
    """Raise a ShapeError unless the last dimension of ``x`` has ``expected`` features."""
    if x.ndim == 0 or x.shape[-1] != expected:
        raise ShapeError(f"Expected data of shape (*batch, {expected}), got {tuple(x.shape)}.")


class CircularEmbedding(nn.Module):
    r"""Show angles to a network as points of the unit circle, so that :math:`-\pi` and :math:`\pi` look the same.

    An angle becomes :math:`(\cos x, \sin x)`, any other number :math:`(x, 0)`; without angles nothing changes.

    Args:
        circular: one boolean per feature, True for an angle in radians; empty when there is none.
    """

    circular: Tensor

    def __init__(self, circular: Sequence[bool] = ()) -> None:
        super().__init__()
        self.any_circular = any(circular)
        self.register_buffer("circular", torch.tensor(list(circular), dtype=torch.bool), persistent=False)

    @property
    def width(self) -> int:
        """How many numbers each feature becomes."""
        return 2 if self.any_circular else 1

    def forward(self, x: Tensor) -> Tensor:
        r"""Embed x of shape (\*B, D) as (\*B, D * width), the numbers of one feature side by side."""
        if not self.any_circular:
            return x
        return self.embed(x, self.circular)

    def column(self, x: Tensor, feature: int) -> Tensor:
        r"""Embed one feature alone, given as (\*B, 1)."""
        if not self.any_circular:
            return x
        return self.embed(x, self.circular[feature : feature + 1])

    @staticmethod
    def embed(x: Tensor, circular: Tensor) -> Tensor:
        """Embed the features of x where ``circular`` is True."""
        first = torch.where(circular, x.cos(), x)
        second = torch.where(circular, x.sin(), torch.zeros_like(x))
        return torch.stack([first, second], -1).flatten(-2)

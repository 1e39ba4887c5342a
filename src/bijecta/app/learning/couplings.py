"""Couplings of two numbers whose Jacobian matrix can be looked at."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bijecta.bijections import AffineUnivariate, Chain, Coupling

Array = NDArray[np.float64]


class Wave(nn.Module):
    """A conditioner without weights: shift and log-scale are waves of the kept number."""

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, kept: Tensor, context: Tensor | None = None) -> Tensor:
        del context
        return torch.cat([1.2 * torch.sin(1.5 * kept), self.strength * torch.cos(kept)], -1)


def wave_couplings(layers: int, strength: float, *, limit: float = 3.0) -> Chain:
    r"""Build affine couplings that take turns: :math:`z_t = x_t e^{s(x_k)} + t(x_k)`.

    Args:
        layers: how many.
        strength: largest log-scale of a layer; 0 makes them additive, as in NICE.
        limit: where the log-scale saturates.

    Returns:
        The chain; the first layer keeps the first number.

    Example:
        >>> from bijecta.app.learning.couplings import look, wave_couplings
        >>> look(wave_couplings(3, 0.0), 0.4, -1.0).ladjs
        (0.0, 0.0, 0.0)
    """
    return Chain(
        [Coupling(AffineUnivariate(limit), [layer % 2 == 1, layer % 2 == 0], Wave(strength)) for layer in range(layers)]
    )


@dataclass(frozen=True)
class Look:
    """What a flow does around one point.

    Attributes:
        jacobian: by automatic differentiation, of shape (2, 2).
        by_numpy: log |det| of that matrix, by NumPy.
        ladjs: what each layer says of its own.
    """

    jacobian: Array
    by_numpy: float
    ladjs: tuple[float, ...]


def look(flow: Chain, first: float, second: float) -> Look:
    """Compute the Jacobian matrix at a point by automatic differentiation, and ask every layer for its ladj."""
    x = torch.tensor([first, second], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(flow.forward, x).numpy()
    ladjs, z = [], x
    for layer in flow:
        z, ladj = layer.forward_and_ladj(z)
        ladjs.append(float(ladj))
    return Look(jacobian, float(np.linalg.slogdet(jacobian)[1]), tuple(ladjs))


def moved(flow: Chain, points: Array) -> Array:
    """Move points of shape (N, 2)."""
    z: Array = flow.forward(torch.as_tensor(points)).numpy()
    return z


def round_trip_errors(layers: int, strength: float) -> tuple[float, float]:
    """Measure how far 2,000 points come back from where they began, at worst: in float32 and in float64."""
    flow = wave_couplings(layers, strength, limit=20.0)
    x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return _round_trip(flow, x.float()), _round_trip(flow, x)


def _round_trip(flow: Chain, x: Tensor) -> float:
    return float((flow.inverse(flow.forward(x)) - x).abs().max())

"""A flow as the layers that a person counts, and the paths of points through them.

Everything in the Lab is numbered along the way from the base to the data: position 0 is the latent z, position k is
behind k layers, the last position is the data x.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bijecta.bijections import AffineUnivariate, Bijection, Chain, Elementwise, Inverse
from bijecta.bijections.continuous import Continuous
from bijecta.flows import Flow

SLICES = 8
AFFINE_MODULES = ("bijecta.bijections.linear", "bijecta.bijections.preprocessing")


class TimeSlice(Bijection):
    """A part of a continuous flow: from one time to a later one.

    Args:
        layer: the continuous flow.
        start: time on the side of the data.
        end: time on the side of the latent.
    """

    def __init__(self, layer: Continuous, start: float, end: float) -> None:
        super().__init__()
        self.layer, self.start, self.end = layer, start, end

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        moved = self.layer.transport(x, context, start=self.start, end=self.end)
        return moved.z, moved.ladj

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        moved = self.layer.transport(z, context, start=self.end, end=self.start)
        return moved.z, moved.ladj


@dataclass(frozen=True)
class Layers:
    """The layers of a flow, from the latent to the data.

    Attributes:
        names: what each layer is.
        maps: the layers; each maps towards the latent by ``forward``.
    """

    names: tuple[str, ...]
    maps: tuple[Bijection, ...]

    def to_data(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Follow points from the latent to the data.

        Args:
            z: latents of shape (N, D).

        Returns:
            Positions of shape (L + 1, N, D), and log |det dx_k/dz| of shape (L + 1, N) up to each.
        """
        positions, ladjs = [z], [z.new_zeros(len(z))]
        for layer in self.maps:
            moved, ladj = layer.inverse_and_ladj(positions[-1])
            positions.append(moved)
            ladjs.append(ladjs[-1] + ladj)
        return torch.stack(positions), torch.stack(ladjs)

    def to_latent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Follow points from the data to the latent.

        Args:
            x: data of shape (N, D).

        Returns:
            Positions of shape (L + 1, N, D), latent first as in `to_data`, and log |det| of each layer towards the
            latent, of shape (L, N), in the same order.
        """
        positions, ladjs = [x], []
        for layer in reversed(self.maps):
            moved, ladj = layer.forward_and_ladj(positions[-1])
            positions.append(moved)
            ladjs.append(ladj)
        return torch.stack(positions[::-1]), torch.stack(ladjs[::-1])


def layers_of(bijection: Bijection) -> Layers:
    """Group the steps of a flow: every layer that bends space, with the affine maps between it and the data.

    Args:
        bijection: of the flow.

    Returns:
        Its layers, as many as were asked for in ``layers``; a continuous flow is cut into slices of time.
    """
    groups: list[list[Bijection]] = [[]]
    for step in _steps(bijection):
        groups[-1].append(step)
        if not _is_affine(step):
            groups.append([])
    leftover = groups.pop()
    if groups:
        groups[-1] += leftover
    else:
        groups = [leftover]
    groups.reverse()
    return Layers(tuple(map(_name, groups)), tuple(Chain(group) for group in groups))


@torch.no_grad()
def probe(flow: Flow, layers: Layers, x: Sequence[float]) -> dict[str, Any]:
    r"""Take log p at one point apart: :math:`\log p(x) = \log p_Z(z) + \sum_k \log|\det_k|`.

    Args:
        flow: the flow.
        layers: its layers.
        x: the point, D numbers in the units of the data.

    Returns:
        "path" (L + 1 points, latent first), "ladj" (one per layer), "base", their "sum", and "log_prob" of the flow.
    """
    point = torch.as_tensor([x], dtype=next(flow.parameters()).dtype)
    path, ladj = layers.to_latent(point)
    base = flow.base.log_prob(path[0]).double()
    return {
        "path": path[:, 0].tolist(),
        "ladj": ladj[:, 0].tolist(),
        "base": base.item(),
        "sum": (base + ladj.double().sum(0)).item(),
        "log_prob": flow.log_prob(point).item(),
    }


def _steps(bijection: Bijection) -> Iterator[Bijection]:
    if isinstance(bijection, Chain):
        for step in bijection:
            yield from _steps(step)
    elif isinstance(bijection, Continuous):
        yield from (TimeSlice(bijection, k / SLICES, (k + 1) / SLICES) for k in range(SLICES))
    else:
        yield bijection


def _is_affine(step: Bijection) -> bool:
    elementwise = isinstance(step, Elementwise) and isinstance(step.univariate, AffineUnivariate)
    return elementwise or type(step).__module__ in AFFINE_MODULES


def _name(group: Sequence[Bijection]) -> str:
    """Name a layer after what bends space in it."""
    bending = next((step for step in group if not _is_affine(step)), group[0])
    if isinstance(bending, TimeSlice):
        return f"time {1 - bending.end:g} to {1 - bending.start:g}"
    inner = bending.bijection if isinstance(bending, Inverse) else bending
    return ("inverse " if inner is not bending else "") + type(inner).__name__

"""What image flows need beside the hosts: squeezing pixels into channels, and several scales."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from bijecta.bijections.base import Bijection
from bijecta.errors import InputError, ShapeError


class Squeeze(Bijection):
    """Turn every 2x2 block of pixels into four channels; the volume does not change.

    Raises:
        ShapeError: at the call, when height or width is odd.

    References:
        L. Dinh, J. Sohl-Dickstein, S. Bengio (2017), Density estimation using Real NVP.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Squeeze
        >>> Squeeze().forward(torch.ones(5, 1, 4, 4)).shape
        torch.Size([5, 4, 2, 2])
    """

    event_ndim = 3

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        if x.shape[-1] % 2 or x.shape[-2] % 2:
            raise ShapeError(f"Squeeze expects an even height and width, got an image of shape {tuple(x.shape[-3:])}.")
        # Not pixel_unshuffle, which refuses a batch without images.
        blocks = x.unflatten(-1, (x.shape[-1] // 2, 2)).unflatten(-3, (x.shape[-2] // 2, 2))
        return blocks.movedim((-3, -1), (-4, -3)).flatten(-5, -3), x.new_zeros(x.shape[:-3])

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        if z.shape[-3] % 4:
            raise ShapeError(f"Squeeze expects a multiple of 4 channels, got an image of shape {tuple(z.shape[-3:])}.")
        blocks = z.unflatten(-3, (z.shape[-3] // 4, 2, 2)).movedim((-4, -3), (-3, -1))
        return blocks.flatten(-2).flatten(-3, -2), z.new_zeros(z.shape[:-3])


class Multiscale(Bijection):
    """Let half of the channels leave for the latent after every level, so that later levels are cheap.

    Level k maps an image; its channels are halved; the second half, flattened, joins the latent vector, the first
    goes on to level k+1. The last level sends all that is left. The latent is one vector of length C*H*W.

    Args:
        levels: bijections of images, coarser and coarser (each usually begins with a Squeeze).
        shape: shape (C, H, W) of one image.

    Raises:
        InputError: a level ends with an odd number of channels.

    References:
        L. Dinh, J. Sohl-Dickstein, S. Bengio (2017), Density estimation using Real NVP.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Multiscale, Squeeze
        >>> Multiscale([Squeeze(), Squeeze()], shape=(1, 8, 8)).forward(torch.ones(5, 1, 8, 8)).shape
        torch.Size([5, 64])
    """

    event_ndim = 3

    def __init__(self, levels: Iterable[Bijection], shape: Sequence[int]) -> None:
        super().__init__()
        self.levels: Sequence[Bijection] = nn.ModuleList(levels)  # type: ignore[assignment]
        self.shape = tuple(shape)
        self.kept_shapes = self._measure()

    @torch.no_grad()
    def _measure(self) -> list[tuple[int, ...]]:
        """Find the shape of what stays after each level by sending one zero image through."""
        shapes, x = [], torch.zeros(self.shape)
        for number, level in enumerate(self.levels):
            x = _shape_after(level, x)
            last = number + 1 == len(self.levels)
            if not last and x.shape[0] % 2:
                raise InputError(
                    f"Multiscale expects level {number} to end with an even number of channels, got {x.shape[0]}."
                )
            x = x if last else x[: x.shape[0] // 2]
            shapes.append(tuple(x.shape))
        return shapes

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        batch = x.shape[:-3]
        if tuple(x.shape[-3:]) != self.shape:
            raise ShapeError(f"Multiscale expects images of shape {self.shape}, got {tuple(x.shape[-3:])}.")
        total, left = x.new_zeros(batch), []
        for level, kept in zip(self.levels, self.kept_shapes, strict=True):
            x, ladj = level.forward_and_ladj(x, context)
            x, leaving = x[..., : kept[0], :, :], x[..., kept[0] :, :, :]
            left.append(leaving.flatten(-3))
            total = total + ladj
        return torch.cat([*left, x.flatten(-3)], -1), total

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        *left, flat = z.split(self._latent_sizes(), -1)
        x, total = flat.unflatten(-1, self.kept_shapes[-1]), z.new_zeros(z.shape[:-1])
        for level, leaving in zip(reversed(self.levels), reversed(left), strict=True):
            leaving = leaving.unflatten(-1, (-1, *x.shape[-2:])) if leaving.shape[-1] else x[..., :0, :, :]
            x, ladj = level.inverse_and_ladj(torch.cat([x, leaving], -3), context)
            total = total + ladj
        return x, total

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        left = []
        for level, kept in zip(self.levels, self.kept_shapes, strict=True):
            x = level.initialise(x, context)
            x, leaving = x[..., : kept[0], :, :], x[..., kept[0] :, :, :]
            left.append(leaving.flatten(-3))
        return torch.cat([*left, x.flatten(-3)], -1)

    def _latent_sizes(self) -> list[int]:
        """Sizes of what leaves after each level, and of what is left in the end."""
        sizes = [prod(self.shape), *(prod(kept) for kept in self.kept_shapes)]
        return [a - b for a, b in pairwise(sizes)] + [sizes[-1]]


def _shape_after(level: Bijection, x: Tensor) -> Tensor:
    """Return a zero image of the shape that a level produces, without evaluating its networks."""
    from_squeezes = sum(isinstance(module, Squeeze) for module in level.modules())
    for _ in range(from_squeezes):
        x = Squeeze().forward(x)
    return x

"""The contract of every bijection."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from bijecta.errors import ShapeError


class Bijection(nn.Module, ABC):
    r"""An invertible map with parameters, from data x to latent z.

    A subclass implements the two methods that return the mapped value together with its ladj,
    log |det dz/dx|. Everything else follows from them.

    Attributes:
        event_ndim: how many trailing dimensions of the input make up one event: 1 for vectors
            (\*B, D), 3 for images (\*B, C, H, W).
    """

    event_ndim: int = 1

    @abstractmethod
    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        r"""Map data to latent.

        Args:
            x: data of shape (\*B, D), or (\*B, C, H, W) for image maps.
            context: what the map is conditioned on, of shape (\*B, C) or broadcastable to it. A map
                without conditioning ignores it.

        Returns:
            The latent z and log |det dz/dx| of shape (\*B,).
        """

    @abstractmethod
    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        r"""Map latent to data.

        Args:
            z: latent of the shape that `forward_and_ladj` returns.
            context: as in `forward_and_ladj`.

        Returns:
            The data x and log |det dx/dz| of shape (\*B,).

        Raises:
            NotConvergedError: the inverse is numerical and missed its tolerance.
        """

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map data to latent, without the ladj."""
        return self.forward_and_ladj(x, context)[0]

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Map latent to data, without the ladj."""
        return self.inverse_and_ladj(z, context)[0]

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Set parameters that start from data (ActNorm, Standardise); return z for the layer that follows.

        Most maps have no such parameters and only pass the data on.
        """
        return self.forward(x, context)


def check_features(x: Tensor, features: int, event_ndim: int = 1) -> None:
    """Raise a ShapeError unless x has as many features (channels) as the map: broadcasting would hide the mistake."""
    if x.ndim < event_ndim or x.shape[-event_ndim] != features:
        event = (features, "H", "W") if event_ndim == 3 else (features,)
        raise ShapeError(f"Expected events of shape ({', '.join(map(str, event))}), got an input of {tuple(x.shape)}.")


def sum_event(elementwise: Tensor, event_ndim: int) -> Tensor:
    """Sum an elementwise ladj over the trailing ``event_ndim`` dimensions."""
    return elementwise.flatten(-event_ndim).sum(-1)

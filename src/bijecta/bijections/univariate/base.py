"""The contract of a univariate map: one number in, one number out, parameters from outside."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn


class Univariate(nn.Module, ABC):
    """Map single numbers monotonically, with parameters that come from outside.

    A univariate holds no weights of its own. A host (`Elementwise`, `Coupling`, `Autoregressive`) supplies
    ``n_params`` numbers for every element and sums the log-derivatives into the ladj of the whole map.
    Parameters that are all zero give a map close to the identity, so that a fresh flow starts simple.

    Attributes:
        n_params: how many parameters each element takes.
    """

    n_params: int

    @abstractmethod
    def forward_and_ladj(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        r"""Map data to latent.

        Args:
            x: elements of shape (\*B, D).
            params: unconstrained parameters of shape (\*B, D, n_params).

        Returns:
            The mapped elements and log |dz/dx| of each, both of shape (\*B, D).
        """

    @abstractmethod
    def inverse_and_ladj(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map latent to data: the exact inverse of `forward_and_ladj`, with log |dx/dz|."""

    def columns(self, index: Sequence[int]) -> "Univariate":  # noqa: ARG002 (only per-column maps need it)
        """Restrict the map to some feature columns; a map that treats all columns alike returns itself."""
        return self

"""Splines as univariate maps: flexible inside [-bound, bound], the identity outside."""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from bijecta import functional
from bijecta.bijections.univariate.base import Univariate
from bijecta.errors import InputError, ShapeError


class RationalQuadraticSpline(Univariate):
    """Map numbers by a monotone rational-quadratic spline, the standard choice.

    ``y = y_k + h (s xi^2 + d_k xi nu) / (s (xi^2 + nu^2) + (d_k + d_(k+1)) xi nu)`` in bin k.

    Args:
        bins: K.
        bound: half-width of the domain, in the units of the data; one number, or one per column.
        circular: whether the numbers are periodic with period 2 bound; one flag, or one per column.
        min_slope: smallest slope at a knot; the largest is its reciprocal.

    Raises:
        InputError: fewer than one bin, or a bound that is not positive.
        ShapeError: (when called) x has not as many columns as the settings.

    Reference:
        Durkan et al., "Neural spline flows" (2019); Rezende et al., "Normalizing flows on tori and spheres" (2020).

    Example:
        >>> spline = RationalQuadraticSpline(bins=8)
        >>> z, ladj = spline.forward_and_ladj(torch.tensor([[0.5, -7.0]]), torch.zeros(1, 2, spline.n_params))
        >>> z
        tensor([[ 0.5000, -7.0000]])
    """

    bound: float | Tensor
    circular: bool | Tensor

    def __init__(
        self,
        bins: int = 8,
        bound: float | Sequence[float] = 5.0,
        circular: bool | Sequence[bool] = False,  # noqa: FBT001, FBT002
        min_slope: float = 1e-3,
    ) -> None:
        super().__init__()
        self.bins, self.min_slope = _positive("bins", bins), min_slope
        _positive("bound", min(bound) if isinstance(bound, Sequence) else bound)
        # float64, for pi in float32 is not the period of a float64 angle; the call takes the dtype of its data.
        self._keep("bound", bound, torch.float64)
        self._keep("circular", circular, torch.bool)
        self.n_params = functional.rational_quadratic_params(bins, circular=circular is not False)

    def forward_and_ladj(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map data to latent, see `Univariate.forward_and_ladj`."""
        return self._map(x, params, inverse=False)

    def inverse_and_ladj(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map latent to data, see `Univariate.inverse_and_ladj`."""
        return self._map(z, params, inverse=True)

    def columns(self, index: Sequence[int]) -> "RationalQuadraticSpline":
        """Restrict per-column settings to some columns.

        Args:
            index: the feature columns to keep, in order.

        Returns:
            A spline for these columns, with the same `n_params`.

        Example:
            >>> RationalQuadraticSpline(circular=[True, False, False]).columns([2, 0]).circular
            tensor([False,  True])
        """
        if not isinstance(self.bound, Tensor) and not isinstance(self.circular, Tensor):
            return self
        bound, circular = (_select(setting, index) for setting in (self.bound, self.circular))
        device = next(self.buffers()).device
        return RationalQuadraticSpline(self.bins, bound, circular, self.min_slope).to(device)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"bins={self.bins}, bound={_shown(self.bound)}, circular={_shown(self.circular)}"

    def _keep(self, name: str, setting: float | Sequence[float], dtype: torch.dtype) -> None:
        """Keep one setting as it is, and one per column as a buffer (the constructor knows it: not in state_dict)."""
        if isinstance(setting, Sequence):
            self.register_buffer(name, torch.tensor(setting, dtype=dtype), persistent=False)
        else:
            setattr(self, name, setting)

    def _map(self, x: Tensor, params: Tensor, *, inverse: bool) -> tuple[Tensor, Tensor]:
        for name, setting in (("bound", self.bound), ("circular", self.circular)):
            if isinstance(setting, Tensor) and setting.shape != x.shape[-1:]:
                raise ShapeError(
                    f"{name} has {setting.numel()} columns, x has shape {tuple(x.shape)}. "
                    f"Give {name} one entry per column of x; for a part of the columns use `columns(index)`."
                )
        return functional.rational_quadratic(
            x, params, bound=self.bound, circular=self.circular, inverse=inverse, min_slope=self.min_slope
        )


class LinearSpline(Univariate):
    """Map numbers by a monotone piecewise linear spline.

    ``y = y_k + h_k xi`` on K bins of equal width: the density is a histogram.

    Args:
        bins: K.
        bound: half-width of the domain, in the units of the data.

    Raises:
        InputError: fewer than one bin, or a bound that is not positive.

    Reference:
        Müller et al., "Neural importance sampling" (2019).

    Example:
        >>> spline = LinearSpline(bins=8)
        >>> z, ladj = spline.forward_and_ladj(torch.tensor([[0.5, -7.0]]), torch.zeros(1, 2, spline.n_params))
        >>> z
        tensor([[ 0.5000, -7.0000]])
    """

    def __init__(self, bins: int = 8, bound: float = 5.0) -> None:
        super().__init__()
        self.bins, self.bound = _positive("bins", bins), _positive("bound", bound)
        self.n_params = functional.linear_spline_params(bins)

    def forward_and_ladj(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map data to latent, see `Univariate.forward_and_ladj`."""
        return functional.linear_spline(x, params, bound=self.bound)

    def inverse_and_ladj(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map latent to data, see `Univariate.inverse_and_ladj`."""
        return functional.linear_spline(z, params, bound=self.bound, inverse=True)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"bins={self.bins}, bound={self.bound}"


class QuadraticSpline(Univariate):
    """Map numbers by a monotone piecewise quadratic spline.

    ``dy/dx = v_k nu + v_(k+1) xi``: the density is a continuous broken line.

    Args:
        bins: K.
        bound: half-width of the domain, in the units of the data.

    Raises:
        InputError: fewer than one bin, or a bound that is not positive.

    Reference:
        Müller et al., "Neural importance sampling" (2019).

    Example:
        >>> spline = QuadraticSpline(bins=8)
        >>> z, ladj = spline.forward_and_ladj(torch.tensor([[0.5, -7.0]]), torch.zeros(1, 2, spline.n_params))
        >>> z
        tensor([[ 0.5000, -7.0000]])
    """

    def __init__(self, bins: int = 8, bound: float = 5.0) -> None:
        super().__init__()
        self.bins, self.bound = _positive("bins", bins), _positive("bound", bound)
        self.n_params = functional.quadratic_spline_params(bins)

    def forward_and_ladj(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map data to latent, see `Univariate.forward_and_ladj`."""
        return functional.quadratic_spline(x, params, bound=self.bound)

    def inverse_and_ladj(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map latent to data, see `Univariate.inverse_and_ladj`."""
        return functional.quadratic_spline(z, params, bound=self.bound, inverse=True)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"bins={self.bins}, bound={self.bound}"


class CubicSpline(Univariate):
    """Map numbers by a monotone cubic spline.

    ``y = y_k + h (a xi nu^2 + (3 - b) xi^2 nu + xi^3)``: interior slopes follow from widths and heights.

    Args:
        bins: K.
        bound: half-width of the domain, in the units of the data.

    Raises:
        InputError: fewer than one bin, or a bound that is not positive.

    Reference:
        Durkan et al., "Cubic-spline flows" (2019).

    Example:
        >>> spline = CubicSpline(bins=8)
        >>> z, ladj = spline.forward_and_ladj(torch.tensor([[0.5, -7.0]]), torch.zeros(1, 2, spline.n_params))
        >>> z
        tensor([[ 0.5000, -7.0000]])
    """

    def __init__(self, bins: int = 8, bound: float = 5.0) -> None:
        super().__init__()
        self.bins, self.bound = _positive("bins", bins), _positive("bound", bound)
        self.n_params = functional.cubic_spline_params(bins)

    def forward_and_ladj(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map data to latent, see `Univariate.forward_and_ladj`."""
        return functional.cubic_spline(x, params, bound=self.bound)

    def inverse_and_ladj(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map latent to data, see `Univariate.inverse_and_ladj`."""
        return functional.cubic_spline(z, params, bound=self.bound, inverse=True)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"bins={self.bins}, bound={self.bound}"


Number = TypeVar("Number", int, float)


def _positive(name: str, value: Number) -> Number:
    if not value > 0:
        raise InputError(f"{name} must be positive, got {value}.")
    return value


def _select(setting: float | Tensor, index: Sequence[int]) -> Any:
    return [setting.tolist()[i] for i in index] if isinstance(setting, Tensor) else setting


def _shown(setting: float | Tensor) -> object:
    return setting.tolist() if isinstance(setting, Tensor) else setting

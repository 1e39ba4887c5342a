"""Splines whose support is exact: intervals that end, circles that close, and lines."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bijecta.bijections import RationalQuadraticSpline, Univariate
from bijecta.errors import InputError
from bijecta.functional import soft_clip

KINDS = ("box", "angle", "real")
_LARGEST_SLOPE = 100.0  # of a density at the end of its interval, relative to a uniform one, in one layer


class BoxSpline(Univariate):
    r"""Map every column onto its own support by a monotone rational-quadratic spline.

    A column of kind "box" maps [-1, 1] onto itself, "angle" the circle :math:`[-\pi, \pi)`, "real" the line (the
    identity beyond ±5). Between identity tails a spline has slope 1 at its ends, which would pin a density at the edge
    of its support. So a box is first bent by one rational-quadratic piece with free slopes a and b at its ends,

    .. math:: y = 2\,\frac{\xi^2 + a\,\xi\nu}{\xi^2 + \nu^2 + (a + b)\,\xi\nu} - 1, \qquad
        \xi = \frac{1 + x}{2},\ \nu = \frac{1 - x}{2}.

    Args:
        kinds: "box", "angle" or "real", one per column.
        bins: bins of every spline.

    Raises:
        InputError: an unknown kind.

    Reference:
        Durkan et al. (2019), "Neural spline flows"; Gao, Isaacson, Krause (2020), "i-flow".

    Example:
        >>> spline = BoxSpline(["box", "angle"], bins=4)
        >>> spline.inverse_and_ladj(torch.tensor([1.0, 0.5]), torch.zeros(2, spline.n_params))[0]
        tensor([1.0000, 0.5000])
    """

    box: Tensor

    def __init__(self, kinds: Sequence[str], bins: int = 16) -> None:
        super().__init__()
        if not set(kinds) <= set(KINDS):
            raise InputError(f"BoxSpline expects kinds among {', '.join(KINDS)}; got {', '.join(kinds)}.")
        self.kinds, bounds = tuple(kinds), {"box": 1.0, "angle": math.pi, "real": 5.0}
        self.spline = RationalQuadraticSpline(
            bins, [bounds[kind] for kind in kinds], [kind == "angle" for kind in kinds]
        )
        self.register_buffer("box", torch.tensor([kind == "box" for kind in kinds]), persistent=False)
        self.n_params = 2 + self.spline.n_params

    def forward_and_ladj(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map data to latent, see `Univariate.forward_and_ladj`."""
        bent, first = self._bend(x, params[..., :2], inverse=False)
        z, second = self.spline.forward_and_ladj(bent, params[..., 2:])
        return self._keep_inside(x, z), first + second

    def inverse_and_ladj(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map latent to data, see `Univariate.inverse_and_ladj`."""
        bent, second = self.spline.inverse_and_ladj(z, params[..., 2:])
        bent = self._keep_inside(z, bent)
        x, first = self._bend(bent, params[..., :2], inverse=True)
        return x, first + second

    def columns(self, index: Sequence[int]) -> "BoxSpline":
        """Restrict the spline to some columns.

        Args:
            index: the columns to keep, in order.

        Returns:
            A spline for these columns, with the same `n_params`.

        Example:
            >>> BoxSpline(["box", "angle"]).columns([1]).kinds
            ('angle',)
        """
        return BoxSpline([self.kinds[i] for i in index], self.spline.bins).to(self.box.device)

    def _keep_inside(self, x: Tensor, z: Tensor) -> Tensor:
        """Take back what rounding carried over the end of a box; what was outside before stays there."""
        return torch.where(self.box & (x.abs() <= 1.0), z.clamp(-1.0, 1.0), z)

    def _bend(self, x: Tensor, logits: Tensor, *, inverse: bool) -> tuple[Tensor, Tensor]:
        inside = self.box & (x.abs() <= 1.0)
        a, b = soft_clip(logits.to(x.dtype), math.log(_LARGEST_SLOPE)).exp().unbind(-1)
        xi, nu = (1.0 + x.clamp(-1.0, 1.0)) / 2.0, (1.0 - x.clamp(-1.0, 1.0)) / 2.0
        if inverse:
            xi, nu = _solve(xi, nu, a, b)
        weight = xi**2 + nu**2 + (a + b) * xi * nu  # at least 1/2
        # The derivative is (b ξ² + 2 ξν + a ν²) / weight²: a sum of positive terms.
        ladj = torch.log(b * xi**2 + 2.0 * xi * nu + a * nu**2) - 2.0 * weight.log()
        y = xi - nu if inverse else (xi**2 - nu**2 + (a - b) * xi * nu) / weight
        return torch.where(inside, y, x), torch.where(inside, -ladj if inverse else ladj, 0.0)


def _solve(t: Tensor, rest: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Find ξ and ν = 1 - ξ from the share t that the piece maps ξ to, and rest = 1 - t.

    ξ/ν solves rest r² + e r - t = 0 with e = a rest - b t; its positive root is written without cancellation.
    """
    e = a * rest - b * t
    half = (e.abs() + (e**2 + 4.0 * t * rest).sqrt()) / 2.0
    xi = torch.where(e >= 0.0, t, half)
    nu = torch.where(e >= 0.0, half, rest)
    return xi / (xi + nu), nu / (xi + nu)

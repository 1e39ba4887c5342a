"""The sphere: turned, and unrolled to a cylinder of height and angle."""

import torch
from torch import Tensor, nn

from bijecta.bijections.base import Bijection, check_features


class Cylinder(Bijection):
    r"""Unroll the unit sphere to the cylinder around it: a direction becomes its height and its angle.

    .. math:: (x, y, h) \mapsto (h, \varphi), \qquad \varphi = \mathrm{atan2}(y, x), \qquad
              dA = dh\,d\varphi

    Areas are kept (Archimedes), so ladj is 0: it is the logarithm of area on the cylinder over area on the sphere, not
    a determinant, and a density of :math:`(h, \varphi)` is one per unit area of the sphere. Only the direction of the
    input counts, not its length; at the poles, where the angle has no meaning, it is 0.

    References:
        D. Rezende et al. (2020), Normalizing Flows on Tori and Spheres.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Cylinder
        >>> Cylinder().forward(torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 1.0]]))
        tensor([[0.0000, 1.5708],
                [1.0000, 0.0000]])
    """

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(x, 3)
        x = x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        # The derivative of atan2 at (0, 0) is NaN, also where another branch is taken: there ask elsewhere.
        pole = x[..., :2].abs().sum(-1) == 0
        east = torch.where(pole, torch.ones_like(x[..., 0]), x[..., 0])
        angle = torch.atan2(x[..., 1], east)
        # Rounding may carry the height of a pole over the end of the cylinder, where nothing is.
        return torch.stack([x[..., 2].clamp(-1, 1), angle], -1), (0 * x).sum(-1)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(z, 2)
        height, angle = z.clamp(-1, 1)[..., 0], z[..., 1]
        # (1 - h)(1 + h) loses no digits near the poles, where 1 - h^2 does; the root needs a slope at zero.
        tiny = torch.finfo(z.dtype).tiny
        radius = ((1 - height) * (1 + height)).clamp_min(tiny).sqrt()
        return torch.stack([radius * angle.cos(), radius * angle.sin(), height], -1), (0 * z).sum(-1)


class Rotate(Bijection):
    r"""Turn directions in space by a learned rotation: :math:`z = R x`, ladj 0.

    .. math:: R = \begin{pmatrix} 1 - 2(y^2 + z^2) & 2(xy - wz) & 2(xz + wy) \\
              2(xy + wz) & 1 - 2(x^2 + z^2) & 2(yz - wx) \\
              2(xz - wy) & 2(yz + wx) & 1 - 2(x^2 + y^2) \end{pmatrix}

    for the unit quaternion (w, x, y, z); what is learned is one of any length, which begins as a random rotation.
    With a turn before every layer that singles out a north pole, no direction is special.

    References:
        K. Shoemake (1992), Uniform Random Rotations.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Rotate
        >>> x = torch.tensor([3.0, 4.0, 0.0])
        >>> Rotate().forward(x).norm().round(decimals=4).item()
        5.0
    """

    def __init__(self) -> None:
        super().__init__()
        # A normal quaternion, divided by its length, is a uniform rotation.
        self.quaternion = nn.Parameter(torch.nn.functional.normalize(torch.randn(4), dim=0))

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(x, 3)
        return x @ self._matrix().mT, (0 * x).sum(-1)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(z, 3)
        return z @ self._matrix(), (0 * z).sum(-1)

    def _matrix(self) -> Tensor:
        """Divide by the length at every call: so the matrix is a rotation in whatever precision the module has."""
        w, x, y, z = (self.quaternion / self.quaternion.norm()).unbind()
        rows = [
            torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]),
            torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]),
            torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]),
        ]
        return torch.stack(rows)

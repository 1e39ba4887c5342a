"""What particles of one kind have in common: a linear map of their mean."""

import torch
from torch import Tensor, nn

from bijecta.bijections.base import Bijection, check_features


class ScaleMean(Bijection):
    r"""Scale the mean over all pixels, and leave the distances from it as they are.

    .. math:: z_i = x_i + (e^{s} - 1)\,\bar x, \qquad \log|\det| = \sum_{channels} s, \qquad
              \bar x = \frac1n \sum_j x_j

    With a scale of every channel it is, for a set of n particles, the linear map that does not see their order. Where
    particles move together, or against each other, it makes their numbers uncorrelated: `initialise` sets s so that
    :math:`\sqrt n\,\bar z` has the spread of a single particle around the mean, once, as a buffer remembers.

    Args:
        channels: channels of images (\*B, C, H, W), whose pixels are the particles.

    References:
        M. Zaheer, S. Kottur, S. Ravanbakhsh, B. Poczos, R. Salakhutdinov, A. Smola (2017), Deep Sets (the linear maps
        that do not see an order).

    Example:
        >>> import torch
        >>> from bijecta.bijections import ScaleMean
        >>> layer = ScaleMean(1)
        >>> torch.nn.init.constant_(layer.log_scale, torch.tensor(3.0).log())
        Parameter containing:
        tensor([1.0986], requires_grad=True)
        >>> layer.forward(torch.tensor([1.0, 3.0]).reshape(1, 2, 1)).flatten().detach()
        tensor([5., 7.])
    """

    event_ndim = 3
    initialised: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.register_buffer("initialised", torch.tensor(False))  # noqa: FBT003 (a value, not a flag)

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return self._scale(x, self.log_scale)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return self._scale(z, -self.log_scale)

    def _scale(self, x: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
        check_features(x, len(log_scale), 3)
        more = log_scale.expm1()[:, None, None] * x.mean((-2, -1), keepdim=True)
        return x + more, log_scale.sum().expand(x.shape[:-3])

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        particles = x.shape[-2] * x.shape[-1]
        if not self.initialised and particles > 1:
            images = x.reshape(-1, *x.shape[-3:]).double()
            common = images.mean((-2, -1), keepdim=True)
            around = (images - common).square().mean((0, 2, 3)) * particles / (particles - 1)
            together = particles * common.var((0, 2, 3), correction=0)
            # Where one of the two does not vary, as in centred data, no scale is right.
            self.log_scale.copy_((0.5 * (around / together).log()).nan_to_num(0.0).clamp(-5, 5))
        self.initialised.fill_(True)  # noqa: FBT003
        return self.forward(x, context)

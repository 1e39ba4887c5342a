"""Images of whole numbers under a continuous density: a bound, uniform or variational, and it says so."""

import torch
from torch import Tensor

from bijecta.distributions.base import Distribution, SampleShape
from bijecta.errors import InputError, ShapeError

START_ROWS = 1024


class DequantisedImages(Distribution):
    r"""Give images of whole numbers a probability through a density of noisy images.

    .. math:: \log P(n) = \log \int_{[0,1)^D} p(n + u)\, du
              \;\ge\; \mathbb{E}_{u \sim q(u \mid n)} \left[\log p(n + u) - \log q(u \mid n)\right]

    `log_prob` draws u once per image: its mean is the bound on the right, in nats per image. Without ``noise``, q is
    uniform and the density has to be flat within every cell; a learned q puts the noise where the density is.
    Samples are rounded down and kept within the levels.

    Args:
        distribution: a density of images (C, H, W) of real numbers, of which [n, n + 1) stands for the level n.
        levels: the pixels are whole numbers from 0 to levels - 1.
        noise: a distribution q of u in (0, 1), of the same shape; its context is the image n, flattened.

    Raises:
        InputError: there are fewer than two levels; or, in `initialise`, pixels are not whole numbers within them.
        ShapeError: the distribution does not say the shape of its images; or, at the call, images have another one.

    References:
        L. Theis, A. van den Oord, M. Bethge (2016), A note on the evaluation of generative models.
        J. Ho, X. Chen, A. Srinivas, Y. Duan, P. Abbeel (2019), Flow++ (variational dequantisation).

    Example:
        >>> import torch
        >>> from bijecta.distributions import DequantisedImages
        >>> from bijecta.flows import glow_image
        >>> images = DequantisedImages(glow_image([1, 4, 4], levels=1, steps=1, hidden=4), levels=17)
        >>> images.sample(3).shape, images.is_bound
        (torch.Size([3, 1, 4, 4]), True)
    """

    is_bound = True

    def __init__(self, distribution: Distribution, levels: int, noise: Distribution | None = None) -> None:
        super().__init__()
        if levels < 2:
            raise InputError(f"DequantisedImages expects at least 2 levels of grey, got {levels}.")
        if distribution.event_shape is None or len(distribution.event_shape) != 3:
            raise ShapeError(
                f"DequantisedImages expects a distribution with event_shape (C, H, W), got {distribution.event_shape}."
            )
        self.distribution, self.levels, self.noise = distribution, levels, noise
        self.context, self.event_shape = distribution.context, distribution.event_shape

    def log_prob(self, x: Tensor, context: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        if tuple(x.shape[-3:]) != self.event_shape:
            raise ShapeError(f"Expected images of shape (*batch, *{self.event_shape}), got {tuple(x.shape)}.")
        u, log_noise = self.draw_noise(x, generator)
        return self.distribution.log_prob(x + u, context) - log_noise

    def draw_noise(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        r"""Draw noise u of the shape of x (\*B, C, H, W), with log q(u | x) of shape (\*B,)."""
        if self.noise is None:
            u = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
            return u, x.new_zeros(x.shape[:-3])
        return self.noise.sample_and_log_prob((), x.flatten(-3), generator=generator)

    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        return self.round(self.distribution.sample(shape, context, generator=generator))

    def round(self, x: Tensor) -> Tensor:
        """Round real numbers down to levels."""
        return x.floor().clamp(0, self.levels - 1)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        if not torch.equal(x, self.round(x)):
            raise InputError(
                f"DequantisedImages expects pixels that are whole numbers from 0 to {self.levels - 1}, got numbers "
                f"between {float(x.min()):g} and {float(x.max()):g}. Images in [0, 1] become whole numbers by "
                f"(x * {self.levels - 1}).round()."
            )
        # Starting values are means and spreads: a thousand images give them, sixty thousand would not fit in memory.
        stride = max(1, len(x) // START_ROWS)
        some = x[::stride]
        # With noise, for a pixel that is always black has no spread without it.
        noisy = some + self.draw_noise(some)[0]
        self.distribution.initialise(noisy, None if context is None else context[::stride])

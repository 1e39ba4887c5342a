"""Between pixels and latent: bits per dimension, temperature, interpolation."""

import math

import torch
from torch import Tensor

from bijecta.distributions import ConditionalNormal, DequantisedImages, DiagonalNormal, Normal
from bijecta.distributions.base import SampleShape
from bijecta.errors import InputError
from bijecta.flows.flow import Flow


def bits_per_dimension(log_prob: Tensor, dimensions: int, levels: float = 1) -> Tensor:
    r"""Convert log-densities of images into bits per pixel and channel, where lower is better.

    .. math:: b = \log_2 L - \frac{\log p(x)}{D \log 2}

    Args:
        log_prob: log-densities in nats, of any shape.
        dimensions: number D of pixels times channels of one image.
        levels: number L of grey levels that one unit of the data holds: 1 where pixels are whole numbers, as under
            `DequantisedImages`, 256 where they were divided by 256.

    Returns:
        The bits per dimension, of the shape of ``log_prob``. Of a lower bound of log p they are an upper bound.

    Raises:
        InputError: there is no dimension or no level.

    References:
        L. Theis, A. van den Oord, M. Bethge (2016), A note on the evaluation of generative models.

    Example:
        >>> import torch
        >>> from bijecta.flows.images import bits_per_dimension
        >>> uniform = torch.zeros(())  # the density of every image on the unit cube
        >>> bits_per_dimension(uniform, dimensions=784, levels=256)
        tensor(8.)
    """
    if dimensions < 1 or levels <= 0:
        raise InputError(f"bits_per_dimension expects positive numbers, got {dimensions} dimensions, {levels} levels.")
    return math.log2(levels) - log_prob / (dimensions * math.log(2))


@torch.no_grad()
def sample_at_temperature(
    images: Flow | DequantisedImages,
    shape: SampleShape = (),
    context: Tensor | None = None,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Draw samples with the spread of the base scaled: below 1 they are more typical and less diverse.

    .. math:: x = f^{-1}(\mu + T (z - \mu); c), \qquad z \sim p_Z(\cdot \mid c)

    Args:
        images: a flow with a normal base, or one under `DequantisedImages`.
        shape: how many, as an integer or a shape \*S.
        context: of shape (\*B, C): every context gets samples of its own.
        temperature: T; 1 samples the model itself, 0 gives the image of the mean.
        generator: source of randomness.

    Returns:
        Samples of shape (\*S, \*B, C, H, W); whole numbers under `DequantisedImages`.

    Raises:
        InputError: the temperature is negative, or the base is not normal.

    References:
        D. Kingma, P. Dhariwal (2018), Glow: Generative Flow with Invertible 1x1 Convolutions.

    Example:
        >>> from bijecta.flows.images import pixel_glow, sample_at_temperature
        >>> flow = pixel_glow([1, 4, 4], grey_levels=17, levels=1, steps=1, hidden=4)
        >>> sample_at_temperature(flow, 5, temperature=0.7).shape
        torch.Size([5, 1, 4, 4])
    """
    if not temperature >= 0:
        raise InputError(f"sample_at_temperature expects a temperature of at least 0, got {temperature}.")
    flow = flow_of(images)
    embedded = embed(flow, context)
    mean = base_mean(flow, embedded)
    z = flow.base.sample(shape, embedded, generator=generator)
    x = flow.to_data(mean + temperature * (z - mean), context)
    return images.round(x) if isinstance(images, DequantisedImages) else x


@torch.no_grad()
def interpolate(
    images: Flow | DequantisedImages,
    ends: tuple[Tensor, Tensor],
    count: int,
    contexts: tuple[Tensor, Tensor] | None = None,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Walk from one image to another through the latent, along a great circle around its mean.

    .. math:: z_t = \mu_t + \frac{\sin((1-t)\omega)\, a + \sin(t\omega)\, b}{\sin\omega}, \qquad
              a = z_0 - \mu_0, \quad b = z_1 - \mu_1

    where :math:`\omega` is the angle between a and b. On a straight line the middle would be shorter than any sample
    of a normal in many dimensions. Whole numbers get noise first, as in training: the flow has never seen an image
    without, and goes astray from there.

    Args:
        images: a flow with a normal base, or one under `DequantisedImages`.
        ends: the two images, each (\*B, C, H, W).
        count: number n of images, both ends included.
        contexts: the contexts of the two ends, each (\*B, C); those between them are on a straight line.
        generator: of the noise (default: torch's global one).

    Returns:
        Images of shape (n, \*B, C, H, W).

    Raises:
        InputError: fewer than two images are asked for, or the base is not normal.

    References:
        T. White (2016), Sampling Generative Networks (spherical interpolation).

    Example:
        >>> import torch
        >>> from bijecta.flows.images import interpolate, pixel_glow
        >>> flow = pixel_glow([1, 4, 4], grey_levels=17, levels=1, steps=1, hidden=4)
        >>> interpolate(flow, (torch.zeros(1, 4, 4), torch.ones(1, 4, 4)), 7).shape
        torch.Size([7, 1, 4, 4])
    """
    if count < 2:
        raise InputError(f"interpolate expects at least 2 images, both ends included, got {count}.")
    flow = flow_of(images)
    noisy = [
        end + images.draw_noise(end, generator)[0] if isinstance(images, DequantisedImages) else end for end in ends
    ]
    z0, z1 = (flow.to_latent(x, c) for x, c in zip(noisy, contexts or (None, None), strict=True))
    mean0, mean1 = (base_mean(flow, embed(flow, c)) for c in contexts or (None, None))

    def picture(t: float) -> Tensor:
        z = torch.lerp(mean0, mean1, t) + great_circle(z0 - mean0, z1 - mean1, t)
        return flow.to_data(z, None if contexts is None else torch.lerp(*contexts, t))

    x = torch.stack([picture(t) for t in torch.linspace(0, 1, count).tolist()])
    return images.round(x) if isinstance(images, DequantisedImages) else x


def great_circle(a: Tensor, b: Tensor, t: float) -> Tensor:
    r"""Go the fraction t of the way from a to b, each (\*B, D), turning steadily."""
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=-1).unsqueeze(-1)
    angle = cosine.clamp(-1, 1).acos()
    # Where the two directions (nearly) agree or oppose, sin(angle) is no divisor: a straight line does.
    steady = angle.sin() > 1e-4
    divisor = torch.where(steady, angle.sin(), 1.0)
    first = torch.where(steady, ((1 - t) * angle).sin() / divisor, 1 - t)
    second = torch.where(steady, (t * angle).sin() / divisor, t)
    return first * a + second * b


def flow_of(images: Flow | DequantisedImages) -> Flow:
    """Take the flow of the noisy images out of its wrapper."""
    flow = images.distribution if isinstance(images, DequantisedImages) else images
    if not isinstance(flow, Flow):
        raise InputError(f"Expected a Flow, or DequantisedImages of one, got {type(flow).__name__}.")
    return flow


def embed(flow: Flow, context: Tensor | None) -> Tensor | None:
    """Embed a context as the flow does before its base sees it."""
    if context is None or flow.embedding is None:
        return context
    embedded: Tensor = flow.embedding(context)
    return embedded


def base_mean(flow: Flow, context: Tensor | None) -> Tensor:
    """Return the mean of a normal base, of the embedded context."""
    if isinstance(flow.base, Normal):
        return flow.base.anchor.new_zeros(flow.base.features)
    if isinstance(flow.base, DiagonalNormal):
        return flow.base.mean
    if isinstance(flow.base, ConditionalNormal):
        return flow.base.mean_and_log_scale(context)[0]
    raise InputError(
        f"Temperature and interpolation need a base with one mean: normal or diagonal, got {type(flow.base).__name__}."
    )

"""The transformer flow of images of whole numbers."""

from collections.abc import Sequence
from math import prod

import torch

from bijecta.bijections import ActNorm, Permute, Reshape
from bijecta.distributions import DequantisedImages
from bijecta.errors import InputError
from bijecta.flows.images.recipe import dequantised, image_flow
from bijecta.flows.registry import recipe
from bijecta.flows.transformer import token_layers


@recipe
def pixel_transformer(
    shape: Sequence[int],
    *,
    context: int = 0,
    grey_levels: int = 256,
    patch: int = 2,
    layers: int = 4,
    hidden: Sequence[int] = (64, 64),
    width: int = 32,
    noise: str = "variational",
) -> DequantisedImages:
    """Build a transformer flow for images of whole numbers: patches, each mapped given those before it.

    Dequantisation, logit and base are those of `pixel_glow`. Every second layer sees the patches in reverse. The
    density takes one pass; a sample is made patch by patch. The maps are splines, the paper's are affine.

    Args:
        shape: shape (C, H, W) of one image; H and W divisible by ``patch``, and by 2 for variational noise.
        context: number of context features, for example classes as one-hot vectors.
        grey_levels: pixels are whole numbers from 0 to grey_levels - 1.
        patch: side of the squares of pixels that make one token, all channels together.
        layers: how many autoregressive maps follow each other.
        hidden: units of the feed-forward network of every attention layer; as many attention layers as entries.
        width: numbers that stand for a patch inside of the network; 16 of them make one attention head.
        noise: "variational" (a flow of the noise given the image) or "uniform".

    Returns:
        The distribution; its ``distribution`` is the `Flow` of noisy images.

    Raises:
        InputError: the patches do not fill the image, or its sides are odd and the noise is variational.

    References:
        S. Zhai et al. (2024), Normalizing Flows are Capable Generative Models.

    Example:
        >>> from bijecta.flows.images import pixel_transformer
        >>> pixel_transformer([1, 4, 4], grey_levels=17, layers=1, hidden=[8], width=8).sample(3).shape
        torch.Size([3, 1, 4, 4])
    """
    size, index = prod(shape), patch_order(shape, patch)
    token = shape[0] * patch**2
    layered = token_layers(size, token, "spline", context=context, layers=layers, hidden=hidden, width=width)
    steps = [Reshape(shape, [size]), ActNorm(size), Permute(index), *layered]
    return dequantised(image_flow(shape, context, grey_levels, steps), grey_levels, noise, width)


def patch_order(shape: Sequence[int], patch: int) -> list[int]:
    """List the places of a flat image patch by patch, those of one patch side by side."""
    channels, height, width = shape
    if height % patch or width % patch:
        raise InputError(f"pixel_transformer expects sides divisible by the patch {patch}, got {height}x{width}.")
    places = torch.arange(prod(shape)).reshape(channels, height // patch, patch, width // patch, patch)
    order: list[int] = places.permute(1, 3, 0, 2, 4).flatten().tolist()
    return order

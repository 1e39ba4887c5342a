"""Images of whole numbers: the recipe, and what is done with its flows."""

from bijecta.flows.images.latent import bits_per_dimension, interpolate, sample_at_temperature
from bijecta.flows.images.recipe import pixel_glow
from bijecta.flows.images.transformer import pixel_transformer

__all__ = ["bits_per_dimension", "interpolate", "pixel_glow", "pixel_transformer", "sample_at_temperature"]

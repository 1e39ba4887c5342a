"""Images of whole numbers: the recipe, and what is done with its flows."""

from bijecta.flows.images.latent import bits_per_dimension, interpolate, sample_at_temperature
from bijecta.flows.images.recipe import pixel_glow

__all__ = ["bits_per_dimension", "interpolate", "pixel_glow", "sample_at_temperature"]

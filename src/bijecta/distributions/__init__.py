"""Distributions: the bases of flows, and the discrete columns beside them."""

from bijecta.distributions.base import Distribution
from bijecta.distributions.circular import CircularUniform, VonMises
from bijecta.distributions.conditional_normal import ConditionalNormal
from bijecta.distributions.dequantised import Dequantised
from bijecta.distributions.dequantised_images import DequantisedImages
from bijecta.distributions.discrete import Discrete, Mixed
from bijecta.distributions.heads import CategoricalHead, CountHead, Head
from bijecta.distributions.mixture import GaussianMixture
from bijecta.distributions.normal import DiagonalNormal, Normal, StudentT, UniformBox
from bijecta.distributions.ordering import Shuffled, Sorted
from bijecta.distributions.product import Product
from bijecta.distributions.resampled import Resampled
from bijecta.distributions.targets import double_well, double_well_particles

__all__ = [
    "CategoricalHead",
    "CircularUniform",
    "ConditionalNormal",
    "CountHead",
    "Dequantised",
    "DequantisedImages",
    "DiagonalNormal",
    "Discrete",
    "Distribution",
    "GaussianMixture",
    "Head",
    "Mixed",
    "Normal",
    "Product",
    "Resampled",
    "Shuffled",
    "Sorted",
    "StudentT",
    "UniformBox",
    "VonMises",
    "double_well",
    "double_well_particles",
]

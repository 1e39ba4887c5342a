"""Distributions: the bases of flows, and the discrete columns beside them."""

from bijecta.distributions.base import Distribution
from bijecta.distributions.circular import CircularUniform, VonMises
from bijecta.distributions.dequantised import Dequantised
from bijecta.distributions.discrete import Discrete, Mixed
from bijecta.distributions.heads import CategoricalHead, CountHead, Head
from bijecta.distributions.mixture import GaussianMixture
from bijecta.distributions.normal import DiagonalNormal, Normal, StudentT, UniformBox
from bijecta.distributions.product import Product

__all__ = [
    "CategoricalHead",
    "CircularUniform",
    "CountHead",
    "Dequantised",
    "DiagonalNormal",
    "Discrete",
    "Distribution",
    "GaussianMixture",
    "Head",
    "Mixed",
    "Normal",
    "Product",
    "StudentT",
    "UniformBox",
    "VonMises",
]

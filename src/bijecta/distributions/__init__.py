"""Distributions: the bases of flows."""

from bijecta.distributions.base import Distribution
from bijecta.distributions.circular import CircularUniform, VonMises
from bijecta.distributions.dequantised import Dequantised
from bijecta.distributions.mixture import GaussianMixture
from bijecta.distributions.normal import DiagonalNormal, Normal, StudentT, UniformBox
from bijecta.distributions.product import Product

__all__ = [
    "CircularUniform",
    "Dequantised",
    "DiagonalNormal",
    "Distribution",
    "GaussianMixture",
    "Normal",
    "Product",
    "StudentT",
    "UniformBox",
    "VonMises",
]

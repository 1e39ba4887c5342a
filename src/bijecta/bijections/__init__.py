"""Invertible maps with their ladj: hosts, combinators, linear maps, preprocessing, images."""

from bijecta.bijections.base import Bijection
from bijecta.bijections.circular import Turn, Wrap
from bijecta.bijections.combinators import Chain, Indexed, Inverse, Reshape
from bijecta.bijections.hosts import Autoregressive, Coupling, Elementwise
from bijecta.bijections.image import Multiscale, Squeeze
from bijecta.bijections.linear import ActNorm, LULinear, Permute
from bijecta.bijections.preprocessing import Affine, Log, Logit, Standardise
from bijecta.bijections.univariate import (
    AdditiveUnivariate,
    AffineUnivariate,
    CubicSpline,
    LinearSpline,
    QuadraticSpline,
    RationalQuadraticSpline,
    Univariate,
)

__all__ = [
    "ActNorm",
    "AdditiveUnivariate",
    "Affine",
    "AffineUnivariate",
    "Autoregressive",
    "Bijection",
    "Chain",
    "Coupling",
    "CubicSpline",
    "Elementwise",
    "Indexed",
    "Inverse",
    "LULinear",
    "LinearSpline",
    "Log",
    "Logit",
    "Multiscale",
    "Permute",
    "QuadraticSpline",
    "RationalQuadraticSpline",
    "Reshape",
    "Squeeze",
    "Standardise",
    "Turn",
    "Univariate",
    "Wrap",
]

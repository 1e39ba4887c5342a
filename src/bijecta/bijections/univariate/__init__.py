"""Monotone maps of one number, to be hosted by `Elementwise`, `Coupling` or `Autoregressive`."""

from bijecta.bijections.univariate.affine import AdditiveUnivariate, AffineUnivariate
from bijecta.bijections.univariate.base import Univariate
from bijecta.bijections.univariate.splines import CubicSpline, LinearSpline, QuadraticSpline, RationalQuadraticSpline

__all__ = [
    "AdditiveUnivariate",
    "AffineUnivariate",
    "CubicSpline",
    "LinearSpline",
    "QuadraticSpline",
    "RationalQuadraticSpline",
    "Univariate",
]

"""Monotone maps of one number, to be hosted by `Elementwise`, `Coupling` or `Autoregressive`."""

from bijecta.bijections.univariate.affine import AdditiveUnivariate, AffineUnivariate
from bijecta.bijections.univariate.base import Univariate
from bijecta.bijections.univariate.bernstein import Bernstein
from bijecta.bijections.univariate.neural import NeuralMonotone, UnconstrainedMonotone
from bijecta.bijections.univariate.splines import CubicSpline, LinearSpline, QuadraticSpline, RationalQuadraticSpline
from bijecta.bijections.univariate.sum_of_squares import SumOfSquares

__all__ = [
    "AdditiveUnivariate",
    "AffineUnivariate",
    "Bernstein",
    "CubicSpline",
    "LinearSpline",
    "NeuralMonotone",
    "QuadraticSpline",
    "RationalQuadraticSpline",
    "SumOfSquares",
    "UnconstrainedMonotone",
    "Univariate",
]

"""Invertible maps with their ladj: hosts, combinators, linear maps, preprocessing, images."""

from bijecta.bijections.base import Bijection
from bijecta.bijections.block import BlockAutoregressive
from bijecta.bijections.circular import Turn, Wrap
from bijecta.bijections.combinators import Chain, Indexed, Inverse, Reshape
from bijecta.bijections.continuous import Continuous, Transport
from bijecta.bijections.gaussianise import Gaussianise
from bijecta.bijections.hosts import Autoregressive, Coupling, Elementwise
from bijecta.bijections.image import Multiscale, Squeeze
from bijecta.bijections.linear import ActNorm, LULinear, Permute
from bijecta.bijections.low_rank import LowRank
from bijecta.bijections.memory import Rebuilt, Recomputed, memory_mode
from bijecta.bijections.orthogonal import Householder, Orthogonal
from bijecta.bijections.planar import Planar
from bijecta.bijections.preprocessing import Affine, Log, Logit, Standardise, Whiten
from bijecta.bijections.radial import Radial
from bijecta.bijections.regress import Regress
from bijecta.bijections.residual import ResidualBlock
from bijecta.bijections.sets import ScaleMean
from bijecta.bijections.sphere import Cylinder, Rotate
from bijecta.bijections.sylvester import Sylvester
from bijecta.bijections.tokens import TokenAutoregressive
from bijecta.bijections.univariate import (
    AdditiveUnivariate,
    AffineUnivariate,
    Bernstein,
    CubicSpline,
    LinearSpline,
    NeuralMonotone,
    QuadraticSpline,
    RationalQuadraticSpline,
    SumOfSquares,
    UnconstrainedMonotone,
    Univariate,
)

__all__ = [
    "ActNorm",
    "AdditiveUnivariate",
    "Affine",
    "AffineUnivariate",
    "Autoregressive",
    "Bernstein",
    "Bijection",
    "BlockAutoregressive",
    "Chain",
    "Continuous",
    "Coupling",
    "CubicSpline",
    "Cylinder",
    "Elementwise",
    "Gaussianise",
    "Householder",
    "Indexed",
    "Inverse",
    "LULinear",
    "LinearSpline",
    "Log",
    "Logit",
    "LowRank",
    "Multiscale",
    "NeuralMonotone",
    "Orthogonal",
    "Permute",
    "Planar",
    "QuadraticSpline",
    "Radial",
    "RationalQuadraticSpline",
    "Rebuilt",
    "Recomputed",
    "Regress",
    "Reshape",
    "ResidualBlock",
    "Rotate",
    "ScaleMean",
    "Squeeze",
    "Standardise",
    "SumOfSquares",
    "Sylvester",
    "TokenAutoregressive",
    "Transport",
    "Turn",
    "UnconstrainedMonotone",
    "Univariate",
    "Whiten",
    "Wrap",
    "memory_mode",
]

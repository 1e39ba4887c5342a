"""Networks that produce the parameters of bijections. They know no bijection."""

from bijecta.nets.attention import CausalTransformer
from bijecta.nets.block import BlockLinear, LeakyTanh
from bijecta.nets.conv import ConvNet, ConvNetBeside
from bijecta.nets.lipschitz import LipschitzMLP
from bijecta.nets.masked import MaskedMLP
from bijecta.nets.mlp import MLP, SeparateMLPs
from bijecta.nets.parameters import ParameterVector
from bijecta.nets.regression import Regression
from bijecta.nets.scaler import ContextScaler
from bijecta.nets.sets import DeepSets
from bijecta.nets.velocity import Velocity, VelocityMLP

__all__ = [
    "MLP",
    "BlockLinear",
    "CausalTransformer",
    "ContextScaler",
    "ConvNet",
    "ConvNetBeside",
    "DeepSets",
    "LeakyTanh",
    "LipschitzMLP",
    "MaskedMLP",
    "ParameterVector",
    "Regression",
    "SeparateMLPs",
    "Velocity",
    "VelocityMLP",
]

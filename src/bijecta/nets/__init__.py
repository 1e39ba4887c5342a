"""Networks that produce the parameters of bijections. They know no bijection."""

from bijecta.nets.conv import ConvNet
from bijecta.nets.masked import MaskedMLP
from bijecta.nets.mlp import MLP, SeparateMLPs
from bijecta.nets.scaler import ContextScaler

__all__ = ["MLP", "ContextScaler", "ConvNet", "MaskedMLP", "SeparateMLPs"]

"""Block neural autoregressive maps: one network whose Jacobian is triangular, instead of a conditioner."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from bijecta.bijections.base import Bijection, check_features
from bijecta.errors import InputError
from bijecta.functional.inversion import invert_monotone
from bijecta.functional.scalar import soft_clip
from bijecta.nets.block import BlockLinear, LeakyTanh
from bijecta.nets.inputs import check_context

EVERY = slice(None)


class BlockAutoregressive(Bijection):
    r"""Map a vector by a network in which feature i sees itself through increasing functions only, and those before it.

    .. math:: h^{l+1}_i = \phi\Big(A^l_i h^l_i + \sum_{j<i} W^l_{ij} g^l_j + v^l_i(c)\Big), \qquad
              \log|\det\partial z/\partial x| = \sum_i \log\Big(e^{s_i} A^L_i \prod_l D^l_i A^l_i\Big)

    The :math:`A_i` are blocks of positive weights whose rows sum to one and the :math:`D_i` hold the slopes of
    :math:`\phi`, which are between 0.05 and 1.95. A product of them is a mean of products of slopes: it can neither
    overflow nor vanish, so its logarithm needs no log-sum-exp. What the other features see of feature j need not
    increase: g is x_j first, and the tanh inside of every unit later. The inverse searches one feature after the
    other, and evaluates for each one only the units of its own.

    Args:
        features: number D of features.
        context: number C of context features.
        hidden: units per feature in every hidden layer.

    Raises:
        InputError: there is no hidden layer, the map would be affine.

    References:
        N. De Cao, I. Titov, W. Aziz (2019), Block Neural Autoregressive Flow.

    Example:
        >>> import torch
        >>> from bijecta.bijections import BlockAutoregressive
        >>> BlockAutoregressive(3, hidden=[4]).forward(torch.ones(7, 3)).shape
        torch.Size([7, 3])
    """

    def __init__(self, features: int, *, context: int = 0, hidden: Sequence[int] = (8, 8)) -> None:
        super().__init__()
        if not hidden:
            raise InputError("BlockAutoregressive expects at least one hidden layer, got none. Use LULinear instead.")
        self.features, self.context = features, context
        layers = [BlockLinear(features, a, b, context=context) for a, b in pairwise([1, *hidden, 1])]
        self.layers: Sequence[BlockLinear] = nn.ModuleList(layers)  # type: ignore[assignment]
        self.units: Sequence[LeakyTanh] = nn.ModuleList(LeakyTanh(features, width) for width in hidden)  # type: ignore[assignment]
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.shift = nn.Parameter(torch.zeros(features))

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_features(x, self.features)
        context = check_context(context, self.context, x.shape[:-1])
        z, ladj = self._through(x, EVERY, lambda layer, g: self.layers[layer].offsets(g, context))
        return z, ladj.sum(-1)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_features(z, self.features)
        context = check_context(context, self.context, z.shape[:-1])
        known = [z.new_zeros(*z.shape[:-1], 0, layer.in_units) for layer in self.layers]
        found = []
        for feature in range(self.features):
            offsets = [layer.offset(feature, g, context) for layer, g in zip(self.layers, known, strict=True)]
            x_i, ladj_i = self._invert_one(z[..., feature : feature + 1], feature, offsets)
            known = [torch.cat(pair, -2) for pair in zip(known, self._states(x_i, feature, offsets), strict=True)]
            found.append((x_i, ladj_i))
        x, ladj = (torch.cat(parts, -1) for parts in zip(*found, strict=True))
        return x, ladj.sum(-1)

    def _invert_one(self, z_i: Tensor, feature: int, offsets: list[Tensor]) -> tuple[Tensor, Tensor]:
        here = slice(feature, feature + 1)
        return invert_monotone(partial(self._through, features=here, offset=lambda layer, _: offsets[layer]), z_i)

    def _states(self, x_i: Tensor, feature: int, offsets: list[Tensor]) -> list[Tensor]:
        """Collect what every layer gets to see of one feature."""
        states: list[Tensor] = []

        def offset(layer: int, g: Tensor) -> Tensor:
            states.append(g)
            return offsets[layer]

        self._through(x_i, slice(feature, feature + 1), offset)
        return states

    def _through(self, x: Tensor, features: slice, offset: Callable[[int, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        r"""Map some features, (\*B, F), and compute the log-slope of each."""
        h = g = x[..., None]
        slope = torch.ones_like(h)
        for number, layer in enumerate(self.layers):
            averages = layer.averages()[features]
            h, slope = _mean(averages, h) + offset(number, g), _mean(averages, slope)
            if number < len(self.units):
                h, bend, g = self.units[number](h, features)
                slope = slope * bend
        log_scale = soft_clip(self.log_scale[features], 3.0)
        return h[..., 0] * torch.exp(log_scale) + self.shift[features], torch.log(slope[..., 0]) + log_scale


def _mean(averages: Tensor, h: Tensor) -> Tensor:
    # One product per feature; averages @ h[..., None] is one per feature and row, with a copy of the weights for each.
    return torch.einsum("foi,...fi->...fo", averages, h)

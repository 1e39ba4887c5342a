"""The layers of block neural autoregressive flows: block triangular, with diagonal blocks of weighted means."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear as apply_linear
from torch.nn.functional import pad

from bijecta.functional.monotone import leaky_tanh
from bijecta.nets.mlp import MLP


class BlockLinear(nn.Module):
    r"""Mix the units of every feature by weighted means, and add any function of the features before.

    .. math:: s_i = A_i h_i + \sum_{j < i} W_{ij} g_j + v_i(c), \qquad A_i \geq 0, \quad \textstyle\sum_l (A_i)_{kl} = 1

    Rows of A sum to one: slopes that it mixes stay between the smallest and the largest. The g are what the features
    before show of themselves, v is a small network. W and v start at zero.

    Args:
        features: number D of features.
        in_units: units of every feature before the layer.
        out_units: units of every feature behind it.
        context: number C of context features.

    Example:
        >>> import torch
        >>> from bijecta.nets import BlockLinear
        >>> layer = BlockLinear(3, in_units=1, out_units=4)
        >>> layer.offsets(torch.ones(5, 3, 1)).shape, layer.averages().shape
        (torch.Size([5, 3, 4]), torch.Size([3, 4, 1]))
    """

    mask: Tensor

    def __init__(self, features: int, in_units: int, out_units: int, *, context: int = 0) -> None:
        super().__init__()
        self.features, self.in_units, self.out_units = features, in_units, out_units
        # The first logit of a row is zero: a common constant would change nothing.
        self.logits = nn.Parameter(torch.randn(features, out_units, in_units - 1))
        # The first feature has none before it, and the last one is before no other.
        rows, columns = (torch.arange(features - 1).repeat_interleave(units) for units in (out_units, in_units))
        self.weight = nn.Parameter(torch.zeros(len(rows), len(columns)))
        self.register_buffer("mask", rows[:, None] >= columns, persistent=False)
        self.of_context = MLP(0, features * out_units, context=context, hidden=(32,)) if context else None

    def averages(self) -> Tensor:
        """Return the diagonal blocks A, of shape (D, out_units, in_units)."""
        return pad(self.logits, (1, 0)).softmax(-1)

    def offsets(self, g: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Compute what the features before and the context add: (\*B, D, out_units) from g (\*B, D, in_units)."""
        weight = torch.where(self.mask, self.weight, 0.0)
        rest = apply_linear(g[..., :-1, :].flatten(-2), weight).unflatten(-1, (self.features - 1, self.out_units))
        return pad(rest, (0, 0, 1, 0)) + self._add(g, context)

    def offset(self, feature: int, before: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Compute the same for one feature, (\*B, 1, out_units), from those before it, (\*B, feature, in_units)."""
        rows = slice(max(0, feature - 1) * self.out_units, feature * self.out_units)
        weight = self.weight[rows, : feature * self.in_units]
        rest = apply_linear(before.flatten(-2), weight).unflatten(-1, (min(1, feature), self.out_units))
        first = pad(rest, (0, 0, 1, 0))[..., -1:, :]
        return first + self._add(before, context)[..., feature : feature + 1, :]

    def _add(self, g: Tensor, context: Tensor | None) -> Tensor:
        if self.of_context is None:
            return g.new_zeros(self.features, self.out_units)
        added: Tensor = self.of_context(g.flatten(-2)[..., :0], context)
        return added.unflatten(-1, (self.features, self.out_units))


class LeakyTanh(nn.Module):
    r"""Bend every unit of every feature, see `bijecta.functional.leaky_tanh`; the identity at the start.

    .. math:: y = s - r (u - \tanh u) / a, \qquad u = a (s - c)

    Args:
        features: number D of features.
        units: units of every feature.

    Example:
        >>> import torch
        >>> from bijecta.nets import LeakyTanh
        >>> LeakyTanh(3, 4)(torch.ones(5, 3, 4))[1].shape
        torch.Size([5, 3, 4])
    """

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(1.5 * torch.rand(features, units))
        self.centre = nn.Parameter(1.5 * torch.randn(features, units))
        self.mixing = nn.Parameter(torch.zeros(features, units))

    def forward(self, s: Tensor, features: slice = slice(None)) -> tuple[Tensor, Tensor, Tensor]:
        r"""Compute the bent numbers, the slopes and the tanh, each (\*B, D, units), of all or some features."""
        return leaky_tanh(s, self.log_scale[features], self.centre[features], self.mixing[features])

"""Maps of columns that are not there in every row: absent ones rest at zero and add nothing to the density.

The context that they see is [conditions | flags | rest | more]: as many conditions as there are, then for every column
a flag, 1 where it is present, and the value that it has in the data where it is not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bijecta.bijections import Bijection
from bijecta.bijections.base import check_features
from bijecta.distributions import Distribution
from bijecta.distributions.base import SampleShape
from bijecta.errors import InputError, ShapeError
from bijecta.functional.scalar import wrap


@dataclass(frozen=True)
class Layout:
    """Where in a context the flags stand.

    Args:
        conditions: number of columns before the flags.
        features: number D of columns of a row.
    """

    conditions: int
    features: int

    def flags(self, context: Tensor | None) -> Tensor:
        r"""Return the flags (\*B, D)."""
        return self._after(context, 0)[..., : self.features]

    def rest(self, context: Tensor | None) -> Tensor:
        r"""Return the values of absent columns (\*B, D)."""
        return self._after(context, self.features)[..., : self.features]

    def seen(self, context: Tensor | None) -> Tensor:
        """Return what networks look at: the flags, and what follows the values at rest."""
        return torch.cat([self.flags(context), self._after(context, 2 * self.features)], -1)

    def _after(self, context: Tensor | None, start: int) -> Tensor:
        expected = self.conditions + 2 * self.features
        if context is None or context.shape[-1] < expected:
            got = "none" if context is None else f"shape {tuple(context.shape)}"
            raise ShapeError(
                f"Expected a context of at least {expected} columns, which say what is present; got {got}."
            )
        return context[..., self.conditions + start :]


class IfPresent(Bijection):
    r"""Apply a map to a column where the column is present.

    .. math:: z_1 = f(x_1; x_2, \dots) \text{ if present, else } 0

    The map changes the first of the columns that it sees. Absent columns have the ladj 0; the way back puts them to
    their value at rest.

    Args:
        bijection: the map f of rows (x_1, x_2, ...), which takes zeros as latents whatever x_2, ... are.
        columns: the columns that it sees, first the one that it changes.
        layout: where the flags stand.

    Raises:
        InputError: in `initialise`, when the column is present in fewer than two rows.
        ShapeError: at the call, without a context that says what is present.

    Example:
        >>> from bijecta.bijections import Log
        >>> second = IfPresent(Log(), [1], Layout(conditions=0, features=2))
        >>> flags_and_rest = torch.tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
        >>> second.forward(torch.tensor([[5.0, 1.0], [5.0, 0.0]]), flags_and_rest)
        tensor([[5., 0.],
                [5., 0.]])
    """

    index: Tensor

    def __init__(self, bijection: Bijection, columns: Sequence[int], layout: Layout) -> None:
        super().__init__()
        self.bijection, self.layout = bijection, layout
        self.register_buffer("index", torch.tensor(list(columns)), persistent=False)

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        there, chosen = self._look(x, context)
        # An absent column takes the value that the map sends to zero: the branch that is not selected stays finite.
        at_zero = torch.cat([torch.zeros_like(chosen[..., :1]), chosen[..., 1:]], -1)
        safe = self.bijection.inverse(at_zero, context)
        z, ladj = self.bijection.forward_and_ladj(torch.where(there, chosen, safe), context)
        return self._put(x, torch.where(there, z[..., :1], 0.0)), torch.where(there.squeeze(-1), ladj, 0.0)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        there, chosen = self._look(z, context)
        x, ladj = self.bijection.inverse_and_ladj(chosen, context)
        rest = self.layout.rest(context).index_select(-1, self.index[:1]).to(z.dtype)
        return self._put(z, torch.where(there, x[..., :1], rest)), torch.where(there.squeeze(-1), ladj, 0.0)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        there, chosen = self._look(x, context)
        rows = chosen[there.squeeze(-1)]
        if len(rows) < 2:
            raise InputError(
                f"Column {int(self.index[0])} is present in {len(rows)} of the rows: too few to learn from. Lower the "
                "largest number of particles, or take more events."
            )
        self.bijection.initialise(rows)
        return self.forward(x, context)

    def _look(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        check_features(x, self.layout.features)
        there = self.layout.flags(context).index_select(-1, self.index[:1]) > 0.5
        return there.expand(*x.shape[:-1], 1), x.index_select(-1, self.index)

    def _put(self, x: Tensor, column: Tensor) -> Tensor:
        return x.index_copy(-1, self.index[:1], column)


class TurnIfPresent(Bijection):
    r"""Turn the angles that are present by learned amounts: :math:`z = \mathrm{wrap}(x + \varphi)`, ladj 0.

    Args:
        columns: the angles, in radians.
        layout: where the flags stand.

    Reference:
        Rezende et al. (2020), "Normalizing flows on tori and spheres".

    Example:
        >>> turn = TurnIfPresent([0], Layout(conditions=0, features=1))
        >>> turn.forward(torch.tensor([4.0]), torch.tensor([1.0, 0.0])).detach()
        tensor([-2.2832])
    """

    index: Tensor

    def __init__(self, columns: Sequence[int], layout: Layout) -> None:
        super().__init__()
        self.layout, self.angle = layout, nn.Parameter(torch.zeros(len(columns)))
        self.register_buffer("index", torch.tensor(list(columns)), persistent=False)

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._turned(x, context, self.angle)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._turned(z, context, -self.angle)

    def _turned(self, x: Tensor, context: Tensor | None, angle: Tensor) -> tuple[Tensor, Tensor]:
        angle = angle * self.layout.flags(context).index_select(-1, self.index).to(x.dtype)
        turned = wrap(x.index_select(-1, self.index) + angle, -math.pi, math.pi)
        return x.index_copy(-1, self.index, turned), x.new_zeros(x.shape[:-1])


class PresentNet(nn.Module):
    """Show a network the columns that are present, and let the map of absent ones be the identity.

    A map with the parameters zero is the identity, so absent columns stay at zero and no other column depends on them.

    Args:
        net: computes the parameters, from the kept columns and what `Layout.seen` returns.
        kept: the columns that it sees; hidden ones among them are shown as zero.
        changed: the columns that the parameters belong to.
        layout: where the flags stand.
        hidden: columns that no network sees, such as the azimuth of the event.
    """

    kept: Tensor
    changed: Tensor
    shown: Tensor

    def __init__(
        self, net: nn.Module, kept: Sequence[int], changed: Sequence[int], layout: Layout, hidden: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.net, self.layout = net, layout
        shown = torch.tensor([float(column not in hidden) for column in kept])
        self.register_buffer("kept", torch.tensor(list(kept), dtype=torch.long), persistent=False)
        self.register_buffer("changed", torch.tensor(list(changed), dtype=torch.long), persistent=False)
        self.register_buffer("shown", shown, persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Compute parameters (\*B, n) of the kept columns (\*B, K)."""
        flags = self.layout.flags(context).to(x.dtype)
        params = self.net(x * flags.index_select(-1, self.kept) * self.shown, self.layout.seen(context))
        own = flags.index_select(-1, self.changed).unsqueeze(-1)
        return (params.unflatten(-1, (len(self.changed), -1)) * own).flatten(-2)


class PresentBase(Distribution):
    r"""Count in a base only the columns that are present: :math:`\log p(z) = \sum_{i\ \text{present}} \log p_i(z_i)`.

    Args:
        base: a distribution with independent columns.
        log_at_zero: log p_i(0) of each of its columns, in nats.
        layout: where the flags stand.

    Example:
        >>> from bijecta.distributions import UniformBox
        >>> square = UniformBox(-torch.ones(2), torch.ones(2))
        >>> base = PresentBase(square, [-math.log(2.0)] * 2, Layout(conditions=0, features=2))
        >>> base.log_prob(torch.zeros(2), torch.tensor([1.0, 0.0, 0.0, 0.0])).exp()
        tensor(0.5000)
    """

    log_at_zero: Tensor

    def __init__(self, base: Distribution, log_at_zero: Sequence[float], layout: Layout) -> None:
        super().__init__()
        self.base, self.layout = base, layout
        self.register_buffer("log_at_zero", torch.tensor(log_at_zero), persistent=False)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        absent = 1.0 - self.layout.flags(context).to(x.dtype)
        return self.base.log_prob(x * (1.0 - absent)) - (absent * self.log_at_zero).sum(-1)

    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        flags = self.layout.flags(context)
        drawn = self.base.sample(shape, flags, generator=generator)
        return drawn * flags.to(drawn.dtype)

"""Categories and counts with exact probabilities, and tables that have continuous columns beside them."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from bijecta.distributions.base import Distribution, SampleShape, full_shape
from bijecta.distributions.heads import Head
from bijecta.errors import InputError
from bijecta.nets import MLP, ContextScaler, Regression
from bijecta.nets.inputs import check_context, check_features


class Discrete(Distribution):
    r"""Model discrete columns one after the other, each given those before it.

    .. math:: \log P(d \mid c) = \sum_k \log P(d_k \mid d_1, \dots, d_{k-1}, c)

    Every column has a `Head` and a perceptron that computes its parameters. `initialise` lets each column start with
    the frequencies of the data, counts with those around a linear prediction from the columns before them.

    Args:
        heads: one per column.
        context: number C of context features.
        hidden: widths of the hidden layers of every perceptron.

    Raises:
        InputError: there are no heads.

    References:
        Y. Bengio, S. Bengio (2000), Modeling High-Dimensional Discrete Data with Multi-Layer Neural Networks.

    Example:
        >>> import torch
        >>> from bijecta.distributions import CategoricalHead, CountHead, Discrete
        >>> discrete = Discrete([CategoricalHead(2), CountHead(low=0)])
        >>> discrete.initialise(torch.tensor([[0.0, 7.0], [1.0, 3.0], [1.0, 11.0]]))
        >>> discrete.sample(5).shape
        torch.Size([5, 2])
    """

    initialised: Tensor

    def __init__(self, heads: Iterable[Head], *, context: int = 0, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        self.heads: Sequence[Head] = nn.ModuleList(heads)  # type: ignore[assignment]
        if not self.heads:
            raise InputError("Discrete expects at least one head, got none.")
        *seen, self.width = accumulate((head.width for head in self.heads), initial=0)
        # A first column without a context depends on nothing: biases are all it needs.
        nets = (
            MLP(width, head.n_params, context=context, hidden=hidden if width or context else ())
            for width, head in zip(seen, self.heads, strict=True)
        )
        self.nets: Sequence[MLP] = nn.ModuleList(nets)  # type: ignore[assignment]
        lines: list[Any] = [  # a Regression or None
            Regression(width + context, 1) if head.shifted and width + context else None
            for width, head in zip(seen, self.heads, strict=True)
        ]
        self.lines: Sequence[Regression | None] = nn.ModuleList(lines)  # type: ignore[assignment]
        self.context, self.event_shape = context, (len(self.heads),)
        self.scaler = ContextScaler(context) if context else None
        self.register_buffer("initialised", torch.tensor(False))  # noqa: FBT003 (a value, not a flag)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        check_features(x, len(self.heads))
        context = self.scaled(context, x.shape[:-1])
        seen, parts = x[..., :0], []
        for number, (column, head) in enumerate(zip(x.unbind(-1), self.heads, strict=True)):
            parts.append(head.log_prob(column, self._params(number, seen, context)))
            seen = torch.cat([seen, head.embed(column)], -1)
        return torch.stack(parts).sum(0)

    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        given = context if self.context else None
        batch = torch.Size(full_shape(shape, given))
        given = self.scaled(given, batch)
        seen, columns = self.nets[0].last.bias.new_empty(*batch, 0), []
        for number, head in enumerate(self.heads):
            columns.append(head.sample(self._params(number, seen, given), generator))
            seen = torch.cat([seen, head.embed(columns[-1])], -1)
        return torch.stack(columns, -1)

    def _params(self, number: int, seen: Tensor, context: Tensor | None) -> Tensor:
        """Compute the parameters of a column from those before it and the scaled context."""
        params, line = self.nets[number](seen, context), self.lines[number]
        if line is None:
            return params
        return torch.cat([params[..., :-1], params[..., -1:] + line(_join(seen, context))], -1)

    def embed(self, x: Tensor) -> Tensor:
        r"""Show rows (\*B, D) to a network as (\*B, width) numbers: one-hot, or standardised."""
        return torch.cat([head.embed(column) for head, column in zip(self.heads, x.unbind(-1), strict=True)], -1)

    def scaled(self, context: Tensor | None, batch: torch.Size) -> Tensor | None:
        r"""Check a context and bring it to (\*B, C) numbers of order one."""
        context = check_context(context, self.context, batch)
        return context if context is None or self.scaler is None else self.scaler(context)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start from the frequencies of the data, once."""
        if self.initialised:
            return
        self.initialised.fill_(True)  # noqa: FBT003
        check_features(x, len(self.heads))
        if context is not None and self.scaler is not None:
            self.scaler.initialise(context)
        context, seen = self.scaled(context, x.shape[:-1]), x[..., :0]
        for column, head, net, line in zip(x.unbind(-1), self.heads, self.nets, self.lines, strict=True):
            head.measure(column)
            if line is not None:
                line.initialise(_join(seen, context), head.embed(column))
            # What is left of the column when the prediction is taken away, in its own units.
            left = column if line is None else column - head.spread * line(_join(seen, context)).squeeze(-1)
            net.last.bias.copy_(head.start(left))
            seen = torch.cat([seen, head.embed(column)], -1)


def _join(seen: Tensor, context: Tensor | None) -> Tensor:
    return seen if context is None else torch.cat([seen, context], -1)


class Mixed(Distribution):
    r"""Join discrete columns and continuous ones, which are modelled given them: one exact density.

    .. math:: \log p(x \mid c) = \log P(d \mid c) + \log p(y \mid d, c), \qquad x = (d, y)

    The density is per unit of the continuous columns and per value of the discrete ones.

    Args:
        discrete: the distribution of the discrete columns, which takes the context.
        continuous: that of the others. Its context are the numbers as which ``discrete`` shows a row, then the
            scaled context.
        columns: which columns are discrete, and which are continuous.

    Raises:
        InputError: the two groups do not partition the columns.

    References:
        Z. Ziegler, A. Rush (2019), Latent Normalizing Flows for Discrete Sequences, for the two kinds in one model.

    Example:
        >>> from bijecta.distributions import CategoricalHead, Discrete, Mixed, Normal
        >>> Mixed(Discrete([CategoricalHead(3)]), Normal(2), columns=([1], [0, 2])).sample(5).shape
        torch.Size([5, 3])
    """

    chosen: Tensor
    others: Tensor
    restore: Tensor

    def __init__(
        self, discrete: Discrete, continuous: Distribution, columns: tuple[Sequence[int], Sequence[int]]
    ) -> None:
        super().__init__()
        self.discrete, self.continuous = discrete, continuous
        chosen, others = (list(group) for group in columns)
        if sorted(chosen + others) != list(range(len(chosen + others))) or len(chosen) != len(discrete.heads):
            raise InputError(
                f"Mixed expects {len(discrete.heads)} discrete columns, and every column once; got {chosen}, {others}."
            )
        self.is_bound, self.context, self.event_shape = continuous.is_bound, discrete.context, (len(chosen + others),)
        self.register_buffer("chosen", torch.tensor(chosen), persistent=False)
        self.register_buffer("others", torch.tensor(others), persistent=False)
        self.register_buffer("restore", torch.tensor(chosen + others).argsort(), persistent=False)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        discrete, continuous, given = self.split(x, context)
        return self.discrete.log_prob(discrete, context) + self.continuous.log_prob(continuous, given)

    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        discrete = self.discrete.sample(shape, context, generator=generator)
        continuous = self.continuous.sample((), self._given(discrete, context), generator=generator)
        return torch.cat([discrete, continuous], -1).index_select(-1, self.restore)

    def split(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        r"""Return the discrete columns of rows (\*B, D), the continuous ones, and the context of the latter."""
        check_features(x, len(self.restore))
        discrete, continuous = x.index_select(-1, self.chosen), x.index_select(-1, self.others)
        return discrete, continuous, self._given(discrete, context)

    def _given(self, discrete: Tensor, context: Tensor | None) -> Tensor:
        scaled = self.discrete.scaled(context, discrete.shape[:-1])
        return _join(self.discrete.embed(discrete), scaled)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        # First the discrete part: it measures the scales with which the continuous one sees its columns.
        self.discrete.initialise(x.index_select(-1, self.chosen), context)
        _, continuous, given = self.split(x, context)
        self.continuous.initialise(continuous, given)

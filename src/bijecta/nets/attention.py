"""A causal transformer: the parameters of every token from the tokens before it, all at once or one after the other."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from bijecta.errors import InputError, ShapeError
from bijecta.nets.inputs import check_context
from bijecta.nets.mlp import linear, zero_linear


class CausalTransformer(nn.Module):
    r"""Compute numbers for every token from the tokens before it, by causal attention.

    .. math:: h_0 = s + W_c c, \quad h_t = W\,\mathrm{asinh}(x_{t-1}) + p_t, \qquad
              h \mathrel{+}= \mathrm{attention}(\mathrm{norm}(h)), \quad h \mathrel{+}= \mathrm{MLP}(\mathrm{norm}(h))

    Position t holds token t - 1 and answers for token t; position 0 holds the context, which all others see.
    asinh is the identity for numbers of order one and a logarithm far out: no outlier can overflow a norm. The last
    layer starts at zero, so that a map whose parameters come from the network starts as the identity.

    Args:
        tokens: number T of tokens.
        token: how many numbers each of them has.
        out_features: numbers to compute for every token.
        context: number C of context features.
        width: numbers that stand for a token inside of the network; divisible by ``heads``.
        heads: attention heads.
        hidden: units of the feed-forward network of every attention layer; as many layers as entries.

    Raises:
        InputError: the heads do not divide the width.
        ShapeError: at the call, when the input or the context has the wrong shape.

    References:
        A. Vaswani et al. (2017), Attention Is All You Need.

    Example:
        >>> import torch
        >>> from bijecta.nets import CausalTransformer
        >>> CausalTransformer(tokens=6, token=2, out_features=4)(torch.ones(5, 6, 2)).shape
        torch.Size([5, 6, 4])
    """

    def __init__(
        self,
        tokens: int,
        token: int,
        out_features: int,
        *,
        context: int = 0,
        width: int = 64,
        heads: int = 4,
        hidden: Sequence[int] = (128, 128),
    ) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"CausalTransformer expects heads that divide the width {width}, got {heads}.")
        self.tokens, self.token, self.context = tokens, token, context
        self.embedding = nn.Linear(token, width, bias=False)
        self.context_embedding = nn.Linear(context, width, bias=False) if context else None
        self.positions = nn.Parameter(torch.randn(tokens, width))
        layers = [AttentionLayer(width, heads, units) for units in hidden]
        self.layers: Sequence[AttentionLayer] = nn.ModuleList(layers)  # type: ignore[assignment]
        self.last = zero_linear(width, out_features)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Compute the outputs (\*B, T, out_features) of tokens (\*B, T, token) and a context (\*B, C)."""
        if x.shape[-2:] != (self.tokens, self.token):
            raise ShapeError(f"Expected tokens of shape (*batch, {self.tokens}, {self.token}), got {tuple(x.shape)}.")
        first = self._first(x.shape[:-2], context).unsqueeze(-2)
        later = self.embedding(torch.asinh(x[..., :-1, :])) + self.positions[1:]
        h = torch.cat([first, later], -2)
        for layer in self.layers:
            h = layer(h)
        return self._answer(h)

    def solve(self, step: Callable[[int, Tensor], Tensor], batch: torch.Size, context: Tensor | None = None) -> Tensor:
        r"""Find the tokens one after the other, reading what earlier ones left in a cache.

        A token costs attention to those before it, so that T tokens cost :math:`O(T^2)`; T passes through the network
        would cost :math:`O(T^3)`.

        Args:
            step: called as ``step(t, outputs)`` with the outputs (\*B, out_features) of token t, in order; it returns
                the token of shape (\*B, token).
            batch: the batch shape \*B.
            context: of shape (\*B, C).

        Returns:
            The tokens, of shape (\*B, T, token).
        """
        caches = [Cache(self.tokens) for _ in self.layers]
        h = self._first(batch, context)
        found: list[Tensor] = []
        for number in range(self.tokens):
            if number:
                h = self.embedding(torch.asinh(found[-1])) + self.positions[number]
            for layer, cache in zip(self.layers, caches, strict=True):
                h = layer.extend(h, cache)
            found.append(step(number, self._answer(h)))
        return torch.stack(found, -2)

    def _first(self, batch: torch.Size, context: Tensor | None) -> Tensor:
        context = check_context(context, self.context, batch)
        first = self.positions[0].expand(*batch, -1)
        if context is None or self.context_embedding is None:
            return first
        embedded: Tensor = self.context_embedding(context.to(first.dtype))
        return first + embedded

    def _answer(self, h: Tensor) -> Tensor:
        answer: Tensor = self.last(_norm(h))
        return answer


class Cache:
    """Keys and values of the tokens so far.

    The memory is taken once. Where gradients are wanted the tokens are kept one by one instead: a graph forbids writing
    into what it has seen.

    Args:
        tokens: how many there will be.
    """

    def __init__(self, tokens: int) -> None:
        self.tokens, self.count = tokens, 0
        self.memory: Tensor | None = None
        self.parts: list[Tensor] = []

    def append(self, part: Tensor) -> Tensor:
        r"""Add one token (\*B, 1, n), and return all so far, (\*B, t, n)."""
        self.count += 1
        if torch.is_grad_enabled():
            self.parts.append(part)
            return torch.cat(self.parts, -2)
        if self.memory is None:
            self.memory = part.new_empty(*part.shape[:-2], self.tokens, part.shape[-1])
        self.memory[..., self.count - 1 : self.count, :] = part
        return self.memory[..., : self.count, :]


class AttentionLayer(nn.Module):
    r"""Let every token look at those before it, then pass each through a perceptron.

    Args:
        width: numbers per token.
        heads: attention heads.
        hidden: units of the perceptron.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.mix = linear(width, width)
        self.rise, self.fall = linear(width, hidden), linear(hidden, width)

    def forward(self, h: Tensor) -> Tensor:
        r"""Change all tokens (\*B, T, width)."""
        normed = _norm(h)
        future = torch.ones(h.shape[-2], h.shape[-2], dtype=torch.bool, device=h.device).triu(1)
        return self._finish(h, self._attend(self.query(normed), self.key_value(normed), future))

    def extend(self, h: Tensor, cache: Cache) -> Tensor:
        r"""Change one token (\*B, width) by those in the cache and itself."""
        normed = _norm(h.unsqueeze(-2))
        seen = self._attend(self.query(normed), cache.append(self.key_value(normed)), None)
        return self._finish(h, seen.squeeze(-2))

    def _attend(self, query: Tensor, key_value: Tensor, hidden: Tensor | None) -> Tensor:
        query, key, value = (self._split(part) for part in (query, *key_value.chunk(2, -1)))
        # Written out: torch's fused attention has no second derivatives.
        scores = query @ key.mT / query.shape[-1] ** 0.5
        scores = scores if hidden is None else scores.masked_fill(hidden, -torch.inf)
        return (scores.softmax(-1) @ value).transpose(-2, -3).flatten(-2)

    def _split(self, part: Tensor) -> Tensor:
        return part.unflatten(-1, (self.heads, -1)).transpose(-2, -3)

    def _finish(self, h: Tensor, seen: Tensor) -> Tensor:
        h = h + self.mix(seen)
        lifted: Tensor = self.fall(functional.gelu(self.rise(_norm(h))))
        return h + lifted


def _norm(h: Tensor) -> Tensor:
    return functional.layer_norm(h, h.shape[-1:])

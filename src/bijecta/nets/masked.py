"""The masked perceptron of autoregressive flows, and how to invert through it with one evaluation."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import linear as apply_linear

from bijecta.errors import InputError
from bijecta.nets.inputs import CircularEmbedding, activation_named, check_context, check_features
from bijecta.nets.mlp import linear, zero_linear


class MaskedMLP(nn.Module):
    r"""Compute the parameters of feature i from the features before it in ``order``, for all i at once (MADE).

    Feature number k of the order has degree k = 1..D, a hidden unit has a degree between 0 and D-1. A unit of
    degree d sees inputs and units of degree at most d; the outputs of a feature of degree k see units of degree at
    most k-1. The context has degree 0: everything sees it. Hidden units are sorted by degree, which makes every
    masked weight block triangular, and `solve` able to evaluate units as soon as what they see is known.

    Args:
        features: number D of features.
        n_params: parameters per feature.
        context: number C of context features.
        hidden: widths of the hidden layers.
        activation: "relu", "tanh", "silu", "gelu" or "elu".
        residual: whether to add skip connections between hidden layers of equal width.
        order: the features in the order in which they may see each other (default 0, 1, ..., D-1).
        circular: one boolean per feature, True for an angle in radians.

    Raises:
        InputError: ``order`` is not a permutation.

    References:
        M. Germain, K. Gregor, I. Murray, H. Larochelle (2015), MADE: Masked Autoencoder for Distribution Estimation.

    Example:
        >>> import torch
        >>> from bijecta.nets import MaskedMLP
        >>> MaskedMLP(features=3, n_params=2)(torch.ones(5, 3)).shape
        torch.Size([5, 3, 2])
    """

    order: Tensor

    def __init__(
        self,
        features: int,
        n_params: int,
        *,
        context: int = 0,
        hidden: Sequence[int] = (64, 64),
        activation: str = "relu",
        residual: bool = False,
        order: Sequence[int] | None = None,
        circular: Sequence[bool] = (),
    ) -> None:
        super().__init__()
        order = list(range(features)) if order is None else list(order)
        if sorted(order) != list(range(features)):
            raise InputError(f"Expected an order of the features 0 to {features - 1}, each once, got {order}.")
        self.features, self.n_params, self.context, self.residual = features, n_params, context, residual
        self.activation = activation_named(activation)
        self.embedding = CircularEmbedding(circular)
        widths = [features * self.embedding.width + context, *hidden]
        layers = [linear(seen, units) for seen, units in pairwise(widths)]
        self.layers: Sequence[nn.Linear] = nn.ModuleList(layers)  # type: ignore[assignment]
        self.last = zero_linear(widths[-1], features * n_params)
        self.register_buffer("order", torch.tensor(order))
        self._follow_order()
        # A file may bring another order; what follows from the order is not saved.
        self.register_load_state_dict_post_hook(_follow_loaded_order)

    def _follow_order(self) -> None:
        """Derive what depends on the order: the masks, and the order as numbers that a loop can use."""
        self.sequence: list[int] = self.order.tolist()
        device = self.order.device
        degree_of_feature = self.order.argsort() + 1
        context = torch.zeros(self.context, dtype=torch.long, device=device)
        seen = torch.cat([degree_of_feature.repeat_interleave(self.embedding.width), context])
        for number, layer in enumerate(self.layers):
            degrees = torch.tensor(self.hidden_degrees(layer.out_features), device=device)
            self.register_buffer(f"mask{number}", seen <= degrees[:, None], persistent=False)
            seen = degrees
        degree_of_output = degree_of_feature.repeat_interleave(self.n_params)
        self.register_buffer("mask_last", seen < degree_of_output[:, None], persistent=False)

    def hidden_degrees(self, units: int) -> list[int]:
        """Spread the degrees evenly and sorted; degree 0 only where the context, or nothing, is all that is seen."""
        lowest = 0 if self.context or self.features == 1 else 1
        return [lowest + unit * (self.features - lowest) // units for unit in range(units)]

    def _masked_weights(self) -> list[Tensor]:
        # Selecting, not multiplying: an overflowing gradient times 0 would be NaN where no gradient belongs.
        weights = [torch.where(self.get_buffer(f"mask{n}"), layer.weight, 0.0) for n, layer in enumerate(self.layers)]
        return [*weights, torch.where(self.get_buffer("mask_last"), self.last.weight, 0.0)]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Compute the parameters (\*B, D, n_params) of x (\*B, D) and a context (\*B, C)."""
        check_features(x, self.features)
        context = check_context(context, self.context, x.shape[:-1])
        h = self.embedding(x)
        h = h if context is None else torch.cat([h, context.to(h.dtype)], -1)
        *weights, last = self._masked_weights()
        for number, (layer, weight) in enumerate(zip(self.layers, weights, strict=True)):
            update = self.activation(apply_linear(h, weight, layer.bias))
            h = h + update if self.residual and number and h.shape == update.shape else update
        return apply_linear(h, last, self.last.bias).unflatten(-1, (self.features, self.n_params))

    def solve(self, step: Callable[[int, Tensor], Tensor], batch: torch.Size, context: Tensor | None = None) -> Tensor:
        r"""Find x feature by feature, evaluating every hidden unit once.

        Args:
            step: called as ``step(i, params)`` with the parameters (\*B, 1, n_params) of feature i, in the order of
                the features; it returns x_i of shape (\*B, 1).
            batch: the batch shape \*B.
            context: of shape (\*B, C).

        Returns:
            x of shape (\*B, D).
        """
        context = check_context(context, self.context, batch)
        pass_ = _IncrementalPass(self, batch, context)
        found: list[Tensor | None] = [None] * self.features
        for degree, feature in enumerate(self.sequence):
            x_i = step(feature, pass_.params(feature))
            found[feature] = x_i
            if degree + 1 < self.features:
                pass_.advance(degree + 1, feature, x_i)
        return torch.cat([x_i for x_i in found if x_i is not None], -1)


def _follow_loaded_order(net: MaskedMLP, _: object) -> None:
    """Call `_follow_order`; a function with a name, since a lambda could not be pickled."""
    net._follow_order()


class _IncrementalPass:
    """The units of a MaskedMLP known so far, during one `MaskedMLP.solve`.

    ``known[l]`` holds the units of layer l in sorted order; the inputs come in the order context, then features as
    they are found, and the columns of the first weight are permuted to match.
    """

    def __init__(self, net: MaskedMLP, batch: torch.Size, context: Tensor | None) -> None:
        self.net = net
        *self.weights, self.last = net._masked_weights()
        if self.weights:
            self.weights[0] = self.weights[0][:, self._input_columns()]
        else:
            self.last = self.last[:, self._input_columns()]
        self.degrees = [net.hidden_degrees(layer.out_features) for layer in net.layers]
        empty = self.last.new_zeros(*batch, 0)
        self.known = [empty if context is None else context.to(empty.dtype)] + [empty] * len(self.weights)
        self._grow(0)

    def _input_columns(self) -> Tensor:
        width, features = self.net.embedding.width, self.net.features
        columns = torch.arange(width, device=self.net.order.device) + width * self.net.order[:, None]
        context = torch.arange(self.net.context, device=self.net.order.device) + width * features
        return torch.cat([context, columns.flatten()])

    def params(self, feature: int) -> Tensor:
        """Compute the parameters of one feature from the units known so far."""
        rows = slice(feature * self.net.n_params, (feature + 1) * self.net.n_params)
        h = self.known[-1]
        return apply_linear(h, self.last[rows, : h.shape[-1]], self.net.last.bias[rows]).unsqueeze(-2)

    def advance(self, degree: int, feature: int, x_i: Tensor) -> None:
        """Add a feature that has been found, and every hidden unit that can now be computed."""
        self.known[0] = torch.cat([self.known[0], self.net.embedding.column(x_i, feature)], -1)
        self._grow(degree)

    def _grow(self, degree: int) -> None:
        for number, layer in enumerate(self.net.layers):
            start = self.known[number + 1].shape[-1]
            end = start + self.degrees[number].count(degree)
            if start == end:
                continue
            h = self.known[number]
            new = apply_linear(h, self.weights[number][start:end, : h.shape[-1]], layer.bias[start:end])
            new = self.net.activation(new)
            if self.net.residual and number and layer.in_features == layer.out_features:
                new = new + h[..., start:end]
            self.known[number + 1] = torch.cat([self.known[number + 1], new], -1)

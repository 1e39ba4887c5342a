"""The autoregressive map of tokens: groups of features, each seen by all that come after it."""

import torch
from torch import Tensor

from bijecta.bijections.base import Bijection, check_features
from bijecta.bijections.univariate.base import Univariate
from bijecta.nets.attention import CausalTransformer


class TokenAutoregressive(Bijection):
    r"""Map every token with parameters that a transformer computes from the tokens before it.

    .. math:: z_t = f(x_t; \theta_t(x_{<t}, c)), \qquad
              \log|\det\partial z/\partial x| = \sum_t \sum_i \log|f'(x_{ti}; \theta_{ti})|

    Token t are ``net.token`` neighbouring features: a column of a table, a patch of an image. The first one depends on
    the context only. The density needs one pass, the inverse one token after the other, with the keys and values of
    those before in a cache.

    Args:
        univariate: the map f, the same for every feature.
        net: the network, with ``token * n_params`` outputs per token.

    References:
        S. Zhai et al. (2024), Normalizing Flows are Capable Generative Models.

    Example:
        >>> import torch
        >>> from bijecta.bijections import AffineUnivariate, TokenAutoregressive
        >>> from bijecta.nets import CausalTransformer
        >>> layer = TokenAutoregressive(AffineUnivariate(), CausalTransformer(tokens=3, token=2, out_features=4))
        >>> layer.forward(torch.ones(7, 6)).shape
        torch.Size([7, 6])
    """

    def __init__(self, univariate: Univariate, net: CausalTransformer) -> None:
        super().__init__()
        self.univariate, self.net = univariate, net
        self.features = net.tokens * net.token

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_features(x, self.features)
        outputs = self.net(x.unflatten(-1, (self.net.tokens, self.net.token)), context)
        z, ladj = self.univariate.forward_and_ladj(x, self._params(outputs).flatten(-3, -2))
        return z, ladj.sum(-1)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_features(z, self.features)
        tokens = z.unflatten(-1, (self.net.tokens, self.net.token)).unbind(-2)
        ladj = []

        def invert_one(number: int, outputs: Tensor) -> Tensor:
            x_t, ladj_t = self.univariate.inverse_and_ladj(tokens[number], self._params(outputs))
            ladj.append(ladj_t)
            return x_t

        x = self.net.solve(invert_one, z.shape[:-1], context)
        return x.flatten(-2), torch.cat(ladj, -1).sum(-1)

    def _params(self, outputs: Tensor) -> Tensor:
        return outputs.unflatten(-1, (self.net.token, self.univariate.n_params))

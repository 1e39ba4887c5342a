"""The three hosts: what turns a univariate map of one number into a bijection of a vector.

=================  ==================================================  =======================
host               the parameters of feature i come from               Jacobian
=================  ==================================================  =======================
`Elementwise`      weights of its own, or the context                  diagonal
`Coupling`         the features that the mask keeps, and the context   triangular, two blocks
`Autoregressive`   the features before i, and the context              triangular
=================  ==================================================  =======================
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bijecta.bijections.base import Bijection, check_features, sum_event
from bijecta.bijections.univariate.base import Univariate
from bijecta.errors import InputError
from bijecta.nets.masked import MaskedMLP


class Elementwise(Bijection):
    r"""Map every feature by itself: :math:`z_i = f(x_i; \theta_i)`.

    .. math:: \log|\det\partial z/\partial x| = \sum_i \log|f'(x_i; \theta_i)|

    Args:
        univariate: the map f.
        features: length D of the vector.
        conditioner: a network from (x, context) to D * n_params numbers that is called with an empty x, so
            that only the context enters; None for one learned set of parameters per feature.

    Example:
        >>> import torch
        >>> from bijecta.bijections import AffineUnivariate, Elementwise
        >>> z, ladj = Elementwise(AffineUnivariate(), features=3).forward_and_ladj(torch.ones(5, 3))
        >>> z.shape, ladj.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    def __init__(self, univariate: Univariate, features: int, conditioner: nn.Module | None = None) -> None:
        super().__init__()
        self.univariate, self.features, self.conditioner = univariate, features, conditioner
        if conditioner is None:
            self.params = nn.Parameter(torch.zeros(features, univariate.n_params))

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, ladj = self.univariate.forward_and_ladj(x, self._params(x, context))
        return z, ladj.sum(-1)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, ladj = self.univariate.inverse_and_ladj(z, self._params(z, context))
        return x, ladj.sum(-1)

    def _params(self, x: Tensor, context: Tensor | None) -> Tensor:
        check_features(x, self.features)
        if self.conditioner is None:
            return self.params
        params: Tensor = self.conditioner(x[..., :0], context)
        return params.unflatten(-1, (self.features, self.univariate.n_params))


class Coupling(Bijection):
    r"""Transform some features by a map whose parameters the other features decide.

    .. math:: z_k = x_k, \qquad z_t = f(x_t; \theta(x_k, c)), \qquad
              \log|\det\partial z/\partial x| = \sum_t \log|f'(x_t; \theta_t)|

    The kept features pass unchanged, so the inverse can compute the same :math:`\theta` from them: both
    directions cost one pass through the conditioner. For images (``event_ndim=3``) the features are the channels.

    Args:
        univariate: the map f of the transformed features.
        transformed: one boolean per feature, True where the feature is transformed.
        conditioner: a network from (kept features, context) to T * n_params numbers (channels), T of them transformed.
        event_ndim: 1 for vectors (\*B, D), 3 for images (\*B, C, H, W).

    Raises:
        InputError: no feature is transformed.

    References:
        L. Dinh, D. Krueger, Y. Bengio (2014), NICE: Non-linear Independent Components Estimation.

    Example:
        >>> import torch
        >>> from bijecta.bijections import AffineUnivariate, Coupling
        >>> from bijecta.nets import MLP
        >>> layer = Coupling(AffineUnivariate(), [True, False, True], MLP(1, 4))
        >>> layer.forward(torch.ones(7, 3)).shape
        torch.Size([7, 3])
    """

    transformed: Tensor
    kept: Tensor
    restore: Tensor

    def __init__(
        self, univariate: Univariate, transformed: Sequence[bool], conditioner: nn.Module, *, event_ndim: int = 1
    ) -> None:
        super().__init__()
        mask = torch.tensor(list(transformed), dtype=torch.bool)
        if not mask.any():
            raise InputError(f"Coupling expects at least one feature to transform, got the mask {list(transformed)}.")
        self.univariate, self.conditioner, self.event_ndim = univariate, conditioner, event_ndim
        self.register_buffer("transformed", mask.nonzero().flatten())
        self.register_buffer("kept", (~mask).nonzero().flatten())
        self.register_buffer("restore", torch.cat([self.kept, self.transformed]).argsort())

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, changed, params = self._split(x, context)
        changed, ladj = self.univariate.forward_and_ladj(changed, params)
        return self._join(kept, changed), sum_event(ladj, self.event_ndim)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, changed, params = self._split(z, context)
        changed, ladj = self.univariate.inverse_and_ladj(changed, params)
        return self._join(kept, changed), sum_event(ladj, self.event_ndim)

    def _split(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        check_features(x, len(self.restore), self.event_ndim)
        kept = x.index_select(-self.event_ndim, self.kept)
        changed = x.index_select(-self.event_ndim, self.transformed)
        params: Tensor = self.conditioner(kept, context)
        params = params.unflatten(-self.event_ndim, (len(self.transformed), self.univariate.n_params))
        return kept, changed, params.movedim(-self.event_ndim, -1)

    def _join(self, kept: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([kept, changed], -self.event_ndim).index_select(-self.event_ndim, self.restore)


class Autoregressive(Bijection):
    r"""Map every feature with parameters that the features before it decide.

    .. math:: z_i = f(x_i; \theta_i(x_{<i}, c)), \qquad
              \log|\det\partial z/\partial x| = \sum_i \log|f'(x_i; \theta_i)|

    The density needs one pass through the conditioner. The inverse needs the features one after the other, but
    every hidden unit of the conditioner is evaluated only once, when all that it sees is known: about half the
    arithmetic of one dense pass, where D full passes are usual.

    Args:
        univariate: the map f.
        conditioner: the masked network; its ``order`` is the order of the features.

    References:
        G. Papamakarios, T. Pavlakou, I. Murray (2017), Masked Autoregressive Flow for Density Estimation.

    Example:
        >>> import torch
        >>> from bijecta.bijections import AffineUnivariate, Autoregressive
        >>> from bijecta.nets import MaskedMLP
        >>> layer = Autoregressive(AffineUnivariate(), MaskedMLP(features=3, n_params=2))
        >>> layer.forward(torch.ones(7, 3)).shape
        torch.Size([7, 3])
    """

    def __init__(self, univariate: Univariate, conditioner: MaskedMLP) -> None:
        super().__init__()
        self.univariate, self.conditioner = univariate, conditioner
        # Restricted here and not in every inverse: a compiler cannot trace the making of modules.
        columns = [univariate.columns([feature]) for feature in range(conditioner.features)]
        self.columns: Sequence[Univariate] = nn.ModuleList(columns)  # type: ignore[assignment]

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, ladj = self.univariate.forward_and_ladj(x, self.conditioner(x, context))
        return z, ladj.sum(-1)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_features(z, len(self.columns))
        ladj = []

        def invert_one(feature: int, params: Tensor) -> Tensor:
            x_i, ladj_i = self.columns[feature].inverse_and_ladj(z[..., feature : feature + 1], params)
            ladj.append(ladj_i)
            return x_i

        x = self.conditioner.solve(invert_one, z.shape[:-1], context)
        return x, torch.cat(ladj, -1).sum(-1)

"""One half of a Gaussianization step: every feature becomes standard normal, by itself."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bijecta.bijections.base import Bijection, check_features
from bijecta.errors import InputError
from bijecta.functional.gaussianization import gaussianise
from bijecta.nets.parameters import GAIN, ParameterVector

SCALE_LIMIT = 4.0  # of the log-scales
# At the start, in standard deviations: centres at most, and widths at least, the two outermost ones and any.
FARTHEST, OUTERMOST, NARROWEST = 5.0, 0.8, 0.05


class Gaussianise(Bijection):
    r"""Make every feature standard normal, through the distribution function of a mixture of normals.

    .. math:: z_i = m x_i + (1 - m)\,\Phi^{-1}\Big(\sum_j w_{ij}\,\Phi\big(s_{ij} (x_i - c_{ij})\big)\Big)

    The kernel is normal and not logistic, so that tails stay straight: with logistic ones z grows as the root of x, and
    after six such layers as its 64th. The share m = 0.001 keeps gaps between components invertible. The
    inverse is a search. `initialise` puts the components on quantiles of the data: a chain of these layers with
    rotations in between starts as iterative Gaussianization, and is trained from there as a whole.

    Args:
        features: number D of features.
        components: normals in every mixture.
        context: number C of context features that all mixtures depend on.
        hidden: widths of the hidden layers of the network that reads the context.

    Raises:
        InputError: there is no component.
        ShapeError: at the call, when data or context have the wrong shape.
        NotConvergedError: at the call of the inverse, when a sample is out of the range of numbers.

    References:
        C. Meng, Y. Song, J. Song, S. Ermon (2020), Gaussianization Flows.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Gaussianise
        >>> z, ladj = Gaussianise(3).forward_and_ladj(torch.ones(5, 3))
        >>> z.shape, ladj.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    def __init__(
        self, features: int, components: int = 8, *, context: int = 0, hidden: Sequence[int] = (64, 64)
    ) -> None:
        super().__init__()
        if components < 1:
            raise InputError(f"Gaussianise expects at least one component, got {components}.")
        self.features, self.components = features, components
        start = _on_quantiles(torch.special.ndtri(_levels(components)).expand(features, components))
        self.parameter_vector = ParameterVector(start.flatten(), context=context, hidden=hidden)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        check_features(x, self.features)
        columns = x.reshape(-1, self.features).sort(0).values
        rows = (_levels(self.components) * len(columns)).long().to(x.device)
        self.parameter_vector.start.copy_(_on_quantiles(columns[rows].T).flatten() / GAIN)
        return self.forward(x, context)

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, ladj = gaussianise(x, self._params(x, context), limit=SCALE_LIMIT)
        return z, ladj.sum(-1)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, ladj = gaussianise(z, self._params(z, context), limit=SCALE_LIMIT, inverse=True)
        return x, ladj.sum(-1)

    def _params(self, x: Tensor, context: Tensor | None) -> Tensor:
        check_features(x, self.features)
        return self.parameter_vector(x, context).unflatten(-1, (self.features, 3 * self.components))


def _levels(components: int) -> Tensor:
    return (torch.arange(components) + 0.5) / components


def _on_quantiles(quantiles: Tensor) -> Tensor:
    """Make parameters (D, 3J) of mixtures whose components sit on quantiles (D, J), as wide as these are apart."""
    centres = quantiles.clamp(-FARTHEST, FARTHEST)
    gaps = torch.nn.functional.pad(centres.diff(dim=-1), (1, 1))
    widths = torch.maximum(gaps[:, :-1], gaps[:, 1:]).clamp_min(NARROWEST)
    # The outermost ones decide the slope of the tails: steep ones would throw outliers farther in every layer.
    widths[:, [0, -1]] = widths[:, [0, -1]].clamp_min(OUTERMOST)
    log_scales = SCALE_LIMIT * torch.atanh(-widths.log() / SCALE_LIMIT)
    return torch.cat([torch.zeros_like(centres), log_scales, centres], -1)

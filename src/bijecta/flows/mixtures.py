"""Mixtures of flows: what no single flow can do, for it cannot tear space, several do together."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from bijecta.bijections import Chain
from bijecta.distributions import Distribution, GaussianMixture
from bijecta.distributions.base import SampleShape, full_shape
from bijecta.errors import InputError
from bijecta.flows.flow import Flow
from bijecta.flows.parts import choose, preprocessing
from bijecta.flows.recipes import maf, nsf, nsf_autoregressive, realnvp
from bijecta.flows.registry import recipe
from bijecta.nets import ContextScaler, ParameterVector
from bijecta.nets.parameters import GAIN

COMPONENTS: dict[str, Callable[..., Flow]] = {
    "realnvp": realnvp,
    "nsf": nsf,
    "nsf_autoregressive": nsf_autoregressive,
    "maf": maf,
}
FEWEST_ROWS = 10  # per column, for a component to start from its own part of the data


class FlowMixture(Distribution):
    r"""Mix distributions with learned weights, which a context may move.

    .. math:: p(x \mid c) = \sum_k w_k(c)\, p_k(x \mid c)

    `initialise` divides the data by k-means, and lets every component start from its part.

    Args:
        components: the distributions :math:`p_k`, all of events (D,).
        features: number D of features.
        context: number C of context features.
        hidden: widths of the hidden layers of the network that computes the weights from the context.

    Raises:
        InputError: there is no component.

    References:
        R. Jacobs, M. Jordan, S. Nowlan, G. Hinton (1991), Adaptive Mixtures of Local Experts.

    Example:
        >>> import torch
        >>> from bijecta.distributions import DiagonalNormal
        >>> from bijecta.flows import FlowMixture
        >>> mixture = FlowMixture([DiagonalNormal(2), DiagonalNormal(2)], features=2)
        >>> mixture.responsibilities(torch.zeros(5, 2)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self, components: Sequence[Distribution], features: int, *, context: int = 0, hidden: Sequence[int] = (64, 64)
    ) -> None:
        super().__init__()
        if not components:
            raise InputError("FlowMixture expects at least one component, got none.")
        self.components: Sequence[Distribution] = nn.ModuleList(components)  # type: ignore[assignment]
        self.context, self.event_shape = context, (features,)
        self.logits = ParameterVector(torch.zeros(len(components)), context=context, hidden=hidden)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self._joint(x, context).logsumexp(-1)

    def responsibilities(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Compute the probability that a point comes from each of the components.

        .. math:: r_k = w_k(c)\, p_k(x \mid c) / p(x \mid c)

        Args:
            x: points of shape (\*B, D).
            context: of shape (\*B, C).

        Returns:
            The probabilities, of shape (\*B, K).
        """
        return self._joint(x, context).softmax(-1)

    def _joint(self, x: Tensor, context: Tensor | None) -> Tensor:
        log_probs = torch.stack([component.log_prob(x, context) for component in self.components], -1)
        return self.logits(x, context).log_softmax(-1) + log_probs

    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        size = torch.Size(full_shape(shape, context))
        rows = None if context is None else context.expand(*size, context.shape[-1]).reshape(-1, context.shape[-1])
        count = size.numel()
        start = self.logits.start
        weights = self.logits(start.new_zeros(count, 0), rows).softmax(-1).expand(count, -1)
        chosen = torch.multinomial(weights, 1, generator=generator)[:, 0] if count else start.new_zeros(0).long()
        parts, order = [], []
        for number, component in enumerate(self.components):
            mine = (chosen == number).nonzero()[:, 0]
            order.append(mine)
            if rows is None:
                parts.append(component.sample(len(mine), generator=generator))
            else:
                parts.append(component.sample((), rows[mine], generator=generator))
        return torch.cat(parts)[torch.cat(order).argsort()].reshape(*size, *parts[0].shape[1:])

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        rows = x.reshape(-1, x.shape[-1])
        contexts = None if context is None else context.expand(*x.shape[:-1], -1).reshape(len(rows), -1)
        if len(rows) >= len(self.components):
            clusters = GaussianMixture(x.shape[-1], len(self.components)).to(rows)
            clusters.initialise(rows)
            self.logits.start.copy_(clusters.logits / GAIN)
            nearest = torch.cdist(rows, clusters.mean).argmin(1)
        else:
            nearest = torch.full_like(rows[:, 0], -1)
        for number, component in enumerate(self.components):
            mine = _enough(rows, nearest == number)
            component.initialise(rows[mine], None if contexts is None else contexts[mine])


def _enough(rows: Tensor, mine: Tensor) -> Tensor:
    """Choose all rows where a cluster is a handful of them, or lies on a line, and says too little about a density."""
    everything = torch.ones_like(mine)
    if int(mine.sum()) < FEWEST_ROWS * rows.shape[-1]:
        return everything
    varies = (rows[mine].std(0, correction=0) > 1e-3 * rows.std(0, correction=0)).all()
    return mine if bool(varies) else everything


@recipe
def mixture_of_flows(
    features: int,
    *,
    context: int = 0,
    components: int = 8,
    component: str = "realnvp",
    layers: int = 4,
    hidden: Sequence[int] = (32, 32),
    base: str = "normal",
) -> Flow:
    """Build a mixture of flows: exact densities of data in several pieces, without bridges between these.

    Every component starts from one cluster of the data, as the Gaussian of it. ``flow.base.responsibilities`` says
    which component a latent point ``flow.to_latent(x)`` belongs to.

    Args:
        features: number D of columns.
        context: number C of context features, of components and weights; 0 for an unconditional flow.
        components: how many flows are mixed.
        component: "realnvp", "nsf", "nsf_autoregressive" or "maf", the recipe of each of them.
        layers: layers of every component.
        hidden: widths of the hidden layers of every network.
        base: of every component, as in the other recipes.

    Returns:
        The flow: standardised and whitened columns, with the mixture as their base.

    Raises:
        InputError: there is no recipe ``component``.

    References:
        R. Cornish, A. Caterini, G. Deligiannidis, A. Doucet (2020), Relaxing Bijectivity Constraints with Continuously
        Indexed Normalising Flows (why one flow is not enough).

    Example:
        >>> from bijecta.flows import mixture_of_flows
        >>> mixture_of_flows(3, components=2).sample(5).shape
        torch.Size([5, 3])
    """
    make = choose("component", component, COMPONENTS)
    parts = [make(features, context=context, layers=layers, hidden=hidden, base=base) for _ in range(components)]
    return Flow(
        Chain(preprocessing(features)),
        FlowMixture(parts, features, context=context, hidden=hidden),
        event_shape=(features,),
        context=context,
        embedding=ContextScaler(context) if context else None,
    )

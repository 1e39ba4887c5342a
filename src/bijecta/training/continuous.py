"""Losses of continuous flows: flow matching, and likelihood with regularised paths."""

import torch
from torch import Tensor

from bijecta.bijections import Bijection, Chain
from bijecta.bijections.continuous import Continuous
from bijecta.distributions import Distribution
from bijecta.errors import InputError
from bijecta.flows import Flow
from bijecta.training.losses import Batch, Loss

LARGEST_PAIRING = 512


def flow_matching(flow: Distribution, batch: Batch, *, optimal_pairs: bool = False) -> Tensor:
    r"""Compute the flow-matching loss: the field should move data to latent along straight lines.

    .. math:: \mathcal{L} = \mathbb{E}_{t, x, z} \left\| v\big((1 - t) x + t z, t, c\big) - (z - x) \right\|^2,
              \qquad t \sim U(0, 1), \; z \sim p_Z

    No differential equation is solved. The field that minimises the loss carries the data to the base, so that the
    same flow then has a density and samples. Layers before the continuous one, such as `Standardise`, are applied to
    the data, layers behind it are undone on z; these and the base learn nothing here.

    Args:
        flow: a `Flow` with exactly one `Continuous` layer.
        batch: data, contexts and weights.
        optimal_pairs: whether to pair the x and z of a batch such that the lines are short together, instead of at
            random: straighter paths, fewer steps. In groups of 512 rows. Not for contexts or weights: they say
            something about x, and through the pairs z would know it.

    Returns:
        The loss per row, summed over features: a scalar, in squared standard deviations.

    Raises:
        InputError: there are no data, the flow has not one continuous layer, or the pairing is not possible.

    References:
        Y. Lipman, R. Chen, H. Ben-Hamu, M. Nickel, M. Le (2023), Flow Matching for Generative Modeling.
        A. Tong et al. (2024), Improving and Generalizing Flow-Based Generative Models with Minibatch Optimal Transport.

    Example:
        >>> import torch
        >>> from bijecta.flows import cnf
        >>> from bijecta.training import Batch, flow_matching
        >>> flow_matching(cnf(2), Batch(5, torch.zeros(5, 2))).shape
        torch.Size([])
    """
    if batch.x is None or not isinstance(flow, Flow):
        raise InputError("The loss flow_matching expects a Flow and data x; reverse_kl fits without data.")
    before, continuous, after = _around_the_continuous_layer(flow)
    context = _embedded(flow, batch.context)
    with torch.no_grad():
        x = _apply(before, batch.x, context)
        z = _undo(after, flow.base.sample((len(x),) if context is None else (), context), context)
        if optimal_pairs:
            z = _paired(x, z, batch)
    # Evenly spread times with one random offset: each is uniform, together they cover (0, 1) better than chance.
    time = (torch.arange(len(x), device=x.device) / len(x) + torch.rand(1, device=x.device)) % 1
    time = time.to(x.dtype)[torch.randperm(len(x), device=x.device)].unsqueeze(-1)
    velocity = continuous.velocity((1 - time) * x + time * z, time, context)
    error: Tensor = (velocity - (z - x)).square().sum(-1)
    return (error if batch.weight is None else batch.weight * error).mean()


def regularised_nll(kinetic: float = 0.01, jacobian: float = 0.01) -> Loss:
    r"""Make the loss that fits a continuous flow by likelihood and keeps its paths straight and its field smooth.

    .. math:: \mathcal{L} = -\frac1N \sum_n w_n \left[\log p(x_n \mid c_n) - \lambda_K \int_0^1 \|v\|^2 dt
              - \lambda_J \int_0^1 \|\partial v / \partial z\|_F^2 dt\right]

    Straight paths take the solver few steps; without a penalty their number grows in training.

    Args:
        kinetic: weight :math:`\lambda_K` of the kinetic energy.
        jacobian: weight :math:`\lambda_J` of the size of the field's Jacobian.

    Returns:
        A loss for `fit`, in nats per row.

    Raises:
        InputError: at the call, when there are no data or the flow has not one continuous layer.

    References:
        C. Finlay, J.-H. Jacobsen, L. Nurbekyan, A. Oberman (2020), How to train your neural ODE.

    Example:
        >>> import torch
        >>> from bijecta.flows import cnf
        >>> from bijecta.training import Batch, regularised_nll
        >>> regularised_nll()(cnf(2), Batch(5, torch.zeros(5, 2))).detach()  # nothing moves yet: the log-density at 0
        tensor(1.8379)
    """

    def loss(flow: Distribution, batch: Batch) -> Tensor:
        if batch.x is None or not isinstance(flow, Flow):
            raise InputError("The loss regularised_nll expects a Flow and data x; reverse_kl fits without data.")
        before, continuous, after = _around_the_continuous_layer(flow)
        context = _embedded(flow, batch.context)
        z, ladj_before = _with_ladj(before, batch.x, context)
        path = continuous.transport(z, context)
        z, ladj_after = _with_ladj(after, path.z, context)
        log_prob = flow.base.log_prob(z, context) + ladj_before + path.ladj + ladj_after
        value = log_prob - kinetic * path.kinetic - jacobian * path.jacobian
        return -(value if batch.weight is None else batch.weight * value).mean()

    return loss


def pair(x: Tensor, z: Tensor, *, precision: float = 1e-3) -> Tensor:
    r"""Pair points x with points z such that the sum of squared distances is as small as it can be, by an auction.

    .. math:: \min_\pi \sum_i \|x_i - z_{\pi(i)}\|^2

    Every x without a partner bids for the z that is worth most to it; prices rise until all have one. The sum is
    within N times the last bidding increment of the smallest one.

    Args:
        x: points of shape (N, D).
        z: points of shape (N, D).
        precision: the last bidding increment, in mean squared distances.

    Returns:
        For every x the number of its z, of shape (N,): a permutation.

    References:
        D. Bertsekas (1988), The auction algorithm: a distributed relaxation method for the assignment problem.

    Example:
        >>> import torch
        >>> from bijecta.training.continuous import pair
        >>> pair(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[2.1], [0.1], [1.1]]))
        tensor([1, 2, 0])
    """
    value = -torch.cdist(x, z).square()
    value = torch.where(value.isfinite(), value, 0.0)  # a row that is not finite is worth the same to every bidder
    # Where all points are equal the unit would be zero, and bids that do not rise go on forever.
    prices, unit = value.new_zeros(len(z)), value.abs().mean().clamp_min(torch.finfo(value.dtype).tiny)
    owner = torch.arange(len(z), device=z.device)
    # A coarse auction first: its prices are a good start for the next, whose increments are finer.
    for increment in (unit * step for step in (0.5, 0.1, 0.02, precision) if step >= precision):
        owner, prices = _auction(value, prices, increment)
    return owner.argsort()


def _auction(value: Tensor, prices: Tensor, increment: Tensor) -> tuple[Tensor, Tensor]:
    """Let the rows of `value` bid for its columns; return the owner of each column and its price."""
    count = len(value)
    owner = torch.full((count,), -1, device=value.device)
    has_won = torch.zeros_like(owner, dtype=torch.bool)
    while not bool(has_won.all()):
        bidders = (~has_won).nonzero().squeeze(-1)
        best, choice = (value[bidders] - prices).topk(min(2, count), -1)
        # A bid goes to where the second choice would be as good, plus the increment that makes prices rise.
        offer = prices[choice[:, 0]] + best[:, 0] - best[:, -1] + increment
        highest = torch.full_like(prices, -torch.inf).scatter_reduce(0, choice[:, 0], offer, "amax")
        wins = offer == highest[choice[:, 0]]
        winners, sold = bidders[wins], choice[wins, 0]
        # Of two equal bids the later one counts, by writing both and looking who is there.
        losers = owner[sold]
        has_won[losers[losers >= 0]] = False
        owner[sold] = winners
        has_won[owner[sold]] = True
        prices = torch.where(highest.isfinite(), highest, prices)
    return owner, prices


def _paired(x: Tensor, z: Tensor, batch: Batch) -> Tensor:
    """Reorder z to pair with x, in groups that an auction is quick on."""
    if batch.context is not None or batch.weight is not None:
        raise InputError("Optimal pairs need data without contexts and weights: use optimal_pairs=False.")
    groups = zip(torch.split(x, LARGEST_PAIRING), torch.split(z, LARGEST_PAIRING), strict=True)
    return torch.cat([z_group[pair(x_group, z_group)] for x_group, z_group in groups])


def _around_the_continuous_layer(flow: Flow) -> tuple[list[Bijection], Continuous, list[Bijection]]:
    """Split the layers of a flow into those before, the continuous one, and those behind."""
    layers = list(flow.bijection) if isinstance(flow.bijection, Chain) else [flow.bijection]
    found = [(place, layer) for place, layer in enumerate(layers) if isinstance(layer, Continuous)]
    if len(found) != 1:
        raise InputError(f"This loss expects a flow with one Continuous layer, such as cnf(...); got {len(found)}.")
    place, continuous = found[0]
    return layers[:place], continuous, layers[place + 1 :]


def _embedded(flow: Flow, context: Tensor | None) -> Tensor | None:
    embedded: Tensor | None = context if context is None or flow.embedding is None else flow.embedding(context)
    return embedded


def _apply(layers: list[Bijection], x: Tensor, context: Tensor | None) -> Tensor:
    for layer in layers:
        x = layer.forward(x, context)
    return x


def _undo(layers: list[Bijection], z: Tensor, context: Tensor | None) -> Tensor:
    for layer in reversed(layers):
        z = layer.inverse(z, context)
    return z


def _with_ladj(layers: list[Bijection], x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    return Chain(layers).forward_and_ladj(x, context) if layers else (x, x.new_zeros(len(x)))

"""Other libraries as oracles: the same weights have to give the same densities."""

import math
import warnings

import pytest
import torch

from bijecta.bijections import AffineUnivariate, Autoregressive, Coupling, RationalQuadraticSpline
from bijecta.distributions import Normal
from bijecta.flows import Flow
from bijecta.nets import MLP, MaskedMLP


def imported(name: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their own deprecations
        return pytest.importorskip(name, reason=f"{name} is needed as an oracle")


def unclipped(raw: torch.Tensor, limit: float) -> torch.Tensor:
    """What our soft clip turns into ``raw``."""
    return limit * torch.atanh(raw / limit)


class FromTheirNetwork(torch.nn.Module):
    """Turn (shift, log-scale) of another library into our pairs, with our clipping undone."""

    def __init__(self, network, convert):
        super().__init__()
        self.network, self.convert = network, convert

    def forward(self, x, _):
        return self.convert(self.network(x))


def test_affine_coupling_of_normflows():
    """normflows maps latent to data: its forward is our inverse."""
    normflows = imported("normflows")
    torch.manual_seed(0)
    theirs = normflows.flows.AffineCouplingBlock(
        normflows.nets.MLP([1, 16, 2], init_zeros=False), scale_map="exp", split_mode="channel"
    ).double()
    network = theirs.flows[1].param_map

    def convert(params):
        shift, log_scale = params[..., 0::2], params[..., 1::2]
        # Theirs: data = z e^s + t. Ours: z = data e^-s - t e^-s.
        return torch.stack([-shift * torch.exp(-log_scale), unclipped(-log_scale, 50.0)], -1).flatten(-2)

    ours = Coupling(AffineUnivariate(limit=50.0), [False, True], FromTheirNetwork(network, convert))
    x = torch.randn(20, 2).double()
    expected, ladj = theirs.inverse(x)
    z, our_ladj = ours.forward_and_ladj(x)
    torch.testing.assert_close(z, expected, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(our_ladj, ladj, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("features", [2, 3, 5])
def test_masked_autoregressive_flow_of_nflows(features):
    """Their MADE computes the parameters, our univariate maps."""
    transforms = imported("nflows.transforms")
    torch.manual_seed(0)
    theirs = transforms.MaskedAffineAutoregressiveTransform(features, hidden_features=12, num_blocks=1).double()
    x = torch.randn(20, features).double()
    expected, ladj = theirs(x)

    made = theirs.autoregressive_net
    pairs = made(x).unflatten(-1, (features, 2))
    log_scale = torch.log(torch.nn.functional.softplus(pairs[..., 0]) + theirs._epsilon)
    params = torch.stack([pairs[..., 1], unclipped(log_scale, 50.0)], -1)
    z, our_ladj = AffineUnivariate(limit=50.0).forward_and_ladj(x, params)
    torch.testing.assert_close(z, expected, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(our_ladj.sum(-1), ladj, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("features", [2, 3, 5])
def test_masked_network_of_zuko_with_copied_weights(features):
    """zuko builds its masks from an adjacency; ours are triangular: one net in the other's weights, same log_prob."""
    zuko = imported("zuko")
    torch.manual_seed(0)
    ours = MaskedMLP(features, 2, hidden=(16, 16)).double()
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    order = torch.arange(features)
    theirs = zuko.flows.MaskedAutoregressiveTransform(
        features, order=order, hidden_features=(16, 16), univariate=_their_affine(zuko), shapes=[(), ()]
    ).double()
    layers = [layer for layer in theirs.hyper if hasattr(layer, "mask")]
    masks = [ours.mask0, ours.mask1, ours.mask_last]
    with torch.no_grad():
        for layer, own, mask in zip(layers, [*ours.layers, ours.last], masks, strict=True):
            layer.weight.copy_(own.weight * mask)
            layer.bias.copy_(own.bias)
            layer.mask.copy_(mask)
    flow = Flow(Autoregressive(AffineUnivariate(3.0), ours), Normal(features), event_shape=(features,))
    x = torch.randn(30, features).double()
    z, ladj = theirs().call_and_ladj(x)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1) + ladj
    torch.testing.assert_close(flow.log_prob(x), expected, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(flow.to_data(z), theirs().inv(z), atol=1e-9, rtol=1e-9)


def _their_affine(zuko):
    """Make zuko's affine map with our bound on the log-scale."""

    def univariate(shift, raw):
        transform = zuko.transforms.MonotonicAffineTransform(shift, torch.zeros_like(raw))
        transform.scale = torch.exp(3.0 * torch.tanh(raw / 3.0))
        transform.log_scale = 3.0 * torch.tanh(raw / 3.0)
        return transform

    return univariate


def test_spline_coupling_of_nflows():
    """The same widths and heights from the same network; only the slopes are written down differently."""
    splines = imported("nflows.transforms.splines.rational_quadratic")
    torch.manual_seed(0)
    bins, bound, rows = 6, 3.0, 200
    spline = RationalQuadraticSpline(bins, bound)
    net = MLP(1, spline.n_params, hidden=(16,)).double()
    torch.nn.init.normal_(net.last.weight)
    ours = Coupling(spline, [False, True], net)
    x = 2 * torch.randn(rows, 2).double()
    z, ladj = ours.forward_and_ladj(x)

    widths, heights, logits = net(x[:, :1]).split([bins, bins, bins - 1], -1)
    limit = math.log(1e3)
    slopes = torch.exp(limit * torch.tanh(logits / limit))
    theirs = slopes - 1e-3 + torch.log(-torch.expm1(1e-3 - slopes))  # the inverse of softplus
    keywords = {"tail_bound": bound, "min_bin_width": 1e-3, "min_bin_height": 1e-3, "min_derivative": 1e-3}
    expected, their_ladj = splines.unconstrained_rational_quadratic_spline(x[:, 1], widths, heights, theirs, **keywords)
    torch.testing.assert_close(z[:, 1], expected, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(ladj, their_ladj, atol=1e-7, rtol=1e-7)


def test_gaussian_through_a_coupling_is_a_known_gaussian():
    """An affine coupling with a linear conditioner of the shift is a linear map: its density is a normal."""
    net = MLP(1, 2, hidden=()).double()
    with torch.no_grad():
        net.last.weight.copy_(torch.tensor([[0.7], [0.0]], dtype=torch.float64))
        net.last.bias.copy_(torch.tensor([0.3, 0.4], dtype=torch.float64))
    flow = Flow(Coupling(AffineUnivariate(), [False, True], net), Normal(2), event_shape=(2,))
    scale = math.exp(3 * math.tanh(0.4 / 3))
    matrix = torch.tensor([[1.0, 0.0], [0.7, scale]], dtype=torch.float64).inverse()
    mean = matrix @ torch.tensor([0.0, -0.3], dtype=torch.float64)
    oracle = torch.distributions.MultivariateNormal(mean, matrix @ matrix.T)
    x = torch.randn(20, 2).double()
    torch.testing.assert_close(flow.log_prob(x), oracle.log_prob(x), atol=1e-10, rtol=1e-10)

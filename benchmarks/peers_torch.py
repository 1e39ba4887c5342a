"""The same models in every library on PyTorch, each built as its documentation shows."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from speed_rows import BINS, BOUND, RATE, Row


@dataclass(frozen=True)
class Density:
    """A model with what is asked of it, whatever a library calls that."""

    module: nn.Module
    log_prob: Callable[[Tensor], Tensor]
    sample: Callable[[int], Tensor]


def build_bijecta(row: Row) -> Density:
    import bijecta

    spline = {"bins": BINS, "bound": BOUND} if row.univariate == "spline" else {}
    recipes = {
        ("coupling", "affine"): bijecta.realnvp,
        ("coupling", "spline"): bijecta.nsf,
        ("autoregressive", "affine"): bijecta.maf,
        ("autoregressive", "spline"): bijecta.nsf_autoregressive,
    }
    if row.kind == "image":
        flow = bijecta.glow_image(row.event, levels=2, steps=row.layers, hidden=row.hidden[0])
    elif row.kind == "continuous":
        flow = bijecta.cnf(row.features, hidden=row.hidden, tolerance=1e-5)
    else:
        recipe = recipes[row.kind, row.univariate]
        flow = recipe(row.features, layers=row.layers, hidden=row.hidden, **spline)
    return Density(flow, flow.log_prob, flow.sample)


def build_nflows(row: Row) -> Density:
    from nflows import distributions, flows, transforms
    from nflows.nn.nets import ResidualNet

    def net(inputs: int, outputs: int) -> nn.Module:
        if row.name == "nsfpaper":
            return ResidualNet(inputs, outputs, hidden_features=row.hidden[0], num_blocks=2)
        return _Plain(inputs, outputs, row.hidden)

    spline = {"num_bins": BINS, "tails": "linear", "tail_bound": BOUND}
    masked = {"hidden_features": row.hidden[0], "num_blocks": len(row.hidden) - 1, "use_residual_blocks": False}
    layers: list[nn.Module] = []
    for number in range(row.layers):
        mask = [(feature + number) % 2 for feature in range(row.features)]
        match row.kind, row.univariate:
            case "coupling", "affine":
                layers += [transforms.AffineCouplingTransform(mask, net)]
            case "coupling", "spline":
                layers += [transforms.PiecewiseRationalQuadraticCouplingTransform(mask, net, **spline)]
            case _, "affine":
                layers += [transforms.MaskedAffineAutoregressiveTransform(row.features, **masked)]
            case _:
                kind = transforms.MaskedPiecewiseRationalQuadraticAutoregressiveTransform
                layers += [kind(row.features, **masked, **spline)]
        if row.kind == "autoregressive":
            layers += [transforms.ReversePermutation(row.features)]
    base = distributions.StandardNormal([row.features])
    flow = flows.Flow(transforms.CompositeTransform(layers), base)
    return Density(flow, flow.log_prob, flow.sample)


def build_zuko(row: Row) -> Density:
    from zuko import flows
    from zuko.transforms import MonotonicRQSTransform

    net = {"transforms": row.layers, "hidden_features": row.hidden}
    shapes = {"univariate": MonotonicRQSTransform, "shapes": [(BINS,), (BINS,), (BINS - 1,)]}
    match row.kind, row.univariate:
        case "coupling", "affine":
            flow = flows.RealNVP(row.features, **net)
        case "coupling", "spline":
            flow = flows.RealNVP(row.features, **net, **shapes)
        case "autoregressive", "affine":
            flow = flows.MAF(row.features, **net)
        case "autoregressive", "spline":
            flow = flows.NSF(row.features, bins=BINS, **net)
        case _:
            flow = flows.CNF(row.features, hidden_features=row.hidden, activation=nn.SiLU, atol=1e-5, rtol=1e-5)
    return Density(flow, lambda x: flow().log_prob(x), lambda count: flow().sample((count,)))


def build_normflows(row: Row) -> Density:
    import normflows

    if row.kind == "image":
        glow = _normflows_glow(row)
        return Density(glow, lambda x: glow.log_prob(x, None), lambda count: glow.sample(count)[0])
    layers = [layer for number in range(row.layers) for layer in _normflows_layers(row, number)]
    # Its log_prob goes through the layers from the last to the first.
    model = normflows.NormalizingFlow(_normflows_base(row.event), layers[::-1])
    return Density(model, model.log_prob, lambda count: model.sample(count)[0])


def _normflows_layers(row: Row, number: int) -> list[nn.Module]:
    from normflows import flows, nets
    from normflows.flows.neural_spline import autoregressive

    features, width = row.features, row.hidden[0]
    masked = {"hidden_features": width, "num_blocks": len(row.hidden) - 1, "use_residual_blocks": False}
    spline = {"num_bins": BINS, "tails": "linear", "tail_bound": BOUND}
    match row.kind, row.univariate:
        case "coupling", "affine":
            half = features // 2
            net = nets.MLP([half, *row.hidden, 2 * half], init_zeros=True)
            return [flows.AffineCouplingBlock(net), flows.Permute(features, mode="swap")]
        case "coupling", "spline":
            layer = flows.CoupledRationalQuadraticSpline(
                features, 2, width, num_bins=BINS, tail_bound=BOUND, reverse_mask=bool(number % 2)
            )
            layer.prqct.unconditional_transform = None  # splines of the other half, which nobody else has
            if row.name != "nsfpaper":
                half = features // 2
                layer.prqct.transform_net = _Plain(half, half * row.numbers, row.hidden)
            return [layer]
        case _, "affine":
            # Without the Reverse, its density would be the slow direction.
            return [
                flows.Reverse(flows.MaskedAffineAutoregressive(features, **masked)),
                flows.Permute(features, "swap"),
            ]
    layer = flows.AutoregressiveRationalQuadraticSpline(features, 1, width, num_bins=BINS, tail_bound=BOUND)
    layer.mprqat = autoregressive.MaskedPiecewiseRationalQuadraticAutoregressive(features, **masked, **spline)
    return [layer, flows.Permute(features, mode="swap")]


def _normflows_glow(row: Row) -> nn.Module:
    import normflows

    channels, height, width = row.event
    bases, levels, merges = [], [], []
    for level in range(2):  # the coarsest first
        inside = channels * 2 ** (3 - level)
        blocks = [normflows.flows.GlowBlock(inside, row.hidden[0]) for _ in range(row.layers)]
        levels += [[*blocks, normflows.flows.Squeeze()]]
        leaving = inside if level == 0 else inside // 2
        bases += [_normflows_base((leaving, height // 2 ** (2 - level), width // 2 ** (2 - level)))]
        merges += [normflows.flows.Merge()] if level else []
    return normflows.MultiscaleFlow(bases, levels, merges, class_cond=False)


def _normflows_base(event: tuple[int, ...]) -> nn.Module:
    import normflows

    return normflows.distributions.DiagGaussian(event, trainable=False)


def build_freia(row: Row) -> Density:
    from FrEIA import framework, modules

    def net(inputs: int, outputs: int) -> nn.Module:
        return _Plain(inputs, outputs, row.hidden)

    inn = framework.SequenceINN(row.features)
    for _ in range(row.layers):
        inn.append(modules.AllInOneBlock, subnet_constructor=net)

    def log_prob(x: Tensor) -> Tensor:
        z, ladj = inn(x)
        return ladj - 0.5 * (z.square().sum(-1) + row.features * math.log(2 * math.pi))

    return Density(inn, log_prob, lambda count: inn(torch.randn(count, row.features), rev=True)[0])


BUILDERS = {
    "bijecta": build_bijecta,
    "nflows": build_nflows,
    "zuko": build_zuko,
    "normflows": build_normflows,
    "freia": build_freia,
}


def import_optimiser() -> None:
    """Take a step with one number: with the first optimiser PyTorch imports its compiler, which takes seconds."""
    number = nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.Adam([number], lr=RATE, fused=True)
    number.square().sum().backward()
    optimiser.step()


def prepare(library: str, row: Row, work: str, size: int, x: Tensor) -> tuple[int, Callable[[], Any]]:
    """Build a model and say how many parameters it has; return what is to be timed too."""
    torch.manual_seed(0)
    density = BUILDERS[library](row)
    if library == "bijecta":
        density.module.initialise(x[: row.batch])
        training, step = _bijecta_step(density, x[: row.batch])
    else:
        step = _training_step(density, x[: row.batch])
    for _ in range(row.warm_up):
        step()
    if library == "bijecta" and work != "train":
        training.release()
    count = sum(p.numel() for p in density.module.parameters() if p.requires_grad)
    return count, step if work == "train" else _evaluation(density, work, size, x[:size])


def prepare_fit(row: Row, x: Tensor) -> Callable[[], float]:
    """Return a function that fits for an epoch and says how many seconds one step of it took."""
    from bijecta.training import FitConfig, fit

    torch.manual_seed(0)
    flow = build_bijecta(row).module
    # The first epoch makes the optimiser's state; the second one is timed.
    config = FitConfig(epochs=2, batch_size=row.batch, learning_rate=RATE, validation_fraction=0, patience=0)
    return lambda: 1 / fit(flow, x, config=config).history[-1].steps_per_second


def _bijecta_step(density: Density, x: Tensor) -> tuple[Any, Callable[[], Tensor]]:
    from bijecta.training import Batch, TrainingStep

    training, batch = TrainingStep(density.module, optimiser="adam", learning_rate=RATE), Batch(len(x), x)
    return training, lambda: training(batch)


def _training_step(density: Density, x: Tensor) -> Callable[[], Tensor]:
    optimiser = torch.optim.Adam(density.module.parameters(), lr=RATE, fused=True)

    def step() -> Tensor:
        optimiser.zero_grad()
        loss = density.log_prob(x).mean().neg()
        loss.backward()
        optimiser.step()
        return loss.detach()

    return step


def _evaluation(density: Density, work: str, size: int, x: Tensor) -> Callable[[], Tensor]:
    density.module.eval()

    @torch.no_grad()
    def evaluate() -> Tensor:
        return density.log_prob(x) if work == "log_prob" else density.sample(size)

    return evaluate


class _Plain(nn.Sequential):
    """A perceptron that can be called with a context, as these libraries do, and has none."""

    def __init__(self, inputs: int, outputs: int, hidden: tuple[int, ...]) -> None:
        widths = [inputs, *hidden]
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU()]
        super().__init__(*layers, nn.Linear(widths[-1], outputs))

    def forward(self, x: Tensor, context: None = None) -> Tensor:  # noqa: ARG002
        return super().forward(x)

"""The table of constructors: every bijection has at least one line here, and every line has to obey every law.

A line that cannot obey a law says so in ``exempt``, with a reason that is true of the mathematics.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from bijecta.bijections import (
    ActNorm,
    AdditiveUnivariate,
    Affine,
    AffineUnivariate,
    Autoregressive,
    Bernstein,
    Bijection,
    BlockAutoregressive,
    Chain,
    Continuous,
    Coupling,
    CubicSpline,
    Cylinder,
    Elementwise,
    Gaussianise,
    Householder,
    Indexed,
    Inverse,
    LinearSpline,
    Log,
    Logit,
    LowRank,
    LULinear,
    Multiscale,
    NeuralMonotone,
    Orthogonal,
    Permute,
    Planar,
    QuadraticSpline,
    Radial,
    RationalQuadraticSpline,
    Rebuilt,
    Recomputed,
    Regress,
    Reshape,
    ResidualBlock,
    Rotate,
    ScaleMean,
    Squeeze,
    Standardise,
    SumOfSquares,
    Sylvester,
    TokenAutoregressive,
    Turn,
    UnconstrainedMonotone,
    Univariate,
    Whiten,
    Wrap,
)
from bijecta.flows import build
from bijecta.flows.images import pixel_glow
from bijecta.functional import Solver
from bijecta.nets import MLP, CausalTransformer, ConvNet, DeepSets, LipschitzMLP, MaskedMLP, SeparateMLPs, VelocityMLP

Sampler = Callable[[tuple[int, ...]], Tensor]
ALL_REALS = (0.0, 1.0, -1e-30, 1e4, -1e4, 1e30, -1e30)
DIRECTIONS = ("forward", "inverse")
LAWS = (
    *("round_trip", "ladj", "context", "extremes", "wide_extremes", "second_order"),
    *("compile_forward", "compile_inverse", "export_forward", "export_inverse"),
)


@dataclass(frozen=True)
class Case:
    """One constructor, and what the laws have to know about it."""

    make: Callable[[], Bijection]
    shape: tuple[int, ...] = (3,)
    context: int = 0
    latent_shape: tuple[int, ...] | None = None
    data: Sampler = torch.randn
    latent: Sampler = torch.randn
    extremes: tuple[float, ...] = ALL_REALS
    latent_extremes: tuple[float, ...] = ALL_REALS
    exempt: Mapping[str, str] = field(default_factory=dict)

    @property
    def shape_out(self) -> tuple[int, ...]:
        return self.latent_shape or self.shape


def angles(size: tuple[int, ...]) -> Tensor:
    """Draw angles, not closer to the seam at +-pi than a finite difference can step."""
    return (torch.rand(size) - 0.5) * 2 * (math.pi - 1e-2)


def positive(size: tuple[int, ...]) -> Tensor:
    return torch.randn(size).exp()


def between(low: float, high: float) -> Sampler:
    return lambda size: low + (high - low) * (0.01 + 0.98 * torch.rand(size))


def mixed(*samplers: Sampler) -> Sampler:
    """Draw every column from a sampler of its own."""
    return lambda size: torch.cat([sampler((*size[:-1], 1)) for sampler in samplers], -1)


def second_is_angle(size: tuple[int, ...]) -> Tensor:
    return mixed(torch.randn, angles, torch.randn)(size)


ANGLES = (0.0, 1.0, -1e-30, 3.1415, -3.1415)
IN_FLOAT = "exp of the latent leaves the range of floating point numbers: the exact answer is not finite"
STEPS = "the Jacobian is piecewise constant: the second derivative of z is zero almost everywhere"

UNIVARIATES: dict[str, Callable[[], Univariate]] = {
    "additive": AdditiveUnivariate,
    "affine": AffineUnivariate,
    "rational_quadratic": lambda: RationalQuadraticSpline(4, 2.0),
    "linear_spline": lambda: LinearSpline(4, 2.0),
    "quadratic_spline": lambda: QuadraticSpline(4, 2.0),
    "cubic_spline": lambda: CubicSpline(4, 2.0),
}


def elementwise(univariate: Univariate, features: int, context: int = 0) -> Bijection:
    net = MLP(0, features * univariate.n_params, context=context, hidden=(8,), activation="tanh") if context else None
    return Elementwise(univariate, features, net)


def coupling(
    univariate: Univariate,
    mask: list[bool],
    context: int = 0,
    *,
    residual: bool = False,
    circular: tuple[bool, ...] = (),
) -> Bijection:
    kept, changed = mask.count(False), mask.count(True)
    net = MLP(
        kept,
        changed * univariate.n_params,
        context=context,
        hidden=(8, 8) if residual else (8,),
        activation="tanh",
        residual=residual,
        circular=circular,
    )
    return Coupling(univariate, mask, net)


def autoregressive(univariate: Univariate, features: int, context: int = 0, **options: object) -> Bijection:
    settings = {"hidden": (8,), "activation": "tanh", **options}
    return Autoregressive(univariate, MaskedMLP(features, univariate.n_params, context=context, **settings))


def alternate(features: int) -> list[bool]:
    return [features == 1 or feature % 2 == 0 for feature in range(features)]


def _hosted(name: str, new: Callable[[], Univariate]) -> dict[str, Case]:
    """Put one univariate into every host, in all the small dimensions where something could go wrong."""
    lines = {
        f"elementwise/{name}": Case(lambda: elementwise(new(), 3)),
        f"elementwise/{name}/context": Case(lambda: elementwise(new(), 2, 2), (2,), 2),
        f"coupling/{name}/5/context": Case(lambda: coupling(new(), alternate(5), 2), (5,), 2),
        f"autoregressive/{name}/2/context": Case(lambda: autoregressive(new(), 2, 2), (2,), 2),
    }
    for features in (1, 2, 3):
        lines[f"coupling/{name}/{features}"] = Case(
            lambda features=features: coupling(new(), alternate(features)), (features,)
        )
        lines[f"autoregressive/{name}/{features}"] = Case(
            lambda features=features: autoregressive(new(), features), (features,)
        )
    return lines


def circular_spline(*circular: bool) -> RationalQuadraticSpline:
    bounds = [math.pi if angle else 2.0 for angle in circular]
    return RationalQuadraticSpline(4, bounds, list(circular))


HOSTS = {key: case for name, new in UNIVARIATES.items() for key, case in _hosted(name, new).items()} | {
    "autoregressive/affine/5": Case(lambda: autoregressive(AffineUnivariate(), 5), (5,)),
    "autoregressive/affine/random order": Case(
        lambda: autoregressive(AffineUnivariate(), 5, order=torch.randperm(5).tolist()), (5,)
    ),
    "autoregressive/affine/residual": Case(
        lambda: autoregressive(AffineUnivariate(), 3, 1, hidden=(8, 8, 8), residual=True, order=[2, 0, 1]), (3,), 1
    ),
    "autoregressive/affine/no hidden layer": Case(lambda: autoregressive(AffineUnivariate(), 3, 1, hidden=()), (3,), 1),
    "autoregressive/affine/few hidden units": Case(lambda: autoregressive(AffineUnivariate(), 5, hidden=(2,)), (5,)),
    "autoregressive/circular inputs": Case(
        lambda: autoregressive(circular_spline(False, True, False), 3, circular=(False, True, False)),
        data=second_is_angle,
        latent=second_is_angle,
        extremes=ANGLES,
        latent_extremes=ANGLES,
    ),
    "coupling/circular inputs": Case(
        lambda: coupling(circular_spline(True, False), [False, True, True], circular=(True,)),
        data=mixed(angles, angles, torch.randn),
        latent=mixed(angles, angles, torch.randn),
        extremes=ANGLES,
        latent_extremes=ANGLES,
    ),
    "coupling/residual": Case(lambda: coupling(AffineUnivariate(), alternate(3), residual=True)),
    "coupling/separate networks": Case(
        lambda: Coupling(AffineUnivariate(), [True, False, True], SeparateMLPs(1, 2, 2, context=1, hidden=(8,))),
        (3,),
        1,
    ),
    "coupling/everything transformed": Case(lambda: coupling(AffineUnivariate(), [True, True], 1), (2,), 1),
    "elementwise/circular": Case(
        lambda: elementwise(RationalQuadraticSpline(4, math.pi, circular=True), 2),
        (2,),
        data=angles,
        latent=angles,
        extremes=ANGLES,
        latent_extremes=ANGLES,
    ),
}

SEARCH = "the inverse is a search, which ends, or raises, by what it finds in the data"
SEARCHED = {"compile_inverse": SEARCH, "export_inverse": SEARCH}
MONOTONE_UNIVARIATES: dict[str, Callable[[], Univariate]] = {
    "bernstein": lambda: Bernstein(6, 2.0),
    "neural_monotone": lambda: NeuralMonotone(3),
    "sum_of_squares": lambda: SumOfSquares(2, 3, 2.0),
    "unconstrained_monotone": lambda: UnconstrainedMonotone(3, 24, 3.0),
}


def block_autoregressive(features: int, context: int = 0, hidden: tuple[int, ...] = (3,)) -> Case:
    new = lambda: BlockAutoregressive(features, context=context, hidden=hidden)  # noqa: E731
    return Case(new, (features,), context, exempt=SEARCHED)


MONOTONE = {
    key: replace(case, exempt=SEARCHED)
    for name, new in MONOTONE_UNIVARIATES.items()
    for key, case in _hosted(name, new).items()
} | {
    "block_autoregressive/1": block_autoregressive(1),
    "block_autoregressive/2/context": block_autoregressive(2, 2),
    "block_autoregressive/5": block_autoregressive(5),
    "block_autoregressive/deep": block_autoregressive(3, hidden=(2, 4, 3)),
    "gaussianise/1": Case(lambda: Gaussianise(1, 3), (1,), exempt=SEARCHED),
    "gaussianise/3": Case(lambda: Gaussianise(3, 1), exempt=SEARCHED),
    "gaussianise/context": Case(lambda: Gaussianise(2, 3, context=2, hidden=(8,)), (2,), 2, exempt=SEARCHED),
}


LINEAR = {
    "permute": Case(lambda: Permute(torch.randperm(5).tolist()), (5,)),
    "permute/1": Case(lambda: Permute([0]), (1,)),
    "permute/image": Case(lambda: Permute(torch.randperm(3).tolist(), event_ndim=3), (3, 2, 2)),
    "lu": Case(lambda: LULinear(3)),
    "lu/1": Case(lambda: LULinear(1), (1,)),
    "lu/permuted": Case(lambda: LULinear(5, torch.randperm(5).tolist()), (5,)),
    "lu/image": Case(lambda: LULinear(3, torch.randperm(3).tolist(), event_ndim=3), (3, 2, 2)),
    "householder": Case(lambda: Householder(3)),
    "householder/1": Case(lambda: Householder(1), (1,)),
    "householder/2 of 5": Case(lambda: Householder(5, 2), (5,)),
    "orthogonal": Case(lambda: Orthogonal(3)),
    "orthogonal/1": Case(lambda: Orthogonal(1), (1,)),
    "low rank/1": Case(lambda: LowRank(1, 1), (1,)),
    "low rank/2 of 5": Case(lambda: LowRank(5, 2), (5,)),
    "actnorm": Case(lambda: ActNorm(3)),
    "actnorm/image": Case(lambda: ActNorm(2, event_ndim=3), (2, 2, 2)),
}

PREPROCESSING = {
    "affine": Case(lambda: Affine(torch.tensor([1.0, -2.0]), torch.tensor([-3.0, 0.5])), (2,)),
    "standardise": Case(lambda: started(Standardise(3), 3)),
    "standardise/1": Case(lambda: started(Standardise(1), 1), (1,)),
    "whiten": Case(lambda: started(Whiten(3), 3)),
    "whiten/1": Case(lambda: started(Whiten(1), 1), (1,)),
    "regress/context": Case(lambda: Regress(3, 2), (3,), 2),
    "log": Case(
        Log,
        (2,),
        data=positive,
        extremes=(1e-30, 1e-4, 1.0, 1e4, 1e30),
        latent_extremes=(0.0, 80.0, -80.0),
        exempt={"wide_extremes": IN_FLOAT},
    ),
    "log/lower": Case(
        lambda: Log(-1.0),
        (2,),
        data=lambda size: positive(size) - 1,
        extremes=(-0.999, 0.0, 1e4, 1e30),
        latent_extremes=(0.0, 80.0, -80.0),
        exempt={"wide_extremes": IN_FLOAT},
    ),
    "logit": Case(Logit, (2,), data=between(0, 1), extremes=(1e-30, 1e-4, 0.5, 0.9999), latent_extremes=ALL_REALS),
    "logit/interval": Case(
        lambda: Logit(-2.0, 6.0),
        (2,),
        data=between(-2, 6),
        extremes=(-1.999, 0.0, 5.999),
        latent_extremes=ALL_REALS,
    ),
    "wrap": Case(Wrap, (2,), data=angles, latent=angles, extremes=ANGLES, latent_extremes=ANGLES),
    "wrap/degrees": Case(
        lambda: Wrap(0.0, 360.0),
        (2,),
        data=between(0, 360),
        latent=angles,
        extremes=(0.0, 1.0, 359.9),
        latent_extremes=ANGLES,
    ),
    "turn": Case(lambda: Turn(2), (2,), data=angles, latent=angles, extremes=ANGLES, latent_extremes=ANGLES),
}

COMBINATORS = {
    "chain": Case(
        lambda: Chain([ActNorm(3), LULinear(3, [2, 0, 1]), coupling(AffineUnivariate(), alternate(3), 2)]), (3,), 2
    ),
    "chain/one layer": Case(lambda: Chain([LULinear(2)]), (2,)),
    "inverse": Case(lambda: Inverse(autoregressive(AffineUnivariate(), 3, 2)), (3,), 2),
    "inverse/log": Case(
        lambda: Inverse(Log()), (2,), latent=positive, extremes=(0.0, 80.0, -80.0), latent_extremes=(1e-30, 1.0, 1e30)
    ),
    "indexed": Case(
        lambda: Indexed(coupling(AffineUnivariate(), alternate(2), 1), torch.randperm(4)[:2].tolist(), 4), (4,), 1
    ),
    "indexed/log": Case(
        lambda: Indexed(Log(), [1], 3),
        data=mixed(torch.randn, positive, torch.randn),
        extremes=(1e-30, 1.0, 1e4, 1e30),
        latent_extremes=(0.0, 80.0, -80.0),
    ),
    "reshape": Case(lambda: Reshape((1, 2, 3), (6,)), (1, 2, 3), latent_shape=(6,)),
    "reshape/back": Case(
        lambda: Chain([Reshape((4,), (1, 2, 2)), ActNorm(1, event_ndim=3)]), (4,), latent_shape=(1, 2, 2)
    ),
    "recomputed": Case(lambda: Recomputed(three_stretches()), (3,), 2),
    "recomputed/one layer": Case(lambda: Recomputed(LULinear(3)), (3,)),
    "rebuilt": Case(lambda: Rebuilt(three_stretches()), (3,), 2),
    "rebuilt/without parameters": Case(lambda: Rebuilt(Chain([Permute([1, 0]), Inverse(Permute([1, 0]))])), (2,)),
}


def three_stretches() -> Chain:
    mask = alternate(3)
    ends = coupling(AffineUnivariate(), mask, 2), autoregressive(AdditiveUnivariate(), 3, 2)
    return Chain([ActNorm(3), ends[0], LULinear(3, [2, 0, 1]), elementwise(AffineUnivariate(), 3), ends[1]])


def image_coupling(channels: int, context: int = 0) -> Bijection:
    mask = [channel % 2 == 0 for channel in range(channels)]
    net = ConvNet(channels - sum(mask), 2 * sum(mask), context=context, hidden=4, activation="tanh")
    return Coupling(AffineUnivariate(), mask, net, event_ndim=3)


def set_coupling(channels: int, context: int = 0) -> Bijection:
    mask = [channel % 2 == 0 for channel in range(channels)]
    net = DeepSets(channels - sum(mask), 2 * sum(mask), context=context, hidden=(4,), activation="tanh")
    return Coupling(AffineUnivariate(), mask, net, event_ndim=3)


IMAGES = {
    "squeeze": Case(Squeeze, (1, 2, 4), latent_shape=(4, 1, 2)),
    "coupling/image": Case(lambda: image_coupling(2), (2, 2, 2)),
    "coupling/set/context": Case(lambda: set_coupling(3, 2), (3, 4, 1), 2),
    "scale mean": Case(lambda: ScaleMean(2), (2, 3, 1)),
    "coupling/image/context": Case(lambda: image_coupling(3, 2), (3, 2, 2), 2),
    "multiscale": Case(
        lambda: Multiscale([Chain([Squeeze(), image_coupling(4, 1)]), Squeeze()], (1, 4, 4)),
        (1, 4, 4),
        1,
        latent_shape=(16,),
    ),
    "pixel_glow": Case(
        lambda: pixel_glow([1, 4, 4], grey_levels=17, steps=1, hidden=4, context=2).distribution.bijection,
        (1, 4, 4),
        2,
        latent_shape=(16,),
        data=between(0, 17),
        extremes=(0.0, 17.0, 1e-30, 8.0),
        latent=lambda size: 0.3 * torch.randn(size),  # further out, pixels round to an edge
        latent_extremes=(0.0, 1.0, -1e-30),
    ),
    "rebuilt/image": Case(
        lambda: Rebuilt(Chain([Squeeze(), image_coupling(4, 1), ActNorm(4, event_ndim=3), image_coupling(4, 1)])),
        (1, 2, 4),
        1,
        latent_shape=(4, 1, 2),
    ),
    "multiscale/one level": Case(lambda: Multiscale([Squeeze()], (1, 2, 2)), (1, 2, 2), latent_shape=(4,)),
}


def transformer(tokens: int, token: int, context: int = 0, **options: object) -> Bijection:
    net = CausalTransformer(tokens, token, 2 * token, context=context, width=4, heads=2, hidden=(8,), **options)
    return TokenAutoregressive(AffineUnivariate(), net)


TOKENS = {
    "tokens/1": Case(lambda: transformer(1, 1), (1,)),
    "tokens/3/context": Case(lambda: transformer(3, 1, 2), (3,), 2),
    "tokens/2 of 3": Case(lambda: transformer(2, 3), (6,)),
    "tokens/all in one/context": Case(lambda: transformer(1, 5, 1), (5,), 1),
}


def directions(size: tuple[int, ...]) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(size), dim=-1)


def on_cylinder(size: tuple[int, ...]) -> Tensor:
    return torch.cat([1.9 * torch.rand(*size[:-1], 1) - 0.95, angles((*size[:-1], 1))], -1)


OF_AREA = "a map of surfaces: ladj is that of area, and the Jacobian in space is singular along the radius"
OF_SURFACES = {"round_trip": OF_AREA, "ladj": OF_AREA}  # tests/bijections/test_sphere.py: against tangent vectors
HEIGHTS = (0.0, 0.5, -0.5, 1.0, -1.0)


TO_CYLINDER = {
    "latent_shape": (2,),
    "data": directions,
    "latent": on_cylinder,
    "extremes": (1.0, -1.0, 1e-4),
    "latent_extremes": HEIGHTS,
    "exempt": OF_SURFACES,
}


def spherical_recipe(context: int = 0) -> Case:
    small = {"context": context, "layers": 2, "hidden": (8,), "bins": 4}
    return Case(
        lambda: build("sphere", small).bijection,
        (3,),
        context,
        **TO_CYLINDER,
    )


SURFACES = {
    "rotate": Case(Rotate, (3,)),
    "cylinder": Case(
        Cylinder,
        (3,),
        **TO_CYLINDER,
    ),
}


UNTIL_CLOSE = {
    "compile_inverse": "how many steps the fixed-point iteration takes is decided by the data",
    "export_inverse": "how many steps the fixed-point iteration takes is decided by the data",
}


def _residual(name: str, new: Callable[..., Bijection], exempt: Mapping[str, str]) -> dict[str, Case]:
    lines = {f"{name}/{d}": Case(lambda d=d: new(d), (d,), exempt=exempt) for d in (1, 2, 3, 5)}
    return lines | {f"{name}/context": Case(lambda: new(3, context=2, hidden=(8,)), (3,), 2, exempt=exempt)}


def residual_block(features: int, *, context: int = 0, hidden: tuple[int, ...] = (8, 8)) -> Bijection:
    return ResidualBlock(LipschitzMLP(features, context=context, hidden=hidden))


RESIDUAL = {
    **_residual("planar", Planar, {}),
    **_residual("radial", Radial, {}),
    **_residual("sylvester", Sylvester, {}),
    **_residual("residual_block", residual_block, UNTIL_CLOSE),
    "sylvester/rank 2 of 5": Case(lambda: Sylvester(5, 2), (5,)),
}


STEPS_BY_DATA = "how many steps an adaptive solver takes depends on the data: its loop has no fixed length to trace"
SOLVER_ERROR = "both directions solve the same equation, each with an error of its own as large as the solver allows"
ADAPTIVE = {f"{law}_{direction}": STEPS_BY_DATA for law in ("compile", "export") for direction in DIRECTIONS}
LOOSE = {"round_trip": SOLVER_ERROR, "ladj": SOLVER_ERROR}  # tests/bijections/test_continuous.py: as the tolerance


def continuous(features: int, context: int = 0, **options: object) -> Bijection:
    return Continuous(VelocityMLP(features, context=context, hidden=(4,)), Solver(**options))


CONTINUOUS = {
    # A tolerance that leaves no more than rounding errors: this line obeys every law of an exact map.
    "continuous/2/context": Case(lambda: continuous(2, 2, tolerance=1e-13), (2,), 2, exempt=ADAPTIVE),
    "continuous/rk4/1": Case(lambda: continuous(1, method="rk4", steps=3), (1,), exempt=LOOSE),
    "continuous/rk4/3/context": Case(lambda: continuous(3, 1, method="rk4", steps=3), (3,), 1, exempt=LOOSE),
}


def continuous_recipe(features: int, context: int = 0) -> Case:
    arguments = {"features": features, "context": context, "hidden": (4,), "tolerance": 1e-8}
    return Case(lambda: build("cnf", arguments).bijection, (features,), context, exempt=ADAPTIVE | LOOSE)


def recipe(name: str, features: int, context: int = 0, **arguments: object) -> Case:
    """Take the whole bijection of a recipe, small."""
    small = {"features": features, "context": context, "hidden": (8,), **arguments}
    small |= {} if name == "made" else {"layers": 2}
    exempt = UNTIL_CLOSE if name == "residual_flow" else {}
    return Case(lambda: build(name, small).bijection, (features,), context, exempt=exempt)


def circular_recipe(circular: list[bool], context: int = 0) -> Case:
    columns = mixed(*[angles if angle else torch.randn for angle in circular])
    arguments = {"features": len(circular), "circular": circular, "context": context}
    small = {"layers": 2, "hidden": (8,), "bins": 4}
    return Case(
        lambda: build("circular_nsf", arguments | small).bijection,
        (len(circular),),
        context,
        data=columns,
        latent=columns,
        extremes=ANGLES,
        latent_extremes=ANGLES,
    )


TABLE_COLUMNS = {
    "columns": [
        {"name": "mass", "kind": "positive"},
        {"name": "share", "kind": "interval", "low": 0.0, "high": 2.0},
        {"name": "height", "kind": "real"},
    ]
}


def table_case(context: int = 0) -> Case:
    arguments = {
        "schema": TABLE_COLUMNS,
        "context": context,
        "recipe": "nsf",
        "arguments": {"layers": 2, "hidden": (8,)},
    }
    return Case(
        lambda: build("table", arguments).bijection,
        (3,),
        context,
        data=mixed(positive, between(0, 2), torch.randn),
        extremes=(1e-30, 0.5, 1.0),
        latent_extremes=(0.0, 10.0, -10.0),
    )


MIXED_COLUMNS = {
    "columns": [
        {"name": "count", "kind": "integer"},
        *TABLE_COLUMNS["columns"],
        {"name": "sort", "kind": "category", "categories": ["up", "down"]},
    ]
}


def mixed_table(context: int) -> Bijection:
    """Take the continuous part of a mixed table: its context are a count, two categories, and the user's."""
    arguments = {"schema": MIXED_COLUMNS, "context": context - 3, "arguments": {"layers": 2, "hidden": (8,)}}
    return build("table", arguments).continuous.bijection


def started(layer: Bijection, features: int) -> Bijection:
    """Let a layer start from correlated data, so that it is not the identity."""
    layer.initialise(3 + torch.randn(50, features) @ torch.randn(features, features))
    return layer


VECTOR_RECIPES = (
    *("nice", "realnvp", "glow", "nsf", "nsf_autoregressive", "made", "maf", "iaf"),
    *("planar", "radial", "residual_flow", "sylvester"),
)
DETAILS = {
    "mixture_of_flows/3": recipe("mixture_of_flows", 3, components=2),
    "transformer_flow/1": recipe("transformer_flow", 1, width=8),
    "transformer_flow/3": recipe("transformer_flow", 3, width=8),
    "transformer_flow/2/context": recipe("transformer_flow", 2, 2, width=8),
    "transformer_flow/tokens": recipe("transformer_flow", 6, 1, width=8, token=2, update="affine"),
    "cnf/3/context": continuous_recipe(3, 2),
    "realnvp/random masks": recipe("realnvp", 5, masks="random", networks="separate"),
    "nsf/linear": recipe("nsf", 3, spline="linear"),
    "nsf/quadratic": recipe("nsf", 3, spline="quadratic"),
    "nsf/cubic": recipe("nsf", 3, spline="cubic"),
    "circular_nsf": circular_recipe([True, True]),
    "circular_nsf/1": circular_recipe([True]),
    "circular_nsf/mixed": circular_recipe([True, False, False], 1),
    "glow_image": Case(
        lambda: build("glow_image", {"shape": [1, 4, 4], "levels": 2, "steps": 1, "hidden": 4}).bijection,
        (1, 4, 4),
        latent_shape=(16,),
    ),
    "glow_image/context": Case(
        lambda: build("glow_image", {"shape": [2, 2, 2], "levels": 1, "steps": 1, "hidden": 4, "context": 2}).bijection,
        (2, 2, 2),
        2,
        latent_shape=(8,),
    ),
    "set_flow": recipe("set_flow", 6, coordinates=2),
    "set_flow/one particle": recipe("set_flow", 3),
    "set_flow/context": recipe("set_flow", 4, 2, coordinates=2),
    "sphere": spherical_recipe(),
    "sphere/context": spherical_recipe(2),
    "table": table_case(),
    "table/context": table_case(2),
    "table/mixed": replace(table_case(4), make=lambda: mixed_table(4)),
}
MONOTONE_RECIPES = {
    key: replace(case, exempt=SEARCHED)
    for name in ("bernstein", "bnaf", "gaussianization", "naf", "sos", "unaf")
    for key, case in {
        f"{name}/1": recipe(name, 1),
        f"{name}/3": recipe(name, 3),
        f"{name}/2/context": recipe(name, 2, 2),
    }.items()
}
RECIPE_CASES = {
    f"recipe/{key}": case
    for key, case in (
        {f"{name}/{features}": recipe(name, features) for name in VECTOR_RECIPES for features in (1, 3)}
        | {f"{name}/2/context": recipe(name, 2, 2) for name in VECTOR_RECIPES}
        | MONOTONE_RECIPES
        | DETAILS
    ).items()
}

CASES: dict[str, Case] = {
    **HOSTS,
    **LINEAR,
    **PREPROCESSING,
    **COMBINATORS,
    **IMAGES,
    **CONTINUOUS,
    **SURFACES,
    **MONOTONE,
    **RESIDUAL,
    **TOKENS,
    **RECIPE_CASES,
}


def built(case: Case, seed: int = 1) -> Bijection:
    """Build the bijection of a line in float64 and move it away from its start."""
    torch.manual_seed(seed)
    bijection = case.make().double()
    bijection.initialise(inputs(case, (32,)), contexts(case, (32,)))
    return perturb(bijection)


def perturb(module: torch.nn.Module, size: float = 0.3) -> torch.nn.Module:
    """Add noise to every parameter, so that no law is tested on an identity."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return module


def inputs(case: Case, batch: tuple[int, ...]) -> Tensor:
    return case.data((*batch, *case.shape)).double()


def latents(case: Case, batch: tuple[int, ...]) -> Tensor:
    return case.latent((*batch, *case.shape_out)).double()


def contexts(case: Case, batch: tuple[int, ...]) -> Tensor | None:
    return torch.randn(*batch, case.context).double() if case.context else None

"""Every recipe against every law of a flow."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from bijecta.bijections import ActNorm
from bijecta.distributions import Dequantised, Distribution
from bijecta.errors import InputError, ShapeError
from bijecta.flows import RECIPES, Flow, build
from contract.table import RECIPE_CASES, angles, between, directions, mixed, perturb, positive


@dataclass(frozen=True)
class Recipe:
    """Small arguments of a recipe, and what its events look like."""

    name: str
    arguments: dict[str, object]
    shape: tuple[int, ...] = (2,)
    context: int = 0
    data: Callable[[tuple[int, ...]], Tensor] = field(default=torch.randn)

    def new(self, seed: int = 0) -> Distribution:
        torch.manual_seed(seed)
        return build(self.name, self.arguments)

    def perturbed(self, size: float = 0.3) -> Distribution:
        flow = self.new().double()
        flow.initialise(self.x((64,)), self.c((64,)))
        return perturb(flow, size)

    def x(self, batch: tuple[int, ...]) -> Tensor:
        return self.data((*batch, *self.shape)).double()

    def c(self, batch: tuple[int, ...]) -> Tensor | None:
        return 3 + 2 * torch.randn(*batch, self.context).double() if self.context else None


SMALL = {"mixture_of_flows": {"components": 2}, "transformer_flow": {"width": 8}}


def vector(name: str, features: int, context: int = 0, **more: object) -> Recipe:
    arguments = {"features": features, "context": context, "hidden": [8], **SMALL.get(name, {}), **more}
    arguments |= {} if name == "made" else {"layers": 2}
    return Recipe(name, arguments, (features,), context)


def image(context: int = 0) -> Recipe:
    arguments = {"shape": [1, 2, 2], "levels": 1, "steps": 2, "hidden": 4, "context": context}
    return Recipe("glow_image", arguments, (1, 2, 2), context)


def circular(kinds: list[bool], context: int = 0) -> Recipe:
    arguments = {"features": len(kinds), "circular": kinds, "context": context, "layers": 2, "hidden": [8], "bins": 4}
    data = mixed(*[angles if kind else torch.randn for kind in kinds])
    return Recipe("circular_nsf", arguments, (len(kinds),), context, data)


def continuous(features: int, context: int = 0) -> Recipe:
    arguments = {"features": features, "context": context, "hidden": [8], "tolerance": 1e-9}
    return Recipe("cnf", arguments, (features,), context)


def spherical(context: int = 0) -> Recipe:
    arguments = {"context": context, "layers": 2, "hidden": [8], "bins": 4}
    return Recipe("sphere", arguments, (3,), context, directions)


def particles(context: int = 0) -> Recipe:
    arguments = {"features": 4, "coordinates": 2, "context": context, "layers": 2, "hidden": [8], "bins": 4}
    return Recipe("set_flow", arguments, (4,), context)


SCHEMA = {
    "columns": [
        {"name": "mass", "kind": "positive"},
        {"name": "share", "kind": "interval", "low": 0.0, "high": 2.0},
    ]
}


def table(context: int = 0) -> Recipe:
    arguments = {"schema": SCHEMA, "context": context, "arguments": {"layers": 2, "hidden": [8]}}
    return Recipe("table", arguments, (2,), context, mixed(positive, between(0, 2)))


VECTORS = (
    *("nice", "realnvp", "glow", "nsf", "nsf_autoregressive", "made", "maf", "iaf"),
    *("bernstein", "bnaf", "gaussianization", "naf", "sos", "unaf"),
    *("planar", "radial", "residual_flow", "sylvester"),
    *("mixture_of_flows", "transformer_flow"),
)
SPLINES = ("linear", "quadratic", "cubic")
BASES = ("diagonal", "student", "mixture")
PLAIN = {name: vector(name, 2) for name in VECTORS} | {
    "circular_nsf": circular([True, True]),
    "circular_nsf/mixed": circular([False, True]),
    "cnf": continuous(2),
    "glow_image": image(),
    "set_flow": particles(),
    "sphere": spherical(),
    "table": table(),
}
CONDITIONAL = {f"{name}/context": vector(name, 2, 3) for name in VECTORS} | {
    "circular_nsf/context": circular([True, False], 3),
    "cnf/context": continuous(2, 3),
    "glow_image/context": image(3),
    "set_flow/context": particles(3),
    "sphere/context": spherical(3),
    "table/context": table(3),
}
VARIANTS = (
    {f"{name}/1": vector(name, 1) for name in VECTORS}
    | {f"{name}/3": vector(name, 3) for name in VECTORS}
    | {f"realnvp/{base}": vector("realnvp", 2, base=base) for base in BASES}
    | {f"nsf/{spline}": vector("nsf", 2, spline=spline) for spline in SPLINES}
    | {
        "transformer_flow/tokens": vector("transformer_flow", 6, token=2, update="affine"),
        "realnvp/random": vector("realnvp", 3, masks="random", networks="separate"),
        "circular_nsf/1": circular([True]),
        "cnf/1": continuous(1),
    }
)
RECIPE_LINES = {**PLAIN, **CONDITIONAL, **VARIANTS}

every_recipe = pytest.mark.parametrize("name", RECIPE_LINES)
every_conditional = pytest.mark.parametrize("name", CONDITIONAL)
SHAPES = [(), 5, (2,), (2, 3), (0,)]


def test_every_recipe_has_its_lines_in_the_tables():
    assert {line.name for line in PLAIN.values()} == set(RECIPES)
    assert {line.name for line in CONDITIONAL.values()} == set(RECIPES)
    assert {key.split("/")[1] for key in RECIPE_CASES} == set(RECIPES)


# Normalisation


def line(low: float, high: float, points: int) -> tuple[Tensor, Tensor]:
    step = (high - low) / points
    return low + step * (torch.arange(points) + 0.5), torch.full((points,), step)


def integral(flow: Distribution, axes: list[tuple[Tensor, Tensor]], context: Tensor | None = None) -> float:
    """Integrate the density by the midpoint rule over the product of the axes."""
    x = torch.cartesian_prod(*[axis for axis, _ in axes]).reshape(-1, len(axes))
    weight = torch.cartesian_prod(*[weight for _, weight in axes]).reshape(-1, len(axes)).prod(-1)
    with torch.no_grad():
        return float(
            sum(
                (flow.log_prob(a, context).exp() * b).sum()
                for a, b in zip(x.split(200_000), weight.split(200_000), strict=True)
            )
        )


@pytest.mark.parametrize("name", [f"{name}/1" for name in VECTORS])
def test_density_integrates_to_one_in_one_dimension(name):
    flow = RECIPE_LINES[name].perturbed().float()
    assert integral(flow, [line(-60, 60, 120_000)]) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", [*VECTORS, *(f"nsf/{spline}" for spline in SPLINES)])
def test_density_integrates_to_one_in_two_dimensions(name):
    # Its parameters count five times, and make mixtures wider than the grid.
    flow = RECIPE_LINES[name].perturbed(0.03 if name == "gaussianization" else 0.15).float()
    assert integral(flow, [line(-12, 12, 800)] * 2) == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("name", ["realnvp/context", "maf/context"])
@pytest.mark.parametrize("context", [[3.0, 3.0, 3.0], [-2.0, 8.0, 0.0]], ids=str)
def test_conditional_density_integrates_to_one_for_every_context(name, context):
    flow = RECIPE_LINES[name].perturbed(0.15).float()
    assert integral(flow, [line(-30, 30, 1500)] * 2, torch.tensor(context)) == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("base", ["diagonal", "mixture"])
def test_density_with_another_base_integrates_to_one(base):
    flow = RECIPE_LINES[f"realnvp/{base}"].perturbed(0.15).float()
    assert integral(flow, [line(-12, 12, 1600)] * 2) == pytest.approx(1, abs=1e-2)


def test_density_of_angles_integrates_to_one():
    axis = line(-math.pi, math.pi, 800)
    assert integral(RECIPE_LINES["circular_nsf"].perturbed().float(), [axis] * 2) == pytest.approx(1, abs=1e-2)
    mixed_flow = RECIPE_LINES["circular_nsf/mixed"].perturbed(0.15).float()
    assert integral(mixed_flow, [line(-12, 12, 800), axis]) == pytest.approx(1, abs=1e-2)


def test_density_of_a_table_integrates_to_one_over_its_support():
    """Over log(mass) and logit(share / 2), where no density crowds at an edge: dm = m dlog(m), ds = s (1 - s/2) du."""
    log_mass, step = line(-9, 9, 1200)
    logit, width = line(-12, 12, 1200)
    share = 2 * logit.sigmoid()
    axes = [(log_mass.exp(), step * log_mass.exp()), (share, width * share * (1 - share / 2))]
    assert integral(RECIPE_LINES["table"].perturbed(0.15).float(), axes) == pytest.approx(1, abs=1e-2)


def test_density_of_images_integrates_to_one():
    """Four pixels are too many for a grid: weigh samples of a wide normal."""
    flow, wide = RECIPE_LINES["glow_image"].perturbed(0.15).float(), torch.distributions.Normal(0.0, 2.0)
    x = wide.sample((200_000, 1, 2, 2))
    with torch.no_grad():
        total = (flow.log_prob(x) - wide.log_prob(x).sum((-1, -2, -3))).exp().mean()
    assert float(total) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", [f"{name}/1" for name in VECTORS])
def test_samples_follow_the_density(name):
    """The largest gap between the two distribution functions, at the 0.1 % level."""
    flow = RECIPE_LINES[name].perturbed()
    x, weight = line(-60, 60, 120_000)
    with torch.no_grad():
        cumulative = (flow.log_prob(x[:, None].double()).exp() * weight).cumsum(0)
        samples = flow.sample(10_000, generator=torch.Generator().manual_seed(2)).flatten().sort().values
    empirical = torch.searchsorted(samples, x.double()).double() / len(samples)
    assert float((empirical - cumulative).abs().max()) < 1.95 / len(samples) ** 0.5 + 2e-3


# Samples


@every_recipe
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sample_shapes(name, shape, batch):
    recipe = RECIPE_LINES[name]
    flow, context = recipe.perturbed(), recipe.c(batch)
    leading = (shape,) if isinstance(shape, int) else shape
    expected = leading if context is None else (*leading, *batch)
    x, log_prob = flow.sample_and_log_prob(shape, context)
    assert x.shape == (*expected, *recipe.shape)
    assert log_prob.shape == expected
    assert flow.sample(shape, context).shape == x.shape
    assert x.dtype == log_prob.dtype == torch.float64


@every_recipe
def test_sample_and_log_prob_agrees_with_log_prob(name):
    recipe = RECIPE_LINES[name]
    flow, context = recipe.perturbed(), recipe.c((4,))
    x, log_prob = flow.sample_and_log_prob((5,), context)
    torch.testing.assert_close(flow.log_prob(x, context), log_prob, atol=1e-6, rtol=1e-6)


@every_conditional
def test_each_context_gets_samples_of_its_own(name):
    """What one context gets does not depend on which others are asked for together with it."""
    recipe = RECIPE_LINES[name]
    flow, context = recipe.perturbed(), recipe.c((4,))
    z = flow.base.sample((), context)
    together = flow.to_data(z, context)
    for row in range(4):
        torch.testing.assert_close(flow.to_data(z[row], context[row]), together[row])
        torch.testing.assert_close(flow.to_latent(together[row], context[row]), z[row], atol=1e-6, rtol=1e-6)


@every_recipe
def test_a_generator_makes_samples_repeatable(name):
    recipe = RECIPE_LINES[name]
    flow, context = recipe.perturbed(), recipe.c((2,))
    state = torch.random.get_rng_state()
    first, second, other = (flow.sample(3, context, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


@every_recipe
def test_log_prob_of_any_batch_and_of_bad_rows(name):
    recipe = RECIPE_LINES[name]
    flow = recipe.perturbed()
    for batch in [(), (3,), (3, 7), (0,)]:
        assert flow.log_prob(recipe.x(batch), recipe.c(batch)).shape == batch
    x, context = recipe.x((4,)), recipe.c((4,))
    expected = flow.log_prob(x, context)
    x[1].flatten()[0] = torch.nan
    spoiled = flow.log_prob(x, context)
    torch.testing.assert_close(spoiled[[0, 2, 3]], expected[[0, 2, 3]])
    assert spoiled[1].isnan()


# Parameters


@every_recipe
def test_every_parameter_receives_a_gradient_from_the_density(name):
    recipe = RECIPE_LINES[name]
    flow = recipe.perturbed()
    flow.log_prob(recipe.x((32,)), recipe.c((32,))).mean().backward()
    assert idle_parameters(flow) <= {last_turn(flow)}


@every_recipe
def test_every_parameter_receives_a_gradient_from_samples(name):
    recipe = RECIPE_LINES[name]
    flow = recipe.perturbed()
    x = flow.sample(32, recipe.c((2,)))
    (x.square().clamp(max=100).mean() + x.mean()).backward()
    # Which component of a mixture a sample comes from is a choice: it has no derivative.
    assert not [name for name in idle_parameters(flow) if not name.startswith("base.logits")]


def idle_parameters(flow: Distribution) -> set[str]:
    """Name the parameters without a gradient that could have one."""
    one_feature = flow.event_shape == (1,)
    return {
        name
        for name, parameter in flow.named_parameters()
        if parameter.numel()
        # A matrix of one entry is all diagonal, and a first feature has no features before it that it could see.
        and not (parameter.shape == (1, 1) and name.endswith(("lower", "upper")))
        and not (one_feature and name.endswith(("layers.0.weight", "embedding.weight", "query.weight")))
        and (parameter.grad is None or not parameter.grad.abs().sum() > 0)
    }


def last_turn(flow: Distribution) -> str:
    """Name the last turn of the angles: before a uniform base it moves samples, and changes no density."""
    return next((name for name, _ in reversed(list(flow.named_parameters())) if name.endswith("angle")), "")


@every_recipe
def test_state_restores_the_flow_bit_by_bit(name):
    recipe = RECIPE_LINES[name]
    flow = recipe.perturbed()
    record = json.loads(json.dumps(flow.recipe if isinstance(flow, Flow) else None))
    torch.manual_seed(77)
    fresh = build(record["name"], record["arguments"]).double()
    fresh.load_state_dict(flow.state_dict())
    x, context = recipe.x((5,)), recipe.c((5,))
    assert torch.equal(fresh.log_prob(x, context), flow.log_prob(x, context))
    assert torch.equal(fresh.log_prob(x, context), fresh(x, context))
    assert fresh.recipe == record


@every_recipe
def test_evaluation_mode_changes_nothing(name):
    recipe = RECIPE_LINES[name]
    flow = recipe.perturbed()
    x, context = recipe.x((5,)), recipe.c((5,))
    expected = flow.train().log_prob(x, context)
    assert torch.equal(flow.eval().log_prob(x, context), expected)


@every_conditional
def test_density_and_samples_depend_on_the_context(name):
    recipe = RECIPE_LINES[name]
    flow, x = recipe.perturbed(), recipe.x((8,))
    first, second = recipe.c((8,)), recipe.c((8,))
    assert not torch.allclose(flow.log_prob(x, first), flow.log_prob(x, second))
    a, b = (flow.sample((), c, generator=torch.Generator().manual_seed(0)) for c in (first, second))
    assert not torch.allclose(a, b)


@every_conditional
def test_a_missing_or_misshapen_context_shows_both_shapes(name):
    recipe = RECIPE_LINES[name]
    flow, x = recipe.perturbed(), recipe.x((4,))
    with pytest.raises(ShapeError, match=r"\(4, 3\).*none"):
        flow.log_prob(x)
    with pytest.raises(ShapeError, match=r"\(4, 3\).*\(4, 2\)"):
        flow.log_prob(x, torch.zeros(4, 2))
    with pytest.raises(ShapeError, match=r"\(4, 3\).*\(5, 3\)"):
        flow.log_prob(x, torch.zeros(5, 3))
    with pytest.raises(ShapeError, match="conditional"):
        flow.sample(3)
    with pytest.raises(ShapeError, match=r"\(4, 2\)"):
        flow.sample(3, torch.zeros(4, 2))


@every_recipe
def test_data_of_the_wrong_shape_show_both_shapes(name):
    recipe = RECIPE_LINES[name]
    flow = recipe.perturbed()
    wrong = torch.zeros(4, *recipe.shape[:-1], recipe.shape[-1] + 1).double()
    for x in (wrong, torch.tensor(1.0).double()):
        with pytest.raises(ShapeError, match=r"\(\*batch, .*\), got \("):
            flow.log_prob(x, recipe.c((4,)))
        with pytest.raises(ShapeError, match=r"\(\*batch, .*\), got \("):
            flow.to_latent(x, recipe.c((4,)))


# The start


# The ActNorm of these scales once more: what shrinking the correlations leaves of the variances.
RESCALED = ("glow", "residual_flow")
# Quantiles of every column, or a Gaussian for every cluster: they start closer to their data.
CLOSER = ("gaussianization", "mixture_of_flows")
GAUSSIAN = [key for key in RECIPE_LINES if key in VECTORS and key not in RESCALED + CLOSER]


@pytest.mark.parametrize("name", GAUSSIAN)
def test_a_fresh_flow_is_the_gaussian_of_its_data(name):
    recipe = vector(name, 3)
    flow = recipe.new().double()
    x = torch.tensor([5.0, -100.0, 0.1]) + torch.tensor([2.0, 0.1, 30.0]) * torch.randn(200, 3)
    x = x.double()
    flow.initialise(x)
    covariance = torch.cov(x.T, correction=0)
    shrinkage = 4 / (200 + 4)  # of correlations: (D + 1) / (N + D + 1)
    covariance = (1 - shrinkage) * covariance + shrinkage * covariance.diagonal().diag()
    expected = torch.distributions.MultivariateNormal(x.mean(0), covariance).log_prob(x)
    torch.testing.assert_close(flow.log_prob(x), expected, atol=1e-5, rtol=1e-5)


@every_recipe
def test_initialise_is_repeatable_and_survives_saving(name):
    recipe = RECIPE_LINES[name]
    x, context = recipe.x((64,)), recipe.c((64,))
    flow, twin = recipe.new().double(), recipe.new().double()
    flow.initialise(x, context)
    twin.initialise(x, context)
    expected = flow.log_prob(x, context)
    assert torch.equal(twin.log_prob(x, context), expected)
    flow.initialise(x, context)
    torch.testing.assert_close(flow.log_prob(x, context), expected)


def test_a_loaded_glow_does_not_start_its_actnorms_again():
    recipe = vector("glow", 3)
    flow, x = recipe.perturbed(), recipe.x((64,))
    loaded = recipe.new(seed=5).double()
    loaded.load_state_dict(flow.state_dict())
    expected = loaded.log_prob(x)
    next(layer for layer in loaded.bijection if isinstance(layer, ActNorm)).initialise(7 + 3 * x)
    assert torch.equal(loaded.log_prob(x), expected)


@pytest.mark.parametrize("name", ["realnvp/3", "glow/3", "nsf/3", "circular_nsf/mixed"])
def test_a_constant_column_is_named(name):
    recipe = RECIPE_LINES[name]
    x = recipe.x((16,))
    x[:, 0] = 0.1
    with pytest.raises(InputError, match=r"column \[0\].*drop it"):
        recipe.new().initialise(x)


def test_a_constant_column_among_angles_is_found_by_its_number():
    x = mixed(angles, torch.randn, torch.randn)((16, 3)).double()
    x[:, 2] = 5.0
    with pytest.raises(InputError, match=r"columns \[1, 2\].*column \[1\]"):
        circular([True, False, False]).new().initialise(x)


@pytest.mark.parametrize("name", ["nsf", "maf", "glow"])
def test_a_thousand_features(name):
    flow = build(name, {"features": 1000, "layers": 2, "hidden": [8]})
    assert flow.log_prob(torch.randn(2, 1000)).isfinite().all()


def test_a_table_with_integers_says_that_it_is_a_bound():
    schema = {"columns": [{"name": "hits", "kind": "integer"}, {"name": "x", "kind": "real"}]}
    flow = build("table", {"schema": schema, "integers": "dequantised", "arguments": {"layers": 2, "hidden": [8]}})
    assert isinstance(flow, Dequantised)
    assert flow.is_bound
    assert flow.recipe["name"] == "table"
    hits = flow.sample(9)[:, 0]
    assert torch.equal(hits, hits.round())


def test_a_dequantised_table_is_conditional_too():
    schema = {"columns": [{"name": "hits", "kind": "integer"}, {"name": "x", "kind": "real"}]}
    arguments = {"context": 2, "integers": "dequantised", "arguments": {"layers": 2, "hidden": [8]}}
    flow = build("table", {"schema": schema, **arguments})
    x, log_prob = flow.sample_and_log_prob((3,), torch.randn(4, 2))
    assert x.shape == (3, 4, 2)
    assert log_prob.shape == (3, 4)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("relanvp", {}, r"no recipe 'relanvp'. Did you mean 'realnvp'\? Recipes: .*nsf"),
        ("nsf", {"features": 2, "bin": 4}, r"no argument 'bin'. Did you mean 'bins'\? Arguments: .*bound"),
        ("nsf", {}, "needs the argument features"),
        ("nsf", {"features": 2, "spline": "quartic"}, "spline to be one of .*cubic; got 'quartic'"),
        ("nsf", {"features": 2, "bins": 0}, "bins to be at least 1, got 0"),
        ("maf", {"features": 2, "base": "gauss"}, "base to be one of normal, .*; got 'gauss'"),
        ("realnvp", {"features": 2, "masks": "odd"}, "masks to be one of .*; got 'odd'"),
        ("realnvp", {"features": 2, "networks": "two"}, "networks to be one of .*; got 'two'"),
        ("circular_nsf", {"features": 3, "circular": [True]}, "one entry of circular per column, 3; got 1"),
        ("glow_image", {"shape": [1, 6, 8], "levels": 2}, "sides divisible by 4 for 2 levels, got 6x8"),
        ("maf", {"features": 2, "layers": 0}, "layers"),
        ("maf", {"features": 0}, "features"),
        ("maf", {"features": -1}, "features"),
        ("maf", {"features": 2, "context": -1}, "context"),
        ("maf", {"features": 2, "hidden": [0]}, "hidden"),
    ],
)
def test_impossible_arguments_are_explained(name, arguments, message):
    with pytest.raises(InputError, match=message):
        build(name, arguments)


@pytest.mark.parametrize(
    ("column", "recipe", "message"),
    [
        ({"name": "colour", "kind": "category"}, "nsf", "'colour' has no labels"),
        ({"name": "phi", "kind": "periodic", "low": 0.0, "high": 1.0}, "maf", "maf has no form for periodic columns"),
    ],
)
def test_impossible_tables_are_explained(column, recipe, message):
    with pytest.raises(InputError, match=message):
        build("table", {"schema": {"columns": [column]}, "recipe": recipe})

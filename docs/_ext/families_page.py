"""The table of families, from the registry of recipes and what their bijections are."""

import inspect
import json
from pathlib import Path

import torch

from bijecta import bijections as b
from bijecta.flows import RECIPES, build

EXPORT = json.loads((Path(__file__).parents[1] / "export.json").read_text(encoding="utf8"))
ONE = "one pass"
SEARCH = "one search per feature"
# What a direction costs, by the part that decides it; the first part that a flow contains speaks for it.
COSTS: list[tuple[type, str, str]] = [
    (b.TokenAutoregressive, ONE, "one token after the other"),
    (b.Gaussianise, ONE, SEARCH),
    (b.Continuous, "solve an ODE", "solve an ODE"),
    (b.ResidualBlock, "power series", "fixed point"),
    (b.Planar, ONE, "one search"),
    (b.Radial, ONE, "one search"),
    (b.Sylvester, ONE, "search in few dimensions"),
    (b.BlockAutoregressive, ONE, SEARCH),
    (b.NeuralMonotone, ONE, SEARCH),
    (b.UnconstrainedMonotone, "quadrature", SEARCH),
    (b.SumOfSquares, ONE, SEARCH),
    (b.Bernstein, ONE, SEARCH),
    (b.Autoregressive, ONE, "one feature after the other"),
    (b.Coupling, ONE, ONE),
]


def families_page() -> str:
    """Make the table: which direction is fast, what is exact, what can be exported."""
    lines = [
        "# Families",
        "",
        "Every recipe is a function of `bijecta.flows`; all of them have `log_prob`, `sample`, `to_latent` and "
        "`to_data`, take a context, and, but for the sphere and for sets, work for any number of columns from 1. "
        "`bijecta recipes NAME` prints the settings of one.",
        "",
        "| recipe | family | density | sampling | log-determinant | `torch.compile`, `torch.export` | ONNX |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(family_row(name) for name in RECIPES)]) + "\n"


def families_by_cost() -> str:
    """Make the short table: recipes that cost the same stand together, the cheapest ones first."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name in RECIPES:
        if name != "table":  # as cheap as the recipe inside
            groups.setdefault(costs(name), []).append(f"`{name}`")
    cheapest_first = sorted(groups, key=lambda both: (both[0] != ONE, both[1] != ONE, both))
    lines = ["| density | sampling | recipes |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {a} | {b} | {', '.join(groups[a, b])} |" for a, b in cheapest_first)])


def family_row(name: str) -> str:
    """Describe one recipe."""
    density, sampling = costs(name)
    entry = EXPORT.get(name, {})
    cells = [
        f"{{py:func}}`~bijecta.flows.{name}`",
        first_sentence(name),
        density,
        sampling,
        exactness(name),
        directions(entry, "torch"),
        directions(entry, "onnx"),
    ]
    return "| " + " | ".join(cells) + " |"


def first_sentence(name: str) -> str:
    """Shorten the docstring to what stands after the verb."""
    text = (inspect.getdoc(RECIPES[name]) or "").split("\n\n")[0].replace("\n", " ")
    return text.removeprefix("Build ").rstrip(".:")


def costs(name: str) -> tuple[str, str]:
    """Say what a density and what a sample costs."""
    modules = list(_flow(name).modules())
    for part, density, sampling in COSTS:
        if found := [module for module in modules if isinstance(module, part)]:
            inverted = any(isinstance(module, b.Inverse) and found[0] in module.modules() for module in modules)
            return (sampling, density) if inverted else (density, sampling)
    return ONE, ONE


def exactness(name: str) -> str:
    """Say whether log_prob is exact."""
    kinds = {type(module) for module in _flow(name).modules()}
    if b.ResidualBlock in kinds:
        return "exact in few dimensions, else unbiased"
    return "exact to the solver's tolerance" if b.Continuous in kinds else "exact"


def directions(entry: dict, kind: str) -> str:
    """List what can be exported."""
    able = [what for what in ("log_prob", "sample") if entry.get(what, {}).get(kind)]
    return ", ".join(able) or "–"


def _flow(name: str) -> torch.nn.Module:
    parameters = inspect.signature(RECIPES[name]).parameters
    schema = {"columns": [{"name": name, "kind": "real"} for name in "abcd"]}
    needed = {"features": 3, "shape": (1, 8, 8), "schema": schema}
    # What has a default needs nothing: the sphere has three columns, and no other number of them.
    missing = [key for key, parameter in parameters.items() if parameter.default is parameter.empty]
    return build(name, {key: needed[key] for key in missing})

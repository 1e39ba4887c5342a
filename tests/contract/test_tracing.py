"""torch.compile without a graph break, and torch.export with a batch of any size, for every line of the table."""

import warnings

import pytest
import torch
from torch import Tensor, nn

from bijecta.bijections import Bijection
from contract.table import CASES, Case, built, contexts, inputs, latents

DIRECTIONS = ("forward", "inverse")
REPRESENTATIVES = (
    "coupling/rational_quadratic/5/context",
    "autoregressive/affine/random order",
    "autoregressive/circular inputs",
    "coupling/image/context",
    "continuous/rk4/3/context",
    "planar/context",
    "residual_block/2",
    "recipe/glow/3",
    "recipe/table",
)
# Native compilation takes many seconds each: one line of every recipe, which together hold every family.
FAMILIES = {
    name.split("/")[1]: name for name in CASES if name.startswith("recipe/") and not name.endswith("/context")
}.values()
# What the native compiler gets wrong, although the traced graph (backend "aot_eager") is right.
MISCOMPILED = {
    "forward-residual_flow": "inductor of torch 2.13 returns another gradient of x than the same graph run without it"
}
lines = [name if name in REPRESENTATIVES else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
every_case = pytest.mark.parametrize("name", lines)
both_ways = pytest.mark.parametrize("direction", DIRECTIONS)


class OneDirection(nn.Module):
    """One direction of a bijection as the forward of a module."""

    def __init__(self, bijection: Bijection, direction: str) -> None:
        super().__init__()
        self.bijection, self.direction = bijection, direction

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        name = f"{self.direction}_and_ladj"
        return getattr(self.bijection, name)(x, context)


def arguments(case: Case, direction: str, rows: int) -> tuple[Tensor, ...]:
    x = inputs(case, (rows,)) if direction == "forward" else latents(case, (rows,))
    context = contexts(case, (rows,))
    return (x,) if context is None else (x, context)


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        yield
    torch._dynamo.reset()


def skip_exempt(case: Case, law: str) -> None:
    if law in case.exempt:
        pytest.skip(case.exempt[law])


def assert_compiles(name: str, direction: str, backend: str) -> None:
    case = CASES[name]
    skip_exempt(case, f"compile_{direction}")
    module = OneDirection(built(case), direction)
    x, *context = arguments(case, direction, 4)
    results = []
    for function in (module, torch.compile(module, fullgraph=True, backend=backend)):
        module.zero_grad()
        leaf = x.detach().requires_grad_()
        value, ladj = function(leaf, *context)
        (value.square().sum() + ladj.sum()).backward()
        gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
        results.append([value, ladj, leaf.grad, *gradients])
    torch.testing.assert_close(results[1], results[0], atol=1e-9, rtol=1e-7)


@every_case
@both_ways
def test_compile_without_a_graph_break(name, direction):
    assert_compiles(name, direction, "aot_eager")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
@both_ways
def test_compile_to_native_code(name, direction):
    if (reason := MISCOMPILED.get(f"{direction}-{name.split('/')[1]}")) is not None:
        pytest.skip(reason)
    assert_compiles(name, direction, "inductor")


@every_case
@both_ways
def test_export_with_any_batch_size(name, direction):
    case = CASES[name]
    skip_exempt(case, f"export_{direction}")
    module = OneDirection(built(case), direction)
    example = arguments(case, direction, 4)
    batch = torch.export.Dim("batch")
    program = torch.export.export(module, example, dynamic_shapes=({0: batch},) * len(example))
    for rows in (1, 7):
        fresh = arguments(case, direction, rows)
        torch.testing.assert_close(program.module()(*fresh), module(*fresh), atol=1e-9, rtol=1e-9)

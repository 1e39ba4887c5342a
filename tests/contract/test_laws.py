"""Every line of the table against every law of a bijection."""

import copy
import pickle
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from bijecta import bijections
from bijecta.bijections import Bijection
from bijecta.errors import ShapeError
from contract.table import CASES, Case, built, contexts, inputs, latents

DIRECTIONS = ("forward", "inverse")
EXACT = {"atol": 1e-9, "rtol": 1e-9}

every_case = pytest.mark.parametrize("name", CASES)
both_ways = pytest.mark.parametrize("direction", DIRECTIONS)


def points(case: Case, direction: str, batch: tuple[int, ...]) -> Tensor:
    return inputs(case, batch) if direction == "forward" else latents(case, batch)


def mapping(bijection: Bijection, direction: str) -> Callable[..., tuple[Tensor, Tensor]]:
    return bijection.forward_and_ladj if direction == "forward" else bijection.inverse_and_ladj


def event_sizes(case: Case, direction: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (case.shape, case.shape_out) if direction == "forward" else (case.shape_out, case.shape)


def jacobian(function: Callable[[Tensor], Tensor], x: Tensor, event_ndim_out: int) -> Tensor:
    """Differentiate row by row: rows do not see each other, so the sum over rows has the gradient of each."""
    x = x.detach().requires_grad_()
    z = function(x).flatten(-event_ndim_out)
    rows = [torch.autograd.grad(z[..., i].sum(), x, retain_graph=True)[0].flatten(1) for i in range(z.shape[-1])]
    return torch.stack(rows, -2)


def test_every_bijection_and_univariate_has_a_line():
    kinds = {item for item in vars(bijections).values() if isinstance(item, type) and issubclass(item, nn.Module)}
    met = {type(module) for case in CASES.values() for module in case.make().modules()}
    assert {kind.__name__ for kind in kinds - met} == {"Bijection", "Univariate"}


@every_case
@both_ways
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_round_trip_and_opposite_ladj(name, direction, dtype):
    """The error that rounding allows: eps times the condition |J^-1|, row by row, and no more."""
    case = CASES[name]
    skip_exempt(case, "round_trip")
    bijection = built(case)
    x, context = points(case, direction, (32,)), contexts(case, (32,))
    matrix = jacobian(lambda x: mapping(bijection, direction)(x, context)[0], x, len(event_sizes(case, direction)[1]))
    condition = torch.linalg.matrix_norm(torch.linalg.inv(matrix), 2)

    bijection, x, context = bijection.to(dtype), x.to(dtype), None if context is None else context.to(dtype)
    z, ladj = mapping(bijection, direction)(x, context)
    back, ladj_back = mapping(bijection, "inverse" if direction == "forward" else "forward")(z, context)
    size = 1 + largest(x) + condition * (1 + largest(z))
    allowed = 1000 * torch.finfo(dtype).eps * size
    assert z.dtype == ladj.dtype == back.dtype == ladj_back.dtype == dtype
    assert (largest(back - x) <= allowed).all(), f"{(largest(back - x) / allowed).max():.1f} times what is allowed"
    assert ((ladj + ladj_back).abs() <= 100 * allowed).all(), f"{((ladj + ladj_back).abs() / allowed).max():.1f} times"


def skip_exempt(case: Case, law: str) -> None:
    if law in case.exempt:
        pytest.skip(case.exempt[law])


def largest(x: Tensor) -> Tensor:
    return x.flatten(1).abs().amax(-1)


@every_case
@both_ways
def test_ladj_is_the_determinant_of_the_autograd_jacobian(name, direction):
    case = CASES[name]
    skip_exempt(case, "ladj")
    bijection = built(case)
    x, context = points(case, direction, (8,)), contexts(case, (8,))
    transform = mapping(bijection, direction)
    matrix = jacobian(lambda x: transform(x, context)[0], x, len(event_sizes(case, direction)[1]))
    expected = torch.linalg.slogdet(matrix).logabsdet
    torch.testing.assert_close(transform(x, context)[1], expected, atol=1e-8, rtol=1e-8)


@every_case
@both_ways
def test_float64_stays_float64(name, direction):
    case = CASES[name]
    bijection = built(case)
    value, ladj = mapping(bijection, direction)(points(case, direction, (5,)), contexts(case, (5,)))
    assert value.dtype == ladj.dtype == torch.float64


@every_case
@both_ways
def test_float32_agrees_with_float64(name, direction):
    """A constant that was rounded to float32 inside a float64 map would pass the round trip: compare both."""
    case = CASES[name]
    double = built(case)
    single = copy.deepcopy(double).float()
    copied = copy.deepcopy(single).double()  # the parameters as float32 knows them
    x, context = points(case, direction, (16,)), contexts(case, (16,))
    z, ladj = mapping(copied, direction)(x, context)
    z32, ladj32 = mapping(single, direction)(x.float(), None if context is None else context.float())
    torch.testing.assert_close(z32.double(), z, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(ladj32.double(), ladj, atol=5e-3, rtol=5e-3)


@every_case
@both_ways
@pytest.mark.parametrize("batch", [(), (3,), (3, 7), (0,), (2, 0)], ids=str)
def test_any_batch_shape(name, direction, batch):
    case = CASES[name]
    bijection = built(case)
    shape_out = event_sizes(case, direction)[1]
    value, ladj = mapping(bijection, direction)(points(case, direction, batch), contexts(case, batch))
    assert value.shape == (*batch, *shape_out)
    assert ladj.shape == batch
    assert torch.isfinite(value).all()
    assert torch.isfinite(ladj).all()


@every_case
@both_ways
def test_one_by_one_equals_batched(name, direction):
    case = CASES[name]
    bijection = built(case)
    x, context = points(case, direction, (2, 3)), contexts(case, (2, 3))
    value, ladj = mapping(bijection, direction)(x, context)
    for i, j in [(0, 0), (0, 2), (1, 1)]:
        one, ladj_one = mapping(bijection, direction)(x[i, j], None if context is None else context[i, j])
        torch.testing.assert_close(one, value[i, j], **EXACT)
        torch.testing.assert_close(ladj_one, ladj[i, j], **EXACT)


@every_case
@both_ways
def test_memory_layout_does_not_matter(name, direction):
    case = CASES[name]
    bijection = built(case)
    x, context = points(case, direction, (4,)), contexts(case, (4,))
    value, ladj = mapping(bijection, direction)(x, context)
    strided = torch.stack([x, x], -1)[..., 0]
    backwards = x.movedim(0, -1).contiguous().movedim(-1, 0)
    for layout in (strided, backwards):
        again, ladj_again = mapping(bijection, direction)(layout, context)
        torch.testing.assert_close(again, value, **EXACT)
        torch.testing.assert_close(ladj_again, ladj, **EXACT)
    expanded, ladj_expanded = mapping(bijection, direction)(
        x[:1].expand_as(x), None if context is None else context[:1].expand_as(context)
    )
    torch.testing.assert_close(expanded, value[:1].expand_as(value), **EXACT)
    torch.testing.assert_close(ladj_expanded, ladj[:1].expand_as(ladj), **EXACT)


@every_case
@both_ways
def test_the_input_is_not_changed(name, direction):
    case = CASES[name]
    bijection = built(case)
    x, context = points(case, direction, (4,)), contexts(case, (4,))
    before = x.clone()
    mapping(bijection, direction)(x, context)
    assert torch.equal(x, before)


@every_case
@both_ways
def test_context_rules(name, direction):
    case = CASES[name]
    bijection = built(case)
    transform, x = mapping(bijection, direction), points(case, direction, (4, 3))
    if not case.context:
        value, ladj = transform(x)
        for ignored in (torch.randn(4, 3, 2).double(), torch.randn(7)):
            assert torch.equal(transform(x, ignored)[0], value)
            assert torch.equal(transform(x, ignored)[1], ladj)
        return
    with pytest.raises(ShapeError, match=rf"\(4, 3, {case.context}\).*none"):
        transform(x)
    with pytest.raises(ShapeError, match=rf"\(4, 3, {case.context}\).*\(4, 3, {case.context + 1}\)"):
        transform(x, torch.zeros(4, 3, case.context + 1).double())
    with pytest.raises(ShapeError, match=rf"\(4, 3, {case.context}\).*\(5, 3, {case.context}\)"):
        transform(x, torch.zeros(5, 3, case.context).double())
    with pytest.raises(ShapeError, match=rf"\(4, 3, {case.context}\).*\(1, 4, 3, {case.context}\)"):
        transform(x, torch.zeros(1, 4, 3, case.context).double())
    one = contexts(case, ())
    value, ladj = transform(x, one)
    rows, ladj_rows = transform(x, one.expand(4, 3, case.context))
    torch.testing.assert_close(value, rows, **EXACT)
    torch.testing.assert_close(ladj, ladj_rows, **EXACT)


@every_case
def test_a_conditional_map_depends_on_its_context(name):
    case = CASES[name]
    bijection, x = built(case), inputs(case, (8,))
    if case.context:
        first, second = (bijection.forward(x, contexts(case, (8,))) for _ in range(2))
        assert not torch.allclose(first, second)


@every_case
@both_ways
def test_gradients(name, direction):
    case = CASES[name]
    bijection = built(case)
    x, context = points(case, direction, (2,)), contexts(case, (2,))
    check_gradients(torch.autograd.gradcheck, bijection, direction, x, context)


@every_case
@both_ways
def test_second_gradients(name, direction):
    case = CASES[name]
    bijection = built(case)
    x, context = points(case, direction, (1,)), contexts(case, (1,))
    check_gradients(torch.autograd.gradgradcheck, bijection, direction, x, context)


def check_gradients(
    check: Callable[..., bool], bijection: Bijection, direction: str, x: Tensor, context: Tensor | None
):
    """Compare gradients with respect to data, context and all parameters with finite differences."""
    names = [name for name, parameter in bijection.named_parameters() if parameter.requires_grad]
    values = [parameter.detach().clone().requires_grad_() for _, parameter in bijection.named_parameters()]
    extra = [] if context is None else [context.requires_grad_()]

    def function(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        given, parameters = (rest[0], rest[1:]) if extra else (None, rest)
        state = dict(zip(names, parameters, strict=True))
        module = _Called(bijection, direction)
        outputs = torch.func.functional_call(
            module, {f"bijection.{key}": value for key, value in state.items()}, (x, given)
        )
        # A constant ladj has no graph: adding nothing of x gives every output one.
        return tuple(output + 0 * x.sum() for output in outputs)

    assert check(function, (x.requires_grad_(), *extra, *values), fast_mode=True, atol=1e-5, rtol=1e-3)


class _Called(nn.Module):
    """One direction of a bijection as the forward of a module, for tools that only know forward."""

    def __init__(self, bijection: Bijection, direction: str) -> None:
        super().__init__()
        self.bijection, self.direction = bijection, direction

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return mapping(self.bijection, self.direction)(x, context)


@every_case
@both_ways
def test_saved_state_restores_the_map_bit_by_bit(name, direction):
    """Built under another seed: a permutation or mask that is not in the state would differ."""
    case = CASES[name]
    bijection = built(case, seed=1)
    x, context = points(case, direction, (5,)), contexts(case, (5,))
    torch.manual_seed(2)
    fresh = case.make().double()
    fresh.load_state_dict(bijection.state_dict())
    for expected, restored in zip(
        mapping(bijection, direction)(x, context), mapping(fresh, direction)(x, context), strict=True
    ):
        assert torch.equal(expected, restored)


@every_case
def test_a_deep_copy_is_equal_and_independent(name):
    case = CASES[name]
    bijection = built(case)
    x, context = inputs(case, (5,)), contexts(case, (5,))
    before = bijection.forward(x, context)
    twin = copy.deepcopy(bijection)
    assert torch.equal(twin.forward(x, context), before)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    assert torch.equal(bijection.forward(x, context), before)


@every_case
def test_pickle_for_worker_processes(name):
    case = CASES[name]
    bijection, x, context = built(case), inputs(case, (5,)), contexts(case, (5,))
    twin = pickle.loads(pickle.dumps(bijection))  # noqa: S301 (our own bytes)
    assert torch.equal(twin.forward(x, context), bijection.forward(x, context))


@every_case
def test_every_tensor_is_a_parameter_or_a_buffer(name):
    """Anything else would stay behind on `.to(device)` and be missing in a saved model."""
    bijection = CASES[name].make()
    assert list(loose_tensors(bijection)) == []
    for _, buffer in bijection.to("meta").named_buffers():
        assert buffer.device.type == "meta"


def loose_tensors(module: nn.Module) -> Iterator[str]:
    for path, child in module.named_modules():
        for key, value in vars(child).items():
            if key in ("_parameters", "_buffers", "_modules"):
                continue
            held = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
            if any(isinstance(item, Tensor) for item in held):
                yield f"{path}.{key}"


@every_case
def test_a_map_shows_itself(name):
    assert type(CASES[name].make()).__name__ in repr(CASES[name].make())


def extreme_rows(case: Case, direction: str, values: tuple[float, ...]) -> Tensor:
    """Rows of one extreme value, and ordinary rows with an extreme first number."""
    filled = torch.stack([torch.full(event_sizes(case, direction)[0], value, dtype=torch.float64) for value in values])
    single = points(case, direction, (len(values),))
    single.flatten(1)[:, 0] = torch.tensor(values, dtype=torch.float64)
    return torch.cat([filled, single])


@every_case
@both_ways
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_extreme_inputs_give_finite_values_and_gradients(name, direction, dtype):
    case = CASES[name]
    bijection = built(case).to(dtype)
    values = case.extremes if direction == "forward" else case.latent_extremes
    x = extreme_rows(case, direction, values).to(dtype).requires_grad_()
    context = contexts(case, (len(x),))
    value, ladj = mapping(bijection, direction)(x, None if context is None else context.to(dtype))
    assert torch.isfinite(value).all()
    assert torch.isfinite(ladj).all()
    # The mean, not the sum of 1e30s: the gradient of the test's own reduction must not be what overflows.
    loss = value.mean() + ladj.mean()
    if loss.requires_grad:
        loss.backward()
        assert torch.isfinite(x.grad).all()
        for key, parameter in bijection.named_parameters():
            assert parameter.grad is None or torch.isfinite(parameter.grad).all(), key


@every_case
@both_ways
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf], ids=str)
def test_a_bad_row_spoils_no_other(name, direction, bad):
    case = CASES[name]
    bijection = built(case)
    x, context = points(case, direction, (5,)), contexts(case, (5,))
    value, ladj = mapping(bijection, direction)(x, context)
    x = x.clone()
    x[2].flatten()[0] = bad
    spoiled, ladj_spoiled = mapping(bijection, direction)(x, context)
    others = [0, 1, 3, 4]
    torch.testing.assert_close(spoiled[others], value[others], **EXACT)
    torch.testing.assert_close(ladj_spoiled[others], ladj[others], **EXACT)
    if bad != bad:
        assert spoiled[2].isnan().any()


# They act on numbers or pixels one by one: any number of features is right.
ANY_WIDTH = ("log", "log/lower", "logit", "logit/interval", "wrap", "wrap/degrees", "inverse/log", "squeeze")


@pytest.mark.parametrize("name", [name for name in CASES if name not in ANY_WIDTH])
@both_ways
def test_an_event_of_another_shape_is_an_error(name, direction):
    """Broadcasting or index_select would return numbers that are wrong."""
    case = CASES[name]
    bijection, shape = built(case), event_sizes(case, direction)[0]
    for width in (shape[0] + 1, shape[0] + 4):
        wrong = torch.full((4, width, *shape[1:]), 0.5).double()
        with pytest.raises((ShapeError, RuntimeError)):
            mapping(bijection, direction)(wrong, contexts(case, (4,)))

"""Heads, discrete columns and mixed tables: SciPy, sums over every code and chi-square tests as oracles."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from bijecta.distributions import (
    CategoricalHead,
    CountHead,
    Dequantised,
    DiagonalNormal,
    Discrete,
    Distribution,
    Mixed,
    Normal,
)
from bijecta.errors import InputError, ShapeError
from bijecta.flows import Flow, inner_flow, inner_rows, nsf
from contract.table import perturb

BOUNDS = {"open": (None, None), "low": (0, None), "high": (None, 9), "closed": (-2, 11), "one value": (4, 4)}


def started(head: CountHead, params: Tensor) -> np.ndarray:
    """Return the mixture's probabilities of -3000 ... 3000 by SciPy, in float64."""
    numbers = np.arange(-3000, 3001)
    *rest, shift = params.double().numpy()
    logits, mean, log_scale = np.reshape(rest, (3, -1))
    mean = float(head.centre) + float(head.spread) * (mean + shift)
    scale = float(head.spread) * np.exp(20 * np.tanh(log_scale / 20))
    weight = np.exp(logits - logits.max())
    upper = stats.logistic.cdf(numbers[:, None] + 0.5, mean, scale)
    lower = stats.logistic.cdf(numbers[:, None] - 0.5, mean, scale)
    upper, lower = (np.where(numbers[:, None] == head.high, 1, upper), np.where(numbers[:, None] == head.low, 0, lower))
    inside = (numbers >= head.low) & (numbers <= head.high)
    return inside * ((upper - lower) * weight / weight.sum()).sum(1)


@pytest.mark.parametrize("bounds", BOUNDS)
def test_a_count_head_is_a_mixture_of_logistics_in_bins(bounds):
    torch.manual_seed(0)
    head = CountHead(*BOUNDS[bounds], components=4).double()
    head.measure(torch.tensor([1.0, 3.0, 8.0, 9.0]).double())
    params = 0.7 * torch.randn(13).double()
    numbers = torch.arange(-3000.0, 3001.0).double()
    found = head.log_prob(numbers, params.expand(len(numbers), -1)).exp().numpy()
    np.testing.assert_allclose(found, started(head, params), atol=1e-13)
    assert found.sum() == pytest.approx(1, abs=1e-9)


def test_a_count_head_is_exact_in_both_tails_in_float32():
    """SciPy's cdf and sf, each on the side where it does not cancel, against float32, out to probabilities of 1e-30."""
    head, params = CountHead(components=1), torch.tensor([0.0, 0.1, 0.2, 0.2])
    log_prob = head.log_prob(torch.tensor([-80.0, -10.0, 0.0, 10.0, 80.0]), params.expand(5, -1)).numpy()
    numbers, scale = np.array([-80.0, -10.0, 0.0, 10.0, 80.0]), np.exp(20 * np.tanh(0.2 / 20))
    low, high = (stats.logistic(0.3, scale).logsf(np.abs(numbers - 0.3) + 0.3 + side) for side in (-0.5, 0.5))
    expected = low + np.log1p(-np.exp(high - low))
    expected[2] = np.log(np.diff(stats.logistic.cdf([-0.5, 0.5], 0.3, scale))[0])
    np.testing.assert_allclose(log_prob, expected, rtol=2e-5)
    assert log_prob[0] < -60


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_gradients_of_a_count_head_are_finite_everywhere(scale):
    head, x = CountHead(low=0), scale * torch.rand(100)
    head.measure(x)
    params = head.start(x).requires_grad_()
    numbers = torch.tensor([0.0, 1.0, 1e3, 1e6, 1e12, -1.0, 0.5])
    log_prob = head.log_prob(numbers, params.expand(7, -1))
    assert not log_prob.isnan().any()
    assert log_prob[-2:].tolist() == [-torch.inf, -torch.inf]
    (gradient,) = torch.autograd.grad(log_prob[:5].clamp_min(-1e30).sum(), params)
    assert gradient.isfinite().all()


def test_categories_start_with_the_frequencies_after_laplace():
    head = CategoricalHead(3, low=5)
    params = head.start(torch.tensor([5.0, 5.0, 6.0]))
    found = head.log_prob(torch.tensor([5.0, 6.0, 7.0, 8.0, 5.5]), params.expand(5, -1)).exp()
    torch.testing.assert_close(found, torch.tensor([3 / 6, 2 / 6, 1 / 6, 0.0, 0.0]))


def test_counts_start_near_their_marginal():
    """Before any training, the cross entropy is close to the entropy of the counts, which SciPy has by summation."""
    rng = np.random.default_rng(0)
    for law in (stats.poisson(30), stats.poisson(3), stats.nbinom(5, 0.1)):
        x = torch.as_tensor(law.rvs(4000, random_state=rng), dtype=torch.float32)
        head = CountHead(low=0)
        head.measure(x)
        nll = -head.log_prob(x, head.start(x).expand(len(x), -1)).mean()
        assert float(nll) == pytest.approx(law.entropy(), abs=0.15)


HEADS = {
    "categories": lambda: [CategoricalHead(3), CategoricalHead(2), CategoricalHead(4, low=-1)],
    "counts": lambda: [CountHead(0, 4, components=2), CategoricalHead(3), CountHead(-2, 3, components=3)],
    "alone": lambda: [CountHead(0, 6, components=2)],
}
SUPPORT = {
    "categories": [range(3), range(2), range(-1, 3)],
    "counts": [range(5), range(3), range(-2, 4)],
    "alone": [range(7)],
}


def codes_of(name: str) -> Tensor:
    return torch.tensor(list(itertools.product(*SUPPORT[name])), dtype=torch.float64)


def discrete(name: str, context: int = 0) -> Discrete:
    torch.manual_seed(4)
    made = Discrete(HEADS[name](), context=context, hidden=(8,)).double()
    x = codes_of(name)
    made.initialise(x, torch.randn(len(x), context).double() if context else None)
    return perturb(made)


def mixed(continuous: Distribution | None = None, context: int = 0) -> Mixed:
    heads = discrete("categories", context)
    flow = continuous or nsf(1, layers=2, hidden=(8,), context=heads.width + context)
    whole = Mixed(heads, flow, columns=([3, 0, 1], [2])).double()
    x = codes_of("categories")[:, [1, 2, 0, 0]]
    x[:, 2] = torch.randn(len(x)).double()
    whole.initialise(x, torch.randn(len(x), context).double() if context else None)
    return perturb(whole)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("context", [0, 2])
def test_all_probabilities_sum_to_one(name, context):
    made, x = discrete(name, context), codes_of(name)
    given = torch.tensor([0.3, -1.0]).double() if context else None
    assert made.log_prob(x, given).exp().sum().item() == pytest.approx(1, abs=1e-12)
    assert not made.is_bound


@pytest.mark.parametrize("context", [0, 2])
def test_a_mixed_density_integrates_to_one(context):
    """Every code of three discrete columns, times an integral over the continuous one."""
    made, given = mixed(context=context), torch.tensor([0.3, -1.0]).double() if context else None
    y = torch.linspace(-12, 12, 40_001).double()  # fine: splines have narrow bins
    rows = [torch.stack([b + 0 * y, c + 0 * y, y, a + 0 * y], 1) for a, b, c in codes_of("categories").tolist()]
    total = sum(torch.trapezoid(made.log_prob(x, given).exp(), y).item() for x in rows)
    assert total == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", HEADS)
def test_samples_have_their_probabilities(name):
    made, x = discrete(name, 2), codes_of(name)
    given = torch.tensor([0.3, -1.0]).double()
    drawn = made.sample(20_000, given, generator=torch.Generator().manual_seed(0))
    seen = (drawn[:, None] == x).all(-1).sum(0).double()
    expected = 20_000 * made.log_prob(x, given).exp()
    assert seen.sum() == 20_000
    many = expected > 5
    seen = torch.cat([seen[many], seen[~many].sum()[None]])
    expected = torch.cat([expected[many], expected[~many].sum()[None] + 1e-9])
    assert stats.chisquare(seen.detach().numpy(), expected.detach().numpy(), sum_check=False).pvalue > 1e-4


def test_samples_of_a_mixed_table_have_their_density():
    """Given each code, the latent of the continuous column is normal: a test of samples against log_prob's own map."""
    made = mixed()
    x = made.sample(3000, generator=torch.Generator().manual_seed(1))
    flow = inner_flow(made)
    z = flow.to_latent(*inner_rows(made, x)).detach().numpy().ravel()
    assert stats.kstest(z, "norm").pvalue > 1e-4
    codes = x[:, [3, 0, 1]]
    assert torch.equal(codes, codes.round())


def test_columns_depend_on_those_before_them_and_on_nothing_else():
    made = discrete("categories")
    x = codes_of("categories")
    single = made.log_prob(x).reshape(3, 2, 4).exp()
    first = made.heads[0].log_prob(x[:, 0], made.nets[0](x[:, :0])).exp().reshape(3, 2, 4)[:, 0, 0]
    torch.testing.assert_close(single.sum((1, 2)), first)
    conditional = single.sum(2) / single.sum((1, 2))[:, None]
    assert (conditional[0] - conditional[1]).abs().max() > 1e-2


@pytest.mark.parametrize("make", [lambda: discrete("counts", 2), lambda: mixed(context=2)])
@pytest.mark.parametrize(
    ("shape", "batch"), [((), ()), ((), (4,)), ((3,), ()), ((2, 3), (4,)), ((0,), (4,)), ((5,), (0,))]
)
def test_shapes(make, shape, batch):
    made, context = make(), torch.randn(*batch, 2).double()
    x, log_prob = made.sample_and_log_prob(shape, context)
    assert x.shape == (*shape, *batch, *made.event_shape)
    assert log_prob.shape == (*shape, *batch)
    assert log_prob.isfinite().all()
    assert made.float().sample(shape, context.float()).dtype == torch.float32


@pytest.mark.parametrize("make", [lambda: discrete("counts", 2), lambda: mixed(context=2)])
def test_one_graph_without_breaks(make):
    made, context = make(), torch.randn(6, 2).double()
    x = made.sample((), context).detach()
    compiled = torch.compile(made, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, context), made.log_prob(x, context))


def test_a_second_start_changes_nothing():
    made = mixed(context=2)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    made.initialise(torch.zeros(4, 4).double(), torch.zeros(4, 2).double())
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_a_bound_inside_makes_a_bound():
    made = mixed(Dequantised(nsf(1, layers=1, context=9), [0]))
    assert made.is_bound
    assert not Mixed(discrete("alone"), DiagonalNormal(1), columns=([0], [1])).is_bound
    assert isinstance(inner_flow(made), Flow)
    assert inner_flow(discrete("alone")) is None


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: CategoricalHead(0), InputError, "at least one value, got 0"),
        (lambda: CountHead(3, 2), InputError, "low <= high"),
        (lambda: CountHead(components=0), InputError, "components >= 1"),
        (lambda: Discrete([]), InputError, "at least one head"),
        (lambda: Mixed(discrete("alone"), Normal(1), columns=([0], [0])), InputError, "every column once"),
        (lambda: Mixed(discrete("alone"), Normal(1), columns=([0, 1], [2])), InputError, "1 discrete columns"),
        (lambda: discrete("alone").log_prob(torch.zeros(3, 2)), ShapeError, "1"),
        (lambda: mixed(context=2).log_prob(torch.zeros(3, 4).double()), ShapeError, "conditional"),
    ],
)
def test_errors_say_what_was_expected(make, error, message):
    with pytest.raises(error, match=message):
        make()

"""Tables of every kind of column: entropies known in closed form, shapes, files of before, what is inside."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

from bijecta.data import Column, Schema
from bijecta.distributions import CategoricalHead, CountHead, Dequantised, Discrete, Mixed
from bijecta.errors import InputError
from bijecta.flows import Flow, build, inner_flow, inner_rows, table
from bijecta.flows.tabular import column_head
from bijecta.persistence import load, save
from bijecta.training import FitConfig, fit

SORT = Column("sort", "category", dtype="str", categories=("a", "b", "c"))
COUNT, LEVEL = Column("count", "integer", low=0), Column("level", "integer", low=2, high=5)
NUMBER, MASS = Column("x", "real"), Column("mass", "positive")
ANGLE = Column("phi", "periodic", low=0.0, high=360.0)
TINY = {"layers": 2, "hidden": [8]}


def made(*columns, **options):
    torch.manual_seed(0)
    return table(Schema(columns).to_json(), **{"arguments": TINY, **options})


@pytest.mark.parametrize(
    ("columns", "options", "kind", "bound"),
    [
        ((NUMBER, MASS), {}, Flow, False),
        ((NUMBER, COUNT), {}, Mixed, False),
        ((NUMBER, COUNT), {"integers": "dequantised"}, Dequantised, True),
        ((SORT, COUNT), {"integers": "dequantised"}, Mixed, True),
        ((SORT, COUNT, LEVEL), {}, Discrete, False),
        ((SORT, ANGLE, MASS), {}, Mixed, False),
    ],
)
@pytest.mark.parametrize("context", [0, 2])
def test_every_combination_works(columns, options, kind, bound, context):
    flow = made(*columns, context=context, **options)
    assert isinstance(flow, kind)
    assert (flow.is_bound, flow.context, flow.event_shape) == (bound, context, (len(columns),))
    given = torch.randn(5, context) if context else None
    x = flow.sample((4,) if context else (4, 5), given)
    assert flow.log_prob(x, given).shape == (4, 5)
    flow.initialise(x.reshape(20, -1), None if given is None else given.repeat(4, 1))
    assert flow.log_prob(x, given).isfinite().all()
    assert table(**json.loads(json.dumps(flow.recipe["arguments"]))).recipe == flow.recipe


@pytest.mark.parametrize(
    ("column", "kind", "params"),
    [
        (SORT, CategoricalHead, 3),
        (LEVEL, CategoricalHead, 4),
        (COUNT, CountHead, 31),
        (Column("n", "integer"), CountHead, 31),
        (Column("n", "integer", low=0, high=1000), CountHead, 31),
    ],
)
def test_heads_suit_their_columns(column, kind, params):
    head = column_head(column)
    assert isinstance(head, kind)
    assert head.n_params == params


def test_a_known_process_is_learned_to_within_0_02_nats():
    """A category, a count and a number, each given those before; the entropies are sums and integrals by SciPy."""
    rng, rows = np.random.default_rng(0), 12_000
    share, rate = np.array([0.5, 0.3, 0.2]), np.array([2.0, 8.0, 25.0])

    def draw(count):
        sort = rng.choice(3, count, p=share)
        number = rng.poisson(rate[sort])
        return sort, number, rng.normal(0.4 * number - sort, 0.5 + 0.5 * sort)

    def exact(sort, number, x):
        density = stats.norm.logpdf(x, 0.4 * number - sort, 0.5 + 0.5 * sort)
        return np.log(share[sort]) + stats.poisson.logpmf(number, rate[sort]) + density

    parts = stats.poisson.entropy(rate) + stats.norm.entropy(scale=0.5 + 0.5 * np.arange(3))
    entropy = stats.entropy(share) + share @ parts
    test = draw(20_000)
    assert -exact(*test).mean() == pytest.approx(entropy, abs=0.03)  # the oracle is the process
    flow = made(NUMBER, SORT, COUNT, arguments={"layers": 2, "hidden": [32], "bins": 8})
    columns = np.column_stack(draw(rows))[:, [2, 0, 1]]
    fit(flow, columns, config=FitConfig(epochs=25, seed=0))
    with torch.no_grad():
        log_prob = flow.log_prob(torch.as_tensor(np.column_stack(test)[:, [2, 0, 1]], dtype=torch.float32))
    gap = (exact(*test) - log_prob.double().numpy()).mean()
    assert -0.003 < gap < 0.02


def test_a_fresh_start_is_the_gaussian_around_a_linear_prediction():
    """Ordinary least squares by NumPy; the ridge of one row is far below the tolerance."""
    rng = np.random.default_rng(0)
    level = rng.integers(2, 6, 4000)
    x = 3.0 * (level == 2) - 2.0 * level + rng.normal(size=4000)
    flow = made(LEVEL, NUMBER)
    rows = torch.as_tensor(np.column_stack([level, x]), dtype=torch.float32)
    flow.initialise(rows)
    design = (level[:, None] == np.arange(2, 6)).astype(float)
    left = x - design @ np.linalg.lstsq(design, x, rcond=None)[0]
    expected = stats.norm.logpdf(left, scale=left.std()) + np.log((np.bincount(level, minlength=6)[level] + 1) / 4004)
    np.testing.assert_allclose(flow.log_prob(rows).detach().numpy(), expected, atol=0.02)


def test_a_file_from_before_keeps_its_noise(tmp_path):
    """A recipe recorded without ``integers`` was dequantised, and is."""
    old = made(NUMBER, COUNT, integers="dequantised")
    del old.recipe["arguments"]["integers"]
    save(old, tmp_path / "old.safetensors")
    found = load(tmp_path / "old.safetensors")
    assert isinstance(found, Dequantised)
    x = torch.tensor([[0.5, 3.0]])
    torch.manual_seed(1)
    before = old.log_prob(x)
    torch.manual_seed(1)
    assert torch.equal(found.log_prob(x), before)


@pytest.mark.parametrize("context", [0, 2])
def test_mixed_tables_are_saved_and_loaded(tmp_path, context):
    flow = made(NUMBER, COUNT, SORT, LEVEL, context=context)
    given = torch.randn(50, context) if context else None
    x = flow.sample(() if context else 50, given)
    flow.initialise(x, given)
    save(flow, tmp_path / "mixed.safetensors")
    found = load(tmp_path / "mixed.safetensors")
    assert torch.equal(found.log_prob(x, given), flow.log_prob(x, given))
    found.initialise(torch.zeros_like(x), given)
    assert torch.equal(found.log_prob(x, given), flow.log_prob(x, given))


def test_what_the_flow_inside_sees():
    flow = made(NUMBER, SORT, COUNT, integers="dequantised", context=1)
    x = torch.tensor([[0.5, 2.0, 7.0]])
    rows, given = inner_rows(flow, x, torch.tensor([[4.0]]), generator=torch.Generator().manual_seed(0))
    assert rows[0, 0] == 0.5
    assert 7 <= rows[0, 1] < 8
    assert given.tolist() == [[0.0, 0.0, 1.0, 4.0]]
    assert inner_flow(flow).log_prob(rows, given).isfinite().all()


def test_impossible_choices_are_explained():
    with pytest.raises(InputError, match="integers to be one of exact, dequantised; got 'noise'"):
        made(COUNT, integers="noise")
    with pytest.raises(InputError, match="'sort' has no labels"):
        build("table", {"schema": {"columns": [{"name": "sort", "kind": "category"}]}})

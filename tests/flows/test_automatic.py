"""recipe="auto": the rules, the reasons, and that a model remembers what was chosen, not that it was."""

import pytest
import torch

from bijecta.data import Column, Schema
from bijecta.errors import InputError
from bijecta.flows import Choice, build, choose_recipe, table
from bijecta.persistence import load, read_header, save

REAL = Schema(tuple(Column(name, "real") for name in "abcd"))
MIXED = Schema((Column("a", "real"), Column("b", "positive"), Column("k", "integer", low=0)))


@pytest.mark.parametrize(
    ("kinds", "rows", "fast", "recipe", "because"),
    [
        (["real"] * 4, 5_000, "density", "nsf_autoregressive", "4 columns better"),
        (["real"] * 4, None, "density", "nsf_autoregressive", "4 columns better"),
        (["real"] * 4, 5_000, "sampling", "nsf", "one after another"),
        (["real"] * 4, 5_000, "both", "nsf", "one after another"),
        (["real"] * 4, 200, "density", "nsf", "200 rows"),
        (["real"] * 2, 5_000, "density", "nsf", "two columns"),
        (["real", "category", "integer"], 5_000, "density", "nsf", "one column"),
        (["category"], 5_000, "density", "nsf", "no column"),
        (["real", "positive", "interval", "periodic"], 5_000, "density", "nsf", "periodic"),
    ],
)
def test_the_rules_and_their_reasons(kinds, rows, fast, recipe, because):
    choice = choose_recipe(kinds, rows, fast=fast)
    assert choice.recipe == recipe
    assert because in choice.reasons[0]
    assert all(reason.endswith(".") for reason in choice.reasons)
    assert isinstance(choice, Choice)
    build(choice.recipe, {"features": 4, **choice.arguments})


def test_a_schema_its_json_and_its_kinds_mean_the_same():
    ways = MIXED, MIXED.to_json(), [column.kind for column in MIXED.columns]
    assert len({choose_recipe(way, 3_000, context=1).reasons for way in ways}) == 1


@pytest.mark.parametrize(
    ("kinds", "options", "message"),
    [
        (["real", "angle"], {}, "one of real"),
        ([], {}, "expects kinds"),
        (["real"], {"fast": "training"}, "density, sampling, both"),
        (["real"], {"context": -1}, "0 or more"),
    ],
)
def test_what_cannot_be_chosen_for(kinds, options, message):
    with pytest.raises(InputError, match=message):
        choose_recipe(kinds, 100, **options)


@pytest.mark.parametrize(("schema", "recipe"), [(REAL, "nsf_autoregressive"), (MIXED, "nsf")])
def test_a_table_records_the_choice(schema, recipe, tmp_path):
    torch.manual_seed(0)
    chosen = table(schema.to_json(), recipe="auto", arguments={"layers": 2})
    torch.manual_seed(0)
    named = table(schema.to_json(), recipe=recipe, arguments={"layers": 2})
    assert chosen.recipe == named.recipe
    x = torch.ones(3, len(schema.columns))
    assert torch.equal(chosen.log_prob(x), named.log_prob(x))
    save(chosen, tmp_path / "model.safetensors")
    assert read_header(tmp_path / "model.safetensors")["recipe"]["arguments"]["recipe"] == recipe
    assert torch.equal(load(tmp_path / "model.safetensors").log_prob(x), chosen.log_prob(x))

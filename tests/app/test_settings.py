"""Settings as links and as JSON: what goes out comes back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bijecta.app.controls import recipes_of_the_plane
from bijecta.app.settings import OPENING, RunSettings
from bijecta.data import TOYS
from bijecta.errors import InputError

settings = st.builds(
    RunSettings,
    recipe=st.sampled_from(recipes_of_the_plane()),
    arguments=st.fixed_dictionaries({}, optional={"hidden": st.lists(st.integers(1, 99), min_size=1, max_size=3)}),
    data=st.sampled_from([*TOYS]),
    rows=st.integers(10, 5000),
    training=st.fixed_dictionaries(
        {},
        optional={
            "learning_rate": st.one_of(st.none(), st.floats(1e-6, 10)),
            "epochs": st.integers(1, 500),
            "batch_size": st.integers(1, 999),
        },
    ),
    seed=st.integers(0, 2**31),
)


@given(settings)
def test_links_and_json_are_lossless(wanted):
    assert RunSettings.from_query(wanted.to_query()) == wanted
    assert RunSettings.from_json(json.loads(json.dumps(wanted.to_json()))) == wanted


def test_the_opening_run_needs_no_link():
    assert OPENING.to_query() == {}
    assert RunSettings.from_query({}) == OPENING
    assert RunSettings.from_query({"embed": "true"}) == OPENING, "parameters of others are ignored"


def test_a_link_with_one_change_changes_the_opening_run():
    changed = RunSettings.from_query({"data": "rings", "noise": "0.1"})
    assert (changed.data, changed.noise, changed.recipe) == ("rings", 0.1, OPENING.recipe)
    assert changed.arguments == OPENING.arguments


def test_defaults_are_not_written():
    assert RunSettings("maf", {"layers": 5}, noise=0.2).to_query() == {"recipe": "maf"}
    assert RunSettings("maf", {"layers": 5}).to_json() == {"recipe": "maf"}


def test_another_recipe_starts_from_its_own_defaults():
    assert OPENING.with_recipe("maf").arguments == {}
    assert OPENING.with_recipe(OPENING.recipe) is OPENING


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"recipe": "nfs"}, "no recipe 'nfs'"),
        ({"layers": "x"}, "layers expects a whole number"),
        ({"data": "moon"}, "Did you mean moons"),
        ({"rows": "3"}, "10 to 200000 rows"),
        ({"learning_rate": "-1"}, "learning_rate in"),
        ({"base": "cauchy"}, "base is one of normal"),
        ({"noise": "-2"}, "noise level must be positive"),
    ],
)
def test_an_impossible_link_says_what_is_wrong(query, message):
    with pytest.raises(InputError, match=message):
        RunSettings.from_query(query)


def test_unknown_names_in_json_are_refused():
    with pytest.raises(InputError, match="have no colour"):
        RunSettings.from_json({"recipe": "nsf", "colour": "red"})
    with pytest.raises(InputError, match="no setting layer"):
        RunSettings("nsf", {"layer": 3})

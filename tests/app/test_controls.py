"""Controls come from signatures and docstrings alone."""

import inspect

import pytest

from bijecta.app.controls import recipe_controls, recipes_of_the_plane, title_of, training_controls
from bijecta.errors import InputError
from bijecta.flows import RECIPES, Flow, build


@pytest.mark.parametrize("recipe", recipes_of_the_plane())
def test_every_recipe_offered_builds_a_flow_of_the_plane(recipe):
    flow = build(recipe, {"features": 2})
    assert isinstance(flow, Flow)
    assert flow.event_shape == (2,)
    assert title_of(recipe)[0].isupper()
    assert not title_of(recipe).startswith("Build")


def test_what_makes_no_flow_of_the_plane_is_left_out():
    assert not {"table", "glow_image", "circular_nsf"} & set(recipes_of_the_plane())
    assert len(recipes_of_the_plane()) >= 8


@pytest.mark.parametrize("recipe", recipes_of_the_plane())
def test_controls_are_the_arguments_with_their_defaults_and_help(recipe):
    controls = recipe_controls(recipe)
    parameters = inspect.signature(RECIPES[recipe]).parameters
    assert list(controls) == [name for name in parameters if name not in ("features", "context")]
    for name, control in controls.items():
        assert control.default == parameters[name].default
        assert control.help
        assert control.read(control.write(control.default)) == control.default


@pytest.mark.parametrize("recipe", recipes_of_the_plane())
def test_every_option_of_a_docstring_is_one_that_the_recipe_takes(recipe):
    """The recipe itself is the oracle: a word that is none of its options makes it raise."""
    for name, control in recipe_controls(recipe).items():
        assert (control.kind == "choice") == isinstance(control.default, str)
        for option in control.options:
            build(recipe, {"features": 2, name: option})


def test_training_controls_are_settings_of_fit():
    controls = training_controls()
    assert controls["learning_rate"].optional
    assert controls["learning_rate"].read("auto") is None
    assert controls["epochs"].kind == "count"
    assert "max_seconds" not in controls


def test_what_cannot_be_read_says_what_was_expected():
    with pytest.raises(InputError, match="layers expects a whole number, got 'many'"):
        recipe_controls("nsf")["layers"].read("many")
    with pytest.raises(InputError, match="no recipe 'nfs'"):
        recipe_controls("nfs")

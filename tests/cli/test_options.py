"""Options, settings and the command that repeats them."""

import inspect
import shlex
from collections.abc import Sequence
from dataclasses import fields

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from bijecta.cli.options import FitOptions, did_you_mean, split_pairs
from bijecta.cli.settings import convert, parse_settings, recipe_settings, usable_recipes
from bijecta.flows import RECIPES
from bijecta.training import FitConfig


def test_defaults_are_those_of_the_library():
    shared = {each.name for each in fields(FitConfig)} & {each.name for each in fields(FitOptions)}
    assert shared >= {"epochs", "batch_size", "learning_rate", "patience", "max_seconds", "seed", "validation_fraction"}
    assert all(getattr(FitOptions("moons"), name) == getattr(FitConfig(), name) for name in shared)


def test_settings_go_to_the_recipe_or_to_the_training():
    words = ["layers=5", "hidden=16,8", "bound=4", "spline=cubic", "ema=0.5", "steps_per_epoch=7", "batch_size=32"]
    arguments, config = parse_settings(FitOptions("moons", set=words, epochs=3))
    assert arguments == {"layers": 5, "hidden": [16, 8], "bound": 4.0, "spline": "cubic"}
    assert (config.ema, config.steps_per_epoch, config.batch_size, config.epochs) == (0.5, 7, 32, 3)


@pytest.mark.parametrize("name", usable_recipes())
def test_every_setting_of_every_recipe_can_be_written(name):
    defaults = {key: each.default for key, each in recipe_settings(name).items()}
    words = [
        f"{key}={','.join(map(str, value)) if isinstance(value, tuple) else value}" for key, value in defaults.items()
    ]
    arguments, _ = parse_settings(FitOptions("moons", recipe=name, set=words))
    assert {key: tuple(v) if isinstance(v, list) else v for key, v in arguments.items()} == defaults
    RECIPES[name](features=3, **arguments)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"set": ["layer=3"]}, "Did you mean layers?"),
        ({"set": ["learning_rates=3"]}, "Did you mean learning_rate?"),
        ({"set": ["layers=three"]}, "layers expects a whole number, got 'three'"),
        ({"set": ["hidden=64;64"]}, "hidden expects a whole number, or several with commas"),
        ({"set": ["ema=much"]}, "ema expects a number"),
        ({"set": ["layers"]}, "expected name=value, got 'layers'"),
        ({"set": ["features=3"]}, "there is no setting 'features'"),
        ({"recipe": "nfs"}, "Did you mean nsf?"),
        ({"recipe": "glow_image"}, "no recipe 'glow_image' for tables"),
        ({"epochs": 0}, "FitConfig expects epochs"),
    ],
)
def test_what_is_wrong_is_named(options, said):
    with pytest.raises(typer.BadParameter) as caught:
        parse_settings(FitOptions("moons", **options))
    assert said in str(caught.value)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers())
def test_numbers_survive_as_text(number, integer):
    assert convert("a", repr(number), float) == number
    assert convert("a", str(integer), int | None) == integer
    assert convert("a", f"{number!r},{number!r}", Sequence[float]) == [number] * 2
    assert convert("a", "None", Sequence[float] | None) is None


@pytest.mark.parametrize(("text", "value"), [("true", True), ("No", False), ("1", True)])
def test_switches(text, value):
    assert convert("a", text, bool) is value
    with pytest.raises(typer.BadParameter, match="true or false"):
        convert("a", "perhaps", bool)


def test_the_command_that_resumes_says_the_same():
    given = FitOptions("my data.csv", columns=["a", "b c"], recipe="maf", set=["layers=3"], epochs=7, noise=0.3)
    words = shlex.split(given.command())
    assert words[:3] == ["bijecta", "fit", "my data.csv"]
    assert words[3:-1] == [
        *("--columns", "a", "--columns", "b c", "--noise", "0.3", "--recipe", "maf", "--set", "layers=3"),
        *("--epochs", "7"),
    ]
    assert words[-1] == "--resume"
    assert "--validation 0.2" in FitOptions("moons", validation_fraction=0.2).command()


def test_pairs_and_hints():
    assert split_pairs(["a=b=c", " x = 1"], "--set") == {"a": "b=c", "x": "1"}
    assert did_you_mean("layer", ["layers"]) == " Did you mean layers?"
    assert did_you_mean("zzz", ["layers"]) == ""


def test_the_signature_comes_from_the_dataclass():
    from bijecta.cli.options import command_of

    command = command_of(FitOptions, lambda _: None)
    assert list(inspect.signature(command).parameters) == [each.name for each in fields(FitOptions)]

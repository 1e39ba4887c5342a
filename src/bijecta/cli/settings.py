"""From words on the command line to arguments of a recipe and settings of the training."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import typer

from bijecta.cli.console import tell
from bijecta.cli.options import FitOptions, did_you_mean, split_pairs
from bijecta.cli.problem import Problem
from bijecta.errors import InputError
from bijecta.flows import RECIPES, choose_recipe
from bijecta.flows.automatic import AUTO
from bijecta.training import FitConfig

FROM_DATA = ("features", "context", "circular")


def recipe_settings(name: str) -> dict[str, inspect.Parameter]:
    """Return the arguments of a recipe that a user may set; the others follow from the data."""
    if name not in usable_recipes():
        raise typer.BadParameter(
            f"there is no recipe {name!r} for tables.{did_you_mean(name, usable_recipes())} "
            f"Recipes: {', '.join(usable_recipes())}.",
            param_hint="--recipe",
        )
    parameters = inspect.signature(RECIPES[name]).parameters
    return {key: value for key, value in parameters.items() if key not in FROM_DATA}


def usable_recipes() -> list[str]:
    """Return the recipes that make a flow of columns."""
    return [name for name, make in RECIPES.items() if "features" in inspect.signature(make).parameters]


def parse_settings(options: FitOptions) -> tuple[dict[str, Any], FitConfig]:
    """Sort the words of --set into arguments of the recipe and settings of the training.

    Raises:
        typer.BadParameter: a name is unknown, or a value is of the wrong type or out of its range.
    """
    recipe = "nsf" if options.recipe == AUTO else options.recipe  # what is chosen later takes the same arguments
    known, hints = recipe_settings(recipe), get_type_hints(inspect.unwrap(RECIPES[recipe]))
    training = {name: getattr(options, name) for name in get_type_hints(FitConfig) if hasattr(options, name)}
    types = {name: hints[name] for name in known}
    return sort_settings(options.set, types, training, lambda name: _unknown(name, recipe, known))


def sort_settings(
    words: Sequence[str], types: Mapping[str, Any], training: Mapping[str, Any], unknown: Callable[[str], str]
) -> tuple[dict[str, Any], FitConfig]:
    """Divide NAME=VALUE words between a recipe, whose arguments have these types, and the settings of the training.

    Raises:
        typer.BadParameter: a name is unknown (``unknown`` says it), or a value is of the wrong type or range.
    """
    config_types, arguments, settings = get_type_hints(FitConfig), dict[str, Any](), dict(training)
    for name, text in split_pairs(words, "--set").items():
        if name in types:
            arguments[name] = convert(name, text, types[name])
        elif name in config_types:
            settings[name] = convert(name, text, config_types[name])
        else:
            raise typer.BadParameter(unknown(name), param_hint="--set")
    try:
        return arguments, FitConfig(**settings)
    except InputError as error:
        raise typer.BadParameter(str(error)) from error


def settle_recipe(problem: Problem, options: FitOptions, arguments: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Replace the recipe auto by one that suits the data, and say why; arguments that were set stay as they are."""
    if options.recipe != AUTO:
        return options.recipe, arguments
    choice = choose_recipe(problem.schema, problem.training_rows, context=len(problem.context))
    if not options.quiet:
        tell(f"\n{AUTO} chose {choice.recipe}.\n" + "\n".join(f"  {reason}" for reason in choice.reasons))
    return choice.recipe, {**choice.arguments, **arguments}


def convert(name: str, text: str, kind: Any) -> Any:
    """Read a value as the type that a signature asks for."""
    if get_origin(kind) in (Union, UnionType):
        if text.lower() == "none":
            return None
        kind = next(part for part in get_args(kind) if part is not type(None))
    many = get_origin(kind) is Sequence
    reader, expected = _READERS.get(get_args(kind)[0] if many else kind, (str, "text"))
    try:
        return [reader(part) for part in text.strip("[]()").split(",") if part.strip()] if many else reader(text)
    except ValueError as error:
        expected = f"{expected}, or several with commas" if many else expected
        raise typer.BadParameter(f"{name} expects {expected}, got {text!r}.", param_hint="--set") from error


def _read_switch(text: str) -> bool:
    switches = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in switches:
        raise ValueError(text)
    return switches[text.lower()]


_READERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    bool: (_read_switch, "true or false"),
    int: (int, "a whole number"),
    float: (float, "a number"),
}


def _unknown(name: str, recipe: str, known: Mapping[str, Any]) -> str:
    training = [each.name for each in fields(FitConfig)]
    return (
        f"there is no setting {name!r}.{did_you_mean(name, [*known, *training])} "
        f"The recipe {recipe} has {', '.join(known)}; the training has {', '.join(training)}."
    )

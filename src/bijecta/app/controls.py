"""What a user can set, read from signatures and docstrings: a new recipe or setting appears in the Lab by itself."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from bijecta.errors import InputError
from bijecta.flows import RECIPES
from bijecta.training import FitConfig

FROM_DATA = ("features", "context")
# The seed is a setting of the whole run; the others are for runs without data, or make a run unrepeatable.
NOT_OF_THE_LAB = ("seed", "steps_per_epoch", "max_seconds", "compile")


@dataclass(frozen=True)
class Control:
    """One thing that can be set.

    Attributes:
        name: of the argument.
        kind: "count", "number", "switch", "choice", "counts" (several, with commas) or "text".
        default: what the function takes when nothing is said.
        help: what the docstring says.
        options: the words that can be chosen.
        optional: whether None is a value: it means automatic.
    """

    name: str
    kind: str
    default: Any
    help: str = ""
    options: tuple[str, ...] = ()
    optional: bool = False

    def read(self, text: str) -> Any:
        """Read a value as it stands in a link."""
        if self.optional and text in ("", "auto"):
            return None
        try:
            return _READERS[self.kind](text)
        except ValueError as error:
            raise InputError(f"{self.name} expects {_EXPECTED[self.kind]}, got {text!r}.") from error

    def write(self, value: Any) -> str:
        """Write a value as it stands in a link; the inverse of `read`."""
        if value is None:
            return "auto"
        if self.kind == "counts":
            return ",".join(map(str, value))
        return f"{value:g}" if self.kind == "number" and float(f"{value:g}") == value else str(value)


def recipes_of_the_plane() -> list[str]:
    """Return the recipes that make a two-dimensional flow from a base on the whole plane."""
    return [name for name, make in RECIPES.items() if {"features", "base"} <= inspect.signature(make).parameters.keys()]


def recipe_controls(recipe: str) -> dict[str, Control]:
    """Return what can be set in a recipe.

    Raises:
        InputError: the Lab has no such recipe.
    """
    if recipe not in recipes_of_the_plane():
        raise InputError(f"The Lab has no recipe {recipe!r}. Choose one of {', '.join(recipes_of_the_plane())}.")
    found = _controls(RECIPES[recipe])
    return {name: control for name, control in found.items() if name not in FROM_DATA}


def training_controls() -> dict[str, Control]:
    """Return what can be set in the training."""
    return {name: control for name, control in _controls(FitConfig).items() if name not in NOT_OF_THE_LAB}


def title_of(recipe: str) -> str:
    """Return the first sentence of a recipe's docstring, without its verb."""
    sentence = (inspect.getdoc(RECIPES[recipe]) or recipe).split("\n\n")[0].split(": ")[0]
    words = re.sub(r"^Build (an? )?", "", sentence).rstrip(".")
    return words[:1].upper() + words[1:]


def _controls(function: Callable[..., Any]) -> dict[str, Control]:
    inner = inspect.unwrap(function)
    types = get_type_hints(inner)
    texts = _argument_texts(inner)
    return {
        name: _control(name, types[name], parameter.default, texts.get(name, ""))
        for name, parameter in inspect.signature(inner).parameters.items()
    }


def _control(name: str, kind: Any, default: Any, text: str) -> Control:
    optional = get_origin(kind) in (Union, UnionType)
    if optional:
        kind = next(part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is Sequence:
        return Control(name, "counts", tuple(default), text)
    options = _options(name, text) if kind is str else ()
    word = "choice" if options else _KINDS.get(kind, "text")
    return Control(name, word, default, text, options, optional)


def _options(name: str, text: str) -> tuple[str, ...]:
    """Take the quoted words of a docstring; one that says "as in the other recipes" means the words of those."""
    if words := tuple(re.findall(r'"(\w+)"', text)):
        return words
    texts = (_argument_texts(inspect.unwrap(make)).get(name, "") for make in RECIPES.values())
    return next((words for other in texts if (words := tuple(re.findall(r'"(\w+)"', other)))), ())


def _argument_texts(function: Callable[..., Any]) -> Mapping[str, str]:
    """Read the Args part of a docstring."""
    part = (inspect.getdoc(function) or "").partition("Args:\n")[2].partition("\n\n")[0]
    return {name: " ".join(text.split()) for name, text in re.findall(r"(?ms)^ {4}(\w+): (.*?)(?=^ {4}\w|\Z)", part)}


def _read_switch(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _read_counts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.strip("[]() ").split(",") if part.strip())


_KINDS: Mapping[Any, str] = {int: "count", float: "number", bool: "switch"}
_READERS: Mapping[str, Callable[[str], Any]] = {
    "count": int,
    "number": float,
    "switch": _read_switch,
    "choice": str,
    "counts": _read_counts,
    "text": str,
}
_EXPECTED = {
    "count": "a whole number",
    "number": "a number",
    "switch": "true or false",
    "counts": "whole numbers with commas, such as 64,64",
}

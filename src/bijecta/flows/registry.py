"""How recipes are recorded, listed and rebuilt from JSON."""

import contextlib
import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

from bijecta.distributions import Distribution
from bijecta.errors import InputError

Parameters = ParamSpec("Parameters")
Built = TypeVar("Built", bound=Distribution)

_RECIPES: dict[str, Callable[..., Distribution]] = {}
_ELSEWHERE: dict[str, Callable[..., Distribution]] = {}  # recipes of packages on higher floors, as "package:name"

RECIPES: Mapping[str, Callable[..., Distribution]] = MappingProxyType(_RECIPES)
"""Every recipe by its name. Command line, app and estimators read the signatures of these functions."""


def recipe(function: Callable[Parameters, Built]) -> Callable[Parameters, Built]:
    """Enter a function into `RECIPES`, and have what it returns remember the call as ``.recipe``.

    The record {"name": ..., "arguments": {...}} holds every argument, defaults too, so that a saved model does not
    change when a default does. A recipe that passes the call on to another one keeps the record of that one.
    A recipe of another package of bijecta has the name "package:name", by which `build` finds and imports it; it is not
    listed, for its arguments are not those of tables.
    """
    signature = inspect.signature(function)
    package = function.__module__.rpartition(".")[0]
    elsewhere = package.startswith("bijecta.") and package != __package__
    name = f"{package}:{function.__name__}" if elsewhere else function.__name__

    @functools.wraps(function)
    def recorded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Built:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        _check_counts(function.__name__, bound.arguments)
        built = function(*args, **kwargs)
        if getattr(built, "recipe", None) is None:
            built.recipe = {"name": name, "arguments": _as_json(dict(bound.arguments))}  # type: ignore[assignment]
        return built

    (_ELSEWHERE if elsewhere else _RECIPES)[name] = recorded
    return recorded


def build(name: str, arguments: Mapping[str, Any]) -> Distribution:
    """Build a flow from the name of a recipe and its arguments.

    Args:
        name: a key of `RECIPES`, or "package:name" of a recipe of another package of bijecta.
        arguments: keyword arguments of the recipe; lists stand for tuples.

    Returns:
        The flow, with new initial weights from torch's global generator.

    Raises:
        InputError: the recipe or an argument is unknown, or has an impossible value.

    Example:
        >>> from bijecta.flows import build
        >>> build("realnvp", {"features": 2, "layers": 4}).sample(3).shape
        torch.Size([3, 2])
    """
    make = _find(name)
    known = inspect.signature(make).parameters
    for argument in arguments:
        if argument not in known:
            raise InputError(
                f"The recipe {name} has no argument {argument!r}.{_suggest(argument, known)} "
                f"Arguments: {', '.join(known)}."
            )
    missing = [p.name for p in known.values() if p.default is p.empty and p.name not in arguments]
    if missing:
        raise InputError(f"The recipe {name} needs the argument {', '.join(missing)}.")
    return make(**arguments)


def _find(name: str) -> Callable[..., Distribution]:
    package, separator, _ = name.partition(":")
    # Names come from model files of anyone: nothing outside this package is imported for them.
    if separator and package.startswith("bijecta."):
        with contextlib.suppress(ImportError):
            importlib.import_module(package)
    known = {**RECIPES, **_ELSEWHERE}
    if name not in known:
        raise InputError(f"There is no recipe {name!r}.{_suggest(name, known)} Recipes: {', '.join(RECIPES)}.")
    return known[name]


def _check_counts(name: str, arguments: Mapping[str, Any]) -> None:
    """Every integer argument of a recipe is a count: of columns, layers, units, bins; only a context may be 0."""
    for argument, value in arguments.items():
        numbers = value if isinstance(value, tuple | list) else [value]
        lowest = 0 if argument == "context" else 1
        for number in numbers:
            if isinstance(number, int) and not isinstance(number, bool) and number < lowest:
                raise InputError(f"The recipe {name} expects {argument} to be at least {lowest}, got {number}.")


def _suggest(word: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(word, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_as_json(item) for item in value]
    return value

"""The commands that need no model: demo, toys, recipes."""

import inspect
from typing import Any

from bijecta.cli.console import as_json, show, show_json, show_table, tell
from bijecta.cli.options import FitOptions
from bijecta.cli.problem import TOY_NAMES
from bijecta.data import TOYS, toy, write_table

ROWS = 1000


def run_demo(options: FitOptions) -> None:
    """Fit a toy set, and say where to look."""
    toy(options.data)  # a demo is of a toy set: say so before anything else is imported
    from bijecta.cli.fitting import run_fit

    run_fit(options)
    show(f"The pictures are in {options.folder.resolve()}; open {options.folder / 'report.html'} in a browser.")


def run_toys(name: str | None, count: int | None, noise: float | None, seed: int, out: str, *, json: bool) -> None:
    """List the toy sets, or draw rows of one."""
    if name is not None:
        points = toy(name, noise).sample(count or ROWS, seed)
        write_table(out, TOY_NAMES, {column: points[:, k] for k, column in enumerate(TOY_NAMES)})
        return
    if json:
        show_json(
            {each.name: {"title": each.title, "noise": each.noise, "entropy": each.entropy} for each in TOYS.values()}
        )
        return
    rows = ((each.name, f"{each.entropy:.4f}", f"{each.noise:g}", each.title) for each in TOYS.values())
    show_table(("name", "entropy / nats", "noise", "what it is"), rows)
    tell("\nFit one with: bijecta fit moons", "dim")


def run_recipes(name: str | None, *, json: bool) -> None:
    """List the recipes, or the settings of one."""
    from bijecta.cli.settings import recipe_settings, usable_recipes
    from bijecta.flows import RECIPES

    shown = usable_recipes() if name is None else [name]
    facts = {each: _recipe(recipe_settings(each), inspect.getdoc(RECIPES[each]) or "") for each in shown}
    if json:
        show_json(facts)
    elif name is None:
        rows = ((each, fact["title"], ", ".join(fact["settings"])) for each, fact in facts.items())
        show_table(("recipe", "what it builds", "settings"), rows)
        tell("\nSettings of one: bijecta recipes nsf. Use them: bijecta fit moons --recipe nsf --set layers=4", "dim")
    else:
        show(facts[name]["title"])
        rows = ((key, _text(fact["default"]), fact["help"]) for key, fact in facts[name]["settings"].items())
        show_table(("setting", "default", "meaning"), rows)


def _recipe(settings: dict[str, inspect.Parameter], documentation: str) -> dict[str, Any]:
    meanings = _argument_lines(documentation)
    return {
        "title": documentation.splitlines()[0] if documentation else "",
        "settings": {
            key: {"default": as_json(each.default), "help": meanings.get(key, "")} for key, each in settings.items()
        },
    }


def _argument_lines(documentation: str) -> dict[str, str]:
    """Read the Args part of a docstring: what the library says of an argument, the command line says too."""
    _, _, rest = documentation.partition("Args:\n")
    meanings: dict[str, str] = {}
    for line in rest.partition("\n\n")[0].splitlines():
        name, colon, text = line.strip().partition(": ")
        if line.startswith("    ") and not line.startswith("     ") and colon:
            meanings[name] = text
        elif meanings:
            last = next(reversed(meanings))
            meanings[last] += " " + line.strip()
    return meanings


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)

"""The settings of a run in the Lab: one frozen record, as a link, as JSON, and as arguments of the library."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bijecta.app.controls import Control, recipe_controls, training_controls
from bijecta.data import TOYS, toy
from bijecta.errors import InputError
from bijecta.training import FitConfig

PICTURE, TABLE = "picture", "table"
LARGEST_ROWS = 200_000


@dataclass(frozen=True)
class RunSettings:
    """Everything that decides the numbers of a run.

    Attributes:
        recipe: name of the flow's recipe.
        arguments: arguments of the recipe that are not its defaults.
        data: name of a toy set, "picture" (a drawn or uploaded density) or "table" (two columns of an upload).
        noise: noise level of the toy set; None for its default.
        rows: rows to draw; without meaning for a table.
        picture: the picture, as `datasets.encode_picture` writes it.
        table: fingerprint of the uploaded points.
        training: settings of `FitConfig` that are not its defaults.
        seed: of weights, rows, split and order.

    Raises:
        InputError: a setting is unknown or out of its range.
    """

    recipe: str = "nsf"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    data: str = "moons"
    noise: float | None = None
    rows: int = 10_000
    picture: str = ""
    table: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        arguments = _changed(self.arguments, recipe_controls(self.recipe), f"The recipe {self.recipe}")
        training = _changed(self.training, training_controls(), "The training")
        object.__setattr__(self, "arguments", arguments)
        object.__setattr__(self, "training", training)
        self._check_data()
        self.config()

    def _check_data(self) -> None:
        if self.data not in (PICTURE, TABLE):
            default = toy(self.data).noise
            noise = None if self.noise == default or not toy(self.data).noise_meaning else self.noise
            object.__setattr__(self, "noise", noise)
            toy(self.data, noise)
        if not 10 <= self.rows <= LARGEST_ROWS:
            raise InputError(f"A run in the Lab takes 10 to {LARGEST_ROWS} rows, got {self.rows}.")

    def config(self) -> FitConfig:
        """Return the settings of `fit`."""
        return FitConfig(**self.training, seed=self.seed)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON-able dictionary without defaults."""
        arguments = {key: list(value) if isinstance(value, tuple) else value for key, value in self.arguments.items()}
        record = {**vars(self), "arguments": arguments, "training": dict(self.training)}
        return {"recipe": self.recipe, **{key: value for key, value in record.items() if value != _DEFAULTS[key]}}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "RunSettings":
        """Read what `to_json` wrote.

        Raises:
            InputError: a name is unknown, or a value is out of its range.
        """
        if unknown := record.keys() - _DEFAULTS.keys():
            raise InputError(f"Settings of a run have no {', '.join(sorted(unknown))}. Known: {', '.join(_DEFAULTS)}.")
        return cls(**record)

    def to_query(self) -> dict[str, str]:
        """Return the settings as parameters of a link; the opening run needs none."""
        if self == OPENING:
            return {}
        known = {**recipe_controls(self.recipe), **training_controls(), **_OWN}
        values = {**self.arguments, **self.training, **{name: getattr(self, name) for name in _OWN}}
        texts = {name: known[name].write(value) for name, value in values.items() if value != known[name].default}
        return {"recipe": self.recipe, **texts}

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "RunSettings":
        """Read the parameters of a link; those of others are ignored.

        Raises:
            InputError: a value cannot be read, or is out of its range.
        """
        base = cls(recipe=query["recipe"]) if "recipe" in query else OPENING
        own, recipe, training = (
            _read(query, known) for known in (_OWN, recipe_controls(base.recipe), training_controls())
        )
        return replace(base, **own, arguments={**base.arguments, **recipe}, training={**base.training, **training})

    def with_recipe(self, recipe: str) -> "RunSettings":
        """Change the recipe; its arguments start from their defaults."""
        return self if recipe == self.recipe else replace(self, recipe=recipe, arguments={})


def _read(query: Mapping[str, str], known: Mapping[str, Control]) -> dict[str, Any]:
    return {name: known[name].read(text) for name, text in query.items() if name in known}


def _changed(values: Mapping[str, Any], known: Mapping[str, Control], whose: str) -> dict[str, Any]:
    """Keep what is not the default, in the order of the signature, lists as tuples."""
    if unknown := values.keys() - known.keys():
        raise InputError(f"{whose} has no setting {', '.join(sorted(unknown))}. Known: {', '.join(known)}.")
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    for name, value in plain.items():
        if known[name].options and value not in known[name].options:
            raise InputError(f"{name} is one of {', '.join(known[name].options)}; got {value!r}.")
    return {key: plain[key] for key in known if key in plain and plain[key] != known[key].default}


_DEFAULTS: Mapping[str, Any] = {
    "recipe": "nsf", "arguments": {}, "data": "moons", "noise": None, "rows": 10_000,
    "picture": "", "table": "", "training": {}, "seed": 0,
}  # fmt: skip
_OWN: Mapping[str, Control] = {
    "data": Control("data", "choice", "moons", options=(*TOYS, PICTURE, TABLE)),
    "noise": Control("noise", "number", None, optional=True),
    "rows": Control("rows", "count", 10_000),
    "picture": Control("picture", "text", ""),
    "table": Control("table", "text", ""),
    "seed": Control("seed", "count", 0),
}
OPENING = RunSettings(arguments={"layers": 4, "hidden": (32, 32)}, training={"epochs": 50})
"""The run that a visitor finds already trained."""

"""Candidates: what a trial tries, and where the search looks for them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bijecta.data import Schema
from bijecta.errors import InputError
from bijecta.flows import choose_recipe
from bijecta.training import FitConfig

RECIPES = ("nsf", "nsf_autoregressive")
LAYERS = (2, 8)
WIDTHS = (32, 64, 128)
BINS = (4, 8, 16, 32)
LEARNING_RATES = (2e-4, 1e-2)
BATCH_SIZES = (64, 128, 256, 512, 1024)
WEIGHT_DECAYS = (1e-4, 10.0)


@dataclass(frozen=True)
class Candidate:
    """Settings of one fit.

    As the start of a search: what is given here and is not a default stays as it is, the rest is searched.

    Args:
        recipe: "nsf" or "nsf_autoregressive".
        arguments: further arguments of the recipe, such as ``{"layers": 4}``.
        config: settings of the training.
        integers: "exact" or "dequantised", see `table`.

    Raises:
        InputError: a recipe that the search does not know, or no validation rows to compare by.
    """

    recipe: str = "nsf"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    config: FitConfig = field(default_factory=FitConfig)
    integers: str = "exact"

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise InputError(f"Tuning searches among {' and '.join(RECIPES)}, got {self.recipe!r}.")
        if not self.config.validation_fraction:
            raise InputError("Tuning compares by validation rows, got validation_fraction 0. Use 0.1.")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON-able dictionary."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Candidate":
        """Make a candidate from what `to_json` returned."""
        return cls(**{**record, "config": FitConfig(**record["config"])})


def prepared(start: Candidate, schema: Schema, rows: int, context: int) -> list[Candidate]:
    """Return what is tried before the search: the start, then the choice of recipe="auto" where that is another one."""
    choice = choose_recipe(schema, rows, context=context)
    automatic = replace(start, recipe=choice.recipe, arguments={**choice.arguments, **start.arguments})
    return list({each.recipe: each for each in (automatic, start)}.values())[::-1]


def suggest(trial: Any, start: Candidate, schema: Schema, rows: int) -> Candidate:
    """Let an Optuna trial choose what the start leaves open."""
    periodic = any(column.kind == "periodic" for column in schema.columns)
    recipe = trial.suggest_categorical("recipe", RECIPES[:1] if periodic else RECIPES)
    arguments = dict(start.arguments)
    if "layers" not in arguments:
        arguments["layers"] = trial.suggest_int("layers", *LAYERS)
    if "hidden" not in arguments:
        arguments["hidden"] = [trial.suggest_categorical("width", WIDTHS)] * 2
    if "bins" not in arguments:
        arguments["bins"] = trial.suggest_categorical("bins", BINS)
    return replace(start, recipe=recipe, arguments=arguments, config=_suggest_config(trial, start.config, rows))


def _suggest_config(trial: Any, start: FitConfig, rows: int) -> FitConfig:
    chosen: dict[str, Any] = {}
    if start.learning_rate is None:
        chosen["learning_rate"] = _rounded(trial.suggest_float("learning_rate", *LEARNING_RATES, log=True))
    if start.batch_size is None:
        sizes = [size for size in BATCH_SIZES if size <= rows // 4]
        chosen["batch_size"] = trial.suggest_categorical("batch_size", sizes or BATCH_SIZES[:1])
    if not start.weight_decay:
        chosen["weight_decay"] = _rounded(trial.suggest_float("weight_decay", *WEIGHT_DECAYS, log=True))
    return replace(start, **chosen)


def _rounded(value: float) -> float:
    """Keep three digits: more mean nothing, and people will type them."""
    return float(f"{value:.3g}")

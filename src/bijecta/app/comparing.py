"""Several runs on the same data and seed: their settings, as a link, and how each differs from the first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bijecta.app.controls import Control, recipe_controls, training_controls
from bijecta.app.registry import Registry, Run
from bijecta.app.settings import OPENING, RunSettings
from bijecta.app.trainer import FINAL
from bijecta.errors import InputError

LEAST, MOST = 2, 4
SHARED = ("data", "noise", "rows", "picture", "table", "seed")
"""What all runs of a comparison have in common: the rows and the seed."""


@dataclass(frozen=True)
class Comparison:
    """Two to four runs that differ in their models and training, and in nothing else.

    Attributes:
        runs: their settings; data and seed are those of the first.

    Raises:
        InputError: fewer runs, or more.
    """

    runs: tuple[RunSettings, ...]

    def __post_init__(self) -> None:
        if not LEAST <= len(self.runs) <= MOST:
            raise InputError(f"A comparison has {LEAST} to {MOST} runs, got {len(self.runs)}.")
        object.__setattr__(self, "runs", tuple(with_shared(run, self.runs[0]) for run in self.runs))

    def resized(self, count: int) -> "Comparison":
        """Change the number of runs; new ones begin as the first."""
        return Comparison((*self.runs[:count], *[self.runs[0]] * (count - len(self.runs))))

    def to_query(self) -> dict[str, str]:
        """Return the comparison as parameters of a link: the first run as in the Lab, the others with a number."""
        if self == DEFAULT:
            return {}
        query = {"runs": str(len(self.runs)), **self.runs[0].to_query()}
        for number, run in enumerate(self.runs[1:], start=2):
            own = {name: text for name, text in run.to_query().items() if name not in SHARED}
            query |= {f"{number}.{name}": text for name, text in own.items()}
        return query

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "Comparison":
        """Read the parameters of a link.

        Raises:
            InputError: a value cannot be read, or is out of its range.
        """
        if not query:
            return DEFAULT
        count = Control("runs", "count", LEAST).read(query.get("runs", str(LEAST)))
        if not LEAST <= count <= MOST:
            raise InputError(f"A comparison has {LEAST} to {MOST} runs, got {count}.")
        shared = {name: query[name] for name in SHARED if name in query}
        own = [_own(query, number) for number in range(2, count + 1)]
        return cls((RunSettings.from_query(query), *(RunSettings.from_query({**shared, **texts}) for texts in own)))


def with_shared(settings: RunSettings, first: RunSettings) -> RunSettings:
    """Take data and seed over from another run."""
    return replace(settings, **{name: getattr(first, name) for name in SHARED})


def changes(first: RunSettings, other: RunSettings) -> dict[str, tuple[str, str]]:
    """Say in which settings a run differs from the first.

    Args:
        first: what it is compared with.
        other: the run.

    Returns:
        By name of the setting: the text of its value in the first, and in the other. Settings that only one of two
        models has are no change: the change is the model.
    """
    before, after = _values(first), _values(other)
    return {name: (before[name], after[name]) for name in after if name in before and before[name] != after[name]}


def name_of(comparison: Comparison, index: int) -> str:
    """Name a run after what is changed in it."""
    changed = changes(comparison.runs[0], comparison.runs[index])
    if index == 0:
        return f"1: {comparison.runs[0].recipe}"
    texts = [after if name == "model" else f"{name.replace('_', ' ')} {after}" for name, (_, after) in changed.items()]
    return f"{index + 1}: {', '.join(texts) or 'the same'}"


def start_next(runs: Sequence[Run], registry: Registry) -> bool:
    """Train the runs one after another: seconds of runs that share a processor could not be compared.

    Args:
        runs: in their order.
        registry: that holds them.

    Returns:
        Whether one trains, or will.

    Raises:
        InputError: too many runs train on this server.
    """
    if any(run.training and run.trainer.state not in FINAL for run in runs):
        return True
    waiting = [run for run in runs if not run.training]
    if waiting:
        registry.start(waiting[0].key)
    return bool(waiting)


def _own(query: Mapping[str, str], number: int) -> dict[str, str]:
    start = f"{number}."
    return {name.removeprefix(start): text for name, text in query.items() if name.startswith(start)}


def _values(settings: RunSettings) -> dict[str, str]:
    known = {**recipe_controls(settings.recipe), **training_controls()}
    given: dict[str, Any] = {**settings.arguments, **settings.training}
    texts = {name: control.write(given.get(name, control.default)) for name, control in known.items()}
    return {"model": settings.recipe, **texts}


_QUICK = replace(OPENING, arguments={"layers": 2, "hidden": (32, 32)}, rows=3000, training={"epochs": 25})
DEFAULT = Comparison((_QUICK, replace(_QUICK, arguments={**_QUICK.arguments, "base": "mixture"})))
"""What a visitor finds: does a base of several humps help where the data have two?"""

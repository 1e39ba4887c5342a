"""Read what the benchmark of model classes has measured."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("model_classes.json")


@dataclass(frozen=True)
class Measured:
    """What was measured of one kind of model.

    Attributes:
        model: its name.
        rows: one record per seed, as the benchmark wrote it.
    """

    model: str
    rows: tuple[dict[str, Any], ...]

    def values(self, quantity: str) -> list[float]:
        """Return a quantity for every seed; nothing where the model cannot say it."""
        return [float(row[quantity]) for row in self.rows if row[quantity] is not None]

    def text(self, quantity: str, digits: int) -> str:
        """Write the mean over the seeds and its standard deviation."""
        values = self.values(quantity)
        if not values:
            return "–"
        mean, spread = np.mean(values), np.std(values, ddof=1)
        return f"{mean:,g}" if spread == 0 else f"{mean:,.{digits}f} ± {spread:,.{digits}f}"


@dataclass(frozen=True)
class ModelClasses:
    """The whole benchmark.

    Attributes:
        models: by their order in the file.
        command: that measured it.
        date: when.
        processor: on what.
    """

    models: tuple[Measured, ...]
    command: str
    date: str
    processor: str


@cache
def model_classes() -> ModelClasses:
    """Read the file that the benchmark wrote."""
    record = json.loads(FILE.read_text(encoding="utf8"))
    names = dict.fromkeys(row["model"] for row in record["rows"])
    models = (Measured(name, tuple(row for row in record["rows"] if row["model"] == name)) for name in names)
    return ModelClasses(tuple(models), record["command"], record["date"], record["machine"]["processor"])

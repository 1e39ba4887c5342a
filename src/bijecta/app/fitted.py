"""A fit of a table with what belongs to it: the rows, the process, and what came out."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from bijecta.app.messages import Array
from bijecta.app.table_lesson import TableSettings
from bijecta.app.tables import Inspection
from bijecta.app.trainer import Trainer
from bijecta.data import write_table
from bijecta.errors import InputError

SHOWN_SAMPLES = 3000
ANSWER_SECONDS = 120.0


@dataclass
class Fitted:
    """A fit of a table.

    Attributes:
        settings: of the fit.
        inspection: of the table, as it was when the fit began.
        trainer: where it happens.
        seen: whether the page knows that it has ended.
    """

    settings: TableSettings
    inspection: Inspection
    trainer: Trainer
    seen: bool = field(default=False, compare=False)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the process said last."""
        return self.trainer.latest.header if self.trainer.latest is not None else {}

    @property
    def has_result(self) -> bool:
        """Whether there is a flow to look at."""
        return "test_nll" in self.facts

    @cached_property
    def samples(self) -> dict[str, Array]:
        """Samples to look at beside the data, by column."""
        return self.draw(SHOWN_SAMPLES, seed=0)

    @cached_property
    def scores(self) -> Array:
        """Log-density of every row, of shape (N,), in nats."""
        return self._ask("scores")["scores"]

    @cached_property
    def file(self) -> bytes:
        """The model as a file, with the schema in its header."""
        return self._ask("model")["file"].tobytes()

    def draw(self, count: int, seed: int) -> dict[str, Array]:
        """Draw new rows, each column in its own type and support."""
        return self.inspection.schema.columns_from_matrix(
            self._ask("samples", count=count, seed=seed)["samples"].astype(float)
        )

    def samples_csv(self, count: int, seed: int) -> bytes:
        """Write new rows as CSV."""
        return _csv(self.draw(count, seed))

    def scores_csv(self) -> bytes:
        """Write the rows with their log-density as CSV, the lowest first; row numbers start at 0."""
        order = np.argsort(self.scores)
        table = self.inspection.table
        columns = {name: table.columns[name][order] for name in self.inspection.schema.names}
        return _csv({**columns, _free("row", columns): order, _free("log_density", columns): self.scores[order]})

    def _ask(self, question: str, **details: Any) -> Mapping[str, Array]:
        answer = self.trainer.ask(question, **details).result(ANSWER_SECONDS)
        if "error" in answer.header:
            raise InputError(str(answer.header["error"]))
        return answer.arrays


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """Find a name that no column has."""
    return _free(f"{name}_", taken) if name in taken else name


def _csv(columns: Mapping[str, Array]) -> bytes:
    buffer = io.BytesIO()
    write_table("-", list(columns), columns, stream=buffer)
    return buffer.getvalue()

"""A run of `fit` on a table: it trains, says how far it is, and afterwards answers questions about the flow."""

import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bijecta.app.curves import Curves
from bijecta.app.messages import Array, Message
from bijecta.app.pace import Command, Pace
from bijecta.data import Schema, split_rows
from bijecta.data.rows import Rows
from bijecta.diagnostics import gaussian_nll
from bijecta.distributions import Distribution
from bijecta.errors import BijectaError, InputError
from bijecta.flows import choose_recipe, table
from bijecta.flows.automatic import AUTO, Choice
from bijecta.persistence import save
from bijecta.persistence.tabular import draw, log_prob, parameter_count
from bijecta.training import Batch, FitConfig, Progress, fit, nll

TEST_SHARE = 0.15
FRAME_SECONDS = 0.2
LARGEST_SAMPLE = 100_000


@dataclass(frozen=True)
class TableSettings:
    """Everything but the rows that decides the numbers of a fit.

    Attributes:
        schema: the columns, as `Schema.to_json` gives them.
        recipe: of the continuous columns; "auto" chooses by columns and rows.
        epochs: passes over the rows, at most.
        seed: of weights, split and order.
    """

    schema: Mapping[str, Any]
    recipe: str = AUTO
    epochs: int = 60
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON-able dictionary."""
        return {**vars(self), "schema": dict(self.schema)}


class TableLesson:
    """One run on a table.

    Args:
        settings: of the run.
        rows: of shape (N, D), in the order of the schema, labels as codes.
        publish: takes every `Message`; called in the thread that trains.
    """

    def __init__(self, settings: TableSettings, rows: Array, publish: Callable[[Message], None]) -> None:
        self.settings, self.rows, self.send = settings, rows, publish
        self.schema = Schema.from_json(dict(settings.schema))
        self.pace, self.curves = Pace(), Curves()
        self.facts: dict[str, Any] = {}
        self.frames, self.due = 0, 0.0
        self.flow: Distribution

    def run(self) -> None:
        """Go through the whole run; then answer until told to close."""
        try:
            self._train()
        except BijectaError as error:
            self._publish("failed", str(error))
        except Exception as error:  # whatever it is, the page says so and does not wait for ever
            logging.getLogger(__name__).exception("A fit of a table failed")
            self._publish("failed", f"Something broke ({type(error).__name__}: {error}). Try other settings.")
        while not self.pace.closed:
            self._attend(3600.0)

    def _train(self) -> None:
        settings = self.settings
        choice = Choice(settings.recipe, {}, ())
        if settings.recipe == AUTO:
            choice = choose_recipe(self.schema, len(self.rows))
        torch.manual_seed(settings.seed)
        self.flow = table(settings.schema, recipe=choice.recipe, arguments=choice.arguments)
        train, test = split_rows(len(self.rows), TEST_SHARE, settings.seed)
        self.facts = {"recipe": choice.recipe, "reasons": choice.reasons, "parameters": parameter_count(self.flow)}
        self.config = FitConfig(epochs=settings.epochs, seed=settings.seed)
        self._publish("running")
        result = fit(
            self.flow, self.rows[train], config=self.config, loss=self._watched_nll, on_epoch=self._after_epoch
        )
        self.facts |= _measure(self.flow, self.schema, self.rows[train], self.rows[test], settings.seed)
        self._publish("stopped" if result.stopped == "interrupted" else "done")

    def _watched_nll(self, flow: Distribution, batch: Batch) -> Tensor:
        """Be `nll`, and use the moment between two steps of the training."""
        if not flow.training:
            return nll(flow, batch)
        self.curves.start(batch.size, round(len(self.rows) * (1 - TEST_SHARE)), self.config)
        self._attend(0.0)
        if self.pace.stopped:
            raise KeyboardInterrupt  # `fit` ends with the best weights, as for Ctrl-C
        loss = nll(flow, batch)
        self.curves.add_step(float(loss.detach()), self.pace.seconds_waited)
        if time.monotonic() >= self.due:
            self._publish("running")
        return loss

    def _after_epoch(self, progress: Progress) -> None:
        self.curves.add_epoch(progress)

    def _attend(self, seconds: float) -> None:
        """Obey commands and answer questions."""
        self.pace.listen(self.curves.step, seconds)
        while self.pace.questions:
            self._reply(self.pace.questions.pop(0))

    def _reply(self, question: Command) -> None:
        header, arrays = {}, {}
        try:
            if "test_nll" not in self.facts:
                raise InputError("This fit has no result yet. Wait until it has ended.")
            arrays = self._answer(question)
        except (BijectaError, ValueError, TypeError, KeyError, OSError) as error:
            header = {"error": str(error)}
        self.send(Message({"kind": "answer", "id": question.get("id"), **header}, arrays))

    def _answer(self, question: Command) -> dict[str, Array]:
        match question.get("ask"):
            case "samples":
                count = min(int(question["count"]), LARGEST_SAMPLE)
                return {"samples": draw(self.flow, count, None, int(question.get("seed", 0)))}
            case "scores":
                return {"scores": log_prob(self.flow, Rows(self.rows), self.settings.seed)}
            case "model":
                return {"file": self._file()}
            case other:
                raise InputError(f"A fit of a table answers samples, scores and model; asked was {other!r}.")

    def _file(self) -> Array:
        metadata = {"schema": self.schema.to_json(), "context": [], "settings": self.settings.to_json(), **self.facts}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.safetensors"
            save(self.flow, path, metadata=metadata)
            return np.frombuffer(path.read_bytes(), np.uint8)

    def _publish(self, state: str, message: str = "") -> None:
        self.frames += 1
        self.due = time.monotonic() + FRAME_SECONDS
        header = {"kind": "frame", "number": self.frames, "state": state, "message": message}
        self.send(Message({**header, **self.curves.facts(), **self.facts}))


def _measure(flow: Distribution, schema: Schema, train: Array, test: Array, seed: int) -> dict[str, Any]:
    """Score the rows that were held out, in nats per row."""
    log_density = log_prob(flow, Rows(test), seed)
    return {
        "test_nll": -float(log_density.mean()),
        "test_error": float(log_density.std() / np.sqrt(len(test))),
        "test_rows": len(test),
        "baseline_nll": baseline_nll(schema, train, test, seed),
    }


def baseline_nll(schema: Schema, train: Array, test: Array, seed: int) -> float | None:
    r"""Score held-out rows under a Gaussian of the numbers, and the frequencies of the labels beside it.

    .. math:: -\overline{\log \mathcal N(y; \mu, \Sigma)} - \sum_k \overline{\log \hat P(d_k)}

    Whole numbers get uniform noise, so that a density and a probability mean the same; labels that the training rows
    lack count as half a row.

    Args:
        schema: of the columns.
        train: rows (N, D).
        test: rows (M, D).
        seed: of the noise.

    Returns:
        Nats per row; None where a column of numbers does not vary.
    """
    kinds = np.array([column.kind for column in schema.columns])
    labels, whole = kinds == "category", kinds == "integer"
    random = np.random.default_rng(seed)
    train, test = (rows + whole * random.random(rows.shape) for rows in (train, test))
    loss = 0.0
    for k in np.flatnonzero(labels):
        counts = 0.5 + np.bincount(train[:, k].astype(int), minlength=len(schema.columns[k].categories or ()))
        loss -= float(np.log(counts / counts.sum())[test[:, k].astype(int)].mean())
    try:
        return loss + (gaussian_nll(train[:, ~labels], test[:, ~labels]).nll if (~labels).any() else 0.0)
    except InputError:
        return None

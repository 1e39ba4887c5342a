"""A run of `fit` on a table: it trains, says how far it is, and afterwards answers questions about the flow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bijecta.app.fit_lesson import Answer, FitLesson
from bijecta.app.messages import Array, Message
from bijecta.app.pace import Command
from bijecta.data import Schema, split_rows
from bijecta.data.rows import Rows
from bijecta.diagnostics import gaussian_nll
from bijecta.distributions import Distribution
from bijecta.errors import InputError
from bijecta.flows import choose_recipe, table
from bijecta.flows.automatic import AUTO, Choice
from bijecta.persistence.tabular import draw, log_prob, parameter_count
from bijecta.training import FitConfig

TEST_SHARE = 0.15
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


class TableLesson(FitLesson):
    """One run on a table.

    Args:
        settings: of the run.
        rows: of shape (N, D), in the order of the schema, labels as codes.
        publish: takes every `Message`; called in the thread that trains.
    """

    def __init__(self, settings: TableSettings, rows: Array, publish: Callable[[Message], None]) -> None:
        super().__init__(publish)
        self.settings, self.rows = settings, rows
        self.schema = Schema.from_json(dict(settings.schema))

    def train(self) -> str:
        settings = self.settings
        choice = Choice(settings.recipe, {}, ())
        if settings.recipe == AUTO:
            choice = choose_recipe(self.schema, len(self.rows))
        torch.manual_seed(settings.seed)
        self.flow = table(settings.schema, recipe=choice.recipe, arguments=choice.arguments)
        train, test = split_rows(len(self.rows), TEST_SHARE, settings.seed)
        self.facts = {"recipe": choice.recipe, "reasons": choice.reasons, "parameters": parameter_count(self.flow)}
        state = self.fit(self.rows[train], config=FitConfig(epochs=settings.epochs, seed=settings.seed))
        self.facts |= _measure(self.flow, self.schema, self.rows[train], self.rows[test], settings.seed)
        return state

    def answer(self, question: Command) -> Answer:
        match question.get("ask"):
            case "samples":
                count = min(int(question["count"]), LARGEST_SAMPLE)
                return {}, {"samples": draw(self.flow, count, None, int(question.get("seed", 0)))}
            case "scores":
                return {}, {"scores": log_prob(self.flow, Rows(self.rows), self.settings.seed)}
            case "model":
                facts = {"schema": self.schema.to_json(), "context": [], "settings": self.settings.to_json()}
                return {}, {"file": self.file({**facts, **self.facts})}
            case other:
                raise InputError(f"A fit of a table answers samples, scores and model; asked was {other!r}.")


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

"""What a service answers: plain functions from the body of a request to the body of an answer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bijecta.data import Table
from bijecta.data.rows import Array, numbers
from bijecta.data.table import AnyArray
from bijecta.errors import FileFormatError
from bijecta.persistence import TableModel
from bijecta.persistence.tabular import draw, log_prob, parameter_count, rows_of
from bijecta.service.bodies import (
    check_keys,
    finite_or_null,
    read_json,
    table_of_csv,
    table_of_json,
    table_of_rows,
    to_csv,
    to_json,
    whole_number,
)
from bijecta.service.refusal import RefusedError
from bijecta.service.schemas import CSV, JSON, wanted_columns, wanted_contexts
from bijecta.service.settings import ServiceSettings

UNIT = "nats per row, per unit of the columns"


@dataclass(frozen=True)
class Question:
    """The body of a request, and the formats of question and answer."""

    body: bytes
    is_csv: bool = False
    wants_csv: bool = False


@dataclass(frozen=True)
class Answer:
    """The body of an answer."""

    body: bytes
    media: str = JSON


def score(model: TableModel, settings: ServiceSettings, question: Question) -> Answer:
    """Compute the log-density of rows, as `bijecta score` does."""
    if question.is_csv:
        table, seed = table_of_csv(question.body), 0
    else:
        content = read_json(question.body)
        check_keys(content, ("rows", "columns", "seed"))
        seed = whole_number(content, "seed", 0, low=0)
        table = table_of_json(content, wanted_columns(model))
    _refuse_many(table.n_rows, settings)
    values = log_prob(model.flow, rows_of(model, table), seed)
    if question.wants_csv:
        return Answer(to_csv({"log_prob": values}), CSV)
    return Answer(to_json({"log_prob": finite_or_null(values.tolist()), "is_bound": model.flow.is_bound}))


def sample(model: TableModel, settings: ServiceSettings, question: Question) -> Answer:
    """Draw rows, given contexts n for each of them."""
    content = read_json(question.body)
    check_keys(content, ("n", "seed", *(["contexts"] if model.context else [])))
    count, seed = whole_number(content, "n", 1, low=1), whole_number(content, "seed", 0, low=0)
    contexts = _contexts(model, content)
    _refuse_many(count * (1 if contexts is None else contexts.n_rows), settings)
    given = None if contexts is None else np.repeat(numbers(contexts, model.context), count, axis=0)
    columns = _drawn(model, count, given, seed)
    return Answer(to_csv(columns), CSV) if question.wants_csv else Answer(to_json({"rows": _rows(columns)}))


def _contexts(model: TableModel, content: Mapping[str, Any]) -> Table | None:
    return table_of_rows(content.get("contexts"), wanted_contexts(model), "contexts") if model.context else None


def _drawn(model: TableModel, count: int, given: Array | None, seed: int) -> dict[str, AnyArray]:
    samples = model.schema.columns_from_matrix(draw(model.flow, count, given, seed))
    return samples | ({} if given is None else {name: given[:, k] for k, name in enumerate(model.context)})


def _rows(columns: Mapping[str, AnyArray]) -> list[dict[str, Any]]:
    lists = [
        finite_or_null(values.tolist()) if values.dtype.kind == "f" else values.tolist() for values in columns.values()
    ]
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def info(model: TableModel, settings: ServiceSettings) -> Answer:
    """Say what the model is: recorded facts, without the paths of the machine that trained it."""
    metadata, recipe = model.header["metadata"], model.header["recipe"]
    content = {
        **{key: metadata[key] for key in ("data", "metrics", "versions") if key in metadata},
        "recipe": {"name": recipe["name"]} | {k: v for k, v in recipe["arguments"].items() if k != "schema"},
        "schema": model.schema.to_json(),
        "context": list(model.context),
        "parameters": parameter_count(model.flow),
        "is_bound": model.flow.is_bound,
        "unit": UNIT,
        "limits": asdict(settings),
    }
    try:
        return Answer(to_json(content))
    except ValueError as error:
        raise FileFormatError(f"The model records numbers that are not finite ({error}). Save it again.") from error


def _refuse_many(rows: int, settings: ServiceSettings) -> None:
    if rows > settings.max_rows:
        raise RefusedError(413, f"One request may have {settings.max_rows} rows, got {rows}. Send several requests.")

"""The JSON schemas of a model's rows, from which the OpenAPI document of its service is made."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bijecta.data import Column
from bijecta.persistence import TableModel
from bijecta.service.bodies import SEEDS, Types
from bijecta.service.settings import ServiceSettings

JSON, CSV = "application/json", "text/csv"
SEED: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": SEEDS - 1, "default": 0}

Content = dict[str, Any]


def wanted_columns(model: TableModel) -> dict[str, Types]:
    """Return what a row must have, columns and contexts, with the types that JSON may give each value."""
    return {column.name: _types(column) for column in model.schema.columns} | wanted_contexts(model)


def wanted_contexts(model: TableModel) -> dict[str, Types]:
    """Return the contexts that samples are drawn for; they are numbers."""
    return dict.fromkeys(model.context, (int, float))


def _types(column: Column) -> Types:
    if column.kind == "category":
        return tuple({type(label) for label in _labels(column)}) or (str,)
    return (bool, int, float) if _is_flag(column) else (int, float)


def _is_flag(column: Column) -> bool:
    """Tell whether the whole numbers of a column are truth values."""
    return column.kind == "integer" and column.dtype == "bool"


def _labels(column: Column) -> list[Any]:
    """Return the labels of a category in the column's own type."""
    labels: list[Any] = column.restore(np.arange(len(column.categories or ()), dtype=np.float64)).tolist()
    return labels


def column_schema(column: Column) -> Content:
    """Describe the values of a column as they are sent: any angle will do, as it is wrapped."""
    if column.kind == "category":
        return {"enum": _labels(column)}
    if column.kind == "integer":
        bounds = {"minimum": column.low, "maximum": column.high}
        kind = ["integer", "boolean"] if _is_flag(column) else "integer"
    else:
        open_ends = column.kind in ("positive", "interval")
        bounds = {"exclusiveMinimum": column.low, "exclusiveMaximum": column.high} if open_ends else {}
        kind = "number"
    return {"type": kind, "description": str(column), **{k: v for k, v in bounds.items() if v is not None}}


def request_schemas(model: TableModel, settings: ServiceSettings) -> dict[str, Content]:
    """Describe the bodies of the two requests."""
    columns = {column.name: column_schema(column) for column in model.schema.columns}
    contexts: dict[str, Content] = {name: {"type": "number"} for name in model.context}
    row = _object(columns | contexts, columns | contexts)
    lists = {name: _list(schema, settings.max_rows) for name, schema in (columns | contexts).items()}
    rows: dict[str, Content] = {"rows": _list(row, settings.max_rows), "seed": SEED}
    by_column: dict[str, Content] = {"columns": _object(lists, lists), "seed": SEED}
    count = {"type": "integer", "minimum": 1, "maximum": settings.max_rows, "default": 1}
    draw: dict[str, Content] = {"n": count, "seed": SEED}
    if contexts:
        draw["contexts"] = _list(_object(contexts, contexts), settings.max_rows)
    return {
        "score": {"oneOf": [_closed(rows, ["rows"]), _closed(by_column, ["columns"])]},
        "sample": _closed(draw, ["contexts"] if contexts else []),
    }


def response_schemas(model: TableModel) -> dict[str, Content]:
    """Describe the four answers, and that of every error."""
    number_or_null: Content = {"type": ["number", "null"]}
    sampled = {column.name: _sampled(column) for column in model.schema.columns}
    sampled |= {name: {"type": "number"} for name in model.context}
    scores: dict[str, Content] = {
        "log_prob": {"type": "array", "items": number_or_null},
        "is_bound": {"type": "boolean"},
    }
    health: dict[str, Content] = {
        "live": {"type": "boolean"},
        "ready": {"type": "boolean"},
        "waiting": {"type": "integer"},
    }
    return {
        "score": _closed(scores, list(scores)),
        "sample": _closed({"rows": {"type": "array", "items": _closed(sampled, list(sampled))}}, ["rows"]),
        "info": _object({"schema": {"type": "object"}, "unit": {"type": "string"}}, ["schema", "unit"]),
        "health": _closed(health, list(health)),
        "error": _closed({"error": {"type": "string"}}, ["error"]),
    }


def _sampled(column: Column) -> Content:
    """Describe the values of a column as they are drawn: a model whose arithmetic overflows draws null."""
    if column.kind == "category":
        return column_schema(column)
    if column.kind == "integer":
        return {"type": "boolean" if _is_flag(column) else "integer"}
    return {"type": ["number", "null"]}


def _object(properties: Mapping[str, Content], required: Sequence[str] | Mapping[str, Any]) -> Content:
    return {"type": "object", "properties": dict(properties), "required": list(required)}


def _closed(properties: Mapping[str, Content], required: Sequence[str]) -> Content:
    return {**_object(properties, required), "additionalProperties": False}


def _list(items: Content, most: int) -> Content:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most}

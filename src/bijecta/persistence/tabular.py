"""A saved model of a table: the flow with the schema of its columns, and what people do with rows."""

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bijecta.data import Schema, Table
from bijecta.data.rows import Array, Rows, numbers
from bijecta.distributions import Distribution, Mixed
from bijecta.errors import FileFormatError, InputError
from bijecta.flows import inner_flow, inner_rows
from bijecta.persistence.files import load, read_header

MODEL = "model.safetensors"
CHUNK = 50_000  # rows at once: bounds the memory, and is large enough to cost no time


@dataclass(frozen=True)
class TableModel:
    """A loaded flow, and what its columns are."""

    flow: Distribution
    schema: Schema
    context: tuple[str, ...]
    header: dict[str, Any]


def model_path(path: str | os.PathLike[str]) -> Path:
    """Return the model file; a run folder stands for the model in it."""
    return Path(path) / MODEL if Path(path).is_dir() else Path(path)


def load_table_model(path: str | os.PathLike[str]) -> TableModel:
    """Load a flow of table rows with its schema.

    Args:
        path: a model file, or a folder with a ``model.safetensors``, such as a run of ``bijecta fit``.

    Returns:
        The flow in eval mode, its schema, the names of its context columns, and the header of the file. A file
        without a schema gets plain columns x0, x1, ...

    Raises:
        InputError: there is no such file, or the flow is not one of tables.
        FileFormatError: the file is truncated, foreign, or names other columns than its flow has.

    Example:
        >>> from bijecta.flows import realnvp
        >>> from bijecta.persistence import load_table_model, save
        >>> save(realnvp(2, context=1), "model.safetensors")
        >>> model = load_table_model("model.safetensors")
        >>> model.schema.names, model.context
        (('x0', 'x1'), ('context0',))
    """
    file = model_path(path)
    header, flow = read_header(file), load(file)
    shape = flow.event_shape
    if shape is None or len(shape) != 1:
        raise InputError(f"{file.name} is a model of arrays {shape}, not of table rows. Use it from Python.")
    schema, context = _names_of(header["metadata"], shape[0], flow.context)
    if len(schema.columns) != shape[0] or len(context) != flow.context:
        raise FileFormatError(f"{file.name} names other columns than its flow has. Save it again.")
    return TableModel(flow, schema, context, header)


def _names_of(metadata: Any, features: int, contexts: int) -> tuple[Schema, tuple[str, ...]]:
    """Read the columns that a header names, which may come from anywhere; where it names none, number them."""
    facts = metadata if isinstance(metadata, dict) else {}
    plain = {"columns": [{"name": f"x{number}", "kind": "real"} for number in range(features)]}
    given = facts.get("context") or [f"context{number}" for number in range(contexts)]
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise FileFormatError("The header of the model names contexts that are not a list of names. Save it again.")
    return Schema.from_json(facts.get("schema", plain)), tuple(given)


def rows_of(model: TableModel, table: Table) -> Rows:
    """Take the model's columns from a table, wherever they stand in it, after checking the values."""
    model.schema.validate(table)
    context = numbers(table, model.context) if model.context else None
    return Rows(model.schema.matrix(table), context)


@torch.no_grad()
def log_prob(flow: Distribution, rows: Rows, seed: int) -> Array:
    """Evaluate rows; the seed matters only where integers get noise."""
    torch.manual_seed(seed)
    return _joined([flow.log_prob(x, context) for x, context in _chunks(flow, rows)])


@torch.no_grad()
def to_latent(flow: Distribution, rows: Rows, seed: int) -> Array:
    """Map the continuous columns of rows to the latent space."""
    torch.manual_seed(seed)
    inner = inner_flow(flow)
    if inner is None:
        raise InputError("This model has no continuous columns, and so no latent space.")
    return _joined([inner.to_latent(*inner_rows(flow, x, context)) for x, context in _chunks(flow, rows)])


def latent_names(flow: Distribution, schema: Schema) -> list[str]:
    """Name the columns of the latent space: those of the table that are continuous in the model."""
    if inner_flow(flow) is None:
        return []
    columns = flow.others.tolist() if isinstance(flow, Mixed) else range(len(schema.columns))
    return [f"z_{schema.names[column]}" for column in columns]


@torch.no_grad()
def draw(flow: Distribution, count: int, context: Array | None, seed: int) -> Array:
    """Draw samples; with contexts (N, C), one for each of them and ``count`` is ignored."""
    contexts = None if context is None else (context[start : start + CHUNK] for start in range(0, len(context), CHUNK))
    return np.concatenate(list(draw_parts(flow, count, contexts, seed)))


@torch.no_grad()
def draw_parts(flow: Distribution, count: int, contexts: Iterable[Array] | None, seed: int) -> Iterator[Array]:
    """Draw samples part by part, in bounded memory; with parts of contexts, one sample for each of these."""
    generator = torch.Generator().manual_seed(seed)
    if contexts is None:
        for start in range(0, count, CHUNK):
            yield _joined([flow.sample(min(CHUNK, count - start), generator=generator)])
    for part in contexts or ():
        yield _joined([flow.sample((), as_tensor(flow, part), generator=generator)])


def as_tensor(flow: Distribution, array: Array) -> Tensor:
    """Return an array in the type of the flow's weights."""
    return torch.as_tensor(array).to(next(flow.parameters()))


def parameter_count(flow: Distribution) -> int:
    """Count the trained numbers."""
    return sum(math.prod(parameter.shape) for parameter in flow.parameters())


def _chunks(flow: Distribution, rows: Rows) -> Iterator[tuple[Tensor, Tensor | None]]:
    for start in range(0, len(rows), CHUNK):
        part = rows.take(np.arange(start, min(start + CHUNK, len(rows))))
        yield as_tensor(flow, part.x), None if part.context is None else as_tensor(flow, part.context)


def _joined(parts: list[Tensor]) -> Array:
    return torch.cat(parts).double().numpy()

"""The commands that use a model: sample, score, check, info."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import typer

from bijecta.cli.console import as_json, show, show_json, show_table, tell
from bijecta.cli.problem import draw_table, read_file
from bijecta.data import TOYS, Table, read_table, toy
from bijecta.data.chunks import read_chunks, stands_for_many, write_chunks
from bijecta.data.rows import Array, numbers
from bijecta.diagnostics import check
from bijecta.errors import InputError
from bijecta.persistence import TableModel, load_table_model, read_header
from bijecta.persistence.tabular import CHUNK, as_tensor, draw_parts, log_prob, model_path, parameter_count, rows_of

ROWS = 1000


def run_sample(
    path: Path, count: int | None, context: str | None, context_file: str | None, seed: int, out: str
) -> None:
    """Draw samples and write them."""
    model = load_table_model(path)
    given = _contexts(model, count, context, context_file)
    write_chunks(out, [*model.schema.names, *model.context], _samples(model, count or ROWS, given, seed))


def _samples(model: TableModel, count: int, given: "Contexts | None", seed: int) -> Iterator[dict[str, Any]]:
    """Draw samples part by part, with the contexts that they belong to as further columns."""
    contexts = repeat(None) if given is None else given.parts()
    drawn_parts = draw_parts(model.flow, count, None if given is None else given.parts(), seed)
    for drawn, rows in zip(drawn_parts, contexts, strict=False):
        columns = model.schema.columns_from_matrix(drawn)
        yield columns if rows is None else columns | {name: rows[:, k] for k, name in enumerate(model.context)}


@dataclass(frozen=True)
class Contexts:
    """Contexts of shape (N, C), each for ``times`` samples."""

    rows: Array
    times: int

    def parts(self) -> Iterator[Array]:
        """Hand out the context of each sample, in bounded memory."""
        total = len(self.rows) * self.times
        for start in range(0, total, CHUNK):
            yield self.rows[np.arange(start, min(start + CHUNK, total)) // self.times]


def _contexts(model: TableModel, count: int | None, context: str | None, context_file: str | None) -> Contexts | None:
    """Return the contexts of the samples that are wanted, or None for a model without contexts."""
    if not model.context:
        if context or context_file:
            raise InputError("This model has no context. Leave out --context and --context-file.")
        return None
    if context_file is not None:
        return Contexts(numbers(read_table(context_file), model.context), count or 1)
    if context is None:
        raise InputError(
            f"This model is conditional: give {', '.join(model.context)} as --context {_example(model)} or as a table "
            "with --context-file."
        )
    return Contexts(_read_context(model, context)[None], count or ROWS)


def _read_context(model: TableModel, text: str) -> Array:
    try:
        values = np.array([float(part) for part in text.split(",")])
    except ValueError as error:
        raise typer.BadParameter(f"expected numbers such as {_example(model)}, got {text!r}.") from error
    if len(values) != len(model.context) or not np.isfinite(values).all():
        names = ", ".join(model.context)
        raise typer.BadParameter(f"expected {len(model.context)} finite number(s) for {names}, got {text!r}.")
    return values


def _example(model: TableModel) -> str:
    return ",".join("1.0" for _ in model.context)


def run_score(path: Path, data: str, seed: int, out: str) -> None:
    """Compute log_prob of every row."""
    model = load_table_model(path)
    in_pieces = data not in TOYS and (stands_for_many(data) or Path(data.partition("::")[0]).is_file())
    tables = read_chunks(data) if in_pieces else iter([read_data(data, seed)])
    write_chunks(out, ["log_prob"], _scores(model, tables, seed))


def _scores(model: TableModel, tables: Iterator[Table], seed: int) -> Iterator[dict[str, Any]]:
    """Compute log_prob table by table; of many, each has its own noise for integers, and errors name their rows."""
    begin = 0
    for number, table in enumerate(tables):
        known = (*model.schema.names, *model.context)
        if number == 0 and (extra := [name for name in table.names if name not in known]):
            tell(f"ignored: {', '.join(extra)}, which the model does not know", "dim")
        try:
            rows = rows_of(model, table)
        except InputError as error:
            raise InputError(f"{error}" + (f"\nRows count from row {begin} of the data." if begin else "")) from error
        yield {"log_prob": log_prob(model.flow, rows, seed + number)}
        begin += table.n_rows


def read_data(data: str, seed: int) -> Table:
    """Read a table, or draw one from a toy set."""
    return draw_table(toy(data), ROWS, seed) if data in TOYS else read_file(data)


def run_check(path: Path, data: str | None, rows: int, seed: int, *, json: bool) -> None:
    """Measure a model, and exit with 1 if it fails."""
    model = load_table_model(path)
    found = None if data is None else rows_of(model, read_data(data, seed))
    x = None if found is None else as_tensor(model.flow, found.x)
    context = None if found is None or found.context is None else as_tensor(model.flow, found.context)
    report = check(model.flow, x, context, samples=rows, seed=seed)
    if json:
        show_json(report.to_json())
    else:
        show(str(report))
    if not report.passed:
        raise typer.Exit(1)


def run_info(path: Path, *, json: bool) -> None:
    """Print the header of a model."""
    if json:
        show_json(read_header(model_path(path)))
        return
    model = load_table_model(path)
    metadata = model.header["metadata"]
    show_table(("", ""), _facts(model, metadata))
    show("")
    show(str(model.schema))
    if model.context:
        show(f"given: {', '.join(model.context)}")


def _facts(model: TableModel, metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    recipe = model.header["recipe"]
    arguments = {key: value for key, value in recipe["arguments"].items() if key != "schema"}
    facts = {
        "data": metadata.get("data"),
        "recipe": recipe["name"],
        **arguments,
        "parameters": f"{parameter_count(model.flow):,}",
        **{key: value for key, value in metadata.get("metrics", {}).items() if not isinstance(value, dict)},
        "versions": ", ".join(f"{name} {version}" for name, version in metadata.get("versions", {}).items()),
        "format": model.header["format"],
    }
    return [(name, _plain(value)) for name, value in facts.items() if value not in (None, "")]


def _plain(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(as_json(value))

"""The commands that use a model: sample, score, check, info."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import typer

from bijecta.cli.console import as_json, show, show_json, show_table, tell
from bijecta.cli.models import Model, as_tensor, draw, load_model, log_prob, model_path, parameter_count, rows_of
from bijecta.cli.problem import Array, draw_table, numbers, read_file
from bijecta.data import TOYS, Table, read_table, toy, write_table
from bijecta.diagnostics import check
from bijecta.errors import InputError
from bijecta.persistence import read_header

ROWS = 1000


def run_sample(
    path: Path, count: int | None, context: str | None, context_file: str | None, seed: int, out: str
) -> None:
    """Draw samples and write them."""
    model = load_model(path)
    given = _contexts(model, count, context, context_file)
    samples = model.schema.columns_from_matrix(draw(model.flow, count or ROWS, given, seed))
    columns = dict(samples)
    if given is not None:
        columns |= {name: given[:, k] for k, name in enumerate(model.context)}
    write_table(out, list(columns), columns)


def _contexts(model: Model, count: int | None, context: str | None, context_file: str | None) -> Array | None:
    """Return one context per sample that is wanted, or None for a model without contexts."""
    if not model.context:
        if context or context_file:
            raise InputError("This model has no context. Leave out --context and --context-file.")
        return None
    if context_file is not None:
        rows = numbers(read_table(context_file), model.context)
        return np.repeat(rows, count or 1, axis=0)
    if context is None:
        raise InputError(
            f"This model is conditional: give {', '.join(model.context)} as --context {_example(model)} or as a table "
            "with --context-file."
        )
    return np.tile(_read_context(model, context), (count or ROWS, 1))


def _read_context(model: Model, text: str) -> Array:
    try:
        values = np.array([float(part) for part in text.split(",")])
    except ValueError as error:
        raise typer.BadParameter(f"expected numbers such as {_example(model)}, got {text!r}.") from error
    if len(values) != len(model.context) or not np.isfinite(values).all():
        names = ", ".join(model.context)
        raise typer.BadParameter(f"expected {len(model.context)} finite number(s) for {names}, got {text!r}.")
    return values


def _example(model: Model) -> str:
    return ",".join("1.0" for _ in model.context)


def run_score(path: Path, data: str, seed: int, out: str) -> None:
    """Compute log_prob of every row."""
    model = load_model(path)
    table = read_data(data, seed)
    rows = rows_of(model, table)
    known = (*model.schema.names, *model.context)
    if extra := [name for name in table.names if name not in known]:
        tell(f"ignored: {', '.join(extra)}, which the model does not know", "dim")
    values = log_prob(model.flow, rows, seed)
    write_table(out, ["log_prob"], {"log_prob": values})


def read_data(data: str, seed: int) -> Table:
    """Read a table, or draw one from a toy set."""
    return draw_table(toy(data), ROWS, seed) if data in TOYS else read_file(data)


def run_check(path: Path, data: str | None, rows: int, seed: int, *, json: bool) -> None:
    """Measure a model, and exit with 1 if it fails."""
    model = load_model(path)
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
    model = load_model(path)
    metadata = model.header["metadata"]
    show_table(("", ""), _facts(model, metadata))
    show("")
    show(str(model.schema))
    if model.context:
        show(f"given: {', '.join(model.context)}")


def _facts(model: Model, metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
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

"""From the body of a request to a table, and from values to the text of an answer."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from bijecta.data import Table, write_table
from bijecta.data.formats import read_delimited
from bijecta.data.table import AnyArray, unknown_column
from bijecta.errors import InputError
from bijecta.service.refusal import RefusedError

Types = tuple[type, ...]

SEEDS = 2**53  # whole numbers beyond are not exact in the JSON of most languages
_TYPES = {str: "text", bool: "a truth value", type(None): "null", list: "a list", dict: "an object"}


def read_json(body: bytes) -> dict[str, Any]:
    """Read a JSON object, strictly: NaN and Infinity are no JSON.

    Raises:
        RefusedError: with 400, the body is not JSON in UTF-8.
        InputError: it is not an object.
    """
    try:
        content = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"The body is not JSON: {error}. Send one JSON object, in UTF-8.") from error
    if not isinstance(content, dict):
        raise InputError(f"The body must be a JSON object, got {_kind(content)}.")
    return content


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number of JSON")


def check_keys(content: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse keys that would be ignored: they are misspelt ones."""
    for key in content:
        if key not in known:
            raise InputError(f"The body has the unknown key {key!r}. Known: {', '.join(known)}.")


def whole_number(content: Mapping[str, Any], key: str, default: int, low: int) -> int:
    """Read a whole number that may be left out."""
    value = content.get(key, default)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, float) and value.is_integer():
        value, whole = int(value), True
    if not whole or not low <= value < SEEDS:
        raise InputError(f"{key} must be a whole number from {low} on, got {_kind(value)}.")
    return int(value)


def table_of_json(content: Mapping[str, Any], wanted: Mapping[str, Types]) -> Table:
    """Make a table of ``rows``, a list of objects, or of ``columns``, an object of lists.

    Args:
        content: with one of the two keys.
        wanted: the columns to take, each with the types that its values may have; others are left out.

    Returns:
        The table. Its values are of the right types; whether they fit a model is for its schema to say.

    Raises:
        InputError: none of the two keys or both, no rows, or rows that lack a column or hold another type.
    """
    if ("rows" in content) == ("columns" in content):
        raise InputError('Give either "rows", a list of objects, or "columns", an object of lists.')
    if "rows" in content:
        return table_of_rows(content["rows"], wanted, "rows")
    columns = content["columns"]
    if not isinstance(columns, dict):
        raise InputError(f'"columns" must be an object of lists, got {_kind(columns)}.')
    for name in wanted:
        if name not in columns:
            raise InputError(unknown_column(name, columns))
        if not isinstance(columns[name], list):
            raise InputError(f"The column {name} must be a list of values, got {_kind(columns[name])}.")
    return _table({name: columns[name] for name in wanted}, wanted)


def table_of_rows(rows: Any, wanted: Mapping[str, Types], key: str) -> Table:
    """Make a table of a list of objects; what they hold beside the columns that are wanted is left out."""
    if not isinstance(rows, list):
        raise InputError(f"{key} must be a list of objects with {', '.join(wanted)}; got {_kind(rows)}.")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InputError(f"Row {number} must be an object with a value for every column, got {_kind(row)}.")
        for name in wanted:
            if name not in row:
                raise InputError(f"Row {number}: {unknown_column(name, row)}")
    return _table({name: [row[name] for row in rows] for name in wanted}, wanted)


def _table(columns: Mapping[str, list[Any]], wanted: Mapping[str, Types]) -> Table:
    if not all(columns.values()):
        raise InputError("There are no rows. Send at least one.")
    return Table(tuple(columns), {name: _array(name, values, wanted[name]) for name, values in columns.items()})


def _array(name: str, values: list[Any], types: Types) -> AnyArray:
    if not {type(value) for value in values} <= {*types, type(None)}:
        number = next(k for k, value in enumerate(values) if type(value) not in (*types, type(None)))
        expected = " or ".join(dict.fromkeys(_TYPES.get(each, "a number") for each in types))
        raise InputError(f"{name} is {_kind(values[number])} in row {number}, expected {expected}.")
    if str in types:
        return np.array(["" if value is None else value for value in values])
    if bool in types and None not in values:
        return np.array(values)
    try:
        return np.array([math.nan if value is None else float(value) for value in values])
    except OverflowError as error:
        raise InputError(f"{name} holds a number beyond those that a computer calculates with.") from error


def table_of_csv(body: bytes) -> Table:
    """Read CSV with a header line."""
    try:
        return read_delimited(body, "The body", ",")
    except csv.Error as error:  # a header with a field of megabytes, for example
        raise InputError(f"The body cannot be read as CSV: {error}.") from error


def to_csv(columns: Mapping[str, AnyArray]) -> bytes:
    """Write columns as CSV with a header line."""
    stream = io.BytesIO()
    write_table("-", list(columns), columns, stream=stream)
    return stream.getvalue()


def to_json(content: Mapping[str, Any]) -> bytes:
    """Write JSON, compact. In ASCII, because names that are sent back may hold halves of characters."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def finite_or_null(values: Iterable[float]) -> list[float | None]:
    """Return numbers as JSON can hold them."""
    return [value if math.isfinite(value) else None for value in values]


def _kind(value: Any) -> str:
    return _TYPES.get(type(value), repr(value)[:40])

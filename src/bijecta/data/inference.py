"""Guess the schema of a table and say what is wrong with the data, before any training."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bijecta.data.findings import MOST_LABELS, Finding, column_findings, table_findings
from bijecta.data.schema import Column, Schema, find_problem
from bijecta.data.table import AnyArray, FloatArray, Table, as_labels, is_numeric, unknown_column
from bijecta.errors import InputError

_ANGLE_NAME = re.compile(
    r"(^|[^a-z])(d?phi|angle|azimuth|az|deg|degrees|direction|heading|longitude|lon|psi)\d*($|[^a-z])"
)
_MOST_LEVELS = 32  # distinct whole numbers that are looked at as levels, such as ratings, and not as counts
_LEVEL_SHARE = 0.01  # share of rows that the lowest and the highest level must have: the ends of counts are rare
_CIRCLES = ((-np.pi, np.pi), (0.0, 2.0 * np.pi), (-180.0, 180.0), (0.0, 360.0))


def infer_schema(
    table: Table, overrides: Mapping[str, str | Mapping[str, Any]] | None = None, *, drop: Sequence[str] = ()
) -> tuple[Schema, list[Finding]]:
    """Guess what each column is, and report what would spoil a fit.

    Whole numbers become integer: those whose smallest is 0 with that as their lower end, a few levels whose first
    and last are both frequent with both ends. Positive floats whose middle 99.8 % span more than a factor of 100 and
    that are strongly skewed become positive; text and booleans become category, with the sorted labels of the data;
    everything else becomes real. Intervals and circles are never guessed, only suggested.

    Args:
        table: the data.
        overrides: kinds that you know better, in the syntax of `Schema.override`.
        drop: columns to leave out.

    Returns:
        The schema, and findings in the order error, warning, note. Training must not start on an error: fix the
        data, override the kind, or drop the columns it names.

    Raises:
        InputError: a column to drop or override does not exist, or no column is left.

    Reference:
        Stevens (1946), "On the theory of scales of measurement".

    Example:
        >>> table = Table(("x", "n"), {"x": np.linspace(0.0, 1.0, 50) ** 2, "n": np.arange(50) % 7})
        >>> schema, findings = infer_schema(table)
        >>> print(schema)
        name  kind     support    type
        x     real     (-∞, ∞)    float64
        n     integer  {0 ... 6}  int64
    """
    kept = _without(table, drop)
    schema = Schema(tuple(_infer_column(name, kept.columns[name]) for name in kept.names))
    schema = schema.override(overrides or {})
    schema = Schema(tuple(_with_labels(column, kept.columns[column.name]) for column in schema.columns))
    findings = []
    for column in schema.columns:
        findings += column_findings(column, kept.columns[column.name])
        findings += _override_findings(column, kept, named=column.name in (overrides or {}))
        findings += _circle_findings(column, kept.columns[column.name])
    findings += table_findings(schema, kept)
    order = ("error", "warning", "note")
    return schema, sorted(findings, key=lambda finding: order.index(finding.severity))


def _without(table: Table, drop: Sequence[str]) -> Table:
    for name in drop:
        if name not in table.columns:
            raise InputError(unknown_column(name, table.names))
    kept = [name for name in table.names if name not in drop]
    if not kept:
        raise InputError("All columns are dropped. Keep at least one.")
    return table.select(kept)


def _infer_column(name: str, values: AnyArray) -> Column:
    if not is_numeric(values) or values.dtype.kind == "b":
        return Column(name, "category", dtype="bool" if values.dtype.kind == "b" else "str")
    dtype = values.dtype.name
    finite = values[np.isfinite(values)].astype(np.float64)
    # Beyond 1/eps every float is a whole number, which says nothing about the data.
    whole = values.dtype.kind in "iu" or (
        finite.size > 0
        and np.abs(finite).max() < 1.0 / float(np.finfo(values.dtype).eps)
        and bool((finite == np.round(finite)).all())
    )
    if whole:
        low, high = _ends(finite)
        return Column(name, "integer", low=low, high=high, dtype=dtype)
    return Column(name, "positive" if _spans_decades(finite) else "real", dtype=dtype)


def _with_labels(column: Column, values: AnyArray) -> Column:
    """List the labels of a category, unless they are given; too many are not listed, `column_findings` says so."""
    if column.kind != "category" or column.categories is not None:
        return column
    present = values[np.isfinite(values)] if is_numeric(values) else values
    labels = as_labels(np.unique(present), np.dtype(column.dtype))
    return replace(column, categories=tuple(labels.tolist())) if 0 < len(labels) <= MOST_LABELS else column


def _ends(finite: FloatArray) -> tuple[float | None, float | None]:
    """Return the ends of whole numbers, as far as the data show them."""
    levels, counts = np.unique(finite, return_counts=True)
    enough = max(2.0, _LEVEL_SHARE * finite.size)
    if 1 < levels.size <= _MOST_LEVELS and np.ptp(levels) < 2 * _MOST_LEVELS and min(counts[0], counts[-1]) >= enough:
        return float(levels[0]), float(levels[-1])
    # A column that reaches 0 and not below counts something; samples of it shall not be negative.
    return (0 if finite.size and levels[0] == 0 else None), None


def _spans_decades(values: FloatArray) -> bool:
    """Tell whether values are positive, span over two decades, and are less skewed on a logarithmic scale."""
    if values.size < 3 or values.min() <= 0:
        return False
    low, high = np.quantile(values, [0.001, 0.999])
    skewness = _skewness(values)
    return bool(high > 100.0 * low and skewness > 1.0 and abs(_skewness(np.log(values))) < skewness)


def _skewness(values: FloatArray) -> float:
    centred = values / np.abs(values).max() if values.any() else values
    centred = centred - centred.mean()
    spread = centred.std()
    return float(np.mean((centred / spread) ** 3)) if spread > 0 else 0.0


def _override_findings(column: Column, table: Table, *, named: bool) -> list[Finding]:
    """Check a kind that the user chose against the data. Missing values and text are reported elsewhere."""
    values = table.columns[column.name]
    if not named or (column.kind == "category" and column.categories is None):
        return []
    if column.kind != "category" and (not is_numeric(values) or not np.isfinite(values).all()):
        return []
    problem = find_problem(column, table)
    return [Finding("error", (column.name,), problem)] if problem else []


def _circle_findings(column: Column, values: AnyArray) -> list[Finding]:
    if column.kind not in ("real", "positive", "integer") or not _ANGLE_NAME.search(column.name.lower()):
        return []
    finite = values[np.isfinite(values)]
    for low, high in _CIRCLES:
        tolerance = 1e-6 * (high - low)
        if finite.size and finite.min() >= low - tolerance and finite.max() <= high + tolerance:
            return [
                Finding(
                    "note",
                    (column.name,),
                    f"{column.name} is called like an angle and lies in [{low:g}, {high:g}]. If both ends are the same "
                    f"direction, a model on the line wastes effort on the seam. "
                    f'Override it with {{"{column.name}": "periodic:{low!r}:{high!r}"}}.',
                )
            ]
    return []

"""A table of one's own: an example, reading an upload, and what is said about it before any training."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bijecta.data import Finding, Schema, Table, infer_schema, read_table
from bijecta.data.missing import is_missing, without_missing
from bijecta.errors import BijectaError, FileFormatError, InputError

LARGEST_ROWS, LARGEST_COLUMNS = 200_000, 40
FORMATS = ("csv", "tsv", "txt", "parquet")
MOSTLY = 0.5  # a column with a larger share of missing values costs more rows than it is worth
LEAST_ROWS = 20


@dataclass(frozen=True)
class Wishes:
    """What a visitor decides about the columns.

    Attributes:
        kinds: kinds that are known better, as `infer_schema` takes them.
        drop: columns to leave out.
        complete: whether rows with missing values are left out.
    """

    kinds: Mapping[str, str | Mapping[str, Any]] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    complete: bool = False


@dataclass(frozen=True)
class Inspection:
    """What is known about a table before any training.

    Attributes:
        table: the rows that would be trained on, with all their columns.
        schema: the columns that would be learned.
        findings: what would spoil a fit; errors first.
        rows: how many rows the table had.
        gaps: for each column with missing values how many it has.
    """

    table: Table
    schema: Schema
    findings: tuple[Finding, ...]
    rows: int
    gaps: Mapping[str, int]

    def of(self, severity: str) -> list[Finding]:
        """Return the findings of one severity: "error", "warning" or "note"."""
        return [finding for finding in self.findings if finding.severity == severity]

    @property
    def usable(self) -> bool:
        """Whether nothing stands against training."""
        return not self.of("error") and self.table.n_rows >= LEAST_ROWS


def example_table(rows: int = 2000, seed: int = 0) -> Table:
    """Make a table of invented trees with columns of every sort, which hang together.

    Args:
        rows: how many trees.
        seed: of the trees.

    Returns:
        Species (a label), age in years (whole), height in metres (positive), girth in centimetres, the side that
        the moss grows on in degrees, and whether a bird nests there.
    """
    random = np.random.default_rng(seed)
    kind = random.choice(3, rows, p=(0.5, 0.3, 0.2))
    age = random.poisson(np.array([60, 35, 20])[kind]).astype(np.int64)
    height = np.array([0.28, 0.5, 0.7])[kind] * (age + 1) ** 0.9 * np.exp(0.18 * random.standard_normal(rows))
    girth = 3.1 * height * np.array([2.2, 1.5, 1.1])[kind] + 6 * random.standard_normal(rows)
    moss = np.degrees(random.vonmises(0.0, 1.6, rows)) % 360
    nest = random.random(rows) < 1 / (1 + np.exp(6 - 0.35 * height))
    columns = {
        "species": np.array(["oak", "pine", "birch"])[kind],
        "age": age,
        "height_m": height.round(3),
        "girth_cm": girth.round(2),
        "moss_deg": moss.round(2),
        "nest": nest,
    }
    return Table(tuple(columns), columns)


def read_upload(name: str, content: bytes) -> Table:
    """Read an uploaded file.

    Args:
        name: of the file; its ending says the format.
        content: of the file.

    Returns:
        The table.

    Raises:
        InputError: it is too large, or of an unknown format.
        FileFormatError: it cannot be read.
    """
    suffix = Path(name).suffix.lower()
    if suffix.removeprefix(".") not in FORMATS:
        raise InputError(f"{name} is of no known format. Save the table as one of {', '.join(FORMATS)}.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"upload{suffix}"
        path.write_bytes(content)
        try:
            table = read_table(path)
        except BijectaError as error:
            raise type(error)(str(error).replace(str(path), name)) from error
        except (ValueError, OSError, UnicodeError) as error:
            raise FileFormatError(f"{name} cannot be read ({error}). Save it as CSV in UTF-8.") from error
    if table.n_rows > LARGEST_ROWS or len(table.names) > LARGEST_COLUMNS:
        raise InputError(
            f"{name} has {table.n_rows:,} rows and {len(table.names)} columns. This page takes {LARGEST_ROWS:,} rows "
            f"and {LARGEST_COLUMNS} columns; for more there is the command bijecta fit."
        )
    return table


def inspect(table: Table, wishes: Wishes) -> Inspection:
    """Say what a table is, under the wishes of a visitor.

    Args:
        table: all of it.
        wishes: kinds, columns to leave out, and whether incomplete rows go.

    Returns:
        Schema and findings.

    Raises:
        InputError: a kind does not fit its column, or no column is left.
    """
    kept = [name for name in table.names if name not in wishes.drop]
    if not kept:
        raise InputError("All columns are left out. Keep at least one.")
    missing = {name: int(is_missing(table.columns[name]).sum()) for name in kept}
    gaps = {name: count for name, count in missing.items() if count}
    rows = without_missing(table, kept)[0] if wishes.complete else table
    if rows.n_rows == 0:
        worst = max(gaps, key=lambda name: gaps[name])
        raise InputError(f"Every row has a missing value. Leave out the column with most of them first: {worst}.")
    kinds = {name: kind for name, kind in wishes.kinds.items() if name in kept}
    schema, findings = infer_schema(rows, kinds, drop=list(wishes.drop))
    return Inspection(rows, schema, tuple(findings), table.n_rows, gaps)


def repaired(table: Table, wishes: Wishes) -> Wishes:
    """Wish for what the errors advise, so that a fit can begin.

    Args:
        table: all of it.
        wishes: as they are.

    Returns:
        Incomplete rows go, and so do columns that are mostly missing, and those that errors name last.

    Raises:
        InputError: no column is left.
    """
    empty = [name for name in table.names if is_missing(table.columns[name]).mean() > MOSTLY]
    wishes = Wishes(wishes.kinds, tuple(dict.fromkeys([*wishes.drop, *empty])), complete=True)
    while errors := inspect(table, wishes).of("error"):
        wishes = Wishes(wishes.kinds, (*wishes.drop, errors[0].columns[-1]), complete=True)
    return wishes


def plain_words(message: str) -> str:
    """Say a finding without Python: what to do is a matter of widgets here.

    Example:
        >>> from bijecta.app.tables import plain_words
        >>> plain_words("x is constant (1). Drop it: drop=['x'].")
        'x is constant (1). Drop it.'
    """
    message = re.sub(r":? ?\(?drop=\[[^\]]*\]\)?", "", message)
    message = re.sub(r', \{"[^{}]*"\}(?=,)', "", message)
    return re.sub(r'(?::| with) \{"[^{}]*": "([^":{}]*)[^"{}]*"\}', r" as \1", message)


def value_range(values: Any, limit: int = 4) -> str:
    """Describe the values of a column: from where to where, or the first labels."""
    if values.dtype.kind in "iuf":
        finite = values[np.isfinite(values)]
        return f"{finite.min():.4g} to {finite.max():.4g}" if len(finite) else "nothing"
    labels: Sequence[str] = [str(label) for label in np.unique(values)]
    more = f", ... ({len(labels)} labels)" if len(labels) > limit else ""
    return ", ".join(label[:24] or "(empty)" for label in labels[:limit]) + more

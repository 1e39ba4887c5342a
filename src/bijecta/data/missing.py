"""Leave rows with missing values out."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bijecta.data.table import AnyArray, Table


def without_missing(table: Table, names: Sequence[str]) -> tuple[Table, dict[str, int]]:
    """Keep the rows in which no column asked for is missing: NaN, a date that is none, or empty text.

    Args:
        table: any table.
        names: columns to look at; the others may have gaps.

    Returns:
        The complete rows, and for each column with gaps how many it has.

    Raises:
        InputError: a column does not exist.

    Reference:
        Rubin (1976), "Inference and missing data": what is left has the distribution of all rows only where the gaps
        do not depend on the values.

    Example:
        >>> table = Table(("x", "y"), {"x": np.array([1.0, np.nan]), "y": np.array([3.0, 4.0])})
        >>> complete, gaps = without_missing(table, ["x", "y"])
        >>> complete.columns["y"].tolist(), gaps
        ([3.0], {'x': 1})
    """
    gaps = {name: is_missing(column) for name, column in table.select(names).columns.items()}
    gaps = {name: gap for name, gap in gaps.items() if gap.any()}
    if not gaps:
        return table, {}
    whole = ~np.any(list(gaps.values()), axis=0)
    return take_rows(table, whole), {name: int(gap.sum()) for name, gap in gaps.items()}


def is_missing(column: AnyArray) -> NDArray[np.bool_]:
    """Mark missing values."""
    if column.dtype.kind == "f":
        return np.isnan(column)
    if column.dtype.kind in "mM":
        return np.isnat(column)
    return np.asarray(column == "") if column.dtype.kind == "U" else np.zeros(len(column), dtype=bool)


def take_rows(table: Table, rows: AnyArray) -> Table:
    """Take rows by number or mask."""
    return Table(table.names, {name: column[rows] for name, column in table.columns.items()})


def stack_tables(tables: Sequence[Table]) -> Table:
    """Put tables with the same columns under each other."""
    names = tables[0].names
    return Table(names, {name: np.concatenate([table.columns[name] for table in tables]) for name in names})

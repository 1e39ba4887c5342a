"""Rows as models take them: a matrix, with contexts and weights beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bijecta.data.schema import Column, Schema
from bijecta.data.table import Table

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Rows of data with their contexts and weights, float64."""

    x: Array
    context: Array | None = None
    weight: Array | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: NDArray[np.int64]) -> "Rows":
        """Take some rows."""
        return Rows(self.x[index], *(None if a is None else a[index] for a in (self.context, self.weight)))


def numbers(table: Table, names: Sequence[str]) -> Array:
    """Return columns that are used as they are, contexts and weights, after checking that they are finite numbers."""
    if not names:
        return np.empty((table.n_rows, 0))
    plain = Schema(tuple(Column(name, "real") for name in names))
    plain.validate(table)
    return plain.matrix(table)

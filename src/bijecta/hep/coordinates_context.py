"""From the conditions of events to the context that a flow sees."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from bijecta.hep.schema import Condition


def columns_of(condition: Condition) -> int:
    """Count the columns of a context that a condition takes."""
    return len(condition.values) or 1


def energy_column(conditions: Sequence[Condition]) -> int | None:
    """Find the column of the context that holds ln(√s / GeV); None if no condition is an energy."""
    column = 0
    for condition in conditions:
        if condition.kind == "log_energy":
            return column
        column += columns_of(condition)
    return None


def context_of(conditions: Sequence[Condition], values: Mapping[str, ArrayLike], n: int) -> Tensor | None:
    """Compute contexts: logarithms of energies, a column of zeros and ones per label, numbers as they are.

    Args:
        conditions: what the density depends on.
        values: for each of them one value, or n.
        n: number of rows.

    Returns:
        The contexts (n, C) in float64, None without conditions.

    Example:
        >>> context_of([Condition("process", "one_hot", ("a", "b"))], {"process": "b"}, 1)
        tensor([[0., 1.]], dtype=torch.float64)
    """
    parts = []
    for each in conditions:
        column = np.broadcast_to(np.asarray(values[each.name]), (n,))
        if each.kind == "one_hot":
            parts += [column == value for value in each.values]
        else:
            parts.append(np.log(column) if each.kind == "log_energy" else column)
    return torch.tensor(np.stack(parts, 1), dtype=torch.float64) if parts else None


def per_event(values: Mapping[str, ArrayLike], n: int) -> dict[str, NDArray[Any]]:
    """Give every one of n events its value of each condition."""
    return {name: np.broadcast_to(np.asarray(value), (n,)).copy() for name, value in values.items()}

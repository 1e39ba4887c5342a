"""What may be present in an event: so many particles of each sort, and columns at their limits."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from bijecta.errors import InputError
from bijecta.hep.coordinates_slots import Range, Slot
from bijecta.hep.schema import VariableParticles

ABSENT, INSIDE, LOWER, UPPER = -1.0, 0.0, 1.0, 2.0
_MOST = 1024


class Patterns(NamedTuple):
    """Everything that may be present, one row per pattern.

    Attributes:
        states: the number of each sort of variable particles, then for each column with limits whether it is absent
            (-1), inside (0), at the lower limit (1) or at the upper one (2); shape (K, G + S).
        flags: which continuous columns have a density, shape (K, D).
        rest: the values of the others, shape (K, D).
        limits: lower and upper limit of each column that has some, infinite where there is none, shape (S, 2).
        limited: the numbers of these columns, shape (S,).
    """

    states: Tensor
    flags: Tensor
    rest: Tensor
    limits: Tensor
    limited: Tensor

    def index_of(self, counts: Tensor, columns: Tensor) -> Tensor:
        r"""Find the pattern of rows.

        Args:
            counts: numbers of variable particles (\*B, G).
            columns: the continuous columns (\*B, D).

        Returns:
            The number of the pattern (\*B,) as a float; K where there is none.
        """
        values = columns.index_select(-1, self.limited)
        low, high = self.limits.unbind(-1)
        state = torch.where(values <= low, LOWER, torch.where(values >= high, UPPER, INSIDE)).to(counts.dtype)
        row = torch.cat([counts, state], -1).unsqueeze(-2)
        same = ((self.states == row) | (self.states == ABSENT)).all(-1)
        return torch.where(same.any(-1), same.to(torch.uint8).argmax(-1), same.shape[-1]).to(columns.dtype)


def list_patterns(
    groups: Sequence[VariableParticles], slots: Sequence[Slot], continuous: Sequence[str], limits: Mapping[str, Range]
) -> Patterns:
    """List everything that may be present.

    Args:
        groups: the variable particles.
        slots: the particles that are described each by itself.
        continuous: the names of the continuous columns.
        limits: lower and upper limit by the name of the column, None where there is none.

    Returns:
        The patterns.

    Raises:
        InputError: there are more than 1024.

    Example:
        >>> jets = VariableParticles("jet", 0, 0.0, most=3)
        >>> list_patterns([jets], [], ["met"], {"met": (0.0, None)}).states.shape
        torch.Size([8, 2])
    """
    owner = {name: slot for slot in slots for name in slot.columns}
    counts = product(*(range(group.most + 1) for group in groups))
    rows = [
        (*numbers, *state)
        for numbers in counts
        for state in product(*_choices(dict(zip(groups, numbers, strict=True)), owner, limits))
    ]
    if len(rows) > _MOST:
        raise InputError(
            f"There are {len(rows)} combinations of numbers of particles and columns at their limits; at most {_MOST} "
            "can be told apart. Take fewer particles or fewer limits."
        )
    states = torch.tensor(rows, dtype=torch.float32).reshape(len(rows), -1)
    flags, rest = torch.ones(len(rows), len(continuous)), torch.zeros(len(rows), len(continuous))
    for column, name in enumerate(continuous):
        group = owner[name].group if name in owner else None
        if group is not None:
            flags[:, column] = (states[:, list(groups).index(group)] > owner[name].number).float()
    for state, (name, (low, high)) in zip(states[:, len(groups) :].unbind(-1), limits.items(), strict=True):
        column = continuous.index(name)
        flags[:, column] *= state == INSIDE
        rest[:, column] = torch.where(state == LOWER, low or 0.0, torch.where(state == UPPER, high or 0.0, 0.0))
    ends = [[-torch.inf if low is None else low, torch.inf if high is None else high] for low, high in limits.values()]
    limited = torch.tensor([continuous.index(name) for name in limits], dtype=torch.long)
    return Patterns(states, flags, rest, torch.tensor(ends).reshape(-1, 2), limited)


def _choices(
    numbers: Mapping[VariableParticles, int], owner: Mapping[str, Slot], limits: Mapping[str, Range]
) -> Iterator[tuple[float, ...]]:
    """Yield, for each column with limits, the states that it can be in."""
    for name, (low, high) in limits.items():
        slot = owner.get(name)
        if slot is not None and slot.group is not None and numbers[slot.group] <= slot.number:
            yield (ABSENT,)
        else:
            yield (INSIDE, *([LOWER] if low is not None else []), *([UPPER] if high is not None else []))

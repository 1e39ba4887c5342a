"""Rows that a flow is fitted to when they do not fit into memory: one pass to know them, then one pass per epoch."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bijecta.data.streams import Part, RowNumbers, Stream, join_parts
from bijecta.errors import InputError
from bijecta.training.rows import Rows

VALIDATION_ROWS = 131_072  # kept in memory: the error of their mean is far below what one epoch gains
START_ROWS = 100_000  # random rows that a flow is initialised with


@dataclass(frozen=True)
class StreamedRows:
    """A stream on its way to the device and dtype of a flow, with weights divided by ``scale``."""

    stream: Stream
    like: Tensor
    scale: float = 1.0

    @property
    def device(self) -> torch.device:
        """Where batches go."""
        return self.like.device

    def fingerprint(self) -> str:
        """Summarise the files in a hash, to recognise the same data when a run is resumed."""
        return self.stream.fingerprint()

    def as_rows(self, part: Part) -> Rows:
        """Bring a part of the stream to the device."""
        context, weight = (None if each is None else self._tensor(each) for each in (part.context, part.weight))
        scaled = None if weight is None else weight / self.scale
        return Rows(torch.as_tensor(part.number).to(self.device), self._tensor(part.x), context, scaled)

    def split(self, fraction: float, seed: int) -> "tuple[TrainingStream, Rows | None]":
        """Read everything once: check it, sum the weights, and keep validation rows and rows to start from.

        Raises:
            InputError: a value cannot be used, or the weights do not have a positive sum.
        """
        held = self.stream.choose(min(round(fraction * len(self.stream)), VALIDATION_ROWS), seed)
        training = self.stream.without(held)
        survey = _survey(self.stream, held, training.choose(START_ROWS, (seed, 1)))
        if survey.count == 0:
            raise InputError("fit expects at least one training row; the stream has none. Check the files.")
        scale = survey.weight / (survey.count + len(survey.held))
        if not scale > 0:
            raise InputError(f"fit expects weights with a positive sum, got the mean {scale:g}.")
        rows = StreamedRows(training, self.like, scale)
        validation = rows.as_rows(survey.held) if len(survey.held) else None
        return TrainingStream(rows, survey.count, rows.as_rows(survey.start), survey.effective_sample_size), validation

    def _tensor(self, array: Any) -> Tensor:
        return torch.as_tensor(array).to(self.device)


@dataclass(frozen=True)
class TrainingStream:
    """The training rows of a stream.

    Attributes:
        rows: where they come from.
        count: how many there are.
        start: some of them, that a flow is initialised with.
        effective_sample_size: what they are worth after weighting.
    """

    rows: StreamedRows
    count: int
    start: Rows
    effective_sample_size: float

    def __len__(self) -> int:
        return self.count

    def shuffled(self, size: int, seed: int, epoch: int) -> Iterator[Rows]:
        """Hand the rows out in the random order of an epoch, in batches of nearly equal size, at most ``size``."""
        batches = max(1, -(-self.count // size))
        sizes = [self.count // batches + (number < self.count % batches) for number in range(batches)]
        with closing(self.rows.stream.shuffled(seed, epoch)) as parts:
            waiting, begin = self.rows.as_rows(next(parts)), 0
            for wanted in sizes:
                while len(waiting) - begin < wanted:
                    waiting = _stacked(waiting.take(slice(begin, None)), self.rows.as_rows(next(parts)))
                    begin = 0
                yield waiting.take(slice(begin, begin + wanted))
                begin += wanted


@dataclass(frozen=True)
class _Survey:
    count: int
    weight: float
    effective_sample_size: float
    held: Part
    start: Part


def read_stream(flow: nn.Module, stream: Stream, context: Any, weight: Any) -> StreamedRows:
    """Bring a stream to the device and dtype of a flow.

    Raises:
        InputError: contexts or weights come beside the stream.
    """
    if context is not None or weight is not None:
        raise InputError("A Stream names its own context and weight columns: Stream(files, context=..., weight=...).")
    like = next(flow.parameters())
    return StreamedRows(stream.as_type(str(like.dtype).removeprefix("torch.")), like)


def _survey(stream: Stream, held: RowNumbers, start: RowNumbers) -> _Survey:
    """Go through all rows once; of those that are not held, count and sum."""
    count, weight, square, total = 0, 0.0, 0.0, 0.0
    kept: list[Part] = []
    begin: list[Part] = []
    for part in stream.parts():
        is_held = np.isin(part.number, held)
        kept.append(part.take(is_held))
        begin.append(part.take(np.isin(part.number, start)))
        count += int((~is_held).sum())
        each = np.ones(len(part)) if part.weight is None else part.weight.astype(np.float64)
        total += float(each.sum())
        weight += float(each[~is_held].sum())
        square += float(np.square(each[~is_held]).sum())
    return _Survey(count, total, weight**2 / square if square else 0.0, join_parts(kept), join_parts(begin))


def _stacked(first: Rows, second: Rows) -> Rows:
    pairs = ((first.x, second.x), (first.context, second.context), (first.weight, second.weight))
    tensors = (None if one is None or two is None else torch.cat([one, two]) for one, two in pairs)
    return Rows(torch.cat([first.number, second.number]), *tensors)

"""The rows that a flow is fitted to: checked once, kept on the device of the flow, handed out in batches."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bijecta.data.splits import split_rows
from bijecta.errors import InputError, ShapeError
from bijecta.training.losses import Batch

ROWS_AT_ONCE = 8192  # gathered in one go: a small batch is then a slice, which costs next to nothing


@dataclass(frozen=True)
class Rows:
    """Data, contexts and weights of equal length.

    Attributes:
        number: the row number of each row in what the user passed, of shape (N,).
        x: of shape (N, D), or None.
        context: of shape (N, C), or None.
        weight: of shape (N,) with mean 1, or None.
    """

    number: Tensor
    x: Tensor | None
    context: Tensor | None
    weight: Tensor | None

    def __len__(self) -> int:
        return len(self.number)

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.number.device

    def take(self, index: Tensor | slice) -> "Rows":
        """Take some rows; a slice shares the memory."""
        return Rows(self.number[index], *(None if t is None else t[index] for t in (self.x, self.context, self.weight)))

    @property
    def start(self) -> "Rows":
        """What a flow is initialised with."""
        return self

    def shuffled(self, size: int, seed: int, epoch: int) -> Iterator["Rows"]:
        """Hand the rows out in the random order of an epoch, the same one on every device."""
        generator = torch.Generator().manual_seed((1_000_003 * seed + epoch) % 2**63)
        return self.batches(size, torch.randperm(len(self), generator=generator).to(self.device))

    def batches(self, size: int, order: Tensor) -> Iterator["Rows"]:
        """Hand the rows out in the given order, in batches of nearly equal size, at most ``size``."""
        parts = order.tensor_split(max(1, -(-len(order) // size)))
        at_once = max(1, ROWS_AT_ONCE // size)
        for number in range(0, len(parts), at_once):
            some, begin = parts[number : number + at_once], 0
            together = self.take(torch.cat(some))
            for part in some:
                yield together.take(slice(begin, begin + len(part)))
                begin += len(part)

    def as_batch(self) -> Batch:
        """Return the rows as a loss takes them."""
        return Batch(len(self), self.x, self.context, self.weight)

    def split(self, fraction: float, seed: int) -> "tuple[Rows, Rows | None]":
        """Hold a fraction of the rows out for validation."""
        if fraction == 0 or len(self) < 2 or (self.x is None and self.context is None):
            return self, None
        train, validation = split_rows(len(self), fraction, seed)
        return self.take(torch.as_tensor(train)), self.take(torch.as_tensor(validation))

    def fingerprint(self) -> str:
        """Summarise the content in a hash, to recognise the same data when a run is resumed."""
        digest = hashlib.sha256()
        for tensor in (self.x, self.context, self.weight):
            if tensor is not None:
                digest.update(str(tuple(tensor.shape)).encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def effective_sample_size(self) -> float:
        r"""How many unweighted rows carry the same information: :math:`(\sum w)^2 / \sum w^2`."""
        if self.weight is None:
            return float(len(self))
        weight = self.weight.double()
        return float(weight.sum() ** 2 / weight.square().sum())


def read_rows(flow: nn.Module, x: Any, context: Any, weight: Any, virtual: int) -> Rows:
    """Check what was passed to `fit` and bring it to the device and dtype of the flow.

    Args:
        flow: tells device and dtype.
        x: array of shape (N, D) (or (N, C, H, W)), or None.
        context: array of shape (N, C), or None.
        weight: array of shape (N,), or None.
        virtual: how many rows an epoch has when there is neither data nor context.

    Returns:
        The rows.

    Raises:
        InputError: a value is not finite, or the weights do not have a positive sum.
        ShapeError: the lengths differ.
    """
    like = next(flow.parameters())
    tensors = {name: _tensor(name, value, like) for name, value in (("x", x), ("context", context), ("weight", weight))}
    lengths = {name: len(tensor) for name, tensor in tensors.items() if tensor is not None}
    if len(set(lengths.values())) > 1:
        raise ShapeError(f"fit expects x, context and weight with one row per event; got the lengths {lengths}.")
    count = next(iter(lengths.values()), virtual)
    if count == 0:
        raise InputError("fit expects at least one row, got none.")
    scaled = None if tensors["weight"] is None else _scaled(tensors["weight"])
    return Rows(torch.arange(count, device=like.device), tensors["x"], tensors["context"], scaled)


def _tensor(name: str, value: Any, like: Tensor) -> Tensor | None:
    if value is None:
        return None
    tensor = torch.as_tensor(value).to(like.device, like.dtype)
    if tensor.ndim < (1 if name == "weight" else 2) or (name == "weight" and tensor.ndim != 1):
        shape = "(N,)" if name == "weight" else "(N, features)"
        raise ShapeError(f"fit expects {name} of shape {shape}, got {tuple(tensor.shape)}.")
    finite = tensor.reshape(len(tensor), -1).isfinite().all(1) if len(tensor) else torch.ones(0, dtype=torch.bool)
    if not bool(finite.all()):
        rows = (~finite).nonzero().flatten()
        raise InputError(
            f"fit expects finite numbers; {len(rows)} of {len(tensor)} rows of {name} hold NaN or infinity, "
            f"the first ones {rows[:5].tolist()}. Remove or repair them."
        )
    return tensor


def _scaled(weight: Tensor) -> Tensor:
    mean = float(weight.double().mean())
    if not mean > 0:
        raise InputError(
            f"fit expects weights with a positive sum (negative ones among them are fine), got the mean {mean:g}."
        )
    return weight / mean

"""What travels from a trainer to the page: a JSON header and named arrays in one block of bytes, without pickle.

4 bytes   length of the header, little-endian
header    JSON, padded with spaces to a multiple of 4; "arrays" says where each array lies and what it is
arrays    raw bytes, each from a multiple of 4, so that a browser can view them in place
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Message:
    """A header and the arrays that belong to it.

    Attributes:
        header: JSON-able facts; ``kind`` is "scene", "frame" or "answer".
        arrays: by name; uint8 or float32.
    """

    header: Mapping[str, Any]
    arrays: Mapping[str, Array] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Write the message as one block of bytes."""
        places, parts, at = {}, [], 0
        for name, array in self.arrays.items():
            block = np.ascontiguousarray(array).tobytes()
            block += b"\0" * (-len(block) % 4)
            places[name] = {"at": at, "shape": list(array.shape), "type": array.dtype.name}
            parts.append(block)
            at += len(block)
        header = json.dumps({**self.header, "arrays": places}).encode()
        header += b" " * (-len(header) % 4)
        return b"".join([LENGTH.pack(len(header)), header, *parts])

    @classmethod
    def from_bytes(cls, block: bytes) -> "Message":
        """Read what `to_bytes` wrote."""
        (length,) = LENGTH.unpack_from(block)
        start = LENGTH.size + length
        header = json.loads(block[LENGTH.size : start])
        arrays = {
            name: np.frombuffer(
                block, place["type"], int(np.prod(place["shape"], dtype=int)), start + place["at"]
            ).reshape(place["shape"])
            for name, place in header.pop("arrays").items()
        }
        return cls(header, arrays)


def write_message(stream: BinaryIO, message: Message) -> None:
    """Write a message with its length before it."""
    block = message.to_bytes()
    stream.write(LENGTH.pack(len(block)) + block)
    stream.flush()


def read_message(stream: BinaryIO) -> Message | None:
    """Read the next message; None where the stream has ended."""
    length = stream.read(LENGTH.size)
    if len(length) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(length)
    block = stream.read(size)
    return Message.from_bytes(block) if len(block) == size else None


class Thinned:
    """Keep between ``least`` and twice as many items of a stream, evenly spread, the newest always among them.

    Where there are too many, every second one goes, and from then on only every second one comes in.
    """

    def __init__(self, least: int) -> None:
        self.least, self.stride, self.count = least, 1, 0
        self.kept: list[Any] = []
        self.newest: Any = None

    def add(self, item: Any) -> None:
        """Take the next item of the stream."""
        self.newest = item
        if self.count % self.stride == 0:
            self.kept.append(item)
        self.count += 1
        if len(self.kept) >= 2 * self.least:
            self.kept, self.stride = self.kept[::2], 2 * self.stride

    def items(self) -> list[Any]:
        """Return what was kept, oldest first, the newest last."""
        return self.kept if self.kept and self.kept[-1] is self.newest else [*self.kept, *self._last()]

    def _last(self) -> list[Any]:
        return [] if self.newest is None else [self.newest]

"""The wire: what goes in comes out, aligned for a browser."""

import io
import json
import struct

import numpy as np
import pytest

from bijecta.app.messages import Message, Thinned, read_message, write_message

MESSAGE = Message(
    {"kind": "frame", "umlaut": "größe"},
    {"odd": np.arange(7, dtype=np.uint8), "grid": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 2, 2)},
)


def test_messages_survive_the_wire_one_after_the_other():
    stream = io.BytesIO()
    write_message(stream, MESSAGE)
    write_message(stream, Message({"kind": "answer"}))
    stream.seek(0)
    first, second, third = (read_message(stream) for _ in range(3))
    assert first.header == MESSAGE.header
    for name, array in MESSAGE.arrays.items():
        np.testing.assert_array_equal(first.arrays[name], array)
        assert first.arrays[name].dtype == array.dtype
    assert second.header == {"kind": "answer"}
    assert third is None


def test_a_cut_message_is_the_end():
    block = MESSAGE.to_bytes()
    assert read_message(io.BytesIO(struct.pack("<I", len(block)) + block[:-1])) is None


def test_arrays_begin_at_multiples_of_four():
    """A browser cannot view 32-bit numbers anywhere else. Read here as the page reads it."""
    block = MESSAGE.to_bytes()
    (length,) = struct.unpack_from("<I", block)
    places = json.loads(block[4 : 4 + length])["arrays"]
    assert all((4 + length + place["at"]) % 4 == 0 for place in places.values())


@pytest.mark.parametrize("count", [0, 1, 59, 60, 119, 120, 1000, 12345])
def test_history_is_thinned_evenly_and_ends_with_the_newest(count):
    thinned = Thinned(60)
    for item in range(1, count + 1):
        thinned.add(item)
    items = thinned.items()
    assert len(items) >= min(count, 60)
    assert len(items) <= 121
    assert items[-1:] == ([count] if count else [])
    assert len(set(np.diff(items[:-1]))) <= 1, "even distances"

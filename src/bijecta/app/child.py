"""What the processes that train have in common: settings come in, messages leave, and they end with their input."""

import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO, Protocol

import torch

from bijecta.app.messages import Message, write_message
from bijecta.app.pace import Pace


class Runnable(Protocol):
    """A lesson: it takes commands from the inbox of its pace, and runs until it is closed."""

    pace: Pace

    def run(self) -> None:
        """Train, publish, answer."""


def serve(
    make: Callable[[Any, Callable[[Message], None]], Runnable], prepare: Callable[[], None] = lambda: None
) -> None:
    """Read settings, train, publish, answer, until the input ends.

    Args:
        make: makes the lesson of the record on the first line of standard input and of what publishes a message.
        prepare: called before that line is waited for.
    """
    torch.set_num_threads(1)
    output = _private_output()
    prepare()
    first = sys.stdin.buffer.readline()
    if not first.strip():
        return  # a spare worker that nobody needed
    lesson = make(json.loads(first), lambda message: write_message(output, message))
    threading.Thread(target=_listen, args=(sys.stdin.buffer, lesson), daemon=True).start()
    with suppress(BrokenPipeError):  # the server has gone
        lesson.run()
    os._exit(0)  # nothing is left to tidy up, and torch would take a second over it


def _private_output() -> BinaryIO:
    """Keep standard output for messages: what anything else prints goes to standard error."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return output


def _listen(stream: BinaryIO, lesson: Runnable) -> None:
    for line in stream:
        if line.strip():
            lesson.pace.inbox.put(json.loads(line))
    lesson.pace.inbox.put({"do": "close"})

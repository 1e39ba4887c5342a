"""The process that trains: ``python -m bijecta.app.worker``.

The first line of standard input is the settings, as JSON; every further line is a command or a question. The end of
standard input ends the process: when the server goes, however it goes, its workers go too. Messages leave on standard
output, each with its length before it.
"""

import json
import os
import sys
import threading
from contextlib import suppress
from typing import BinaryIO

import torch

from bijecta.app.datasets import from_wire
from bijecta.app.lesson import Lesson
from bijecta.app.messages import write_message
from bijecta.app.settings import RunSettings


def main() -> None:
    """Read settings, train, publish, answer, until the input ends."""
    torch.set_num_threads(1)
    output = _private_output()
    warm_up()
    first = sys.stdin.buffer.readline()
    if not first.strip():
        return  # a spare worker that nobody needed
    record = json.loads(first)
    lesson = Lesson(
        RunSettings.from_json(record["settings"]),
        lambda message: write_message(output, message),
        points=from_wire(record),
    )
    threading.Thread(target=_listen, args=(sys.stdin.buffer, lesson), daemon=True).start()
    with suppress(BrokenPipeError):  # the server has gone
        lesson.run()
    os._exit(0)  # nothing is left to tidy up, and torch would take a second over it


def warm_up() -> None:
    """Let torch import what the first optimiser needs, while nobody waits for it."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.AdamW([weight], fused=True)
    weight.square().sum().backward()
    optimiser.step()


def _private_output() -> BinaryIO:
    """Keep standard output for messages: what anything else prints goes to standard error."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return output


def _listen(stream: BinaryIO, lesson: Lesson) -> None:
    for line in stream:
        if line.strip():
            lesson.pace.inbox.put(json.loads(line))
    lesson.pace.inbox.put({"do": "close"})


if __name__ == "__main__":
    main()

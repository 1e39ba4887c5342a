"""The process that fits a table: ``python -m bijecta.app.table_worker``.

The first line of standard input is the settings and the rows, as JSON; every further line is a command or a question.
The end of standard input ends the process. Messages leave on standard output, each with its length before it.
"""

import base64
import json
import os
import sys
import threading
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
import torch

from bijecta.app.messages import Array, write_message
from bijecta.app.table_lesson import TableLesson, TableSettings


def main() -> None:
    """Read settings and rows, fit, publish, answer, until the input ends."""
    torch.set_num_threads(1)
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything else prints goes to standard error
    record = json.loads(sys.stdin.buffer.readline() or "null")
    if record is None:
        return
    lesson = TableLesson(
        TableSettings(**record["settings"]), rows_from_wire(record), lambda message: write_message(output, message)
    )
    threading.Thread(target=_listen, args=(sys.stdin.buffer, lesson), daemon=True).start()
    with suppress(BrokenPipeError):  # the server has gone
        lesson.run()
    os._exit(0)  # nothing is left to tidy up, and torch would take a second over it


def rows_to_wire(rows: Array) -> dict[str, Any]:
    """Write rows as text, for the worker."""
    block = np.ascontiguousarray(rows, np.float64)
    return {"rows": base64.b64encode(block.tobytes()).decode(), "columns": block.shape[1]}


def rows_from_wire(record: dict[str, Any]) -> Array:
    """Read what `rows_to_wire` wrote."""
    return np.frombuffer(base64.b64decode(record["rows"])).reshape(-1, record["columns"])


def _listen(stream: BinaryIO, lesson: TableLesson) -> None:
    for line in stream:
        if line.strip():
            lesson.pace.inbox.put(json.loads(line))
    lesson.pace.inbox.put({"do": "close"})


if __name__ == "__main__":
    main()

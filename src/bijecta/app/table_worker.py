"""The process that fits a table: ``python -m bijecta.app.table_worker``.

The first line of standard input is the settings and the rows, as JSON; every further line is a command or a question.
The end of standard input ends the process. Messages leave on standard output, each with its length before it.
"""

import base64
from typing import Any

import numpy as np

from bijecta.app.child import serve
from bijecta.app.messages import Array
from bijecta.app.table_lesson import TableLesson, TableSettings


def main() -> None:
    """Fit a table."""
    serve(lambda record, publish: TableLesson(TableSettings(**record["settings"]), rows_from_wire(record), publish))


def rows_to_wire(rows: Array) -> dict[str, Any]:
    """Write rows as text, for the worker."""
    block = np.ascontiguousarray(rows, np.float64)
    return {"rows": base64.b64encode(block.tobytes()).decode(), "columns": block.shape[1]}


def rows_from_wire(record: dict[str, Any]) -> Array:
    """Read what `rows_to_wire` wrote."""
    return np.frombuffer(base64.b64decode(record["rows"])).reshape(-1, record["columns"])


if __name__ == "__main__":
    main()

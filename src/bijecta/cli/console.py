"""Where words go: results to standard output, everything else to standard error."""

import json
import math
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text


def errors() -> Console:
    """Return the console on standard error; made when needed, because tests and pipes exchange the stream."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def complain(message: str) -> None:
    """Print an error message."""
    errors().print(Text.assemble(("Error: ", "bold red"), message))


def tell(message: str, style: str = "") -> None:
    """Print a remark on standard error."""
    errors().print(Text(message, style=style))


def show(text: str) -> None:
    """Print a result on standard output."""
    sys.stdout.write(text + "\n")


def show_json(value: Any) -> None:
    """Print a result on standard output as JSON."""
    show(json.dumps(as_json(value), indent=2, ensure_ascii=False))


def show_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print aligned columns; on a terminal, the last one is broken to fit."""
    lines = [header, *rows] if any(header) else list(rows)
    widths = [max(len(line[column]) for line in lines) for column in range(len(header) - 1)]
    # A pipe has no width: a program that reads the table must not find broken lines.
    room = max(20, shutil.get_terminal_size().columns - sum(widths) - 2 * len(widths)) if sys.stdout.isatty() else 10**6
    for *cells, last in lines:
        start = "".join(cell.ljust(width + 2) for cell, width in zip(cells, widths, strict=True))
        parts = textwrap.wrap(last, room) or [""]
        show(
            "\n".join((start if number == 0 else " " * len(start)) + part for number, part in enumerate(parts)).rstrip()
        )


def as_json(value: Any) -> Any:
    """Replace what JSON does not know: infinities and NaN become null, tuples lists, other objects text."""
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)

"""Docstrings are written for readers of the source: bars and stars in their sentences mean themselves."""

import re
from itertools import takewhile

from sphinx.application import Sphinx

CODE = re.compile(r"(``.*?``|:[a-z:]+:`[^`]*`|`[^`]*`_*)")
MARK = re.compile(r"(?<!\\)([|*])")


def escape_docstring(app: Sphinx, what: str, name: str, item: object, options: object, lines: list[str]) -> None:
    """Do it for what autodoc has found."""
    lines[:] = escape_prose(lines)


def escape_prose(lines: list[str]) -> list[str]:
    """Escape what reStructuredText would take for a substitution or emphasis, but not in formulas, code, examples."""
    lines = list(lines)
    verbatim = -1  # how deep the block of a directive is indented that is left as it is
    for number, line in enumerate(lines):
        depth = len(list(takewhile(str.isspace, line)))
        if verbatim >= 0 and line.strip() and depth <= verbatim:
            verbatim = -1
        if line.lstrip().startswith(".. "):
            verbatim = depth
        if verbatim < 0 and not line.lstrip().startswith((">>>", "...")):
            parts = CODE.split(line)
            lines[number] = "".join(part if i % 2 else MARK.sub(r"\\\1", part) for i, part in enumerate(parts))
    return lines


def setup(app: Sphinx) -> dict[str, bool]:
    """Act before the sections of the docstring are read."""
    app.connect("autodoc-process-docstring", escape_docstring, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""What was measured: every file of benchmarks/results, with the command and the machine that gave it."""

import ast
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
LONGEST = 30  # rows of a table; more are in the file


def benchmarks_page() -> str:
    """Make the page from the files; nothing on it is written by hand but this introduction."""
    introduction = (
        "# Benchmarks\n\nEvery figure here was measured; the command above each table repeats it. "
        "Speed is compared with other libraries in turns, in one run on one machine, and with a floor: the time of the "
        "same matrix products alone.\n"
    )
    records = [(path, json.loads(path.read_text(encoding="utf8"))) for path in sorted(RESULTS.glob("*.json"))]
    return "\n".join([introduction, *(section(path, record) for path, record in records)])


def section(path: Path, record: dict[str, Any]) -> str:
    """Show one file: what was asked, on which machine, and the table."""
    machine = record["machine"]
    title = path.stem.replace("_", " ").replace("hep ", "collision events: ")
    lines = [f"## {title[0].upper()}{title[1:]}", "", _question(record["command"]), ""]
    lines += [f"`{record['command']}`", ""]
    lines += [
        f"{record['date']}, {machine['processor']}, {machine['torch_threads']} threads, PyTorch {machine['torch']}.",
        "",
    ]
    for group in _groups(record["rows"]):
        lines += [*_table(group), ""]
    picture = path.with_suffix(".png")
    if picture.exists():
        lines += [f"![{path.stem.replace('_', ' ')}](/../benchmarks/results/{picture.name})", ""]
    return "\n".join(lines)


def _question(command: str) -> str:
    """Give the first paragraph of the script's docstring."""
    script = ROOT / command.split()[1]
    if not script.exists():
        return ""
    documentation = ast.get_docstring(ast.parse(script.read_text(encoding="utf8"))) or ""
    return documentation.split("\n\n")[0].replace("\n", " ")


def _groups(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Rows of the same columns belong to one table."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        flat = {key: value for key, value in row.items() if not isinstance(value, dict | list)}
        groups.setdefault(tuple(flat), []).append(flat)
    return [group for names, group in groups.items() if names]


def _table(rows: list[dict[str, Any]]) -> list[str]:
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    lines += ["| " + " | ".join(_text(row[name]) for name in names) + " |" for row in rows[:LONGEST]]
    if len(rows) > LONGEST:
        lines += ["", f"{len(rows) - LONGEST} more rows are in the file."]
    return lines


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")

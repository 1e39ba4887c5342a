"""Put tables into the README, measured ones and that of the families: `python benchmarks/update_readme.py`."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from speed_report import table
from speed_rows import ROWS, Row

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
sys.path.insert(0, str(README.with_name("docs") / "_ext"))

from families_page import families_by_cost  # noqa: E402 (it lies beside the documentation that it is made for)


def toys_table() -> str:
    """Make the table of gaps with its command, date and machine."""
    record = _read("toys")
    rows = [row for row in record["rows"] if "toy" in row]
    lines = ["| toy | " + " | ".join(row["toy"] for row in rows) + " |", "|---" * (len(rows) + 1) + "|"]
    lines += ["| gap to the exact entropy (nats) | " + " | ".join(f"{row['gap']:.3f}" for row in rows) + " |"]
    lines += ["| training (s) | " + " | ".join(f"{row['seconds']:.0f}" for row in rows) + " |"]
    source = f"Default `nsf`, 100,000 training and 100,000 test points: {_source(record)}"
    return "\n".join([*lines, "", source])


def speed_table() -> str:
    """Make the table of times beside the fastest other library and the floor."""
    record = _read("speed")
    measured = {row["row"]: None for row in record["rows"] if "row" in row}
    words = "; ".join(_describe(ROWS[name]) for name in measured)
    source = f"{words}. Each against the fastest of flowjax, nflows, zuko, normflows and FrEIA, in turns: "
    return "\n".join([table(record["rows"]), "", source + _source(record)])


def _describe(row: Row) -> str:
    kind = f"{row.univariate} {row.kind}".strip()
    return f"`{row.name}`: {kind}, {row.features} features, {row.layers} layers, widths {row.hidden}"


def _source(record: dict[str, Any]) -> str:
    machine = record["machine"]
    return (
        f"`{record['command']}`, {record['date']}, {machine['processor']}, {machine['torch_threads']} threads, "
        f"PyTorch {machine['torch']}."
    )


def _read(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text())


def _replace(text: str, name: str, content: str) -> str:
    block = f"<!-- made: {name} -->\n{content}\n<!-- /made -->"
    return re.sub(rf"<!-- made: {name} -->.*?<!-- /made -->", lambda _: block, text, flags=re.DOTALL)


if __name__ == "__main__":
    text = _replace(README.read_text(encoding="utf8"), "toys", toys_table())
    text = _replace(text, "families", families_by_cost())
    if (RESULTS / "speed.json").exists():
        text = _replace(text, "speed", speed_table())
    README.write_text(text, encoding="utf8")

"""Put tables into the README, measured ones and that of the families: `python benchmarks/update_readme.py`."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from speed_report import matrix, table

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
OWN_README = Path(__file__).with_name("README.md")
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


def speed_tables() -> tuple[str, str]:
    """Make the table of ratios, and that of all times beside the fastest other library and the floor."""
    record = _read("speed")
    source = f"Against the fastest of flowjax, nflows, zuko, normflows and FrEIA, in turns: {_source(record)}"
    more = "Times, floors and where the targets are missed: [benchmarks](benchmarks/README.md#speed)."
    return f"{matrix(record['rows'])}\n\n{source} {more}", f"{table(record['rows'])}\n\n{source}"


def density_tables() -> str:
    """Make the tables of densities: patches of images, families on toys, two losses, tables."""
    patches, matching = _read("density_bsds300"), _read("density_matching")
    ours = patches["rows"][0]
    spent = f"+- {ours['2 s.e.']:.2f}, {ours['CPU seconds']} CPU seconds, {ours['parameters']:,} parameters"
    rows = [{"model": "**ours**", "nats": ours["nats"], "from": spent}]
    rows += [{"model": "Gaussian, ours", "nats": ours["Gaussian"], "from": f"+- {ours['Gaussian 2 s.e.']:.2f}"}]
    rows = [{**row, "nats": f"{row['nats']:.2f}"} for row in [*rows, *ours["published"]]]
    losses = ["toy", "loss", "gap", "CPU seconds", "steps", "evaluations, training step", "evaluations, log_prob"]
    uci = ["set", "rows", "columns", "Gaussian", "mixture", "kernels", "flow"]
    parts = [_markdown(rows, ["model", "nats", "from"]), _source(patches)]
    parts += [_markdown(_by_family(), ["family", *_toys()]), _source(_read("density_toys"))]
    parts += [_markdown(matching["rows"], losses), _source(matching)]
    parts += [_markdown(_read("density_uci")["rows"], uci), _source(_read("density_uci"))]
    return "\n\n".join(parts)


def _toys() -> list[str]:
    return sorted({row["toy"] for row in _read("density_toys")["rows"]})


def _by_family() -> list[dict[str, Any]]:
    families: dict[str, dict[str, Any]] = {}
    for row in _read("density_toys")["rows"]:
        cell = f"{row['gap']:.3f} ({row['CPU seconds']:.0f} s)"
        families.setdefault(row["family"], dict.fromkeys(_toys(), "") | {"family": row["family"]})[row["toy"]] = cell
    return [families[name] for name in sorted(families)]


def _markdown(rows: list[dict[str, Any]], columns: list[str]) -> str:
    cells = [[f"{row[c]:.4g}" if isinstance(row[c], float) else str(row[c]) for c in columns] for row in rows]
    lines = [columns, ["---"] * len(columns), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


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
    ratios, times = speed_tables()
    text = _replace(README.read_text(encoding="utf8"), "toys", toys_table())
    text = _replace(text, "families", families_by_cost())
    README.write_text(_replace(text, "speed", ratios), encoding="utf8")
    own = _replace(OWN_README.read_text(encoding="utf8"), "density", density_tables())
    OWN_README.write_text(_replace(own, "speed", times), encoding="utf8")

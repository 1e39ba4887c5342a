"""Put the measured tables into the README: `python benchmarks/update_readme.py`, after `make bench`."""

import json
import re
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"


def toys_table() -> str:
    """Make the table of gaps with its command, date and machine."""
    record = json.loads((RESULTS / "toys.json").read_text())
    rows = [row for row in record["rows"] if "toy" in row]
    machine = record["machine"]
    lines = ["| toy | " + " | ".join(row["toy"] for row in rows) + " |", "|---" * (len(rows) + 1) + "|"]
    lines += ["| gap to the exact entropy (nats) | " + " | ".join(f"{row['gap']:.3f}" for row in rows) + " |"]
    lines += ["| training (s) | " + " | ".join(f"{row['seconds']:.0f}" for row in rows) + " |"]
    source = (
        f"Default `nsf`, 100,000 training and 100,000 test points: `{record['command']}`, {record['date']}, "
        f"{machine['processor']}, {machine['torch_threads']} threads, PyTorch {machine['torch']}."
    )
    return "\n".join([*lines, "", source])


if __name__ == "__main__":
    text = README.read_text(encoding="utf8")
    block = f"<!-- measured: toys -->\n{toys_table()}\n<!-- /measured -->"
    README.write_text(re.sub(r"<!-- measured: toys -->.*?<!-- /measured -->", lambda _: block, text, flags=re.DOTALL))

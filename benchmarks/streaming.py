"""Fit and score files as a stream and from memory: rows per second, and the largest memory of the process.

    python benchmarks/streaming.py               # 10^7 rows of 20 float32 columns, as the bar is set
    python benchmarks/streaming.py --rows 1000000

Every measurement is a process of its own, so that its peak memory is its own. The rows are drawn into a temporary
folder first.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from bijecta.cli.using import run_score
from bijecta.data import Stream, read_table
from bijecta.flows import nsf
from bijecta.persistence import save
from bijecta.training import FitConfig, fit
from machine import keep, print_table

COLUMNS, FILES, ROW_GROUP, BATCH = 20, 10, 131_072, 1024
LARGEST_PEAK, SMALLEST_SHARE = 2e9, 0.8  # bytes, and rows per second against memory


def write_rows(folder: Path, rows: int) -> None:
    """Write correlated normal rows, file by file."""
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(COLUMNS, COLUMNS)).astype(np.float32)
    for number in range(FILES):
        x = generator.standard_normal((rows // FILES, COLUMNS), dtype=np.float32) @ mixing
        table = pa.table({f"x{k}": x[:, k] for k in range(COLUMNS)})
        pq.write_table(table, folder / f"rows-{number}.parquet", row_group_size=ROW_GROUP)


def make_flow():
    torch.manual_seed(0)
    return nsf(COLUMNS, layers=2, hidden=(64,))


def from_memory(folder: Path):
    return np.concatenate([read_table(path).matrix().astype(np.float32) for path in sorted(folder.glob("*.parquet"))])


def measure_fit(folder: Path, kind: str, steps: int) -> dict[str, float]:
    """Time the second half of the steps: reading a table and the pass that checks a stream come once per run."""
    rows = Stream(folder) if kind == "stream" else from_memory(folder)
    times: list[float] = []

    def timed(flow, batch):
        times.append(time.perf_counter())
        if len(times) > steps:
            raise KeyboardInterrupt  # ends the run as Ctrl-C does
        return -flow.log_prob(batch.x).mean()

    fit(make_flow(), rows, loss=timed, config=FitConfig(epochs=1, batch_size=BATCH, validation_fraction=0.0))
    half = len(times) // 2
    return {"rows_per_second": BATCH * (len(times) - 1 - half) / (times[-1] - times[half])}


def measure_score(folder: Path, kind: str) -> dict[str, float]:
    """Time `bijecta score` on the folder, or log_prob of rows that are in memory already."""
    flow = make_flow()
    fit(flow, next(Stream(folder).parts()).x[:10_000], config=FitConfig(epochs=1))
    if kind == "stream":
        save(flow, folder / "model.safetensors")
        start = time.perf_counter()
        run_score(folder / "model.safetensors", str(folder / "*.parquet"), 0, str(folder / "scores.npy"))
        return {"rows_per_second": len(Stream(folder / "*.parquet")) / (time.perf_counter() - start)}
    rows = torch.from_numpy(from_memory(folder))
    start = time.perf_counter()
    with torch.no_grad():
        scores = torch.cat([flow.log_prob(part) for part in rows.split(50_000)])
    return {"rows_per_second": len(scores) / (time.perf_counter() - start)}


def measure(folder: Path, what: str, kind: str, steps: int) -> None:
    """Measure in this process, and print the result for the one that started it."""
    torch.set_num_threads(1)
    result = measure_fit(folder, kind, steps) if what == "fit" else measure_score(folder, kind)
    print(json.dumps({**result, "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))


def child(folder: Path, what: str, kind: str, steps: int) -> dict[str, object]:
    command = [sys.executable, __file__, "--child", str(folder), what, kind, "--steps", str(steps)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {"what": what, "kind": kind, **json.loads(out.splitlines()[-1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--child", nargs=3)
    arguments = parser.parse_args()
    if arguments.child:
        measure(Path(arguments.child[0]), *arguments.child[1:], arguments.steps)
        return
    with tempfile.TemporaryDirectory() as name:
        write_rows(Path(name), arguments.rows)
        found = [child(Path(name), w, k, arguments.steps) for w in ("fit", "score") for k in ("memory", "stream")]
    for memory, stream in (found[:2], found[2:]):
        stream["share_of_memory_speed"] = stream["rows_per_second"] / memory["rows_per_second"]
        stream["kept"] = stream["share_of_memory_speed"] >= SMALLEST_SHARE and stream["peak_bytes"] < LARGEST_PEAK
        memory |= {"share_of_memory_speed": 1.0, "kept": ""}
    print_table(found)
    keep("streaming", [{"rows": arguments.rows, "columns": COLUMNS, **row} for row in found])


if __name__ == "__main__":
    main()

"""One library in a process of its own: `speed.py` starts `python peers.py LIBRARY THREADS` and talks to it in JSON.

    {"prepare": "nsf20", "work": "train", "size": 512}   what comes next; also runs it once
    {"seconds": 0.25}                                    run it again and again for so long

Each line has one line as answer: facts after the first, milliseconds per call after the second, or an error.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from speed_rows import ROWS, Row


class Library:
    """A library with the work that it has been told to do."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.call: Callable[[], Any] = time.monotonic
        self.says_seconds = False
        __import__("FrEIA.framework" if name == "freia" else name)
        if name == "flowjax":
            import peers_jax as peer
        else:
            import peers_torch as peer

            peer.import_optimiser()
        self.peer: Any = peer

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a line asks for."""
        if "prepare" in request:
            return self._prepare(ROWS[request["prepare"]], request["work"], request["size"])
        return {"milliseconds": self._time(request["seconds"])}

    def _prepare(self, row: Row, work: str, size: int) -> dict[str, Any]:
        x = data(row, max(row.batch * row.epoch if work == "fit" else row.batch, size))
        began = time.perf_counter()
        self.says_seconds = work == "fit"
        if work == "fit":
            self.call = self.peer.prepare_fit(row, self._tensor(x))
            return {"finite": bool(np.isfinite(self.call()))}
        parameters, self.call = self._model(row, work, size, x)
        result = np.asarray(self.call())
        facts = {"parameters": parameters, "finite": bool(np.isfinite(result).all()), "shape": list(result.shape)}
        facts["first_seconds"] = time.perf_counter() - began
        if self.name == "flowjax":
            began = time.perf_counter()
            self.call()
            facts["compile_seconds"] = facts["first_seconds"] - (time.perf_counter() - began)
        return facts

    def _model(self, row: Row, work: str, size: int, x: np.ndarray) -> tuple[int, Callable[[], Any]]:
        if self.name == "flowjax":
            return self.peer.prepare(row, work, size, x)
        return self.peer.prepare(self.name, row, work, size, self._tensor(x))

    def _tensor(self, x: np.ndarray) -> Any:
        import torch

        return torch.from_numpy(x)

    def _time(self, seconds: float) -> list[float]:
        """Time single calls until the time is over, at least one."""
        times: list[float] = []
        end = time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            began = time.perf_counter()
            told = self.call()
            times.append(1000 * (told if self.says_seconds else time.perf_counter() - began))
        return times


def data(row: Row, size: int) -> np.ndarray:
    """Make rows: two moons for the continuous flow, whose speed depends on them, otherwise normal noise."""
    if row.kind == "continuous":
        from bijecta.data import toy

        return np.asarray(toy("moons").sample(size, 0), dtype=np.float32)
    return np.random.default_rng(0).standard_normal((size, *row.event), dtype=np.float32)


def limit_threads(count: int) -> None:
    """Keep this process to so many cores: JAX has no other setting. To be called before torch or JAX is imported."""
    os.environ |= {"OMP_NUM_THREADS": str(count), "MKL_NUM_THREADS": str(count)}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def serve(name: str, threads: int) -> None:
    """Answer lines until there are no more."""
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries print
    limit_threads(threads)
    began = time.perf_counter()
    try:
        library = Library(name)
        print(json.dumps({"import_seconds": time.perf_counter() - began}), file=answers, flush=True)
    except ImportError as error:
        print(json.dumps({"error": f"not installed: {error}"}), file=answers, flush=True)
        return
    for line in sys.stdin:
        try:
            answer = library.answer(json.loads(line))
        except Exception as error:  # whatever a library raises is its result
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))

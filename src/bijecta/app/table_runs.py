"""Fits of tables and events as the page sees them: each in a process of its own, which ends with its tab."""

import json
import queue
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any

from bijecta.app.messages import read_message
from bijecta.app.registry import GRACE_SECONDS, Tab
from bijecta.app.trainer import PATIENCE, Trainer, launch, retire
from bijecta.errors import InputError

MOST_AT_ONCE = 6
CLOSED = "This fit was closed. Press Fit to start it again."
_FITS: "set[FitTrainer]" = set()


class FitTrainer(Trainer):
    """A fit in a process of its own.

    Args:
        worker: module of the process.
        record: what its first line says: the settings, and what else it needs.
        tab: whose it is; when that has gone, the process ends.

    Raises:
        InputError: too many fits are open on this server.
    """

    def __init__(self, worker: str, record: Mapping[str, Any], tab: Tab) -> None:
        super().__init__()
        if len(_FITS) >= MOST_AT_ONCE:
            raise InputError(f"{MOST_AT_ONCE} fits are open on this server already. Close another tab, then press Fit.")
        self.process, self.tab = launch(worker), tab
        self.lines: queue.Queue[Mapping[str, Any] | None] = queue.Queue()
        self.lines.put(record)
        _FITS.add(self)
        for work in (self._write, self._read, self._end_with_tab):
            threading.Thread(target=work, daemon=True, name="bijecta fit").start()

    def command(self, what: Mapping[str, Any]) -> None:
        self.lines.put(what)
        if self.process.poll() is not None:  # nobody will answer
            self.end_with(CLOSED)

    def close(self) -> None:
        self.lines.put(None)
        retire(self.process)
        self.end_with(CLOSED)

    def _write(self) -> None:
        """Write in a thread: many rows do not fit into a pipe until the worker reads them."""
        with suppress(OSError, ValueError):  # where the worker has ended, the reader says so
            while (line := self.lines.get()) is not None:
                _open(self.process.stdin).write(json.dumps(line).encode() + b"\n")
                _open(self.process.stdin).flush()

    def _read(self) -> None:
        stream = _open(self.process.stdout)
        while (message := read_message(stream)) is not None:  # type: ignore[arg-type]
            self.take(message)
        stream.close()
        code = self.process.wait()
        _FITS.discard(self)
        self.end_with(f"The process that fitted has ended (code {code}). Press Fit to start it again.")

    def _end_with_tab(self) -> None:
        while self.process.poll() is None:
            departed = self.tab.departed
            if departed is not None and time.monotonic() - departed >= GRACE_SECONDS:
                self.close()
            time.sleep(PATIENCE)


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the pipe is not open")
    return stream

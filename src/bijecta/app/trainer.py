"""Where a run happens: in a process of its own, or, as a fallback and to look at a flow, in a thread."""

import atexit
import json
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from typing import Any, BinaryIO

from bijecta.app.datasets import Points, to_wire
from bijecta.app.lesson import Lesson, Trained
from bijecta.app.messages import Message, Thinned, read_message
from bijecta.app.settings import RunSettings
from bijecta.errors import InputError

LEAST_HISTORY = 60
PATIENCE = 1.0
FINAL = ("done", "stopped", "failed")


class Trainer(ABC):
    """A run as the page sees it: commands go in, messages come out.

    Attributes:
        scene: what all pictures of the run share; None until it is known.
        latest: the newest frame; None until there is one.
        history: frames of the whole run, evenly thinned.
    """

    def __init__(self) -> None:
        self.scene: Message | None = None
        self.latest: Message | None = None
        self.history = Thinned(LEAST_HISTORY)
        self._lock = threading.Lock()
        self._numbers, self._asked = count(1), dict[int, Future[Message]]()

    @abstractmethod
    def command(self, what: Mapping[str, Any]) -> None:
        """Send a command; see `pace.Pace`."""

    @abstractmethod
    def close(self) -> None:
        """End the run and free what it holds; frames stay readable."""

    def pause(self) -> None:
        """Wait before the next step."""
        self.command({"do": "pause"})

    def resume(self) -> None:
        """Go on, at full speed."""
        self.command({"do": "resume"})

    def step(self) -> None:
        """Take one step, then wait."""
        self.command({"do": "step"})

    def slow(self, *, on: bool = True) -> None:
        """Take two steps a second."""
        self.command({"do": "slow", "on": on})

    def set_rate(self, factor: float) -> None:
        """Multiply the learning rate from now on."""
        self.command({"do": "rate", "factor": factor})

    def stop(self) -> None:
        """End the training with the best weights so far."""
        self.command({"do": "stop"})

    def ask(self, question: str, **details: Any) -> "Future[Message]":
        """Ask about the flow; see `answers.answer`.

        Returns:
            A future of the answer; its header has "error" where there is none.
        """
        number = next(self._numbers)
        future: Future[Message] = Future()
        with self._lock:
            self._asked[number] = future
        self.command({**details, "ask": question, "id": number})
        return future

    @property
    def state(self) -> str:
        """Say how the run stands: idle, running, paused, done, stopped or failed."""
        return "idle" if self.latest is None else str(self.latest.header["state"])

    def take(self, message: Message) -> None:
        """Sort a message in; called by one thread."""
        kind = message.header["kind"]
        with self._lock:
            if kind == "scene":
                self.scene = message
            elif kind == "frame":
                self.latest = message
                if message.arrays:
                    self.history.add(message)
            else:
                future = self._asked.pop(int(message.header["id"]), None)
                if future is not None and future.set_running_or_notify_cancel():
                    future.set_result(message)

    def end_with(self, explanation: str) -> None:
        """Say that nothing more will come, and why."""
        with self._lock:
            asked, self._asked = list(self._asked.values()), {}
        for future in asked:
            if future.set_running_or_notify_cancel():
                future.set_exception(InputError(explanation))
        if self.state not in FINAL:
            header = dict(self.latest.header) if self.latest is not None else {"kind": "frame", "number": 0}
            self.take(Message({**header, "state": "failed", "message": explanation}))


class ThreadTrainer(Trainer):
    """A run in a thread of this process.

    Args:
        settings: of the run.
        points: rows of an uploaded table.
        trained: a run of the past to show, instead of training.
        train: whether to train; otherwise the untrained flow is shown.
    """

    def __init__(
        self, settings: RunSettings, *, points: Points | None = None, trained: Trained | None = None, train: bool = True
    ) -> None:
        super().__init__()
        self.lesson = Lesson(settings, self.take, points=points)
        options = {"trained": trained, "train": train}
        self.thread = threading.Thread(target=self.lesson.run, kwargs=options, daemon=True, name="bijecta lesson")
        self.thread.start()
        atexit.register(self.close)  # an interpreter that ends while torch computes in a thread aborts

    def command(self, what: Mapping[str, Any]) -> None:
        self.lesson.pace.inbox.put(what)

    def close(self) -> None:
        atexit.unregister(self.close)
        self.command({"do": "close"})
        self.thread.join(2 * PATIENCE)
        self.end_with("This run was closed. Press Run to start it again.")


class ProcessTrainer(Trainer):
    """A run in a process of its own, which ends with this one.

    Args:
        settings: of the run.
        points: rows of an uploaded table.
        process: a worker that waits for its settings; by default a new one is launched.
    """

    def __init__(
        self,
        settings: RunSettings,
        *,
        points: Points | None = None,
        process: "subprocess.Popen[bytes] | None" = None,
    ) -> None:
        super().__init__()
        self.process = process or launch()
        self.command({"settings": settings.to_json(), "points": to_wire(points)})
        self.reader = threading.Thread(target=self._read, daemon=True, name="bijecta reader")
        self.reader.start()

    def command(self, what: Mapping[str, Any]) -> None:
        with suppress(OSError, ValueError):  # where the worker has ended, the reader says so
            _stream(self.process.stdin).write(json.dumps(what).encode() + b"\n")
            _stream(self.process.stdin).flush()

    def close(self) -> None:
        retire(self.process)
        self.reader.join(PATIENCE)
        self.end_with("This run was closed. Press Run to start it again.")

    def _read(self) -> None:
        while (message := read_message(_stream(self.process.stdout))) is not None:
            self.take(message)
        _stream(self.process.stdout).close()
        code = self.process.wait()
        self.end_with(f"The process that trained has ended (code {code}). Press Run to start it again.")


def launch(worker: str = "worker") -> "subprocess.Popen[bytes]":
    """Start a worker that waits for its settings."""
    command = [sys.executable, "-m", f"bijecta.app.{worker}"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 (our own module)


def retire(process: "subprocess.Popen[bytes]") -> None:
    """End a worker: closing its input asks it to, and after a second it is made to."""
    with suppress(OSError):
        _stream(process.stdin).close()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _stream(stream: Any) -> BinaryIO:
    return stream  # Popen types its pipes as optional; they are open here

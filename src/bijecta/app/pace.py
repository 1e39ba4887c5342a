"""How fast a run goes: the commands that steer it, apart from what it computes."""

import queue
import time
from collections.abc import Mapping
from typing import Any

Command = Mapping[str, Any]
SLOW_SECONDS = 0.5
FACTORS = (1e-3, 1e3)


class Pace:
    """Pause, single steps, slow motion, stop, and changes of the learning rate.

    Commands are dictionaries with "do": "pause", "resume", "step", "slow" (with "on"), "rate" (with "factor"), "stop",
    "close". Any thread may put them into the inbox; `wait` obeys them in the thread that trains.
    """

    def __init__(self) -> None:
        self.inbox: queue.Queue[Command] = queue.Queue()
        self.questions: list[Command] = []
        self.paused, self.slow, self.stopped, self.closed = False, False, False, False
        self.single_steps = 0
        self.factor, self.factors = 1.0, list[tuple[int, float]]()
        self.seconds_waited = 0.0

    def obey(self, command: Command, step: int) -> None:
        """Take one command in; what is no command of the pace is a question, to be answered by the lesson."""
        match command.get("do"):
            case "pause":
                self.paused = True
            case "resume":
                self.paused = self.slow = False
            case "step":
                self.paused, self.single_steps = True, self.single_steps + 1
            case "slow":
                self.slow, self.paused = bool(command.get("on", True)), False
            case "rate":
                self._change_rate(step, command.get("factor"))
            case "stop":
                self.stopped = True
            case "close":
                self.stopped = self.closed = True
            case _:
                self.questions.append(command)

    def listen(self, step: int, seconds: float = 0.0) -> None:
        """Obey everything that has come, after waiting for it up to some seconds."""
        began = time.monotonic()
        try:
            self.obey(self.inbox.get(timeout=seconds) if seconds > 0 else self.inbox.get_nowait(), step)
            while True:
                self.obey(self.inbox.get_nowait(), step)
        except queue.Empty:
            pass
        self.seconds_waited += time.monotonic() - began if seconds > 0 else 0.0

    def may_step(self) -> bool:
        """Say whether the next step may be taken, and count it where steps are counted."""
        if self.paused and self.single_steps:
            self.single_steps -= 1
            return True
        return not self.paused

    def _change_rate(self, step: int, factor: Any) -> None:
        if isinstance(factor, int | float) and FACTORS[0] <= factor <= FACTORS[1] and factor != self.factor:
            self.factor = float(factor)
            self.factors.append((step, self.factor))

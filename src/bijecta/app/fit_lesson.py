"""What the fits of pages have in common: they train, say how far they are, and afterwards answer questions."""

import logging
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from bijecta.app.curves import Curves
from bijecta.app.messages import Array, Message
from bijecta.app.pace import Command, Pace
from bijecta.distributions import Distribution
from bijecta.errors import BijectaError, InputError
from bijecta.persistence import save
from bijecta.training import Batch, FitConfig, Progress, fit, nll

FRAME_SECONDS = 0.2
Answer = tuple[dict[str, Any], dict[str, Array]]


class FitLesson(ABC):
    """One run of `fit`.

    Args:
        publish: takes every `Message`; called in the thread that trains.
    """

    flow: Distribution

    def __init__(self, publish: Callable[[Message], None]) -> None:
        self.send = publish
        self.pace, self.curves = Pace(), Curves()
        self.facts: dict[str, Any] = {}
        self.frames, self.due, self.finished = 0, 0.0, False

    @abstractmethod
    def train(self) -> str:
        """Make `flow` and `facts`, train, and say how that ended, as `fit` says it."""

    @abstractmethod
    def answer(self, question: Command) -> Answer:
        """Answer a question about the trained flow by facts and arrays."""

    def run(self) -> None:
        """Go through the whole run; then answer until told to close."""
        try:
            state = self.train()
            self.finished = True
            self.publish(state)
        except BijectaError as error:
            self.publish("failed", str(error))
        except Exception as error:  # whatever it is, the page says so and does not wait for ever
            logging.getLogger(__name__).exception("A fit failed")
            self.publish("failed", f"Something broke ({type(error).__name__}: {error}). Try other settings.")
        while not self.pace.closed:
            self._attend(3600.0)

    def fit(self, x: Any, context: Any = None, *, config: FitConfig) -> str:
        """Train the flow on rows, with frames and between two steps an ear for commands; return "done" or "stopped"."""
        self.rows_trained, self.config = len(x), config
        self.publish("running")
        result = fit(self.flow, x, context=context, config=config, loss=self._watched_nll, on_epoch=self._after_epoch)
        return "stopped" if result.stopped == "interrupted" else "done"

    def file(self, metadata: Mapping[str, Any]) -> Array:
        """Return the bytes of the model as a file."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.safetensors"
            save(self.flow, path, metadata=metadata)
            return np.frombuffer(path.read_bytes(), np.uint8)

    def publish(self, state: str, message: str = "") -> None:
        """Say how far the run is."""
        self.frames += 1
        self.due = time.monotonic() + FRAME_SECONDS
        header = {"kind": "frame", "number": self.frames, "state": state, "message": message}
        self.send(Message({**header, **self.curves.facts(), **self.facts}))

    def _watched_nll(self, flow: Distribution, batch: Batch) -> Tensor:
        """Be `nll`, and use the moment between two steps of the training."""
        if not flow.training:
            return nll(flow, batch)
        self.curves.start(batch.size, self.rows_trained, self.config)
        self._attend(0.0)
        if self.pace.stopped:
            raise KeyboardInterrupt  # `fit` ends with the best weights, as for Ctrl-C
        loss = nll(flow, batch)
        self.curves.add_step(float(loss.detach()), self.pace.seconds_waited)
        if time.monotonic() >= self.due:
            self.publish("running")
        return loss

    def _after_epoch(self, progress: Progress) -> None:
        self.curves.add_epoch(progress)

    def _attend(self, seconds: float) -> None:
        """Obey commands and answer questions."""
        self.pace.listen(self.curves.step, seconds)
        while self.pace.questions:
            self._reply(self.pace.questions.pop(0))

    def _reply(self, question: Command) -> None:
        header: dict[str, Any] = {}
        arrays: dict[str, Array] = {}
        try:
            if not self.finished:
                raise InputError("This fit has no result yet. Wait until it has ended.")
            header, arrays = self.answer(question)
        except (BijectaError, ValueError, TypeError, KeyError, OSError) as error:
            header = {"error": str(error)}
        self.send(Message({"kind": "answer", "id": question.get("id"), **header}, arrays))

"""A fit of events as the page sees it: settings, process, and what was asked of the flow."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bijecta.app.collisions import COLLISIONS, Collision
from bijecta.app.event_lesson import EventSettings
from bijecta.app.messages import Array, Message
from bijecta.app.trainer import FINAL, Trainer
from bijecta.errors import InputError
from bijecta.hep import Events, write_events

ANSWER_SECONDS = 120.0
CURVE_POINTS = 80


@dataclass
class EventFit:
    """A fit of events.

    Attributes:
        settings: of the fit.
        trainer: where it happens.
        seen: whether the page knows that it has ended.
    """

    settings: EventSettings
    trainer: Trainer
    seen: bool = field(default=False, compare=False)
    judged: dict[float, tuple[Mapping[str, Any], Events]] = field(default_factory=dict, compare=False)

    @property
    def collision(self) -> Collision:
        """What was learned."""
        return COLLISIONS[self.settings.process]

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the process said last."""
        return self.trainer.latest.header if self.trainer.latest is not None else {}

    @property
    def going(self) -> bool:
        """Whether the fit has not ended."""
        return self.trainer.state not in FINAL

    @property
    def has_result(self) -> bool:
        """Whether there is a flow to look at."""
        return self.trainer.state in ("done", "stopped")

    def judge(self, energy: float) -> tuple[Mapping[str, Any], Events]:
        """Return what the flow is worth at an energy in GeV, and events of it."""
        if energy not in self.judged:
            answer = self._ask("judge", energy=energy, seed=1)
            self.judged[energy] = answer.header, self._events(answer.arrays["momenta"], energy, seed=1)
        return self.judged[energy]

    @cached_property
    def asymmetry(self) -> tuple[Array, Array]:
        """The forward-backward asymmetry of the flow: energies in GeV, and its values."""
        ends = self.collision.energies
        energies = np.geomspace(ends[0], ends[-1], CURVE_POINTS)
        return energies, self._ask("asymmetry", energies=energies.tolist()).arrays["asymmetry"]

    @cached_property
    def file(self) -> bytes:
        """The model as a file."""
        return self._ask("model").arrays["file"].tobytes()

    def events_file(self, count: int, energy: float, seed: int, suffix: str) -> bytes:
        """Draw events at an energy in GeV, and write them as a file of the format that the extension says."""
        momenta = self._ask("events", count=count, energy=energy, seed=seed).arrays["momenta"]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"events{suffix}"
            write_events(self._events(momenta, energy, seed), path)
            return path.read_bytes()

    def _events(self, momenta: Array, energy: float, seed: int) -> Events:
        """Give momenta the schema and the beams of the generator."""
        like = self.collision.generator.sample(1, energy, seed=0)
        metadata = {"generator": "event_flow", "seed": seed, "beams": like.metadata["beams"]}
        condition = {"energy": np.full(len(momenta), energy)}
        return replace(like, momenta=momenta, condition=condition, metadata=metadata)

    def _ask(self, question: str, **details: Any) -> Message:
        answer = self.trainer.ask(question, **details).result(ANSWER_SECONDS)
        if "error" in answer.header:
            raise InputError(str(answer.header["error"]))
        return answer

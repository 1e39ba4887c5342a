"""A fit of events of a generator: they are drawn and learned, then the flow is held against the exact density."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bijecta.app.collisions import FloatArray, collision
from bijecta.app.fit_lesson import Answer, FitLesson
from bijecta.app.messages import Message
from bijecta.app.pace import Command
from bijecta.errors import InputError
from bijecta.hep import Events, event_flow, measure_coordinates, sample_events, training_facts
from bijecta.persistence.tabular import parameter_count
from bijecta.training import FitConfig

MOST_EPOCHS = 1000  # the time decides
JUDGED, LARGEST_SAMPLE = 10_000, 100_000
COSINES = 400


@dataclass(frozen=True)
class EventSettings:
    """Everything that decides the numbers of a fit, but for the speed of the machine.

    Attributes:
        process: a key of `COLLISIONS`.
        events: how many to train on.
        seconds: how long to train.
        seed: of events, weights and order.
    """

    process: str = "muon-pairs"
    events: int = 50_000
    seconds: float = 20.0
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON-able dictionary."""
        return dict(vars(self))


class EventLesson(FitLesson):
    """One run on events of a generator.

    Args:
        settings: of the run.
        publish: takes every `Message`; called in the thread that trains.
    """

    def __init__(self, settings: EventSettings, publish: Callable[[Message], None]) -> None:
        super().__init__(publish)
        self.settings = settings

    def train(self) -> str:
        settings, chosen = self.settings, collision(self.settings.process)
        self.publish("running")  # before the events are drawn, which may take a moment
        events = chosen.draw(settings.events, settings.seed)
        self.coordinates = measure_coordinates(events, masses=chosen.masses, resonance=chosen.resonance)
        self.training = training_facts(self.coordinates, events)
        torch.manual_seed(settings.seed)
        self.flow = event_flow(json.dumps(self.coordinates.to_json()), **chosen.recipe)
        self.facts = {"parameters": parameter_count(self.flow), "events": len(events)}
        x, context = self.coordinates.rows(events)
        config = FitConfig(
            epochs=MOST_EPOCHS, max_seconds=settings.seconds, patience=0, seed=settings.seed, **chosen.training
        )
        return self.fit(x, context, config=config)

    @torch.no_grad()
    def answer(self, question: Command) -> Answer:
        match question.get("ask"):
            case "judge":
                return self._judge(float(question["energy"]), int(question["seed"]))
            case "events":
                count = min(int(question["count"]), LARGEST_SAMPLE)
                events = self._draw(count, float(question["energy"]), int(question["seed"]))
                return {}, {"momenta": events.momenta}
            case "asymmetry":
                return {}, {"asymmetry": self._asymmetry(np.array(question["energies"], dtype=float))}
            case "model":
                return {}, {"file": self.file({"settings": self.settings.to_json(), **self.training, **self.facts})}
            case other:
                raise InputError(f"A fit of events answers judge, events, asymmetry and model; asked was {other!r}.")

    def _draw(self, n: int, energy: float, seed: int) -> Events:
        return sample_events(self.flow, n, {"energy": energy}, seed=seed)

    def _log_prob(self, events: Events) -> FloatArray:
        x, context = self.coordinates.rows(events)
        return self.flow.log_prob(x, context).double().numpy()

    def _judge(self, energy: float, seed: int) -> Answer:
        """Compare the flow with the exact density p at one energy, by fresh events of either.

        The mean of log p - log q over events of p is the Kullback-Leibler divergence; the events of the flow, with
        weights p / q, are worth (Σw)² / Σw² events of p.
        """
        chosen = collision(self.settings.process)
        truth, drawn = chosen.generator.sample(JUDGED, energy, seed=seed), self._draw(JUDGED, energy, seed)
        gap = chosen.log_prob(truth) - self._log_prob(truth)
        weight = np.exp(chosen.log_prob(drawn) - self._log_prob(drawn))
        facts = {
            "kl": float(gap.mean()),
            "kl_error": float(gap.std() / np.sqrt(JUDGED)),
            "effective_fraction": float(weight.sum() ** 2 / (weight**2).sum() / JUDGED),
            "largest_weight": float(weight.max()),
        }
        return facts, {"momenta": drawn.momenta}

    def _asymmetry(self, energies: FloatArray) -> FloatArray:
        """Integrate the density of the flow forwards and backwards at energies (n,) in GeV; it is even in φ."""
        cosine = -1.0 + (2.0 * np.arange(COSINES) + 1.0) / COSINES
        x = np.stack([np.tile(cosine, len(energies)), np.zeros(COSINES * len(energies))], axis=1)
        context = self.coordinates.context_of({"energy": np.repeat(energies, COSINES)}, len(x))
        density = self.flow.log_prob(torch.tensor(x).float(), None if context is None else context.float()).exp()
        halves = density.double().numpy().reshape(len(energies), 2, -1).sum(2)
        return np.asarray((halves[:, 1] - halves[:, 0]) / halves.sum(1))

"""A run of `fit` that can be watched and steered, and that afterwards answers questions about the flow."""

import copy
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from bijecta.app.answers import answer
from bijecta.app.curves import Curves
from bijecta.app.datasets import Points, make_dataset
from bijecta.app.judging import Judge
from bijecta.app.layers import layers_of
from bijecta.app.messages import Array, Message
from bijecta.app.pace import SLOW_SECONDS, Command, Pace
from bijecta.app.picture import Scene, make_scene, scene_message, take_picture
from bijecta.app.settings import RunSettings
from bijecta.distributions import Distribution
from bijecta.errors import BijectaError, InputError
from bijecta.flows import Flow, build
from bijecta.training import Batch, FitResult, Progress, fit, nll

FRAME_SECONDS = 0.04
FRAME_SHARE = 0.5  # of the time, at most, goes into pictures


class Trained(NamedTuple):
    """A run of the past: its flow, and what was known of it at the end."""

    flow: Flow
    facts: Mapping[str, Any]


class Lesson:
    """One run: it builds, trains and shows a flow, and obeys and answers between two steps.

    The numbers are those of a plain call of `fit` with the same settings: watching draws no random numbers from the
    training, and pausing does not change what a step does.

    Args:
        settings: of the run.
        publish: takes every `Message`; called in the thread that trains.
        points: rows of an uploaded table, of shape (N, 2).
    """

    def __init__(
        self,
        settings: RunSettings,
        publish: Callable[[Message], None],
        *,
        points: Points | None = None,
    ) -> None:
        self.settings, self.points, self.send = settings, points, publish
        self.pace, self.curves = Pace(), Curves()
        self.state, self.message, self.verdict = "idle", "", ""
        self.frames, self.due = 0, 0.0
        self.result: FitResult | None = None
        self.flow: Flow
        self.fresh: Flow
        self.scene: Scene
        self.judge: Judge

    def run(self, *, trained: Trained | None = None, train: bool = True, attend: bool = True) -> None:
        """Go through the whole run; return when told to close.

        Args:
            trained: a run of the past to show and ask about, instead of training.
            train: whether to train; otherwise the untrained flow is shown and asked about.
            attend: whether to stay and answer until told to close.
        """
        try:
            self._prepare(trained)
            if trained is None and train:
                self._train()
        except BijectaError as error:
            self._finish("failed", str(error))
        except Exception as error:  # whatever it is, the page says so and does not wait for ever
            logging.getLogger(__name__).exception("A run of the Lab failed")
            self._finish("failed", f"Something broke ({type(error).__name__}: {error}). Try other settings.")
        while attend and not self.pace.closed:
            self._attend(3600.0)

    def _prepare(self, trained: Trained | None) -> None:
        settings = self.settings
        data = make_dataset(settings, self.points)
        self.flow = build_flow(settings) if trained is None else trained.flow
        # `fit` starts from a flow that has seen no data: what is shown before is a copy that has.
        fresh, self.flow = self.flow, copy.deepcopy(self.flow)
        self.flow.initialise(torch.as_tensor(data.rows, dtype=torch.float32))
        self.scene = make_scene(self.flow.eval(), data, settings.seed)
        self.judge = Judge(data, settings)
        facts = {"settings": settings.to_json(), "parameters": sum(p.numel() for p in fresh.parameters())}
        self.send(scene_message(self.scene, facts))
        if trained is not None:
            self.curves.recorded = dict(trained.facts)
            self._finish("done")
        else:
            self._publish(self.flow)
        self.fresh = fresh

    def _train(self) -> None:
        self.flow = self.fresh
        self.scene = replace(self.scene, layers=layers_of(self.flow.bijection))
        first = next(self.flow.parameters())

        def scale_rate(optimiser: Optimizer, *_: Any) -> None:
            mine = any(_share_memory(first, weights) for weights in optimiser.param_groups[0]["params"])
            if mine and self.pace.factor != 1.0:
                for group in optimiser.param_groups:
                    group["lr"] *= self.pace.factor

        hook = register_optimizer_step_pre_hook(scale_rate)
        try:
            self.result = fit(
                self.flow,
                self.scene.data.rows,
                config=self.settings.config(),
                loss=self._watched_nll,
                on_epoch=self._after_epoch,
            )
        finally:
            hook.remove()
        self._finish("stopped" if self.result.stopped == "interrupted" else "done")

    def _watched_nll(self, flow: Distribution, batch: Batch) -> Tensor:
        """Be `nll`, and use the moment between two steps of the training."""
        if not flow.training:
            return nll(flow, batch)
        self.curves.start(batch.size, len(self.scene.data.rows), self.settings.config())
        self._between_steps()
        loss = nll(flow, batch)
        self.curves.add_step(float(loss.detach()), self.pace.seconds_waited)
        return loss

    def _between_steps(self) -> None:
        self._attend(SLOW_SECONDS if self.pace.slow else 0.0)
        while not self.pace.stopped and not self.pace.may_step():
            self._set_state("paused")
            self._attend(3600.0)
        if self.pace.stopped:
            raise KeyboardInterrupt  # `fit` ends with the best weights, as for Ctrl-C
        if not self.pace.paused:
            self._set_state("running")
        if time.monotonic() >= self.due or self.pace.slow:
            self._publish(self.flow)

    def _attend(self, seconds: float) -> None:
        """Obey commands and answer questions."""
        self.pace.listen(self.curves.step, seconds)
        while self.pace.questions:
            self._reply(self.pace.questions.pop(0))

    def _reply(self, question: Command) -> None:
        training = self.flow.training if hasattr(self, "flow") else False
        try:
            with torch.random.fork_rng(devices=[]):
                header, arrays = answer(question, self)
        except (BijectaError, ValueError, TypeError, KeyError, OSError) as error:
            header, arrays = {"error": str(error)}, {}
        if training:
            self.flow.train()
        self.send(Message({"kind": "answer", "id": question.get("id"), **header}, arrays))

    def _set_state(self, state: str) -> None:
        """Say at once that a run pauses or goes on: with a picture, which shows where it stands."""
        if state != self.state or (state == "paused" and self.curves.step != self.curves.shown):
            self.state = state
            self._publish(self.flow)

    def _after_epoch(self, progress: Progress) -> None:
        self.curves.add_epoch(progress)

    def _finish(self, state: str, message: str = "") -> None:
        self.state, self.message = state, message
        if not hasattr(self, "judge"):
            self._send_frame({}, {})
            return
        best = self.result.best_epoch if self.result is not None else 1
        if state != "failed":
            self.verdict = self.judge.verdict(self.flow.eval(), self.curves.best, best)
        self._publish(self.flow, judging=False)

    def _publish(self, flow: Flow, *, judging: bool = True) -> None:
        """Send a picture, and see to it that pictures leave time for training."""
        began, training = time.monotonic(), self.flow.training
        facts, arrays = self._picture(flow)
        if judging and self.judge.is_due() and self.curves.step:
            self.verdict = self.judge.verdict(flow, self.curves.best, None)
        self.flow.train(training)
        self._send_frame(facts, arrays)
        now = time.monotonic()
        self.due = now + max(FRAME_SECONDS, (now - began) * (1 - FRAME_SHARE) / FRAME_SHARE)

    def _picture(self, flow: Flow) -> tuple[dict[str, Any], dict[str, Array]]:
        flow.eval()
        try:
            with torch.random.fork_rng(devices=[]):
                return take_picture(flow, self.scene)
        except (BijectaError, ValueError, RuntimeError) as error:
            return {"no_picture": str(error)}, {}

    def _send_frame(self, facts: dict[str, Any], arrays: dict[str, Array]) -> None:
        self.frames += 1
        self.curves.shown = self.curves.step
        header = {"kind": "frame", "number": self.frames, "state": self.state, "message": self.message}
        header |= {"verdict": self.verdict, "factor": self.pace.factor, "slow": self.pace.slow}
        header |= {"factors": self.pace.factors, **self.curves.facts(), **facts}
        self.send(Message(header, arrays))


def build_flow(settings: RunSettings) -> Flow:
    """Build the untrained flow of a run; the same seed gives the same weights, and nothing else is disturbed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        flow = build(settings.recipe, {"features": 2, **settings.arguments})
    if not isinstance(flow, Flow):
        raise InputError(f"The recipe {settings.recipe} does not build a Flow of two columns; choose another one.")
    return flow


def _share_memory(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()

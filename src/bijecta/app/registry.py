"""The runs of a server, by their id: shared by the pages, which start them, and the routes, which show them."""

import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from bijecta.app.datasets import Points, fingerprint
from bijecta.app.pretrained import load_pretrained
from bijecta.app.settings import OPENING, RunSettings
from bijecta.app.trainer import FINAL, ProcessTrainer, ThreadTrainer, Trainer, launch, retire
from bijecta.errors import InputError

GRACE_SECONDS = 4.0
LARGEST_RUNS, LARGEST_TRAINING, LARGEST_UPLOADS = 64, 8, 32

Make = Callable[[RunSettings, Points | None], Trainer]


@dataclass
class Tab:
    """A tab of a browser.

    Attributes:
        departed: when it was closed or lost its connection; None while it is there.
    """

    departed: float | None = None


@dataclass
class Run:
    """One run of one tab.

    Attributes:
        settings: what it trains.
        points: rows of an uploaded table.
        trainer: where; replaced when it starts (again).
        tab: whose it is.
        key: its id, which nobody can guess.
        watchers: how many open connections show it.
        training: whether the trainer was made to train, not only to look.
    """

    settings: RunSettings
    points: Points | None
    trainer: Trainer
    tab: Tab
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    watchers: int = 0
    training: bool = False


class Registry:
    """Keeps runs while somebody looks at them, and ends them soon after.

    Args:
        make: how to train; by default in a process.
    """

    def __init__(self, make: Make | None = None) -> None:
        self.make = make or self._in_a_process
        self.runs: dict[str, Run] = {}
        self.uploads: dict[str, Points] = {}
        self.spare: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()

    def enter(self) -> Tab:
        """Make the record of a tab; `depart` is its other half."""
        return Tab()

    def depart(self, tab: Tab) -> None:
        """Note that a tab is gone. Its runs end soon after, unless they are adopted: it may only have been a blip."""
        tab.departed = time.monotonic()
        timer = threading.Timer(GRACE_SECONDS + 0.1, self.sweep)
        timer.daemon = True
        timer.start()

    def open(self, settings: RunSettings, tab: Tab) -> Run:
        """Make a run that shows its flow as it begins; the opening run shows the trained one.

        Args:
            settings: of the run.
            tab: whose it is.

        Returns:
            The run; `start` trains it.
        """
        points = self.uploads.get(settings.table)
        trained = load_pretrained() if settings == OPENING else None
        run = Run(settings, points, ThreadTrainer(settings, points=points, trained=trained, train=False), tab)
        with self._lock:
            self.runs[run.key] = run
            while len(self.runs) > LARGEST_RUNS:
                self.close(next(iter(self.runs)))
        return run

    def start(self, key: str) -> Run:
        """Train a run from its beginning.

        Raises:
            InputError: there is no such run, or too many train already.
        """
        with self._lock:
            run = self.get(key)
            if sum(_is_training(other) for other in self.runs.values() if other is not run) >= LARGEST_TRAINING:
                raise InputError(f"{LARGEST_TRAINING} runs train on this server already. Stop one, then press Run.")
            _end(run.trainer)
            run.trainer, run.training = self.make(run.settings, run.points), True
        return run

    def get(self, key: str) -> Run:
        """Look a run up.

        Raises:
            InputError: there is no such run.
        """
        if key not in self.runs:
            raise InputError("This run is no longer on the server. Reload the page: the link holds its settings.")
        return self.runs[key]

    def upload(self, points: Points) -> str:
        """Keep the points of an uploaded table, and return the name that settings use for them."""
        name = fingerprint(points)
        with self._lock:
            self.uploads[name] = points
            while len(self.uploads) > LARGEST_UPLOADS:
                del self.uploads[next(iter(self.uploads))]
        return name

    def watch(self, key: str) -> Run:
        """Note that a connection shows a run; `leave` is its other half."""
        with self._lock:
            run = self.get(key)
            run.watchers += 1
        return run

    def leave(self, key: str) -> None:
        """Note that a connection no longer shows a run."""
        with self._lock:
            if key in self.runs:
                self.runs[key].watchers -= 1

    def sweep(self) -> None:
        """End the runs of tabs that are gone, and then the spare worker."""
        now = time.monotonic()
        with self._lock:
            for run in list(self.runs.values()):
                gone = run.tab.departed is not None and now - run.tab.departed >= GRACE_SECONDS
                if gone and run.watchers <= 0:
                    self.close(run.key)
            if not self.runs:
                self._dismiss_spare()

    def close(self, key: str) -> None:
        """End a run."""
        with self._lock:
            run = self.runs.pop(key, None)
        if run is not None:
            _end(run.trainer)

    def close_all(self) -> None:
        """End everything, for the end of the server."""
        with self._lock:
            ending = [_end(run.trainer) for run in self.runs.values()]
            self.runs.clear()
            self._dismiss_spare()
        for thread in ending:
            thread.join()

    def prepare(self) -> None:
        """Keep one worker ready, so that a press of Run is answered at once."""
        with self._lock:
            if self.spare is None or self.spare.poll() is not None:
                self.spare = launch()

    def _dismiss_spare(self) -> None:
        if self.spare is not None:
            retire(self.spare)
            if self.spare.stdout is not None:
                self.spare.stdout.close()
            self.spare = None

    def _in_a_process(self, settings: RunSettings, points: Points | None) -> Trainer:
        with self._lock:
            ready, self.spare = self.spare, None
        usable = ready if ready is not None and ready.poll() is None else None
        return ProcessTrainer(settings, points=points, process=usable)


def _is_training(run: Run) -> bool:
    return run.training and run.trainer.state not in FINAL


def _end(trainer: Trainer) -> threading.Thread:
    """Close a trainer beside what else goes on: it may take its last step first."""
    thread = threading.Thread(target=trainer.close, daemon=True, name="bijecta closing")
    thread.start()
    return thread


RUNS = Registry()
"""The runs of this server: one process, one registry."""

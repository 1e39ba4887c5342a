"""How far the training has come: a bar on a terminal, a few plain lines elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from bijecta.cli.console import errors, tell
from bijecta.training import Progress

LINES = 10

OnEpoch = Callable[[Progress], bool | None]


@contextmanager
def reporting(epochs: int, *, quiet: bool) -> Iterator[OnEpoch]:
    """Report every epoch in the way that suits standard error."""
    if quiet:
        yield lambda _: None
    elif errors().is_terminal:
        with _bar() as bar:
            yield _fill(bar, epochs)
    else:
        yield lambda progress: _line(progress, epochs)


def _bar() -> Bar:
    columns = (
        TextColumn("epoch {task.completed:.0f}/{task.total:.0f}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[losses]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    return Bar(*columns, console=errors(), transient=True)


def _fill(bar: Bar, epochs: int) -> OnEpoch:
    task = bar.add_task("fit", total=epochs, losses="")

    def on_epoch(progress: Progress) -> None:
        bar.update(task, completed=progress.epoch, losses=_losses(progress))

    return on_epoch


def _line(progress: Progress, epochs: int) -> None:
    if progress.epoch in (1, epochs) or progress.epoch % max(1, epochs // LINES) == 0:
        tell(f"epoch {progress.epoch:4d}/{epochs}  {_losses(progress)}  {progress.eta_seconds:.0f} s left")


def _losses(progress: Progress) -> str:
    judged = progress.train_loss if progress.validation_loss is None else progress.validation_loss
    kind = "training" if progress.validation_loss is None else "validation"
    rate = f"{progress.steps_per_second:.0f} steps/s"
    return f"{kind} {judged:.4f}  best {progress.best_loss:.4f} nats  rate {progress.learning_rate:.1e}  {rate}"

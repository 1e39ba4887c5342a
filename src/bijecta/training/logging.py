"""Hooks for `fit` that keep a log: a file of JSON lines, or curves for TensorBoard."""

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict

from bijecta.errors import require
from bijecta.training.loop import Progress

Hook = Callable[[Progress], bool | None]


def to_jsonl(path: str | os.PathLike[str]) -> Hook:
    """Append every epoch as one line of JSON, which is on the disk when the epoch ends.

    A run that is resumed goes on in the same file. Numbers that JSON does not know, NaN and infinities, become null.

    Args:
        path: the file; made where it does not exist.

    Returns:
        A hook for the argument ``on_epoch`` of `fit`.

    Example:
        >>> import pathlib, tempfile, torch
        >>> from bijecta.flows import realnvp
        >>> from bijecta.training import FitConfig, fit, to_jsonl
        >>> log = pathlib.Path(tempfile.mkdtemp()) / "log.jsonl"
        >>> result = fit(realnvp(2), torch.randn(200, 2), config=FitConfig(epochs=2), on_epoch=to_jsonl(log))
        >>> len(log.read_text().splitlines())
        2
    """

    def hook(progress: Progress) -> None:
        values = asdict(progress)
        known = {name: None if _is_unknown(value) else value for name, value in values.items()}
        # One write of one whole line: a crash leaves complete lines, and two runs do not mix theirs.
        with open(path, "a", encoding="utf8") as file:
            file.write(json.dumps(known) + "\n")

    return hook


def to_tensorboard(folder: str | os.PathLike[str]) -> Hook:
    """Write losses, learning rate and speed as curves over the epochs, for ``tensorboard --logdir FOLDER``.

    Args:
        folder: where the event files go; one folder per run.

    Returns:
        A hook for the argument ``on_epoch`` of `fit`.

    Raises:
        MissingDependencyError: TensorBoard is not installed.

    References:
        M. Abadi et al. (2016), TensorFlow: A System for Large-Scale Machine Learning (section on TensorBoard).

    Example:
        >>> import tempfile
        >>> from bijecta.flows import realnvp
        >>> from bijecta.training import to_tensorboard
        >>> callable(to_tensorboard(tempfile.mkdtemp()))
        True
    """
    tensorboard = require("torch.utils.tensorboard", extra="track", purpose="to_tensorboard")
    writer = tensorboard.SummaryWriter(os.fspath(folder))

    def hook(progress: Progress) -> None:
        for name in ("train_loss", "validation_loss", "best_loss", "learning_rate", "steps_per_second"):
            value = getattr(progress, name)
            if value is not None:
                writer.add_scalar(name, value, progress.epoch)
        writer.flush()

    return hook


def hooks(*several: Hook | None) -> Hook:
    """Combine hooks into one; all of them are called, and the run stops if any of them says so.

    Args:
        several: hooks; None is left out.

    Returns:
        A hook for the argument ``on_epoch`` of `fit`.

    Example:
        >>> from bijecta.training import hooks
        >>> hooks(lambda progress: None, lambda progress: True)(None)
        True
    """

    def hook(progress: Progress) -> bool:
        answers = [each(progress) for each in several if each is not None]
        return any(answers)

    return hook


def _is_unknown(value: float | None) -> bool:
    return value is not None and not math.isfinite(value)

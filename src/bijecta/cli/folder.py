"""The run folder: what is in it, when it may be written, and how."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from bijecta.cli.console import as_json
from bijecta.data import write_atomically
from bijecta.errors import FileFormatError, InputError

MODEL, CHECKPOINT = "model.safetensors", "checkpoint.safetensors"
SETTINGS, METRICS, HISTORY, REPORT = "run.json", "metrics.json", "history.csv", "report.html"
SAMPLES, LATENT = "samples.csv", "latent.csv"
PICTURES = (
    "training.png",
    "density.png",
    "samples.png",
    "latent.png",
    "warp.png",
    "layers.png",
    "marginals.png",
    "frequencies.png",
    "pairs.png",
)
OWN = (MODEL, CHECKPOINT, SETTINGS, METRICS, HISTORY, REPORT, SAMPLES, LATENT, *PICTURES)


class RunOptions(Protocol):
    """What decides about a run folder: `FitOptions`, or the options of another command that fits."""

    @property
    def folder(self) -> Path: ...
    @property
    def resume(self) -> bool: ...
    @property
    def force(self) -> bool: ...
    def to_json(self) -> dict[str, Any]: ...


def refuse_existing(options: RunOptions) -> None:
    """Stop before anything else if the folder holds a run that is not to be touched.

    Raises:
        InputError: it holds a run and neither --resume nor --force was given, or a run with other settings.
    """
    folder = options.folder
    if options.force or not (folder / SETTINGS).exists():
        return None
    if options.resume:
        return _same_settings(folder, options)
    state = "a finished run" if is_finished(folder) else "an unfinished run (--resume goes on with it)"
    raise InputError(f"{folder} holds {state}. Choose another folder with --out, or replace it with --force.")


def claim(options: RunOptions) -> None:
    """Make the folder ready for a run; one that is to be resumed is left as it is."""
    folder = options.folder
    if options.resume and not options.force and (folder / SETTINGS).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in OWN:  # only what a run writes: the folder may hold other things
        (folder / name).unlink(missing_ok=True)
    write_json(folder / SETTINGS, options.to_json())


def is_finished(folder: Path) -> bool:
    """Tell whether the run of a folder came to its end: its last act is to remove the checkpoint."""
    if (folder / CHECKPOINT).exists() or not (folder / METRICS).exists():
        return False
    return read_json(folder / METRICS).get("stopped") != "interrupted"


def write_json(path: Path, value: Any) -> None:
    """Write JSON, completely or not at all."""
    write_text(path, json.dumps(as_json(value), indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Raises:
        InputError: there is no such file.
        FileFormatError: it is damaged.
    """
    if not path.is_file():
        raise InputError(f"There is no {path.name} in {path.parent}. Give the folder of a run of `bijecta fit`.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileFormatError(f"{path} is not JSON ({error}). Repeat the run with --force.") from error
    if not isinstance(content, dict):
        raise FileFormatError(f"{path} holds no settings. Repeat the run with --force.")
    return content


def write_history(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Write one line per epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]) if history else ["epoch"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(path, text.getvalue())


def write_text(path: Path, text: str) -> None:
    """Write text, completely or not at all."""
    data = text.encode()
    write_atomically(path, lambda file: file.write(data))


def _same_settings(folder: Path, options: RunOptions) -> None:
    there, here = read_json(folder / SETTINGS), as_json(options.to_json())
    differences = [f"{key} (there {there.get(key)}, here {here[key]})" for key in here if there.get(key) != here[key]]
    if differences:
        raise InputError(
            f"The run in {folder} has other settings: {', '.join(differences)}. Resume it with the same ones, or "
            "start anew with --out or --force."
        )

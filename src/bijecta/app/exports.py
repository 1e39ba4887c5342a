"""What a run can be taken home as: picture, film, model, settings, samples, report, script."""

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bijecta.app.colours import VIRIDIS
from bijecta.app.messages import Array, Message
from bijecta.app.registry import Run
from bijecta.app.script import script_of
from bijecta.errors import InputError, require

PIXELS = 448
FILM_FRAMES, FILM_MILLISECONDS = 60, 90
ANSWER_SECONDS = 120.0
CSV_ROWS = 5000


def export(run: Run, name: str) -> tuple[bytes, str]:
    """Make a file of a run.

    Args:
        run: the run.
        name: a key of `FILES`.

    Returns:
        The content and its media type.

    Raises:
        InputError: there is no such file, or nothing to put into it yet.
        MissingDependencyError: Pillow or matplotlib is not installed.
    """
    if name not in FILES:
        raise InputError(f"A run exports {', '.join(FILES)}; asked was {name!r}.")
    kind, make = FILES[name]
    return make(run), kind


def _png(run: Run) -> bytes:
    frames = _frames(run)
    return _written([_drawing(frames[-1], run)], "PNG")


def _gif(run: Run) -> bytes:
    frames = _frames(run)
    chosen = [frames[round(at)] for at in np.linspace(0, len(frames) - 1, min(FILM_FRAMES, len(frames)))]
    pictures = [_drawing(frame, run).quantize(128) for frame in chosen]
    times = [FILM_MILLISECONDS] * (len(pictures) - 1) + [2000]  # the end stays for two seconds
    return _written(pictures, "GIF", save_all=True, append_images=pictures[1:], duration=times, loop=0)


def _model(run: Run) -> bytes:
    return _ask(run, "model")["file"].tobytes()


def _report(run: Run) -> bytes:
    return _ask(run, "report")["file"].tobytes()


def _samples(run: Run) -> bytes:
    lines = [f"{x:.8g},{y:.8g}" for x, y in _ask(run, "samples", count=CSV_ROWS, seed=run.settings.seed)["samples"]]
    return "\n".join(["x,y", *lines, ""]).encode()


def _settings(run: Run) -> bytes:
    return (json.dumps(run.settings.to_json(), indent=2) + "\n").encode()


def _script(run: Run) -> bytes:
    factors = run.trainer.latest.header.get("factors", []) if run.trainer.latest else []
    return script_of(run.settings, factors).encode()


FILES: Mapping[str, tuple[str, Callable[[Run], bytes]]] = {
    "picture.png": ("image/png", _png),
    "training.gif": ("image/gif", _gif),
    "model.safetensors": ("application/octet-stream", _model),
    "settings.json": ("application/json", _settings),
    "samples.csv": ("text/csv", _samples),
    "report.html": ("text/html", _report),
    "run.py": ("text/x-python", _script),
}
"""Media type and maker of every file that a run can be exported as."""


def _ask(run: Run, question: str, **details: Any) -> Mapping[str, Array]:
    answer = run.trainer.ask(question, **details).result(ANSWER_SECONDS)
    if "error" in answer.header:
        raise InputError(str(answer.header["error"]))
    return answer.arrays


def _frames(run: Run) -> list[Message]:
    frames = run.trainer.history.items()
    if not frames:
        raise InputError("This run has no picture yet. Press Run first.")
    return frames


def _drawing(frame: Message, run: Run) -> Any:
    """Draw density and warped grid in the units of the data."""
    drawing = require("PIL.ImageDraw", extra="app", purpose="Drawing pictures")
    pixels = require("PIL.Image", extra="app", purpose="Drawing pictures")
    picture = pixels.fromarray(VIRIDIS[frame.arrays["density"]]).resize((PIXELS, PIXELS), pixels.Resampling.BICUBIC)
    pen = drawing.Draw(picture, "RGBA")
    for line in _grid_lines(frame, run):
        pen.line(line, fill=(255, 255, 255, 48), width=1)
    header = frame.header
    best = f"   validation {header['best']:.3f}" if header.get("best") is not None else ""
    pen.text((10, PIXELS - 22), f"step {header['step']}{best}", fill=(255, 255, 255, 230))
    return picture


def _grid_lines(frame: Message, run: Run) -> list[list[tuple[float, float]]]:
    scene = run.trainer.scene
    if scene is None:
        return []
    low, high = np.array(scene.header["box"][:2]), np.array(scene.header["box"][2:])
    nodes = int(scene.header["nodes"])
    places = (frame.arrays["grid"][-1].astype(float) - low) / (high - low) * PIXELS
    places[:, 1] = PIXELS - places[:, 1]
    lattice = places.reshape(nodes, nodes, 2)
    lines = [*lattice, *lattice.transpose(1, 0, 2)]
    return [[(float(x), float(y)) for x, y in line] for line in lines if np.isfinite(line).all()]


def _written(pictures: list[Any], form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pictures[0].save(buffer, form, **options)
    return buffer.getvalue()

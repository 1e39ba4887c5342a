"""The flow that a visitor finds already trained. ``python -m bijecta.app.pretrained`` makes its file again."""

import sys
from pathlib import Path

import torch

from bijecta.app.lesson import Lesson, Trained
from bijecta.app.messages import Message
from bijecta.app.settings import OPENING
from bijecta.errors import FileFormatError
from bijecta.flows import Flow
from bijecta.persistence import load, read_header, save

FILE = Path(__file__).with_name("opening.safetensors")
KEPT = ("step", "steps", "epoch", "epochs", "best", "train", "validation")


def load_pretrained() -> Trained:
    """Read the opening run.

    Raises:
        FileFormatError: the file of the package is damaged.
    """
    flow = load(FILE)
    if not isinstance(flow, Flow):
        raise FileFormatError(f"{FILE.name} does not hold a Flow. Install bijecta again.")
    return Trained(flow, {**read_header(FILE)["metadata"]["facts"], "recorded": True})


def train_opening() -> Trained:
    """Train the opening run, as the Lab does."""
    frames: list[Message] = []
    lesson = Lesson(OPENING, frames.append)
    lesson.run(attend=False)
    return Trained(lesson.flow, {name: frames[-1].header[name] for name in KEPT})


def main() -> None:
    """Train the opening run and write its file."""
    torch.set_num_threads(1)
    flow, facts = train_opening()
    save(flow, FILE, metadata={"lab": OPENING.to_json(), "facts": facts})
    sys.stdout.write(f"{FILE}: validation NLL {facts['best']:.6f}, {FILE.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()

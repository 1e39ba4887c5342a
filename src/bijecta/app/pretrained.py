"""The flow that a visitor finds already trained. ``python -m bijecta.app.pretrained`` makes its file again."""

import sys
from pathlib import Path

import torch

from bijecta.app.datasets import make_dataset
from bijecta.app.lesson import build_flow
from bijecta.app.settings import OPENING
from bijecta.errors import FileFormatError
from bijecta.flows import Flow
from bijecta.persistence import load, save
from bijecta.training import fit

FILE = Path(__file__).with_name("opening.safetensors")


def load_pretrained() -> Flow:
    """Read the trained flow of the opening run.

    Raises:
        FileFormatError: the file of the package is damaged.
    """
    flow = load(FILE)
    if not isinstance(flow, Flow):
        raise FileFormatError(f"{FILE.name} does not hold a Flow. Install bijecta again.")
    return flow


def train_opening() -> tuple[Flow, float]:
    """Train the opening run as the Lab does.

    Returns:
        The flow and its validation loss in nats per row.
    """
    flow = build_flow(OPENING)
    result = fit(flow, make_dataset(OPENING).rows, config=OPENING.config())
    return flow, result.best_loss


def main() -> None:
    """Train the opening run and write its file."""
    torch.set_num_threads(1)
    flow, loss = train_opening()
    save(flow, FILE, metadata={"lab": OPENING.to_json(), "validation_nll": loss})
    sys.stdout.write(f"{FILE}: validation NLL {loss:.6f}, {FILE.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()

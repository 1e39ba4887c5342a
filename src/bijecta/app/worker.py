"""The process that trains: ``python -m bijecta.app.worker``.

The first line of standard input is the settings, as JSON; every further line is a command or a question. The end of
standard input ends the process: when the server goes, however it goes, its workers go too. Messages leave on standard
output, each with its length before it.
"""

import torch

from bijecta.app.child import serve
from bijecta.app.datasets import from_wire
from bijecta.app.lesson import Lesson
from bijecta.app.settings import RunSettings


def main() -> None:
    """Train a flow of the Lab."""
    serve(
        lambda record, publish: Lesson(RunSettings.from_json(record["settings"]), publish, points=from_wire(record)),
        warm_up,
    )


def warm_up() -> None:
    """Let torch import what the first optimiser needs, while nobody waits for it."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.AdamW([weight], fused=True)
    weight.square().sum().backward()
    optimiser.step()


if __name__ == "__main__":
    main()

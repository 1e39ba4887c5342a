"""Where a run is computed: on which device, and in which of several processes."""

import os
from dataclasses import replace

import torch
import typer

from bijecta.cli.options import FitOptions
from bijecta.errors import InputError

DEVICES = ("cpu", "cuda", "auto")


def choose_device(name: str) -> torch.device:
    """Return the device that --device asks for; processes on one machine take one GPU each.

    Raises:
        typer.BadParameter: the name is unknown.
        InputError: there is no such device.
    """
    if name not in DEVICES:
        raise typer.BadParameter(f"expected one of {', '.join(DEVICES)}, got {name!r}.", param_hint="--device")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not found):
        return torch.device("cpu")
    number = int(os.environ.get("LOCAL_RANK", "0"))
    if number >= found:
        raise InputError(
            f"Process {number} of this machine expected a GPU of its own, and torch finds {found}. Start fewer "
            "processes, or use --device cpu; bijecta doctor says what is installed."
        )
    return torch.device("cuda", number)


def as_launched(options: FitOptions, processes: int) -> FitOptions:
    """Return the options as a launcher wants them: a run that torchrun starts again goes on from its checkpoint.

    Raises:
        InputError: several processes would have to share standard input.
    """
    if processes > 1 and options.data == "-":
        raise InputError("Standard input can be read by one process only. Write the rows to a file, and name it.")
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) == 0:
        return options
    return replace(options, resume=True, force=False)
